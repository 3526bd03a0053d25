"""Gathers all that the report says of an experiment, once, for the page and for the Markdown."""

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from report.analysis.comparison import Comparison, compare
from report.analysis.frames import curves_frame, layers_frame
from report.analysis.tuning import tune_summary
from report.draw import drawings
from report.draw.drawings import Drawing
from report.draw.figures import glyph
from report.draw.styles import Looks, looks_of
from report.page import tables, verdict
from report.page.coverage import MANY_ROWS, coverage_table, failures_table, problems_table
from report.page.tables import Table
from report.read.experiment import Records, Task

MANY_TASKS = 6


@dataclass(frozen=True)
class TaskReport:
    """Everything about one task. A drawing is absent while there is nothing to draw."""

    task: Task
    comparison: Comparison
    verdict: str
    basis: str
    caveats: list[str]
    accuracy: Drawing | None
    learning: list[Drawing]
    flips: list[Drawing]
    tuning: Drawing | None
    tables: dict[str, Table]


@dataclass(frozen=True)
class Report:
    records: Records
    tasks: list[TaskReport]
    glyphs: dict[str, str]  # the line and mark of every method, as SVG
    coverage: Table
    incomplete: Table  # the rows of the coverage where runs are not in
    failures: Table  # by kind
    problems: Table
    planned: int
    scored: int
    environments: list[tuple[int, dict[str, Any]]]  # how many runs, and where
    timing_note: str
    curves: pd.DataFrame
    layers: pd.DataFrame

    @property
    def bulky(self) -> bool:
        """Whether drawings stay in their files and tables are folded: a browser must open the page."""
        return len(self.tasks) > MANY_TASKS

    @property
    def summed(self) -> bool:
        """Whether the coverage counts methods over all tasks."""
        return len(self.records.cells) > MANY_ROWS

    @property
    def complete(self) -> bool:
        return self.scored == self.planned


def gather(records: Records) -> Report:
    curves, layers = curves_frame(records), layers_frame(records)
    looks = looks_of(list(records.plan["methods"]))
    places = environments(records)
    finished_curves, finished_layers = finished(curves), finished(layers)
    return Report(
        records=records,
        tasks=[
            gather_task(
                records,
                task,
                finished_curves.get((task.data, task.model), curves[:0]),
                finished_layers.get((task.data, task.model), layers[:0]),
                looks,
            )
            for task in records.tasks
        ],
        glyphs={method: glyph(look) for method, look in looks.items()},
        coverage=coverage_table(records),
        incomplete=coverage_table(records, only_incomplete=True),
        failures=failures_table(records),
        problems=problems_table(records),
        planned=len(records.runs),
        scored=sum(run.scored for run in records.runs),
        environments=places,
        timing_note=timing_note(places),
        curves=curves,
        layers=layers,
    )


def finished(frame: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    """The rows of finished runs, by data and model: a diverged run is in the tables, but bends a mean."""
    return dict(iter(frame[frame["status"] == "done"].groupby(["data", "model"], sort=False)))


def gather_task(
    records: Records, task: Task, curves: pd.DataFrame, layers: pd.DataFrame, looks: Looks
) -> TaskReport:
    comparison = compare(records, task)
    tunings = [tune_summary(records, cell) for cell in records.cells_of(task)]
    learning, flips = [], []
    if len(curves):
        learning = [drawings.curve_drawing(curve, task, curves, looks) for curve in drawings.LEARNING]
        flips = [drawings.curve_drawing(curve, task, curves, looks) for curve in drawings.FLIPS]
        flips.append(drawings.layers_drawing(task, layers, looks))
    sampler = records.plan["tuning"]["sampler"]
    return TaskReport(
        task=task,
        comparison=comparison,
        verdict=verdict.verdict(comparison),
        basis=verdict.basis(records, comparison),
        caveats=verdict.caveats(records, comparison),
        accuracy=drawings.accuracy_drawing(comparison, looks) if comparison.best else None,
        learning=learning,
        flips=flips,
        tuning=drawings.tuning_drawing(task, tunings, looks, sampler),
        tables={
            "accuracy": tables.accuracy_table(comparison),
            "flips": tables.flips_table(records, task),
            "tuning": tables.tuning_table(tunings),
            "hypers": tables.hypers_table(records, task),
            "cost": tables.cost_table(records, task),
        },
    )


def environments(records: Records) -> list[tuple[int, dict[str, Any]]]:
    """Each distinct environment with its number of runs; the host's name is nobody's business, and what a run
    keeps for itself (its method's file, where it began) is in its record.
    """
    seen: dict[str, int] = {}
    for run in records.runs:
        if run.environment:
            shown = {
                key: value
                for key, value in run.environment.items()
                if key not in ("host", "method_file", "earlier")
            }
            text = json.dumps(shown, sort_keys=True)
            seen[text] = seen.get(text, 0) + 1
    return [(count, json.loads(text)) for text, count in sorted(seen.items())]


def timing_note(places: list[tuple[int, dict[str, Any]]]) -> str:
    """How far the times can be trusted: nothing records what else a machine was doing."""
    kinds = {(place["device_name"], place["threads"]) for _, place in places}
    note = "Times include whatever else the machine was doing and are no part of the verdict."
    return (
        note if len(kinds) < 2 else f"{note} They come from {len(kinds)} kinds of machine and do not compare."
    )
