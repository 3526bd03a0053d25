"""A pool on a Ray cluster, whose nodes share results, data, plugins and code at the same paths."""

import hashlib
import importlib.util
import os
import queue
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from suite.data import Splits, load_test
from suite.data.files import data_root
from suite.data.held import ReadTest
from suite.machine.environment import use_device
from suite.machine.errors import UserError
from suite.machine.words import count
from suite.records.files import write_atomically
from suite.records.schema import Failure
from suite.records.trial import Choice, Trial
from suite.sweep.messages import EpochDone, Failed, Lost, Message
from suite.sweep.worker import Files, files_of, run_once

PROBE = ".cluster-probe"  # in the results folder: what every node must see
FAILED_STARTS = 10  # in a row, of workers, before the cluster is held to be broken


class Seat:
    """An actor: one slot of the cluster, which trains one trial after another."""

    def __init__(
        self, variables: Mapping[str, str], threads: int, checkpoint_every: float, keep_weights: bool = False
    ) -> None:
        os.environ.update(variables)
        self.threads, self.checkpoint_every, self.keep_weights = threads, checkpoint_every, keep_weights
        # torch counts threads for each thread that uses it, so one and the same does all the work.
        self.thread = ThreadPoolExecutor(1)

    def get_ready(self, device: str, plugins: Sequence[str], probe: str) -> tuple[str, dict[str, str]]:
        """The node's name, and its view of the shared files (see `sight`)."""
        seen = sight(Path(probe), plugins)
        if all(seen.values()):
            self.device = torch.device(device)
            self.thread.submit(use_device, self.device, self.threads).result()
        return socket.gethostname(), seen

    def run(self, folder: Path, trial: Trial, files: Files) -> Iterator[Message]:
        """The messages about the trial, as they come."""
        messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        how = (self.device, self.checkpoint_every, messages.put, files, self.keep_weights)
        last = self.thread.submit(run_once, folder, trial, *how)
        last.add_done_callback(lambda ended: messages.put(None))
        while (message := messages.get()) is not None:
            yield message
        yield last.result()


def sight(probe: Path, plugins: Sequence[str]) -> dict[str, str]:
    """A machine's view of the files that all machines share: a hash each, empty for an unreadable one."""
    suite = Path(__file__).parents[1]
    code = [*sorted(suite.rglob("*.py")), *sorted(suite.with_name("optimizers").rglob("*.py"))]
    seen = {
        f"the results ({probe.parent})": _content(probe),
        f"flipbench's own code ({suite.parent})": "".join(map(_content, code)),
        f"the data ({data_root()})": _names(data_root()),
        "torch's version": torch.__version__,
        **{f"the plugin {plugin}": _content(Path(plugin)) for plugin in plugins},
    }
    return {what: text and hashlib.sha256(text.encode()).hexdigest() for what, text in seen.items()}


def _content(path: Path) -> str:
    try:
        return f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError:
        return ""


def _names(folder: Path) -> str:
    """A folder that does not exist holds nothing: the embedded digits need none."""
    return f"names {sorted(os.listdir(folder)) if folder.is_dir() else []}"


@dataclass
class Slot:
    """The coordinator's end of a seat: `ready` until it is, then `messages` while it has a trial.

    `files` are the plugins that the actor has imported; from then on it trains only trials of just these.
    """

    actor: Any
    ready: Any
    messages: Any = None
    files: Files = field(default_factory=dict)
    trial: Trial | None = None
    folder: Path | None = None  # of the trial


