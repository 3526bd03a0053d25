"""The benchmark: its yardstick computes what the suite computes, and every part gives its rows."""

import csv
import math
import os
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from bench import plain_script
from bench.__main__ import run
from bench.chart import ratios
from bench.naive import NaiveBop, NaiveLatentAdam, NaiveLayer, naive_twin
from bench.parts import PARTS, scale, start
from bench.parts.optimizer_step import BYTES
from bench.parts.step import REAL_RATE, Size, network, random_batch, training_flops
from bench.parts.sweep import FEW_IMAGES, random_mnist, short_trials
from bench.race import Bench, Race, Row
from bench.tables import as_csv, as_markdown, cells
from optimizers import METHODS
from suite.models.blocks.layers import binary_layers
from suite.training.step import Learner, make_learner, training_step
from tests.support.attempts import InlinePool

CPU = torch.device("cpu")
SMALL = Size(1 / 32, 8)
HYPERS = {"bop": {"gamma": 0.05, "threshold": 1e-7}, "latent-adam": {"lr": 0.3}}  # so high that it clips


def twins(method: str) -> tuple[Learner, nn.Sequential]:
    """The suite's network and its naive twin in float64, where rounding changes no sign."""
    rule = METHODS[method](**HYPERS[method])
    ours = make_learner(network(SMALL, rule).double(), rule, REAL_RATE, CPU)
    return ours, naive_twin(network(SMALL, rule).double())


def naive_optimizers(method: str, model: nn.Sequential) -> list[Any]:
    weights: list[Tensor] = [module.weight for module in model if isinstance(module, NaiveLayer)]
    real = [p for p in model.parameters() if not any(p is weight for weight in weights)]
    of_weights = (
        NaiveBop(weights, **HYPERS[method]) if method == "bop" else NaiveLatentAdam(model, **HYPERS[method])
    )
    return [of_weights, torch.optim.Adam([p for p in real if p.requires_grad], REAL_RATE, eps=1e-7)]


@pytest.mark.parametrize("method", ["bop", "latent-adam"])
def test_the_naive_port_takes_the_same_steps(method: str) -> None:
    ours, naive = twins(method)
    optimizers = naive_optimizers(method, naive)
    weights = [layer.weight for _, layer in binary_layers(ours.model)]
    layers = [module for module in naive if isinstance(module, NaiveLayer)]
    x, labels = random_batch(SMALL, CPU)
    x = x.double()
    start_weights = torch.cat([weight.detach().flatten() for weight in weights])
    for step in range(5):
        logits = naive(x)
        torch.testing.assert_close(ours.model(x), logits, rtol=1e-9, atol=1e-9)
        naive_loss = F.cross_entropy(logits, labels)
        naive.zero_grad()
        naive_loss.backward()
        loss, hits = training_step(ours, [(x, labels)], seed=0, step=step, epoch=1, progress=0.0)
        torch.testing.assert_close(loss.double(), naive_loss.detach(), rtol=1e-6, atol=0.0)
        assert int(hits) == int((logits.argmax(1) == labels).sum())
        for weight, layer in zip(weights, layers, strict=True):
            torch.testing.assert_close(weight.grad, layer.weight.grad, rtol=1e-7, atol=1e-12)
        for optimizer in optimizers:
            optimizer.step()
        for weight, layer in zip(weights, layers, strict=True):
            stored = layer.weight if layer.real is None else layer.real
            torch.testing.assert_close(weight.detach(), stored.detach(), rtol=1e-7, atol=1e-9)
    after = torch.cat([weight.detach().flatten() for weight in weights])
    assert (torch.sign(after) != torch.sign(start_weights)).sum() > 10  # the steps changed something


def test_the_operations_of_a_step_are_those_of_the_layers() -> None:
    forward = [
        (30 * 30 * 128) * (3 * 9),
        (30 * 30 * 128) * (128 * 9),
        (15 * 15 * 256) * (128 * 9),
        (15 * 15 * 256) * (256 * 9),
        (7 * 7 * 512) * (256 * 9),
        (7 * 7 * 512) * (512 * 9),
        (3 * 3 * 512) * 1024,
        1024 * 1024,
        1024 * 10,
    ]
    expected = 2 * 2 * (3 * sum(forward) - forward[0])  # two images, a multiplication and an addition
    assert training_flops(Size(1.0, 2)) == expected


def test_variants_take_turns() -> None:
    order: list[str] = []
    race = Bench(CPU, rounds=3, quick=True).race("turns", {n: lambda n=n: order.append(n) for n in "ab"})
    assert "".join(order) == "ab" * 4  # once each to warm up
    assert {name: len(seconds) for name, seconds in race.seconds.items()} == {"a": 3, "b": 3}


def test_a_ratio_is_the_median_within_rounds() -> None:
    race = Race({"slow": [4.0, 9.0, 30.0], "fast": [2.0, 3.0, 30.0]})
    assert race.median("slow") == 9.0
    assert race.faster("fast", "slow") == 2.0  # of 2, 3 and 1; the ratio of medians would be 3


