"""One run: the same trial gives the same bits, interrupted or not, and every failure is visible."""

import itertools
import math
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from optimizers import METHODS
from optimizers.bop import Bop
from optimizers.core import Method, Timed, WeightRule, sign
from suite.data import TestSetGuard, load_splits
from suite.data.held import splits_on
from suite.machine import preemption
from suite.machine.preemption import StopRequested
from suite.machine.random_keys import random_key, seed_draws
from suite.models.blocks.layers import BinaryLinear
from suite.records.run import WEIGHTS, RunFolder
from suite.records.schema import EpochLine
from suite.records.trial import Choice, Trial
from suite.training.checkpoint import load_checkpoint, save_checkpoint
from suite.training.evaluate import assert_binary, evaluate, reestimate_batch_norm
from suite.training.loop import train
from suite.training.progress import Progress
from suite.training.provenance import method_file
from suite.training.real_adam import RealAdam
from suite.training.step import optimizers_of
from tests.support.tiny import CPU, in_memory, tiny_trial


class Interrupted(Exception):
    """Stands for a kill between two epochs."""


def interrupt_after(epoch: int):
    def on_epoch(line: EpochLine) -> None:
        if line.epoch == epoch:
            raise Interrupted

    return on_epoch


@pytest.mark.parametrize("method", ["bop", "latent-adam", "bayes-binn", "prob-bop", "diode"])
def test_the_same_trial_gives_the_same_bits(tmp_path: Path, method: str) -> None:
    trial = tiny_trial(tmp_path, method, "final", 7, f"methods=[{method}]")
    first = train(trial, RunFolder(tmp_path / "a"), CPU)
    torch.manual_seed(1234)  # the global generator must not matter
    second = train(trial, RunFolder(tmp_path / "b"), CPU)
    assert first.digest == second.digest
    other = tiny_trial(tmp_path, method, "final", 8, f"methods=[{method}]")
    train(other, RunFolder(tmp_path / "c"), CPU)
    one, another = (lines_of(RunFolder(tmp_path / name))[0].train_loss for name in "ac")
    assert one != another  # the digest differs in any case: it holds the seed


# With a state of weights or of a layer, draws in a step or in a reading, counts, latent weights in torch's
# optimizer or in ours. That each method resumes is in its contract (tests/optimizers/test_methods.py).
KINDS = [
    "bop",
    "bop-layer",
    "prob-bop",
    "bayes-binn",
    "diode",
    "md-tanh",
    "latent-adam",
    "latent-lion",
    "t-bso",
]
OPTIONS = [
    "decay: {lr: {cosine: 0.0}}",
    "binarize: stochastic",
    "binarize: ede, real_until: 0.5",
    "transform: recu, freeze: 0.001, dampen: 0.1",
]


@pytest.mark.parametrize(
    ("method", "options"), [*((name, "") for name in KINDS), *(("latent-adam", o) for o in OPTIONS)]
)
def test_a_run_stopped_in_mid_epoch_ends_like_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, options: str
) -> None:
    trial = tiny_trial(tmp_path, method, "final", 7, f"methods=[{{name: {method}, {options}}}]")
    unbroken = train(trial, RunFolder(tmp_path / "a"), CPU)
    broken = RunFolder(tmp_path / "b")
    for step in (2, 7):  # of 12: in the middle of the first epoch, and before the last step of the second
        with monkeypatch.context() as patch:
            progress = Progress()
            patch.setattr(preemption, "requested", lambda at=step, progress=progress: progress.step == at)
            with pytest.raises(StopRequested, match=f"after step {step} of 12"):
                train(trial, broken, CPU, progress=progress)
    seen: list[int] = []
    resumed = train(trial, broken, CPU, on_epoch=lambda line: seen.append(line.epoch))
    assert seen == [2, 3]  # the first epoch came from the checkpoint
    assert resumed.digest == unbroken.digest
    lines, others = lines_of(broken), lines_of(RunFolder(tmp_path / "a"))
    assert [line.without_times() for line in lines] == [line.without_times() for line in others]
    assert not list(broken.path.glob("checkpoint*"))


