"""The reader of experiments: what its scalars mean, what it refuses, and where everything stands."""

import math
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.experiment.strict_yaml import Document, YamlError


def read(text: str) -> Any:
    return Document(text, "file.yaml").values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-7", 1e-7), ("1E+3", 1000.0), ("1.", 1.0), (".5", 0.5), ("-2.5e2", -250.0), ("1.0", 1.0),
        ("010", 10), ("-3", -3), ("+3", 3), ("0", 0),
        ("true", True), ("True", True), ("FALSE", False),
        ("null", None), ("~", None), ("", None), ("Null", None),
        (".inf", math.inf), ("-.INF", -math.inf), ("+.inf", math.inf),
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("off", "off"), ("y", "y"), ("tRUE", "tRUE"),
        ("0x10", "0x10"), ("0o17", "0o17"), ("1_000", "1_000"), ("1:30", "1:30"), ("1e", "1e"),
        ("2024-01-31", "2024-01-31"), ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"), ("=", "="),
        ("'1e-7'", "1e-7"), ('"true"', "true"), ("inf", "inf"), ("nan", "nan"), (".", "."), ("+", "+"),
    ],
)  # fmt: skip
def test_scalars_mean_what_a_reader_thinks(text: str, value: Any):
    found = read(f"x: {text}")["x"]
    assert found == value and type(found) is type(value)


def test_nan_is_a_number():
    assert all(math.isnan(read(f"x: {text}")["x"]) for text in (".nan", ".NaN", ".NAN"))


@settings(deadline=None, database=None)
@given(st.floats(allow_nan=False))
def test_every_number_that_python_writes_is_read_back(value: float):
    text = {math.inf: ".inf", -math.inf: "-.inf"}.get(value, repr(value))
    assert read(f"x: {text}") == {"x": value}


# Ten levels of nine aliases: 3.5e9 entries in 558 bytes.
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "4:3", "the key 'c' appears twice"),
        ("{a: 1, 'a': 2}", "1:8", "the key 'a' appears twice"),
        ("x: {y: 1, <<: {}, <<: {}}", "1:19", "the key '<<' appears twice"),
        ("x: {[1, 2]: 3}", "1:5", "a key must be a word"),
        ("x:\n  {a: 1}: 3\n", "2:3", "a key must be a word"),
        ("1: x", "1:1", "a key must be a word, not 1"),
        ("x: {true: 1}", "1:5", "a key must be a word, not true"),
        ("a: 1\nb: \x07", "2:4", "the character #x0007 is not allowed"),
        ("a: \0", "1:4", "#x0000"),
        ("a: [1,\n", "2:1", "expected the node content"),
        ("a:\n\tb: 1", "2:1", r"found character '\t'"),
        ("a: 1\n---\nb: 2\n", "2:1", "expected a single document"),
        ("a: *b", "1:4", "undefined alias 'b'"),
        ("a: {<<: 3}", "1:9", "expected a mapping"),
        ("a: !!python/object:os.system x", "1:4", "tags have no meaning here"),
        ("a: !!int x", "1:4", "tags have no meaning here"),
        ("a: !!bool x", "1:4", "tags have no meaning here"),
        ("!!set [1]", "1:1", "tags have no meaning here"),
        (f"a: {'9' * 301}", "1:4", "a number of 301 digits is too long"),
        ('a: "\\ud800"', "1:4", "the character #xd800 is not allowed"),
        ('a: "\\0"', "1:4", "the character #x0000 is not allowed"),
        ("a: &a [*a]", "1:4", "an alias to a value that it is a part of"),
        ("a: {b: &b {restart: {of: *b, at: [0.5]}}}", "1:8", "an alias to a value that it is a part of"),
        (BOMB, "6:5", "too large: more than 1,000,000 characters, once its aliases are followed"),
        (BOMB.replace("[", "{<<: [").replace("]", "]}").replace("x,", "{y: 1},"), "6:14", "too large"),
        (f"a: &a {'x' * 10_000}\nb: [{'*a, ' * 100}]", "2:4", "too large"),
        (f"a: {'[' * 41}{']' * 41}", "1:4", "nested too deeply: more than 40"),
        (
            "a: &a0 []\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 50)),
            "41:6",
            "nested too deeply",
        ),
    ],
)
def test_what_is_refused_has_a_place(text: str, place: str, words: str):
    with pytest.raises(YamlError) as error:
        read(text)
    assert str(error.value).startswith(f"file.yaml:{place}: ") and words in str(error.value)


@pytest.mark.parametrize("text", ["[" * 2000, "a: " + "[" * 1200 + "]" * 1200])
def test_text_nested_without_end_is_refused(text: str):
    with pytest.raises(YamlError, match=r"^file\.yaml: nested too deeply"):
        read(text)


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n"])
def test_an_empty_file_holds_nothing(text: str):
    document = Document(text, "file.yaml")
    assert document.values is None and document.place(("tasks", 0)) == "file.yaml:1:1"


def test_an_overriding_key_is_no_duplicate():
    text = "base: &base {x: 1, y: 2}\nmade: {<<: *base, y: 3}\nboth: {<<: [*base, {z: 4}], x: 5}\n"
    assert read(text)["made"] == {"x": 1, "y": 3}
    assert read(text)["both"] == {"x": 5, "y": 2, "z": 4}


def test_merges_of_merges_are_no_duplicates_wherever_they_stand():
    text = "base: &b {x: 1}\ndeep: {deeper: {mid: &m {<<: *b, x: 2}}}\ntop: {<<: *m, y: 3}\n"
    assert read(text)["top"] == {"x": 2, "y": 3}
    assert read(text)["deep"] == {"deeper": {"mid": {"x": 2}}}


def test_places_are_those_of_keys_and_of_list_items():
    text = "a:\n  - {b: 1, c: [5,\n     6]}\n  - d\ne: &e {f: 1}\ng: {<<: *e, h: 2}\n"
    document = Document(text, "file.yaml")
    places = {
        ("a",): "1:1",
        ("a", 0): "2:5",
        ("a", 0, "c"): "2:12",
        ("a", 0, "c", 1): "3:6",
        ("a", 1): "4:5",
        ("e", "f"): "5:8",
        ("g", "h"): "6:13",
        ("g", "f"): "5:8",  # merged in: where it is written
        ("a", 1, "name"): "4:5",  # what does not exist: the last part that does
        ("a", 7): "1:1",
        ("nowhere",): "1:1",
        (): "1:1",
    }
    assert {at: document.place(at) for at in places} == {at: f"file.yaml:{p}" for at, p in places.items()}


def test_the_place_of_an_overridden_key_is_that_of_the_winner():
    document = Document("a: &a {x: 1}\nb:\n  x: 2\n  <<: *a\n", "file.yaml")
    assert document.values["b"]["x"] == 2 and document.place(("b", "x")) == "file.yaml:3:3"


def test_other_users_of_pyyaml_keep_its_rules():
    assert yaml.safe_load("[1e-7, no, 2024-01-31]")[:2] == ["1e-7", False]


@settings(deadline=None, database=None)
@given(st.text())
def test_any_text_is_read_or_refused(text: str):
    try:
        document = Document(text, "file.yaml")
    except YamlError as error:
        assert str(error).startswith("file.yaml")
    else:
        assert document.place(("a", 0)).startswith("file.yaml:")
