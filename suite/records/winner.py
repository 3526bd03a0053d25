"""The rule that chooses a study's winner, for the sweep and for the checks."""

from collections.abc import Mapping

from suite.records.schema import Scores


def winner(scores: Mapping[int, Scores]) -> int | None:
    """The number of the trial with the highest validation top-1; None without a score.

    Of equal ones the trial with the lower validation loss wins, then the earlier one.
    """
    return min(
        scores, key=lambda number: (-scores[number].val_top1, scores[number].val_loss, number), default=None
    )
