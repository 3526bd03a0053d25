"""Flip control: keep latent weights from flipping too often, and make silent ones flip.

Four additions to a step. Each is off unless a parameter group has an entry of its name, with its strength.
(torch's SGD uses the entry `dampening` for something else, so that one is `dampen` here.)

* dampen, freeze: M. Nagel et al., Overcoming Oscillations in Quantization-Aware Training, ICML 2022,
  https://arxiv.org/abs/2203.11086, as the commands of its released code set them: off in the first quarter
  of training, averages with rate 0.001 per step, the penalty a mean over the weights of an output. The
  published strengths are for pretrained networks of several bits: 0.1 can stop every flip of a network that
  is trained from scratch.
* ags, sad: J. Xiang et al., OvSW: Overcoming Silent Weights for Accurate Binary Neural Networks, ECCV 2024,
  https://arxiv.org/abs/2407.05257, as in its released code. The defaults, 0.01 and 2e-5, are those for
  ImageNet; for CIFAR-10 the code has 0.04 and 9e-4.

Nagel et al. use several bits. With one bit a weight has two values, so each flip reverses the previous one:
every flip of a weight except its first is an oscillation. Their average of the integer weight becomes an
average of the sign, which decides the value at which a weight is frozen. Oscillations are counted from the
first step on, but where the threshold is annealed, as in the commands and here, that average starts only with
the threshold, from the sign of that step. A frozen latent weight keeps its magnitude.

A flip is a change of the deployed sign. Where a transform centres or ranks the weights of an output
(standardise, recu, bi_half), a frozen latent weight does not move, but its deployed sign still depends on
the other weights. The state is kept with that of the optimizer, one float for each weight and name.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from optimizers.core.hyper import Addition, Hyper, log, optional
from optimizers.core.pseudo_gradients import sign

SILENT = 1e-4  # OvSW's threshold, in flips per step
RATE = 0.001  # the rate of OvSW's tracker and of the averages of Nagel et al., per step
BEGINS = 0.25  # the progress at which Nagel's two controls begin

_OVSW = "Xiang et al., OvSW, ECCV 2024, https://arxiv.org/abs/2407.05257"
_NAGEL = "Nagel et al., Overcoming Oscillations in Quantization-Aware Training, ICML 2022, "
_NAGEL += "https://arxiv.org/abs/2203.11086"

FLIP_CONTROL: dict[str, Hyper] = dict(
    ags=optional(log(0.01, 1e-3, 1e-1), Addition("OvSW's scaling of small gradients", _OVSW)),
    sad=optional(log(2e-5, 1e-6, 1e-2), Addition("OvSW's decay of silent weights", _OVSW)),
    dampen=optional(log(0.1, 1e-4, 10.0), Addition("Nagel's dampening of oscillations", _NAGEL)),
    freeze=optional(
        log(0.1, 1e-3, 0.5), Addition("Nagel's freezing of oscillating weights", _NAGEL)
    )._replace(revised=True),
)


def half_wave(progress: float) -> float:
    """0 in the first quarter of training, then up to 1 at its end, along half a cosine wave."""
    return 0.5 * (1.0 - math.cos(math.pi * max(0.0, progress - BEGINS) / (1.0 - BEGINS)))


def dampening_strength(largest: float, progress: float) -> float:
    """Nagel's lambda at this progress: from 0 to `largest`."""
    return largest * half_wave(progress)


def dampening_gradient(weight: Tensor, strength: float) -> Tensor:
    """The gradient of strength * mean (sign(w) - clip(w, -1, 1))^2, a mean over the n weights of each output.

    The sign is treated as constant. Where |w| >= 1 the gradient is 0.
    """
    return 2.0 * strength / weight[0].numel() * (weight.clamp(-1.0, 1.0) - sign(weight))


def scaled_gradient(gradient: Tensor, weight: Tensor, delta: float) -> Tensor:
    """OvSW's adaptive gradient scaling: each output's gradient norm is at least delta times its weight norm.

    Where |g|/|w| < delta, g is multiplied by delta |w|/|g|; at equality it does not change. As in the
    released code, |g| is taken as at least 1e-6 and |w| as at least 1e-3: a zero gradient stays zero.
    """
    dimensions = tuple(range(1, weight.dim()))
    of_gradient = torch.linalg.vector_norm(gradient, dim=dimensions, keepdim=True).clamp(min=1e-6)
    of_weight = torch.linalg.vector_norm(weight, dim=dimensions, keepdim=True).clamp(min=1e-3)
    too_small = of_gradient / of_weight < delta
    return torch.where(too_small, gradient * (delta * of_weight / of_gradient), gradient)


def awakened_gradient(gradient: Tensor, weight: Tensor, tracker: Tensor, strength: float) -> Tensor:
    """OvSW's silence awareness: g + strength w where the tracker of flips is below 1e-4, else g."""
    return torch.where(tracker < SILENT, gradient + strength * weight, gradient)