@pytest.mark.parametrize("look", [5, 20, 21, 25, 26])
def test_a_run_stopped_in_evaluation_or_reestimation_ends_like_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    # It looks after each of 4 steps and before the one batch of evaluation, so 5 times in each of 4 epochs;
    # then before 4 batches of the re-estimation, one of validation and one of the test set: 26 times.
    trial = tiny_trial(
        tmp_path, "latent-adam", "final", 7, "train.reestimate_batch_norm=true", "train.epochs=4"
    )
    unbroken = train(trial, RunFolder(tmp_path / "a"), CPU)
    broken, looks = RunFolder(tmp_path / "b"), itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(preemption, "requested", lambda: next(looks) == look)
        with pytest.raises(StopRequested, match="of 16, and saved"):
            train(trial, broken, CPU)
    assert train(trial, broken, CPU).digest == unbroken.digest
    whole = broken.whole()
    assert whole is not None and broken.flips(whole).shape == (16, 2)


def test_a_run_killed_while_it_looks_at_an_epoch_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    trial = tiny_trial(tmp_path, "bop", "final", 7)
    unbroken = train(trial, RunFolder(tmp_path / "a"), CPU)
    broken = RunFolder(tmp_path / "b")
    for epoch in (1, 3):
        with pytest.raises(Interrupted):
            train(trial, broken, CPU, checkpoint_every=0.0, on_epoch=interrupt_after(epoch))
    seen: list[int] = []
    resumed = train(trial, broken, CPU, on_epoch=lambda line: seen.append(line.epoch))
    assert seen == [3] and resumed.digest == unbroken.digest


def test_an_epoch_is_timed_from_its_first_step_to_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = itertools.count()  # one second between two looks at the clock
    clock = SimpleNamespace(perf_counter=lambda: float(next(now)))
    monkeypatch.setattr("suite.training.progress.time", clock)

    def takes_long(seconds: int, value: Any = None) -> Any:
        for _ in range(seconds):
            next(now)
        return value

    progress, splits = Progress(), splits_on
    monkeypatch.setattr("suite.training.loop.splits_on", lambda *args: takes_long(100, splits(*args)))
    run = RunFolder(tmp_path / "run")
    takes_long(1000)  # until it is this run's turn
    result = train(tiny_trial(tmp_path), run, CPU, progress=progress, on_epoch=lambda _: takes_long(100))
    assert all(line.train_seconds < line.seconds < 100 for line in lines_of(run))
    assert 400 <= result.seconds < 500  # the images, and three looks at an epoch


def test_the_checkpoint_of_another_version_is_not_read(tmp_path: Path) -> None:
    trial = tiny_trial(tmp_path)
    run = RunFolder(tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("suite.training.checkpoint.FORMAT", 1)
        with pytest.raises(Interrupted):
            train(trial, run, CPU, checkpoint_every=0.0, on_epoch=interrupt_after(2))
    seen: list[int] = []
    progress = Progress()
    train(trial, run, CPU, progress=progress, on_epoch=lambda line: seen.append(line.epoch))
    assert seen == [1, 2, 3]
    problem = "the checkpoint is that of another version of flipbench; the run starts from the beginning"
    assert progress.notes == [problem]


def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"epoch": 1})
    save_checkpoint(tmp_path, {"epoch": 2})
    newest = tmp_path / "checkpoint.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert load_checkpoint(tmp_path) == {"epoch": 1}
    assert (tmp_path / "checkpoint.pt.damaged").exists() and not newest.exists()


