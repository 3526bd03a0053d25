"""The name of an experiment: its place below results/, which no name leads out of."""

import os
from pathlib import Path

import pytest

from suite.experiment.files import SHIPPED, experiment_name, experiments
from suite.experiment.spec import ExperimentFile, SpecError
from suite.machine.errors import UserError


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("experiments/demo.yaml", "demo"),
        ("experiments/paper/x.yaml", "paper/x"),
        ("experiments/claims/x.yml", "claims/x"),
        ("experiments/paper/../claims/x.yaml", "claims/x"),
        (str(SHIPPED / "paper" / "section51.yaml"), "paper/section51"),
        ("/elsewhere/experiments/a/experiments/b/x.yaml", "b/x"),  # below the nearest folder of that name
        ("/elsewhere/of/mine/x.yaml", "x"),  # outside of one: the name of the file
        ("größe v2.yaml", "größe v2"),
    ],
)
def test_the_name_is_the_path_below_experiments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert experiment_name(Path(path)) == name


@pytest.mark.parametrize(
    "path",
    ["...yaml", "..yaml", ".yaml", "a\0b.yaml", "a\nb.yaml", "a\x1b[31m.yaml", "\udcff.yaml",
     f"{'a' * 201}.yaml",
     "experiments/.hidden/x.yaml", "experiments/published/x.yaml", "experiments/published.yaml",
     "experiments/paper/runs.yaml", "experiments/paper/report/x.yaml", "experiments/paper/export.yaml",
      f"experiments/{'ü' * 101}/x.yaml"],
)  # fmt: skip
def test_no_name_leads_out_of_its_folder_or_into_another(path: str) -> None:
    with pytest.raises(UserError, match="each part of an experiment's name"):
        ExperimentFile(Path(path))


def test_what_is_no_file_is_no_experiment(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.yaml")
    with pytest.raises(SpecError, match="cannot be read: it is not a file"):
        ExperimentFile(tmp_path / "x.yaml")


def test_a_folder_with_the_name_of_a_file_is_no_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would keep `claims` from showing all others."""
    (tmp_path / "experiments" / "x.yaml").mkdir(parents=True)
    (tmp_path / "experiments" / "y.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert "y" in experiments() and "x" not in experiments()
