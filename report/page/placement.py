"""Where a method of one's own stands: its page, and what a paper can take from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from report.analysis.comparison import Comparison, Standing
from report.analysis.differences import Difference
from report.analysis.judgement import MethodJudgement
from report.analysis.numbers import NONE, listing, percent, points, spread_percent
from report.analysis.readings import Kind
from report.analysis.study import MethodStudy, TaskStudy
from report.draw.drawing import Drawing
from report.page.answer import bracket, needed, shares
from report.page.answer import share as share_of
from report.page.gather import Report, TaskReport
from report.page.latex import line
from report.page.tables import Table
from report.page.verdict import NAMED
from report.read.records import Records
from suite.machine.words import count, plural
from suite.records.placement import TOLERANCE, PlacedTask, PlacementRecord

DIGEST = 12  # characters of a hash that a sentence shows


@dataclass(frozen=True)
class TaskPlacement:
    """The newcomer on one task.

    sentences: where it stands. cautions: what stands before them. latex: a row of a table for a paper.
    """

    title: str
    sentences: list[str]
    cautions: list[str]
    picture: Drawing | None
    table: Table
    paragraph: str
    latex: str


@dataclass(frozen=True)
class ExperimentPlacement:
    """The newcomer on the tasks of a standard experiment. report: the whole comparison, next to this page."""

    placed: PlacedTask
    report: Report
    tasks: list[TaskPlacement]


def experiment_placement(
    placement: PlacementRecord,
    placed: PlacedTask,
    records: Records,
    report: Report,
) -> ExperimentPlacement:
    tasks = [task_placement(placement, placed, records, each) for each in report.tasks]
    return ExperimentPlacement(placed, report, tasks)


def task_placement(
    placement: PlacementRecord, placed: PlacedTask, records: Records, task: TaskReport
) -> TaskPlacement:
    name, comparison, study = placement.placement.method, task.comparison, task.study
    mine = judged(comparison, name)
    less = differences_of(comparison, name)
    if placed.comparable:
        sentences = [standing(mine, comparison), *against(less, comparison), *ease(study, name)]
    else:
        sentences = [f"{score(mine, comparison)}."]
    table = placement_table(task, study, less if placed.comparable else None, name)
    return TaskPlacement(
        title=task.task.title,
        sentences=sentences,
        cautions=cautions(placement, placed),
        picture=task.accuracy if placed.comparable else None,
        table=table,
        paragraph=paragraph(placement, placed, records, comparison, sentences),
        latex=line(table.rows[0]),
    )


def judged(comparison: Comparison, name: str) -> MethodJudgement:
    return next(each for each in comparison.judgement.methods if each.method == name)


def differences_of(comparison: Comparison, name: str) -> dict[str, Difference]:
    """The newcomer less each other method, by the other's name."""
    pairs = [each for each in comparison.judgement.pairs if name in (each.first, each.second)]
    turned = [each if each.first == name else each.reversed() for each in pairs]
    return {each.second: each for each in turned}


def cautions(placement: PlacementRecord, placed: PlacedTask) -> list[str]:
    """What stands before every number: no verdict, a first look, how often it was tried."""
    found = []
    if not placed.comparable:
        found.append(
            f"No verdict: {count(len(placed.repeated), 'published run')}, trained again on this machine, "
            f"scored {points(placed.shift)} points on the mean. That is more than {TOLERANCE:g} standard "
            f"deviations of a seed ({percent(placed.seed_sd)} points): numbers of this machine are not "
            "compared with the published ones."
        )
    if placement.placement.quick:
        found.append("A first look with one tuning study: not comparable with a full placement.")
    if other := placement.other_code:
        files = "one other file" if other == 1 else f"{other} other files"
        found.append(
            f"Before it, {files} of this name {'was' if other == 1 else 'were'} placed: of several attempts "
            "the best one looks better than it is."
        )
    if names := placement.other_names:
        found.append(f"The same code was placed before as {listing(names, NAMED)}.")
    if placed.left_out:
        found.append(
            f"{count(len(placed.left_out), 'method')} of {placed.experiment} "
            f"{'has' if len(placed.left_out) == 1 else 'have'} not all runs yet and "
            f"{'is' if len(placed.left_out) == 1 else 'are'} not among the baselines."
        )
    return found


def score(mine: MethodJudgement, comparison: Comparison) -> str:
    if not mine.units:
        return f"{mine.method} has no finished final run"
    units = f"n\u00a0=\u00a0{mine.units} {plural(mine.units, comparison.judgement.unit)}"
    return f"{mine.method} reaches {spread_percent(mine)} on test ({units})"


def standing(mine: MethodJudgement, comparison: Comparison) -> str:
    judgement = comparison.judgement
    if mine.reading.kind == Kind.HIGHEST:
        return f"{score(mine, comparison)}: the highest mean of {judgement.competing} methods."
    best = next((each for each in judgement.methods if each.method == judgement.best), None)
    behind = f"; the highest mean is {best.method}'s, {percent(best.mean)}\u00a0%" if best else ""
    return f"{score(mine, comparison)}: {mine.reading.words}{behind}."


def against(less: dict[str, Difference], comparison: Comparison) -> list[str]:
    """Which baselines it is better and worse than, and which it is not separated from."""
    groups: dict[str, list[str]] = {"better than": [], "worse than": [], "not separated from": []}
    for each in sorted(less.values(), key=lambda each: each.value):  # the best baseline first
        groups[relation(each)].append(f"{each.second} ({points(each.value)} {bracket(each.interval)})")
    parts = [f"{words} {listing(named, NAMED)}" for words, named in groups.items() if named]
    if not parts:
        return []
    methods = comparison.judgement.competing
    return [f"It is {'; '.join(parts)}. In points, 95\u00a0% for all pairs of {methods} methods at once."]


