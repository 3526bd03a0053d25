"""Latent weights: keep a real weight, use its sign, send the gradient straight through to the real one.

The family of BinaryConnect (https://arxiv.org/abs/1511.00363) and BinaryNet (https://arxiv.org/abs/1602.02830)
with the optimizers in common use for it (AdamW is that of BNext), and Lion, for which we know of no study on
latent weights. Their common rule and its additions are in optimizers.core.latent.rule. As the sign does not
depend on scale, a latent weight under SGD is the sum of its gradients, or with weight decay an average with
a half-life of 0.7/(lr weight_decay) steps. The decoupled decay of AdamW and Lion is searched over larger
values than the coupled decay of the others: smaller ones have no effect in a few thousand steps. Under SGD,
Momentum and Nesterov the coupled decay is the decoupled one, so much of its range has no effect there either,
and long published trainings have up to 5e-4: a limit of this protocol, as ranges are a part of it.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from optimizers.core import Addition, Flipper, WeightRule, bare_step, choice, log, method, optional, uniform
from optimizers.core.checks import BadHyper, check_below_one, check_one_of
from optimizers.core.latent.rule import LATENT, LatentStep, latent_rule

FAMILY = "latent weights"

BINARY_NET = "Courbariaux et al., BinaryNet, 2016, https://arxiv.org/abs/1602.02830"

# The same habits with other defaults, in the same order.
_ADAMW: dict[str, Any] = LATENT | {"weight_decay": choice(0.01, 0.0, 0.1, 1.0)}
_LION: dict[str, Any] = LATENT | {"weight_decay": choice(0.0, 0.01, 0.1, 1.0)}
_BINARY_NET: dict[str, Any] = LATENT | {"glorot_rate": choice(True, False)}

_EPS = optional(
    choice("keras"),
    Addition("Adam's eps where Keras and Lasagne add it", "https://keras.io/api/optimizers/adam"),
)._replace(newer=True)


def lion_update(
    weight: Tensor,
    average: Tensor,
    gradient: Tensor,
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor]:
    """One step of Lion (Chen et al. 2023, Algorithm 2): the new latent weight and the new average.

    The step is the sign of an average that looks ahead (beta1); the stored average is longer (beta2) and
    starts at zero. This sign is 0 at 0, as published: where all gradients were zero, only the decay, which
    is decoupled, moves a weight.
    """
    ahead = beta1 * average + (1.0 - beta1) * gradient
    weight = weight - lr * (torch.sign(ahead) + weight_decay * weight)
    return weight, beta2 * average + (1.0 - beta2) * gradient


class LatentSGD(LatentStep, torch.optim.SGD):
    """torch.optim.SGD on latent weights."""

    move = bare_step(torch.optim.SGD)


class LatentAdam(LatentStep, torch.optim.Adam):
    """torch.optim.Adam on latent weights."""

    move = bare_step(torch.optim.Adam)


class KerasAdam(LatentAdam):
    """Adam on latent weights, with its eps where Keras, TensorFlow and Lasagne add it.

    The step is lr · sqrt(1 - beta2^t)/(1 - beta1^t) · m/(sqrt(v) + eps): eps is added before the bias of v is
    corrected. So torch's eps, which is added afterwards, is this one divided by sqrt(1 - beta2^t), 32 times
    as large in the first step: it matters where gradients are not much larger than that. Every group counts
    its steps in its entry `steps`, as these libraries do, for all its tensors.
    """

    def __init__(self, params: Iterable[Any], **settings: Any) -> None:
        super().__init__(params, **settings)
        for group in self.param_groups:
            group["steps"] = 0

    def move(self) -> None:
        placed = [group["eps"] for group in self.param_groups]
        for group in self.param_groups:
            group["steps"] += 1
            group["eps"] /= math.sqrt(1.0 - group["betas"][1] ** group["steps"])
        LatentAdam.move(self)
        for group, eps in zip(self.param_groups, placed, strict=True):
            group["eps"] = eps


class LatentAdamW(LatentStep, torch.optim.AdamW):
    """torch.optim.AdamW on latent weights."""

    move = bare_step(torch.optim.AdamW)


class LatentAdamax(LatentStep, torch.optim.Adamax):
    """torch.optim.Adamax on latent weights."""

    move = bare_step(torch.optim.Adamax)


class LatentLion(LatentStep, Flipper):
    """Lion on latent weights."""

    move = Flipper.step

    def __init__(
        self, params: Iterable[Any], lr: float, beta1: float, beta2: float, weight_decay: float
    ) -> None:
        super().__init__(
            params,
            lion_update,
            {"average": torch.zeros_like},
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            weight_decay=weight_decay,
        )


@method(paper=BINARY_NET, lr=log(1.0, 1e-2, 1e2), **LATENT)
def latent_sgd(lr: float, **habits: Any) -> WeightRule:
    """Plain SGD on latent weights; their sign is the weight."""
    # The default rate is the one that works well in section 3 of Helwegen et al. with a Glorot start.
    return latent_rule(LatentSGD, habits, lr=lr, foreach=True)


@method(paper=BINARY_NET, lr=log(0.1, 1e-3, 1e1), momentum=uniform(0.9, 0.0, 0.99), **LATENT)
def latent_momentum(lr: float, momentum: float, **habits: Any) -> WeightRule:
    """SGD with heavy-ball momentum on latent weights; their sign is the weight."""
    check_below_one(momentum=momentum)
    return latent_rule(LatentSGD, habits, lr=lr, momentum=momentum, fused=True)


@method(
    paper="Courbariaux et al., BinaryConnect, NeurIPS 2015, https://arxiv.org/abs/1511.00363",
    lr=log(0.1, 1e-3, 1e1),
    momentum=uniform(0.9, 0.1, 0.99),
    **LATENT,
)
def latent_nesterov(lr: float, momentum: float, **habits: Any) -> WeightRule:
    """SGD with Nesterov's momentum on latent weights; their sign is the weight."""
    if not 0.0 < momentum < 1.0:
        raise BadHyper("momentum", f"momentum must lie in (0, 1), not {momentum}")
    return latent_rule(LatentSGD, habits, lr=lr, momentum=momentum, nesterov=True, foreach=True)


