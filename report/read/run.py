"""Reads the folder of one run for the report; anything that cannot be trusted raises `DamagedRecord`."""

from pathlib import Path
from typing import Any

from report.read.curves import curves_of
from suite.records.experiment import failure_reason
from suite.records.files import unsealed
from suite.records.run import RunFolder

UNUSED = ("files", "layers", "digest")  # of a result, once it is read: the most of its memory


def read_run_folder(folder: Path, final: bool) -> dict[str, Any]:
    """What a `Run` says of its folder. Raises DamagedRecord; OSError for what cannot be read."""
    run = RunFolder(folder)
    result = run.result()
    if result is not None:
        content: dict[str, Any] = {"status": result["status"], "environment": read_environment(run, result)}
        if final:
            content["curves"] = curves_of(run.epochs(result), result, run.flips(result)[:, -1])
        content["result"] = {name: value for name, value in result.items() if name not in UNUSED}
        return content
    failure = run.failure()
    if failure is not None:
        return {"status": "failed", "failure": failure["kind"], "reason": failure_reason(failure)}
    return {"status": "missing", "reason": "started, not finished" if folder.exists() else "not started"}


def read_environment(run: RunFolder, result: dict[str, Any]) -> dict[str, Any]:
    """Where the run was made, if the result vouches for it."""
    return unsealed(run.content("environment.json", result), run.path / "environment.json")
