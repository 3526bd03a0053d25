"""The page's part about other tasks' winners: sentences, a figure and a table of a task, for all formats."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from report.analysis.gain import Gain
from report.analysis.numbers import NONE, listing, percent
from report.analysis.transfer import Transfer, transfers_of
from report.draw.drawing import Drawing
from report.draw.styles import Looks
from report.draw.transfer import transfer_drawing
from report.page.answer import NAMED, gain, n_of
from report.page.tables import Table
from report.read.records import Records, Task


@dataclass(frozen=True)
class TransferPage:
    """What the winners of other tasks do on one."""

    task: Task
    found: list[Transfer]
    sentences: list[str]
    drawing: Drawing | None
    table: Table


def transfer_pages(records: Records, looks: Looks) -> list[TransferPage]:
    """A page for each task that has winners of others; none where no winner is carried over."""
    pages = []
    for task in records.tasks:
        if found := transfers_of(records, task):
            pages.append(
                TransferPage(
                    task=task,
                    found=found,
                    sentences=transfer_sentences(found),
                    drawing=transfer_drawing(task, found, looks),
                    table=transfer_table(found),
                )
            )
    return pages


def transfer_sentences(found: Sequence[Transfer]) -> list[str]:
    """Two for each other task; none where there is none."""
    return [text for of_source in by_source(found) for text in sentences(of_source)]


def by_source(found: Sequence[Transfer]) -> list[list[Transfer]]:
    """The rows of each other task, in the order of the plan."""
    sources = dict.fromkeys(each.source for each in found)
    return [[each for each in found if each.source == source] for source in sources]


def sentences(found: Sequence[Transfer]) -> list[str]:
    """What the winners of one other task do here, against this task's own and its published default."""
    source = found[0].source.title
    own = readings(found, lambda each: each.over_own)
    default = readings(found, lambda each: each.over_default)
    given = ", given one draw of the tuning" if any(each.one_study for each in found) else ""
    texts = []
    if own:
        texts.append(
            f"Settings tuned on {source} against those tuned here, in points on test, each for itself"
            f"{n_of(each.over_own for each in found)}{given}: {own}."
        )
    if default:
        texts.append(
            f"Settings tuned on {source} against the published default, in the same way"
            f"{n_of(each.over_default for each in found)}{given}: {default}."
        )
    return texts + gaps(found)


def readings(found: Sequence[Transfer], of: Callable[[Transfer], Gain]) -> str:
    """Each row with its number: interval below zero, above zero, neither; or too few units to tell."""
    groups: dict[str, list[str]] = {"worse": [], "better": [], "not separated": []}
    few = []
    for each in found:
        if math.isnan(of(each).value):
            continue
        shown = of(each).shown
        below, above = shown is not None and shown.high < 0, shown is not None and shown.low > 0
        reading = "worse" if below else "better" if above else "not separated"
        (few if of(each).few else groups[reading]).append(f"{each.method} {words(of(each))}")
    texts = [
        f"{reading} {'is' if len(rows) == 1 else 'are'} {listing(rows, NAMED)}"
        for reading, rows in groups.items()
        if rows
    ]
    if few:
        texts.append(f"with too few units for a verdict: {listing(few, NAMED)}")
    return "; ".join(texts)


def words(found: Gain) -> str:
    """A difference with its interval; a dash where a side has no run."""
    if math.isnan(found.value):
        return NONE
    return gain(found, same="the same setting")


def gaps(found: Sequence[Transfer]) -> list[str]:
    """Runs that have diverged, and those without a result, in one sentence each."""
    texts = []
    for text, number in (
        ("these have diverged and count at the level of chance", lambda each: each.diverged),
        ("these have no result", lambda each: len(each.runs) - each.scored),
    ):
        named = [f"{number(each)} of {len(each.runs)} of {each.method}" for each in found if number(each)]
        if named:
            texts.append(
                f"Of the runs with settings of {found[0].source.title}, {text}: {listing(named, NAMED)}."
            )
    return texts


def transfer_table(found: Sequence[Transfer]) -> Table:
    columns = [
        "method",
        "tuned on",
        "tuned there, %",
        "tuned here, %",
        "published default, %",
        "over tuned here, points",
        "over the default, points",
        "runs in",
        "diverged",
    ]
    rows = [
        [
            each.method,
            each.source.title,
            *map(percent, (each.moved, each.own, each.default)),
            words(each.over_own),
            words(each.over_default),
            f"{each.scored} / {len(each.runs)}",
            str(each.diverged),
        ]
        for each in found
    ]
    missing = {(n, 7) for n, each in enumerate(found) if each.scored < len(each.runs)}
    diverged = {(n, 8) for n, each in enumerate(found) if each.diverged}
    return Table(columns, rows, text=(0, 1), warn=frozenset(missing | diverged))