@method(
    paper=BINARY_NET,
    lr=log(1e-3, 1e-5, 1e-1),
    beta1=uniform(0.9, 0.0, 0.99),
    beta2=choice(0.999, 0.99, 0.9999),
    eps_placement=_EPS,
    **LATENT,
)
def latent_adam(
    lr: float, beta1: float, beta2: float, eps_placement: str | None, **habits: Any
) -> WeightRule:
    """Adam on latent weights, the field's usual choice; their sign is the weight.

    eps is Keras' 1e-7, as in the experiments of Helwegen et al., and is added where torch adds it, after the
    correction of the second moment's bias; with `eps_placement: keras` before it, as Keras does.
    """
    check_below_one(beta1=beta1, beta2=beta2)
    adam = _adam(eps_placement)
    return latent_rule(adam, habits, lr=lr, betas=(beta1, beta2), eps=1e-7, fused=True)


@method(
    paper="Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019, "
    "https://arxiv.org/abs/1711.05101",
    lr=log(1e-3, 1e-5, 1e-1),
    beta1=uniform(0.9, 0.0, 0.99),
    beta2=choice(0.999, 0.99, 0.9999),
    **_ADAMW,
)
def latent_adamw(lr: float, beta1: float, beta2: float, **habits: Any) -> WeightRule:
    """Adam with decoupled weight decay on latent weights; their sign is the weight."""
    check_below_one(beta1=beta1, beta2=beta2)
    return latent_rule(LatentAdamW, habits, lr=lr, betas=(beta1, beta2), eps=1e-7, foreach=True)


@method(
    paper="Kingma and Ba, Adam, ICLR 2015, https://arxiv.org/abs/1412.6980",
    lr=log(2e-3, 1e-5, 1e-1),
    beta1=uniform(0.9, 0.0, 0.99),
    beta2=choice(0.999, 0.99, 0.9999),
    **LATENT,
)
def latent_adamax(lr: float, beta1: float, beta2: float, **habits: Any) -> WeightRule:
    """Adamax on latent weights, Adam with a maximum in place of its second moment; their sign is the weight.

    BinaryNet's Torch7 code has a variant of it whose rates are powers of two; this one is Kingma and Ba's.
    """
    check_below_one(beta1=beta1, beta2=beta2)
    return latent_rule(LatentAdamax, habits, lr=lr, betas=(beta1, beta2), eps=1e-7, foreach=True)


@method(
    paper="Chen et al., Symbolic Discovery of Optimization Algorithms, NeurIPS 2023, "
    "https://arxiv.org/abs/2302.06675",
    lr=log(1e-4, 1e-5, 1e-1),
    beta1=uniform(0.9, 0.0, 0.99),
    beta2=choice(0.99, 0.9, 0.999),
    **_LION,
)
def latent_lion(lr: float, beta1: float, beta2: float, **habits: Any) -> WeightRule:
    """Lion on latent weights, steps of fixed size along the sign of an average; their sign is the weight."""
    check_below_one(beta1=beta1, beta2=beta2)
    return latent_rule(LatentLion, habits, lr=lr, beta1=beta1, beta2=beta2)


@method(
    paper=BINARY_NET,
    lr=log(1e-3, 1e-5, 1e-1),
    beta1=uniform(0.9, 0.0, 0.99),
    beta2=choice(0.999, 0.99, 0.9999),
    eps_placement=_EPS,
    **_BINARY_NET,
)
def binarynet_adam(
    lr: float, beta1: float, beta2: float, eps_placement: str | None, **habits: Any
) -> WeightRule:
    """BinaryNet's recipe, Adam from a start in U(-1, 1) with Glorot scaling of the learning rate.

    As in the released Theano code: H = 1, clip at H, slope 1 within it, and a learning rate times
    sqrt((fan in + fan out) / 1.5) for each layer. Lasagne's Adam adds eps = 1e-8 before it corrects the bias
    of the second moment, torch's afterwards: `eps_placement: keras` is Lasagne's. The decay of the rate to
    3e-7 belongs to the experiment; the squared hinge loss is not part of a method.
    """
    check_below_one(beta1=beta1, beta2=beta2)
    adam = _adam(eps_placement)
    return latent_rule(adam, habits, start_at_one=True, lr=lr, betas=(beta1, beta2), eps=1e-8, fused=True)


def _adam(eps_placement: str | None) -> type[LatentAdam]:
    if eps_placement is None:
        return LatentAdam
    check_one_of(("keras",), eps_placement=eps_placement)
    return KerasAdam
