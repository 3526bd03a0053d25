"""How far a run has come: everything that a checkpoint keeps besides the learner's tensors."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from suite.records.codec import decode, encode
from suite.records.run import CHECKPOINTS
from suite.records.schema import EpochLine


@dataclass
class Progress:
    """The state of a run between two steps. Losses and hits stay on the device until the epoch is over.

    `notes` are messages for a person, about damaged files for example; they are not kept in a checkpoint.
    """

    step: int = 0
    lines: list[EpochLine] = field(default_factory=list)  # of the finished epochs
    flips_per_step: list[Tensor] = field(default_factory=list)  # of each: int32 (steps, layers)
    losses: list[Tensor] = field(default_factory=list)  # of each step of this epoch
    hits: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))  # of this epoch
    damaged: set[str] = field(default_factory=set)  # images that cannot be decoded
    notes: list[str] = field(default_factory=list)
    phase: Literal["", "training", "trained"] = ""  # of this call, which may have resumed the run
    _seconds: float = 0.0  # of the run, and of this epoch, before the stop from which it resumes
    _seconds_in_epoch: float = 0.0
    _started: float = field(default_factory=time.perf_counter)
    _epoch_started: float = field(default_factory=time.perf_counter)

    @property
    def place(self) -> str:
        """How far it is, for a message about a failure; nothing before the first step."""
        return {
            "": "",
            "training": f"in step {self.step + 1}",
            "trained": f"after step {self.step}",
        }[self.phase]

    @property
    def seconds(self) -> float:
        """Since the run began, without the time between a stop and the resumption."""
        return self._seconds + time.perf_counter() - self._started

    @property
    def seconds_in_epoch(self) -> float:
        """Since this epoch began, likewise."""
        return self._seconds_in_epoch + time.perf_counter() - self._epoch_started

    def start(self) -> None:
        """The run begins, or resumes."""
        self._started = time.perf_counter()

    def start_epoch(self) -> None:
        """The first step of an epoch, or the step from which it resumes, comes next."""
        self._epoch_started = time.perf_counter()

    def add(self, loss: Tensor, hits: Tensor) -> None:
        """Count one step."""
        self.losses.append(loss)
        self.hits = self.hits.to(hits.device) + hits
        self.step += 1

    def end_epoch(self, line: EpochLine, flips: Tensor) -> None:
        """Keep a finished epoch; the next one begins."""
        self.lines.append(line)
        self.flips_per_step.append(flips)
        self.losses.clear()
        self.hits = torch.zeros_like(self.hits)
        self._seconds_in_epoch = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "lines": json.dumps([encode(line) for line in self.lines]),
            "flips_per_step": self.flips_per_step,
            "losses": torch.stack(self.losses) if self.losses else torch.zeros(0),
            "hits": self.hits,
            "damaged": sorted(self.damaged),
            "seconds": self.seconds,
            "seconds_in_epoch": self.seconds_in_epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        self.step = state["step"]
        self.lines = [decode(EpochLine, line, Path(CHECKPOINTS[0])) for line in json.loads(state["lines"])]
        self.flips_per_step = state["flips_per_step"]
        self.losses = list(state["losses"].to(device))
        self.hits = state["hits"].to(device)
        self.damaged.update(state["damaged"])
        self._seconds, self._seconds_in_epoch = state["seconds"], state["seconds_in_epoch"]
