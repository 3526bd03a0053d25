"""The parts of a method: the rule's type, hyperparameters with their ranges, and pseudo-gradients."""

from optimizers.core.checks import BadHyper, BadValue
from optimizers.core.flipper import Flipper, scalar_zero
from optimizers.core.hyper import Addition, Hyper, HyperValue, choice, integer, log, optional, uniform
from optimizers.core.lean import bare_step, clear_gradients, run_step
from optimizers.core.method import Method, Timed, WeightRule, method
from optimizers.core.pseudo_gradients import (
    BEYOND_ONE,
    PSEUDO_GRADIENTS,
    always_signs,
    pseudo_gradient,
    reads_the_sign,
    sign,
    stored_signs,
)

__all__ = [
    "BEYOND_ONE",
    "PSEUDO_GRADIENTS",
    "Addition",
    "BadHyper",
    "BadValue",
    "Flipper",
    "Hyper",
    "HyperValue",
    "Method",
    "Timed",
    "WeightRule",
    "always_signs",
    "bare_step",
    "choice",
    "clear_gradients",
    "integer",
    "log",
    "method",
    "optional",
    "pseudo_gradient",
    "reads_the_sign",
    "run_step",
    "scalar_zero",
    "sign",
    "stored_signs",
    "uniform",
]
