"""The arms of a claim's test: the final runs of each cell as units with one number each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from report.analysis.claims.measures import measured
from report.analysis.images import ImageProfile, image_profile
from report.analysis.intervals import variance_of
from report.analysis.units import method_evidence, studies_of, unit_groups
from report.read.records import CellRecord, Records, RunRecord
from suite.records.claim import Group, Match, cells_of_arm, groups_of


@dataclass(frozen=True, eq=False)
class Sample:
    """The units of one arm. A unit without a number is none, and counts in `planned`.

    images: how the arm does on each test image, where the measure is the accuracy on them.
    """

    arm: str
    cell: str
    values: np.ndarray
    planned: int  # units
    runs: int  # that have a result, of `planned_runs`
    planned_runs: int
    diverged: int
    images: ImageProfile | None = None
    matched: float | None = None  # of an arm that is matched: the mean of that measure

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return float(self.values.mean()) if self.n else math.nan

    @property
    def variance(self) -> float:
        """Of a unit; NaN for fewer than two."""
        return variance_of(self.values)

    @property
    def complete(self) -> bool:
        return self.n == self.planned and self.runs == self.planned_runs


def cells_by_group(records: Records, arms: Sequence[str]) -> dict[Group, list[list[CellRecord]]]:
    """The cells of each arm, in order, for each group; of several tracks the first one's.

    An arm has one cell, or those of its pool.
    """
    cells = {cell.name: cell for cell in records.cells if cell.track in (None, records.first_track)}
    planned = [cell.planned for cell in cells.values()]
    return {
        group: [[cells[each.cell] for each in cells_of_arm(arm, planned)[group]] for arm in arms]
        for group in groups_of(arms, planned)
    }


def studies_of_cells(records: Records, cells: Sequence[CellRecord]) -> int:
    """How many studies a unit is one of: 0 where nothing is tuned, 1 where a unit is a run of one winner."""
    return studies_of(records.plan, [cell.planned for cell in cells])


def nearest(
    records: Records, match: Match | None, settings: list[Sample], pool: Sequence[CellRecord], studies: int
) -> Sample:
    """The one setting of an arm; of a pool the one whose matched measure is nearest to the target."""
    if match is None:
        return settings[0]
    reached = [
        sample(records, each.arm, cell, studies, match.measure).mean
        for each, cell in zip(settings, pool, strict=True)
    ]
    known = [n for n, value in enumerate(reached) if value > 0]
    chosen = min(known, key=lambda n: abs(math.log(reached[n] / match.target)), default=0)
    return replace(settings[chosen], matched=reached[chosen])


def sample(
    records: Records, arm: str, cell: CellRecord, studies: int, measure: str, minus: str | None = None
) -> Sample:
    """The units of an arm: the mean of each study's final runs, or each run where there is one study."""
    finals = records.finals(cell)
    groups = unit_groups(finals, studies)
    values = [unit_value(group, measure, minus) for group in groups]
    known = np.array([value for value in values if not math.isnan(value)])
    return Sample(
        arm=arm,
        cell=cell.name,
        values=known,
        planned=len(groups),
        runs=sum(run.scored for run in finals),
        planned_runs=len(finals),
        diverged=sum(run.status == "diverged" for run in finals),
        images=images_of(records, cell, studies, known) if (measure, minus) == ("test_top1", None) else None,
    )


def same_trainings(records: Records, cells: Sequence[CellRecord]) -> list[list[CellRecord]]:
    """The cells that are one training, seed by seed: what differs between their settings never acts."""
    groups: dict[Any, list[CellRecord]] = {}
    for cell in cells:
        trainings = [
            (run.correct, run.curves.train_loss.tobytes(), run.curves.layers.flips.tobytes())
            for run in records.finals(cell)
            if run.correct and run.curves is not None
        ]
        if trainings and len(trainings) == len(records.finals(cell)):
            groups.setdefault(tuple(trainings), []).append(cell)
    return [group for group in groups.values() if len(group) > 1]


def images_of(records: Records, cell: CellRecord, studies: int, values: np.ndarray) -> ImageProfile | None:
    """How the arm does on each test image; a diverged run at chance on all of them."""
    sizes = records.plan.data[cell.task.data]
    evidence = method_evidence(records, cell, studies, sizes.test)
    if not evidence.units:
        return None
    return image_profile(evidence.rates(1 / sizes.classes), constant=variance_of(values) == 0)


def unit_value(runs: Sequence[RunRecord], measure: str, minus: str | None) -> float:
    """The mean over the runs of a unit that have a result; NaN if one of these has no number."""
    values = [
        measured(run, measure) - (measured(run, minus) if minus is not None else 0.0)
        for run in runs
        if run.scored
    ]
    return float(np.mean(values)) if values else math.nan
