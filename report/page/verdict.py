"""The result of each task in sentences, and no stronger than the data."""

import math

from report.analysis.comparison import (
    ABSENT,
    ALONE,
    BEST,
    CONTROL,
    MANY_METHODS,
    UNCLEAR,
    WITHIN_NOISE,
    WORSE,
    Comparison,
    Standing,
)
from report.analysis.numbers import count, grouped, percent, spread_percent
from report.read.records import Records, RunRecord
from suite.records.schema import Track


def verdict(comparison: Comparison) -> str:
    """A few sentences: the best method, those within noise of it, the worse ones, and the unclear ones."""
    if comparison.best is None:
        return "No final run has finished, so nothing can be said about the methods yet."
    top = next(each for each in comparison.standings if each.method == comparison.best)
    if len(comparison.standings) == 1:
        return f"{top.method} reaches {spread_percent(top)} on test; there is no other method to compare."
    if top.mark == ALONE:
        return f"Only {top.method} has finished final runs, {spread_percent(top)}: nothing to compare yet."
    groups = {mark: names(comparison.marked(mark)) for mark in (WITHIN_NOISE, WORSE, UNCLEAR, ABSENT)}
    return " ".join([opening(top, groups), *rest(top, comparison, groups)])


def opening(top: Standing, groups: dict[str, list[str]]) -> str:
    if top.mark == UNCLEAR:
        return f"{top.method} has the highest score, {spread_percent(top)}, but one run may be luck."
    if groups[WITHIN_NOISE] and not groups[WORSE] and not groups[UNCLEAR]:
        return (
            f"The data cannot separate the methods: {top.method} has the highest mean, "
            f"{spread_percent(top)}, "
            f"and {listing(groups[WITHIN_NOISE])} {are(groups[WITHIN_NOISE])} within noise of it."
        )
    if groups[WITHIN_NOISE]:
        within = f"{listing(groups[WITHIN_NOISE])} {are(groups[WITHIN_NOISE])} within noise of it"
        return f"{top.method} has the highest mean test accuracy, {spread_percent(top)}; {within}."
    if groups[UNCLEAR] or groups[ABSENT]:
        return f"{top.method} has the highest mean test accuracy, {spread_percent(top)}."
    return f"{top.method} is best on the test set, {spread_percent(top)}."


def rest(top: Standing, comparison: Comparison, groups: dict[str, list[str]]) -> list[str]:
    sentences = []
    if groups[WORSE]:
        sentences.append(f"{listing(groups[WORSE])} {are(groups[WORSE])} measurably worse.")
    if top.mark == BEST:
        for reason, methods in inconclusive_reasons(comparison).items():
            stand = "stands" if len(methods) == 1 else "stand"
            sentences.append(f"The data cannot tell where {listing(methods)} {stand}: {reason}.")
    if controls := comparison.marked(CONTROL):
        scores = listing([f"{each.method} {spread_percent(each)}" for each in controls])
        sentences.append(f"For reference: {scores}.")
    if groups[ABSENT]:
        sentences.append(f"{listing(groups[ABSENT])} {have(groups[ABSENT])} no finished final run.")
    return sentences


def inconclusive_reasons(comparison: Comparison) -> dict[str, list[str]]:
    """The methods that cannot be placed, by the reason."""
    found: dict[str, list[str]] = {}
    for each in comparison.marked(UNCLEAR):
        if each.diverged:
            reason = "runs diverged"
        elif math.isnan(each.p):
            reason = "too few runs can be compared"
        else:
            reason = "lower by more than the test set's noise, but too few seeds to show it"
        found.setdefault(reason, []).append(each.method)
    return found


def basis(records: Records, comparison: Comparison) -> str:
    """The basis of the verdict: seeds, tuning budget, tests, the noise of the test set."""
    parts = [f"{runs(records)}; {budget(records)}"]
    if comparison.tests:
        parts.append(f"{count(comparison.tests, 'paired comparison')}, Holm-corrected")
    images = records.plan.data[comparison.task.data].test
    top = max(
        (each.noise for each in comparison.standings if each.method == comparison.best), default=math.nan
    )
    if not math.isnan(top):
        parts.append(f"the {grouped(images)} test images alone blur each score by ±{percent(top)} points")
    return "; ".join(parts).replace(" %", "\u00a0%") + "."


def runs(records: Records) -> str:
    """How many final runs a method has."""
    seeds = count(records.plan.seeds, "seed")
    parts = [
        f"{seeds} of each of {track.studies} studies' winners ({track.name})"
        for track in records.plan.tuning.tracks
        if track.studies > 1
    ]
    return f"{', '.join(parts) or seeds} per method"


def budget(records: Records) -> str:
    """The tuning budget of every method; the first trial of a study is always the published default."""
    tracks = [track for track in records.plan.tuning.tracks if track.trials > 1]
    if not tracks:
        return "each as the experiment sets it, else at its published default; not tuned"
    return f"the same {' and '.join(map(budget_of, tracks))} for each, scored on validation"


def budget_of(track: Track) -> str:
    draws = count(track.trials - 1, "random draw")
    how = draws if track.name == "random" else "then TPE"
    how = f"the published default{' and' if track.name == 'random' else ','} {how}"
    times = f"{track.studies} studies of " if track.studies > 1 else ""
    return f"{times}{count(track.trials, 'tuning trial')} ({how})"


def caveats(records: Records, comparison: Comparison) -> list[str]:
    """Everything that weakens the verdict of a task: runs without a result, diverged runs, damaged images."""
    cells = records.cells_of(comparison.task)
    notes = []
    for phase in ("final", "tuning", "default"):
        planned = [run for cell in cells for run in records.planned(cell, phase)]
        absent = [run for run in planned if not run.scored]
        if absent:
            start = "Provisional: " if comparison.best else ""
            kind = "final" if phase == "default" and not records.plan.tuning.tracks else phase
            notes.append(
                f"{start}{len(absent)} of {len(planned)} {kind} runs are not in ({breakdown(absent)})."
            )
    diverged = [each for each in comparison.standings if each.diverged]
    if diverged:
        runs_of = ", ".join(f"{each.diverged} of {each.planned} runs of {each.method}" for each in diverged)
        notes.append(f"Diverged, counted at chance level: {runs_of}.")
    data = records.data[comparison.task.data].record
    if data is not None and (left_out := data.stored.get("damaged")):
        notes.append(
            f"Without {count(len(left_out), 'damaged image')}, left out when the folder was prepared."
        )
    results = [run.result for cell in cells for run in records.runs_of(cell) if run.result is not None]
    if damaged := sorted({name for result in results for name in result.damaged_images}):
        first = f"{', '.join(damaged[:3])}{' and so on' if len(damaged) > 3 else ''}"
        were = "was" if len(damaged) == 1 else "were"
        notes.append(f"{count(len(damaged), 'image')} could not be decoded and {were} plain grey: {first}.")
    return notes


def breakdown(runs: list[RunRecord]) -> str:
    statuses = [run.status for run in runs]
    return ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))


def names(standings: list[Standing]) -> list[str]:
    return [each.method for each in standings]


def listing(words: list[str]) -> str:
    if len(words) > MANY_METHODS:
        return f"{', '.join(words[:4])} and {len(words) - 4} others"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def are(words: list[str]) -> str:
    return "is" if len(words) == 1 else "are"


def have(words: list[str]) -> str:
    return "has" if len(words) == 1 else "have"
