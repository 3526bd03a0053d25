"""The picture that a task opens with: the accuracies, of many methods the top and the bottom."""

from collections.abc import Sequence
from dataclasses import replace

from report.analysis.comparison import Comparison
from report.draw.accuracy import accuracy_drawing
from report.draw.drawing import Drawing
from report.draw.styles import Looks


def opening_picture(comparison: Comparison, shown: Sequence[str], looks: Looks) -> Drawing:
    """The figure of the methods that are `shown`, with that of all of them where these are more."""
    standings = [each for each in comparison.standings if each.method in shown]
    if len(comparison.standings) - len(standings) < 3:  # a few controls: no reason to fold
        return accuracy_drawing(comparison, looks)
    task = replace(comparison.task, key=f"{comparison.task.key}-all")
    top = accuracy_drawing(replace(comparison, standings=standings), looks)
    whole = accuracy_drawing(replace(comparison, task=task), looks)
    return replace(
        top, caption=f"Top and bottom of {len(comparison.standings)} methods. {top.caption}", more=whole
    )
