"""`flipbench study`: on hand-made records, which need no training."""

import json
from pathlib import Path

import pytest

from report.analysis import effective
from suite.records.archive import ARCHIVE, write_archive
from suite.records.schema import Track
from tests.suite.cli.conftest import Flipbench
from tests.support.fake_records import TASKS, damage, final_run, write_experiment

METHODS = ("bop", "latent_adam")
RECORDS = Path("results/studied")


def write(trials: int = 8, studies: int = 3) -> None:
    tracks = [Track(name="random", trials=trials, studies=studies)] if trials else []
    write_experiment(RECORDS, tasks=TASKS[:1], methods=METHODS, seeds=2, tracks=tracks)


def no_number(text: str) -> float:
    raise AssertionError(f"{text} is no JSON")


def test_the_answer_is_a_table_and_sentences(flipbench: Flipbench) -> None:
    write()
    ended = flipbench("study", "studied")
    assert ended.code == 0 and ended.err == ""
    lines = ended.out.splitlines()
    assert lines[0].startswith("digits \u00d7 mlp") and len(lines) < 30
    row = next(line for line in lines if line.split()[:2] == ["latent_adam", "21"])
    numbers = json.loads(flipbench("study", "studied", "--json").out, parse_constant=no_number)
    (task,) = numbers
    assert [each["method"] for each in task["methods"]] == ["bop", "latent_adam"]
    words = " ".join(ended.out.split())  # a terminal may be narrow
    assert all(sentence in words for sentence in task["answer"])
    share = next(each for each in task["methods"][1]["shares"] if each["delta"] == 0.01)
    assert row.split()[2] == f"{100 * share['share']:.0f}"
    assert share["good"] / share["draws"] == share["share"]
    assert task["methods"][0]["best_of"][3].keys() == {"n", "median"}  # no band beyond three of 21 draws


def test_an_archive_gives_the_same_answer(flipbench: Flipbench) -> None:
    write(trials=3, studies=1)
    write_archive(RECORDS, Path(ARCHIVE))
    of_folder, of_archive = flipbench("study", "studied"), flipbench("study", ARCHIVE)
    assert of_archive == (0, of_folder.out, f"records: {ARCHIVE}\n") and "3 draws" not in of_folder.out
    assert "A method has 2 draws: too few" in of_folder.out


def test_what_was_not_tuned_has_no_answer_and_that_is_no_error(flipbench: Flipbench) -> None:
    write(trials=0)
    assert flipbench("study", "studied") == (0, "Nothing was tuned.\n\n", "")


def test_damage_is_named_and_ends_with_2(flipbench: Flipbench) -> None:
    write(trials=3, studies=1)
    damage(final_run(RECORDS, "digits.mlp.bop", 1) / "result.json")
    ended = flipbench("study", "studied")
    assert ended.code == 2 and "damaged: runs/" in ended.err and "1 damaged or contra" in ended.err
    assert "(provisional)" in ended.out
    assert flipbench("study", "unknown").code == 2


def test_the_fit_takes_a_hundred_draws(flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(scores: list[float]) -> effective.Effective:
        assert len(scores) == 100
        return effective.Effective(2, 0.9512, 0.002, len(scores))

    monkeypatch.setattr("report.page.study.effective_of", fit)
    write(trials=51, studies=2)
    ended = flipbench("study", "studied", "--effective")
    assert (
        "bop: in effect 2 hyperparameters; the best setting that was searched would reach 95.12 %"
        in ended.out
    )
    write_experiment(Path("results/few"), tasks=TASKS[:1], methods=METHODS, seeds=1, trials=4)
    assert "No row has the 100 random draws" in flipbench("study", "few", "--effective").out
    with pytest.raises(ValueError, match="99 draws: a fit takes 100"):
        effective.effective_of([0.5] * 99)
