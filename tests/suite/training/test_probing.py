"""The probes of a final run: the same bits again and after a stop, and nothing follows from them."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from suite.checks.run import check_run
from suite.machine import preemption
from suite.machine.preemption import StopRequested
from suite.probes import PROBES
from suite.probes.probe import Found, Probe, Trained, probe
from suite.records.codec import encode
from suite.records.files import write_json
from suite.records.run import WEIGHTS, RunFolder
from suite.records.schema import Result
from suite.records.trial import Choice, Trial
from suite.records.weights import read_kept
from suite.training.loop import train
from suite.training.ranks import Ranks, RanksError
from tests.support.tiny import CPU, tiny_plan, tiny_trial


@probe(images=lambda sizes: 0, numbers=())
def vandal(trained: Trained) -> Found:
    """Spoils all that it can reach."""
    torch.manual_seed(99)
    network = trained.network()
    assert not any(parameter.grad is not None for parameter in network.parameters())
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.fill_(1)
    trained.reestimate(network)
    network.train()
    return {"val_top1": trained.score(network, trained.data.val).top1, "word": "spoilt"}


def probed(trial: Trial, *names: str) -> Trial:
    return dataclasses.replace(trial, probes=tuple(Choice(n, dict(PROBES[n].options)) for n in names))


@pytest.fixture
def and_vandal(monkeypatch: pytest.MonkeyPatch) -> Probe:
    monkeypatch.setitem(PROBES, "vandal", vandal)
    return vandal


def tensors(run: RunFolder) -> list[bytes]:
    kept = read_kept((run.path / WEIGHTS).read_bytes(), run.path / WEIGHTS)
    return [kept.tensors[name].tobytes() for name in sorted(kept.tensors)]


def without_probes(result: Result) -> Result:
    return dataclasses.replace(result, probes={}, digest="", files={}, seconds=0.0, peak_memory_bytes=None)


def same_but_for_probes(runs: Sequence[RunFolder], results: Sequence[Result]) -> bool:
    first, second = ([line.without_times() for line in run.epochs_so_far()] for run in runs)
    one, other = (without_probes(result).deterministic() for result in results)
    return first == second and one == other and tensors(runs[0]) == tensors(runs[1])


def test_nothing_follows_from_a_probe(tmp_path: Path, and_vandal: Probe) -> None:
    trial = tiny_trial(tmp_path, "latent-adam", "final")
    plain, run = RunFolder(tmp_path / trial.run_id), RunFolder(tmp_path / "with")
    before = train(trial, plain, CPU, keep_weights=True)
    after = train(probed(trial, "vandal", "signs"), run, CPU, keep_weights=True)
    assert same_but_for_probes([plain, run], [before, after]) and before.digest != after.digest
    assert after.probes["vandal"]["word"] == "spoilt" and not before.probes
    assert "probes" in after.deterministic() and "probes" not in before.deterministic()  # of the digest
    alone = train(probed(trial, "signs"), RunFolder(tmp_path / "alone"), CPU)
    assert alone.probes["signs"] == after.probes["signs"]


def test_probes_repeat_bit_for_bit_and_after_a_stop_in_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, and_vandal: Probe
) -> None:
    trial = probed(tiny_trial(tmp_path, "bop", "final"), *PROBES)
    looks, run = itertools.count(), RunFolder(tmp_path / trial.run_id)
    with monkeypatch.context() as patch:
        patch.setattr(preemption, "requested", lambda: next(looks) < 0)
        unbroken = train(trial, run, CPU)
    last = next(looks) - 1
    broken = RunFolder(tmp_path / "b")
    with monkeypatch.context() as patch:
        count = itertools.count()
        patch.setattr(preemption, "requested", lambda: next(count) == last)
        with pytest.raises(StopRequested, match="after step 12 of 12, and saved"):
            train(trial, broken, CPU)
    assert train(trial, broken, CPU).digest == unbroken.digest
    assert RunFolder(run.path).result() == unbroken  # also from its file
    assert check_run(run.path, tiny_plan(tmp_path).cells[0].sizes).findings == []


def test_a_stop_in_a_probe_forgets_no_place_of_a_timed_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EDE's slope depends on the place in the training, and `interpolate` trains through it."""
    trial = tiny_trial(tmp_path, "latent-adam", "final", 7, "tasks.0.model.activation=ede")
    interpolate = Choice("interpolate", {**PROBES["interpolate"].options, "lr": 0.1})
    trial = dataclasses.replace(trial, probes=(interpolate,))
    unbroken, broken = train(trial, RunFolder(tmp_path / "a"), CPU), RunFolder(tmp_path / "b")

    def stopped(*_: object) -> None:
        raise StopRequested

    with monkeypatch.context() as patch:
        patch.setattr("suite.training.loop.measure_probes", stopped)
        with pytest.raises(StopRequested):
            train(trial, broken, CPU)
    assert train(trial, broken, CPU).digest == unbroken.digest


def test_a_run_that_diverges_has_no_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.training.loop.epoch_loss", lambda *_: (math.nan, 1))
    trial = probed(tiny_trial(tmp_path, "latent-adam", "final"), "signs")
    run = RunFolder(tmp_path / trial.run_id)
    result = train(trial, run, CPU)
    assert result.status == "diverged" and result.probes == {}
    assert check_run(run.path).findings == []


def test_several_processes_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    trial = probed(tiny_trial(tmp_path, "bop", "final"), "signs")
    with pytest.raises(RanksError, match=r"probes \(signs\) are measured by one process, and 2 train"):
        train(trial, RunFolder(tmp_path / "run"), CPU, ranks=Ranks(1, 2))
    assert not (tmp_path / "run").exists()


def test_a_number_that_no_record_can_hold_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @probe(images=lambda sizes: 0, numbers=())
    def endless(trained: Trained) -> Found:
        """Finds no number."""
        return {"loss": float("inf")}

    monkeypatch.setitem(PROBES, "endless", endless)
    with pytest.raises(ValueError, match="the probe endless found loss = inf"):
        train(probed(tiny_trial(tmp_path, "bop", "final"), "endless"), RunFolder(tmp_path / "run"), CPU)


@pytest.mark.parametrize("probes", [{}, {"signs": {}, "more": {}}])
def test_verify_finds_probes_that_are_not_those_of_the_trial(tmp_path: Path, probes: dict) -> None:
    trial = probed(tiny_trial(tmp_path, "bop", "final"), "signs")
    run = RunFolder(tmp_path / trial.run_id)
    result = train(trial, run, CPU)
    changed = dataclasses.replace(result, probes=probes)
    write_json(run.path / "result.json", {"run": run.path.name, **encode(changed)})
    assert [finding.kind for finding in check_run(run.path).findings] == ["contradictory"]


def test_no_probe_repeats_the_scores_of_the_run_with_other_bits(tmp_path: Path) -> None:
    changes = ("train.reestimate_batch_norm=true", "tasks.0.model={name: convnet, channels: 4, dense: 16}")
    trial = tiny_trial(tmp_path, "latent-adam", "final", 7, *changes, "train.epochs=1")
    result = train(probed(trial, "reestimate", "interpolate"), RunFolder(tmp_path / "run"), CPU)
    degrees, statistics = result.probes["interpolate"], result.probes["reestimate"]
    for name in ("val_loss", "val_top1", "test_loss", "test_top1"):
        score = getattr(result.scores, name)
        assert statistics[f"{name}.kept"] == statistics[f"{name}.reestimated"] == score
        if "top1" in name:
            assert degrees[f"{name}.kept.b0"] == degrees[f"{name}.reestimated.b0"] == score
