"""ProxQuant: train real weights and pull them to -1 and +1 by a proximal step that grows stronger.

Bai, Wang and Liberty, ProxQuant: Quantized Neural Networks via Proximal Operators, ICLR 2019,
https://arxiv.org/abs/1810.00861. The gradient is taken at the real weight, so there is no pseudo-gradient.

The released code starts from a trained network of full precision; here training starts from scratch. There
the weights of the last 100 of 300 epochs are fixed at their signs while batch norm continues to train. Here
the same share is the default of `freeze_at`, with the first forward pass through the signs one step later.
The rate of 1e-4 per epoch is meant for 200 epochs: a short training needs a larger one to bring the weights
to -1 and +1. A weight of exactly 0 stays there in the released code, whose sign(0) is 0; here it moves to +1.

The released script makes a new Adam in every epoch, because it applies all settings of its regime again, the
optimizer's class among them: its moments and its bias correction start again from zero. `restart: epoch` does
that for the weights; the real parameters keep their Adam, which is the same in every cell. By default no Adam
is restarted.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

from optimizers.core import Addition, WeightRule, bare_step, choice, log, method, optional, sign, uniform
from optimizers.core.checks import check_not_negative, check_one_of, check_positive, check_rates

FAMILY = "relaxed weights"

PAPER = "Bai et al., ProxQuant: Quantized Neural Networks via Proximal Operators, ICLR 2019, "
PAPER += "https://arxiv.org/abs/1810.00861"


def prox_binary(weight: Tensor, strength: float) -> Tensor:
    """argmin over x of (x - weight)²/2 + strength · ||x| - 1| , as in released code: `strength` nearer to ±1.

    A weight that is nearer than `strength` becomes -1 or +1. At 0, where x and -x are equal minima, it moves
    to +1.
    """
    return sign(weight) * (1.0 + F.softshrink(weight.abs() - 1.0, strength))


class ProxAdam(Adam):
    """Adam, then the proximal step and a clip to [-1, 1], until the weights are frozen as signs.

    Entries of every group: `reg_rate` (the growth of the regularizer's strength per epoch; the strength is 0
    in the first epoch), `freeze_at` (the progress from which on the weights are fixed), and the time: `epoch`
    (1, 2, …) and `progress`. With `restarts`, the state of Adam starts again in every epoch; `began` is the
    epoch in which it last did.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        assert closure is None
        for group in self.param_groups:
            if group["progress"] >= group["freeze_at"]:
                for weight in group["params"]:
                    weight.copy_(sign(weight))
                    weight.grad = None  # so Adam and the proximal step skip it
            if group["restarts"] and group["began"] != group["epoch"]:
                group["began"] = group["epoch"]
                for weight in group["params"]:
                    self.state.pop(weight, None)
        bare_step(Adam)(self)
        for group in self.param_groups:
            strength = group["lr"] * group["reg_rate"] * (group["epoch"] - 1)
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.copy_(prox_binary(weight, strength).clamp_(-1.0, 1.0))


def real_weight(weight: Tensor) -> Tensor:
    """The stored weight itself, which is real until it is frozen."""
    return weight


@method(
    paper=PAPER,
    lr=log(0.01, 1e-5, 1e-1),
    reg_rate=log(1e-4, 1e-5, 1e1),
    freeze_at=uniform(2 / 3, 0.3, 1.0),
    restart=optional(choice("epoch"), Addition("a new Adam in every epoch, as released", PAPER))._replace(
        newer=True
    ),
)
def prox_quant(lr: float, reg_rate: float, freeze_at: float, restart: str | None) -> WeightRule:
    """Train real weights with Adam, pull them to their signs after every step, and freeze them as signs."""
    check_positive(lr=lr)
    check_not_negative(reg_rate=reg_rate)
    check_rates(freeze_at=freeze_at)
    check_one_of((None, "epoch"), restart=restart)

    def optimizer(params: Iterable[Tensor]) -> Adam:
        group = dict(
            params=list(params),
            reg_rate=reg_rate,
            freeze_at=freeze_at,
            epoch=1,
            progress=0.0,
            restarts=restart is not None,
            began=1,
        )
        return ProxAdam([group], lr, eps=1e-8, foreach=True)

    return WeightRule(start=lambda initial: initial, read=real_weight, deploy=sign, optimizer=optimizer)
