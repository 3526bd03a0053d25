"""Where trials run: a Ray cluster. Its nodes share results, data, plugins and code, at the same paths."""

import hashlib
import importlib.util
import os
import queue
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from suite.data import Splits
from suite.data.files import data_root
from suite.experiment.trial import Trial
from suite.machine.errors import UserError
from suite.records.files import write_atomically
from suite.sweep.worker import Report, get_ready, run_once

PROBE = ".cluster-probe"  # in the results folder: what every node must see
FAILED_STARTS = 10  # in a row, of workers, before the cluster is held to be broken


class Seat:
    """An actor: one slot of the cluster, which trains one trial after another."""

    def __init__(self, variables: Mapping[str, str], threads: int, checkpoint_every: float) -> None:
        os.environ.update(variables)
        self.threads, self.checkpoint_every = threads, checkpoint_every
        # torch counts threads for each thread that uses it, so one and the same does all the work.
        self.thread = ThreadPoolExecutor(1)

    def get_ready(self, device: str, plugins: Sequence[str], probe: str) -> tuple[str, dict[str, str]]:
        """The node's name, and what it sees (see `sight`)."""
        seen = sight(Path(probe), plugins)
        if all(seen.values()):
            self.device = torch.device(device)
            self.thread.submit(get_ready, device, self.threads, plugins).result()
        return socket.gethostname(), seen

    def run(self, folder: Path, trial: Trial) -> Iterator[Report]:
        """What is said of the trial, as it is said."""
        said: queue.SimpleQueue[Report] = queue.SimpleQueue()

        def train() -> None:
            said.put(run_once(folder, trial, self.device, self.checkpoint_every, said.put))

        self.thread.submit(train)
        report = Report("epoch", trial.run_id)
        while report.kind == "epoch":
            report = said.get()
            yield report


def sight(probe: Path, plugins: Sequence[str]) -> dict[str, str]:
    """What a machine sees of what all must share; an empty text for what it cannot read."""
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
    """The coordinator's end of a seat: `ready` until it is, then `reports` while it has a trial."""

    actor: Any
    ready: Any = None
    reports: Any = None
    trial: Trial | None = None


class RayPool:
    """One actor per slot, on whatever nodes the cluster has. What is lost with one is its trial.

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
        plugins: Sequence[str] = (),
        checkpoint_every: float = 60.0,
    ) -> None:
        self.folder, self.plugins = folder.resolve(), plugins
        self.threads, self.checkpoint_every = threads, checkpoint_every
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
        return f"{self.workers} Ray workers on {self.device}"

    @property
    def free(self) -> int:
        self._begin()
        return sum(slot.ready is None and slot.trial is None for slot in self.slots)

    def lend(self, data: Mapping[str, object], splits: Splits) -> str:
        """Nothing: the workers read their images, on whatever node they are."""
        return ""

    def submit(self, folder: Path, trial: Trial) -> None:
        slot = next(slot for slot in self.slots if slot.ready is None and slot.trial is None)
        slot.trial, slot.reports = trial, slot.actor.run.remote(folder.resolve(), trial)

    def listen(self, timeout: float) -> list[Report]:
        self._begin()
        speaking = [slot for slot in self.slots if slot.ready is not None or slot.reports is not None]
        if not speaking:
            time.sleep(timeout)
            return []
        sources = [slot.reports if slot.ready is None else slot.ready for slot in speaking]
        heard, _ = self.ray.wait(sources, timeout=timeout, fetch_local=False)
        more, _ = self.ray.wait(sources, num_returns=len(sources), timeout=0, fetch_local=False)
        reports: list[Report] = []
        for slot, source in zip(speaking, sources, strict=True):
            if any(source is one for one in (*heard, *more)):
                reports += self._start_heard(slot) if slot.ready is not None else self._heard(slot)
        return reports

    def stop(self, seconds: float) -> list[Report]:
        """Nothing: the actors end with the coordinator, their trials go on from the last checkpoint."""
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
        self.seen = sight(self.probe, self.plugins)
        self.slots = [self._seat() for _ in range(self.workers)]

    def _seat(self) -> Slot:
        variables = {
            "FLIPBENCH_DATA": str(data_root()),
            "FLIPBENCH_DOWNLOAD": os.environ.get("FLIPBENCH_DOWNLOAD") or "1",
        }
        seat = self.ray.remote(Seat).options(num_cpus=self.threads, num_gpus=self.gpus)
        actor = seat.remote(variables, self.threads, self.checkpoint_every)
        return Slot(actor, actor.get_ready.remote(self.device, self.plugins, str(self.probe)))

    def _start_heard(self, slot: Slot) -> list[Report]:
        try:
            node, seen = self.ray.get(slot.ready)
        except self.ray.exceptions.RayActorError as error:
            self.failed_starts += 1
            if self.failed_starts == FAILED_STARTS:
                raise UserError(f"no worker can start on the cluster: {error}") from None
            self._replace(slot)
            return []
        self.failed_starts = 0
        for what, content in self.seen.items():
            if seen.get(what) != content:
                raise UserError(
                    f"node {node} does not see {what} as this machine does: all nodes must share it"
                )
        slot.ready = None
        return []

    def _heard(self, slot: Slot) -> list[Report]:
        trial = slot.trial
        assert trial is not None
        try:
            report: Report = self.ray.get(next(slot.reports))
        except (self.ray.exceptions.RayError, StopIteration) as error:
            self._replace(slot)
            told = " ".join(str(error).split())
            return [Report("lost", trial.run_id, f"its worker died ({told})", fault="worker died")]
        if report.kind != "epoch":
            slot.trial = slot.reports = None
        if report.kind in ("failed", "lost") and self.device != "cpu":
            self._replace(slot)  # the process' GPU context may be broken: the next trial gets a new one
        return [report]

    def _replace(self, slot: Slot) -> None:
        self.ray.kill(slot.actor)
        self.slots[self.slots.index(slot)] = self._seat()


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
            raise UserError(f"no node of the cluster has {threads} cores; say --workers if some are to come")
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
