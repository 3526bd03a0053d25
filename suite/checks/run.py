"""Is the folder of one run intact and free of contradiction?

Every byte is hashed. Nothing from a record is executed or unpickled. Nothing here imports torch.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from suite.records.codec import decode, encode
from suite.records.files import DamagedRecord, digest, is_owned, read_bytes, read_json, without_checksum
from suite.records.run import CHECKPOINTS, FILES, NOT_AS_DESCRIBED, WEIGHTS, RunFolder, parse_epochs
from suite.records.schema import DataSizes, EpochLine, Result
from suite.records.trial import PROTOCOL, Trial
from suite.records.weights import KeptNetwork, read_kept

SEVERITY = {
    "note": 0,
    "missing": 1,  # planned, but not there: the sweep is not finished
    "failed": 1,
    "not replayed": 1,
    "differs": 1,  # a replay on another machine, or with other code, gave other bits
    "damaged": 2,  # a file does not hold what was written to it
    "contradictory": 2,  # files that are each intact do not agree
}
FLIPS, TEST_IMAGES, _ = OF_FINAL = ("flips.npz", "test_correct.npy", WEIGHTS)  # only in final runs
ALWAYS = tuple(name for name in FILES if name not in OF_FINAL)  # in every finished run
OTHER_PROTOCOL = "of another protocol"

Kind = TypeVar("Kind")


class Finding(NamedTuple):
    """One remark about the records; `file` is relative to the experiment's folder."""

    kind: str
    file: str
    text: str


