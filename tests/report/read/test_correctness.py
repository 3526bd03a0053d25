"""The images that a final run has right: read from its file, in agreement with its score, or damaged."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from report.read.correctness import count_correct
from report.read.experiment import read_records
from report.read.records import RunRecord
from suite.records.run import RunFolder
from tests.support.fake_records import TASKS, diverge, final_run, result_of, write_experiment

IMAGES = 360  # of the digits


def finals(folder: Path) -> list[RunRecord]:
    return [run for run in read_records(folder).runs if run.phase == "final"]


def with_bits(run: Path, bits: np.ndarray) -> None:
    """The same run, its files sealed with other bits."""
    folder, result = RunFolder(run), result_of(run)
    folder.finish(result, folder.epochs(result), folder.flips(result), bits)


def test_the_bits_of_a_run_are_those_of_its_file(tmp_path: Path) -> None:
    folder = write_experiment(tmp_path, tasks=TASKS[:1], methods=("bop",), seeds=2, trials=2)
    diverge(final_run(folder, "digits.mlp.bop", 1))
    done, diverged = finals(folder)
    bits = np.unpackbits(np.load(final_run(folder, "digits.mlp.bop", 0) / "test_correct.npy"))[:IMAGES]
    assert count_correct([done.correct], IMAGES).tolist() == bits.tolist()
    assert done.score == bits.sum() / IMAGES
    assert (diverged.status, diverged.correct) == ("diverged", b"")
    assert not any(run.correct for run in read_records(folder).runs if run.phase != "final")


def test_the_counts_are_sums_over_runs() -> None:
    runs = np.random.default_rng(0).integers(0, 2, (300, 21))
    counts = count_correct([np.packbits(run).tobytes() for run in runs], 21)
    assert counts.tolist() == runs.sum(axis=0).tolist() and counts.dtype == np.uint16
    assert count_correct([], 3).tolist() == [0, 0, 0]


def lose(run: Path) -> None:
    (run / "test_correct.npy").unlink()


def one_more(run: Path) -> None:
    bits = np.unpackbits(np.load(run / "test_correct.npy"))
    bits[np.flatnonzero(bits == 0)[0]] = 1
    with_bits(run, np.packbits(bits))


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lose, "it does not exist"),
        (lambda run: (run / "test_correct.npy").write_bytes(b""), "does not match the checksum"),
        (one_more, "of 360 test images are right here, but test_top1 is 0.9"),
        (lambda run: with_bits(run, np.zeros(46, np.uint8)), r"holds \(46,\) of uint8, not bits of 360"),
        (lambda run: with_bits(run, np.zeros(360, bool)), r"holds \(360,\) of bool, not bits of 360"),
        (lambda run: with_bits(run, np.zeros(45, np.int16)), r"holds \(45,\) of int16"),
        (lambda run: with_bits(run, np.array(["a"])), "not bits of 360"),
    ],
)
def test_a_run_without_its_images_is_damaged(
    tmp_path: Path, harm: Callable[[Path], object], problem: str
) -> None:
    folder = write_experiment(tmp_path, tasks=TASKS[:1], methods=("bop",), seeds=2, trials=1)
    harm(final_run(folder, "digits.mlp.bop", 1))
    good, bad = finals(folder)
    assert (good.status, bad.status, bad.score) == ("done", "damaged", None)
    assert re.search(problem, bad.reason), bad.reason
