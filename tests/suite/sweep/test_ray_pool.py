"""Trials on a Ray cluster of two nodes on the loopback interface: the same records as on one machine."""

import importlib.util
import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from optimizers import METHODS
from suite.machine.errors import UserError
from suite.plugins import PLUGINS
from suite.records.trial import Trial
from suite.sweep import ray_pool
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.messages import Done, EpochDone, Lost
from suite.sweep.pool import LocalPool, Machine
from suite.sweep.ray_pool import RayPool, Slot, sight, slots_of
from tests.support.tiny import digests, tiny_plan, tiny_trial

with_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed: .[cluster]")

FEW = ("tuning={trials: 1}", "seeds=1")
NODE: dict[str, Any] = dict(
    num_cpus=1, object_store_memory=80 * 2**20, node_ip_address="127.0.0.1", include_dashboard=False
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # without it Ray leaves the loopback interface
        patch.setenv("RAY_worker_niceness", "0")  # nice 15 by default: beside other tests they hardly start
        from ray.cluster_utils import Cluster

        nodes = Cluster(initialize_head=True, head_node_args=NODE)
        nodes.add_node(**NODE)
        patch.setenv("RAY_ADDRESS", str(nodes.address))
        yield
        nodes.shutdown()


PLUGIN = '''
"""Bop, but the first process that trains with it is killed in its fourth step."""
import os
import signal
from pathlib import Path
from optimizers.bop import Bop
from optimizers.core import WeightRule, log, method, sign

def as_it_is(weight):
    return weight

class Mortal(Bop):
    steps = 0
    def step(self, closure=None):
        self.steps += 1
        killed = Path(__file__).with_name("killed")
        if self.steps == 4 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(closure)

@method(paper="https://example.org", gamma=log(1e-3, 1e-5, 1e-1))
def mortal(gamma) -> WeightRule:
    """Dies once."""
    return WeightRule(sign, as_it_is, lambda params: Mortal(params, gamma, 1e-6))
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    yield
    METHODS.pop("mortal", None)
    PLUGINS.pop(("method", "mortal"), None)


@with_ray
@pytest.mark.usefixtures("cluster", "plugin")
def test_a_cluster_leaves_the_same_records_though_a_worker_is_killed(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, "plugins=[plugin.py]", "methods=[mortal]", *FEW)
    kinds: list[type] = []
    for name in ("cluster", "local"):
        prepare_folder(plan, tmp_path / name, {})
    with RayPool(tmp_path / "cluster", plugins=plan.plugins) as pool:
        assert str(pool) == "2 Ray workers on cpu"
        sweep = Sweep(plan, tmp_path / "cluster", pool, on_message=lambda each, *_: kinds.append(type(each)))
        assert sweep.run()
    assert (tmp_path / "killed").exists() and kinds.count(Lost) == 1
    runs = len(digests(tmp_path / "cluster" / "runs"))  # a winner may be the published default
    assert kinds.count(Done) == runs >= 2 and kinds.count(EpochDone) >= runs * 3
    with LocalPool(Machine(("cpu", "cpu")), plan.plugins) as pool:
        assert Sweep(plan, tmp_path / "local", pool).run()
    assert digests(tmp_path / "cluster" / "runs") == digests(tmp_path / "local" / "runs")


@with_ray
@pytest.mark.usefixtures("cluster")
def test_a_node_that_does_not_share_the_results_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny_plan(tmp_path)
    prepare_folder(plan, tmp_path / "results", {})
    real = sight

    # This machine sees one thing, the nodes another: as if their folder of that name were theirs alone.
    def another_folder(probe: Path, plugins: list[str]) -> dict[str, str]:
        seen = real(probe, plugins)
        probe.write_text("another")
        return seen

    monkeypatch.setattr(ray_pool, "sight", another_folder)
    with (
        pytest.raises(UserError, match=rf"node \S+ does not see the results \({tmp_path}/results\) as this"),
        RayPool(tmp_path / "results", workers=1) as pool,
    ):
        Sweep(plan, tmp_path / "results", pool).run()


class PretendActor:
    """Takes note of the plugins of each trial that it is given."""

    def __init__(self) -> None:
        self.plugins: list[list[str]] = []
        self.run = SimpleNamespace(remote=lambda folder, trial, files: self.plugins.append([*files.values()]))


def test_an_actor_that_has_imported_plugins_trains_the_trials_of_just_these(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = object.__new__(RayPool)
    pool.plugins, pool.slots = {"1": "one.py", "2": "two.py"}, [Slot(PretendActor(), ready=None)]
    renewed: list[PretendActor] = []

    def renew(slot: Slot) -> None:
        renewed.append(slot.actor)
        slot.actor, slot.files = PretendActor(), {}

    monkeypatch.setattr(pool, "_renew", renew)
    plain = tiny_trial(tmp_path)
    (slot,) = pool.slots
    one, both = replace(plain, plugin="1"), replace(plain, plugin="1", plugins={"model": "2", "data": "1"})
    for trial in (plain, one, one, both, replace(plain, plugins={"data": "2"}), plain, plain):
        pool.submit(tmp_path, trial)
        slot.trial = None
    assert [actor.plugins for actor in (*renewed, slot.actor)] == [
        [[], ["one.py"], ["one.py"]],
        [["one.py", "two.py"]],
        [["two.py"]],
        [[], []],
    ]


def test_what_a_machine_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe, plugin = tmp_path / "probe", tmp_path / "plugin.py"
    monkeypatch.setenv("FLIPBENCH_DATA", str(tmp_path / "data"))
    views = [sight(probe, [str(plugin)])]
    for path in (probe, plugin, tmp_path / "data" / "cifar-10-batches-py"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("content")
        views.append(sight(probe, [str(plugin)]))
    changed = [
        {what for what in views[0] if one[what] != two[what]} for one, two in itertools.pairwise(views)
    ]
    assert changed == [
        {f"the results ({tmp_path})"},
        {f"the plugin {plugin}"},
        {f"the data ({tmp_path}/data)"},
    ]
    assert [list(view.values()).count("") for view in views] == [2, 1, 0, 0]


NODES = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}, {"memory": 1e9}]


@pytest.mark.parametrize(
    ("nodes", "asked", "slots"),
    [
        (NODES, ("auto", None, 1), ("cuda", 2, 1.0)),
        (NODES, ("auto", 2, 1), ("cuda", 2, 1.0)),
        (NODES, ("cuda", 5, 1), ("cuda", 5, 1 / 3)),  # three on one GPU, two on the other
        (NODES, ("cpu", None, 1), ("cpu", 12, 0.0)),
        (NODES, ("cpu", None, 3), ("cpu", 3, 0.0)),  # two on the first node, one on the second
        (NODES[1:], ("auto", None, 1), ("cpu", 4, 0.0)),
        ([], ("cpu", 7, 1), ("cpu", 7, 0.0)),  # they wait for nodes to come
    ],
)
def test_slots(nodes: list[dict[str, float]], asked: tuple, slots: tuple) -> None:
    assert slots_of(nodes, *asked) == slots


@pytest.mark.parametrize(
    ("device", "words"), [("cuda", "has a GPU"), ("cuda:0", "choices are"), ("auto", "has 9 cores")]
)
def test_a_cluster_that_has_not_what_was_asked_for(device: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        slots_of(NODES[1:], device, None, 9)


def test_without_ray_the_engine_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[cluster\]'"):
        RayPool(tmp_path)


def test_a_seat_tells_the_end_of_a_run_that_no_message_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(folder: Path, trial: Trial, *others: Any) -> None:
        others[2](EpochDone(trial.run_id, 1))
        raise SystemExit(3)

    monkeypatch.setattr(ray_pool, "run_once", leave)
    seat = ray_pool.Seat({}, 1, 60.0)
    seat.device = torch.device("cpu")
    messages = seat.run(tmp_path, tiny_trial(tmp_path), {})
    assert isinstance(next(messages), EpochDone)
    with pytest.raises(SystemExit):
        next(messages)
