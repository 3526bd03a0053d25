"""Is one method as easy to tune as another? The answer in sentences, no stronger than the data."""

import math
from collections.abc import Iterable, Sequence

from report.analysis.ease import GoodShare, ShareDifference
from report.analysis.gain import Gain
from report.analysis.importance import ENOUGH_DRAWS
from report.analysis.intervals import Interval
from report.analysis.judgement import ENOUGH_UNITS
from report.analysis.numbers import listing, span
from report.analysis.readings import number, signed
from report.analysis.study import MethodStudy, TaskStudy, TrackComparison, mean
from suite.machine.words import count, plural

NAMED = 4  # rows of one sentence, of however many


def answer(study: TaskStudy) -> list[str]:
    """What was found on ease of tuning, in a few sentences."""
    if not any(row.searched for row in study.methods):
        return ["Nothing was tuned."]
    if study.reference is None:
        return [
            "No setting has all its final runs yet, so there is nothing to measure random settings against."
        ]
    rows = [row for row in study.competing if row.near and row.near.draws]
    if not rows:
        return [
            "There are no random draws to compare. Trials of TPE depend on each other and show no share of "
            "good settings.",
            *gains(study),
        ]
    if not rows[0].near or not rows[0].near.good:
        return [none_good(study, rows), *few_draws(rows), *gains(study)]
    return [easiest(study, rows[0]), *others(study, rows), *few_draws(rows), *gains(study)]


def none_good(study: TaskStudy, rows: list[MethodStudy]) -> str:
    near = [row.near for row in rows if row.near]
    return (
        f"No random setting of any method comes within 1 point of {best_known(study)}, so no method is shown "
        f"to be easier. With {draws_of(rows)} of each, shares up to "
        f"{share(max(each.high for each in near))} are not excluded."
    )


def best_known(study: TaskStudy) -> str:
    reference = study.reference
    assert reference is not None
    validation = f"{100 * reference.validation:.2f} % on validation"
    return f"the best known setting ({reference.setting.title}, {validation})"


def easiest(study: TaskStudy, row: MethodStudy) -> str:
    near = row.near
    assert near is not None
    value, low, high = map(needed, near.draws_needed)
    return (
        f"Of {row.method} {near.good} of {near.draws} random settings come within 1 point of "
        f"{best_known(study)}: "
        f"{share(near.share)} {shares(near)}. So {value} [{low}, {high}] draws contain such a setting with "
        "95 % chance."
    )


def others(study: TaskStudy, rows: list[MethodStudy]) -> list[str]:
    """The rows that are shown to be harder to tune than the first, and those that are not."""
    if len(rows) == 1:
        return ["There is no other method to compare."]
    first, behind = rows[0].method, study.behind(rows[0].method)
    harder = [row for row in rows[1:] if behind[row.method].interval.low > 0]
    open_ = [row for row in rows[1:] if row not in harder]
    sentences = []
    if harder:
        named = [f"{at_one_point(row)}; {fewer(behind[row.method])} good ones of 100)" for row in harder]
        sentences.append(f"Harder to tune than {first}: {listing(named, NAMED)}.")
    if open_:
        open_words = f"Not shown to be harder to tune than {first}, nor to be as easy"
        if len(open_) > NAMED:
            widest = [behind[row.method].interval for row in open_]
            ends = Interval(min(each.low for each in widest), max(each.high for each in widest))
            named = [f"{len(open_)} other methods (not excluded: {excluded(ends)} good ones of 100)"]
        else:
            named = [
                f"{at_one_point(row)}; not excluded: {excluded(behind[row.method].interval)} of 100)"
                for row in open_
            ]
        sentences.append(f"{open_words}: {listing(named, NAMED)}.")
    return sentences


def at_one_point(row: MethodStudy) -> str:
    """`bop (12 %, 24 draws`, an open bracket."""
    assert row.near is not None
    return f"{row.method} ({share(row.near.share)}, {needed(row.near.draws_needed[0])} draws"


