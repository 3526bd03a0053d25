"""The optimizer of the real parameters against torch's own, bit for bit."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from suite.records.run import RunFolder
from suite.training.loop import train
from suite.training.real_adam import RealAdam
from tests.support.tiny import CPU, tiny_trial

SHAPES = [(128,), (37,), (1,), (6, 5, 3, 3), (16, 10)]


def tensors() -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=random) for shape in SHAPES]
    drawn[3] = drawn[3].contiguous(memory_format=torch.channels_last)
    return [tensor.requires_grad_() for tensor in drawn]


def steps(optimizer: Optimizer, params: list[Tensor], first: int, last: int) -> None:
    """Gradients of all sizes, sometimes zero or absent; a learning rate that changes."""
    for step in range(first, last):
        random = torch.Generator().manual_seed(step)
        optimizer.param_groups[0]["lr"] = 0.01 * (1.0 - step / 200)
        for number, param in enumerate(params):
            gradient = torch.randn(param.shape, generator=random) * 10.0 ** -(step % 9)
            absent, zero = number == 1 and step % 3 == 0, number == 2 and step < 5
            param.grad = None if absent else gradient * (not zero)
        optimizer.step()


def torchs(params: list[Tensor]) -> Adam:
    return Adam(params, lr=0.01, eps=1e-7, foreach=True)


def ours(params: list[Tensor]) -> Adam:
    return RealAdam(params, 0.01, eps=1e-7)


def test_it_is_torchs_adam_bit_for_bit() -> None:
    trained = []
    for make in (ours, torchs):
        params = tensors()
        steps(make(params), params, 0, 120)
        trained.append(params)
    assert all(torch.equal(*pair) for pair in zip(*trained, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(trained[0], tensors(), strict=True))


def test_each_resumes_from_the_state_of_the_other() -> None:
    unbroken = tensors()
    steps(ours(unbroken), unbroken, 0, 40)
    for begin, resume in ((ours, torchs), (torchs, ours)):
        params = tensors()
        first, second = begin(params), resume(params)
        steps(first, params, 0, 20)
        second.load_state_dict(first.state_dict())
        steps(second, params, 20, 40)
        assert all(torch.equal(*pair) for pair in zip(params, unbroken, strict=True))


def test_nothing_to_do() -> None:
    (param,) = params = [torch.ones(3, requires_grad=True)]
    optimizer = ours(params)
    optimizer.step()
    assert param.tolist() == [1.0] * 3 and not optimizer.state


@pytest.mark.parametrize("norm", ["none", "batch-without-affine"])
def test_a_network_without_a_real_parameter_is_trained(tmp_path: Path, norm: str) -> None:
    """Each layer binary, and a norm that learns nothing."""
    model = f"{{name: convnet, channels: 4, norm: {norm}}}"
    trial = tiny_trial(
        tmp_path, "bop", "final", 7, f"tasks=[{{data: digits, model: {model}}}]", "train.epochs=1"
    )
    result = train(trial, RunFolder(tmp_path / "run"), CPU)
    assert (result.status, result.real_parameters) == ("done", 0)
