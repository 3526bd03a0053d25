"""What keeps latent weights from flipping too often, or wakes those that never do, around a step.

Four additions, each off unless a parameter group has an entry of its name, with its strength (`dampening` is
taken: torch's SGD has a group entry of that name for something else):

* dampen, freeze: M. Nagel et al., Overcoming Oscillations in Quantization-Aware Training, ICML 2022,
  https://arxiv.org/abs/2203.11086, as the commands of its released code set them: nothing in the first
  quarter of the training, averages at 0.001 a step, the penalty a mean over the weights of an output. Their
  strengths are for trained networks of several bits: 0.1 can stop every flip of a network from scratch.
* ags, sad: J. Xiang et al., OvSW: Overcoming Silent Weights for Accurate Binary Neural Networks, ECCV 2024,
  https://arxiv.org/abs/2407.05257, as its released code has them.

Nagel et al. have several bits. At one bit, where a weight has two values, a flip always reverses the one
before: every flip of a weight but its first is an oscillation. Their average of the integer weight becomes
one of the sign, which decides where a weight is frozen; a frozen latent weight keeps its magnitude.

A flip is one of the deployed sign. Where a transform centres the weights of an output or ranks them
(standardise, recu, bi_half), a frozen latent weight stands still, but its deployed sign still depends on the
others. The state lies beside that of the optimizer, one float for each weight and name.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from optimizers.core.hyper import Hyper, log, optional
from optimizers.core.pseudo_gradients import sign

SILENT = 1e-4  # OvSW's threshold, in flips per step
RATE = 0.001  # what one step adds to OvSW's tracker, and to the averages of Nagel et al.
BEGINS = 0.25  # the share of the training after which Nagel's two controls begin
FREEZING = ("oscillations", "has_flipped", "sign_average", "frozen")  # the states of `freezing_update`

FLIP_CONTROL: dict[str, Hyper] = dict(
    ags=optional(log(0.01, 1e-3, 1e-1)),
    sad=optional(log(2e-5, 1e-6, 1e-2)),
    dampen=optional(log(0.1, 1e-4, 10.0)),
    freeze=optional(log(0.1, 1e-3, 0.5)),
)


def half_wave(progress: float) -> float:
    """From 0 in the first quarter of the training to 1 at its end, along half a cosine wave."""
    return 0.5 * (1.0 - math.cos(math.pi * max(0.0, progress - BEGINS) / (1.0 - BEGINS)))


def dampening_strength(largest: float, progress: float) -> float:
    """Nagel's lambda at this share of the training: from 0 to `largest`."""
    return largest * half_wave(progress)


def dampening_gradient(weight: Tensor, strength: float) -> Tensor:
    """The gradient of strength * mean (sign(w) - clip(w, -1, 1))^2, a mean over the n weights of each output.

    The sign counts as constant; the gradient is 0 from |w| = 1 on.
    """
    return 2.0 * strength / weight[0].numel() * (weight.clamp(-1.0, 1.0) - sign(weight))


def scaled_gradient(gradient: Tensor, weight: Tensor, delta: float) -> Tensor:
    """OvSW's adaptive gradient scaling: in each output, a gradient of at least delta times its weights' norm.

    Where |g|/|w| < delta, g is multiplied by delta |w|/|g|; at equality it stays. As in the released code |g|
    counts as 1e-6 at least and |w| as 1e-3: a gradient of zero stays zero.
    """
    dimensions = tuple(range(1, weight.dim()))
    of_gradient = torch.linalg.vector_norm(gradient, dim=dimensions, keepdim=True).clamp(min=1e-6)
    of_weight = torch.linalg.vector_norm(weight, dim=dimensions, keepdim=True).clamp(min=1e-3)
    too_small = of_gradient / of_weight < delta
    return torch.where(too_small, gradient * (delta * of_weight / of_gradient), gradient)


def awakened_gradient(gradient: Tensor, weight: Tensor, tracker: Tensor, strength: float) -> Tensor:
    """OvSW's silence awareness: g + strength w where the tracker of flips is below 1e-4; at equality g."""
    return torch.where(tracker < SILENT, gradient + strength * weight, gradient)


def tracked_flips(tracker: Tensor, flipped: Tensor) -> Tensor:
    """OvSW's tracker after one more step: 0.999 tracker + 0.001 where a weight flipped. It starts at zero."""
    return (1.0 - RATE) * tracker + RATE * flipped


def freezing_threshold(first: float, progress: float) -> float:
    """Nagel's threshold at this share of the training: none in its first quarter, then `first` to a tenth."""
    return first * (1.0 - 0.9 * half_wave(progress)) if progress >= BEGINS else math.inf


def freezing_update(
    oscillations: Tensor,
    has_flipped: Tensor,
    average: Tensor,
    frozen: Tensor,
    flipped: Tensor,
    positive: Tensor,
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step of Nagel's iterative freezing at one bit: the four states after it.

    oscillations: f, the average of 1 where a flip reverses another; starts at zero.
    has_flipped: 1 from a weight's first flip on, which reverses none.
    average: of the signs, from the sign at the start.
    frozen: 0, or for ever the sign of `average` in the step in which f exceeded the threshold; the average
        has not yet seen the sign of that step, as in the released code. At f = threshold a weight is free.
    flipped, positive: whether the deployed sign changed in this step, and whether it is +1 now.
    """
    oscillations = (1.0 - RATE) * oscillations + RATE * (has_flipped * flipped)
    frozen = torch.where((frozen == 0.0) & (oscillations > threshold), sign(average), frozen)
    average = (1.0 - RATE) * average + RATE * (2.0 * positive - 1.0)
    return oscillations, torch.maximum(has_flipped, flipped.to(has_flipped)), average, frozen


def watches_flips(group: Mapping[str, Any]) -> bool:
    """Whether one of the controls of a parameter group has to know which weights flip."""
    return "sad" in group or "freeze" in group


def before_step(weight: Tensor, state: Mapping[str, Tensor], group: Mapping[str, Any]) -> None:
    """Replace the weight's gradient by what the group's controls make of it, OvSW's in its code's order."""
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
    """Keep frozen weights where they were before the step, then look at who has flipped.

    The state begins here and not before the step: torch's optimizers begin theirs only where there is none.
    """
    if "frozen" in state:
        weight.copy_(torch.where(state["frozen"] == 0.0, weight, before))
    was_positive, positive = deployed(before) >= 0.0, deployed(weight) >= 0.0
    flipped = was_positive != positive
    if "sad" in group:
        tracker = state.setdefault("tracker", torch.zeros_like(weight))
        tracker.copy_(tracked_flips(tracker, flipped))
    if "freeze" in group:
        if "frozen" not in state:
            state.update({name: torch.zeros_like(weight) for name in FREEZING})
            state["sign_average"].copy_(2.0 * was_positive - 1.0)
        kept = [state[name] for name in FREEZING]
        threshold = freezing_threshold(group["freeze"], group["progress"])
        oscillations, has_flipped, average, frozen = kept
        updated = freezing_update(oscillations, has_flipped, average, frozen, flipped, positive, threshold)
        for old, new in zip(kept, updated, strict=True):
            old.copy_(new)
        # A weight of exactly zero would keep the sign +1 whatever it is frozen at.
        size = weight.abs().clamp(min=torch.finfo(weight.dtype).tiny)
        weight.copy_(torch.where(frozen == 0.0, weight, torch.copysign(size, frozen)))