def test_a_row_in_words() -> None:
    row = Row("step", "bop, width 1", "float32", 1234.5, "images/s", 11, "naive", 2.345, "matmul", 0.876)
    assert cells(row) == ["bop, width 1", "float32", "1,234 images/s", "2.35 x naive", "88 % of matmul", "11"]
    assert (
        as_csv([row]).splitlines()[1]
        == 'step,"bop, width 1",float32,1234.5,images/s,11,naive,2.345,matmul,0.876'
    )
    assert "| 1,234 images/s |" in as_markdown([row], {"torch": "2"})


class InlineExecutor(Executor):
    """In place of worker processes: a call is made as soon as it is submitted."""

    def __init__(self, *_: object) -> None: ...

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **named))
        return future


class InlineScript:
    """In place of a process of the plain script."""

    def __init__(self, command: list[str], **_: object) -> None:
        task, first, every = command[3:]
        plain_script.main(Path(task), int(first), int(every))

    def wait(self) -> int:
        return 0


def run_here(code: str) -> None:
    """In place of a new Python: the same code in this process."""
    try:
        exec(code, {})
    except SystemExit as end:
        assert not end.code, code


@pytest.fixture
def without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts that start processes make the same calls here: most of their time is the imports of torch.

    No report is drawn.
    """
    monkeypatch.setattr("report.draw.svg.rendered", lambda *_: b"<svg>\n</svg>\n")
    monkeypatch.setattr(scale, "in_a_process", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(start, "run", run_here)
    monkeypatch.setattr(start, "process_of", lambda pool: os.getpid())
    monkeypatch.setattr("sys.argv", [])  # which the command that `start` runs sets
    for part in ("sweep", "start"):
        monkeypatch.setattr(f"bench.parts.{part}.LocalPool", lambda *_: nullcontext(InlinePool()))
    inline = SimpleNamespace(Popen=InlineScript, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr("bench.parts.sweep.subprocess", inline)
    monkeypatch.setattr("suite.data.stored.prepare.ProcessPoolExecutor", InlineExecutor)


@pytest.mark.usefixtures("without_processes")
def test_quick_runs_every_part_and_leaves_every_row(tmp_path: Path) -> None:
    run(quick=True, results=tmp_path)
    (folder,) = tmp_path.iterdir()
    rows = list(csv.DictReader((folder / "bench.csv").read_text().splitlines()))
    assert list(dict.fromkeys(row["part"] for row in rows)) == list(PARTS)
    assert all(math.isfinite(float(row["value"])) for row in rows)
    variants: dict[str, set[str]] = {
        part: {r["variant"] for r in rows if r["part"] == part} for part in PARTS
    }
    assert variants["step"] == {"naive float32", "float32", "bfloat16"}
    assert variants["optimizer"] == {"copy", "plain bop", *BYTES}
    assert {row["case"] for row in rows if row["part"] == "memory"} == set(METHODS)
    text = (folder / "bench.md").read_text()
    assert all(f"## {part}\n" in text for part in PARTS) and f"torch: {torch.__version__}" in text
    ElementTree.parse(folder / "bench.svg")


def test_the_plain_script_learns(tmp_path: Path) -> None:
    with random_mnist(tmp_path, FEW_IMAGES):
        labels = np.arange(600, dtype=np.uint8) % 10
        images = np.zeros((600, 28, 28), dtype=np.uint8)
        images[np.arange(600), labels] = 200  # class n: row n is bright
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            file = tmp_path / "MNIST" / "raw" / f"train-{name}-ubyte"
            file.write_bytes(file.read_bytes()[: -values.nbytes] + values.tobytes())
        cell = short_trials(tmp_path, quick=True).cells[0]
        trial = cell.trial(cell.published, 1, "tune")
        trial = replace(trial, train=replace(trial.train, epochs=5, batch_size=50))
        assert plain_script.train(trial, tmp_path, train=500, val=100) > 0.5


def test_a_command_is_measured_in_a_process_of_its_own() -> None:
    assert scale.in_a_process(os.getpid) != os.getpid()


def test_a_start_that_fails_is_no_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        start.run("raise SystemExit(3)")


def test_the_picture_has_a_bar_for_each_ratio_and_is_the_same_every_time() -> None:
    rows = [
        Row("step", "bop", variant, 1.0, "images/s", 2, "naive", ratio)
        for variant, ratio in (("naive", 1.0), ("float32", 1.42), ("bfloat16", 2.37), ("not compared", None))
    ]
    svg = ratios(rows)
    texts = [text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"1.42", "2.37", "step: bop, float32", "step: bop, bfloat16"} <= set(texts)
    assert "step: bop, naive" not in texts and "step: bop, not compared" not in texts
    assert svg == ratios(rows)


def test_an_unknown_part_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="no part 'stepp'; did you mean 'step'"):
        run(only=["stepp"], results=tmp_path)
    assert not list(tmp_path.iterdir())