def test_no_checkpoint_is_no_state(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


def test_the_record_of_a_final_run(tmp_path: Path) -> None:
    trial = tiny_trial(tmp_path, "latent-adam", "final")
    run = RunFolder(tmp_path / "run")
    result = train(trial, run, CPU)
    assert set(result.files) == {
        "trial.json",
        "environment.json",
        "epochs.jsonl",
        "flips.npz",
        "test_correct.npy",
    }
    assert result.status == "done" and run.result() == result
    assert result.bytes_per_binary_weight.stored == 4.0
    assert result.bytes_per_binary_weight.optimizer == pytest.approx(8.0, abs=0.01)  # two moments
    right = np.unpackbits(np.load(run.path / "test_correct.npy"))
    assert right.sum() / 360 == result.scores.test_top1
    flips = np.load(run.path / "flips.npz")["flips"]
    lines = lines_of(run)
    assert flips.shape == (result.steps, 2) == (lines[-1].step, 2)
    assert [line.flips.flips for line in lines] == flips.reshape(3, -1, 2).sum(1).tolist()
    assert lines[-1].val_top1 == result.scores.val_top1
    assert sum(layer.weights for layer in result.layers) == result.binary_weights == 64 * 16 + 160


def test_a_kept_network_changes_no_bit_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = tiny_trial(tmp_path, "latent-adam", "final")
    plain, kept = RunFolder(tmp_path / "plain"), RunFolder(tmp_path / trial.run_id)
    without = train(trial, plain, CPU)
    for at in ("os.replace weights", "os.replace result"):  # killed before either file has its name
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr("os.replace", kill_at(at.split()[1]))
            train(trial, kept, CPU, checkpoint_every=0.0, keep_weights=True)
        assert (kept.path / WEIGHTS).exists() == (at == "os.replace result")
    with_ = train(trial, kept, CPU, keep_weights=True)
    assert with_.digest == without.digest and with_.deterministic() == without.deterministic()
    assert {*with_.files} - {*without.files} == {WEIGHTS}
    for name in ("trial.json", "flips.npz", "test_correct.npy"):
        assert (kept.path / name).read_bytes() == (plain.path / name).read_bytes()
    assert kept.whole() == with_


def kill_at(start: str) -> Callable[..., None]:
    """os.replace that ends the process before a file of this name is there."""
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target).name.startswith(start):
            raise Interrupted
        replace(source, target)

    return killed


def test_no_other_run_keeps_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one that is only tuned or that diverges, nor one that finishes what an attempt to keep it began."""
    tuning = train(tiny_trial(tmp_path), RunFolder(tmp_path / "tuning"), CPU, keep_weights=True)
    trial = tiny_trial(tmp_path, "bop", "final")
    run = RunFolder(tmp_path / trial.run_id)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr("os.replace", kill_at("result"))
        train(trial, run, CPU, keep_weights=True)
    final = train(trial, run, CPU)
    monkeypatch.setattr("suite.training.loop.epoch_loss", lambda *_: (math.nan, 1))
    diverged = train(trial, RunFolder(tmp_path / "diverged"), CPU, keep_weights=True)
    assert diverged.status == "diverged"
    assert all(WEIGHTS not in result.files for result in (tuning, final, diverged))
    assert list(tmp_path.glob(f"*/{WEIGHTS}")) == []


def test_tuning_cannot_reach_the_test_set(tmp_path: Path) -> None:
    result = train(tiny_trial(tmp_path, stage="tune"), RunFolder(tmp_path / "run"), CPU)
    scores = result.scores
    assert scores.test_top1 is scores.test_top5 is scores.test_loss is None
    with pytest.raises(TestSetGuard):
        _ = load_splits(Choice("digits", {})).test


def lines_of(run: RunFolder) -> list[EpochLine]:
    result = run.result()
    assert result is not None
    return run.epochs(result)


def plugged(name: str, rule: WeightRule) -> Method:
    return Method(name, "https://example.org", "For a test.", {}, lambda: rule)


def trial_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: WeightRule, *changes: str) -> Trial:
    monkeypatch.setitem(METHODS, "plugged", plugged("plugged", rule))
    return tiny_trial(tmp_path, "plugged", "final", 7, "methods=[plugged]", *changes)


def test_nan_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A latent weight that becomes NaN in step 6 of 4 + 4 + 4: sign would hide it, the record does not."""

    class Explodes(torch.optim.SGD):
        steps = 0

        def step(self, closure=None):  # type: ignore[override]
            super().step()
            Explodes.steps += 1
            if Explodes.steps == 6:
                self.param_groups[0]["params"][0].data[0, 0] = math.nan

    rule = WeightRule(lambda w: w, METHODS["latent-sgd"]().read, lambda params: Explodes(params, lr=0.1))
    result = train(trial_with(tmp_path, monkeypatch, rule), RunFolder(tmp_path / "run"), CPU)
    assert result.status == "diverged"
    assert result.diverged_at_step == 8  # signs hide it from the loss: it is found at the end of the epoch
    assert result.epochs == 1 and len(lines_of(RunFolder(tmp_path / "run"))) == 1
    scores = result.scores
    assert (scores.val_top1, scores.val_top5) == (scores.test_top1, scores.test_top5) == (0.1, 0.5)
    assert scores.val_loss == scores.test_loss == pytest.approx(math.log(10))


