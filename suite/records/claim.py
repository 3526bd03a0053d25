"""What an experiment sets out to decide: the sentence, the tests that it stands on, and what refutes it.

A claim is written down before anything runs, and is part of the plan. The report computes its verdict from
the records: no sentence about an outcome is written by hand.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import Field, StrictInt, StrictStr

from suite.records.codec import absent, record

# Arms are named by the labels of a cell, from the right: METHOD, MODEL.METHOD or DATA.MODEL.METHOD. Where a
# test matches its arms, `sgd-*` names a pool: all methods whose label begins so.
Arm = Annotated[StrictStr, Field(min_length=1, max_length=200)]
Text = Annotated[StrictStr, Field(min_length=1)]
Numeric = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Margin = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]

# What is measured on a run, and its unit. "%": a share in percent, whose differences are points.
MEASURES: Mapping[str, str] = {
    "test_top1": "%",
    "val_top1": "%",
    "train_top1": "%",  # of the last epoch
    "gap": "%",  # train_top1 - test_top1
    "test_loss": "nats",
    "val_loss": "nats",
    "train_loss": "nats",
    "flips": "per weight",  # of the whole training
    "undone_1": "%",  # flips that the same weight undoes within so many steps, of all flips
    "undone_2": "%",
    "undone_5": "%",
    "undone_10": "%",
    "never": "%",  # of the weights
    "distance": "%",  # of the weights: another sign than at the start
    "reals": "per weight",  # float32 numbers that training keeps: the stored one and the optimizer's
}
PROBE = "probe."  # probe.<name>.<key>: what a probe returns
SHARES = ("top1", "share")  # in the key of a probe's share


def unit_of(measure: str) -> str:
    """The unit of a measure; empty for a probe's plain number."""
    if measure.startswith(PROBE):
        return "%" if any(word in measure for word in SHARES) else ""
    return MEASURES[measure]


def probe_of(measure: str) -> str | None:
    """The probe that a measure reads, if it reads one."""
    return measure.removeprefix(PROBE).partition(".")[0] if measure.startswith(PROBE) else None


@record
class Identical:
    """The arms have the same binary weights and the same flips in every step, for each seed; or must not."""

    kind: Literal["identical"]
    says: Text
    arms: Annotated[list[Arm], Field(min_length=2)]
    expect: Literal["same", "differ"] = "same"
    control: bool = False


@record
class Match:
    """Of each arm's pool the setting whose measure is nearest to the target counts, as a ratio.

    tolerance: the largest relative distance from the target; beyond it the arms are not comparable.
    """

    measure: Text = "flips"
    target: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
    tolerance: Annotated[float, Field(strict=True, gt=0, le=10)] = 0.25


@record
class Contrast:
    """A weighted sum of the arms' means: `of: {bop: 1, latent-adam: -1}` is a difference.

    minus: another measure of the same network, which is subtracted run by run. expect: where the sum
    lies: above the margin, below minus the margin, within it on either side of 0, or beyond it. Above -0.3
    is not worse by 0.3.
    """

    kind: Literal["contrast"]
    says: Text
    measure: Text = "test_top1"
    minus: Text | None = absent()
    of: Annotated[dict[Arm, Numeric], Field(min_length=1)]
    expect: Literal["above", "below", "within", "beyond"]
    margin: Numeric = 0.0
    match: Match | None = absent()
    control: bool = False

    @property
    def arms(self) -> list[Arm]:
        return list(self.of)


@record
class Order:
    """A measure along the arms as they are listed: rising, falling, or peaked with an interior maximum.

    A step within the margin against the shape does not refute it.
    """

    kind: Literal["order"]
    says: Text
    measure: Text = "test_top1"
    minus: Text | None = absent()
    arms: Annotated[list[Arm], Field(min_length=3)]
    shape: Literal["rising", "falling", "peaked"]
    margin: Margin = 0.0
    match: Match | None = absent()
    control: bool = False


@record
class Exact:
    """A count that is the same in every run of an arm and equals the given value."""

    kind: Literal["exact"]
    says: Text
    measure: Text
    values: Annotated[dict[Arm, Numeric], Field(min_length=1)]
    control: bool = False

    @property
    def arms(self) -> list[Arm]:
        return list(self.values)


@record
class Ease:
    """The share of random settings within `delta` points of the best: that of `of` minus `against`'s."""

    kind: Literal["ease"]
    says: Text
    of: Arm
    against: Arm
    delta: Annotated[float, Field(strict=True, gt=0, le=100)] = 1.0
    expect: Literal["above", "below", "within"]
    margin: Numeric = 0.0  # in points of the share
    control: bool = False

    @property
    def arms(self) -> list[Arm]:
        return [self.of, self.against]


Test = Annotated[Identical | Contrast | Order | Exact | Ease, Field(discriminator="kind")]


@record
class Claim:
    """One claim. lines: of the authors' reply. sentence: as it is said there, or in the paper.

    A test with `control: true` carries no verdict, but without it there is none.
    """

    id: Annotated[StrictStr, Field(pattern=r"^[A-Z][0-9]{0,2}[a-z]?$")]
    title: Text
    sentence: Text
    source: Text
    lines: list[Annotated[StrictInt, Field(ge=1, le=56)]] = absent(list)
    supports: Text
    refutes: Text
    limits: Text
    tests: Annotated[list[Test], Field(min_length=1)]
    literature: list[Text] = absent(list)
    paper_scale: Text | None = absent()


class Labelled(Protocol):
    """A cell by its labels."""

    @property
    def data(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def method(self) -> str: ...


Cell = TypeVar("Cell", bound=Labelled)
Group = tuple[str, ...]  # the labels that an arm's name leaves open, data first


POOL = "*"  # at the end of an arm's name


def cells_of_arm(arm: str, cells: Iterable[Cell]) -> dict[Group, list[Cell]]:
    """The cells that an arm names, by group: for `bop` each task, for `mlp.bop` each data set.

    One in each group; of a pool all.
    """
    *others, method = arm.split(".")
    found: dict[Group, list[Cell]] = {}
    for cell in cells:
        labels = (cell.data, cell.model)
        rest = len(labels) - len(others)
        begins = cell.method.startswith(method.removesuffix(POOL)) and method.endswith(POOL)
        if (begins or cell.method == method) and labels[rest:] == tuple(others):
            group = labels[:rest]
            found.setdefault(group, []).append(cell)
    return found


def groups_of(arms: Sequence[str], cells: Sequence[Cell]) -> Iterator[Group]:
    """The groups in which all arms have a cell, in the order of the cells."""
    by_arm = [cells_of_arm(arm, cells) for arm in arms]
    yield from (group for group in by_arm[0] if all(group in of_arm for of_arm in by_arm))
