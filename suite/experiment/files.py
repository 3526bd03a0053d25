"""Where experiments are found: in ./experiments of the current folder, else among those that are shipped."""

from pathlib import Path

from suite.machine.repository import ROOT

FOLDER = Path("experiments")
# Next to the packages, in a checkout and in an installation alike (see `packages` in pyproject.toml).
SHIPPED = ROOT / FOLDER
SUFFIXES = (".yaml", ".yml")


def experiments() -> dict[str, Path]:
    """All experiment files by name: the path below their folder without its suffix, as `paper/section51`.

    A file of the current folder hides a shipped one of the same name.
    """
    found: dict[str, Path] = {}
    for folder in (SHIPPED, FOLDER):
        for path in folder.rglob("*.yaml"):
            name = path.relative_to(folder)
            if not any(part.startswith(".") for part in name.parts):  # an editor's or a notebook's copy
                found[str(name.with_suffix(""))] = path
    return dict(sorted(found.items()))


def find_experiment(name_or_path: str) -> Path:
    """The file of an experiment. An unknown name gives the path where it would be, which does not exist."""
    if name_or_path.endswith(SUFFIXES):
        return Path(name_or_path)
    return experiments().get(name_or_path, FOLDER / f"{name_or_path}.yaml")
