"""Where experiments are found: in ./experiments of the current folder, else among those that are shipped."""

import os
from pathlib import Path

from suite.machine.errors import UserError
from suite.machine.repository import ROOT
from suite.records.archive import ARCHIVE
from suite.records.experiment import SET_ASIDE

FOLDER = Path("experiments")
# Next to the packages, in a checkout and in an installation alike (see `packages` in pyproject.toml).
SHIPPED = ROOT / FOLDER
SHIPPED_RESULTS = ROOT / "results"
SUFFIXES = (".yaml", ".yml")
MAX_NAME = 200  # bytes, so that a hash and a suffix still fit into the name of a file
PUBLISHED = "published"  # a folder of results/ that is no experiment
PARTS = ("runs", "cells", "data", "report", "export", SET_ASIDE)  # the folders in that of an experiment


def experiments() -> dict[str, Path]:
    """All experiment files by name: the path below their folder without its suffix, as `paper/section51`.

    A file of the current folder hides a shipped one of the same name.
    """
    found: dict[str, Path] = {}
    for folder in (SHIPPED, FOLDER):
        for path in folder.rglob("*.yaml"):
            name = path.relative_to(folder)
            if path.is_file() and not any(part.startswith(".") for part in name.parts):  # an editor's copy
                found[str(name.with_suffix(""))] = path
    return dict(sorted(found.items()))


def find_experiment(name_or_path: str) -> Path:
    """The file of an experiment. An unknown name gives the path where it would be, which does not exist.

    UserError for no name, and for a file that is no YAML.
    """
    if not name_or_path:
        raise UserError("the name of the experiment is empty; `flipbench list experiments` names all of them")
    if name_or_path.endswith(SUFFIXES):
        return Path(name_or_path)
    if (known := experiments().get(name_or_path)) is None and Path(name_or_path).is_file():
        hint = ": give a plugin with --plugin" if name_or_path.endswith(".py") else ""
        raise UserError(f"{name_or_path}: it is no experiment, whose file ends in .yaml{hint}")
    return known or FOLDER / f"{name_or_path}.yaml"


def published_archive(name: str, results: Path) -> Path | None:
    """The archive of an experiment: in published/ of the results, else among those that are shipped."""
    places = [folder / PUBLISHED / name / ARCHIVE for folder in (results, SHIPPED_RESULTS)]
    return next((place for place in places if os.path.lexists(place)), None)


def recorded(results: Path) -> list[str]:
    """Names of the folders below the results that hold a plan, as a sweep makes them; sorted."""
    names = []
    for folder, below, files in os.walk(results):
        names += [os.path.relpath(folder, results)] if "plan.json" in files else []
        below[:] = set(below) - {PUBLISHED, *PARTS}
    return sorted(names)


def archived(results: Path) -> list[str]:
    """Names of the experiments that have an archive in published/ of the results, sorted."""
    return sorted(
        str(path.parent.relative_to(results / PUBLISHED))
        for path in results.glob(f"{PUBLISHED}/**/{ARCHIVE}")
    )


def experiment_name(path: Path) -> str:
    """The name of an experiment, and the place of its results: the path of its file, without the suffix,
    below the nearest folder called `experiments`; outside of one, the name of the file.

    UserError for a name that would lead out of its folder, or into that of another experiment.
    """
    whole = Path(os.path.abspath(path))  # `..` is resolved, links are not: they are names, too
    folders = whole.parent.parts
    below = len(folders) - folders[::-1].index(FOLDER.name) if FOLDER.name in folders else len(folders)
    parts = (*folders[below:], path.stem)
    for depth, part in enumerate(parts):
        if part.startswith(".") or not part.isprintable() or len(os.fsencode(part)) > MAX_NAME:
            problem = f"begins with no dot, has at most {MAX_NAME} bytes and no control characters"
        elif (part == PUBLISHED) if depth == 0 else (part in PARTS):
            problem = (
                f"is none of those that a folder of results uses itself ({', '.join((*PARTS, PUBLISHED))})"
            )
        else:
            continue
        raise UserError(f"{path}: each part of an experiment's name {problem}; {part!r} cannot be one")
    return "/".join(parts)
