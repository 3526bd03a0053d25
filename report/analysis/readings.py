"""How a method compares with the best one, in one reading: the first rule below that holds."""

import math
from dataclasses import dataclass
from enum import StrEnum

from report.analysis.differences import Difference
from report.analysis.intervals import Interval

MINUS = "\u2212"  # as long as a plus


class Kind(StrEnum):
    """In this order: a damaged cell is read as such, and a verdict comes before a doubt."""

    CONTROL = "control"
    PROVISIONAL = "provisional"
    DIVERGES = "diverges"
    TOO_FEW = "too few"
    ALONE = "only method"
    HIGHEST = "highest mean"
    WORSE = "worse"
    EQUAL = "equal"
    MAY_BE_BEST = "may be best"
    NOT_SEPARATED = "not separated"
    ERRATIC = "erratic"


RANKED = (Kind.HIGHEST, Kind.WORSE, Kind.EQUAL, Kind.MAY_BE_BEST, Kind.NOT_SEPARATED, Kind.ERRATIC)


@dataclass(frozen=True)
class Reading:
    """Accuracies are fractions; NaN where a number does not exist."""

    kind: Kind
    gap: float = math.nan  # the best mean less this one
    interval: Interval | None = None  # of the gap: what the data do not exclude
    margin: float = math.nan  # of equality
    runs: int = 0  # that are in
    planned: int = 0
    diverged: int = 0
    unit: str = "run"

    @property
    def words(self) -> str:
        """The reading as the tables show it, in percentage points."""
        match self.kind:
            case Kind.PROVISIONAL:
                diverged = f", {self.diverged} diverged" if self.diverged else ""
                return f"provisional: {self.runs} of {self.planned} runs in{diverged}"
            case Kind.DIVERGES:
                return f"diverges in {self.diverged} of {self.planned}"
            case Kind.TOO_FEW:
                return "too few studies" if self.unit == "study" else "too few runs"
            case Kind.WORSE:
                return f"worse by {number(self.gap)} {bounds(self.interval)}"
            case Kind.EQUAL:
                return f"equal within {number(self.margin)}, d in {bounds(self.interval)}"
            case Kind.NOT_SEPARATED | Kind.MAY_BE_BEST | Kind.ERRATIC if self.interval is not None:
                return f"{self.kind}, d in {bounds(self.interval)}"
        return str(self.kind)

    @property
    def short(self) -> str:
        """The same where there is little room: without the interval, which then stands elsewhere."""
        match self.kind:
            case Kind.PROVISIONAL:
                return f"{self.runs} of {self.planned} runs in"
            case Kind.WORSE:
                return f"worse by {number(self.gap)}"
            case Kind.EQUAL:
                return f"equal within {number(self.margin)}"
            case Kind.NOT_SEPARATED | Kind.MAY_BE_BEST | Kind.ERRATIC:
                return str(self.kind)
        return self.words


def number(fraction: float) -> str:
    """In percentage points, with a true minus sign and no negative zero."""
    text = f"{100 * fraction:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", MINUS)


def signed(fraction: float) -> str:
    """The same with a plus sign; zero has none."""
    text = number(fraction)
    return text if text == "0.00" or text.startswith(MINUS) else f"+{text}"


def bounds(interval: Interval | None) -> str:
    return "" if interval is None else f"[{number(interval.low)}, {number(interval.high)}]"


def against_best(behind: Difference, margin: float | None, erratic: bool) -> Reading:
    """The reading of the second method of a difference whose first has the highest mean.

    erratic: whether its units vary far more than those of the other methods. Then so little is excluded that
    it would seem to be a rival of the best.
    """
    gap, interval = behind.value, behind.interval
    if interval.low > 0:
        return Reading(Kind.WORSE, gap, interval)
    if margin is not None and behind.equivalence_interval.within(margin):
        return Reading(Kind.EQUAL, gap, behind.equivalence_interval, margin)
    kind = Kind.MAY_BE_BEST if behind.second_may_be_best else Kind.NOT_SEPARATED
    kind = Kind.ERRATIC if erratic else kind
    return Reading(kind, gap, interval)
