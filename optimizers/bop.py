"""Bop, the binary optimizer: no latent weights (Helwegen et al., NeurIPS 2019)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from optimizers.core import WeightRule, log, method, sign, stored_signs
from optimizers.core.checks import check_not_negative, check_rates

FAMILY = "Bop and its descendants"

BLOCK = 1 << 18  # elements: a megabyte of float32
# Bytes of a float -> its sign bit, as an integer of that size.
SIGN_BITS = {
    bits.itemsize: torch.tensor(torch.iinfo(bits).min, dtype=bits)
    for bits in (torch.int16, torch.int32, torch.int64)
}


def bop_update(
    weight: Tensor, average: Tensor, gradient: Tensor, gamma: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """One step of Algorithm 2 for one tensor: the new weight in {-1, +1} and the new average.

    The average is of gradients, not of updates: w = +1 with m > 0 means that the loss falls as w falls, so
    the weight flips when w·m exceeds the threshold. The comparison is strict, as in Algorithm 2 (Eq. 6 of the
    same paper has >=): at equality, for example a dead gradient at threshold 0, the weight stays. The
    released code, like larq's, sets it to +1 there, whatever its sign.
    """
    average = torch.lerp(average, gradient, gamma)  # Eq. 5; starts at zero, no bias correction
    return torch.where(weight * average > threshold, -weight, weight), average


class Bop(torch.optim.Optimizer):
    """Flips weights of -1/+1 in place where weight times the moving average of its gradient > threshold.

    Args:
        params: tensors that hold only -1 and +1.
        gamma: adaptivity rate of the average, in (0, 1].
        threshold: the size that the average must exceed, >= 0, in units of the gradient of the mean loss: a
            sum instead of a mean, loss scaling and gradient clipping all change its meaning.

    State: one float per weight, `average`.

    References: K. Helwegen et al., Latent Weights Do Not Exist, Algorithm 2, https://arxiv.org/abs/1906.02107
    """

    def __init__(self, params: Iterable[Tensor], gamma: float = 1e-4, threshold: float = 1e-8) -> None:
        if not 0.0 < gamma <= 1.0:
            raise ValueError(f"gamma must lie in (0, 1], not {gamma}")
        if not threshold >= 0.0:
            raise ValueError(f"threshold must be >= 0, not {threshold}")
        super().__init__(params, dict(gamma=gamma, threshold=threshold))
        for weight in self._weights():
            if not bool((weight.detach().abs() == 1).all()):
                raise ValueError("Bop needs weights of -1 and +1: start from sign(initial weights)")

    def _weights(self) -> list[Tensor]:
        return [weight for group in self.param_groups for weight in group["params"]]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update the averages, then flip. A tensor without a gradient does not change."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                threshold = weight.new_full((), abs(group["threshold"]))  # abs: -0.0 would flip at equality
                for w, m, g in _blocks(weight, self._average(weight), weight.grad):
                    m.lerp_(g, group["gamma"])
                    _flip(w, m, threshold)

    def _average(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["average"] = torch.zeros_like(weight)
        return state["average"]


def _blocks(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The same rows of each tensor; on a CPU in blocks that stay in the cache between the passes."""
    weight = tensors[0]
    if weight.numel() <= BLOCK or weight.device.type != "cpu":
        return [tensors]
    rows = max(1, BLOCK * len(weight) // weight.numel())
    return zip(*(tensor.split(rows) for tensor in tensors), strict=True)


def _flip(weight: Tensor, average: Tensor, threshold: Tensor) -> None:
    """weight = -weight where w·m > threshold, in place: the rule of `bop_update` without a mask.

    threshold - w·m is negative exactly there, and its sign bit inverts that of the weight.
    """
    slack = torch.addcmul(threshold, weight, average, value=-1)
    sign_bit = SIGN_BITS[weight.itemsize]
    weight.view(sign_bit.dtype).bitwise_xor_(slack.view(sign_bit.dtype).bitwise_and_(sign_bit))


# Values and schedules as published, each over a whole training. "arxiv-v1" and "section-5-3" are the ImageNet
# runs of the first and the final version of the paper (the released code has the final one); the rebuttal was
# written between them, and only its run lowers the threshold.
PRESETS = {
    "section-5-1": {"gamma": 1e-3, "threshold": 1e-6},
    "section-5-2": {
        "gamma": {"step": {"start": 1e-4, "factor": 0.1, "at": [0.2, 0.4, 0.6, 0.8]}},
        "threshold": 1e-8,
    },
    "section-5-3": {"gamma": {"linear": [1e-4, 1e-6]}, "threshold": 1e-8},
    "arxiv-v1": {"gamma": {"linear": [5e-4, 2.5e-6]}, "threshold": 1e-7},
    "rebuttal": {"gamma": {"linear": [5e-4, 5e-7]}, "threshold": {"linear": [1e-7, 1e-8]}},
}


@method(
    paper="Helwegen et al., Latent Weights Do Not Exist, NeurIPS 2019, https://arxiv.org/abs/1906.02107",
    gamma=log(1e-4, 1e-6, 1e-1),
    threshold=log(1e-8, 1e-10, 1e-4),
    presets=PRESETS,
)
def bop(gamma: float, threshold: float) -> WeightRule:
    """Flip a weight when a moving average of its gradient has the same sign and exceeds a threshold."""
    check_rates(gamma=gamma)
    check_not_negative(threshold=threshold)
    return WeightRule(start=sign, read=stored_signs, optimizer=lambda params: Bop(params, gamma, threshold))
