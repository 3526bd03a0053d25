"""The benchmark: its yardstick computes what the suite computes, and every part leaves its rows."""

import csv
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
import typer
from torch import nn
from torch.nn import functional as F

from bench.__main__ import run
from bench.naive import NaiveBop, NaiveLatentAdam, NaiveLayer, naive_twin
from bench.parts import PARTS
from bench.parts.optimizer_step import BYTES
from bench.parts.step import Size, network, random_batch, training_flops
from bench.race import Bench, Race, Row
from bench.tables import as_csv, as_markdown, cells
from optimizers import METHODS
from suite.models.blocks.layers import BinaryLayer, binary_layers

CPU = torch.device("cpu")
SMALL = Size(1 / 32, 8)
HYPERS = {"bop": {"gamma": 0.05, "threshold": 1e-7}, "latent-adam": {"lr": 0.01}}


def twins(method: str) -> tuple[nn.Sequential, nn.Sequential, list[NaiveLayer]]:
    """Our network and its naive twin in float64, where rounding turns no sign."""
    ours = network(SMALL, method).double()
    naive = naive_twin(ours).double()
    for number, module in enumerate(ours):
        if not isinstance(module, BinaryLayer) and list(module.parameters()):
            naive[number] = type(module)(*_size(module), eps=1e-3, momentum=0.01).double()  # not shared
            naive[number].weight.requires_grad_(False)
    return ours, naive, [module for module in naive if isinstance(module, NaiveLayer)]


def _size(norm: nn.Module) -> tuple[int]:
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    return (norm.num_features,)


@pytest.mark.parametrize("method", ["bop", "latent-adam"])
def test_the_naive_port_takes_the_same_steps(method: str) -> None:
    ours, naive, layers = twins(method)
    weights = [layer.weight for _, layer in binary_layers(ours)]
    our_step = METHODS[method](**HYPERS[method]).optimizer(weights)
    if method == "bop":
        naive_step = NaiveBop([layer.weight for layer in layers], **HYPERS[method])
    else:
        naive_step = NaiveLatentAdam(naive, **HYPERS[method])
    x, labels = random_batch(SMALL, CPU)
    start = torch.cat([weight.detach().flatten() for weight in weights])
    for _ in range(5):
        ours.zero_grad()
        naive.zero_grad()
        logits = [model(x.double()) for model in (ours, naive)]
        torch.testing.assert_close(*logits, rtol=1e-9, atol=1e-9)
        for values in logits:
            F.cross_entropy(values, labels).backward()
        for weight, layer in zip(weights, layers, strict=True):
            torch.testing.assert_close(weight.grad, layer.weight.grad, rtol=1e-7, atol=1e-12)
        our_step.step()
        naive_step.step()
        for weight, layer in zip(weights, layers, strict=True):
            stored = layer.weight if layer.real is None else layer.real
            torch.testing.assert_close(weight.detach(), stored.detach(), rtol=1e-7, atol=1e-9)
    after = torch.cat([weight.detach().flatten() for weight in weights])
    assert (torch.sign(after) != torch.sign(start)).sum() > 10  # the steps did something


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


def test_an_unknown_part_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="no part 'stepp'; did you mean 'step'"):
        run(only=["stepp"], results=tmp_path)
    assert not list(tmp_path.iterdir())
