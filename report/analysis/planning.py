"""What a plan can show before anything runs."""

import math

from scipy.optimize import brentq
from scipy.special import ndtr

from report.analysis.critical import all_pairs, averaged
from report.analysis.differences import FEW_METHODS


def detectable_difference(methods: int, units: int, power: float = 0.8) -> float:
    """The smallest true difference that a comparison of so many methods shows with this power.

    In standard deviations of a unit, without the noise of the test images; all methods vary alike. NaN where
    a difference cannot be tested: fewer than two methods or two units.
    """
    if methods < 2 or units < 2:
        return math.nan
    df = (methods if methods > FEW_METHODS else 2) * (units - 1)
    critical = all_pairs(methods, df)

    def missing_power(shift: float) -> float:
        # Not scipy's noncentral t, which is NaN far out.
        return 1 - averaged(lambda t: ndtr(t - shift) - ndtr(-t - shift), critical, df) - power

    high = 1.0
    while missing_power(high) < 0:
        high *= 2
    shift = float(brentq(missing_power, 0.0, high))  # pyright: ignore[reportArgumentType]
    return shift * math.sqrt(2 / units)