def few_draws(rows: list[MethodStudy]) -> list[str]:
    if min(row.near.draws for row in rows if row.near) >= ENOUGH_DRAWS:
        return []
    return [f"A method has {draws_of(rows)}: too few to separate any but the most unequal methods."]


def draws_of(rows: Sequence[MethodStudy]) -> str:
    """`21 draws`, or `21 to 35 draws` where methods differ."""
    draws = sorted(row.near.draws for row in rows if row.near)
    return f"{span(draws)} {plural(draws[-1], 'draw')}"


def gains(study: TaskStudy) -> list[str]:
    """What tuning gained over the published default, on test."""
    rows = [row for row in study.methods if row.searched and not row.control]
    several, one = (
        [row for row in rows if (row.planned_studies == 1) == of_one and not math.isnan(row.gain.value)]
        for of_one in (False, True)
    )
    return [*gains_of(several, ""), *gains_of(one, "Given one draw of the tuning: ")]


def gains_of(rows: Sequence[MethodStudy], given: str) -> list[str]:
    """Which of these rows gained; given: the words that each sentence begins with."""
    shown = sorted(
        (row for row in rows if row.gain.shown and row.gain.shown.low > 0),
        key=lambda row: -row.gain.value,
    )
    few = [row for row in rows if row.gain.few]
    rest = [row for row in rows if row not in shown and row not in few]
    sentences = []
    if shown:
        named = [f"{row.method} {gain(row.gain)}" for row in shown]
        sentences.append(
            f"{given}tuning gained over the published default, in points on test, each for itself"
            f"{n_of(row.gain for row in shown)}: {listing(named, NAMED)}."
        )
    if rest:
        named = [f"{row.method} {gain(row.gain)}" for row in rest]
        none = "no gain of tuning" if not shown else "no gain"
        n = n_of(row.gain for row in rest)
        sentences.append(f"{given}{none} over the published default is shown for {listing(named, NAMED)}{n}.")
    if few:
        named = [f"{row.method} {gain(row.gain)}" for row in few]
        sentences.append(
            f"{given}too few units for a verdict on what tuning gained over the published default"
            f"{n_of(row.gain for row in few)}: {listing(named, NAMED)}."
        )
    return [sentence[0].upper() + sentence[1:] for sentence in sentences]


def notes(study: TaskStudy) -> list[str]:
    """What else the records say: TPE against random search, lost inclusions, fragile orders."""
    found = [track_note(each) for each in study.tracks]
    for check in study.inclusions:
        if check.lost:
            where = "" if check.in_range else ", which its search does not reach"
            found.append(
                f"{check.general} is tuned too little: it is {number(-check.gain.value)} points "
                f"{turned(check.gain.interval)} below {check.special}, its special case at "
                f"{check.rule.hyper} = {check.rule.value:g}{where}{n_of([check.gain])}."
            )
    compared = [check for check in study.inclusions if check.gain.interval is not None]
    if compared and not any(check.lost for check in compared):
        pairs = listing([f"{each.general} to {each.special}" for each in compared], NAMED)
        n = n_of(each.gain for each in compared)
        found.append(f"No general method is shown to lose to its special case{n}: {pairs}.")
    fragile = [row for row in study.methods if row.order and row.order.share >= FRAGILE]
    if fragile and study.leader:
        named = [f"{row.method} ({share(row.order.share)} of the choices)" for row in fragile if row.order]
        found.append(
            f"{study.leader} has the best draw; in half of the draws, chosen at random, these may have a "
            f"better one: {listing(named, NAMED)}."
        )
    found += smaller_ranges(study)
    if study.reference is not None and (above := study.reference.above):
        found.append(
            f"The {above.title} is better ({100 * mean(above.validation):.2f} % on validation) than the best "
            "known setting, which is the catalogue's."
        )
    if study.reference is not None and (incomplete := study.reference.incomplete):
        their = "its" if incomplete == 1 else "their"
        found.append(
            f"{count(incomplete, 'setting')} without all {their} final runs may be better than the best "
            "known one; then fewer draws would be good."
        )
    if missing := sum(row.search.missing for row in study.methods):
        found.append(
            f"{count(missing, 'planned draw')} {'has' if missing == 1 else 'have'} no score; the intervals "
            "cover all that they could be."
        )
    return found