def relation(pair: Difference) -> str:
    """How the first of a pair stands to the second."""
    if pair.interval.low > 0:
        return "better than"
    return "worse than" if pair.interval.high < 0 else "not separated from"


def ease(study: TaskStudy, name: str) -> list[str]:
    """How easy it is to tune, measured against the best setting of the baselines."""
    row = next((each for each in study.methods if each.method == name), None)
    if row is None or row.near is None or not row.near.draws or study.reference is None:
        return []
    known = f"{study.reference.setting.title}, {percent(study.reference.validation)}\u00a0% on validation"
    share = f"{share_of(row.near.share)} {shares(row.near)}"
    good = f"{row.near.good} come" if row.near.good > 1 else "1 comes" if row.near.good else "none comes"
    found = (
        f"Of {row.near.draws} random settings {good} within 1 point of the baselines' best one ({known}): "
    )
    found += share
    if row.near.good:
        value, low, high = map(needed, row.near.draws_needed)
        found += f"; {value} [{low}, {high}] draws contain such a setting with 95\u00a0% chance"
    sentences = [f"{found}."]
    differences = study.behind(name)
    harder = [other for other, each in differences.items() if each.interval.high < 0]
    easier = [other for other, each in differences.items() if each.interval.low > 0]
    if harder or easier:
        parts = [
            f"{words} to tune than {listing(found, NAMED)}"
            for words, found in (("harder", harder), ("easier", easier))
            if found
        ]
        sentences.append(f"It is shown to be {' and '.join(parts)}.")
    else:
        sentences.append("It is not shown to be harder or easier to tune than any baseline.")
    return sentences


def placement_table(
    task: TaskReport, study: TaskStudy, less: dict[str, Difference] | None, name: str
) -> Table:
    """The newcomer first, then every baseline, the best first; less: none where nothing may be compared."""
    columns = [
        "method",
        "test top\u20111,\u00a0%",
        plural(2, task.comparison.judgement.unit),
        f"{name} less it, points",
        "reading",
        "draws for 95\u00a0% chance",
        "flips per weight",
        "undone within 10 steps,\u00a0%",
        "bytes per weight",
    ]
    ease_of = {row.method: row for row in study.methods}
    flips, cost = task.tables.flips, task.tables.cost
    measured = [flips.column("flips per weight"), flips.column("undone within 10 steps, %")]
    measured.append(cost.column("together"))
    ordered = sorted(task.comparison.standings, key=lambda each: order(each, name))
    rows = []
    for each in ordered:
        pair = less.get(each.method) if less is not None else None
        rows.append(
            [
                each.method,
                spread_percent(each.judged).removesuffix("\u00a0%"),
                str(each.judged.units),
                f"{points(pair.value)} {bracket(pair.interval)}" if pair else NONE,
                NONE if less is None else reading(pair, each.judged),
                draws_needed(ease_of.get(each.method)),
                *(cells[each.method] for cells in measured),
            ]
        )
    return Table(columns, rows, text=(0, 4), strong=(0,))


def order(each: Standing, name: str) -> tuple[bool, bool, float]:
    judged = each.judged
    return each.method != name, judged.reading.kind == Kind.CONTROL, -judged.mean if judged.units else 0.0


def reading(pair: Difference | None, judged: MethodJudgement) -> str:
    """Of the newcomer against this method; its own, and that of a control."""
    return judged.reading.short if pair is None else f"{relation(pair)} it"


def draws_needed(row: MethodStudy | None) -> str:
    if row is None or row.near is None or not row.near.draws:
        return NONE
    value, low, high = map(needed, row.near.draws_needed)
    return f"{value} [{low}, {high}]"


def paragraph(
    placement: PlacementRecord,
    placed: PlacedTask,
    records: Records,
    comparison: Comparison,
    sentences: Sequence[str],
) -> str:
    """For a paper: what was done, what was found, what speaks against it, and what it rests on."""
    plan = records.plan
    quick = placement.placement.quick
    whole = "with a part of the baselines' budget" if quick else "with the budget per study of every baseline"
    found = " ".join([*sentences, *cautions(placement, placed)])
    budget = " and ".join(
        f"{count(track.studies, 'independent study')}{others_have(plan.studies_of(track.name))} of "
        f"{count(track.trials, 'trial')}"
        for track in plan.tuning.tracks
    )
    return (
        f"{placement.placement.method} was placed on {placed.experiment} of flipbench (protocol "
        f"{plan.protocol}; {comparison.task.title}) {whole}: {budget}, the "
        "published default first, scored on validation; the winner of each was trained on "
        f"{count(plan.seeds, 'fresh seed')} and scored once on test. {found} "
        f"Handshake: {handshake(placed)} "
        f"Baselines: archive {placed.archive[:DIGEST]}; file {placement.placement.sha256[:DIGEST]}; "
        f"command: {placement.command}."
    )


def others_have(studies: Sequence[int]) -> str:
    """That some baselines have more studies, which make their rows more certain, not better tuned."""
    return f" (some baselines: {studies[-1]})" if len(studies) > 1 else ""


def handshake(placed: PlacedTask) -> str:
    runs = count(len(placed.repeated), "published run")
    if placed.same_bits:
        return f"{runs}, trained again, gave the same bits."
    return (
        f"{runs}, trained again, gave other bits and scored {points(placed.shift)} points on the mean "
        f"(standard deviation of a seed: {percent(placed.seed_sd)})."
    )
