"""Train a recorded trial again, elsewhere, and compare bit for bit. Nothing from a record is executed."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optimizers import METHODS, PLUGINS
from suite.checks.run import Finding
from suite.experiment.trial import Trial
from suite.machine.environment import choose_device, use_device
from suite.records.files import PROTOCOL, read_json
from suite.records.run import RunFolder
from suite.training.loop import train

OnEpoch = Callable[[dict[str, Any]], None]
MADE_WITH = ("versions", "device", "device_name", "threads", "platform", "method_file", "git")
MEASURED = ("digest", "files", "seconds", "step_milliseconds", "peak_memory_bytes")


def replay(folder: Path, on_epoch: OnEpoch = lambda line: None) -> Finding | None:
    """Repeat the finished run in `folder`: None if every bit is the same, else what is not.

    It trains on the recorded type of device with the recorded number of threads, in a temporary folder.
    """
    file = f"runs/{folder.name}"
    recorded = RunFolder(folder)
    try:
        spec, made_in = read_json(folder / "trial.json"), recorded.environment()
        if told := not_possible(spec):
            return Finding("not replayed", file, told)
        device = choose_device(made_in["device"])
        use_device(device, made_in["threads"])
        trial = Trial(**{name: value for name, value in spec.items() if name != "protocol"})
        with tempfile.TemporaryDirectory(prefix="flipbench-replay-") as temporary:
            again = RunFolder(Path(temporary) / folder.name)
            train(trial, again, device, on_epoch=on_epoch)
            return _verdict(file, recorded, again)
    except Exception as error:  # a method is a user's code: one bad run never stops the others
        return Finding("not replayed", file, f"{type(error).__name__}: {error}")


def not_possible(trial: Mapping[str, Any]) -> str:
    """Why this code cannot repeat a trial, or nothing."""
    method, source = trial["method"], trial.get("plugin")
    if trial["protocol"] != PROTOCOL:
        return f"made under protocol {trial['protocol']}, this code has {PROTOCOL}: it would be another run"
    if method not in METHODS:
        return f"there is no method {method!r} here; if it is one of your own, name its file with --plugin"
    here = PLUGINS[method].source if method in PLUGINS else None
    if source != here:
        return (
            f"the method {method!r} was made from a plugin with hash {source}, the one here has {here}: it "
            "would be another run"
        )
    return ""


def _verdict(file: str, recorded: RunFolder, again: RunFolder) -> Finding | None:
    before, now = recorded.result(), again.result()
    assert before is not None and now is not None
    if before["digest"] == now["digest"]:
        return None
    what = "; ".join(different_results(recorded, before, again, now)) or "only the final weights differ"
    where = "; ".join(different_environments(recorded.environment(), again.environment()))
    if where:
        return Finding("differs", file, f"{what}. It was made elsewhere or by other code: {where}")
    told = f"{what}. The machine, the versions and the code are the same"
    return Finding("contradictory", file, told)


def different_results(
    recorded: RunFolder, before: dict[str, Any], again: RunFolder, now: dict[str, Any]
) -> Iterator[str]:
    """What two results of one trial do not share, the earliest sign of it first."""
    flips = [run.flips(result) for run, result in ((recorded, before), (again, now))]
    steps = min(len(each) for each in flips)
    if flips[0].shape[1:] == flips[1].shape[1:] and (flips[0][:steps] != flips[1][:steps]).any():
        step, layer = np.argwhere(flips[0][:steps] != flips[1][:steps])[0].tolist()
        yield f"flips differ from step {step + 1} on (layer {now['layers'][layer]['name']})"
    lines = (recorded.epochs(before), again.epochs(now))
    for old, new in zip(*lines, strict=False):
        keys = [key for key in new if "seconds" not in key and old.get(key) != new[key]]
        if keys:
            yield f"epochs differ from epoch {new['epoch']} on ({', '.join(keys)})"
            break
    keys = [key for key in now if key not in MEASURED and before.get(key) != now[key]]
    for key in keys:
        yield f"{key}: {before.get(key)} recorded, {now[key]} now"


def different_environments(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What two environments do not share, of all that may change bits; nothing if they are the same."""
    for key in MADE_WITH:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            for name in sorted(old.keys() | new.keys()):
                if old.get(name) != new.get(name):
                    yield f"{key}.{name} {old.get(name)} then, {new.get(name)} now"
        elif old != new:
            yield f"{key} {old} then, {new} now"
    if before["git"]["dirty"]:
        yield "the code had changes that no commit holds"
    if earlier := before.get("earlier"):
        yield f"it was interrupted and went on in another environment, {len(earlier)} times"
