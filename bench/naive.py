"""The yardstick: a training step as public PyTorch repositories of binarized networks write it.

Every layer keeps a real copy next to its weight and overwrites the weight with its sign before each forward
pass. Activations go through a small autograd Function. Tensors stay in torch's default layout and in float32.
Clipping and Bop visit the tensors one by one. Network and start are the suite's. A test holds that losses,
gradients and weights are the same up to rounding (tests/bench/test_bench.py).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite.models.blocks.layers import BinaryConv2d, BinaryLayer, Sign


def sign_without_zero(x: Tensor) -> Tensor:
    return x.sign().add_(0.01).sign_()


class SignOfActivation(torch.autograd.Function):
    """The sign; backward, the gradient where |x| <= 1 and 0 elsewhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return sign_without_zero(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient = gradients[0].clone()
        gradient[x.abs() > 1] = 0
        return gradient


class NaiveSign(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return SignOfActivation.apply(x)  # type: ignore[return-value]


class NaiveLayer(nn.Module):
    """A linear or convolutional layer. With a latent optimizer its weight is the sign of `real`.

    padding: None for a linear layer.
    """

    def __init__(self, stored: Tensor, padding: int | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(stored.clone(memory_format=torch.contiguous_format))
        self.real: Tensor | None = None
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        if self.real is not None:
            self.weight.data = sign_without_zero(self.real)
        if self.padding is None:
            return F.linear(x, self.weight)
        return F.conv2d(x, self.weight, padding=self.padding)


def naive_twin(model: nn.Sequential) -> nn.Sequential:
    """The same network at the same start in naive layers. Batch norm and pooling are shared with `model`."""
    twins: list[nn.Module] = []
    for module in model:
        if isinstance(module, BinaryLayer):
            padding = module.padding if isinstance(module, BinaryConv2d) else None
            twins.append(NaiveLayer(module.weight.detach(), padding))
        elif isinstance(module, Sign):
            twins.append(NaiveSign())
        else:
            twins.append(module)
    return nn.Sequential(*twins)


class NaiveLatentAdam:
    """Adam on real copies of the weights, clipped to [-1, 1]."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        layers = [module for module in model.modules() if isinstance(module, NaiveLayer)]
        self.weights = [layer.weight for layer in layers]
        self.reals = [weight.detach().clone() for weight in self.weights]
        for layer, real in zip(layers, self.reals, strict=True):
            layer.real = real
        self.adam = torch.optim.Adam(self.weights, lr=lr, eps=1e-7, foreach=False)

    def zero_grad(self) -> None:
        self.adam.zero_grad()

    @torch.no_grad()
    def step(self) -> None:
        for weight, real in zip(self.weights, self.reals, strict=True):
            weight.data.copy_(real)
        self.adam.step()
        for weight, real in zip(self.weights, self.reals, strict=True):
            real.copy_(weight.data.clamp_(-1, 1))


class NaiveBop(torch.optim.Optimizer):
    """Bop, step by step as in its Algorithm 2, one tensor after the other."""

    def __init__(self, weights: list[Tensor], gamma: float, threshold: float) -> None:
        super().__init__(weights, dict(gamma=gamma, threshold=threshold))

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            gamma, threshold = group["gamma"], group["threshold"]
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["average"] = torch.zeros_like(weight)
                state["average"].mul_(1 - gamma).add_(weight.grad, alpha=gamma)
                flip = weight * state["average"] > threshold
                weight.data = torch.where(flip, -weight.data, weight.data)
