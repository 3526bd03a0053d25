"""Normalisation, an axis of its own: the batch norm of an architecture, or a replacement for it.

* batch: the architecture's batch norm
* batch-without-affine: batch norm without scale and shift
* layer: each image by itself, over channels and places, then the affine part of the architecture's batch
  norm (Ba et al. 2016, https://arxiv.org/abs/1607.06450, whose scale and shift also differ between places)
* fan-in: times 1/sqrt(n) where the layer before sums n products; nothing is measured or learned. Sums of n
  independent -1 and +1 get unit variance; outputs of a real layer with a Glorot start become small.
* learned-scale: the same, times one learned number for the whole layer, which starts at 1
* none: the output of the layer, unchanged
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.models.blocks.layers import BinaryLayer
from suite.models.model import BadOption

NORMS = ("batch", "batch-without-affine", "layer", "fan-in", "learned-scale", "none")


class FanInScale(nn.Module):
    """x / sqrt(fan_in)."""

    def __init__(self, fan_in: int) -> None:
        super().__init__()
        self.scale = fan_in**-0.5

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class LearnedScale(FanInScale):
    """gain · x / sqrt(fan_in); the gain, a scalar, is learned."""

    def __init__(self, fan_in: int) -> None:
        super().__init__(fan_in)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.gain


@dataclass(frozen=True)
class Norm:
    """A network's option `norm` with the constants of its architecture.

    kind: one of NORMS. momentum: torch's, 1 - Keras'. eps: added to the variance. scale: whether batch norm
    learns a scale in addition to its shift. Raises BadOption for an impossible kind or momentum.
    """

    kind: str
    momentum: float
    eps: float
    scale: bool = True

    def __post_init__(self) -> None:
        if self.kind not in NORMS:
            raise BadOption("norm", f"norm must be one of {list(NORMS)}, not {self.kind!r}")
        if not 0.0 < self.momentum <= 1.0:
            problem = f"batch_norm_momentum must lie in (0, 1], not {self.momentum}"
            raise BadOption("batch_norm_momentum", problem)

    def after(self, layer: BinaryLayer | nn.Conv2d | nn.Linear, fan_in: int | None = None) -> nn.Module:
        """A new module that normalises each output of `layer`; pooling may come between them.

        fan_in: the number n of products, if it is not that of the layer.
        """
        outputs = layer.weight.shape[0]
        if self.kind == "none":
            return nn.Identity()
        if self.kind in ("fan-in", "learned-scale"):
            scale = FanInScale if self.kind == "fan-in" else LearnedScale
            return scale(layer.weight[0].numel() if fan_in is None else fan_in)
        if self.kind == "layer":
            norm: nn.Module = nn.GroupNorm(1, outputs, eps=self.eps)
        else:
            kind = nn.BatchNorm2d if layer.weight.dim() == 4 else nn.BatchNorm1d
            affine = self.kind == "batch"
            norm = kind(outputs, eps=self.eps, momentum=self.momentum, affine=affine)
        if isinstance(norm.weight, nn.Parameter) and not self.scale:
            norm.weight.requires_grad_(False)  # stays 1
        return norm
