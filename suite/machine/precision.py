"""The arithmetic of forward and backward passes. Weights, averages and gradients stay float32 in any case."""

import contextlib

import torch


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """A context in which matrix products and convolutions run in this `precision`.

    bfloat16 is torch's automatic mixed precision: the loss and the statistics of batch norm stay float32.
    Plus and minus one are exact in it; gradients are rounded on their way through the network, so it is a
    setting of the experiment, the same for every method, and float32 is the reference.
    """
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
