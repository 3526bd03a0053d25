"""The epochs of a run as arrays, which take a hundredth of the memory of the lines in its record."""

from dataclasses import dataclass, fields

import numpy as np

from suite.records.schema import EpochLine, Result


@dataclass(frozen=True)
class LayerFlips:
    """The flips of each binary layer."""

    names: tuple[str, ...]
    weights: np.ndarray  # int64 (layers,)
    flips: np.ndarray  # int64 (epochs, layers)


@dataclass(frozen=True)
class Curves:
    """A run epoch by epoch, each array of shape (epochs,); a run that diverged at once has no epochs.

    Losses in nats, accuracies as fractions. flips, undone_k: counts of the whole network. flip_rate: flips
    per weight and step. pi: the paper's Eq. 7 of the last binary layer, NaN in tuning. never, distance:
    shares of the weights (see `FlipCounts`).
    """

    epoch: np.ndarray
    step: np.ndarray
    train_loss: np.ndarray
    train_top1: np.ndarray
    val_loss: np.ndarray
    val_top1: np.ndarray
    flips: np.ndarray
    flip_rate: np.ndarray
    pi: np.ndarray
    undone_1: np.ndarray
    undone_2: np.ndarray
    undone_5: np.ndarray
    undone_10: np.ndarray
    undone_share_10: np.ndarray
    never: np.ndarray
    distance: np.ndarray
    layers: LayerFlips

    @property
    def steps(self) -> np.ndarray:
        """Steps of each epoch."""
        return np.diff(self.step, prepend=0)

    def undone(self, within: int) -> np.ndarray:
        """Flips that undo one at most so many steps before, one of WITHIN."""
        return getattr(self, f"undone_{within}")


COLUMNS = tuple(each.name for each in fields(Curves) if each.name != "layers")  # of curves.csv


def curves_of(lines: list[EpochLine], result: Result, last_layer: np.ndarray | None) -> Curves:
    """The curves of a run; `last_layer` is the flips of its last binary layer, int32 (steps,).

    A tuning run has no record of the flips of each step: None.
    """
    weights = result.binary_weights
    step = np.array([line.step for line in lines], np.int64)
    layer_flips = counts([line.flips.flips for line in lines], result)
    flips = layer_flips.sum(1)
    undone_10 = counts([line.flips.undone_10 for line in lines], result).sum(1)
    pi = np.full(len(lines), np.nan)
    if last_layer is not None:
        pi = mean_pi(last_layer / result.layers[-1].weights, step)
    return Curves(
        epoch=np.array([line.epoch for line in lines], np.int64),
        step=step,
        train_loss=np.array([line.train_loss for line in lines], float),
        train_top1=np.array([line.train_top1 for line in lines], float),
        val_loss=np.array([line.val_loss for line in lines], float),
        val_top1=np.array([line.val_top1 for line in lines], float),
        flips=flips,
        flip_rate=flips / (weights * np.diff(step, prepend=0)),
        pi=pi,
        undone_1=counts([line.flips.undone_1 for line in lines], result).sum(1),
        undone_2=counts([line.flips.undone_2 for line in lines], result).sum(1),
        undone_5=counts([line.flips.undone_5 for line in lines], result).sum(1),
        undone_10=undone_10,
        undone_share_10=np.where(flips > 0, undone_10 / np.maximum(flips, 1), np.nan),
        never=counts([line.flips.never for line in lines], result).sum(1) / weights,
        distance=counts([line.flips.distance for line in lines], result).sum(1) / weights,
        layers=LayerFlips(
            names=tuple(layer.name for layer in result.layers),
            weights=np.array([layer.weights for layer in result.layers], np.int64),
            flips=layer_flips,
        ),
    )


def counts(epochs: list[list[int]], result: Result) -> np.ndarray:
    """One counter of every epoch and binary layer, int64 (epochs, layers)."""
    return np.array(epochs, np.int64).reshape(len(epochs), len(result.layers))


def mean_pi(share: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The paper's Eq. 7, log(flipped share + e^-9), averaged over the steps of each epoch; NaN for none."""
    pi = np.log(share + np.exp(-9.0))
    parts = [pi[first:last] for first, last in zip([0, *ends[:-1]], ends, strict=True)] if len(ends) else []
    return np.array([float(np.mean(part)) if len(part) else np.nan for part in parts])
