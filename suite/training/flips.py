"""Flips, flips undone, distance from the start: per layer, the same for every method.

Measured on the effective binary weights, by comparing them before and after each optimizer step. The
optimizer is not involved, so latent and latent-free methods are counted alike.
"""

import numpy as np
import torch
from torch import Tensor, nn

from optimizers.core import reads_the_sign
from suite.models.blocks.layers import BinaryLayer, binary_layers
from suite.records.schema import WITHIN, FlipCounts

NEVER = -(1 << 30)
ROW = 1024  # each layer begins a new row of so many weights: sums of rows are sums of parts of one layer
KEPT = 1 << 22  # signs of steps that a CPU has still to compare: a comparison costs much in itself


class FlipCounter:
    """Watches the binary layers of a model. Call `count` once after every optimizer step.

    It takes six bytes per binary weight: the last sign, the first sign, the step of the last flip. On a CPU
    only the few weights that flipped are examined closely, those of several steps at once, and each of these
    steps takes one more byte per weight until then. On a GPU, finding them would mean to wait in each step,
    so there all weights are examined (`dense`).
    """

    def __init__(
        self, model: nn.Module, device: torch.device | str = "cpu", *, dense: bool | None = None
    ) -> None:
        layers = list(binary_layers(model))
        self.layers = [layer for _, layer in layers]
        self.names = [name for name, _ in layers]
        self.weights = [layer.weight.numel() for layer in self.layers]
        rows = torch.tensor([-(-count // ROW) for count in self.weights])
        self._ends = rows.cumsum(0).to(device)  # the row after the last of each layer
        self._first = [ROW * row for row in (rows.cumsum(0) - rows).tolist()]
        self._ends_of_layers = np.array([*self._first[1:], int(rows.sum()) * ROW])
        self._dense = torch.device(device).type != "cpu" if dense is None else dense
        # One entry per weight, layer after layer, each padded to a whole row; the padding never changes.
        count = int(rows.sum()) * ROW
        kept = 0 if self._dense else max(1, KEPT // max(1, count))
        self._history = torch.zeros(1 + kept, count, dtype=torch.bool, device=device)
        self._signs = self._history[0]  # of the last step whose flips are counted; those of the next follow
        self._waiting = 0  # steps whose flips are not counted yet
        self._read_signs(self._signs)
        self._start = self._signs.clone()
        self._last_flip = torch.full_like(self._signs, NEVER, dtype=torch.int32)
        self._step = 0
        self._flips: list[Tensor] = []  # int64 (steps, layers), in parts, for the steps of the epoch
        self._undone = torch.zeros(len(WITHIN), len(self.layers), dtype=torch.int64, device=device)
        self._values = [] if self._dense else [FlatValues(layer) for layer in self.layers]

    @torch.no_grad()
    def count(self) -> None:
        """Compare with the signs of the last call."""
        self._step += 1
        if self._dense:
            self._count_all()
            return
        self._waiting += 1
        signs = self._history.numpy()[self._waiting]
        for of_layer, first, count in zip(self._values, self._first, self.weights, strict=True):
            np.greater_equal(of_layer.read(), 0, out=signs[first : first + count])
        if self._waiting == len(self._history) - 1:
            self._count_waiting()

    def _count_all(self) -> None:
        """Examine all weights. No operation here depends on a value, so none waits for the device."""
        signs = torch.zeros_like(self._signs)
        self._read_signs(signs)
        flipped = signs ^ self._signs
        gap = self._step - self._last_flip
        masks = torch.stack([flipped, *(flipped & (gap <= k) for k in WITHIN)])
        up_to_layer = masks.view(len(masks), -1, ROW).sum(2).cumsum(1)[:, self._ends - 1]
        counts = up_to_layer.diff(dim=1, prepend=torch.zeros_like(up_to_layer[:, :1]))
        self._last_flip.masked_fill_(flipped, self._step)
        self._signs.copy_(signs)
        self._flips.append(counts[:1])
        self._undone += counts[1:]

    def _count_waiting(self) -> None:
        """The same for all steps that wait, from the weights that flipped in them."""
        if not self._waiting:
            return
        steps, self._waiting = self._waiting, 0
        history, layers = self._history.numpy()[: 1 + steps], len(self.layers)
        flipped, size = _changes(history), history.shape[1]
        history[0] = history[-1]
        # The flips of a step, and those of a layer among them, lie side by side.
        ends = flipped.searchsorted(np.add.outer(size * np.arange(steps), self._ends_of_layers))
        per_step = np.diff(ends.ravel(), prepend=0)
        self._flips.append(torch.from_numpy(per_step.reshape(steps, layers)))

        gap = np.empty(len(flipped), dtype=np.int32)  # steps since the same weight flipped last
        last_flip, first, end = self._last_flip.numpy(), self._step - steps + 1, 0
        for row in range(steps):
            begin, end = end, ends[row, -1]
            place = flipped[begin:end] - row * size
            np.subtract(first + row, last_flip[place], out=gap[begin:end])
            last_flip[place] = first + row
        layer = np.repeat(np.tile(np.arange(layers), steps), per_step)
        kinds = 2 + WITHIN[-1]  # a gap of 0 to the longest, and any longer one
        table = np.bincount(kinds * layer + np.minimum(gap, kinds - 1), minlength=kinds * layers)
        within = table.reshape(layers, kinds).cumsum(1)[:, list(WITHIN)]
        self._undone += torch.from_numpy(within.T)

    @torch.no_grad()
    def _read_signs(self, signs: Tensor) -> None:
        """Write all effective binary weights into a flat tensor, True for +1."""
        for layer, first, count in zip(self.layers, self._first, self.weights, strict=True):
            torch.ge(flat_values(layer), 0, out=signs[first : first + count])

    def end_epoch(self) -> tuple[FlipCounts, Tensor]:
        """The epoch's counts, and the flips of each step, int32 of shape (steps, layers)."""
        self._count_waiting()
        per_step = torch.cat(self._flips).to("cpu", torch.int32)
        undone = {f"undone_{k}": row for k, row in zip(WITHIN, self._undone.tolist(), strict=True)}
        counts = FlipCounts(
            flips=per_step.sum(0).tolist(),
            never=self._sums(self._last_flip == NEVER),
            distance=self._sums(self._signs ^ self._start),
            **undone,
        )
        self._flips.clear()
        self._undone.zero_()
        return counts, per_step

    def _sums(self, mask: Tensor) -> list[int]:
        parts = zip(self._first, self.weights, strict=True)
        return [int(mask[first : first + count].count_nonzero()) for first, count in parts]

    def state_dict(self) -> dict[str, Tensor | int | None]:
        """The state that `load_state_dict` needs to resume, also in the middle of an epoch."""
        self._count_waiting()
        return {
            "start": self._start,
            "signs": self._signs.clone(),  # a view would be saved with all its history
            "last_flip": self._last_flip,
            "step": self._step,
            "flips": torch.cat(self._flips) if self._flips else None,
            "undone": self._undone,
        }

    def load_state_dict(self, state: dict) -> None:
        self._start.copy_(state["start"])
        self._signs.copy_(state["signs"])
        self._last_flip.copy_(state["last_flip"])
        self._step = state["step"]
        self._waiting = 0
        self._flips = [] if state["flips"] is None else [state["flips"].to(self._undone.device)]
        self._undone.copy_(state["undone"])


def flat_values(layer: BinaryLayer) -> Tensor:
    """One number per weight, flat, whose sign is the effective weight; without a copy if possible."""
    stored = layer.weight.detach()
    values = stored if reads_the_sign(layer.deploy) else layer.deploy(stored)
    # Training holds convolutions channels-last: in this order their numbers lie side by side.
    return (values.permute(0, 2, 3, 1) if values.dim() == 4 else values).reshape(-1)


class FlatValues:
    """The same for numpy. A view of the stored tensor stays right as long as its numbers stay in place."""

    def __init__(self, layer: BinaryLayer) -> None:
        self.layer, self.weight, self.stored = layer, layer.weight, reads_the_sign(layer.deploy)
        self._view, self._address = np.empty(0), 0

    def read(self) -> np.ndarray:
        address = self.weight.data_ptr()
        if address == self._address:
            return self._view
        values = flat_values(self.layer)
        view = values.numpy()
        if self.stored and values.data_ptr() == address:  # else a copy, which the next step does not change
            self._view, self._address = view, address
        return view


def _changes(history: np.ndarray) -> np.ndarray:
    """Where each of the rows of (1 + steps, n) bools differs from the row before.

    int64, rising: n * step + place, with the step counted from 0. With numpy, whose comparisons and searches
    of bools are faster than torch's on a CPU. Eight signs are compared as one word, as most of them have not
    changed.
    """
    words = history.view(np.uint64)
    before, after = words[:-1].ravel(), words[1:].ravel()
    differing = np.flatnonzero(before != after)
    found = np.flatnonzero((before[differing] ^ after[differing]).view(bool))
    return (differing * 8)[found >> 3] + (found & 7)
