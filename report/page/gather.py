"""From records to the report: every number, table, drawing and sentence, once, for all formats."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from report.analysis.advice import Advice
from report.analysis.comparison import MANY_METHODS, Comparison, compare
from report.analysis.families import Family, by_label, ends, families_of, grouped_by_family
from report.analysis.frames import accuracy_frame, curves_frame, layers_frame, runs_frame
from report.analysis.oscillation import oscillations
from report.analysis.study import TaskStudy, task_study
from report.analysis.study_frame import tuning_frame
from report.analysis.transfer import transfer_frame
from report.draw.curves import FLIPS, LEARNING, curve_drawing
from report.draw.drawing import Drawing
from report.draw.layers import layers_drawing
from report.draw.opening import opening_picture
from report.draw.oscillation import oscillation_drawings
from report.draw.styles import Looks, glyph, looks_of
from report.page import tables, verdict
from report.page.across import AcrossReport, across
from report.page.advice import Origin, advice_of
from report.page.claims.evidence import ClaimEvidence
from report.page.coverage import MANY_ROWS, coverage_table, failures_table, problems_table
from report.page.guide import reading_guide
from report.page.tables import Table
from report.page.transfer import TransferPage, transfer_pages
from report.page.tuning import TuningPage, tuning_page
from report.read.records import DataFile, Records, Task
from suite.records.claim import cells_of_arm
from suite.records.codec import encode
from suite.records.schema import Environment, MethodCard, PlanRecord, PublishedScore

MANY_TASKS = 6
PRIVATE = (
    "host",
    "method_file",
    "model_file",
    "data_file",
    "earlier",
)  # of an environment: no report shows them


@dataclass(frozen=True)
class TaskTables:
    accuracy: Table
    flips: Table
    cost: Table


@dataclass(frozen=True)
class TaskReport:
    """Everything about one task. A drawing is absent while there is nothing to draw."""

    task: Task
    comparison: Comparison
    study: TaskStudy
    verdict: str
    basis: str
    caveats: list[str]
    accuracy: Drawing | None
    learning: list[Drawing]
    flips: list[Drawing]
    tuning: TuningPage
    tables: TaskTables
    published: list[str]  # scores of papers, each with its source
    families: list[Family]
    families_by_label: list[Family]  # where the tracks of a method share a row

    @property
    def drawings(self) -> list[Drawing]:
        drawings = (
            self.accuracy,
            *self.learning,
            *self.flips,
            *self.tuning.drawings,
            *self.tuning.slices,
        )
        return [each for drawing in drawings if drawing is not None for each in drawing.all]


@dataclass(frozen=True)
class Report:
    """Everything that is in the report of an experiment."""

    plan: PlanRecord
    data: dict[str, DataFile]
    tasks: list[TaskReport]
    across: AcrossReport | None  # from six tasks on
    methods: dict[str, MethodCard]  # by the label of their rows
    glyphs: dict[str, str]  # the line and mark of every method, as SVG
    coverage: Table
    incomplete: Table  # the rows of the coverage where runs have no result
    failures: Table  # by kind
    problems: Table
    planned: int
    scored: int
    unplanned: str  # what is recorded beyond the plan
    environments: list[tuple[int, Environment]]  # with the number of runs in each
    timing_note: str
    reading_guide: list[str]  # how the comparison is to be read, a paragraph each
    frames: dict[str, pd.DataFrame]  # by the name of its CSV file
    families: dict[str, str]  # by the label of their rows
    advice: Advice | None
    transfers: list[TransferPage]  # of each task, if winners of others ran there
    claim: ClaimEvidence | None = None  # that the experiment sets out to decide

    @property
    def many(self) -> bool:
        """Whether rows are grouped by family and folded."""
        return len(self.methods) > MANY_METHODS

    @property
    def by_family(self) -> dict[str, list[str]]:
        """The labels of the rows of every family."""
        rows: dict[str, list[str]] = {}
        for method, family in self.families.items():
            rows.setdefault(family, []).append(method)
        return rows

    @property
    def ends(self) -> set[str]:
        """The methods at the top and the bottom of any task."""
        return {method for each in self.tasks for family in each.families for method in family.ends}

    @property
    def differs(self) -> dict[str, str]:
        """How a row differs from the plain method, where it does."""
        return {name: ", ".join(card.differs) for name, card in self.methods.items() if card.differs}

    @property
    def drawings(self) -> list[Drawing]:
        """Of all tasks, and over them."""
        over_all = [*(self.across.drawings if self.across else []), *self.transfer_drawings]
        of_tasks = (drawing for task in self.tasks for drawing in task.drawings)
        return [*of_tasks, *over_all, *self.claim_drawings]

    @property
    def transfer_drawings(self) -> list[Drawing]:
        return [each.drawing for each in self.transfers if each.drawing]

    @property
    def claim_drawings(self) -> tuple[Drawing, ...]:
        return self.claim.drawings if self.claim else ()

    @property
    def claim_first(self) -> bool:
        """Whether the page opens with its claim, as where most rows are arms of it; else it comes second."""
        if self.claim is None:
            return False
        arms = [arm for test in self.claim.claim.tests for arm in test.arms]
        cells = [
            cell for arm in arms for group in cells_of_arm(arm, self.plan.cells).values() for cell in group
        ]
        return 2 * len({cell.method for cell in cells}) >= len(self.plan.methods)

    @property
    def bulky(self) -> bool:
        """Whether drawings stay in their files and tables are folded, so that a browser can open the page."""
        return len(self.tasks) > MANY_TASKS

    @property
    def summed(self) -> bool:
        """Whether the coverage counts methods over all tasks."""
        return len(self.plan.cells) > MANY_ROWS

    @property
    def complete(self) -> bool:
        return self.scored == self.planned


def gather(records: Records, claim: ClaimEvidence | None = None, origin: Origin | None = None) -> Report:
    """The report of these records. origin: the experiment that its commands name, if not that of the plan."""
    curves, layers = curves_frame(records), layers_frame(records)
    finished_curves, finished_layers = finished(curves), finished(layers)
    comparisons = {task: compare(records, task) for task in records.tasks}
    studies = {task: task_study(records, task, comparisons[task].judgement) for task in records.tasks}
    judgements = {task: comparison.judgement for task, comparison in comparisons.items()}
    families = families_of(records)
    looks = looks_of(families)
    tasks = [
        gather_task(
            records,
            comparisons[task],
            studies[task],
            tuning_page(records, studies[task], looks),
            finished_curves.get((task.data, task.model), curves[:0]),
            finished_layers.get((task.data, task.model), layers[:0]),
            looks,
            families,
        )
        for task in records.tasks
    ]
    transfers = transfer_pages(records, looks)
    places = environments(records)
    return Report(
        plan=records.plan,
        data=records.data,
        tasks=tasks,
        across=across(records, [each.comparison for each in tasks], looks),
        methods={c.method: records.plan.methods[c.planned.method] for c in records.cells},
        glyphs={method: glyph(look) for method, look in looks.items()},
        coverage=coverage_table(records),
        incomplete=coverage_table(records, only_incomplete=True),
        failures=failures_table(records),
        problems=problems_table(records),
        planned=len(records.runs),
        scored=sum(run.scored for run in records.runs),
        unplanned=records.unplanned,
        environments=places,
        timing_note=timing_note(places),
        reading_guide=reading_guide([each.comparison.judgement for each in tasks], records.plan.margin),
        frames={
            "accuracy.csv": accuracy_frame([each.comparison for each in tasks]),
            "runs.csv": runs_frame(records),
            "curves.csv": curves,
            "flips.csv": layers,
            "tuning.csv": tuning_frame(studies.values()),
            **(
                {"transfer.csv": transfer_frame(row for each in transfers for row in each.found)}
                if records.plan.tuning.transfer
                else {}
            ),
        },
        families=families,
        advice=advice_of(records, judgements, draws_needed(studies), origin),
        transfers=transfers,
        claim=claim,
    )


def draws_needed(studies: Mapping[Task, TaskStudy]) -> dict[tuple[Task, str], float]:
    """n_95 of each row on each task: the random draws of a method say it for all its tracks."""
    found = {}
    for task, study in studies.items():
        known = {row.cell.name: row.near.draws_needed[0] for row in study.methods if row.near is not None}
        found |= {(task, row.method): known[row.cell.name] for row in study.methods if row.cell.name in known}
    return found


def finished(frame: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    """The rows of finished runs, by data and model: a diverged run would bend a mean; the tables have it."""
    return dict(iter(frame[frame["status"] == "done"].groupby(["data", "model"], sort=False)))


def gather_task(
    records: Records,
    comparison: Comparison,
    study: TaskStudy,
    tuning: TuningPage,
    curves: pd.DataFrame,
    layers: pd.DataFrame,
    looks: Looks,
    families: dict[str, str],
) -> TaskReport:
    task = comparison.task
    ordered = [each.method for each in comparison.standings]
    unscored = waiting(records, comparison) if len(ordered) > MANY_METHODS else set()
    shown = ends([each for each in ordered if each not in records.controls and each not in unscored])
    of_family = grouped_by_family(ordered, families, unscored)
    published = published_on(records, task)
    learning, flips = [], []
    if len(curves):
        learning = [curve_drawing(curve, task, curves, looks, shown, of_family) for curve in LEARNING]
        flips = [curve_drawing(curve, task, curves, looks, shown, of_family) for curve in FLIPS]
        kinds = records.plan.layers.get(task.model, [])
        flips.append(layers_drawing(task, layers, looks, kinds, of_family))
        flips += oscillation_drawings(task, oscillations(records, task), looks, shown)
    return TaskReport(
        task=task,
        comparison=comparison,
        study=study,
        verdict=verdict.verdict(comparison.judgement),
        basis=verdict.basis(records, comparison),
        caveats=verdict.caveats(records, comparison),
        accuracy=opening_picture(comparison, shown, looks) if comparison.has_scores else None,
        learning=learning,
        flips=flips,
        tuning=tuning,
        published=[f"{each.method} {tables.score_words(each)} ({each.source})" for each in published],
        tables=TaskTables(
            accuracy=tables.accuracy_table(comparison, published),
            flips=tables.flips_table(records, task),
            cost=tables.cost_table(records, task),
        ),
        families=of_family,
        families_by_label=by_label(of_family, {cell.method: cell.planned.method for cell in records.cells}),
    )


def waiting(records: Records, comparison: Comparison) -> set[str]:
    """The rows without a score whose runs have not begun or go on: nothing of them is known yet."""
    rows = {cell.method: records.runs_of(cell) for cell in records.cells_of(comparison.task)}
    return {
        each.method
        for each in comparison.standings
        if not each.judged.units
        and not any(run.status in ("failed", "diverged", "damaged") for run in rows[each.method])
    }


def published_on(records: Records, task: Task) -> list[PublishedScore]:
    """What papers report on this task, of the labels of its rows."""
    rows = {cell.method for cell in records.cells_of(task)}
    return [
        each
        for each in records.plan.published
        if each.data in (None, task.data) and each.model in (None, task.model) and each.method in rows
    ]


def environments(records: Records) -> list[tuple[int, Environment]]:
    """Each distinct environment with its number of runs.

    Environments that differ only in the host's name or in the details of one run (its method's file, where it
    began) count as one.
    """
    used = {id(run.environment): run.environment for run in records.runs if run.environment}
    by_run = {run.run_id: run.environment for run in records.runs if run.environment}  # a run may be shared
    runs = Counter(map(id, by_run.values()))
    alike: dict[str, tuple[int, Environment]] = {}
    for key, environment in used.items():
        shown = {name: value for name, value in encode(environment).items() if name not in PRIVATE}
        text = json.dumps(shown, sort_keys=True)
        before, first = alike.get(text, (0, environment))
        alike[text] = (before + runs[key], first)
    return [alike[text] for text in sorted(alike)]


def timing_note(places: list[tuple[int, Environment]]) -> str:
    """How far the times can be trusted: nothing records what else a machine was doing."""
    kinds = {(place.device_name, place.threads) for _, place in places}
    note = (
        "Times were taken on a machine that may have done other work at the same time, which no record says: "
        "they are no part of the verdict."
    )
    return (
        note
        if len(kinds) < 2
        else f"{note} They come from {len(kinds)} kinds of machine and cannot be compared."
    )
