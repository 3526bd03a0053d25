"""The section over many tasks: its table and its sentences. There is none below six tasks."""

import math
from dataclasses import dataclass

from report.analysis.across_tasks import AcrossTasks, across_tasks, scores_of
from report.analysis.comparison import Comparison
from report.analysis.numbers import percent
from report.draw.across import profile_drawing, rank_drawing
from report.draw.drawing import Drawing
from report.draw.styles import Looks
from report.page.tables import Table
from report.read.records import Records
from suite.machine.words import count

RATIOS = (1.1, 1.5, 2.0)  # of errors, to that of the best method


@dataclass(frozen=True)
class AcrossReport:
    """Methods over all tasks of the experiment."""

    sentence: str
    table: Table
    drawings: list[Drawing]
    note: str


def across(records: Records, comparisons: list[Comparison], looks: Looks) -> AcrossReport | None:
    """None below six tasks, or with fewer than two methods that have all scores."""
    methods = [method for method in records.methods if method not in records.controls]
    chances = [1 / records.plan.data[each.task.data].classes for each in comparisons]
    scores = [scores_of(each.judgement, chance) for each, chance in zip(comparisons, chances, strict=True)]
    found = across_tasks(scores, methods)
    if found is None:
        return None
    return AcrossReport(
        sentence=across_sentence(found),
        table=across_table(found),
        drawings=[rank_drawing(found, looks), profile_drawing(found, looks)],
        note=(
            "Rank 1 is the highest mean of a task; equal means share their ranks. Two mean ranks are not "
            f"separated if they differ by less than {found.critical_difference:.2f} (Nemenyi, 95 % for all "
            "pairs). The normalised score is 0 at chance and 100 at the best mean of each task. The tasks "
            "count as independent; data sets and networks in common make them less than that."
        ),
    )


def across_sentence(found: AcrossTasks) -> str:
    first, *others = found.mean_ranks
    limit = found.mean_ranks[first] + found.critical_difference
    near = [method for method in others if found.mean_ranks[method] <= limit]
    far = len(others) - len(near)
    sentence = f"{first} has the lowest mean rank over {found.tasks} tasks, {found.mean_ranks[first]:.2f}"
    if far:
        have = "has" if far == 1 else "have"
        sentence += f"; {count(far, 'method')} {have} a higher one by more than the critical difference"
    if near:
        sentence += f"; {len(near)} {'is' if len(near) == 1 else 'are'} not separated from it"
    if found.left_out:
        sentence += f". Left out, without a score on some task: {', '.join(found.left_out)}"
    return f"{sentence}."


def across_table(found: AcrossTasks) -> Table:
    columns = [
        "method",
        "mean rank",
        "normalised score",
        *(f"error up to {ratio:g} times the best, % of tasks" for ratio in RATIOS),
    ]
    rows = [
        [
            method,
            f"{rank:.2f}",
            percent(found.normalised[method], 1) if not math.isnan(found.normalised[method]) else "—",
            *(percent(found.profile(method, ratio), 0) for ratio in RATIOS),
        ]
        for method, rank in found.mean_ranks.items()
    ]
    return Table(columns, rows)
