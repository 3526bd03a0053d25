"""From the final runs of a task to the evidence of its comparison."""

from collections.abc import Iterable, Sequence

from report.analysis.evidence import MethodEvidence, TaskEvidence, Unit
from report.read.correctness import count_correct
from report.read.records import CellRecord, Records, RunRecord, Task
from suite.records.schema import PlannedCell, PlanRecord


def task_evidence(records: Records, task: Task) -> TaskEvidence:
    """Every row of the task, each with its units: its studies if there are several, else its final runs."""
    plan, cells = records.plan, records.cells_of(task)
    sizes = plan.data[task.data]
    studies = studies_of(plan, [cell.planned for cell in cells])
    return TaskEvidence(
        methods=tuple(method_evidence(records, cell, studies, sizes.test) for cell in cells),
        images=sizes.test,
        chance=1 / sizes.classes,
        studies=studies,
        margin=None if plan.margin is None else plan.margin / 100,
    )


def studies_of(plan: PlanRecord, cells: Sequence[PlannedCell]) -> int:
    """How many studies a row of these cells has at most; 0 where nothing is tuned.

    A study of one trial is the published default, and so is one of a method without a range to search.
    """
    if not any(hyper.range for cell in cells for hyper in plan.methods[cell.method].hypers.values()):
        return 0
    tracks = [track for cell in cells for track in plan.tuning_of(cell).tracks]
    return max((track.studies for track in tracks if track.trials > 1), default=0)


def method_evidence(records: Records, cell: CellRecord, studies: int, images: int) -> MethodEvidence:
    planned = records.finals(cell)
    groups = unit_groups(planned, studies)
    units = [unit_of(runs, images) for group in groups if (runs := [run for run in group if run.scored])]
    return MethodEvidence(
        method=cell.method,
        units=tuple(units),
        planned_units=len(groups),
        planned_runs=len(planned),
        control=cell.method in records.controls,
    )


def unit_groups(runs: Sequence[RunRecord], studies: int) -> list[list[RunRecord]]:
    """The runs of each unit: of a study where a row has several, else each run is one.

    The runs of two studies are never units: they would say that the tuning varies less than it does.
    """
    return [*by_study(runs).values()] if studies > 1 else [[run] for run in runs]


def by_study(runs: Iterable[RunRecord]) -> dict[int, list[RunRecord]]:
    """The runs of each study."""
    groups: dict[int, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.place.study, []).append(run)
    return groups


def unit_of(runs: list[RunRecord], images: int) -> Unit:
    """These runs have a result: a finished one its score and its images, a diverged one chance."""
    done = [run for run in runs if run.status == "done"]
    return Unit(
        scores=tuple(run.score for run in done if run.score is not None),
        correct=count_correct([run.correct for run in done], images),
        diverged=len(runs) - len(done),
    )
