"""The seeds of runs: functions of the experiment's seed and the run's place, and of nothing else.

A tuning seed is below 2**52, a final seed is not: a winner is never run again on the seed that chose it.
Both are below 2**53, so that every reader of JSON keeps them exact.
"""

from suite.records.files import digest

FINAL = 2**52  # the first of the final seeds


def tuning_seed(experiment_seed: int, cell: str, track: str, study: int) -> int:
    """The seed of all trials of one study: others in every cell, track and study."""
    return _key(["tuning", experiment_seed, cell, track, study])


def final_seed(experiment_seed: int, study: int, number: int) -> int:
    """The seed of final run `number` of a study: the same for every method and track, and for the default."""
    return FINAL + _key(["final", experiment_seed, study, number])


def _key(parts: list[str | int]) -> int:
    """A number of 52 bits that depends on all parts."""
    return int(digest(parts)[:13], 16)
