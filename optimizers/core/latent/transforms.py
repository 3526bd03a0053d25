"""Transforms between a latent weight and its sign: scales, standardisation, balance.

Mean, deviation and scale are those of one output: one row of a dense layer's weight, or one filter. Each
transform has two readings: one for training, through which autograd computes the gradient, and one to
deploy, which gives -1 and +1, times at most one positive scale for each output.

* xnor: alpha sign(w) with alpha = mean|w| and the whole gradient through alpha too (XNOR-Net, Rastegari et
  al., ECCV 2016, https://arxiv.org/abs/1603.05279), as in the commonly used code
  (https://github.com/jiecaoyu/XNOR-Net-PyTorch). Before every step that code also subtracts the mean over the
  input channels from the stored weight and clamps it, and it multiplies the gradient by n (1 - 1/channels).
  These steps are omitted here; the hyperparameter clip is such a clamp. UNCERTAIN: of the gradient through
  alpha, the paper seems to keep only each weight's own part.
* magnitude_aware: the same forward pass; in the backward pass alpha is constant, and the slope of the sign is
  multiplied by it (Bi-Real Net, Liu et al., ECCV 2018, https://arxiv.org/abs/1808.00278, as in larq).
* magnitude_straight: the same forward pass; the slope of the sign passes without alpha, as in the released
  PyTorch code of Bi-Real Net, ReActNet and AdamBNN. Adam sees the difference where alpha changes in training,
  where weight decay is added to the gradient, and near its eps.
* standardise: the sign of (w - mean)/std, with the gradient through both (IR-Net's Libra, Qin et al., CVPR
  2020, https://arxiv.org/abs/1909.10788). IR-Net's shift scale 2^s is omitted: it is one positive number for
  each output, constant in the backward pass, and batch norm removes it.
* recu: ReCU (Xu et al., ICCV 2021, https://arxiv.org/abs/2103.12369): standardised, clamped to the quantiles
  tau and 1 - tau of a Laplace distribution, sign with slope 1. The clamp changes no sign; it only stops the
  gradient of weights beyond it. The learned scale of the released code is left to batch norm.
* bi_half: the upper half of each output is +1 and the lower -1, slope 1 (Li et al., Equal Bits, AAAI 2022,
  https://arxiv.org/abs/2112.03837). As in the released code, the upper half of an odd number is the larger
  one, and equal weights are ranked in their order. Its constant scale, one for the layer, is left to batch
  norm.

All but recu and bi_half binarize with the method's pseudo-gradient, standardise at the standardised weight.
recu and bi_half have their own slope and do not use the method's.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from optimizers.core.hyper import Addition, HyperValue
from optimizers.core.method import Timed
from optimizers.core.pseudo_gradients import pseudo_gradient, sign

Reading = Callable[[Tensor], Tensor]


def per_output(weight: Tensor) -> tuple[int, ...]:
    """The dimensions over which one output sums: all but the first."""
    return tuple(range(1, weight.dim()))


def magnitude(weight: Tensor) -> Tensor:
    """alpha, the mean |w| of each output, shaped to multiply; positive even where all weights are zero."""
    return weight.abs().mean(per_output(weight), keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)


def standardised(weight: Tensor) -> Tensor:
    """(w - mean)/std of each output, with the std of a sample (n - 1); 0 where all weights are equal."""
    std, mean = torch.std_mean(weight, per_output(weight), keepdim=True)
    return (weight - mean) / torch.where(std > 0.0, std, 1.0)


def recu_tau(progress: float) -> float:
    """ReCU's tau at this progress: from 0.85 to 0.99, growing like e^progress."""
    return 0.85 + 0.14 * (math.exp(progress) - 1.0) / (math.e - 1.0)


def recu_weight(weight: Tensor, tau: float) -> Tensor:
    """The released code's standardised weight, 2 sqrt(2) (w - mean)/sqrt(var + 1e-5), within -Q and Q.

    Q = -mean|.| log(2 - 2 tau), the tau quantile of the Laplace distribution with this mean magnitude: one
    number for the whole layer, constant in the backward pass.
    """
    variance, mean = torch.var_mean(weight, per_output(weight), keepdim=True)
    normal = (weight - mean) / (torch.sqrt(variance + 1e-5) / (2.0 * math.sqrt(2.0)))
    quantile = -normal.detach().abs().mean() * math.log(2.0 - 2.0 * tau)
    return normal.clamp(-quantile, quantile)


