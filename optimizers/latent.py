"""Latent weights: keep a real weight, use its sign, send the gradient straight through to the real one.

The family of BinaryConnect (https://arxiv.org/abs/1511.00363) and BinaryNet (https://arxiv.org/abs/1602.02830)
with the three optimizers that people use for it. What the field treats as fixed habits are hyperparameters
here, because the reply to the reviewers of "Latent Weights Do Not Exist" says that they are part of what must
be tuned: the scale of the start, the clip, the pseudo-gradient, weight decay, BinaryNet's Glorot scaling of
the learning rate.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optimizers.core import PSEUDO_GRADIENTS, Hyper, WeightRule, choice, log, method, sign, uniform

BINARY_NET = "Courbariaux et al., BinaryNet, 2016, https://arxiv.org/abs/1602.02830"


def glorot_rate_scale(weight: Tensor) -> float:
    """BinaryNet's W_LR_scale, sqrt((fan in + fan out) / 1.5), for a weight of shape (out, in, *kernel)."""
    kernel = weight[0, 0].numel()
    return ((weight.shape[0] + weight.shape[1]) * kernel / 1.5) ** 0.5


class _LatentStep(Optimizer):
    """Mixed into a torch optimizer: scales the learning rate per tensor before its step, and clips after it.

    Every parameter group carries `clip` (the largest latent magnitude, or None) and `lr_scale`.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        assert closure is None
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] *= group["lr_scale"]
            for weight in group["params"]:
                _align_gradient(weight)
        super().step()
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate
            if group["clip"] is not None:
                for weight in group["params"]:
                    weight.clamp_(-group["clip"], group["clip"])


def _align_gradient(weight: Tensor) -> None:
    """Lay the gradient out as its weight. Autograd does; torch's fused steps take it for granted."""
    if weight.grad is not None and weight.grad.stride() != weight.stride():
        weight.grad = torch.empty_like(weight).copy_(weight.grad)


class LatentSGD(_LatentStep, torch.optim.SGD):
    """torch.optim.SGD on latent weights."""


class LatentAdam(_LatentStep, torch.optim.Adam):
    """torch.optim.Adam on latent weights."""


def _groups(params: Iterable[Tensor], clip: float | None, glorot_rate: bool) -> list[dict[str, Any]]:
    """One parameter group, or one for each tensor if each has its own rate."""
    if clip is not None and not clip > 0.0:
        raise ValueError(f"clip must be > 0 or null, not {clip}")
    if glorot_rate:
        return [dict(params=[w], clip=clip, lr_scale=glorot_rate_scale(w)) for w in params]
    return [dict(params=list(params), clip=clip, lr_scale=1.0)]


def _latent_rule(
    optimizer: Any, init_scale: float, clip: float | None, pseudo_gradient: str, glorot_rate: bool
) -> WeightRule:
    if not init_scale > 0.0:
        raise ValueError(f"init_scale must be > 0, not {init_scale}")
    if pseudo_gradient not in PSEUDO_GRADIENTS:
        raise ValueError(f"pseudo_gradient must be one of {list(PSEUDO_GRADIENTS)}, not {pseudo_gradient!r}")

    def start(initial: Tensor) -> Tensor:
        scaled = init_scale * initial
        return scaled if clip is None else scaled.clamp(-clip, clip)

    if pseudo_gradient == "clipped" and clip is not None and clip <= 1.0:
        pseudo_gradient = "identity"  # the same within [-1, 1], where these weights stay, and a pass less
    return WeightRule(
        start=start,
        read=PSEUDO_GRADIENTS[pseudo_gradient](),
        deploy=sign,
        optimizer=lambda params: optimizer(_groups(params, clip, glorot_rate)),
    )


# What every latent method shares. The defaults are larq's: ste_sign with weight_clip, Glorot uniform start.
_LATENT: dict[str, Hyper] = dict(
    init_scale=log(1.0, 0.1, 10.0),
    clip=choice(1.0, None),
    weight_decay=choice(0.0, 1e-6, 1e-5, 1e-4),
    pseudo_gradient=choice("clipped", "identity", "approx_sign", "swish_sign"),
    glorot_rate=choice(False, True),
)


@method(paper=BINARY_NET, lr=log(1.0, 1e-2, 1e2), **_LATENT)
def latent_sgd(
    lr: float,
    init_scale: float,
    clip: float | None,
    weight_decay: float,
    pseudo_gradient: str,
    glorot_rate: bool,
) -> WeightRule:
    """Plain SGD on latent weights; their sign is the weight."""

    # The default rate is the one that section 3 of Helwegen et al. finds good with a Glorot start.
    def optimizer(groups: list[dict[str, Any]]) -> Optimizer:
        return LatentSGD(groups, lr, weight_decay=weight_decay, foreach=True)

    return _latent_rule(optimizer, init_scale, clip, pseudo_gradient, glorot_rate)


@method(paper=BINARY_NET, lr=log(0.1, 1e-3, 1e1), momentum=uniform(0.9, 0.0, 0.99), **_LATENT)
def latent_momentum(
    lr: float,
    momentum: float,
    init_scale: float,
    clip: float | None,
    weight_decay: float,
    pseudo_gradient: str,
    glorot_rate: bool,
) -> WeightRule:
    """SGD with heavy-ball momentum on latent weights; their sign is the weight."""
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"momentum must lie in [0, 1), not {momentum}")

    def optimizer(groups: list[dict[str, Any]]) -> Optimizer:
        return LatentSGD(groups, lr, momentum=momentum, weight_decay=weight_decay, fused=True)

    return _latent_rule(optimizer, init_scale, clip, pseudo_gradient, glorot_rate)


@method(
    paper=BINARY_NET,
    lr=log(1e-3, 1e-5, 1e-1),
    beta1=uniform(0.9, 0.0, 0.99),
    beta2=choice(0.999, 0.99, 0.9999),
    **_LATENT,
)
def latent_adam(
    lr: float,
    beta1: float,
    beta2: float,
    init_scale: float,
    clip: float | None,
    weight_decay: float,
    pseudo_gradient: str,
    glorot_rate: bool,
) -> WeightRule:
    """Adam on latent weights, the field's usual choice; their sign is the weight."""

    # eps is Keras' 1e-7, as in the paper's own experiments.
    def optimizer(groups: list[dict[str, Any]]) -> Optimizer:
        return LatentAdam(groups, lr, (beta1, beta2), eps=1e-7, weight_decay=weight_decay, fused=True)

    return _latent_rule(optimizer, init_scale, clip, pseudo_gradient, glorot_rate)
