"""The last line of a verification."""

import pytest

from suite.checks.verify import Verified
from suite.cli.views.verify import verdict

THERE = "all there and intact"


@pytest.mark.parametrize(
    ("kinds", "line"),
    [
        ([], THERE),
        (["note"], THERE),
        (["differs"], f"{THERE}; what was trained again gave other bits, or none"),
        (["note", "not replayed"], f"{THERE}; what was trained again gave other bits, or none"),
        (["differs", "missing"], "intact, but not all there"),
        (["failed"], "intact, but not all there"),
        (["differs", "contradictory"], "damaged or contradictory"),
    ],
)
def test_a_replay_says_nothing_about_what_is_there(kinds: list[str], line: str) -> None:
    found = Verified()
    for kind in kinds:
        found.add(kind, "runs/x", "a reason")
    assert verdict(found) == line
