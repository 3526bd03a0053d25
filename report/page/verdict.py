"""The result of each task in two sentences, and no stronger than the data."""

from collections.abc import Sequence

from report.analysis.comparison import Comparison
from report.analysis.evidence import SAME
from report.analysis.intervals import Interval
from report.analysis.judgement import ENOUGH_UNITS, Judgement, MethodJudgement
from report.analysis.numbers import grouped, listing, percent, span, spread_percent
from report.analysis.readings import Kind, bounds, number
from report.read.records import Records, RunRecord
from suite.machine.words import count, plural
from suite.records.schema import Track

NAMED = 3  # methods of one group that a sentence names, each with its numbers; more are counted
OWN_WORDS = ("all", "only", "too")  # that a sentence may begin with


def verdict(judgement: Judgement) -> str:
    """Who has the highest mean and who may be best; then who is equal, not separated or worse."""
    rivals = competitors(judgement)
    if not any(each.units for each in rivals):
        return "No final run has finished, so nothing can be said about the methods yet."
    if judgement.best is None and len(rivals) > 1:
        return "No method has all of its runs without a diverged one, so none can be called best."
    first, second = opening(judgement), ranking(judgement)
    if judgement.conditional:
        first, second = f"Given one draw of the tuning, {first}", second and f"Given the same draw, {second}"
    return " ".join(f"{capital(sentence)}." for sentence in (first, second) if sentence)


def capital(sentence: str) -> str:
    """With a capital letter, unless it begins with the name of a method."""
    return sentence[0].upper() + sentence[1:] if sentence.split()[0] in OWN_WORDS else sentence


def competitors(judgement: Judgement) -> list[MethodJudgement]:
    """Those that compete, the highest mean first."""
    rivals = [each for each in judgement.methods if each.reading.kind != Kind.CONTROL]
    return sorted(rivals, key=lambda each: (not each.units, -each.mean if each.units else 0, each.method))


def opening(judgement: Judgement) -> str:
    """The first sentence, without its end."""
    rivals = competitors(judgement)
    if len(rivals) == 1:
        (only,) = rivals
        state = f", {only.reading.words}" if only.reading.kind in (Kind.PROVISIONAL, Kind.DIVERGES) else ""
        score = f"{spread_percent(only)} on test {of(only, judgement)}"
        return f"{only.method} reaches {score}{state}; there is no other method to compare"
    best = next(each for each in rivals if each.method == judgement.best)
    match best.reading.kind:
        case Kind.ALONE:
            return f"only {best.method} has all of its runs and none diverged: {spread_percent(best)}"
        case Kind.TOO_FEW:
            few = f"n\u00a0=\u00a0{best.units}; it takes {ENOUGH_UNITS}"
            means = listing([f"{each.method} {spread_percent(each)}" for each in rivals if each.units], NAMED)
            return f"{best.reading.words} for a verdict ({few}): {means}"
    highest = [each for each in rivals if each.reading.kind == Kind.HIGHEST]
    whole = among([each for each in rivals if each.mean > best.mean + SAME], judgement)
    lead = f"{best.method} has the highest mean{whole}, {spread_percent(best)} {of(best, judgement)}"
    if len(highest) > 1:
        score = f"{percent(best.mean)}\u00a0% {of(best, judgement)}"
        lead = f"{listing(names(highest), NAMED)} share the highest mean{whole}, {score}"
    maybe = [each for each in rivals if each.may_be_best and each.reading.kind != Kind.HIGHEST]
    if not maybe:
        return lead
    intervals = [each.behind.interval for each in maybe if each.behind]
    if len(maybe) > NAMED:
        others = len(rivals) - len(highest)
        share = f"all {others}" if len(maybe) == others else f"{len(maybe)} of the {others}"
        who = f"{share} others ({of_points(whole_of(intervals))})"
    else:
        who = behind(maybe, intervals)
    return f"{lead}; {who} may be best too"


