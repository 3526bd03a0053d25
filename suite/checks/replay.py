"""Train a recorded trial again and compare bit for bit. Nothing from a record is executed."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from suite.checks.run import Finding, protocol_problem
from suite.data import load_splits
from suite.machine.apart import apart
from suite.machine.environment import choose_device, use_device
from suite.machine.errors import described
from suite.plugins import load_plugin, not_here
from suite.records.agreement import NAMED, differences
from suite.records.codec import encode
from suite.records.experiment import ExperimentFolder
from suite.records.files import read_json
from suite.records.run import RunFolder
from suite.records.schema import Environment, Result
from suite.training.loop import train

# The parts of an environment that may change bits.
MADE_WITH = (
    "versions",
    "device",
    "device_name",
    "threads",
    "processes",
    "platform",
    "method_file",
    "model_file",
    "data_file",
    "git",
)


def replay(folder: Path, plugins: Mapping[str, Path]) -> Finding | None:
    """Repeat the finished run in `folder`: None if every bit is the same, else the difference.

    It trains on the recorded type of device with the recorded number of threads, in a temporary folder; a run
    of plugins in a process of its own. `plugins` are their files, by the hash of their content.
    """
    file = f"runs/{folder.name}"
    try:
        sources = _sources(read_json(folder / "trial.json"))
        if unknown := [source for source in sources if plugins and source not in plugins]:
            problem = f"made from a plugin with hash {unknown[0]}; those named here have {', '.join(plugins)}"
            return Finding("not replayed", file, f"{problem}: it would be another run")
        if sources and plugins:
            files = [plugins[source] for source in sources]
            return apart(files, _replay_with, folder, files)
    except Exception as error:  # its trial is damaged, or the plugin has ended its process
        return Finding("not replayed", file, described(error))
    return _replay_here(folder)


def _sources(trial: Mapping[str, Any]) -> list[Any]:
    """The hashes of the plugins that a trial of any protocol was made with, each once."""
    parts = trial.get("plugins", {})
    return [source for source in dict.fromkeys([trial.get("plugin"), *parts.values()]) if source is not None]


def _replay_with(folder: Path, files: Sequence[Path]) -> Finding | None:
    for path in files:
        load_plugin(path)
    return _replay_here(folder)


def _replay_here(folder: Path) -> Finding | None:
    file = f"runs/{folder.name}"
    recorded = RunFolder(folder)
    try:
        made = read_json(folder / "trial.json").get("protocol")
        if problem := protocol_problem(made):
            return Finding("not replayed", file, f"{problem}: it would be another run")
        trial, made_in = recorded.trial(), recorded.environment()
        if problem := not_here(trial, "method", "model", "data"):
            return Finding("not replayed", file, problem)
        records = ExperimentFolder(folder.parent.parent)
        if path := records.other_images(trial, load_splits(trial.data).record):
            return Finding("not replayed", file, f"the images of {path.stem} have changed since it was made")
        device = choose_device(made_in.device)
        use_device(device, made_in.threads)
        with tempfile.TemporaryDirectory(prefix="flipbench-replay-") as temporary:
            again = RunFolder(Path(temporary) / folder.name)
            train(trial, again, device)
            return _verdict(file, recorded, again)
    except Exception as error:  # a method is a user's code: one bad run never stops the others
        return Finding("not replayed", file, described(error))


def _verdict(file: str, recorded: RunFolder, again: RunFolder) -> Finding | None:
    before, now = recorded.result(), again.result()
    assert before is not None and now is not None
    if before.digest == now.digest:
        return None
    results = "; ".join(different_results(recorded, before, again, now)) or "only the final weights differ"
    environments = "; ".join(different_environments(recorded.environment(), again.environment()))
    if environments:
        text = f"{results}. It was made elsewhere or by other code: {environments}"
        return Finding("differs", file, text)
    text = f"{results}. The machine, the versions and the code are the same"
    return Finding("contradictory", file, text)


def different_results(recorded: RunFolder, before: Result, again: RunFolder, now: Result) -> Iterator[str]:
    """The differences between two results of one trial, the earliest sign of them first."""
    if recorded.trial().stage == "final":  # tuning runs do not keep the steps
        old, new = recorded.flips(before), again.flips(now)
        steps = min(len(old), len(new))
        if old.shape[1:] == new.shape[1:] and (old[:steps] != new[:steps]).any():
            step, layer = np.argwhere(old[:steps] != new[:steps])[0].tolist()
            yield f"flips differ from step {step + 1} on (layer {now.layers[layer].name})"
    for one, other in zip(recorded.epochs(before), again.epochs(now), strict=False):
        if keys := _differing(one.without_times(), other.without_times()):
            yield f"epochs differ from epoch {other.epoch} on ({', '.join(keys)})"
            break
    found = differences(now.deterministic(), before.deterministic())
    found.sort(key=lambda each: ("top1" not in each[0], each[0].startswith("probes.")))  # what people ask for
    for name, then, today in found[:NAMED]:
        yield f"{name}: {then} recorded, {today} now"
    if len(found) > NAMED:
        yield f"{len(found) - NAMED} more of the result"


def different_environments(before: Environment, now: Environment) -> Iterator[str]:
    """The differences between two environments that may change bits."""
    one, other = encode(before), encode(now)
    for key in MADE_WITH:
        old, new = one.get(key), other.get(key)
        if isinstance(old, dict):
            for name in sorted(_differing(old, new)):
                yield f"{key}.{name} {old.get(name)} then, {new.get(name)} now"
        elif old != new:
            yield f"{key} {old} then, {new} now"
    if before.git.dirty:
        yield "the code had changes that no commit holds"
    if before.earlier:
        yield f"it was interrupted and resumed in another environment, {len(before.earlier)} times"


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The keys of two records whose values differ, in the order of the records."""
    return [key for key in {**other, **one} if one.get(key) != other.get(key)]
