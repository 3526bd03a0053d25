"""Batch norm over a batch that several processes share. Unlike torch's, it also works on a CPU."""

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

Group = distributed.ProcessGroup | None


class _Sum(torch.autograd.Function):
    """The sum over processes; the gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx, values: Tensor, group: Group) -> Tensor:
        ctx.group = group
        total = values.clone()
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total, group=ctx.group)
        return total, None


class SyncedBatchNorm(_BatchNorm):
    """Batch norm whose mean and variance are those of all processes of a group; float32 inside.

    In training all processes must have the same number of images.
    """

    group: Group = None

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected (N, C, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        others = [dimension for dimension in range(input.dim()) if dimension != 1]
        per_channel = [1, -1] + [1] * (input.dim() - 2)
        x = input.float()
        count = x.numel() // x.shape[1] * distributed.get_world_size(self.group)
        mean = sum_over(x.sum(others), self.group) / count
        centred = x - mean.view(per_channel)
        variance = sum_over(centred.square().sum(others), self.group) / count
        self._remember(mean.detach(), (variance * (count / (count - 1))).detach())
        y = centred * (variance + self.eps).rsqrt().view(per_channel)
        if self.affine:
            y = y * self.weight.view(per_channel) + self.bias.view(per_channel)
        return y.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics; a momentum of None means a cumulative average."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def sum_over(values: Tensor, group: Group) -> Tensor:
    """The sum of the values of all processes; gradients flow through it."""
    return _Sum.apply(values, group)  # type: ignore[return-value]


def synchronize_batch_norm(model: nn.Module, group: Group) -> None:
    """Replace every batch norm below `model` by a synchronized one with the same tensors."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and not isinstance(child, SyncedBatchNorm):
                setattr(parent, name, _synced(child, group))


def _synced(norm: _BatchNorm, group: Group) -> SyncedBatchNorm:
    synced = SyncedBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine)
    synced.group = group
    if norm.affine:
        synced.weight, synced.bias = norm.weight, norm.bias
    synced.running_mean, synced.running_var = norm.running_mean, norm.running_var
    synced.num_batches_tracked = norm.num_batches_tracked
    synced.train(norm.training)
    return synced
