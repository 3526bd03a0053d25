"""What a method is made of: the rule's type, hyperparameters with ranges, and pseudo-gradients."""

from optimizers.core.hyper import Hyper, HyperValue, choice, log, uniform
from optimizers.core.method import Method, WeightRule, method
from optimizers.core.pseudo_gradients import ALWAYS_SIGNS, PSEUDO_GRADIENTS, sign, stored_signs

__all__ = [
    "ALWAYS_SIGNS",
    "PSEUDO_GRADIENTS",
    "Hyper",
    "HyperValue",
    "Method",
    "WeightRule",
    "choice",
    "log",
    "method",
    "sign",
    "stored_signs",
    "uniform",
]