class RayPool:
    """One actor per slot, on all nodes of the cluster. Losing one loses its trial.

    It joins the cluster that RAY_ADDRESS names, else the one that runs on this machine, else it starts one on
    the loopback interface. `device` is auto, cpu or cuda; `workers` is by default what the cores or the GPUs
    of the cluster allow. An actor that finds no place waits for a node that is to come, or to come back.
    """

    def __init__(
        self,
        folder: Path,
        device: str = "auto",
        workers: int | None = None,
        threads: int = 1,
        plugins: Files | None = None,
        checkpoint_every: float = 60.0,
        keep_weights: bool = False,
    ) -> None:
        self.folder, self.plugins = folder.resolve(), plugins or {}
        self.threads, self.checkpoint_every, self.keep_weights = threads, checkpoint_every, keep_weights
        self.ray = _connected()
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        self.device, self.workers, self.gpus = slots_of(nodes, device, workers, threads)
        self.failed_starts = 0
        self.probe = self.folder / PROBE
        self.seen: dict[str, str] = {}
        self.slots: list[Slot] = []

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return f"{count(self.workers, 'Ray worker')} on {self.device}"

    @property
    def free(self) -> int:
        self._begin()
        return sum(slot.ready is None and slot.trial is None for slot in self.slots)

    def lend(self, data: Choice, splits: Splits, read_test: ReadTest = load_test) -> str:
        """Nothing to do: the workers read their images themselves."""
        return ""

    def submit(self, folder: Path, trial: Trial) -> None:
        idle = [slot for slot in self.slots if slot.ready is None and slot.trial is None]
        files = files_of(trial, self.plugins)
        suited = (slot for known in (files, {}) for slot in idle if slot.files == known)
        slot = next(suited, None)
        if slot is None:
            self._renew(slot := idle[0])
        slot.trial, slot.folder = trial, folder.resolve()
        if slot.ready is None:
            self._run(slot)

    def _run(self, slot: Slot) -> None:
        assert slot.trial is not None
        slot.files = files_of(slot.trial, self.plugins)
        slot.messages = slot.actor.run.remote(slot.folder, slot.trial, slot.files)

    def listen(self, timeout: float) -> list[Message]:
        self._begin()
        waited_for = [slot for slot in self.slots if slot.ready is not None or slot.messages is not None]
        if not waited_for:
            time.sleep(timeout)
            return []
        sources = [slot.messages if slot.ready is None else slot.ready for slot in waited_for]
        first, _ = self.ray.wait(sources, timeout=timeout, fetch_local=False)
        more, _ = self.ray.wait(sources, num_returns=len(sources), timeout=0, fetch_local=False)
        messages: list[Message] = []
        for slot, source in zip(waited_for, sources, strict=True):
            if any(source is one for one in (*first, *more)):
                messages += self._started(slot) if slot.ready is not None else self._receive(slot)
        return messages

    def stop(self, seconds: float) -> list[Message]:
        """Nothing to do: the actors end with the coordinator; their trials resume from checkpoints."""
        return []

    def close(self) -> None:
        for slot in self.slots:
            self.ray.kill(slot.actor)
        self.slots.clear()
        self.probe.unlink(missing_ok=True)
        self.ray.shutdown()

    def _begin(self) -> None:
        """Show all nodes a probe and ask for the actors, once the results folder is there."""
        if self.slots:
            return
        write_atomically(self.probe, os.urandom(16).hex().encode())
        self.seen = sight(self.probe, list(self.plugins.values()))
        self.slots = [Slot(*self._seat()) for _ in range(self.workers)]

    def _seat(self) -> tuple[Any, Any]:
        """A new actor, and what it will return once it is ready."""
        variables = {
            "FLIPBENCH_DATA": str(data_root()),
            "FLIPBENCH_DOWNLOAD": os.environ.get("FLIPBENCH_DOWNLOAD") or "1",
        }
        seat = self.ray.remote(Seat).options(num_cpus=self.threads, num_gpus=self.gpus)
        actor = seat.remote(variables, self.threads, self.checkpoint_every, self.keep_weights)
        return actor, actor.get_ready.remote(self.device, list(self.plugins.values()), str(self.probe))

    def _started(self, slot: Slot) -> list[Message]:
        try:
            node, seen = self.ray.get(slot.ready)
        except self.ray.exceptions.RayActorError as error:
            self.failed_starts += 1
            if self.failed_starts == FAILED_STARTS:
                raise UserError(f"no worker can start on the cluster: {error}") from None
            self._renew(slot)
            return []
        self.failed_starts = 0
        for what, content in self.seen.items():
            if seen.get(what) != content:
                raise UserError(
                    f"node {node} does not see {what} as this machine does: all nodes must share it"
                )
        slot.ready = None
        if slot.trial is not None:
            self._run(slot)
        return []

    def _receive(self, slot: Slot) -> list[Message]:
        trial = slot.trial
        assert trial is not None
        try:
            message: Message = self.ray.get(next(slot.messages))
        except (self.ray.exceptions.RayError, StopIteration) as error:
            slot.trial = None
            self._renew(slot)
            failure = Failure(kind="worker died", error=f"its worker died ({' '.join(str(error).split())})")
            return [Lost(trial.run_id, failure)]
        if not isinstance(message, EpochDone):
            slot.trial = slot.messages = None
        if isinstance(message, Failed | Lost) and self.device != "cpu":
            self._renew(slot)  # the process' GPU context may be broken: the next trial gets a new one
        return [message]

    def _renew(self, slot: Slot) -> None:
        """Give the slot a new actor. A trial that it has not begun with waits for it."""
        self.ray.kill(slot.actor)
        slot.actor, slot.ready = self._seat()
        slot.messages, slot.files = None, {}


def slots_of(
    nodes: Sequence[Mapping[str, float]], device: str, workers: int | None, threads: int
) -> tuple[str, int, float]:
    """The device of all workers, how many there are, and the share of a GPU that each takes.

    `nodes` are the resources of each node. UserError for a device that there is not.
    """
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device}: on a cluster the choices are auto, cpu, cuda")
    if device == "cuda" and not gpus:
        raise UserError("--device cuda: no node of the cluster has a GPU")
    if device == "cpu" or not gpus:
        places = sum(int(node.get("CPU", 0)) // threads for node in nodes)
        if not workers and not places:
            raise UserError(
                f"no node of the cluster has {threads} cores; give --workers if more nodes will join"
            )
        return "cpu", workers or places, 0.0
    count = workers or gpus
    return "cuda", count, 1 / -(-count // gpus)


def _connected() -> Any:
    """Ray, connected. It sends nothing about its use to anybody."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if importlib.util.find_spec("ray") is None:
        raise UserError("--engine ray needs Ray: pip install -e '.[cluster]'")
    import ray

    try:
        ray.init(address="auto", log_to_driver=False)
    except ConnectionError:
        if address := os.environ.get("RAY_ADDRESS"):
            raise UserError(f"RAY_ADDRESS: there is no Ray cluster at {address}") from None
        ray.init(address="local", include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    return ray
