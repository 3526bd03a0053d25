"""Forty methods in an order that can be read: by family, in each the best first, with the ends to show."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from report.analysis.comparison import MANY_METHODS
from report.read.records import Records
from suite.records.schema import MethodCard

MANY_ROWS_OF_ONE = 12  # a larger family is told apart: its plain methods, and those with an addition
TOP, BOTTOM = 6, 2  # of all methods, in a figure
BEST_OF_FAMILY, WORST_OF_FAMILY = 2, 1  # in a table


@dataclass(frozen=True)
class Family:
    """The methods of a family, the best first.

    shown: those that a table shows at once. ends: those at the top or the bottom of all families.
    """

    name: str
    methods: tuple[str, ...]
    shown: tuple[str, ...]
    ends: tuple[str, ...]


def families_of(records: Records) -> dict[str, str]:
    """The family of every row by its label, in the order of the plan."""
    return named_families({cell.method: records.plan.methods[cell.planned.method] for cell in records.cells})


def named_families(cards: Mapping[str, MethodCard]) -> dict[str, str]:
    """Controls are a family of their own; a method whose file names none counts by its weights."""
    named = {label: family_of(card) for label, card in cards.items()}
    sizes = [*named.values()]
    return {
        label: f"{family}, with an addition"
        if sizes.count(family) > MANY_ROWS_OF_ONE and cards[label].differs
        else family
        for label, family in named.items()
    }


def family_of(card: MethodCard) -> str:
    if card.control:
        return "controls"
    return card.family or ("no latent weights" if card.latent_free else "latent weights")


def grouped_by_family(
    ordered: Sequence[str], families: Mapping[str, str], unscored: Collection[str] = ()
) -> list[Family]:
    """The methods, given best first, by family: that of the best method first, controls where they come.

    unscored: methods that wait for their runs. They come last, and are not the worst ones of anything.
    """
    members: dict[str, list[str]] = {}
    for method in ordered:
        members.setdefault(families[method], []).append(method)
    outer = set(ends([each for each in ordered if each not in unscored]))
    return [
        Family(
            name,
            tuple(of),
            tuple(family_ends(of, unscored)),
            tuple(each for each in of if each in outer),
        )
        for name, of in members.items()
    ]


def by_label(families: Sequence[Family], labels: Mapping[str, str]) -> list[Family]:
    """The same families for tables with one row for all tracks of a method; labels: by the rows' names."""

    def once(rows: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(labels[row] for row in rows))

    return [Family(each.name, *map(once, (each.methods, each.shown, each.ends))) for each in families]


def family_ends(methods: Sequence[str], unscored: Collection[str]) -> list[str]:
    """The best and the worst of a family; all, if folding would hide a single row."""
    if len(methods) <= BEST_OF_FAMILY + WORST_OF_FAMILY + 1:
        return list(methods)
    scored = [each for each in methods if each not in unscored]
    if len(scored) <= BEST_OF_FAMILY + WORST_OF_FAMILY:
        return scored or list(methods[:1])
    return [*scored[:BEST_OF_FAMILY], *scored[-WORST_OF_FAMILY:]]


def ends(ordered: Sequence[str]) -> list[str]:
    """The top and the bottom of the methods, given best first; all of a few."""
    if len(ordered) <= MANY_METHODS:
        return list(ordered)
    return [*ordered[:TOP], *ordered[-BOTTOM:]]
