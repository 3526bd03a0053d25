"""A general method must not lose to its special case: a loss shows that it is tuned too little.

Choi et al. 2019, https://arxiv.org/abs/1910.05446. What contains what is a fact of the update rules, so it
stands here by the methods' names, and a test trains a step of both. Adam with a large eps would contain
momentum, but eps is no hyperparameter of the catalogue's Adam.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from report.analysis.gain import Gain
from report.read.records import CellRecord, Records
from suite.records.trial import HyperSetting


@dataclass(frozen=True)
class Inclusion:
    """`general` with `hyper` at, or near, `value` is `special`; given: what one of them alone may have."""

    general: str
    special: str
    hyper: str
    value: float
    given: tuple[tuple[str, HyperSetting], ...] = ()


INCLUSIONS = (
    Inclusion("latent-momentum", "latent-sgd", "momentum", 0.0),
    Inclusion("latent-nesterov", "latent-sgd", "momentum", 0.0),
    # Its threshold is then in units of 1e-10. The unbiased form divides by the root of 0 / 0.
    Inclusion("bop-second-order", "bop", "sigma", 0.0, (("unbiased", False),)),
    Inclusion("prob-bop", "bop", "alpha", 0.0),
    Inclusion("prob-bop-second-order", "bop-second-order", "alpha", 0.0, (("unbiased", False),)),
)


@dataclass(frozen=True)
class InclusionCheck:
    """Two rows of a task that were tuned in the same way, and general - special on test."""

    rule: Inclusion
    general: str
    special: str
    in_range: bool  # whether the search of the general method reaches the special case
    gain: Gain

    @property
    def lost(self) -> bool:
        """Whether the general method is shown to be worse."""
        return self.gain.shown is not None and self.gain.shown.high < 0


def inclusions(records: Records, cells: list[CellRecord]) -> list[tuple[Inclusion, CellRecord, CellRecord]]:
    """The pairs (general, special) among rows of one task, tuned in the same way.

    What the experiment fixes has to be the same in both, so that none of it stands between them.
    """
    cards = records.plan.methods
    return [
        (rule, general, special)
        for rule in INCLUSIONS
        for general in cells
        for special in cells
        if general.track is not None
        and cards[general.planned.method].method == rule.general
        and cards[special.planned.method].method == rule.special
        and general.track == special.track
        and nothing_between(rule, fixed(records, general), fixed(records, special))
    ]


def nothing_between(
    rule: Inclusion, general: Mapping[str, HyperSetting], special: Mapping[str, HyperSetting]
) -> bool:
    """Whether what is fixed in two rows is the same, or as the rule has it."""
    given = dict(rule.given)
    one, other = (
        {name: value for name, value in each.items() if name not in given or value != given[name]}
        for each in (general, special)
    )
    return one == other


def fixed(records: Records, cell: CellRecord) -> dict[str, HyperSetting]:
    """What the experiment does not search in a row, by its value."""
    cards = records.plan.methods[cell.planned.method].hypers
    values = cell.planned.trial.setting
    return {name: values.get(name, card.default) for name, card in cards.items() if card.range is None}


def reaches(records: Records, rule: Inclusion, cell: CellRecord) -> bool:
    """Whether the value lies in the range that is searched."""
    card = records.plan.methods[cell.planned.method].hypers.get(rule.hyper)
    if card is None or card.range is None or card.range.kind == "choice":
        return False
    low, high = (float(end) for end in card.range.values if isinstance(end, int | float))
    return low <= rule.value <= high