@dataclass
class Checked:
    """What a run folder holds.

    status: as in docs/records.md, or `unfinished`, `missing`, `damaged`, or OTHER_PROTOCOL for a run of
    another protocol that this code cannot decode. protocol: that of the trial, decoded or not.
    """

    status: str = "missing"
    protocol: int = PROTOCOL
    trial: Trial | None = None
    result: Result | None = None
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    network: KeptNetwork | None = None
    all_decoded: bool = True

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged or contradictory so far."""
        return not any(SEVERITY[finding.kind] == 2 for finding in self.findings)

    def add(self, kind: str, path: Path, text: str) -> None:
        """Add a finding about a file of the run: runs/<run_id>/<name>."""
        self.findings.append(Finding(kind, f"runs/{path.parent.name}/{path.name}", text))

    def add_undecodable(self, path: Path, problem: str) -> None:
        """Add a file that matches its checksum and yet cannot be decoded.

        That is damage, except under another protocol, whose files may have another shape.
        """
        self.all_decoded = False
        if self.protocol == PROTOCOL:
            self.add("damaged", path, problem)


def protocol_problem(made: object) -> str:
    """Why this code may be unable to decode or repeat a run, or nothing: another protocol made it."""
    return "" if made == PROTOCOL else f"made under protocol {made}, this code has {PROTOCOL}"


def check_run(folder: Path, sizes: DataSizes | None = None) -> Checked:
    """Check everything in the folder of one run; with the sizes of its data also what its scores rest on."""
    checked = Checked()
    if not folder.is_dir():
        return checked
    if is_owned(folder):  # its files are changing
        checked.status = "unfinished"
        return checked
    run = RunFolder(folder)
    present = {path.name: path for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
    checked.files, checked.bytes = len(present), sum(path.lstat().st_size for path in present.values())
    _check_trial(run, checked)
    _decoded(checked, run.path / "environment.json", run.environment)
    checked.result = _decoded(checked, run.path / "result.json", run.result)
    failure = _decoded(checked, run.path / "failure.json", run.failure)
    for name in CHECKPOINTS:
        if name in present:
            try:
                without_checksum(read_bytes(present[name]), present[name])
            except DamagedRecord as error:
                checked.add("damaged", present[name], error.problem)
    for name, path in present.items():
        if name.endswith(".damaged"):
            checked.add("note", path, "was damaged and set aside")
    if checked.result is not None:
        _check_finished(run, checked, checked.result, present, sizes)
    else:
        try:
            run.epochs_so_far()
        except DamagedRecord as error:
            checked.add_undecodable(error.path, error.problem)
    if failure is not None and checked.result is None and checked.sound:
        checked.add("failed", run.path / "failure.json", failure.reason)
    checked.status = _status(checked, failed=failure is not None)
    return checked


def _check_trial(run: RunFolder, checked: Checked) -> None:
    """The trial must be the one that the folder is named after."""
    path = run.path / "trial.json"
    try:
        value = read_json(path)
    except FileNotFoundError:
        return
    except DamagedRecord as error:
        checked.add("damaged", path, error.problem)
        return
    if (found := digest(value)[:16]) != run.path.name:
        checked.add("contradictory", path, f"is the trial of run {found}, not of this one")
    if isinstance(made := value.get("protocol"), int):
        checked.protocol = made
    checked.trial = _decoded(checked, path, lambda: decode(Trial, value, path))


def _decoded(checked: Checked, path: Path, read: Callable[[], Kind]) -> Kind | None:
    """The record that `read` decodes from a sealed file; None if it is absent or damaged."""
    try:
        return read()
    except FileNotFoundError:
        return None
    except DamagedRecord as error:
        if _matches_its_checksum(path):
            checked.add_undecodable(path, error.problem)
        else:
            checked.add("damaged", path, error.problem)
        return None


def _matches_its_checksum(path: Path) -> bool:
    try:
        read_json(path)
    except DamagedRecord:
        return False
    return True


def _status(checked: Checked, *, failed: bool) -> str:
    if not checked.sound:
        return "damaged"
    if not checked.all_decoded:
        return OTHER_PROTOCOL
    if checked.result is not None:
        return checked.result.status
    return "failed" if failed else "unfinished"


# ---- a finished run


def _check_finished(
    run: RunFolder,
    checked: Checked,
    result: Result,
    present: Mapping[str, Path],
    sizes: DataSizes | None,
) -> None:
    """The files against the hashes in result.json; if they match, against each other."""
    content: dict[str, bytes] = {}
    known = {Path(finding.file).name for finding in checked.findings if finding.kind == "damaged"}
    for name in dict.fromkeys((*ALWAYS, *run.expected(result))):
        try:
            content[name] = run.content(name, result)
        except DamagedRecord as error:
            if name not in known:  # one finding for a file that has a checksum of its own as well
                checked.add("damaged", error.path, error.problem)
    for name in present:
        if name in FILES and name not in result.files:
            checked.add("contradictory", present[name], "result.json does not know this file")
    if not checked.sound or checked.trial is None:
        return
    try:
        lines = parse_epochs(content["epochs.jsonl"], run.path / "epochs.jsonl")
    except DamagedRecord as error:
        checked.add_undecodable(error.path, error.problem)
        return
    if WEIGHTS in content:
        _check_network(run, checked, checked.trial, result, content[WEIGHTS])
    try:
        for name, text in _disagreements(checked.trial, result, lines, content, sizes):
            checked.add("contradictory", run.path / name, text)
    except NOT_AS_DESCRIBED as error:
        problem = f"the files are not as docs/records.md says: {type(error).__name__}: {error}"
        checked.add("contradictory", run.path / "result.json", problem)


def _check_network(run: RunFolder, checked: Checked, trial: Trial, result: Result, content: bytes) -> None:
    """The kept network must be that of this run, as far as its file tells."""
    path = run.path / WEIGHTS
    try:
        checked.network = read_kept(content, path)
    except DamagedRecord as error:
        checked.add_undecodable(path, error.problem)
        return
    header = checked.network.header
    kept = (header.trial, header.scores, [(each.name, each.weights) for each in header.layers])
    recorded = (trial, result.scores, [(each.name, each.weights) for each in result.layers])
    for what, one, other in zip(("trial", "scores", "layers"), kept, recorded, strict=True):
        if one != other:
            checked.add("contradictory", path, f"its {what}: not those of the run")
    if trial.stage == "tune":
        checked.add("contradictory", path, "a tuning run keeps no network")


def _disagreements(
    trial: Trial,
    result: Result,
    lines: Sequence[EpochLine],
    content: Mapping[str, bytes],
    sizes: DataSizes | None,
) -> Iterator[tuple[str, str]]:
    """Where intact files of a finished run contradict each other: the file, and what is wrong."""
    yield from _wrong_epochs(trial, result, lines)
    yield from _wrong_probes(trial, result)
    if sizes is not None and result.status == "diverged":
        yield from _better_than_guessing(result, sizes.classes)
    if trial.stage == "tune":
        yield from _seen_test_set(result, content)
        return
    yield from _wrong_flips(_array(content[FLIPS]), result, lines)
    if sizes is not None and result.status == "done":
        yield from _wrong_images(_array(content[TEST_IMAGES]), sizes.test, result.scores.test_top1)


def _better_than_guessing(result: Result, classes: int) -> Iterator[tuple[str, str]]:
    """A run that diverged counts at chance: another score could win its study."""
    chance = {"loss": math.log(classes), "top1": 1 / classes, "top5": min(5, classes) / classes}
    for name, score in encode(result.scores).items():
        if not math.isclose(score, chance[name.partition("_")[2]], rel_tol=1e-6):
            yield "result.json", f"it diverged, and its {name} of {score} is not that of guessing"


def _wrong_images(packed: np.ndarray, images: int, top1: float | None) -> Iterator[tuple[str, str]]:
    if packed.dtype != np.uint8 or packed.shape != (-(-images // 8),):
        yield TEST_IMAGES, f"holds {packed.shape} of {packed.dtype}, not bits of {images} test images"
        return
    right = int(np.unpackbits(packed).sum())
    if right / images != top1:
        yield TEST_IMAGES, f"{right} of {images} test images are right here, but test_top1 is {top1}"


def _wrong_epochs(trial: Trial, result: Result, lines: Sequence[EpochLine]) -> Iterator[tuple[str, str]]:
    if [line.epoch for line in lines] != list(range(1, result.epochs + 1)):
        yield "epochs.jsonl", f"does not hold the {result.epochs} epochs of result.json"
    if result.status != "done":
        return
    if result.epochs != trial.train.epochs:
        yield "result.json", f"has {result.epochs} epochs of the trial's {trial.train.epochs}"
    if not trial.train.reestimate_batch_norm and lines[-1].val_top1 != result.scores.val_top1:
        yield "result.json", "its validation score is not that of the last epoch"


def _wrong_probes(trial: Trial, result: Result) -> Iterator[tuple[str, str]]:
    """A finished run has what each probe of its trial found; one that diverged has nothing."""
    planned = sorted(probe.name for probe in trial.probes) if result.status == "done" else []
    if (found := sorted(result.probes)) != planned:
        yield "result.json", f"has the probes {found}, where its trial has {planned}"


def _wrong_flips(flips: np.ndarray, result: Result, lines: Sequence[EpochLine]) -> Iterator[tuple[str, str]]:
    shape = (result.steps, len(result.layers))
    if flips.shape != shape:
        yield FLIPS, f"its shape is {flips.shape}, not steps and layers {shape}"
        return
    begin = 0
    for line in lines:
        if flips[begin : line.step].sum(0).tolist() != line.flips.flips:
            yield FLIPS, f"its flips of epoch {line.epoch} are not those of epochs.jsonl"
        begin = line.step


def _seen_test_set(result: Result, content: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Signs that a tuning run has used the test set, which must stay out of its reach."""
    if seen := [name for name in encode(result.scores) if name.startswith("test")]:
        yield "result.json", f"a tuning run has seen the test set: {', '.join(seen)}"
    if TEST_IMAGES in content:
        yield TEST_IMAGES, "a tuning run has seen the test set"


def _array(content: bytes) -> np.ndarray:
    """A NumPy file, without running anything: pickled objects are refused with a ValueError."""
    found = np.load(io.BytesIO(content), allow_pickle=False)
    return found["flips"] if isinstance(found, np.lib.npyio.NpzFile) else found
