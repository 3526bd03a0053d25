"""Is a method easy to tune? All that the records of a task say about it, for every row.

A row is a method with one way of tuning. Only random search gives shares and curves: the trials of TPE depend
on each other. What its studies reached on test is compared with random search's.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from report.analysis.budget import FEWEST, BudgetCurve, budget_curve
from report.analysis.differences import Difference
from report.analysis.ease import (
    POINT,
    GoodShare,
    ShareDifference,
    common_reference,
    good_share,
    share_curve,
    share_differences,
)
from report.analysis.gain import SAME_RUNS, Gain, welch
from report.analysis.importance import Effect, effects
from report.analysis.inclusion import InclusionCheck, inclusions, reaches
from report.analysis.judgement import Judgement
from report.analysis.readings import Kind
from report.analysis.robustness import Robustness, robustness
from report.analysis.search import Search, search_of
from report.analysis.units import by_study
from report.read.records import CellRecord, Records, RunRecord, Task
from suite.records.schema import Scores, Track

BUDGET = 8  # draws at which the tables give the best of n: the small budget


@dataclass(frozen=True)
class Setting:
    """A fixed setting that ran on fresh seeds: the published default of a method, or a study's winner."""

    method: str
    which: str  # "published default", or "winner of study 2"
    runs: tuple[RunRecord, ...]
    own: bool = False  # of a method that is not in the catalogue

    @property
    def complete(self) -> bool:
        return bool(self.runs) and all(run.scored for run in self.runs)

    @property
    def title(self) -> str:
        return f"{self.which} of {self.method}"

    @property
    def validation(self) -> list[float]:
        return [scores.val_top1 for scores in scores_of(self.runs)]

    @property
    def test(self) -> list[float]:
        return test_scores(self.runs)


@dataclass(frozen=True)
class Reference:
    """The best fixed setting of any method of a task, by its mean validation score over fresh seeds.

    A method of one's own is measured against the catalogue's best where there is one, so that the measure is
    the same for everybody. incomplete: how many settings could not become it, because final runs of theirs
    have no result. above: the best setting of one's own that is better.
    """

    setting: Setting
    validation: float
    incomplete: int = 0
    above: Setting | None = None


@dataclass(frozen=True)
class Spent:
    """What the tuning of a row took. Failed and damaged trials are not finished; diverged ones are."""

    planned: int
    finished: int
    diverged: int
    epochs: int
    seconds: float


@dataclass(frozen=True)
class MethodStudy:
    """One row of a task. Scores are fractions; NaN where a number does not exist.

    shares: along DELTAS; empty without a reference or a random draw, as `near` is None then.
    won_by_default: how many of the finished studies have the published default as their winner.
    """

    cell: CellRecord
    control: bool
    spent: Spent
    search: Search
    shares: tuple[GoodShare, ...]
    near: GoodShare | None  # within one point of the reference
    budget: BudgetCurve
    planned_studies: int
    studies: int  # that have a winner
    won_by_default: int
    winner_test: float
    default_test: float
    default_validation: float  # on fresh seeds
    gain: Gain  # of the winners over the default, on test
    regret: Gain  # of the default: how far the reference is above it on test
    effects: tuple[Effect, ...]
    order: Robustness | None  # against the row with the best draw; None for that row itself, and a control

    @property
    def method(self) -> str:
        return self.cell.method

    @property
    def searched(self) -> bool:
        """Whether a study has more than its first trial, the published default."""
        return self.spent.planned > self.planned_studies

    @property
    def competes(self) -> bool:
        """Whether it is compared with the others: it has random draws, and is no control."""
        return self.near is not None and not self.control


@dataclass(frozen=True)
class TrackComparison:
    """Random search against TPE for one method: the difference tpe - random of the winners on test.

    None with fewer than three studies of either, a missing or diverged run, or other numbers of trials.
    """

    method: str
    random: Track
    tpe: Track
    difference: Difference | None


@dataclass(frozen=True)
class TaskStudy:
    """All rows of a task, in the order of the plan."""

    task: Task
    reference: Reference | None
    methods: tuple[MethodStudy, ...]
    differences: tuple[ShareDifference, ...]  # of the shares within one point, all pairs that compete
    leader: str | None  # the row with the best random draw
    inclusions: tuple[InclusionCheck, ...]
    tracks: tuple[TrackComparison, ...]

    @property
    def competing(self) -> list[MethodStudy]:
        """The rows with random draws that compete: the largest share within one point first."""
        rows = [each for each in self.methods if each.competes]
        return sorted(rows, key=lambda each: -each.near.share if each.near and each.near.draws else 1.0)

    def behind(self, easiest: str) -> dict[str, ShareDifference]:
        """The difference of a row's share to every other one, by the other's method."""
        turned = [each if each.first == easiest else each.reversed() for each in self.differences]
        return {each.second: each for each in turned if each.first == easiest}


