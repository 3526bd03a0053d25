"""The experiments that make a claim, and what they cost, without torch: nothing is resolved."""

from collections.abc import Iterator
from dataclasses import dataclass

from suite.experiment.files import SHIPPED, experiments, find_experiment
from suite.experiment.spec import Experiment, ExperimentFile
from suite.records.claim import Claim
from suite.records.files import read_bytes
from suite.records.schema import PHASES

REPLY = SHIPPED / "claims" / "reply.txt"


@dataclass(frozen=True)
class ClaimFile:
    """An experiment with a claim, and its text. runs, epochs: at most, as the plan counts them."""

    name: str
    claim: Claim
    runs: int
    epochs: int
    text: str


def claim_files() -> Iterator[ClaimFile]:
    """Every experiment with a claim, by name; SpecError for one that cannot be read."""
    for name, path in experiments().items():
        if b"claim:" in read_bytes(path) and (found := claim_file(name)) is not None:
            yield found


def claim_file(name: str) -> ClaimFile | None:
    """The claim of an experiment; None if it makes none. SpecError if it cannot be read."""
    source = ExperimentFile(find_experiment(name))
    experiment = source.experiment()
    if experiment.claim is None:
        return None
    return ClaimFile(source.name, experiment.claim, *cost(experiment), source.text)


def cost(experiment: Experiment) -> tuple[int, int]:
    """At most so many runs and epochs."""
    budgets = [experiment.budget.with_studies(entry.studies) for entry in experiment.methods]
    of_task = sum(tuning.count(phase, experiment.seeds) for tuning in budgets for phase in PHASES)
    tasks = [
        (len(task.data) * len(task.model), task.train.epochs or experiment.train.epochs)
        for task in experiment.tasks
    ]
    return of_task * sum(number for number, _ in tasks), of_task * sum(n * epochs for n, epochs in tasks)
