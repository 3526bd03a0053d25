"""Where a run is made: code, versions and machine, for its record."""

import dataclasses
import functools
import hashlib
import inspect
import json
import platform
import socket
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from optimizers import METHODS
from optimizers.core import Method
from suite.machine.environment import device_name
from suite.machine.repository import git_state
from suite.records.codec import decode, encode
from suite.records.run import CHECKPOINTS
from suite.records.schema import Environment, GitState, MethodFile
from suite.records.trial import Part

# What computes, and what decodes images.
PACKAGES = ("torch", "torchvision", "numpy", "optuna", "pillow", "simplejpeg")


def environment(
    device: torch.device, method: Method, processes: int = 1, own: Mapping[Part, Path] | None = None
) -> Environment:
    """The content of environment.json.

    processes: those that train the run together. own: the files of a model and a data set from outside the
    catalogue.
    """
    files: dict[Part, MethodFile] = {part: _named(path) for part, path in (own or {}).items()}
    commit, dirty = git_state()
    return Environment(
        git=GitState(commit=commit, dirty=dirty),
        versions=dict(versions()),
        method_file=method_file(method),
        device=device.type,
        device_name=device_name(device),
        threads=torch.get_num_threads(),
        host=socket.gethostname(),
        platform=platform.platform(),
        processes=processes,
        model_file=files.get("model"),
        data_file=files.get("data"),
    )


@functools.cache
def versions() -> Mapping[str, str]:
    """Python and the packages by version; this process keeps what it has imported."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def method_file(method: Method) -> MethodFile:
    """The file that defines a method, by name and content, as it was when this process imported it."""
    file = Path(inspect.getfile(method.rule))
    return IMPORTED.get(file) or _named(file)


def _named(file: Path) -> MethodFile:
    return MethodFile(name=file.name, sha256=hashlib.sha256(file.read_bytes()).hexdigest())


# Of the catalogue's files, read now: a worker is forked from a process that has imported this module, and a
# file that is edited during a sweep does not change the code that runs.
IMPORTED = {file: _named(file) for file in {Path(inspect.getfile(each.rule)) for each in METHODS.values()}}


def merge_environments(before: Environment, here: Environment) -> Environment:
    """The environment of a resumed run: this one, and the earlier ones if they were others."""
    earlier = before.earlier
    before = dataclasses.replace(before, earlier=[])
    if before != here:
        earlier = [*earlier, before]
    return dataclasses.replace(here, earlier=earlier)


def pack(environment: Environment) -> str:
    """An environment as a checkpoint holds it."""
    return json.dumps(encode(environment))


def unpack(text: str) -> Environment:
    """The environment in a checkpoint; DamagedRecord if it is none."""
    return decode(Environment, json.loads(text), Path(CHECKPOINTS[0]))
