"""The flips of every step and layer of a final run, read where two runs are compared step by step."""

from collections.abc import Callable

import numpy as np

from report.read.records import RunRecord
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord


def flips_reader(experiment: ExperimentFolder) -> Callable[[RunRecord], np.ndarray]:
    """A function from a final run of these records to its flips, int32 (steps, layers).

    It raises DamagedRecord for a run whose files are not as they were written.
    """

    def flips_of(run: RunRecord) -> np.ndarray:
        folder = experiment.run(run.run_id)
        result = folder.result()
        if result is None:
            raise DamagedRecord(folder.path / "result.json", "it was there a moment ago")
        return folder.flips(result)

    return flips_of
