"""Training Bi-Real Net 18 on 224x224 images: from a batch in memory, and fed from prepared pixels on disk.

On a GPU also compiled. Shares are of the best matrix product in the same precision, in the same race.
"""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench.parts.images import SIDE, SIZE, write_photographs
from bench.parts.limits import matmuls, peak_flops
from bench.race import Bench, Row
from optimizers import METHODS
from suite.data.feed import steps_of, train_batches
from suite.data.stored.open import open_stored
from suite.data.stored.prepare import prepare
from suite.models import MODELS
from suite.training.flips import FlipCounter
from suite.training.loop import optimizers_of
from suite.training.precision import autocast

CLASSES, PHOTOGRAPHS = 1000, 64
CPU_BATCH, GPU_BATCH, GPU_STEPS = 8, 256, 20
METHODS_MEASURED = ("latent-adam", "bop")
PRECISIONS = ("float32", "bfloat16")
Step = Callable[[Tensor, Tensor], None]


def network(width: float) -> nn.Module:
    return MODELS["birealnet-18"]((3, SIZE, SIZE), CLASSES, METHODS["bop"](), seed=0, width=width)


def our_step(bench: Bench, method: str, precision: str, width: float, *, compiled: bool = False) -> Step:
    """The step of suite.training.loop on a batch: forward, backward, both optimizers, the count of flips."""
    rule = METHODS[method]()
    model = MODELS["birealnet-18"]((3, SIZE, SIZE), CLASSES, rule, seed=0, width=width).to(bench.device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights, real = optimizers_of(model, rule, 2.5e-3)
    flips = FlipCounter(model, bench.device)
    forward = torch.compile(model) if compiled else model

    def step(x: Tensor, labels: Tensor) -> None:
        with autocast(bench.device, precision):
            loss = F.cross_entropy(forward(x), labels)
        weights.zero_grad()
        real.zero_grad()
        loss.backward()
        weights.step()
        real.step()
        flips.count()

    return step


def run(step: Step, batches: Callable[[], Iterable[tuple[Tensor, Tensor]]]) -> Callable[[], object]:
    return lambda: [step(x, labels) for x, labels in batches()]


def training_flops(batch: int, width: float) -> int:
    """Floating-point operations of forward and backward pass on a batch; matrix products and convolutions."""
    model = network(width)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 3, SIZE, SIZE)).sum().backward()
    return counter.get_total_flops() * batch // 2


def measure(bench: Bench) -> list[Row]:
    """Images per second, from memory and from disk."""
    on_gpu = bench.device.type == "cuda"
    width = 1 / 32 if bench.quick else 1.0
    batch, steps = (GPU_BATCH, GPU_STEPS) if on_gpu and not bench.quick else (CPU_BATCH, 1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, SIZE, SIZE, generator=generator).to(bench.device)
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (batch,), generator=generator).to(bench.device)
    flops = training_flops(batch * steps, width)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        write_photographs(Path(scratch) / "tree", 8 if bench.quick else PHOTOGRAPHS)
        prepare(Path(scratch) / "tree", Path(scratch) / "pixels", encoding="pixels", side=SIDE)
        stored = open_stored(Path(scratch) / "pixels", SIZE, "stop").train
        images = stored.subset(torch.arange(batch * steps) % len(stored))

        def in_memory() -> Iterable[tuple[Tensor, Tensor]]:
            return ((x, labels) for _ in range(steps))

        def from_disk() -> Iterable[tuple[Tensor, Tensor]]:
            fed = train_batches(
                images,
                batch,
                seed=0,
                augment="resized-crop-flip",
                device=bench.device,
                slices=(slice(None),),
                damaged=set(),
            )
            return (part for (part,) in steps_of(fed, 1, 0))

        for method in METHODS_MEASURED:
            variants = {p: run(our_step(bench, method, p, width), in_memory) for p in PRECISIONS}
            if on_gpu:
                compiled = our_step(bench, method, "bfloat16", width, compiled=True)
                variants["bfloat16, compiled"] = run(compiled, in_memory)
            variants["bfloat16, from disk"] = run(our_step(bench, method, "bfloat16", width), from_disk)
            race = bench.race(f"birealnet-18: {method}", {**variants, **matmuls(bench)})
            for name in variants:
                precision = name.split(",")[0]
                seconds = race.median(name)
                row = Row(
                    "birealnet",
                    f"{method}, {SIZE}x{SIZE}, batch {batch}",
                    name,
                    batch * steps / seconds,
                    "images/s",
                    race.rounds,
                    "float32",
                    race.faster(name, "float32"),
                )
                share = flops / seconds / peak_flops(bench, race, precision)
                rows.append(row._replace(limit=f"matmul {precision}", share=share))
    return rows
