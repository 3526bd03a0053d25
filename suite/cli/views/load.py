"""A kept network as a person reads it: what it is, its layers with their bits, its size, its scores."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from suite.cli.console import table
from suite.records.codec import encode
from suite.records.weights import KeptNetwork

TestScores = Mapping[str, float]  # by name, of the test images alone


def picture(kept: KeptNetwork, recorded: TestScores, again: TestScores) -> Group:
    """The network, its layers, its size, and the scores: recorded, and now if it was evaluated again."""
    trial, header = kept.header.trial, kept.header
    options = ", ".join(f"{name} {value}" for name, value in encode(trial.model.options).items())
    facts = Table.grid(padding=(0, 2))
    for name, text in {
        "run": f"{header.run}, seed {trial.seed}",
        "network": f"{trial.model.name} ({options})",
        "trained by": trial.method.name,
        "on": f"{trial.data.name}, {header.classes} classes",
        "images": f"uint8 {'x'.join(map(str, header.shape))} (channels, height, width), read as "
        f"{header.normalisation}, in {trial.train.precision}",
        "size": size(kept),
    }.items():
        facts.add_row(name, Text(text))
    layers = table("layer", "shape", "bits", "bytes", "as floats", box=box.SIMPLE_HEAD)
    for layer in header.layers:
        layers.add_row(
            layer.name,
            "x".join(map(str, layer.shape)),
            f"{layer.bits}{', and a scale for each output' if layer.scaled else ''}",
            f"{kept.layer_bytes(layer):,}",
            f"{4 * layer.weights:,}",
        )
    layers.add_row(
        "all else", "", "", f"{(rest := sum(t.nbytes for t in kept.rest.values())):,}", f"{rest:,}"
    )
    scores = table("score", "recorded", *(["now"] if again else []), box=box.SIMPLE_HEAD)
    for name, value in recorded.items():
        scores.add_row(name, repr(value), *([repr(again[name])] if again else []))
    return Group(facts, layers, scores)


def size(kept: KeptNetwork) -> str:
    """The bytes of all tensors, next to those of the same network with floats."""
    floats = f"{kept.float_bytes:,} with float32 weights"
    if not any(layer.bits == 1 for layer in kept.header.layers):
        return f"{kept.bytes:,} bytes, {floats}: its weights are not binary, and are kept as they are"
    return f"{kept.bytes:,} bytes, {floats}: {kept.float_bytes / kept.bytes:.1f} times as many"


def difference(kept: KeptNetwork, recorded: TestScores, again: TestScores, device: str, threads: int) -> str:
    """Which scores differ, and what in the machine may be the reason."""
    texts = [
        f"{name} {value!r} recorded, {again[name]!r} now"
        for name, value in recorded.items()
        if again[name] != value
    ]
    made, here = ((kept.header.device, kept.header.threads), (device, threads))
    if made != here:
        texts.append(f"the run was made on {made[0]} with {made[1]} threads, this is {device} with {threads}")
    return "; ".join(texts)


def as_json(kept: KeptNetwork, recorded: TestScores, again: TestScores) -> dict[str, Any]:
    """The same for a program."""
    header = encode(kept.header)
    layers = [
        {**encode(layer), "bytes": kept.layer_bytes(layer), "float_bytes": 4 * layer.weights}
        for layer in kept.header.layers
    ]
    sizes = {"bytes": kept.bytes, "float_bytes": kept.float_bytes}
    return {**header, **sizes, "layers": layers, "again": dict(again) or None, "same": same(recorded, again)}


def same(recorded: TestScores, again: TestScores) -> bool | None:
    """Whether the scores have the same bits; None if it was not evaluated again."""
    return recorded == again if again else None