def test_a_state_of_the_real_parameters_that_is_lost_is_a_result_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an infinite second moment Adam stands still, and no loss shows it."""

    class Loses(RealAdam):
        def step(self, closure: Any = None) -> None:
            super().step()
            for state in self.state.values():
                if state["step"] == 6:
                    state["exp_avg_sq"].fill_(math.inf)

    monkeypatch.setattr("suite.training.step.RealAdam", Loses)
    result = train(tiny_trial(tmp_path), RunFolder(tmp_path / "run"), CPU)
    assert (result.status, result.diverged_at_step) == ("diverged", 8)


def test_a_run_that_diverges_frees_its_place_within_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is NaN from step 3 of 10 on; with a look every 2 steps the fifth is never made."""
    steps = 0

    class Explodes(torch.optim.SGD):
        def step(self, closure=None):  # type: ignore[override]
            nonlocal steps
            steps += 1
            if steps == 2:
                self.param_groups[0]["params"][-1].data.fill_(math.nan)

    monkeypatch.setattr("suite.training.loop.LOOK_EVERY", 2)
    rule = WeightRule(lambda w: w, lambda w: w, lambda params: Explodes(params, lr=0.1))
    trial = trial_with(tmp_path, monkeypatch, rule, "train.batch_size=20")
    result = train(trial, RunFolder(tmp_path / "run"), CPU)
    assert steps == 4 and result.diverged_at_step == 3 and result.status == "diverged"


def test_bfloat16_is_another_arithmetic_for_the_same_network(tmp_path: Path) -> None:
    """Matrix products are rounded; parameters, optimizer state and the loss stay float32."""
    results = {}
    for precision in ("float32", "bfloat16"):
        seen: list[torch.dtype] = []

        def watch(module: nn.Module, inputs: tuple, output: torch.Tensor, seen=seen) -> None:
            seen.append(output.dtype)

        hook = nn.modules.module.register_module_forward_hook(watch)
        try:
            trial = tiny_trial(tmp_path, "latent-adam", "tune", 7, f"train.precision={precision}")
            results[precision] = train(trial, RunFolder(tmp_path / precision), CPU)
        finally:
            hook.remove()
        assert (torch.bfloat16 in seen) == (precision == "bfloat16")
    exact, rounded = (results[precision].scores.val_loss for precision in results)
    assert exact != rounded and rounded == pytest.approx(exact, rel=0.2)
    sizes = [result.bytes_per_binary_weight for result in results.values()]
    assert sizes[0] == sizes[1]


def test_an_average_that_is_lost_is_a_result_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bop's weights stay -1/+1 whatever becomes of its average, and the loss stays finite."""

    class Forgets(Bop):
        def step(self, closure=None):  # type: ignore[override]
            super().step()
            weight = self.param_groups[0]["params"][0]
            self.state[weight]["average"][0, 0] = math.inf

    rule = WeightRule(METHODS["bop"]().start, METHODS["bop"]().read, lambda params: Forgets(params))
    result = train(trial_with(tmp_path, monkeypatch, rule), RunFolder(tmp_path / "run"), CPU)
    assert result.status == "diverged" and result.diverged_at_step == 4 and result.epochs == 0


def test_real_weights_cannot_pass_for_binary_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = WeightRule(lambda w: w, lambda w: w, lambda params: torch.optim.SGD(params, lr=0.1))
    with pytest.raises(AssertionError, match=r"-1/\+1"):
        train(trial_with(tmp_path, monkeypatch, rule), RunFolder(tmp_path / "run"), CPU)


