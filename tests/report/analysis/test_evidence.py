"""Numbers that contradict each other are refused where they enter."""

import numpy as np
import pytest

from report.analysis.evidence import MethodEvidence, TaskEvidence, Unit
from tests.support.final_runs import method, task, unit


def test_a_unit_refuses_what_contradicts_itself() -> None:
    counts = np.array([1, 1, 0, 0], np.uint16)
    assert Unit((0.5,), counts).runs == 1
    with pytest.raises(ValueError, match=r"scores add up to 0.75, the images to 0.5"):
        Unit((0.75,), counts)
    with pytest.raises(ValueError, match="right in more than the 1 finished runs"):
        Unit((0.5,), 2 * counts)
    with pytest.raises(ValueError, match=r"type float64"):
        Unit((0.5,), counts.astype(float))
    with pytest.raises(ValueError, match="without a run"):
        Unit((), np.zeros(4, np.uint16))


def test_a_task_refuses_what_contradicts_itself() -> None:
    with pytest.raises(ValueError, match="a method appears twice"):
        task(method("bop", [0.9]), method("bop", [0.8]))
    with pytest.raises(ValueError, match="bop: counts for another test set than of 1000 images"):
        task(method("bop", [0.9], images=10))
    with pytest.raises(ValueError, match="bop: several runs in a unit"):
        task(method("bop", [[0.9, 0.8]]), studies=1)
    with pytest.raises(ValueError, match="a margin of 0"):
        task(margin=0.0)
    with pytest.raises(ValueError, match="bop: more units or runs than planned"):
        MethodEvidence("bop", (unit(0.9), unit(0.8)), 1, 2)


def test_a_diverged_run_counts_at_chance_on_every_image() -> None:
    counts = np.array([2, 1, 1, 0], np.uint16)
    bop = MethodEvidence("bop", (Unit((0.5, 0.5), counts, diverged=2),), 1, 4)
    of_bop = TaskEvidence((bop,), 4, 0.25, studies=2)
    assert bop.rates(of_bop.chance).tolist() == [[2.5 / 4, 1.5 / 4, 1.5 / 4, 0.5 / 4]]
    assert of_bop.means["bop"].tolist() == [(0.5 + 0.5 + 0.25 + 0.25) / 4]


def test_a_run_that_scores_as_a_guess_has_collapsed() -> None:
    """Three standard errors above 10 % on 1,000 images: 12.8 %."""
    assert task().collapsed(method("bop", [0.9, 0.128]))
    assert not task().collapsed(method("bop", [0.9, 0.129]))
