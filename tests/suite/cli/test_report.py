"""`flipbench report`: its JSON on stdout, two experiments side by side, and single figures."""

import csv
import json
from pathlib import Path

import pytest
import typer

from suite.cli.report import report
from suite.machine.errors import UserError
from tests.support.fake_records import TASKS, damage, final_run, write_experiment


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment. A drawing says no more than its name, to draw would take most of the time here."""
    monkeypatch.setattr("report.draw.svg.rendered", lambda name, *_: f"<svg>\n{name}</svg>\n".encode())
    return write_experiment(tmp_path / "x", tasks=TASKS[:1], methods=("bop", "latent_adam"))


def test_json_has_the_numbers_of_the_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(str(folder), as_json=True)
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # neither NaN nor Infinity
    ends = [row["upper"] for row in found["tuning"] if row["kind"] == "draws needed"]
    assert None in ends  # infinitely many, of a method without a good draw
    with (folder / "report" / "accuracy.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [each["method"] for each in found["accuracy"]] == ["bop", "latent_adam"]
    for mine, row in zip(found["accuracy"], rows, strict=True):
        assert float(row["test_top1"]) == pytest.approx(mine["test_top1"], rel=1e-9)
    assert len(found["runs"]) == found["planned"] == 36
    assert found["tasks"][0]["verdict"]
    assert "curves" not in found and "tuning" in found


def test_two_experiments_are_compared_and_nothing_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_experiment(tmp_path / "y", tasks=TASKS[:1], methods=("bop",))
    report(str(folder), str(other), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [(row["method"], row["reading"]) for row in found["rows"]] == [
        ("bop", "the same runs"),
        ("latent_adam", "only in the first"),
    ]
    assert found["notes"] == []
    report(str(folder), str(other))
    assert "0 of 2 rows changed" in capsys.readouterr().out
    assert not list(tmp_path.glob("*/report"))
    damage(final_run(other, "digits.mlp.bop", 0) / "result.json")
    with pytest.raises(typer.Exit) as ended:
        report(str(folder), str(other))
    assert ended.value.exit_code == 2
    with pytest.raises((UserError, FileNotFoundError)):
        report(str(folder), str(tmp_path / "nothing"))


def test_one_figure_is_written_as_drawing_and_as_numbers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "accuracy-digits.mlp"
    report(str(folder))
    whole = folder / "report"
    report(str(folder), figure=name)
    assert Path(f"{name}.svg").read_bytes() == (whole / f"{name}.svg").read_bytes()
    report(str(folder), figure=name, to=Path("numbers.csv"))
    with Path("numbers.csv").open(encoding="utf-8", newline="") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["bop", "latent_adam"]
    page = (whole / "index.html").read_text(encoding="utf-8")
    assert f"flipbench report demo --figure {name}</code>" in page
    left = sorted(tmp_path.iterdir())
    for words, given in {
        "it has: accuracy-digits.mlp, ": {"figure": "accuracy"},
        ".svg, .pdf, .csv": {"figure": name, "to": Path("figure.png")},
        "name the figure": {"to": Path("figure.svg")},
        "leave out OTHER": {"figure": name, "as_json": True},
    }.items():
        with pytest.raises(UserError, match=words):
            report(str(folder), **given)  # pyright: ignore[reportArgumentType]
    assert sorted(tmp_path.iterdir()) == left
