"""Reads and checks the folder of one run; anything that cannot be trusted raises `DamagedRecord`."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from suite import records

Value = TypeVar("Value")
RESULT_KEYS = (
    "epochs",
    "steps",
    "layers",
    "binary_weights",
    "bytes_per_binary_weight",
    "seconds",
    "step_milliseconds",
    "peak_memory_bytes",
    "scores",
)
EPOCH_KEYS = ("epoch", "step", "train_loss", "train_top1", "val_loss", "val_top1", "flips")
FLIP_KEYS = ("flips", "undone_1", "undone_2", "undone_5", "undone_10", "never", "distance")


class DamagedRecord(records.DamagedRecord):
    """A record that exists and cannot be trusted; the message names the file and what is wrong with it."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def read_run_folder(folder: Path, final: bool) -> tuple[str, str, dict[str, Any]]:
    """Status, reason and content of one run. Raises DamagedRecord."""
    if (folder / "result.json").exists():
        result = checked_result(folder / "result.json", final)
        content: dict[str, Any] = {"result": result, "environment": read_json(folder / "environment.json")}
        if final:
            content["epochs"] = read_epochs(folder / "epochs.jsonl", result)
            content["last_layer_flips"] = read_last_layer(folder / "flips.npz", len(result["layers"]))
        return result["status"], "", content
    if (folder / "failure.json").exists():
        failure = read_json(folder / "failure.json")
        told = str(failure.get("traceback") or failure.get("error") or "no reason given")
        return "failed", told.strip().splitlines()[-1], {}
    return "missing", "started, not finished" if folder.exists() else "not started", {}


def checked_result(path: Path, final: bool) -> dict[str, Any]:
    """A result whose every number that the report uses is there, finite and in its range."""
    result = read_json(path)
    if result.get("status") not in ("done", "diverged"):
        raise DamagedRecord(path, f"status {result.get('status')!r} is neither 'done' nor 'diverged'")
    need(path, result, *RESULT_KEYS)
    for name in ("val_top1", "test_top1") if final else ("val_top1",):
        score = result["scores"].get(name)
        if not isinstance(score, int | float) or not 0 <= score <= 1:
            raise DamagedRecord(path, f"{name} is {score!r}, not a fraction")
    return result


def read_epochs(path: Path, result: dict[str, Any]) -> list[dict[str, Any]]:
    lines = guarded(path, lambda: path.read_text(encoding="utf-8").splitlines())
    epochs = [guarded(path, lambda line=line: json.loads(line)) for line in lines]
    for epoch in epochs:
        need(path, epoch, *EPOCH_KEYS)
        need(path, epoch["flips"], *FLIP_KEYS)
    if [epoch["epoch"] for epoch in epochs] != list(range(1, result["epochs"] + 1)):
        raise DamagedRecord(path, f"does not hold the epochs 1 … {result['epochs']} one after the other")
    if any(len(epoch["flips"][key]) != len(result["layers"]) for epoch in epochs for key in FLIP_KEYS):
        raise DamagedRecord(path, f"does not count flips for {len(result['layers'])} layers")
    return epochs


def read_last_layer(path: Path, layers: int) -> np.ndarray:
    # From memory, because numpy leaves a file open that turns out to be no archive.
    flips = guarded(path, lambda: np.load(io.BytesIO(path.read_bytes()))["flips"])
    if flips.ndim != 2 or flips.shape[1] != layers:
        raise DamagedRecord(path, f"flips has shape {flips.shape}, not (steps, {layers})")
    return flips[:, -1]


def read_json(path: Path) -> dict[str, Any]:
    value = guarded(path, lambda: json.loads(path.read_text(encoding="utf-8")))
    if not isinstance(value, dict):
        raise DamagedRecord(path, f"holds a {type(value).__name__}, not an object")
    return value


def need(path: Path, value: Any, *keys: str) -> None:
    """Raises DamagedRecord unless `value` is an object with these keys."""
    absent = [key for key in keys if key not in value] if isinstance(value, dict) else list(keys)
    if absent:
        raise DamagedRecord(path, f"has no {', '.join(absent)}")


def guarded(path: Path, read: Callable[[], Value]) -> Value:
    """Whatever a broken file makes a reader raise, as one error that names the file."""
    try:
        return read()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, FileNotFoundError):
            raise DamagedRecord(path, "does not exist") from error
        # The text of an OSError repeats the absolute path; its strerror does not.
        raise DamagedRecord(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
