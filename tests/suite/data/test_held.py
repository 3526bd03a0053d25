"""Images are held once: by the workers of a sweep together, and by a process for tuning and final runs."""

from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from suite.data import DATASETS, Images, Splits, TestSetGuard, held, load_splits
from suite.data.held import Loan, Shelf, borrow, splits_on
from suite.machine.forkserver import fork_context
from suite.records.schema import DataRecord
from suite.records.trial import Choice, Trial
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.messages import Failed, Message
from suite.sweep.pool import LocalPool, Machine
from tests.support.tiny import CPU, all_splits, digests, in_memory, tiny_plan

DIGITS = Choice("digits", {"train_limit": 200})


@pytest.fixture(autouse=True)
def nothing_is_held():
    def forget() -> None:
        held._without_test.cache_clear()
        held._test.cache_clear()
        held._borrowed.clear()

    forget()
    yield
    forget()


def noise(count: int, seed: int, side: int = 28) -> Images:
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, side, side), generator=random, dtype=torch.uint8)
    return Images(pixels, torch.arange(count) % 10)


def splits_of_noise(choice: Choice, train: int, val: int) -> Splits:
    record = DataRecord(
        name=choice.name,
        options=dict(choice.options),
        classes=10,
        train=train,
        val=val,
        test=0,
        shape=[1, 28, 28],
        sha256="",
        validation_index=[],
        validation_index_sha256="",
    )
    return Splits(noise(train, 1), noise(val, 2), 10, record)


def test_tuning_and_final_runs_hold_train_and_validation_once() -> None:
    tune, final = splits_on(CPU, DIGITS, False), splits_on(CPU, DIGITS, True)
    assert in_memory(tune.train).pixels.data_ptr() == in_memory(final.train).pixels.data_ptr()
    assert in_memory(tune.val).pixels.data_ptr() == in_memory(final.val).pixels.data_ptr()
    assert len(final.test) == 360
    with pytest.raises(TestSetGuard):  # although a final run holds it in this process
        _ = splits_on(CPU, DIGITS, False).test
    assert len(splits_on(CPU, Choice("digits", {"train_limit": 100}), False).train) == 100


def test_parts_that_are_read_alone_equal_those_that_are_read_together() -> None:
    alone, together = splits_on(CPU, DIGITS, True), all_splits(DIGITS)
    for one, other in (
        (alone.train, together.train),
        (alone.val, together.val),
        (alone.test, together.test),
    ):
        assert in_memory(one).pixels.equal(in_memory(other).pixels) and one.labels.equal(other.labels)


def test_borrowed_images_are_not_read() -> None:
    choice, test = Choice("no such data", {}), noise(5, 3)
    lent = splits_of_noise(choice, 20, 10)
    borrow(Loan(choice, lent))
    assert in_memory(splits_on(CPU, choice, False).train).pixels is in_memory(lent.train).pixels
    borrow(Loan(choice, lent, test))
    assert in_memory(splits_on(CPU, choice, True).test).pixels is test.pixels


def test_a_shelf_shares_each_part_and_lends_the_test_part_to_final_runs_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits, shelf = load_splits(DIGITS), Shelf()
    digits, reads = DATASETS["digits"], []

    def opened():
        source = digits.open()
        return replace(source, read_test=lambda: reads.append("test") or source.read_test())

    monkeypatch.setitem(DATASETS, "digits", replace(digits, open=opened))
    assert shelf.put(DIGITS, splits) == ""
    assert shelf.loan(DIGITS, "tune") == Loan(DIGITS, splits) and not reads
    final = shelf.loan(DIGITS, "final")
    assert final.splits is splits and final.test is not None
    assert shelf.loan(DIGITS, "final") == final and reads == ["test"]
    assert shelf.loan(DIGITS, "tune").test is None
    for images in (splits.train, splits.val, final.test):
        assert in_memory(images).pixels.is_shared() and images.labels.is_shared()


def receive(pipe: Connection) -> None:
    """Answer with the places of the images of two loans, and the sum of the pixels; then write on them."""
    first, second = (pipe.recv().splits.train for _ in range(2))
    pipe.send(([part.pixels.data_ptr() for part in (first, second)], int(first.pixels.sum())))
    first.pixels[0] = 7
    pipe.send("written")


def test_a_loan_shares_memory_also_when_it_is_sent_again() -> None:
    splits, shelf = load_splits(DIGITS), Shelf()
    pixels, context = in_memory(splits.train).pixels, fork_context()
    total = int(pixels.sum())
    shelf.put(DIGITS, splits)
    here, there = context.Pipe()
    worker = context.Process(target=receive, args=(there,))
    worker.start()
    for _ in range(2):
        here.send(shelf.loan(DIGITS, "tune"))
    (first, second), sum_there = here.recv()
    assert first == second and sum_there == total
    assert here.recv() == "written" and (pixels[0] == 7).all()  # one memory, not a copy
    worker.join()


def test_images_that_cannot_be_shared_are_read_by_each_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_little(images: Images) -> None:
        raise RuntimeError("unable to allocate shared memory\nmore")

    monkeypatch.setattr(Images, "share", too_little)
    shelf = Shelf()
    problem = shelf.put(DIGITS, load_splits(DIGITS))
    assert problem == "unable to allocate shared memory"
    assert shelf.loan(DIGITS, "final") == Loan(DIGITS)


def test_workers_train_on_borrowed_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST without its files: the workers train on the loan, and tuning does not ask for the test part."""
    monkeypatch.setenv("FLIPBENCH_DATA", str(tmp_path / "absent"))
    monkeypatch.setenv("FLIPBENCH_DOWNLOAD", "0")
    plan = tiny_plan(
        tmp_path, "tasks.0.data={name: mnist, train_limit: 200}", "tuning={trials: 3}", "seeds=2"
    )
    folder = tmp_path / "results"
    prepare_folder(plan, folder, {})
    failures: list[tuple[str, str]] = []

    def on_message(message: Message, trial: Trial, cell: str) -> None:
        if isinstance(message, Failed) and message.failure:
            failures.append((trial.stage, message.failure.error))

    data = plan.cells[0].data
    with LocalPool(Machine(("cpu", "cpu"))) as pool:
        pool.lend(data, splits_of_noise(data, 200, 100))
        assert Sweep(plan, folder, pool, True, on_message).run()
        assert len(digests(folder / "runs")) == 6
        assert not Sweep(plan, folder, pool, False, on_message).run()  # the test part cannot be read
    assert len(failures) >= 4  # two of each cell, and two of the published default if another one won
    assert all(stage == "final" and "DataError: data set 'mnist': 4 of" in error for stage, error in failures)