def task_study(records: Records, task: Task, judgement: Judgement) -> TaskStudy:
    """judgement: of the task's final runs, by which TPE is compared with random search."""
    cells = records.cells_of(task)
    tuned = [cell for cell in cells if cell.track is not None]
    reference = reference_of(records, cells)
    searches = {cell.method: search_of(records, cell) for cell in tuned}
    fewest = fewest_studies(records, tuned)
    common = {cell.method: search_of(records, cell, fewest) for cell in tuned}
    leader = leader_of(records, common)
    rows = [method_study(records, cell, searches[cell.method], reference) for cell in tuned]
    if leader is not None:
        rows = [
            row if row.control else replace(row, order=order_against(leader, row.method, common))
            for row in rows
        ]
    return TaskStudy(
        task=task,
        reference=reference,
        methods=tuple(rows),
        differences=tuple(
            share_differences({row.method: row.near for row in rows if row.near and row.competes})
        ),
        leader=leader,
        inclusions=tuple(inclusion_checks(records, [row.cell for row in rows if row.searched])),
        tracks=tuple(track_comparisons(records, tuned, judgement)),
    )


def method_study(
    records: Records, cell: CellRecord, search: Search, reference: Reference | None
) -> MethodStudy:
    shares: list[GoodShare] = []
    near = None
    if reference is not None and (search.scores or search.missing):
        shares = share_curve(search.scores, reference.validation, search.missing)
        near = good_share(search.scores, reference.validation, POINT, search.missing)
    trials = records.trials(cell)
    results = [run.result for run in trials if run.result is not None]
    winner_runs, default = records.finals(cell), default_of(records, cell)
    return MethodStudy(
        cell=cell,
        control=cell.method in records.controls,
        spent=Spent(
            planned=len(trials),
            finished=len(results),
            diverged=sum(result.status == "diverged" for result in results),
            epochs=sum(result.epochs for result in results),
            seconds=sum(result.seconds for result in results),
        ),
        search=search,
        shares=tuple(shares),
        near=near,
        budget=budget_curve(search.scores, search.missing),
        planned_studies=len({run.place.study for run in trials}),
        studies=len(cell.winners),
        won_by_default=sum(winner.number == 0 for winner in cell.winners.values()),
        winner_test=mean(test_scores(winner_runs)),
        default_test=mean(default.test),
        default_validation=mean(default.validation),
        gain=gain_of_tuning(winner_runs, default),
        regret=regret_of(default, reference),
        effects=tuple(effects(search)),
        order=None,
    )


# ---- the reference


def reference_of(records: Records, cells: Sequence[CellRecord]) -> Reference | None:
    """Among the complete settings of rows that compete. An incomplete one is no better for its lost run."""
    by_title = {  # several tracks share the default
        setting.title: setting
        for cell in cells
        if cell.method not in records.controls
        for setting in settings_of(records, cell)
    }
    complete = {title: setting for title, setting in by_title.items() if setting.complete}
    if not complete:
        return None
    catalogue = {title: each.validation for title, each in complete.items() if not each.own}
    every = {title: each.validation for title, each in complete.items()}
    title, validation = common_reference(catalogue or every)
    highest, value = common_reference(every)
    return Reference(
        complete[title],
        validation,
        incomplete=len(by_title) - len(complete),
        above=complete[highest] if value > validation else None,
    )


def settings_of(records: Records, cell: CellRecord) -> Iterator[Setting]:
    """The published default, and the winner of each study that another setting has won, or still may."""
    yield default_of(records, cell)
    for study, runs in by_study(records.finals(cell) if cell.track else []).items():
        if study not in cell.winners or cell.winners[study].number != 0:
            yield Setting(cell.method, f"winner of study {study}", tuple(runs), is_own(cell))


def default_of(records: Records, cell: CellRecord) -> Setting:
    runs = tuple(records.defaults(cell))
    return Setting(cell.planned.method, "published default", runs, is_own(cell))


def is_own(cell: CellRecord) -> bool:
    return cell.planned.trial.plugin is not None


