"""What a final run did epoch by epoch, as arrays: a hundredth of the memory of the lines they came from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

UNDONE = (1, 2, 5, 10)  # steps within which a flip back counts as undone
LEARNING = ("train_loss", "train_top1", "val_loss", "val_top1")
FLIPS = ("flips", "flip_rate", "pi", *(f"undone_{k}" for k in UNDONE), "undone_share_10", "never", "distance")


@dataclass(frozen=True)
class Curves:
    """The epochs of one final run; a run that diverged in its first epoch has none."""

    columns: dict[str, np.ndarray]  # epoch, step, LEARNING and FLIPS, each of shape (epochs,)
    layers: tuple[str, ...]
    weights: np.ndarray  # int64 (layers,)
    layer_flips: np.ndarray  # int64 (epochs, layers)

    @property
    def epochs(self) -> int:
        return len(self.layer_flips)

    @property
    def steps(self) -> np.ndarray:
        """Steps of each epoch."""
        return np.diff(self.columns["step"], prepend=0)


def curves_of(lines: list[dict[str, Any]], result: dict[str, Any], last_layer: np.ndarray) -> Curves:
    """The lines of epochs.jsonl, summed over the layers; `last_layer` is its flips, int32 (steps,)."""
    layers, weights = result["layers"], result["binary_weights"]
    numbers = {name: np.array([line[name] for line in lines], float) for name in LEARNING}
    step = np.array([line["step"] for line in lines], np.int64)
    layer_flips = counts(lines, "flips", len(layers))
    flips = layer_flips.sum(1)
    undone = {f"undone_{k}": counts(lines, f"undone_{k}", len(layers)).sum(1) for k in UNDONE}
    columns = {
        "epoch": np.array([line["epoch"] for line in lines], np.int64),
        "step": step,
        **numbers,
        "flips": flips,
        "flip_rate": flips / (weights * np.diff(step, prepend=0)),
        "pi": mean_pi(last_layer / layers[-1]["weights"], step),
        **undone,
        "undone_share_10": np.where(flips > 0, undone["undone_10"] / np.maximum(flips, 1), np.nan),
        "never": counts(lines, "never", len(layers)).sum(1) / weights,
        "distance": counts(lines, "distance", len(layers)).sum(1) / weights,
    }
    names = tuple(layer["name"] for layer in layers)
    return Curves(columns, names, np.array([layer["weights"] for layer in layers], np.int64), layer_flips)


def counts(lines: list[dict[str, Any]], name: str, layers: int) -> np.ndarray:
    """One of the flip counters, int64 (epochs, layers)."""
    return np.array([line["flips"][name] for line in lines], np.int64).reshape(len(lines), layers)


def mean_pi(share: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The paper's Eq. 7, log(flipped share + e^-9), averaged over the steps of each epoch; NaN for none."""
    pi = np.log(share + np.exp(-9.0))
    parts = [pi[first:last] for first, last in zip([0, *ends[:-1]], ends, strict=True)] if len(ends) else []
    return np.array([float(np.mean(part)) if len(part) else np.nan for part in parts])