def among(higher: Sequence[MethodJudgement], judgement: Judgement) -> str:
    """Of which methods the best is the highest: one that lost its worst run, or has few, may lie above."""
    if not higher:
        return ""
    few = any(each.reading.kind == Kind.TOO_FEW for each in higher)
    return f" of the complete methods{f' with {ENOUGH_UNITS} {plural(2, judgement.unit)}' if few else ''}"


def of(judged: MethodJudgement, judgement: Judgement) -> str:
    return f"(n\u00a0=\u00a0{judged.units} {plural(judged.units, judgement.unit)})"


def ranking(judgement: Judgement) -> str:
    """The second sentence, without its end; empty where there is nothing to rank."""
    rivals = competitors(judgement)
    parts = []
    if equal := [each for each in rivals if each.reading.kind == Kind.EQUAL]:
        margin = number(equal[0].reading.margin)
        parts.append(f"{not_excluded(equal)} {are(equal)} equal to {judgement.best} within {margin} points")
    if apart := [each for each in rivals if each.reading.kind == Kind.NOT_SEPARATED]:
        parts.append(f"{not_excluded(apart)} {are(apart)} not separated from {judgement.best}")
    if odd := [each for each in rivals if each.reading.kind == Kind.ERRATIC]:
        varies, units = "varies" if len(odd) == 1 else "vary", plural(2, judgement.unit)
        parts.append(f"{listing(names(odd), NAMED)} {varies} too much between {units} to be placed")
    if worse := [each for each in rivals if each.reading.kind == Kind.WORSE]:
        parts.append(losers(worse, everyone=len(worse) == len(rivals) - 1))
    return "; ".join(parts)


def not_excluded(methods: Sequence[MethodJudgement]) -> str:
    return behind(methods, [each.reading.interval for each in methods if each.reading.interval])


def behind(methods: Sequence[MethodJudgement], intervals: Sequence[Interval]) -> str:
    """These methods by name, with the differences to the best that the data do not exclude."""
    if len(methods) <= NAMED:
        each = zip(names(methods), intervals, strict=True)
        return listing([f"{name} ({of_points(interval)})" for name, interval in each], NAMED)
    return f"{listing(names(methods), NAMED)} ({of_points(whole_of(intervals))})"


def whole_of(intervals: Sequence[Interval]) -> Interval:
    """From the lowest end of all to the highest."""
    return Interval(min(each.low for each in intervals), max(each.high for each in intervals))


def of_points(interval: Interval) -> str:
    return f"{number(interval.low)} to {number(interval.high)} points behind"


def losers(worse: Sequence[MethodJudgement], everyone: bool) -> str:
    """The methods that are worse; of many only the first and the last."""
    gaps = [f"by {number(each.reading.gap)} {bounds(each.reading.interval)}" for each in worse]
    if len(worse) <= NAMED:
        (first, gap), *others = zip(names(worse), gaps, strict=True)
        words = [f"{first} is worse {gap}", *(f"{name} {gap}" for name, gap in others)]
        return f"{listing(words, NAMED)} points"
    who = f"all {len(worse)} others" if everyone else f"{len(worse)} others"
    first, last = worse[0].method, worse[-1].method
    return f"{who} are worse, from {first} {gaps[0]} to {last} {gaps[-1]} points"


def basis(records: Records, comparison: Comparison) -> str:
    """What the verdict rests on: runs, tuning budget, what is compared at once, controls."""
    judgement = comparison.judgement
    parts = [f"{runs(records)}; {budget(records)}"]
    if judgement.pairs:
        images = records.plan.data[comparison.task.data].test
        parts.append(
            f"differences: 95\u00a0% for all pairs of {judgement.competing} methods at once, over "
            f"{plural(2, judgement.unit)} and the {grouped(images)} test images"
        )
    controls = [each for each in judgement.of_kind(Kind.CONTROL) if each.units]
    if controls:
        parts.append(
            f"controls: {listing([f'{each.method} {spread_percent(each)}' for each in controls], NAMED)}"
        )
    return "; ".join(parts).replace(" %", "\u00a0%") + "."


