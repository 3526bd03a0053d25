"""Two controls to compare all methods with: binary weights that never change, and real weights.

They usually bound the gain from training binary weights. Neither is a competitor. `frozen` is the floor:
random features with trained batch norms. `real` is the ceiling: the same network with weights of full
precision, and with binary activations where the architecture has them.
"""

from torch import Tensor
from torch.optim import Adam

from optimizers.core import Flipper, WeightRule, choice, log, method, sign, stored_signs
from optimizers.core.checks import check_not_negative, check_positive

FAMILY = "controls"


def no_update(weight: Tensor, gradient: Tensor) -> tuple[Tensor]:
    """The weight unchanged; the gradient is ignored."""
    return (weight,)


@method(
    paper="Rosenfeld and Tsotsos, Intriguing Properties of Randomly Weighted Networks, CRV 2019, "
    "https://arxiv.org/abs/1802.00844",
    control=True,
)
def frozen() -> WeightRule:
    """Control that keeps the random initial signs fixed and trains only the real parameters."""
    return WeightRule(
        start=sign, read=stored_signs, optimizer=lambda params: Flipper(params, no_update, state={})
    )


@method(
    paper="Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, "
    "https://arxiv.org/abs/1412.6980",
    control=True,
    lr=log(1e-3, 1e-5, 1e-1),
    weight_decay=choice(0.0, 1e-6, 1e-5, 1e-4),
)
def real(lr: float, weight_decay: float) -> WeightRule:
    """Control that does not binarize the weights at all and trains them with Adam."""
    check_positive(lr=lr)
    check_not_negative(weight_decay=weight_decay)
    return WeightRule(
        start=lambda initial: initial,
        read=lambda weight: weight,
        binary=False,
        optimizer=lambda params: Adam(params, lr, eps=1e-8, weight_decay=weight_decay, foreach=True),
    )
