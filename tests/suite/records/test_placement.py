"""What a placement remembers: earlier attempts, code under another name, and how far this machine is away."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from suite.records.files import DamagedRecord, make_folder, owned
from suite.records.placement import (
    LIST,
    PlacedTask,
    Placement,
    PlacementRecord,
    Repeated,
    enter,
    read_placement,
    set_aside_other,
    shape_of,
    write_placement,
)

CODE = '''"""A method."""
import torch
from optimizers.core import WeightRule, log, method

class Flip(torch.optim.Optimizer):
    def __init__(self, params, rate):
        super().__init__(params, dict(rate=rate))

@method(paper="none", rate=log(0.1, 0.01, 1.0))
def my_flip(rate):
    """Flip."""
    return WeightRule(optimizer=lambda params: Flip(params, rate))
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [("my_flip", "better_flip"), ("Flip", "Turn"), ('"""Flip."""', '"""Better."""'), ("\n\n", "\n# why\n")],
)
def test_names_and_comments_do_not_change_the_shape_of_code(old: str, new: str) -> None:
    assert old in CODE and shape_of(CODE.replace(old, new).encode()) == shape_of(CODE.encode())


@pytest.mark.parametrize(
    ("old", "new"), [("0.01, 1.0", "0.01, 2.0"), ("Flip(params, rate)", "Flip(params, rate / 2)")]
)
def test_what_it_does_changes_the_shape(old: str, new: str) -> None:
    assert old in CODE and shape_of(CODE.replace(old, new).encode()) != shape_of(CODE.encode())


def test_what_is_no_python_has_no_shape() -> None:
    for wrong in (b"def", b"\0", b"\xff"):
        with pytest.raises(ValueError, match="no Python"):
            shape_of(wrong)


def placement(method: str = "flip", sha256: str = "a", shape: str = "1", at: str = "2026-01-01") -> Placement:
    return Placement(
        method=method, file=f"{method}.py", sha256=sha256, shape=shape, quick=False, experiments=["x"], at=at
    )


def test_every_attempt_is_entered_once_and_the_related_ones_are_returned(tmp_path: Path) -> None:
    first, other = placement(), placement("other", "b", "2")
    second, renamed = placement(sha256="c", shape="3"), placement("renamed", "d", "1")
    assert enter(tmp_path, first) == enter(tmp_path, other) == []
    assert enter(tmp_path, second) == [first]
    assert enter(tmp_path, renamed) == [first]  # the code of the first under another name
    assert enter(tmp_path, placement(at="2026-02-02")) == []  # the first one, resumed
    assert enter(tmp_path, replace(second, at="2026-02-02")) == [first]
    assert len((tmp_path / LIST).read_text().split('"method"')) - 1 == 4


def test_another_version_of_a_file_is_placed_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """Nothing of the earlier attempt is lost, and no result of its is taken for one of the new file."""
    folder, entry = tmp_path / "flip", {"name": "flip", "decay": {"gamma": {"cosine": 0.0}}}
    assert set_aside_other(folder, "a" * 64, entry) is None
    for version in "ab", "cd", "ab", "ab":
        make_folder(folder)
        write_placement(
            folder, PlacementRecord(placement=placement(sha256=version * 32), command="", tasks=[TASK])
        )
        (folder / "x.yaml").write_text(yaml.safe_dump({"methods": ["bop", entry]}))
        assert set_aside_other(folder, version * 32, entry) is None  # a placement that is resumed
        last = set_aside_other(folder, "ef" * 32, entry)
    assert last is not None and last.name == "flip-abababab-3"
    assert sorted(os.listdir(tmp_path)) == [
        "flip-abababab",
        "flip-abababab-2",
        "flip-abababab-3",
        "flip-cdcdcdcd",
    ]
    assert read_placement(tmp_path / "flip-cdcdcdcd").placement.sha256 == "cd" * 32
    last.rename(folder)
    make_folder(folder / "x")
    with owned(folder / "x"), pytest.raises(BlockingIOError, match="another placement works in this folder"):
        set_aside_other(folder, "ab" * 32, {"name": "flip"})
    assert set_aside_other(folder, "ab" * 32, {"name": "flip"}) == last  # the same file with other options


def test_attempts_are_counted_by_file_and_by_name() -> None:
    mine = placement(sha256="c", shape="3")
    before = [placement(), placement(), placement(sha256="b"), placement("was", "d", "3"), mine]
    found = PlacementRecord(placement=mine, command="flipbench place flip.py", tasks=[], before=before)
    assert (found.other_code, found.other_names) == (2, ["was"])


TASK = PlacedTask(
    experiment="x", folder="x", archive="0", device="cpu", left_out=[], seed_sd=0.1, repeated=[]
)


def repeated(published: float, here: float, same_bits: bool = False) -> Repeated:
    return Repeated(method="bop", run="0" * 16, published=published, here=here, same_bits=same_bits)


@pytest.mark.parametrize(
    ("runs", "comparable"),
    [
        ([repeated(0.9, 0.9, True), repeated(0.8, 0.8, True)], True),
        ([repeated(0.9, 0.906), repeated(0.8, 0.801)], True),  # 0.35 points on the mean, 0.4 are allowed
        ([repeated(0.9, 0.906), repeated(0.8, 0.803)], False),
        ([repeated(0.9, 0.894), repeated(0.8, 0.797)], False),
    ],
)
def test_a_machine_may_lie_two_sds_of_a_seed_away(runs: list[Repeated], comparable: bool) -> None:
    assert replace(TASK, seed_sd=0.002, repeated=runs).comparable is comparable


def test_a_record_is_read_as_it_was_written_or_refused(tmp_path: Path) -> None:
    task = PlacedTask(
        experiment="x",
        folder="x",
        archive="0",
        device="cpu",
        left_out=["y"],
        seed_sd=0.1,
        repeated=[repeated(0.9, 0.8)],
    )
    whole = PlacementRecord(placement=placement(), command="c", tasks=[task], before=[placement("o")])
    write_placement(tmp_path, whole)
    assert read_placement(tmp_path) == whole
    path = tmp_path / "placement.json"
    path.write_text(path.read_text().replace("flip.py", "flop.py"))
    with pytest.raises(DamagedRecord):
        read_placement(tmp_path)
