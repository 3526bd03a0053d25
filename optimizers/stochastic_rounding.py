"""Stochastic rounding: no latent weight; take a real step from -1 or +1 and round the result at random.

The binary form of DQT (Zhao et al., Direct Quantized Training of Language Models with Stochastic Rounding,
2025, https://arxiv.org/abs/2412.04787), DERIVED here: the paper and its code have three levels and more. A
step D leads from w to x = w - D; the new weight is +1 with probability (1 + x)/2, clipped to [0, 1]. So a
weight flips with probability w·D/2, never when the step leads outwards, and its mean is x, clipped to
[-1, 1]: SGD in expectation. Under SGD nothing is kept between steps except the sign, the least memory that a
training can have.

`kappa` changes the probability to tanh(kappa w·D/2), certain from w·D = 2 on: the binary form of GXNOR-Net's
discrete state transition (Deng et al., Neural Networks 100, 2018, https://arxiv.org/abs/1705.09283), which
uses Adam's step. Left out is that its code makes weights jump at random when the test error stagnates.

Rounding has a noise that does not vanish: under a gradient that is pure noise a weight flips about every
4/(lr E|u|) steps with Adam's step u, where E|u| is about 0.8 sqrt((1 - beta1)/(1 + beta1)): every 22/lr steps
at beta1 = 0.9. So the rate must go to zero. Li et al. (NeurIPS
2017, arXiv 1706.02379) show that a smaller step only slows this noise down and does not anneal it: expect
less than from a latent weight. `weight_decay` adds such flips, lr · weight_decay/2 of all weights in a step;
DQT has 0.01, the default is 0. UNCERTAIN: a related rule, "update probability" (OpenReview Dm4qrBuFKH), of
which only the abstract was seen.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from optimizers.core import (
    Flipper,
    WeightRule,
    choice,
    log,
    method,
    optional,
    scalar_zero,
    sign,
    stored_signs,
    uniform,
)
from optimizers.core.checks import check_below_one, check_not_negative, check_positive

FAMILY = "random flips"

DQT = "Zhao et al., Direct Quantized Training of Language Models with Stochastic Rounding, 2025, "
DQT += "https://arxiv.org/abs/2412.04787"
EPSILON = 1e-6  # as released, which adds it before the bias correction: other steps while a run is young

SHARED: dict[str, Any] = dict(weight_decay=choice(0.0, 1e-2), kappa=optional(uniform(3.0, 0.5, 10.0)))


def flip_probability(weight: Tensor, step: Tensor, kappa: float | None) -> Tensor:
    """The probability that w = -1 or +1 flips at the step D, where x = w - D is rounded to -1 or +1."""
    inwards = (weight * step / 2.0).clamp(0.0, 1.0)
    if kappa is None:
        return inwards
    return torch.where(inwards < 1.0, torch.tanh(kappa * inwards), inwards)


def rounded(weight: Tensor, direction: Tensor, lr: float, weight_decay: float, kappa: float | None) -> Tensor:
    """The new weight after the step D = lr (u + weight_decay w) along a direction u."""
    step = lr * (direction + weight_decay * weight)
    flips = torch.rand_like(weight) < flip_probability(weight, step, kappa)
    return torch.where(flips, -weight, weight)


def rounded_sgd_update(weight: Tensor, gradient: Tensor, **step: Any) -> tuple[Tensor]:
    """One step along the gradient; `step` as in `rounded`."""
    return (rounded(weight, gradient, **step),)


def rounded_adam_update(
    weight: Tensor,
    average: Tensor,
    square: Tensor,
    count: Tensor,
    gradient: Tensor,
    beta1: float,
    beta2: float,
    **step: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step along Adam's direction (Kingma and Ba 2015, Algorithm 1); `step` as in `rounded`."""
    count = count + 1.0
    average = torch.lerp(average, gradient, 1.0 - beta1)
    square = torch.lerp(square, gradient * gradient, 1.0 - beta2)
    root = (square / (1.0 - beta2**count)).sqrt() + EPSILON
    return rounded(weight, average / (1.0 - beta1**count) / root, **step), average, square, count


def _check(lr: float, weight_decay: float, kappa: float | None) -> None:
    check_positive(lr=lr, **({} if kappa is None else {"kappa": kappa}))
    check_not_negative(weight_decay=weight_decay)


@method(paper=DQT, lr=log(10.0, 1e-1, 1e4), **SHARED)
def stochastic_rounding(lr: float, weight_decay: float, kappa: float | None) -> WeightRule:
    """Flip with a probability in proportion to the gradient; only the signs are kept from step to step."""
    _check(lr, weight_decay, kappa)
    optimizer = partial(
        Flipper,
        update=partial(rounded_sgd_update, kappa=kappa),
        state={},
        elementwise=False,
        lr=lr,
        weight_decay=weight_decay,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)


@method(
    paper=DQT,
    lr=log(5e-4, 1e-5, 1e-1),
    beta1=uniform(0.9, 0.0, 0.99),
    beta2=choice(0.999, 0.99, 0.9999),
    **SHARED,
    presets={
        # Published with a warm-up of 2,000 steps before the cosine.
        "dqt": {"lr": {"cosine": [5e-4, 0.0]}, "weight_decay": 1e-2},
        # Published for ternary weights, with further cuts by 0.1 after 0.5 and 0.8 of the training.
        "gxnor": {"lr": {"exponential": [1e-2, 3e-5]}, "kappa": 3.0},
    },
)
def stochastic_rounding_adam(
    lr: float, beta1: float, beta2: float, weight_decay: float, kappa: float | None
) -> WeightRule:
    """Flip with a probability in proportion to Adam's step; no latent weight."""
    _check(lr, weight_decay, kappa)
    check_below_one(beta1=beta1, beta2=beta2)
    optimizer = partial(
        Flipper,
        update=partial(rounded_adam_update, kappa=kappa),
        state=dict(average=torch.zeros_like, square=torch.zeros_like, count=scalar_zero),
        elementwise=False,
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        weight_decay=weight_decay,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)
