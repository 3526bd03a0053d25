"""Timing: the variants take turns, round after round, so that a disturbance falls on all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from rich.progress import Progress

LONG_ENOUGH = 0.02  # seconds of one sample; a shorter call is repeated


class Row(NamedTuple):
    """One measured number. `ratio`: how many times as fast as `baseline`. `share`: of a measured `limit`."""

    part: str
    case: str
    variant: str
    value: float
    unit: str
    rounds: int = 1
    baseline: str = ""
    ratio: float | None = None
    limit: str = ""
    share: float | None = None


@dataclass(frozen=True)
class Race:
    """Seconds of one call, one entry per round, for each variant."""

    seconds: Mapping[str, list[float]]

    @property
    def rounds(self) -> int:
        return len(next(iter(self.seconds.values())))

    def median(self, variant: str) -> float:
        return statistics.median(self.seconds[variant])

    def faster(self, variant: str, baseline: str) -> float:
        """How many times faster than the baseline: the median of the ratios within a round."""
        pairs = zip(self.seconds[baseline], self.seconds[variant], strict=True)
        return statistics.median(slow / fast for slow, fast in pairs)


@dataclass
class Bench:
    """How to measure: the device, the rounds, the sizes, and the bar that shows the progress.

    Work on the CPU is timed by the CPU time of this process, which other work on the machine disturbs less
    than wall time. Work on other devices, and in other processes, is timed by wall time.
    """

    device: torch.device
    rounds: int = 11
    quick: bool = False
    progress: Progress = field(default_factory=lambda: Progress(disable=True))

    def clock(self) -> float:
        """Seconds, of which only differences mean anything."""
        return time.process_time() if self.device.type == "cpu" else time.perf_counter()

    def race(self, title: str, variants: Mapping[str, Callable[[], object]], *, wall: bool = False) -> Race:
        """Time each variant once per round, after one call that is not counted."""
        clock = time.perf_counter if wall else self.clock
        task = self.progress.add_task(title, total=self.rounds * len(variants))

        def once(run: Callable[[], object], repeats: int) -> float:
            started = clock()
            for _ in range(repeats):
                run()
            self._finish()
            return (clock() - started) / repeats

        repeats = {}
        for name, run in variants.items():
            once(run, 1)
            repeats[name] = 1 if self.quick else max(1, round(LONG_ENOUGH / max(once(run, 1), 1e-9)))
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(self.rounds):
            for name, run in variants.items():
                seconds[name].append(max(once(run, repeats[name]), 1e-9))
                self.progress.advance(task)
        self.progress.remove_task(task)
        return Race(seconds)

    def _finish(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
