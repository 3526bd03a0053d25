"""The processes that train one network together, each on its share of every batch. torchrun starts them.

A trial fixes in how many equal parts a batch is computed (`batch_parts`); batch norm sees one part at a time.
Parts are dealt to processes, and a part that several processes share has its batch norm synchronized. So the
number of processes changes only the order of sums.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from suite.machine.errors import UserError
from suite.models.blocks.synced_batch_norm import synchronize_batch_norm

PATIENCE = timedelta(minutes=30)  # for a process that reads its data or writes a checkpoint


class RanksError(UserError):
    """The processes cannot train together as asked, or do not agree."""


@dataclass(frozen=True)
class Ranks:
    """The place of this process among `count` processes. The first one writes the record."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def slices(self, batch_size: int, parts: int) -> list[slice]:
        """The samples of each batch that this process computes, one slice for each of its parts.

        RanksError unless the batch is a whole number of parts and parts and processes divide.
        """
        if batch_size % parts:
            raise RanksError(f"batch_parts: a batch of {batch_size} has no {parts} equal parts")
        if parts % self.count and self.count % parts:
            raise RanksError(f"batch_parts: {parts} parts cannot be dealt to {self.count} processes evenly")
        pieces = max(parts, self.count)
        if batch_size % pieces:
            raise RanksError(f"a batch of {batch_size} cannot be dealt to {self.count} processes evenly")
        size, mine = batch_size // pieces, pieces // self.count
        return [slice(n * size, (n + 1) * size) for n in range(self.rank * mine, (self.rank + 1) * mine)]

    def train_together(self, model: nn.Module, parts: int) -> nn.Module:
        """The network to run forward and backward: its gradients are means over all processes."""
        if self.count == 1:
            return model
        if self.count > parts:  # each part is shared by so many neighbours
            neighbours = self.count // parts
            groups = [list(range(n * neighbours, (n + 1) * neighbours)) for n in range(parts)]
            mine, _ = distributed.new_subgroups_by_enumeration(groups)
            assert isinstance(mine, distributed.ProcessGroup)
            synchronize_batch_norm(model, mine)
        return DistributedDataParallel(model, forward_sync_buffers=False, gradient_as_bucket_view=True)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        return self.sum(values / self.count) if self.count > 1 else values

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def exchange(self, stop: bool, due: bool, names: set[str]) -> tuple[bool, bool, set[str]]:
        """Whether any process must stop or has a checkpoint due, and all names; all wait for all."""
        if self.count == 1:
            return stop, due, names
        stops, dues, sets = zip(*self.gather((stop, due, names)), strict=True)
        return any(stops), any(dues), set().union(*sets)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in their order; all wait for all."""
        if self.count == 1:
            return [value]
        values = [None] * self.count
        distributed.all_gather_object(values, value)
        return values

    def agree(self, value: Any, what: str) -> None:
        """RanksError unless all processes have the same value."""
        values = self.gather(value)
        if any(other != value for other in values):
            raise RanksError(f"the processes do not agree on {what}: {values}")

    def share_buffers(self, model: nn.Module) -> None:
        """Give all processes the first one's batch-norm statistics."""
        if self.count > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, src=0)


ALONE = Ranks()


@contextlib.contextmanager
def only_the_first_part_counts(model: nn.Module, part: int) -> Iterator[None]:
    """Keep the other parts of a batch out of batch norm's running statistics.

    They are the first part's, as is usual in data-parallel training, however many processes there are.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if part else []
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def keep_gradients_local(network: nn.Module, is_last: bool) -> contextlib.AbstractContextManager[None]:
    """Until the last part of a batch, each process adds up its own gradients; then they are averaged."""
    if is_last or not isinstance(network, DistributedDataParallel):
        return contextlib.nullcontext()
    return network.no_sync()


def started_by_torchrun() -> bool:
    """Whether torchrun has started this process together with others."""
    return processes() > 1


def processes() -> int:
    """How many processes train together, as torchrun sets it; RanksError for what is no number of them."""
    text = os.environ.get("WORLD_SIZE", "1")
    if not text.isdecimal() or not int(text):
        raise RanksError(f"WORLD_SIZE is {text!r}: a number of processes belongs there, as torchrun sets it")
    return int(text)


def device_of_rank(device: str) -> str:
    """The device of this process: those of one machine take a GPU each, where there are any."""
    if device not in ("auto", "cuda") or not started_by_torchrun() or not torch.cuda.is_available():
        return device
    return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun has started; ALONE if there are none."""
    if not started_by_torchrun():
        yield ALONE
        return
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise RanksError(
            f"WORLD_SIZE is {processes()}, but {', '.join(missing)} is not set: start several processes with "
            "torchrun, or one without WORLD_SIZE"
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def collect_in_turn(parts: Sequence[Any], ranks: Ranks) -> list[Any]:
    """All items that were dealt to the processes in turn: process n modulo their number has item n."""
    dealt = ranks.gather(list(parts))
    return [dealt[n % ranks.count][n // ranks.count] for n in range(sum(map(len, dealt)))]