def test_the_time_arrives_in_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who ask are told before the forward pass: the epoch from 1, the progress from 0 to below 1."""
    told: list[tuple[int, float, float]] = []

    class Reads(Timed):
        def forward(self, weight: Tensor) -> Tensor:
            return sign(weight)

    class Asks(torch.optim.SGD):
        def step(self, closure: object = None) -> None:
            (group,) = self.param_groups
            told.append((group["epoch"], group["progress"], read.progress))

    read = Reads()
    rule = WeightRule(
        sign, read, lambda params: Asks([dict(params=list(params), epoch=0, progress=-1.0)], 0.1), deploy=sign
    )
    train(trial_with(tmp_path, monkeypatch, rule), RunFolder(tmp_path / "run"), CPU)
    assert told == [(1 + step // 4, step / 12, step / 12) for step in range(12)]


@pytest.mark.parametrize("drawn", [1, 3])
def test_what_is_drawn_in_a_step_is_a_matter_of_seed_and_step_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: int
) -> None:
    draws: list[float] = []

    class Draws(torch.optim.SGD):
        def step(self, closure: object = None) -> None:
            draws.append(torch.rand(drawn)[0].item())

    rule = WeightRule(sign, lambda weight: weight, lambda params: Draws(params, 0.1))
    train(trial_with(tmp_path, monkeypatch, rule), RunFolder(tmp_path / "run"), CPU)
    seed_draws(CPU, random_key(7, "step", 11))
    assert len(set(draws)) == 12 and draws[11] == torch.rand(1).item()


def test_scores_do_not_depend_on_the_evaluation_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_splits(Choice("digits", {}))
    torch.manual_seed(0)
    rule = METHODS["bop"]()
    model = nn.Sequential(nn.Flatten(), BinaryLinear(rule, 64, 10), nn.BatchNorm1d(10))
    scores = []
    for size in (7, 64, 1000):
        monkeypatch.setattr("suite.data.memory.SMALL_EVAL_BATCH", size)
        scores.append(evaluate(model, data.val)[0])
    logits = model(in_memory(data.val).pixels.float() / 127.5 - 1)
    assert {s.top1 for s in scores} == {float((logits.argmax(1) == data.val.labels).double().mean())}
    ranks = (logits > logits.gather(1, data.val.labels[:, None])).sum(1)
    assert {s.top5 for s in scores} == {float((ranks < 5).double().mean())}
    assert len({round(s.loss, 5) for s in scores}) == 1


def test_batch_norm_is_reestimated_as_a_plain_average() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3))
    batches = [(torch.randn(20, 3) + 5, torch.zeros(20)) for _ in range(4)]
    reestimate_batch_norm(model, batches)
    mean = torch.stack([x.mean(0) for x, _ in batches]).mean(0)
    variance = torch.stack([x.var(0) for x, _ in batches]).mean(0)
    assert torch.allclose(model[0].running_mean, mean)  # type: ignore[arg-type]
    assert torch.allclose(model[0].running_var, variance)  # type: ignore[arg-type]
    assert model[0].momentum == 0.1


def test_every_parameter_has_exactly_one_owner() -> None:
    rule = METHODS["bop"]()
    model = nn.Sequential(BinaryLinear(rule, 4, 4), nn.BatchNorm1d(4))
    weights, real = optimizers_of(model, rule, 0.01)
    assert [p.shape for p in weights.param_groups[0]["params"]] == [(4, 4)]
    assert len(real.param_groups[0]["params"]) == 2
    forgetful = WeightRule(rule.start, rule.read, lambda params: rule.optimizer(list(params)[:1]))
    two = nn.Sequential(BinaryLinear(forgetful, 4, 4), BinaryLinear(forgetful, 4, 4), nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match="exactly one"):
        optimizers_of(two, forgetful, 0.01)


def test_binary_layers_are_asserted() -> None:
    model = nn.Sequential(BinaryLinear(METHODS["bop"](), 4, 4))
    assert_binary(model)
    model[0].weight.data[0, 0] = 0.5  # type: ignore[index]
    with pytest.raises(AssertionError, match="0 computes"):
        assert_binary(model)


def test_the_recorded_code_of_a_method_is_the_code_that_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is edited during a sweep changes nothing in the processes that have imported it."""
    before = {name: method_file(each) for name, each in METHODS.items()}
    monkeypatch.setattr(Path, "read_bytes", lambda file: b"edited")
    assert {name: method_file(each) for name, each in METHODS.items()} == before


def test_a_failure_is_placed_before_in_or_after_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> Any:
        raise RuntimeError

    places = []
    for part in ("make_learner", "training_step", "evaluate"):
        progress = Progress()
        with monkeypatch.context() as patch:
            patch.setattr(f"suite.training.loop.{part}", failing)
            with pytest.raises(RuntimeError):
                train(tiny_trial(tmp_path), RunFolder(tmp_path / part), CPU, progress=progress)
        places.append(progress.place)
    assert places == ["", "in step 1", "after step 4"]
