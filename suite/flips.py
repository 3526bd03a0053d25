"""Flips, flips undone, distance from the start: per layer, the same for every method.

Measured on the effective binary weights, by comparing them before and after each optimizer step. Nothing is
asked of the optimizer, so latent and latent-free methods are counted alike.
"""

import torch
from torch import Tensor, nn

from suite.models.layers import binary_layers

WITHIN = (1, 2, 5, 10)  # a flip is undone within k steps if the same weight flips back at most k steps later
NEVER = -(1 << 30)


class FlipCounter:
    """Watches the binary layers of a model. Call `count` once after every optimizer step.

    Costs six bytes per binary weight: the last sign, the first sign, the step of the last flip. Only the few
    weights that flipped are looked at closely; to find them, a GPU is waited for in each step.
    """

    def __init__(self, model: nn.Module, device: torch.device | str = "cpu") -> None:
        layers = list(binary_layers(model))
        self.layers = [layer for _, layer in layers]
        self.names = [name for name, _ in layers]
        self.weights = [layer.weight.numel() for layer in self.layers]
        self._ends = torch.tensor(self.weights).cumsum(0).to(device)
        self._start = self._signs()
        self._signs_before = self._start.clone()
        self._last_flip = torch.full_like(self._start, NEVER, dtype=torch.int32)
        self._step = 0
        self._flips: list[Tensor] = []  # one count per layer for each step of the epoch
        self._undone = torch.zeros(len(WITHIN), len(self.layers), dtype=torch.int64, device=device)

    @torch.no_grad()
    def _signs(self) -> Tensor:
        """All effective binary weights as one flat tensor, True for +1."""
        return torch.cat([(layer.read(layer.weight) >= 0).flatten() for layer in self.layers])

    def count(self) -> None:
        """Compare with the signs of the last call."""
        self._step += 1
        signs = self._signs()
        flipped = (signs ^ self._signs_before).nonzero().squeeze(1)
        layer = torch.bucketize(flipped, self._ends, right=True)
        gap = self._step - self._last_flip[flipped]
        self._flips.append(self._per_layer(layer))
        for row, k in enumerate(WITHIN):
            self._undone[row] += self._per_layer(layer[gap <= k])
        self._last_flip[flipped] = self._step
        self._signs_before = signs

    def _per_layer(self, layer: Tensor) -> Tensor:
        return torch.bincount(layer, minlength=len(self.layers))

    def end_epoch(self) -> tuple[dict[str, list[int]], Tensor]:
        """The epoch's counts for the record, and the flips of each step, int32 of shape (steps, layers)."""
        per_step = torch.stack(self._flips).to("cpu", torch.int32)
        counts = {"flips": per_step.sum(0).tolist()}
        counts |= {f"undone_{k}": row for k, row in zip(WITHIN, self._undone.tolist(), strict=True)}
        counts["never"] = self._sums(self._last_flip == NEVER)
        counts["distance"] = self._sums(self._signs_before ^ self._start)
        self._flips.clear()
        self._undone.zero_()
        return counts, per_step

    def _sums(self, mask: Tensor) -> list[int]:
        return [int(part.count_nonzero()) for part in mask.split(self.weights)]

    def state_dict(self) -> dict[str, Tensor | int]:
        """What `load_state_dict` needs to go on after an epoch's end."""
        return {
            "start": self._start,
            "signs": self._signs_before,
            "last_flip": self._last_flip,
            "step": self._step,
        }

    def load_state_dict(self, state: dict) -> None:
        self._start.copy_(state["start"])
        self._signs_before.copy_(state["signs"])
        self._last_flip.copy_(state["last_flip"])
        self._step = state["step"]
