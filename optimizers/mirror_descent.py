"""Mirror descent: train a real number, and binarize it with a tanh that sharpens during training.

* `md-tanh` and `md-tanh-s`: Ajanthan, Gupta et al., Mirror Descent View for Neural Network Quantization,
  AISTATS 2021, https://arxiv.org/abs/1910.08237. The gradient at w = tanh(...) is used unchanged for the
  argument of the tanh, without the derivative of the tanh.
* `pmf`: Ajanthan et al., Proximal Mean-field for Neural Network Quantization, ICCV 2019,
  https://arxiv.org/abs/1812.04353. The same forward pass, with the derivative of the tanh.

Released code multiplies beta, the sharpness, by a constant every few hundred steps; here it grows in every
step, from 1 to `beta_end`. The defaults are those for ResNet-18 on CIFAR-10: 1.02 every 200 of 100,000 steps
(md-tanh-s), 1.01 every 100 (md-tanh), 1.1 every 1,000 up to 10,000 (pmf), all with Adam's usual betas. There
all three multiply the learning rate by 0.3 after step 1 and then every 30,000 steps, so that it is 3e-4 where
their scripts say 1e-3: the presets start at 3e-4, the defaults, trial 0 of a study, are the 1e-3. (For pmf
there are two sources: a file of hyperparameters, which is followed here, and a script with 1.02 every 100
steps and 0.2.) Their Adam is that of old versions of torch, which add eps before the bias correction; here it
is added after it, which matters in the first steps and at gradients near 1e-8. md-tanh starts from w =
tanh(init), as its code does.

The paper's MD-softmax, which keeps a number for each label, is md-tanh (and MD-softmax-S md-tanh-s) where
there are two labels, except for its start: so it is no method of its own here.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from optimizers.core import Timed, WeightRule, bare_step, choice, log, method, sign
from optimizers.core.checks import BadHyper, check_not_negative, check_positive

FAMILY = "relaxed weights"

MIRROR_DESCENT = "Ajanthan, Gupta et al., Mirror Descent View for Neural Network Quantization, AISTATS 2021, "
MIRROR_DESCENT += "https://arxiv.org/abs/1910.08237"

DECAYED = {"step": {"start": 3e-4, "factor": 0.3, "at": [0.3, 0.6, 0.9]}}  # the learning rate as released


def sharpness(progress: float, beta_end: float) -> float:
    """beta: from 1 at the start to `beta_end` at progress 1, by the same factor in every step."""
    return beta_end**progress


class _StraightTanh(torch.autograd.Function):
    """Forward tanh(beta x), backward identity: mirror descent uses the gradient at the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: float) -> Tensor:
        return torch.tanh(beta * x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class SharpeningTanh(Timed):
    """Reads tanh(beta u) of the stored u. `straight`: the gradient of u is that of the weight, unchanged."""

    def __init__(self, beta_end: float, straight: bool) -> None:
        super().__init__()
        self.beta_end, self.straight = beta_end, straight

    def forward(self, u: Tensor) -> Tensor:
        beta = sharpness(self.progress, self.beta_end)
        if self.straight:
            return _StraightTanh.apply(u, beta)  # type: ignore[return-value]
        return torch.tanh(beta * u)


class MirrorAdam(Adam):
    """Adam whose steps grow with beta, which follows from the group entries `progress` and `beta_end`."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        assert closure is None
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] *= sharpness(group["progress"], group["beta_end"])
        bare_step(Adam)(self)
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate


def _check(lr: float, beta_end: float) -> None:
    check_positive(lr=lr)
    if not beta_end >= 1.0:
        raise BadHyper("beta_end", f"beta_end must be >= 1, where beta starts, not {beta_end}")


@method(
    paper=MIRROR_DESCENT,
    lr=log(1e-3, 1e-5, 1e-1),
    beta_end=log(2e4, 1.0, 1e6),
    presets={"cifar10-resnet18": dict(lr=DECAYED, beta_end=2e4)},
)
def md_tanh_s(lr: float, beta_end: float) -> WeightRule:
    """Adam on latent weights that are read through an ever sharper tanh, with a straight-through gradient.

    The stable form of the paper: beta multiplies the sum of all steps so far, not only the next step.
    """
    _check(lr, beta_end)
    return WeightRule(
        start=lambda initial: initial,
        read=SharpeningTanh(beta_end, straight=True),
        deploy=sign,
        optimizer=lambda params: Adam(params, lr, eps=1e-8, foreach=True),
    )


@method(
    paper=MIRROR_DESCENT,
    lr=log(1e-3, 1e-5, 1e-1),
    beta_end=log(2e4, 1.0, 1e6),
    presets={"cifar10-resnet18": dict(lr=DECAYED, beta_end=2e4)},
)
def md_tanh(lr: float, beta_end: float) -> WeightRule:
    """Multiply the odds of a weight in (-1, 1) by the exponential of an ever larger Adam step.

    In the paper and its code, w <- (E - 1)/(E + 1) with E = (1 + w)/(1 - w) · exp(-2 · lr · beta · step),
    where step = m/(sqrt(v) + eps) is Adam's with its bias corrections. Here the stored tensor is the dual
    artanh(w), which moves by -lr · beta · step: the same w in exact arithmetic, but not in float32. There w
    is rounded to -1 or +1 beyond |dual| = 9, and in the released code a weight that has reached -1 stays
    forever (E = 0), and one at +1 nearly so (1 - w is replaced by 1e-20). With the dual all weights can move.
    """
    _check(lr, beta_end)

    def optimizer(params: Any) -> Adam:
        groups = [dict(params=list(params), progress=0.0, beta_end=beta_end)]
        return MirrorAdam(groups, lr, eps=1e-8, foreach=True)

    return WeightRule(
        start=lambda initial: initial,
        read=SharpeningTanh(1.0, straight=True),
        deploy=sign,
        optimizer=optimizer,
    )


@method(
    paper="Ajanthan et al., Proximal Mean-field for Neural Network Quantization, ICCV 2019, "
    "https://arxiv.org/abs/1812.04353",
    lr=log(1e-3, 1e-5, 1e-1),
    beta_end=log(1e4, 1.0, 1e6),
    weight_decay=choice(2e-4, 0.0, 2e-5, 2e-3),
    presets={"cifar10-resnet18": dict(lr=DECAYED, beta_end=1e4, weight_decay=2e-4)},
)
def pmf(lr: float, beta_end: float, weight_decay: float) -> WeightRule:
    """Adam on latent weights that are read as the mean of an ever sharper softmax over -1 and +1.

    The paper keeps a number for each label, a for +1 and b for -1, and w = tanh(beta (a - b)/2) is the mean
    of softmax(beta a, beta b). Here u = (a - b)/2 is stored. The gradient of a is half that of u, and that of
    b is its negative. So Adam moves a and b by equal and opposite amounts, and u exactly as Adam with twice
    the eps and twice the weight decay does: weight_decay is that of u, 2e-4 for the published 1e-4. The
    differences: half the memory, and a start with a = -b = u from Glorot's distribution, where the paper
    draws the two labels independently.

    As in the paper, the derivative of the softmax p is exact: beta (diag(p) - p p^T). The released code
    multiplies the gradients of the labels by beta (I - p p^T) instead, with the remark that this works
    slightly better; and it takes p at softmax(beta · softmax(beta a, beta b)), one softmax too many. There
    the gradients of a and b are not opposite, and as p approaches a label, only the gradient of that label
    vanishes.
    """
    _check(lr, beta_end)
    check_not_negative(weight_decay=weight_decay)
    return WeightRule(
        start=lambda initial: initial,
        read=SharpeningTanh(beta_end, straight=False),
        deploy=sign,
        optimizer=lambda params: Adam(params, lr, eps=2e-8, weight_decay=weight_decay, foreach=True),
    )
