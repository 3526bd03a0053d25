"""From turns to tables: medians, ratios within a round, and the goals."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

CLOCKS = ("cpu", "wall")
REFERENCES = {
    "larq, same precision": "larq {precision}",
    "larq float32": "larq float32",
    "naive": "naive float32",
}


class Goal(NamedTuple):
    """`entry` must be at least `bound` times as fast as `reference`, by CPU time, on this network."""

    entry: str
    reference: str
    network: str
    bound: float


GOALS = [
    Goal("ours bfloat16", "larq bfloat16", "binarynet-1", 1.15),
    Goal("ours bfloat16", "larq bfloat16", "binarynet-1/8", 1.0),
    Goal("ours bfloat16", "larq float32", "binarynet-1", 1.7),
    Goal("ours bfloat16", "larq float32", "binarynet-1/8", 1.7),
    Goal("ours float32", "larq float32", "binarynet-1", 1.0),
    Goal("ours float32", "larq float32", "binarynet-1/8", 1.0),
]


class Group(NamedTuple):
    """The turns of all entries on one network with one method; columns `images/s cpu` and `images/s wall`."""

    network: str
    method: str
    turns: pd.DataFrame

    def entries(self) -> list[str]:
        return list(dict.fromkeys(self.turns["entry"]))

    def speed(self, entry: str, clock: str) -> float:
        """Images per second, the median over rounds."""
        return float(self.turns.loc[self.turns["entry"] == entry, f"images/s {clock}"].median())

    def ratio(self, entry: str, reference: str, clock: str) -> float:
        """How many times as fast as the reference: the median of the ratios within a round."""
        table = self.turns.pivot(index="round", columns="entry", values=f"images/s {clock}")
        return float((table[entry] / table[reference]).median())


def groups_of(turns: pd.DataFrame) -> Iterator[Group]:
    """The groups in the order in which they were measured.

    turns: contender, network, method, precision, round, steps, images, wall, cpu (both in seconds).
    """
    turns = turns.assign(entry=turns["contender"] + " " + turns["precision"])
    for clock in CLOCKS:
        turns[f"images/s {clock}"] = turns["images"] / turns[clock]
    for network, method in turns[["network", "method"]].drop_duplicates().itertuples(index=False):
        yield Group(network, method, turns[(turns["network"] == network) & (turns["method"] == method)])


def summary(turns: pd.DataFrame) -> pd.DataFrame:
    """One line per network, method and entry: median images/s, and the ratios to each reference."""
    lines = []
    for group in groups_of(turns):
        entries = group.entries()
        for entry in entries:
            line = {"network": group.network, "method": group.method, "entry": entry}
            line |= {f"images/s {clock}": group.speed(entry, clock) for clock in CLOCKS}
            for name, pattern in REFERENCES.items():
                reference = pattern.format(precision=entry.split()[1])
                if reference in entries:
                    line |= {f"/ {name}, {clock}": group.ratio(entry, reference, clock) for clock in CLOCKS}
            lines.append(line)
    return pd.DataFrame(lines)


def verdicts(turns: pd.DataFrame, goals: Sequence[Goal] = GOALS) -> pd.DataFrame:
    """One line per goal and measured group: the ratio by both clocks, and whether it is met by CPU time."""
    lines = []
    groups = list(groups_of(turns))
    for goal in goals:
        for group in groups:
            if group.network != goal.network or not {goal.entry, goal.reference} <= set(group.entries()):
                continue
            ratios = {clock: group.ratio(goal.entry, goal.reference, clock) for clock in CLOCKS}
            lines.append(
                {
                    "goal": f"{goal.entry} at least {goal.bound:g} x {goal.reference}",
                    "network": group.network,
                    "method": group.method,
                    **{f"ratio, {clock}": value for clock, value in ratios.items()},
                    "met": "yes" if ratios["cpu"] >= goal.bound else "no",
                }
            )
    return pd.DataFrame(lines)


def markdown(table: pd.DataFrame) -> str:
    """A table for the page: numbers with three digits, a dash for an absent one."""
    rows = [list(table.columns), ["---"] * len(table.columns)]
    rows += [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if value != value:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
