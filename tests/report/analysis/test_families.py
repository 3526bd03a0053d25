"""Methods by family: names from the plan, the best first, and the ends that are shown."""

from dataclasses import replace

from report.analysis.families import ends, grouped_by_family, named_families
from tests.support.fake_records import METHODS

CARD = METHODS["bop"]


def test_a_family_comes_from_the_file_the_weights_or_the_role() -> None:
    cards = {
        "a": replace(CARD, family="Bop and its descendants"),
        "b": replace(CARD, family=None, latent_free=True),
        "c": replace(CARD, family=None, latent_free=False),
        "d": replace(CARD, family="latent weights", control=True),
    }
    assert list(named_families(cards).values()) == [
        "Bop and its descendants",
        "no latent weights",
        "latent weights",
        "controls",
    ]


def test_only_a_large_family_tells_its_additions_apart() -> None:
    cards = {str(n): replace(CARD, family="f", differs=["x 1"] if n > 9 else []) for n in range(13)}
    assert [named_families(cards)[name] for name in ("9", "10")] == ["f", "f, with an addition"]
    cards.pop("0")
    assert set(named_families(cards).values()) == {"f"}


def test_the_family_of_the_best_comes_first_and_shows_its_ends() -> None:
    ordered = ["a1", "b1", "a2", "a3", "a4", "a5", "b2"]
    first, second = grouped_by_family(ordered, {name: name[0] for name in ordered})
    assert (first.name, first.methods) == ("a", ("a1", "a2", "a3", "a4", "a5"))
    assert first.shown == ("a1", "a2", "a5")
    assert second.shown == second.methods == ("b1", "b2")
    four = grouped_by_family(ordered[:5], dict.fromkeys(ordered, "one"))[0]
    assert (
        len(four.shown) == 3
        and len(grouped_by_family(ordered[:4], dict.fromkeys(ordered, "x"))[0].shown) == 4
    )


def test_methods_without_a_run_are_no_worst_ones() -> None:
    ordered = [f"{family}{n}" for n in range(7) for family in "ab"]
    later = {"a4", "a5", "a6", *(f"b{n}" for n in range(7))}
    first, second = grouped_by_family(ordered, {name: name[0] for name in ordered}, later)
    assert (first.shown, first.ends) == (("a0", "a1", "a3"), ("a0", "a1", "a2", "a3"))
    assert (second.shown, second.ends, len(second.methods)) == (("b0",), (), 7)
    small = grouped_by_family(ordered[:4], dict.fromkeys(ordered, "x"), {"b1"})[0]
    assert small.shown == ("a0", "b0", "a1", "b1")  # folding would hide a single row


def test_a_figure_shows_the_top_and_the_bottom_of_more_than_eight() -> None:
    many = [str(n) for n in range(9)]
    assert ends(many) == ["0", "1", "2", "3", "4", "5", "7", "8"]
    assert ends(many[:8]) == many[:8]