def ranked_signs(rows: Tensor) -> Tensor:
    """-1 for the floor(n/2) smallest of each row's n weights, equal ones ranked in their order, else +1."""
    order = rows.argsort(dim=1, stable=True)
    return torch.ones_like(rows).scatter_(1, order[:, : rows.shape[1] // 2], -1.0)


def balanced_signs(weight: Tensor) -> Tensor:
    """-1 for the floor(n/2) smallest of the n weights of each output, +1 for the rest."""
    rows = weight.detach().flatten(1)
    signs = _parted_signs(rows) if rows.device.type == "cpu" and rows.shape[1] > 1 else None
    signs = ranked_signs(rows) if signs is None else signs
    return torch.empty_like(weight).copy_(signs.view(weight.shape))


def _parted_signs(rows: Tensor) -> Tensor | None:
    """`ranked_signs` by the value that parts the halves of each row; None where it does not part them.

    It does not where it occurs on both sides, or where NaN is in the way. On a CPU this is far cheaper than a
    sort, and each step needs the signs twice: in the forward pass, and to count flips.
    """
    lower = rows.shape[1] // 2
    highest = np.partition(rows.numpy(), lower - 1, axis=1)[:, lower - 1 : lower]  # of the lower half
    upper = rows > torch.from_numpy(highest)
    if not bool((upper.sum(1) == rows.shape[1] - lower).all()):
        return None
    return upper.to(rows.dtype).mul_(2.0).sub_(1.0)


class _BalancedSigns(torch.autograd.Function):
    """Forward `balanced_signs`, backward identity."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return balanced_signs(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Scaled(nn.Module):
    """alpha times `binarize` of the weight; `learn_scale`: whether the gradient passes through alpha."""

    def __init__(self, binarize: Reading, learn_scale: bool) -> None:
        super().__init__()
        self.binarize, self.learn_scale = binarize, learn_scale

    def forward(self, weight: Tensor) -> Tensor:
        alpha = magnitude(weight if self.learn_scale else weight.detach())
        return alpha * self.binarize(weight)


class _StraightScale(torch.autograd.Function):
    """Forward alpha times the signs, backward identity to the signs."""

    @staticmethod
    def forward(ctx: Any, signs: Tensor, alpha: Tensor) -> Tensor:
        return alpha * signs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class StraightScaled(nn.Module):
    """alpha times `binarize` of the weight, with the slope of `binarize` alone."""

    def __init__(self, binarize: Reading) -> None:
        super().__init__()
        self.binarize = binarize

    def forward(self, weight: Tensor) -> Tensor:
        return _StraightScale.apply(self.binarize(weight), magnitude(weight.detach()))  # type: ignore[return-value]


class Standardised(nn.Module):
    """Binarizes the standardised weight."""

    def __init__(self, binarize: Reading) -> None:
        super().__init__()
        self.binarize = binarize

    def forward(self, weight: Tensor) -> Tensor:
        return self.binarize(standardised(weight))


class ReCU(Timed):
    """The sign of ReCU's weight; its clamp widens during training."""

    def __init__(self) -> None:
        super().__init__()
        self.binarize = pseudo_gradient("identity")

    def forward(self, weight: Tensor) -> Tensor:
        return self.binarize(recu_weight(weight, recu_tau(self.progress)))


def bi_half(weight: Tensor) -> Tensor:
    """The balanced signs, with slope 1."""
    return _BalancedSigns.apply(weight)  # type: ignore[return-value]


def scaled_sign(weight: Tensor) -> Tensor:
    """alpha sign(w)."""
    return magnitude(weight) * sign(weight)


def standardised_sign(weight: Tensor) -> Tensor:
    """+1 where the weight is at least the mean of its output, else -1."""
    return sign(standardised(weight))


# Name -> (the method's binarization -> the reading in training, the reading to deploy).
TRANSFORMS: dict[str, tuple[Callable[[Reading], Reading], Reading]] = {
    "xnor": (lambda binarize: Scaled(binarize, learn_scale=True), scaled_sign),
    "magnitude_aware": (lambda binarize: Scaled(binarize, learn_scale=False), scaled_sign),
    "standardise": (Standardised, standardised_sign),
    "recu": (lambda binarize: ReCU(), standardised_sign),
    "bi_half": (lambda binarize: bi_half, balanced_signs),
    "magnitude_straight": (StraightScaled, scaled_sign),
}

_BI_REAL_NET = "Liu et al., Bi-Real Net, ECCV 2018, https://arxiv.org/abs/1808.00278"
ADDED: dict[HyperValue, Addition] = {
    "xnor": Addition(
        "XNOR-Net's scale of each output, with the gradient through it",
        "Rastegari et al., XNOR-Net, ECCV 2016, https://arxiv.org/abs/1603.05279",
    ),
    "magnitude_aware": Addition(
        "Bi-Real Net's scale of each output and of its slope, as in larq", _BI_REAL_NET
    ),
    "standardise": Addition(
        "IR-Net's standardised weights", "Qin et al., IR-Net, CVPR 2020, https://arxiv.org/abs/1909.10788"
    ),
    "recu": Addition(
        "ReCU's clamp of standardised weights", "Xu et al., ReCU, ICCV 2021, https://arxiv.org/abs/2103.12369"
    ),
    "bi_half": Addition(
        "the balanced signs of bi-half",
        "Li et al., Equal Bits, AAAI 2022, https://arxiv.org/abs/2112.03837",
    ),
    "magnitude_straight": Addition(
        "Bi-Real Net's scale of each output but not of its slope, as released", _BI_REAL_NET
    ),
}
