"""One training step of BinaryNet: the suite's, in float32 and bfloat16, against the naive port."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.naive import NaiveBop, NaiveLatentAdam, NaiveLayer, naive_twin
from bench.parts.limits import matmuls, peak_flops
from bench.race import Bench, Race, Row
from optimizers import METHODS
from optimizers.core import WeightRule
from suite.models import MODELS
from suite.models.blocks.layers import BinaryLayer
from suite.training.step import Learner, make_learner, training_step

CLASSES, SHAPE = 10, (3, 32, 32)
REAL_RATE = 1e-2
METHODS_MEASURED = ("latent-adam", "bop")
Step = Callable[[Tensor, Tensor], None]


class Size(NamedTuple):
    """The width of the network, and the images of one step."""

    width: float
    batch: int


SIZES = {"width 1, batch 50": Size(1.0, 50), "width 1/8, batch 128": Size(1 / 8, 128)}
QUICK = {"width 1/32, batch 4": Size(1 / 32, 4)}


def network(size: Size, rule: WeightRule) -> nn.Sequential:
    """The suite's BinaryNet; its start is the same at every call."""
    model = MODELS["binarynet"](SHAPE, CLASSES, rule, seed=0, width=size.width)
    assert isinstance(model, nn.Sequential)
    return model


def learner(size: Size, method: str, device: torch.device) -> Learner:
    """BinaryNet with a registered method at its defaults."""
    rule = METHODS[method]()
    return make_learner(network(size, rule), rule, REAL_RATE, device)


def random_batch(size: Size, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(size.batch, *SHAPE, generator=generator) * 2 - 1
    return x.to(device), torch.randint(CLASSES, (size.batch,), generator=generator).to(device)


def our_step(size: Size, method: str, precision: str, device: torch.device) -> Callable[[], object]:
    """The suite's training step on one batch."""
    step = step_of(learner(size, method, device), precision)
    x, labels = random_batch(size, device)
    x = x.contiguous(memory_format=torch.channels_last)
    return lambda: step(x, labels)


def step_of(learner: Learner, precision: str) -> Step:
    """The suite's training step as a function of a batch; each call is the first step of a training."""

    def step(x: Tensor, labels: Tensor) -> None:
        training_step(learner, [(x, labels)], seed=0, step=0, epoch=1, progress=0.0, precision=precision)

    return step


def naive_step(size: Size, method: str, device: torch.device) -> Callable[[], object]:
    """The same step in the naive port, in float32; it counts no flips."""
    model = naive_twin(network(size, METHODS[method]())).to(device)
    weights: list[Tensor] = [module.weight for module in model if isinstance(module, NaiveLayer)]
    binary = {id(weight) for weight in weights}
    real = [p for p in model.parameters() if p.requires_grad and id(p) not in binary]
    optimizers = (
        NaiveBop(weights, 1e-4, 1e-8) if method == "bop" else NaiveLatentAdam(model, 1e-3),
        torch.optim.Adam(real, lr=REAL_RATE, eps=1e-7, foreach=False),
    )
    x, labels = random_batch(size, device)

    def step() -> None:
        loss = F.cross_entropy(model(x), labels)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()

    return step


def training_flops(size: Size) -> float:
    """Floating-point operations of one step in the binary layers.

    Each multiplication counts twice, for it comes with an addition. It is needed in the forward pass, for the
    gradient of the weights, and for that of the inputs, except in the first layer.
    """
    operations: list[int] = []

    def count(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, BinaryLayer)
        operations.append(2 * output.numel() * layer.weight[0].numel())

    model = network(size, METHODS["bop"]())
    for module in model:
        if isinstance(module, BinaryLayer):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(random_batch(size, torch.device("cpu"))[0])
    return 3 * sum(operations) - operations[0]


def measure(bench: Bench) -> list[Row]:
    """Images per second against the naive port, and the share of the best matrix product."""
    rows = []
    for name, size in (QUICK if bench.quick else SIZES).items():
        for method in METHODS_MEASURED:
            race = bench.race(
                f"step: {method}, {name}",
                {
                    "naive float32": naive_step(size, method, bench.device),
                    "float32": our_step(size, method, "float32", bench.device),
                    "bfloat16": our_step(size, method, "bfloat16", bench.device),
                    **matmuls(bench),
                },
            )
            rows += _rows(bench, race, f"{method}, {name}", size)
    return rows


def _rows(bench: Bench, race: Race, case: str, size: Size) -> list[Row]:
    flops = training_flops(size)
    rows = []
    for variant in ("naive float32", "float32", "bfloat16"):
        precision = variant.rsplit(" ", maxsplit=1)[-1]
        seconds = race.median(variant)
        share = flops / seconds / peak_flops(bench, race, precision)
        ratio = race.faster(variant, "naive float32")
        limit = f"matmul {precision}"
        rows.append(
            Row(
                "step", case, variant, size.batch / seconds, "images/s", race.rounds, "naive float32", ratio
            )._replace(limit=limit, share=share)
        )
    return rows
