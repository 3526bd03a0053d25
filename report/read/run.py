"""Reads the folder of one planned run; a file that cannot be trusted makes the run `damaged`."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from report.read.correctness import read_correct
from report.read.curves import Curves, curves_of
from report.read.records import RunRecord
from suite.records.agreement import Contradiction, NamedRun
from suite.records.codec import decode
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord, unsealed
from suite.records.run import NOT_AS_DESCRIBED, RunFolder
from suite.records.schema import Environment, EpochLine, Result

Environments = dict[bytes, Environment]  # by the content of their files: most runs share one


def read_run(
    experiment: ExperimentFolder,
    planned: RunRecord,
    named: NamedRun,
    test_images: int,
    environments: Environments,
) -> RunRecord:
    """A planned run with what its folder holds; `environments` collects each environment once.

    named: the same run, as its ledger names it. The curves and the test images are read of a row's own final
    runs: of the published default where it is all that runs, of another task's winner never.
    """
    folder = experiment.run(planned.run_id)
    try:
        result = folder.result()
        if result is None:
            with contextlib.suppress(FileNotFoundError):  # it has failed before it began, or did not begin
                named.check(folder)
            return without_result(folder, planned)
        named.check(folder)
        return with_result(folder, planned, result, test_images, environments)
    except (DamagedRecord, OSError) as error:
        return damaged(experiment, planned, error)


def read_epochs(experiment: ExperimentFolder, run: RunRecord) -> tuple[RunRecord, list[EpochLine]]:
    """A run with its curves, in every phase, and the lines of its epochs; none of a run without a result."""
    if run.result is None:
        return run, []
    folder = experiment.run(run.run_id)
    try:
        result = folder.result()
        if result is None:
            raise DamagedRecord(folder.path / "result.json", "it was there a moment ago")
        lines = folder.epochs(result)
        return replace(run, curves=read_curves(folder, result, lines, run.phase != "tuning")), lines
    except (DamagedRecord, OSError) as error:
        return damaged(experiment, run, error), []


def damaged(experiment: ExperimentFolder, run: RunRecord, error: DamagedRecord | OSError) -> RunRecord:
    """A run of which nothing is used, and why."""
    if isinstance(error, DamagedRecord):
        reason = f"{error.path.relative_to(experiment.path).as_posix()}: {error.problem}"
    else:  # its own message would show an absolute path
        reason = f"runs/{run.run_id} cannot be read: {error.strerror}"
    return without_record(run, reason)


def without_record(run: RunRecord, reason: str) -> RunRecord:
    """A run that counts as damaged, for this reason."""
    nothing = {"result": None, "environment": None, "curves": None, "correct": b""}
    return replace(run, status="damaged", reason=reason, **nothing)


def without_result(folder: RunFolder, planned: RunRecord) -> RunRecord:
    failure = folder.failure()
    if failure is not None:
        return replace(planned, status="failed", failure=failure.kind, reason=failure.reason)
    reason = "started, not finished" if (folder.path / "trial.json").exists() else "not started"
    return replace(planned, status="missing", reason=reason)


def with_result(
    folder: RunFolder, planned: RunRecord, result: Result, test_images: int, environments: Environments
) -> RunRecord:
    environment = read_environment(folder, result, environments)
    curves, correct = None, b""
    final = planned.phase != "tuning"
    if final and (result.scores.test_top1 is None or result.scores.test_top5 is None):
        raise DamagedRecord(folder.path / "result.json", "a final run without a score on test")
    if final and planned.cell.track == planned.place.track and planned.place.source is None:
        curves = read_curves(folder, result, folder.epochs(result), final)
        if result.status == "done":
            with as_described(folder):
                correct = read_correct(folder, result, test_images)
    return replace(
        planned,
        status=result.status,
        reason="",
        result=replace(result, layers=[], files={}, digest=""),  # the most of its memory, unused from here
        environment=environment,
        curves=curves,
        correct=correct,
    )


def read_curves(folder: RunFolder, result: Result, lines: list[EpochLine], final: bool) -> Curves:
    """The curves of a finished run; of a final one with its flips of each step."""
    with as_described(folder):
        return curves_of(lines, result, folder.flips(result)[:, -1] if final else None)


@contextlib.contextmanager
def as_described(folder: RunFolder) -> Iterator[None]:
    """Turns what arrays and counts of another shape raise into a Contradiction."""
    try:
        yield
    except DamagedRecord:
        raise
    except NOT_AS_DESCRIBED as error:
        problem = f"the files are not as docs/records.md says: {type(error).__name__}: {error}"
        raise Contradiction(folder.path / "result.json", problem) from None


def read_environment(folder: RunFolder, result: Result, environments: Environments) -> Environment:
    """Where the run was made; DamagedRecord unless the file is the one that the result was written with."""
    content, path = folder.content("environment.json", result), folder.path / "environment.json"
    if content not in environments:
        environments[content] = decode(Environment, unsealed(content, path), path)
    return environments[content]
