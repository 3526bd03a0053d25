"""Messages: how they show values, however large or strange these are."""

import pytest

from suite.machine.errors import one_of, shown

bomb: object = "x"
for _ in range(40):
    bomb = [bomb] * 9
endless: dict[str, object] = {"b": 1, "a": 2}
endless["c"] = endless


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1e-7, "1e-07"),
        ("no", "'no'"),
        ({"step": {"start": 1, "at": [0.5]}}, "{'step': {'start': 1, 'at': [0.5]}}"),
        ("x" * 10**7, "'" + "x" * 96 + "..."),
        (bomb, "[" * 5 + "[...]" + ", [...]" * 8 + "], [[...], "),
        (endless, "{'b': 1, 'a': 2, 'c': {'b': 1, "),
        (list(range(10**6)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"),
        (1 << 20_000, "a number of 20001 bits"),
    ],
    ids=range(10),
)
def test_only_the_beginning_of_a_value_is_shown(value: object, text: str):
    assert shown(value).startswith(text) and len(shown(value)) <= 100


def test_a_name_without_its_folder_is_near():
    """And nearer than a whole name that looks like it."""
    names = ["fashion-mnist", "standard/fashion-mlp", "ease", "claims/ease"]
    assert one_of("fashion-mlp", names).startswith("; did you mean 'standard/fashion-mlp'?")
    assert one_of("fashion-mnits", names).startswith("; did you mean 'fashion-mnist'?")


def test_a_long_name_has_no_near_one():
    assert one_of("a" * 10**6, ["a" * 99, "b"]).endswith("the choices are " + "a" * 99 + ", b")
