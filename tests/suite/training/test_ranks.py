"""Several processes that train one network: what they compute is what one process computes."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from suite.data import memory
from suite.data.memory import Images
from suite.machine import preemption
from suite.machine.preemption import StopRequested
from suite.records.run import RunFolder
from suite.records.schema import EpochLine
from suite.records.trial import Trial
from suite.training.evaluate import evaluate, reestimate_batch_norm
from suite.training.loop import train
from suite.training.ranks import ALONE, Ranks, RanksError, collect_in_turn, only_the_first_part_counts
from tests.support.tiny import CPU, tiny_trial
from tests.support.together import EVALUATED, train_all_together
from tests.support.warm import Warm

METHODS = ("bop", "latent-adam", "bayes-binn")
CONVOLUTIONS = "tasks.0.model={name: convnet, channels: 8, dense: 32}"
LONGER = "tasks.0.data.train_limit=600"
TRAINED = ("train.epochs=1", "train.batch_size=40", LONGER, CONVOLUTIONS)  # 15 steps


@pytest.fixture(autouse=True)
def evaluation_in_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SMALL_EVAL_BATCH", EVALUATED)


def a_trial(folder: Path, method: str, parts: int) -> Trial:
    changes = (f"methods=[{method}]", f"train.batch_parts={parts}", *TRAINED)
    return tiny_trial(folder, method, "final", 3, *changes)


@pytest.fixture(scope="module")
def two_processes(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of trials that two processes have trained together, in a folder for each name."""
    folder = tmp_path_factory.mktemp("together")
    trials = {f"{method}-{parts}": a_trial(folder, method, parts) for method in METHODS for parts in (2, 1)}
    (folder / "trials.json").write_text(json.dumps({name: t.as_json() for name, t in trials.items()}))
    ended = warm.run(train_all_together, folder)
    assert ended.code == 0, ended.value
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_give_the_bits_of_one_that_computes_both_parts(
    tmp_path: Path, two_processes: Path, method: str
) -> None:
    alone = train(a_trial(tmp_path, method, 2), RunFolder(tmp_path / "alone"), CPU)
    together = RunFolder(two_processes / f"{method}-2").whole()
    assert together and together.digest == alone.digest
    assert RunFolder(two_processes / f"{method}-2").environment().processes == 2


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_that_share_a_part_flip_the_weights_that_one_process_flips(
    tmp_path: Path, two_processes: Path, method: str
) -> None:
    run = RunFolder(tmp_path / "alone")
    alone = train(a_trial(tmp_path, method, 1), run, CPU)
    shared = RunFolder(two_processes / f"{method}-1")
    together = shared.whole()
    assert together
    # Sums over halves of a batch are rounded otherwise than a sum over all of it: not the same bits.
    np.testing.assert_array_equal(shared.flips(together)[:12], run.flips(alone)[:12])
    assert run.flips(alone)[:12].sum() > 12
    assert together.scores.test_loss == pytest.approx(alone.scores.test_loss, rel=1e-3)


def test_batch_norm_sees_one_part_at_a_time(tmp_path: Path) -> None:
    """One part and two: the same images and the same start, and another loss from the first step on."""
    losses = []
    for parts in (1, 2):
        lines: list[EpochLine] = []
        train(a_trial(tmp_path, "bop", parts), RunFolder(tmp_path / f"{parts}"), CPU, on_epoch=lines.append)
        losses.append(lines[0].train_loss)
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.2)


@pytest.mark.parametrize(
    ("processes", "parts", "expected"),
    [
        (1, 1, [[(0, 24)]]),
        (1, 3, [[(0, 8), (8, 16), (16, 24)]]),
        (2, 4, [[(0, 6), (6, 12)], [(12, 18), (18, 24)]]),
        (2, 2, [[(0, 12)], [(12, 24)]]),
        (4, 2, [[(0, 6)], [(6, 12)], [(12, 18)], [(18, 24)]]),
    ],
)
def test_a_batch_is_dealt_out_once(processes: int, parts: int, expected: list) -> None:
    dealt = [Ranks(rank, processes).slices(24, parts) for rank in range(processes)]
    assert [[(part.start, part.stop) for part in mine] for mine in dealt] == expected


@pytest.mark.parametrize(
    ("processes", "batch", "parts", "words"),
    [
        (1, 10, 3, "a batch of 10 has no 3 equal parts"),
        (2, 30, 3, "3 parts cannot be dealt to 2 processes evenly"),
        (4, 6, 2, "a batch of 6 cannot be dealt to 4 processes evenly"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused(processes: int, batch: int, parts: int, words: str) -> None:
    with pytest.raises(RanksError, match=words):
        Ranks(0, processes).slices(batch, parts)


def test_only_the_first_part_moves_the_running_statistics() -> None:
    norm = nn.BatchNorm1d(3)
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    before = norm.running_mean
    assert isinstance(before, Tensor)
    before = before.clone()
    with only_the_first_part_counts(norm, 1):
        normalized = norm(x)
    assert norm.running_mean is not None and norm.running_mean.equal(before)
    assert normalized.mean(0).abs().max() < 1e-6  # by the statistics of this part all the same
    with only_the_first_part_counts(norm, 0):
        norm(x)
    assert not norm.running_mean.equal(before)


def test_what_was_dealt_collect_in_turn_is_put_together_in_order() -> None:
    class Three(Ranks):
        def gather(self, value: object) -> list:
            return [[0, 3, 6], [1, 4], [2, 5]]

    assert collect_in_turn([], Three(0, 3)) == list(range(7))
    assert collect_in_turn("abc", ALONE) == list("abc")


def test_a_process_does_not_leave_the_others_in_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits for its results would fail. They agree to stop between two training steps."""
    monkeypatch.setattr(preemption, "requested", lambda: True)

    class First(Ranks):
        """The first of two processes, the other one of which has no batch."""

        def gather(self, value: Any) -> list[Any]:
            return [value, []]

        def sum(self, values: Tensor) -> Tensor:
            return values

    model, images = (
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 3)),
        Images(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
    )
    batches = list(images.eval_batches(CPU, set()))
    for ranks, stops in ((ALONE, True), (First(rank=0, count=2), False)):
        for run in (
            lambda ranks=ranks: evaluate(model, images, ranks=ranks),
            lambda ranks=ranks: reestimate_batch_norm(model, batches, ranks=ranks),
        ):
            with pytest.raises(StopRequested) if stops else contextlib.nullcontext():
                run()
