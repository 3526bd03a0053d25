"""Which method to use: the rule on hand-made candidates."""

import math

from report.analysis.advice import Candidate, recommend


def test_most_tasks_come_before_draws_and_draws_before_memory() -> None:
    often, rare = Candidate("often", 2, 90.0, 12.0), Candidate("rare", 1, 2.0, 1.0)
    advice = recommend([rare, often], tasks=3)
    assert advice is not None and advice.method == "often"
    assert advice.reasons == ["often may be best on 2 of 3 tasks, more than any other."]
    quick, slim = Candidate("quick", 2, 11.0, 12.0), Candidate("slim", 2, 12.0, 1.0)
    advice = recommend([often, slim, quick, rare], tasks=3)
    assert advice is not None and advice.method == "quick"
    assert advice.reasons == [
        "often, slim and quick may be best on 2 of 3 tasks, more than any other.",
        "quick: 11 random draws hold a good setting with 95 % chance, the fewest of these.",
    ]


def test_equal_draws_leave_it_to_memory_and_equal_memory_is_said() -> None:
    one, two, heavy = (Candidate(name, 1, 5.0, size) for name, size in (("a", 4.0), ("b", 4.0), ("c", 8.0)))
    advice = recommend([heavy, one, two], tasks=1)
    assert advice is not None and advice.method == "a"
    assert advice.reasons == [
        "c, a and b may be best on the only task.",
        "a and b: 4 bytes for each binary weight, the least of these.",
        "The rule does not tell a and b apart: the first of these stands here.",
    ]


def test_an_unknown_or_infinite_number_comes_last_and_nobody_is_no_advice() -> None:
    unknown, known = Candidate("unknown", 1, math.nan, 1.0), Candidate("known", 1, 70.0, 8.0)
    never = Candidate("never", 1, math.inf, 1.0)
    advice = recommend([unknown, never, known], tasks=1)
    assert advice is not None and advice.method == "known"
    no_draws = recommend([unknown, Candidate("slim", 1, math.nan, 0.5)], tasks=1)
    assert no_draws is not None and no_draws.method == "slim"  # no tuning: memory alone decides
    assert recommend([Candidate("lost", 0, 1.0, 1.0)], tasks=1) is None
    assert recommend([], tasks=1) is None