def smaller_ranges(study: TaskStudy) -> list[str]:
    """Whether the method with the best draw would still have it if less of one range had been searched."""
    orders = [(row.method, row.order) for row in study.methods if row.order]
    if not orders or study.leader is None:
        return []
    overtaken = sorted(
        ((method, order) for method, order in orders if order.spaces_reversed),
        key=lambda each: -len(each[1].spaces_reversed),
    )
    if not overtaken:
        return [
            f"No method has a better draw than {study.leader} where only a half of one of its ranges counts."
        ]
    named = [
        f"{method} in {len(each.spaces_reversed)} of {each.spaces} cases (such as {each.spaces_reversed[0]})"
        for method, each in overtaken
    ]
    if len(named) > NAMED:
        named = [named[0], f"{len(named) - 1} others"]
    return [
        f"Where only a half of one of {study.leader}'s ranges counts, or one word of a choice, another "
        f"method has a better draw: {listing(named, NAMED)}."
    ]


FRAGILE = 0.05  # of the half samples: an order that is reversed more often hangs on few draws


def track_note(each: TrackComparison) -> str:
    start = f"TPE against random search, {each.method}: "
    if each.random.trials != each.tpe.trials:
        return f"{start}not compared, with {each.tpe.trials} and {each.random.trials} trials in a study."
    if each.difference is None:
        return f"{start}not compared: it takes {ENOUGH_UNITS} studies of each, no run missing or diverged."
    interval = each.difference.interval
    reading = "better" if interval.low > 0 else "worse" if interval.high < 0 else "not separated"
    return (
        f"{start}{signed(each.difference.value)} points on test {bracket(interval)} with {each.tpe.trials} "
        f"trials each, n = {each.tpe.studies} and {each.random.studies} studies: {reading}."
    )


# ---- numbers


def share(fraction: float) -> str:
    """A share in whole percent, with a decimal where it is small."""
    return f"{100 * fraction:.{0 if fraction >= 0.0995 or fraction == 0 else 1}f} %"


def shares(near: GoodShare) -> str:
    return f"[{100 * near.low:.0f}, {100 * near.high:.0f}]"


def needed(draws: float) -> str:
    if math.isnan(draws):
        return "—"
    return "∞" if math.isinf(draws) else f"{math.ceil(draws - 1e-9)}"


def fewer(difference: ShareDifference) -> str:
    """`31 fewer [14, 46]`: how many of 100 settings less."""
    low, high = (100 * end for end in (difference.interval.low, difference.interval.high))
    return f"{100 * difference.value:.0f} fewer [{low:.0f}, {high:.0f}]"


def excluded(difference: Interval) -> str:
    """`from 22 fewer to 5 more`: of the other method, what the interval of first - other holds."""
    return f"from {100 * difference.high:.0f} fewer to {-100 * difference.low:.0f} more"


def gain(value: Gain, same: str = "the default won") -> str:
    """A gain with its interval. same: the words where both sides are the same setting."""
    if value.same_runs:
        words = f"0 ({same})"
    elif value.interval is None:
        words = f"{signed(value.value)} (no interval)"
    else:
        words = f"{signed(value.value)} {bracket(value.interval)}"
    return f"{words} (provisional)" if value.provisional else words


def n_of(gains: Iterable[Gain]) -> str:
    """How many units both sides have: ` (n = 3 and 6)`; a range where they differ, nothing without any."""
    units = [each.units for each in gains if any(each.units)]
    ends = [(min(side), max(side)) for side in zip(*units, strict=True)]
    sides = [f"{low} to {high}" if low < high else f"{low}" for low, high in ends]
    return f" (n = {' and '.join(sides)})" if sides else ""


def bracket(interval: Interval) -> str:
    return f"[{signed(interval.low)}, {signed(interval.high)}]"


def turned(interval: Interval | None) -> str:
    return f"[{number(-interval.high)}, {number(-interval.low)}]" if interval else ""