# ---- gains on test


def gain_of_tuning(winner_runs: Sequence[RunRecord], default: Setting) -> Gain:
    """Units: of the winners their studies if there are several, else their runs; of the default its runs.

    The default has more runs than the winners where another track has more studies.
    """
    units = units_of([*by_study(winner_runs).values()])
    same = units and are_runs_of(winner_runs, default.runs)
    gain = SAME_RUNS if same else welch(units, default.test)
    return replace(gain, provisional=not all(run.scored for run in (*winner_runs, *default.runs)))


def are_runs_of(some: Sequence[RunRecord], others: Sequence[RunRecord]) -> bool:
    """Whether the first are runs of the second, so of the same setting; also where some have no result."""
    names = {run.run_id for run in some}
    return "" not in names and names <= {run.run_id for run in others}  # a run that is not known yet has none


def units_of(groups: Sequence[Sequence[RunRecord]]) -> list[float]:
    """The mean of each study, if there are several; else every run."""
    if len(groups) == 1:
        return test_scores(groups[0])
    return [mean(scores) for scores in map(test_scores, groups) if scores]


def regret_of(default: Setting, reference: Reference | None) -> Gain:
    """Of the default, below the reference on test.

    The reference is chosen on the validation scores of the same networks, whose scores on test vary with
    them: its own is a little too high, and the regret too large.
    """
    if reference is None:
        return Gain(math.nan, None)
    if reference.setting.title == default.title:
        return replace(SAME_RUNS, provisional=not default.complete)
    return replace(welch(reference.setting.test, default.test), provisional=not default.complete)


def scores_of(runs: Sequence[RunRecord]) -> list[Scores]:
    return [run.result.scores for run in runs if run.result is not None]


def test_scores(runs: Sequence[RunRecord]) -> list[float]:
    """On test, of the runs that have a result; a diverged one has the score of chance."""
    return [run.score for run in runs if run.score is not None]


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


# ---- between rows


def fewest_studies(records: Records, cells: Sequence[CellRecord]) -> int:
    """So many studies of random search every row has: of more draws the best one is better by chance."""
    tracks = [track for cell in cells for track in records.plan.tuning_of(cell.planned).tracks]
    return min((track.studies for track in tracks if track.name == "random"), default=0)


def leader_of(records: Records, searches: dict[str, Search]) -> str | None:
    """The row that competes and has the best random draw."""
    best = {
        method: max(search.scores)
        for method, search in searches.items()
        if len(search.scores) >= FEWEST and method not in records.controls
    }
    return max(best, key=best.__getitem__, default=None)


def order_against(leader: str, method: str, searches: dict[str, Search]) -> Robustness | None:
    if method == leader or len(searches[method].scores) < FEWEST:
        return None
    return robustness(searches[leader], searches[method])


def inclusion_checks(records: Records, cells: list[CellRecord]) -> Iterator[InclusionCheck]:
    for rule, general, special in inclusions(records, cells):
        runs = [records.finals(cell) for cell in (general, special)]
        units = [units_of([*by_study(each).values()]) for each in runs]
        gain = replace(welch(*units), provisional=not all(run.scored for each in runs for run in each))
        yield InclusionCheck(rule, general.method, special.method, reaches(records, rule, general), gain)


def track_comparisons(
    records: Records, cells: list[CellRecord], judgement: Judgement
) -> Iterator[TrackComparison]:
    """One for each method that was tuned in both ways. Each was planned: none is corrected for others.

    Runs of one study each would compare two settings, and a row that lost its worst run is no better for it.
    """
    if {track.name for track in records.plan.tuning.tracks} != {"random", "tpe"}:
        return
    damaged = {each.method for each in judgement.of_kind(Kind.PROVISIONAL, Kind.DIVERGES)}
    rows = {(cell.name, cell.track): cell.method for cell in cells}
    for cell in cells:
        if cell.track != "random":
            continue
        tracks = {track.name: track for track in records.plan.tuning_of(cell.planned).tracks}
        same_budget = tracks["random"].trials == tracks["tpe"].trials
        pair = (rows[cell.name, "tpe"], cell.method)
        difference = None
        for each in judgement.pairs if same_budget and judgement.unit == "study" else ():
            if {each.first, each.second} == set(pair) and not damaged & set(pair):
                difference = replace(each if each.first == pair[0] else each.reversed(), methods=2)
        yield TrackComparison(cell.planned.method, tracks["random"], tracks["tpe"], difference)