def runs(records: Records) -> str:
    """How many final runs a method has."""
    seeds, tracks = count(records.plan.seeds, "seed"), records.plan.tuning.tracks
    studies = {track.name: records.plan.studies_of(track.name) for track in tracks}
    if all(numbers == [1] for numbers in studies.values()):
        return f"{seeds} per method"
    parts = [
        f"{seeds} of one study's winner ({name})"
        if numbers == [1]
        else f"{seeds} of each of {span(numbers)} studies' winners ({name})"
        for name, numbers in studies.items()
    ]
    return f"{', '.join(parts)} per method"


def budget(records: Records) -> str:
    """The tuning budget of the methods; the first trial of a study is always the published default."""
    tracks = [track for track in records.plan.tuning.tracks if track.trials > 1]
    if not tracks:
        return "each as the experiment sets it, else at its published default; not tuned"
    studies = [records.plan.studies_of(track.name) for track in tracks]
    same = "the same " if all(len(numbers) == 1 for numbers in studies) else ""
    budgets = " and ".join(map(budget_of, tracks, studies))
    return f"{same}{budgets} for each, scored on validation"


def budget_of(track: Track, studies: Sequence[int]) -> str:
    draws = count(track.trials - 1, "random draw")
    how = draws if track.name == "random" else "then TPE"
    how = f"the published default{' and' if track.name == 'random' else ','} {how}"
    times = f"{span(studies)} studies of " if studies != [1] else ""
    return f"{times}{count(track.trials, 'tuning trial')} ({how})"


def caveats(records: Records, comparison: Comparison) -> list[str]:
    """All that weakens the verdict: what has no verdict and why, runs without a result, damaged images."""
    cells = records.cells_of(comparison.task)
    notes = [*incomplete(comparison.judgement), *constant(comparison.judgement)]
    for phase in ("final", "tuning", "default"):
        planned = [run for cell in cells for run in records.planned(cell, phase)]
        absent = [run for run in planned if not run.scored]
        if absent:
            kind = "final" if phase == "default" and not records.plan.tuning.tracks else phase
            notes.append(f"{len(absent)} of {len(planned)} {kind} runs are not in ({breakdown(absent)}).")
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


def incomplete(judgement: Judgement) -> list[str]:
    """The methods that have no verdict because runs are missing or diverged, or because they are few."""
    found: dict[str, list[str]] = {}
    for each in competitors(judgement):
        reading = each.reading
        if reading.kind == Kind.TOO_FEW and judgement.of_kind(Kind.HIGHEST):  # else the verdict names them
            state = f"n\u00a0=\u00a0{each.units}; it takes {ENOUGH_UNITS}"
            found.setdefault(f"{reading.words} for a verdict", []).append(f"{each.method} ({state})")
        if reading.kind == Kind.PROVISIONAL:
            diverged = f", {reading.diverged} diverged" if reading.diverged else ""
            state = f"{reading.runs} of {reading.planned} runs in{diverged}"
            found.setdefault("Provisional, so without a verdict", []).append(f"{each.method} ({state})")
        elif reading.kind == Kind.DIVERGES:
            other = (
                f", {percent(each.mean_without_diverged)}\u00a0% without" if each.diverged < each.runs else ""
            )
            state = f"{reading.diverged} of {reading.planned} runs{other}"
            found.setdefault("Diverged, counted at chance and without a verdict", []).append(
                f"{each.method} ({state})"
            )
    return [f"{capital(what)}: {listing(who, NAMED)}." for what, who in found.items()]


def constant(judgement: Judgement) -> list[str]:
    """Methods whose units do not differ, so that no variance can be estimated."""
    same = names([each for each in competitors(judgement) if each.sd == 0 and not each.diverged])
    if not same:
        return []
    units = plural(2, judgement.unit)
    return [
        f"The {units} of {listing(same, NAMED)} all score the same: ±0 is no proof that further ones would."
    ]


def breakdown(runs: list[RunRecord]) -> str:
    statuses = [run.status for run in runs]
    return ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))


def names(methods: Sequence[MethodJudgement]) -> list[str]:
    return [each.method for each in methods]


def are(methods: Sequence[MethodJudgement]) -> str:
    return "is" if len(methods) == 1 else "are"
