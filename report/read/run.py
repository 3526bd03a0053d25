"""Reads the folder of one planned run; a file that cannot be trusted makes the run `damaged`."""

import contextlib
from dataclasses import replace

from report.read.correctness import read_correct
from report.read.curves import curves_of
from report.read.records import RunRecord
from suite.records.agreement import Contradiction, NamedRun
from suite.records.codec import decode
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord, unsealed
from suite.records.run import NOT_AS_DESCRIBED, RunFolder
from suite.records.schema import Environment, Result

Environments = dict[bytes, Environment]  # by the content of their files: most runs share one


def read_run(
    experiment: ExperimentFolder,
    planned: RunRecord,
    named: NamedRun,
    test_images: int,
    environments: Environments,
) -> RunRecord:
    """A planned run with what its folder holds; `environments` collects each environment once.

    named: the same run, as its ledger names it. The curves and the test images of the published default are
    read only where it is all that runs.
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
    except DamagedRecord as damaged:
        file = damaged.path.relative_to(experiment.path).as_posix()
        return replace(planned, status="damaged", reason=f"{file}: {damaged.problem}")
    except OSError as error:  # its own message would show an absolute path
        reason = f"runs/{planned.run_id} cannot be read: {error.strerror}"
        return replace(planned, status="damaged", reason=reason)


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
    if final and planned.cell.track == planned.place.track:
        try:
            curves = curves_of(folder.epochs(result), result, folder.flips(result)[:, -1])
            if result.status == "done":
                correct = read_correct(folder, result, test_images)
        except DamagedRecord:
            raise
        except NOT_AS_DESCRIBED as error:
            problem = f"the files are not as docs/records.md says: {type(error).__name__}: {error}"
            raise Contradiction(folder.path / "result.json", problem) from None
    return replace(
        planned,
        status=result.status,
        reason="",
        result=replace(result, layers=[], files={}, digest=""),  # the most of its memory, unused from here
        environment=environment,
        curves=curves,
        correct=correct,
    )


def read_environment(folder: RunFolder, result: Result, environments: Environments) -> Environment:
    """Where the run was made; DamagedRecord unless the file is the one that the result was written with."""
    content, path = folder.content("environment.json", result), folder.path / "environment.json"
    if content not in environments:
        environments[content] = decode(Environment, unsealed(content, path), path)
    return environments[content]
