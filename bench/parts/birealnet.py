"""Training Bi-Real Net 18 on 224x224 images: from a batch in memory, and from prepared pixels on disk.

On a GPU also compiled. A share is that of the best matrix product in the same precision and the same race.
"""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.parts.images import SIDE, SIZE, write_photographs
from bench.parts.limits import matmuls, peak_flops
from bench.parts.step import Step, step_of
from bench.race import Bench, Row
from optimizers import METHODS
from optimizers.core import WeightRule
from suite.data.image_set import WHOLE
from suite.data.stored.open import open_stored
from suite.data.stored.prepare import prepare
from suite.models import MODELS
from suite.training.step import make_learner

CLASSES, PHOTOGRAPHS = 1000, 64
REAL_RATE = 2.5e-3
CPU_BATCH, GPU_BATCH, GPU_STEPS = 8, 256, 20
METHODS_MEASURED = ("latent-adam", "bop")
PRECISIONS = ("float32", "bfloat16")


def network(width: float, rule: WeightRule) -> nn.Module:
    return MODELS["birealnet-18"]((3, SIZE, SIZE), CLASSES, rule, seed=0, width=width)


def our_step(bench: Bench, method: str, precision: str, width: float, *, compiled: bool = False) -> Step:
    """The suite's training step as a function of a batch."""
    rule = METHODS[method]()
    learner = make_learner(network(width, rule), rule, REAL_RATE, bench.device)
    if compiled:
        learner = replace(learner, network=torch.compile(learner.model))
    return step_of(learner, precision)


def run(step: Step, batches: Callable[[], Iterable[tuple[Tensor, Tensor]]]) -> Callable[[], object]:
    return lambda: [step(x, labels) for x, labels in batches()]


def training_flops(batch: int, width: float) -> int:
    """Floating-point operations of forward and backward pass on a batch, in products and convolutions."""
    model = network(width, METHODS["bop"]())
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
            return images.train_batches(
                batch,
                seed=0,
                augment="resized-crop-flip",
                device=bench.device,
                slices=WHOLE,
                damaged=set(),
            ).epoch(1)

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
