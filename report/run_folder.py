"""Reads the folder of one run for the report; anything that cannot be trusted raises `DamagedRecord`."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from suite.records import DamagedRecord, RunFolder


def read_run_folder(folder: Path, final: bool) -> tuple[str, str, dict[str, Any]]:
    """Status, reason and content of one run. Raises DamagedRecord; OSError for what cannot be read."""
    run = RunFolder(folder)
    result = run.result()
    if result is not None:
        content: dict[str, Any] = {"result": result, "environment": read_environment(run)}
        if final:
            content["epochs"] = run.epochs(result)
            content["last_layer_flips"] = read_last_layer(run, result)
        return result["status"], "", content
    failure = run.failure()
    if failure is not None:
        where = f" {failure['where']}" if failure["where"] else ""
        return "failed", f"{failure['kind']}{where}: {failure['error']}", {}
    return "missing", "started, not finished" if folder.exists() else "not started", {}


def read_environment(run: RunFolder) -> dict[str, Any]:
    try:
        return run.environment()
    except FileNotFoundError:
        raise DamagedRecord(run.path / "environment.json", "it does not exist") from None


def read_last_layer(run: RunFolder, result: dict[str, Any]) -> np.ndarray:
    """The flips of the last binary layer, int32 (steps,)."""
    return np.load(io.BytesIO(run.content("flips.npz", result)))["flips"][:, -1]
