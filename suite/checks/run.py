"""Is the folder of one run what it says it is? Every byte is hashed; nothing is executed or unpickled."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from suite.records.experiment import failure_reason
from suite.records.files import DamagedRecord, digest, is_owned, read_json
from suite.records.run import RunFolder

SEVERITY = {
    "note": 0,
    "missing": 1,  # planned, and not there: the sweep has not come so far
    "failed": 1,
    "not replayed": 1,
    "differs": 1,  # a replay on another machine, or with another code, gave other bits
    "damaged": 2,  # a file does not hold what was written to it
    "contradictory": 2,  # files that are each intact do not agree
}
ALWAYS = ("trial.json", "environment.json", "epochs.jsonl", "flips.npz")  # the files of every finished run


class Finding(NamedTuple):
    """One thing to say about the records; `file` is relative to the experiment's folder."""

    kind: str
    file: str
    text: str


@dataclass
class Checked:
    """What a run folder holds. `status` as in results/README.md, or `unfinished`, `missing`, `damaged`."""

    status: str = "missing"
    trial: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    bytes: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged or contradictory so far."""
        return not any(SEVERITY[finding.kind] == 2 for finding in self.findings)

    def say(self, kind: str, path: Path, text: str) -> None:
        """Note something about a file of the run: runs/<run_id>/<name>."""
        self.findings.append(Finding(kind, f"runs/{path.parent.name}/{path.name}", text))


def check_run(folder: Path, test_images: int | None = None) -> Checked:
    """Check all there is in the folder of one run; with the size of the test set also the test score."""
    checked = Checked()
    if not folder.is_dir():
        return checked
    if is_owned(folder):  # its files are changing
        checked.status = "unfinished"
        return checked
    run = RunFolder(folder)
    present = {path.name: path for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
    checked.files, checked.bytes = len(present), sum(path.stat().st_size for path in present.values())
    sealed = dict(_sealed(run, present, checked))
    checked.trial, checked.result = sealed.get("trial.json"), sealed.get("result.json")
    if checked.trial is not None and (found := digest(checked.trial)[:16]) != folder.name:
        checked.say("contradictory", present["trial.json"], f"is the trial of run {found}, not of this one")
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        if name in present and not _whole_checkpoint(present[name]):
            checked.say("damaged", present[name], "its content does not match its checksum")
    for name, path in present.items():
        if name.endswith(".damaged"):
            checked.say("note", path, "was damaged and set aside")
    if checked.result is not None:
        _check_finished(run, checked, present, test_images)
    checked.status = _status(checked, sealed, folder)
    return checked


def _sealed(
    run: RunFolder, present: Mapping[str, Path], checked: Checked
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON files of the folder that are what was written."""
    readers: dict[str, Callable[[], dict[str, Any] | None]] = {
        "trial.json": lambda: read_json(run.path / "trial.json"),
        "environment.json": run.environment,
        "result.json": run.result,
        "failure.json": run.failure,
    }
    for name, read in readers.items():
        if name in present:
            try:
                if (value := read()) is not None:
                    yield name, value
            except DamagedRecord as error:
                checked.say("damaged", present[name], error.problem)


def _whole_checkpoint(path: Path) -> bool:
    content = path.read_bytes()
    return hashlib.sha256(content[32:]).digest() == content[:32]


def _status(checked: Checked, sealed: Mapping[str, Any], folder: Path) -> str:
    if not checked.sound:
        return "damaged"
    if checked.result is not None:
        return checked.result["status"]
    if failure := sealed.get("failure.json"):
        checked.say("failed", folder / "failure.json", failure_reason(failure))
        return "failed"
    return "unfinished"


def _check_finished(
    run: RunFolder, checked: Checked, present: Mapping[str, Path], test_images: int | None
) -> None:
    """The files against the hashes in result.json; if they match, against each other."""
    result = checked.result
    assert result is not None
    vouched = result.get("files", {})
    content: dict[str, bytes] = {}
    told = {Path(finding.file).name for finding in checked.findings if finding.kind == "damaged"}
    for name in (*ALWAYS, *(name for name in vouched if name not in ALWAYS)):
        try:
            content[name] = run.content(name, {"files": vouched})
        except DamagedRecord as error:
            if name not in told:  # not by its own seal as well
                checked.say("damaged", error.path, error.problem)
    for name in present:
        if name in RunFolder.VOUCHED and name not in vouched:
            checked.say("contradictory", present[name], "result.json does not know this file")
    if not checked.sound or checked.trial is None:
        return
    try:
        for name, text in _disagreements(checked.trial, result, content, test_images):
            checked.say("contradictory", run.path / name, text)
    except (ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        what = f"the files are not as results/README.md says: {type(error).__name__}: {error}"
        checked.say("contradictory", run.path / "result.json", what)


def _disagreements(
    trial: Mapping[str, Any],
    result: Mapping[str, Any],
    content: Mapping[str, bytes],
    test_images: int | None,
) -> Iterator[tuple[str, str]]:
    """Where intact files of a finished run tell different stories: the file, and what is wrong."""
    scores, final, done = result["scores"], trial["stage"] == "final", result["status"] == "done"
    if result["status"] not in ("done", "diverged"):
        yield "result.json", f"its status is {result['status']!r}"
    lines = [json.loads(line) for line in content["epochs.jsonl"].splitlines()]
    if [line["epoch"] for line in lines] != list(range(1, result["epochs"] + 1)):
        yield "epochs.jsonl", f"does not hold the {result['epochs']} epochs of result.json"
    if done and result["epochs"] != trial["train"]["epochs"]:
        yield "result.json", f"has {result['epochs']} epochs of the trial's {trial['train']['epochs']}"
    if done and not trial["train"]["reestimate_batch_norm"] and lines[-1]["val_top1"] != scores["val_top1"]:
        yield "result.json", "its validation score is not that of the last epoch"
    yield from _wrong_flips(_array(content["flips.npz"]), result, lines)
    if not final and (seen := [name for name in scores if name.startswith("test")]):
        yield "result.json", f"a tuning run has seen the test set: {', '.join(seen)}"
    if not final and "test_correct.npy" in content:
        yield "test_correct.npy", "a tuning run has seen the test set"
    if final and done:
        right = np.unpackbits(_array(content["test_correct.npy"]))
        if test_images and int(right.sum()) / test_images != scores["test_top1"]:
            told = f"{right.sum()} of {test_images} test images are right here"
            yield "test_correct.npy", f"{told}, but test_top1 is {scores['test_top1']}"


def _wrong_flips(
    flips: np.ndarray, result: Mapping[str, Any], lines: list[dict[str, Any]]
) -> Iterator[tuple[str, str]]:
    shape = (result["steps"], len(result["layers"]))
    if flips.shape != shape:
        yield "flips.npz", f"its shape is {flips.shape}, not steps and layers {shape}"
        return
    begin = 0
    for line in lines:
        if flips[begin : line["step"]].sum(0).tolist() != line["flips"]["flips"]:
            yield "flips.npz", f"its flips of epoch {line['epoch']} are not those of epochs.jsonl"
        begin = line["step"]


def _array(content: bytes) -> np.ndarray:
    """A NumPy file without running anything: pickled objects are refused with a ValueError."""
    found = np.load(io.BytesIO(content), allow_pickle=False)
    return found["flips"] if isinstance(found, np.lib.npyio.NpzFile) else found
