"""A method of one's own among published baselines: placement.json, and the list of all placements.

Trying until it looks good must be visible: the list keeps every file that was placed, and a placement names
the earlier ones of its name or of the same code. Nothing here imports torch.
"""

import ast
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import StrictBool, StrictStr

from suite.records.codec import absent, decode, encode, record
from suite.records.files import DamagedRecord, is_owned, owned, read_json, write_json, writing
from suite.records.schema import Number, PartName, RunName

PLACED = "placed"  # the folder of all placements, in that of the results
PLACEMENT, LIST = "placement.json", "placements.json"
TOLERANCE = 2.0  # sds of a method's final runs: so far a machine may lie from the published runs


@record
class Repeated:
    """A published final run that was trained again here. Accuracies on test, as fractions."""

    method: StrictStr
    run: RunName
    published: Number
    here: Number
    same_bits: StrictBool


@record
class PlacedTask:
    """A standard experiment, as a placement uses it.

    folder: of its records, in that of the placement. archive: its sha256. device: of the handshake, by name,
    and the version of torch. left_out: baselines whose runs are not all in the archive. seed_sd: of the
    repeated methods' final runs within a study, pooled; a fraction.
    """

    experiment: StrictStr
    folder: PartName
    archive: StrictStr
    device: StrictStr
    left_out: list[StrictStr]
    seed_sd: Number
    repeated: list[Repeated]

    @property
    def same_bits(self) -> bool:
        return all(each.same_bits for each in self.repeated)

    @property
    def shift(self) -> float:
        """How much better this machine's runs are than the published ones, on the mean."""
        return math.fsum(each.here - each.published for each in self.repeated) / len(self.repeated)

    @property
    def comparable(self) -> bool:
        """Whether runs of this machine may be compared with the published ones."""
        return abs(self.shift) <= TOLERANCE * self.seed_sd


@record
class Placement:
    """A file that was placed. shape: a hash of its code without names and comments."""

    method: StrictStr
    file: StrictStr
    sha256: StrictStr
    shape: StrictStr
    quick: StrictBool
    experiments: list[StrictStr]
    at: StrictStr  # the day


@record
class PlacementRecord:
    """placement.json. before: the earlier placements of the same name or the same code."""

    placement: Placement
    command: StrictStr
    tasks: list[PlacedTask]
    before: list[Placement] = absent(list)

    @property
    def other_code(self) -> int:
        """How many other files of this name were placed before."""
        same = (self.placement.method, self.placement.sha256)
        files = {each.sha256 for each in self.before if each.method == same[0]}
        return len(files - {same[1]})

    @property
    def other_names(self) -> list[str]:
        """Under which other names this code was placed before."""
        mine = self.placement
        names = [each.method for each in self.before if each.shape == mine.shape]
        return sorted(set(names) - {mine.method})


def read_placement(folder: Path) -> PlacementRecord:
    """FileNotFoundError if nothing was placed here, DamagedRecord."""
    path = folder / PLACEMENT
    return decode(PlacementRecord, read_json(path), path)


def write_placement(folder: Path, placement: PlacementRecord) -> None:
    write_json(folder / PLACEMENT, encode(placement))


def set_aside_other(folder: Path, sha256: str, entry: Mapping[str, Any]) -> Path | None:
    """Move the placement of another file, or of another entry in the experiment, out of this one's folder.

    The new name, of the hash of its file; None if there is none. It stays in the list of all placements.
    BlockingIOError if another process works in it.
    """
    try:
        before = read_placement(folder)
    except (FileNotFoundError, DamagedRecord):
        return None
    files = [folder / f"{task.folder}.yaml" for task in before.tasks]
    entries = [yaml.safe_load(file.read_text())["methods"][-1] for file in files if file.exists()]
    if before.placement.sha256 == sha256 and all(each == entry for each in entries):
        return None
    if any(is_owned(folder / task.folder) for task in before.tasks):
        raise BlockingIOError(f"{folder}: another placement works in this folder")
    name = f"{folder.name}-{before.placement.sha256[:8]}"
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    aside = next(path for each in names if not os.path.lexists(path := folder.with_name(each)))
    with writing(folder):
        os.rename(folder, aside)
    return aside


@record
class _Placements:
    placements: list[Placement]


def enter(placed: Path, new: Placement) -> list[Placement]:
    """Add a placement to the list in its folder, unless it is there; the earlier ones that are related to it.

    It is entered before anything is trained, so that one that was given up is in the list, too.
    """
    path = placed / LIST
    with owned(placed) as mine:
        if not mine:
            raise BlockingIOError(f"{placed}: another placement is being entered")
        try:
            known = decode(_Placements, read_json(path), path).placements
        except FileNotFoundError:
            known = []
        entered = next((at for at, each in enumerate(known) if _same(each, new)), None)
        if entered is None:
            write_json(path, encode(_Placements(placements=[*known, new])))
    return related(new, known[:entered])


def _same(one: Placement, other: Placement) -> bool:
    """Whether two are one placement, perhaps resumed on another day."""
    return replace(one, at=other.at) == other


def related(new: Placement, known: Sequence[Placement]) -> list[Placement]:
    """Those of the same name, and those of the same code under another one."""
    return [each for each in known if each.method == new.method or each.shape == new.shape]


def shape_of(source: bytes) -> str:
    """A hash of Python code that comments, docstrings, layout and the names of functions do not change.

    ValueError for a file that is no Python.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"it is no Python: {error}") from None
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = {node.name for node in ast.walk(tree) if isinstance(node, defined)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, *defined)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, defined):
            node.name = "_"
        elif isinstance(node, ast.Name) and node.id in names:
            node.id = "_"
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]
