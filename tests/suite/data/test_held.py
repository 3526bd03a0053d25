"""Images are held once: by the workers of a sweep together, and by a process for tuning and final runs."""

from pathlib import Path

import pytest
import torch

from suite.data import Images, Splits, TestSetGuard, held, load_splits
from suite.data.held import Loan, borrow, splits_on
from suite.experiment.trial import Trial
from suite.records.files import canonical
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.pool import LocalPool, Machine, Shelf
from tests.support.tiny import CPU, digests, in_memory, tiny_plan, tiny_trial


@pytest.fixture(autouse=True)
def nothing_is_held():
    for cache in (held._without_test, held._test):
        cache.cache_clear()
    yield
    for cache in (held._without_test, held._test):
        cache.cache_clear()
    held._borrowed.clear()
    held._borrowed_test.clear()


def noise(count: int, seed: int, side: int = 28) -> Images:
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, side, side), generator=random, dtype=torch.uint8)
    return Images(pixels, torch.arange(count) % 10)


def test_tuning_and_final_runs_hold_train_and_validation_once(tmp_path: Path) -> None:
    data = canonical(tiny_trial(tmp_path).data)
    tune, final = splits_on(CPU, data, False), splits_on(CPU, data, True)
    assert in_memory(tune.train).pixels.data_ptr() == in_memory(final.train).pixels.data_ptr()
    assert in_memory(tune.val).pixels.data_ptr() == in_memory(final.val).pixels.data_ptr()
    assert len(final.test.labels) == 360
    with pytest.raises(TestSetGuard):  # that a final run has it in this process changes nothing
        _ = splits_on(CPU, data, False).test


def test_what_is_read_alone_is_what_is_read_together(tmp_path: Path) -> None:
    options = dict(tiny_trial(tmp_path).data)
    alone = splits_on(CPU, canonical(options), True)
    together = load_splits(options.pop("name"), options, with_test=True)
    for one, other in (
        (alone.train, together.train),
        (alone.val, together.val),
        (alone.test, together.test),
    ):
        assert torch.equal(in_memory(one).pixels, in_memory(other).pixels) and torch.equal(
            one.labels, other.labels
        )


def test_what_is_lent_is_not_read(tmp_path: Path) -> None:
    data, lent, test = (
        canonical({"name": "no such data"}),
        Splits(noise(20, 1), noise(10, 2), 10, {}),
        noise(5, 3),
    )
    borrow(Loan(data, lent))
    assert in_memory(splits_on(CPU, data, False).train).pixels is in_memory(lent.train).pixels
    borrow(Loan(data, None, test))
    assert in_memory(splits_on(CPU, data, True).test).pixels is test.pixels


def test_a_shelf_lends_each_part_once_and_the_test_part_to_final_runs_only(tmp_path: Path) -> None:
    tune, final = (tiny_trial(tmp_path, stage=stage) for stage in ("tune", "final"))
    options = dict(tune.data)
    splits = load_splits(options.pop("name"), options, with_test=False)
    shelf, borrowed = Shelf(), set()
    assert shelf.put(tune.data, splits) == ""
    loans = [shelf.loan(trial, borrowed) for trial in (tune, tune, final, final, tune)]
    assert [loan.splits is not None for loan in loans] == [True, False, False, False, False]
    assert [loan.test is not None for loan in loans] == [False, False, True, False, False]
    assert shelf.loan(final, set()).splits is splits and shelf.loan(final, set()).test is loans[2].test
    for images in (splits.train, splits.val, loans[2].test):
        assert images and in_memory(images).pixels.is_shared() and images.labels.is_shared()


def test_images_that_cannot_be_shared_are_read_by_each_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_little(images: Images) -> None:
        raise RuntimeError("unable to allocate shared memory\nmore")

    monkeypatch.setattr(Images, "share", too_little)
    trial, shelf = tiny_trial(tmp_path, stage="final"), Shelf()
    options = dict(trial.data)
    problem = shelf.put(trial.data, load_splits(options.pop("name"), options, with_test=False))
    assert problem == "unable to allocate shared memory"
    assert shelf.loan(trial, set()) == Loan(canonical(trial.data))


def test_workers_train_on_what_they_were_lent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST without its files: they train on what was lent, and tuning asks for no test part."""
    monkeypatch.setenv("FLIPBENCH_DATA", str(tmp_path / "absent"))
    monkeypatch.setenv("FLIPBENCH_DOWNLOAD", "0")
    plan = tiny_plan(tmp_path, "tasks.0.data={name: mnist, train_limit: 200}")
    folder = tmp_path / "results"
    prepare_folder(plan, folder, {})
    said: list[str] = []

    def on_report(report, trial: Trial) -> None:
        said.append(f"{report.kind} {trial.stage} {report.text}")

    with LocalPool(Machine(("cpu", "cpu"))) as pool:
        pool.lend(plan.cells[0].data, Splits(noise(200, 1), noise(100, 2), 10, {"shape": [1, 28, 28]}))
        assert Sweep(plan, folder, pool, True, on_report).run()
        assert len(digests(folder / "runs")) == 6
        assert not Sweep(plan, folder, pool, False, on_report).run()  # the test part is not to be had
    failed = [line for line in said if line.startswith("failed")]
    assert len(failed) == 4 and all(
        "failed final DataError: data set 'mnist': 4 of" in line for line in failed
    )
