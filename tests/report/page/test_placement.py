"""The words of a placement say what the comparison says, and warn before they do."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from report.analysis.differences import Difference
from report.analysis.ease import good_share, share_differences
from report.page import placement as page
from report.page.gather import Report, gather
from report.page.placement import ExperimentPlacement, experiment_placement
from report.read.experiment import read_records
from report.read.records import Records
from suite.records.placement import PlacedTask, Placement, PlacementRecord, Repeated
from suite.records.schema import Track
from tests.support.fake_records import TASKS, final_run, remove, write_experiment

NEW = "latent_sgd"  # neither the first nor the last of the plan
METHODS = ("bop", "latent_adam", "latent_sgd", "bop_second_order")
TRACKS = [Track(name="random", trials=8, studies=3)]
REPEATED = Repeated(method="latent_adam", run="0" * 16, published=0.9, here=0.9, same_bits=True)
TASK = PlacedTask(
    experiment="standard/x",
    folder="x",
    archive="ab" * 32,
    device="cpu",
    left_out=[],
    seed_sd=0.002,
    repeated=[REPEATED],
)
FILE = Placement(
    method=NEW,
    file="new.py",
    sha256="cd" * 32,
    shape="1",
    quick=False,
    experiments=["standard/x"],
    at="today",
)
RECORD = PlacementRecord(placement=FILE, command="flipbench place new.py", tasks=[TASK])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("placed")
    return write_experiment(path, tasks=TASKS[:1], methods=METHODS, seeds=2, tracks=TRACKS)


@pytest.fixture(scope="module")
def read(folder: Path) -> tuple[Records, Report]:
    records = read_records(folder)
    report = gather(records)
    return records, report


def placed(
    read: tuple[Records, Report],
    record: PlacementRecord = RECORD,
    task: PlacedTask = TASK,
) -> ExperimentPlacement:
    return experiment_placement(record, task, *read)


def test_every_baseline_is_in_one_group_and_the_table_has_its_numbers(read) -> None:
    (task,) = placed(read).tasks
    comparison = read[1].tasks[0].comparison
    less = page.differences_of(comparison, NEW)
    assert set(less) == set(METHODS) - {NEW} and all(each.first == NEW for each in less.values())
    words = {"better than": 0, "worse than": 0, "not separated from": 0}
    for each in less.values():
        low, high = each.interval.low, each.interval.high
        words["better than" if low > 0 else "worse than" if high < 0 else "not separated from"] += 1
    for group, members in words.items():
        assert (f"{group} " in task.sentences[1]) == bool(members), group
    assert task.table.rows[0][0] == NEW and len(task.table.rows) == len(METHODS)
    means = {each.method: each.judged.mean for each in comparison.standings}
    others = [row[0] for row in task.table.rows[1:]]
    assert others == sorted(others, key=lambda method: -means[method])
    units = {each.method: each.judged.units for each in comparison.standings}
    assert [row[2] for row in task.table.rows] == [str(units[row[0]]) for row in task.table.rows]
    for row in task.table.rows[1:]:
        shown = float(row[3].split()[0].replace("\u2212", "-"))
        assert shown == pytest.approx(100 * (means[NEW] - means[row[0]]), abs=0.006)
    assert task.latex.endswith(r"\\") and task.latex.startswith(r"latent\_sgd &")
    assert task.cautions == [] and "gave the same bits" in task.paragraph
    assert "3 independent studies of 8 trials" in task.paragraph and "abababababab" in task.paragraph


def test_what_the_interval_does_not_exclude_is_not_separated(read) -> None:
    comparison = read[1].tasks[0].comparison
    values = {"far below": 0.05, "near below": 0.004, "near above": -0.004, "far above": -0.05}
    less = {name: Difference(NEW, name, value, 0.01, 30.0, 4) for name, value in values.items()}
    (sentence,) = page.against(less, comparison)
    better, worse, apart = (re.split(r"; |\. In", sentence))[:3]
    assert better.startswith("It is better than far below (+5.00") and "near" not in better
    assert worse.startswith("worse than far above (") and "near" not in worse
    assert apart.startswith("not separated from near above (") and "near below (+0.40" in apart


def test_harder_and_easier_to_tune_by_shares_of_good_settings(read) -> None:
    """Of 21 random settings 10 are good for the newcomer, all for one baseline, none for another."""
    study = read[1].tasks[0].study
    good = {NEW: 10, "bop": 21, "latent_adam": 0, "bop_second_order": 9}
    near = {
        method: good_share([0.9] * count + [0.5] * (21 - count), 0.9, 0.01) for method, count in good.items()
    }

    def ease_of(*methods: str) -> list[str]:
        rows = tuple(replace(row, near=near[row.method]) for row in study.methods if row.method in methods)
        pairs = tuple(share_differences({row.method: near[row.method] for row in rows}))
        return page.ease(replace(study, methods=rows, differences=pairs), NEW)

    draws, words = ease_of(*METHODS)
    assert draws.startswith("Of 21 random settings 10 come within 1 point")
    assert words == "It is shown to be harder to tune than bop and easier to tune than latent_adam."
    assert ease_of(NEW, "bop")[1] == "It is shown to be harder to tune than bop."
    assert ease_of(NEW, "bop_second_order")[1] == (
        "It is not shown to be harder or easier to tune than any baseline."
    )


def test_a_machine_that_differs_gets_numbers_and_no_verdict(read) -> None:
    far = replace(TASK, repeated=[replace(REPEATED, here=0.91, same_bits=False)])
    (task,) = placed(read, task=far).tasks
    assert task.cautions[0].startswith(
        "No verdict: 1 published run, trained again on this machine, scored +1.00"
    )
    assert len(task.sentences) == 1 and all(row[3] == "—" for row in task.table.rows)
    near = replace(TASK, repeated=[replace(REPEATED, here=0.903, same_bits=False)])
    (task,) = placed(read, task=near).tasks
    assert task.cautions == [] and "scored +0.30 points" in task.paragraph


def test_without_a_verdict_no_word_ranks(read) -> None:
    far = replace(TASK, repeated=[replace(REPEATED, here=0.91, same_bits=False)])
    (task,) = placed(read, task=far).tasks
    for word in ("worse", "best", "highest", "separated", "equal"):
        assert word not in task.sentences[0] + str(task.table.rows)
    assert task.picture is None


def test_attempts_and_missing_baselines_stand_first(read) -> None:
    before = [replace(FILE, sha256="1"), replace(FILE, sha256="2"), replace(FILE, method="bopp")]
    record = replace(RECORD, placement=replace(FILE, quick=True), before=before)
    (task,) = placed(read, record, replace(TASK, left_out=["a", "b"])).tasks
    first, second, third, last = task.cautions
    assert "A first look" in first and "2 other files of this name were placed" in second
    assert third == "The same code was placed before as bopp."
    assert last.startswith("2 methods of standard/x have not all runs yet and are not among")
    assert all(caution in task.paragraph for caution in task.cautions)  # a paper has them, too
    assert "with a part of the baselines' budget: " in task.paragraph


def test_a_newcomer_that_lost_a_run_is_provisional(tmp_path: Path) -> None:
    folder = write_experiment(tmp_path, tasks=TASKS[:1], methods=METHODS, seeds=2, tracks=TRACKS)
    remove(final_run(folder, f"digits.mlp.{NEW}", 0))
    records = read_records(folder)
    report = gather(records)
    (task,) = experiment_placement(RECORD, TASK, records, report).tasks
    assert "provisional: 5 of 6 runs in" in task.sentences[0]