def tracked_flips(tracker: Tensor, flipped: Tensor) -> Tensor:
    """OvSW's tracker after one more step: 0.999 tracker, + 0.001 where a weight flipped; starts at zero."""
    return (1.0 - RATE) * tracker + RATE * flipped


def freezing_threshold(first: float, progress: float) -> float:
    """Nagel's threshold at this progress: infinite in the first quarter, then from `first` to its tenth."""
    return first * (1.0 - 0.9 * half_wave(progress)) if progress >= BEGINS else math.inf


def oscillation_update(oscillations: Tensor, has_flipped: Tensor, flipped: Tensor) -> tuple[Tensor, Tensor]:
    """One step of Nagel's count of oscillations at one bit: the two states after it.

    oscillations: f, a moving average of 1 where a flip reverses another, else 0; starts at zero.
    has_flipped: 1 from a weight's first flip on. The first flip reverses no other.
    """
    oscillations = (1.0 - RATE) * oscillations + RATE * (has_flipped * flipped)
    return oscillations, torch.maximum(has_flipped, flipped.to(has_flipped))


def freezing_update(
    average: Tensor, frozen: Tensor, oscillations: Tensor, signs: Tensor, threshold: float
) -> tuple[Tensor, Tensor]:
    """One step of Nagel's iterative freezing at one bit: the two states after it.

    average: a moving average of the sign; starts at the sign in the first step that has a threshold.
    frozen: 0 where a weight is free. From the step in which f exceeds the threshold on, the sign that
        `average` had before that step, as in the released code. At f = threshold a weight stays free.
    oscillations: f after this step. signs: the deployed signs after it.
    """
    frozen = torch.where((frozen == 0.0) & (oscillations > threshold), sign(average), frozen)
    return (1.0 - RATE) * average + RATE * signs, frozen


def watches_flips(group: Mapping[str, Any]) -> bool:
    """Whether a control of this parameter group depends on which weights flip."""
    return "sad" in group or "freeze" in group


def before_step(weight: Tensor, state: Mapping[str, Tensor], group: Mapping[str, Any]) -> None:
    """Apply the group's controls to the weight's gradient, OvSW's two in the order of its code."""
    gradient = weight.grad
    assert gradient is not None
    if "dampen" in group:
        strength = dampening_strength(group["dampen"], group["progress"])
        gradient = gradient + dampening_gradient(weight, strength)
    if "ags" in group:
        gradient = scaled_gradient(gradient, weight, group["ags"])
    if "sad" in group:
        tracker = state["tracker"] if "tracker" in state else torch.zeros_like(weight)
        gradient = awakened_gradient(gradient, weight, tracker, group["sad"])
    weight.grad = gradient


def after_step(
    weight: Tensor,
    before: Tensor,
    state: dict[str, Tensor],
    group: Mapping[str, Any],
    deployed: Callable[[Tensor], Tensor],
) -> None:
    """Return frozen weights to their values before the step, then update the states from the flips.

    The state is created here, not before the step: torch's optimizers create theirs only if there is none.
    """
    if "frozen" in state:
        weight.copy_(torch.where(state["frozen"] == 0.0, weight, before))
    was_positive, positive = deployed(before) >= 0.0, deployed(weight) >= 0.0
    flipped = was_positive != positive
    if "sad" in group:
        tracker = state.setdefault("tracker", torch.zeros_like(weight))
        tracker.copy_(tracked_flips(tracker, flipped))
    if "freeze" in group:
        _freeze(weight, state, flipped, 2.0 * positive.to(weight.dtype) - 1.0, group)


def _freeze(
    weight: Tensor, state: dict[str, Tensor], flipped: Tensor, signs: Tensor, group: Mapping[str, Any]
) -> None:
    """Count the oscillations, and freeze weights that oscillate too often at their average sign."""
    if "frozen" not in state:
        state.update({name: torch.zeros_like(weight) for name in ("oscillations", "has_flipped", "frozen")})
    counted = oscillation_update(state["oscillations"], state["has_flipped"], flipped)
    for name, new in zip(("oscillations", "has_flipped"), counted, strict=True):
        state[name].copy_(new)
    threshold = freezing_threshold(group["freeze"], group["progress"])
    if threshold == math.inf:
        return
    if "sign_average" not in state:
        state["sign_average"] = torch.zeros_like(weight).copy_(signs)
    average, frozen = freezing_update(
        state["sign_average"], state["frozen"], state["oscillations"], signs, threshold
    )
    state["sign_average"].copy_(average)
    state["frozen"].copy_(frozen)
    # A weight of exactly zero would have the sign +1 even if it is frozen at -1.
    size = weight.abs().clamp(min=torch.finfo(weight.dtype).tiny)
    weight.copy_(torch.where(frozen == 0.0, weight, torch.copysign(size, frozen)))
