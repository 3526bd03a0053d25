"""Winners on other tasks: which runs there must be, in any order of work, and what readers make of them."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from report.read.experiment import read_records
from suite.checks.adopt import adoption
from suite.checks.merge import Source, merge_records, require_mergeable
from suite.checks.status import Observer
from suite.checks.verify import Verification
from suite.experiment.plan import Plan
from suite.machine.errors import UserError
from suite.records.agreement import Contradiction
from suite.records.archive import write_archive
from suite.records.codec import encode
from suite.records.experiment import ExperimentFolder
from suite.records.files import read_json, write_json
from suite.records.replan import changes, forget_edited_plugins, require_same_work
from suite.records.schedules import Cosine
from suite.records.schema import Failure, Ledger, Place, PlannedCell, Scores, TransferEntry
from suite.records.seeds import final_seed
from suite.records.trial import Trial
from suite.records.union import union
from suite.sweep.cell import CellProgress
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.pool import LocalPool, Machine
from tests.support.tiny import digests, tiny_plan
from tests.support.transfers import TRANSFER, data_of, transfer_sweep

BOP = "digits.mlp.bop"


class Stopped(Exception):
    """The sweep is cut off here."""


def ledgers(folder: Path) -> dict[str, Ledger]:
    records = ExperimentFolder(folder)
    plan = records.plan()
    return {cell.cell: records.ledger(cell, plan) for cell in plan.cells}


def sweep(
    plan: Plan,
    folder: Path,
    workers: int = 2,
    tuning_only: bool = False,
    stop_at: int = 0,
    stop_with: str = "",
) -> None:
    """Run a plan; it is cut off at so many messages, or at the first one about a method."""
    messages = Counter[str]()

    def watch(message: object, trial: Trial, cell: str) -> None:
        messages["all"] += 1
        if messages["all"] == stop_at or trial.method.name == stop_with:
            raise Stopped

    prepare_folder(plan, folder, data_of(plan))
    with LocalPool(Machine(("cpu",) * workers), plan.plugins) as pool:
        assert Sweep(plan, folder, pool, tuning_only, watch).run()


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return transfer_sweep(tmp_path_factory.mktemp("moved"))


@pytest.fixture
def folder(tmp_path: Path, moved: Path) -> Path:
    shutil.copytree(moved, tmp_path / "results")
    return tmp_path / "results"


def other(cell: PlannedCell, plan_cells: list[PlannedCell]) -> list[PlannedCell]:
    return [each for each in plan_cells if each.method == cell.method and each.task != cell.task]


def test_each_winner_runs_on_the_other_tasks_with_the_seeds_of_their_own(moved: Path) -> None:
    plan, found = ExperimentFolder(moved).plan(), ledgers(moved)
    for cell in plan.cells:
        expected = []
        for source in other(cell, plan.cells):
            for study in found[source.cell].studies:
                assert study.winner is not None
                expected.append((source.task, study.number, study.winner.hypers))
                (entry,) = (
                    each
                    for each in found[cell.cell].transfer
                    if (each.source, each.study) == (source.task, study.number)
                )
                own = next(each for each in found[cell.cell].studies if each.number == study.number)
                for final, mine in zip(entry.final, own.final, strict=True):
                    run, at_home = (ExperimentFolder(moved).run(each.run) for each in (final, mine))
                    trial = run.trial()
                    assert trial.seed == at_home.trial().seed == final_seed(0, study.number, final.number)
                    assert (trial.stage, trial.data, trial.model, trial.train) == (
                        "final", cell.trial.data, cell.trial.model, cell.trial.train,
                    )  # fmt: skip
                    drawn = {**trial.method.options, "real.lr": trial.real_lr}
                    if cell.method == "latent-adam":
                        rate = drawn["lr"]
                        assert isinstance(rate, Cosine)  # it decays on top of the draw
                        drawn["lr"] = rate.start
                    assert drawn == study.winner.hypers
                    result = run.result()
                    assert result is not None and result.scores.test_top1 is not None
        assert [(each.source, each.study, each.hypers) for each in found[cell.cell].transfer] == expected


def test_neither_workers_nor_a_stop_change_a_bit(tmp_path: Path, moved: Path) -> None:
    plan = tiny_plan(tmp_path, text=TRANSFER)
    with pytest.raises(Stopped):
        sweep(plan, tmp_path / "results", stop_at=70)
    with pytest.raises(Stopped):
        sweep(plan, tmp_path / "results", stop_at=40)
    assert digests(tmp_path / "results" / "runs") != digests(moved / "runs")
    sweep(plan, tmp_path / "results", workers=1)
    assert digests(tmp_path / "results" / "runs") == digests(moved / "runs")
    assert ledgers(tmp_path / "results") == ledgers(moved)


def test_tuning_alone_runs_nothing_on_another_task(tmp_path: Path, moved: Path) -> None:
    plan = tiny_plan(tmp_path, text=TRANSFER)
    sweep(plan, tmp_path / "results", tuning_only=True)
    assert not any(entry.final for each in ledgers(tmp_path / "results").values() for entry in each.transfer)
    sweep(plan, tmp_path / "results")
    assert ledgers(tmp_path / "results") == ledgers(moved)


def bop_cells(place: Path) -> list[CellProgress]:
    """The cells of Bop on both tasks, unknown to each other and without a draw."""
    plan, folder = tiny_plan(place, text=TRANSFER), place / "results"
    prepare_folder(plan, folder, data_of(plan))
    return [
        CellProgress(plan, cell, ExperimentFolder(folder), tuning_only=False)
        for cell in plan.cells
        if cell.method == "bop"
    ]


def test_a_winner_waits_for_the_same_study_of_the_task_where_it_runs(tmp_path: Path) -> None:
    here, there = bop_cells(tmp_path)
    here.others, there.others = [there], [here]

    def finish(cell: CellProgress, number: int) -> None:
        for trial in cell.studies[number].tuning:
            cell.learn(trial, Scores(val_loss=1.0, val_top1=0.5, val_top5=0.9))

    for cell in (here, there):
        cell.ready()
    finish(there, 1)
    assert there.ready() and not here.ready()
    finish(here, 0)
    new = here.ready()  # its own final runs, and none of the other task's
    assert {trial.seed for trial in new} == {final_seed(0, 0, number) for number in (0, 1)}
    finish(here, 1)
    places = {each.place for trial in here.ready() for each in here.entries(trial)}
    assert {place for place in places if place.source} == {
        Place("transfer", "random", 1, number, "digits.wide") for number in (0, 1)
    }


def test_a_cell_is_complete_with_the_other_task_s_winners(tmp_path: Path) -> None:
    here, there = bop_cells(tmp_path)
    here.others = [there]
    for cell in (here, there):
        for number, trial in enumerate(cell.ready()):  # of both studies; different trials win on each task
            good = (number % 2 == 0) == (cell is here)
            cell.learn(trial, Scores(val_loss=1.0, val_top1=0.9 if good else 0.1, val_top5=0.9))
    waiting = []
    while trials := here.ready():
        for trial in trials:
            if all(entry.place.source for entry in here.entries(trial)):
                waiting.append(trial)
            else:
                here.learn(trial, Scores(val_loss=1.0, val_top1=0.5, val_top5=0.9))
    assert len({trial.run_id for trial in waiting}) == 4 and not here.complete()
    for trial in waiting:
        here.learn(trial, Scores(val_loss=1.0, val_top1=0.5, val_top5=0.9))
    assert here.complete()


def test_verify_counts_and_finds_them_intact(moved: Path) -> None:
    found = Verification(moved).run()
    assert not found.findings and found.counts["transfer", "done"] == 4 * 2 * 2
    status = Observer(moved).look()
    assert status.settled and [cell.transfer for cell in status.cells] == [4] * 4


def entry_of(folder: Path) -> TransferEntry:
    return ledgers(folder)[BOP].transfer[0]


def changed(folder: Path, **changes: object) -> str:
    path = folder / "cells" / f"{BOP}.json"
    value = read_json(path)
    value["transfer"][0].update(changes)
    write_json(path, value)
    return path.relative_to(folder).as_posix()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "digits.tall"}, "names random study 0 of digits.tall seed 0, which is not planned"),
        ({"source": "digits.mlp"}, "names random study 0 of digits.mlp seed 0, which is not planned"),
        ({"study": 2}, "names random study 2 of digits.wide seed 0, which is not planned"),
        ({"study": 1}, "names random study 1 of digits.wide seed 0 twice"),
        (
            {"hypers": {"gamma": 0.5}},
            "the winner of random study 0 of digits.wide: hypers: the ledger has no",
        ),
    ],
)
def test_a_ledger_that_cannot_be_is_named(folder: Path, changes: dict[str, object], words: str) -> None:
    file = changed(folder, **changes)
    (finding, *_) = (each for each in Verification(folder).run().findings if each.kind == "contradictory")
    assert finding.file == file and words in finding.text


def test_another_setting_than_the_winner_is_named(folder: Path) -> None:
    """Both readers compare the two ledgers: the runs themselves would fit their own."""
    hypers = entry_of(folder).hypers | {"threshold": 0.25}
    file = changed(folder, hypers=encode(hypers), final=[])
    words = "the winner of random study 0 of digits.wide: threshold is 0.25, in the ledger there it is "
    assert any(
        each.kind == "contradictory" and each.file == file and words in each.text
        for each in Verification(folder).run().findings
    )
    records = ExperimentFolder(folder)
    plan = records.plan()
    ((entry, problem),) = records.wrong_transfers(records.ledger(plan.cells[0], plan), plan.cells[0], plan)
    assert words in problem and not entry.final


def test_a_setting_that_won_nowhere_damages_its_own_runs_alone(folder: Path) -> None:
    changed(folder, hypers=encode(entry_of(folder).hypers | {"threshold": 0.25}))
    records = read_records(folder)
    cell = records.cells[0]
    assert not cell.problem
    assert Counter(run.status for run in records.transfers(cell)) == {"damaged": 2, "done": 2}
    assert {run.status for run in (*records.trials(cell), *records.finals(cell))} == {"done"}
    assert sum("the winner of random study 0 of digits.wide: " in text for text in records.damaged) == 1


def test_a_merge_takes_out_what_is_no_winner(folder: Path, moved: Path) -> None:
    changed(folder, hypers=encode(entry_of(folder).hypers | {"threshold": 0.25}), final=[])
    sources = [Source(path, path, Verification(path).run()) for path in (folder, moved)]
    require_mergeable(sources, folder)
    done = merge_records(sources, folder)
    assert any("is another setting in the other ledger" in text for text in done.contradictions)
    assert any("; the next sweep names its runs again" in text for text in done.contradictions)
    assert [entry.study for entry in ledgers(folder)[BOP].transfer] == [1]
    found = Verification(folder).run()
    assert {each.kind for each in found.findings} == {"missing", "note"}, list(found.findings)


def test_a_sweep_that_goes_on_names_no_less_than_before(tmp_path: Path, folder: Path) -> None:
    """The first cell is opened, and its ledger written, before the task whose winners it names."""
    before = ledgers(folder)
    shutil.rmtree(folder / "runs" / before["digits.wide.latent-adam"].studies[1].final[0].run)
    with pytest.raises(Stopped):
        sweep(tiny_plan(tmp_path, text=TRANSFER), folder, stop_with="latent-adam")
    assert ledgers(folder) == before


def test_winners_of_an_edited_plugin_are_forgotten_on_every_task(folder: Path) -> None:
    records = ExperimentFolder(folder)
    plan = records.plan()
    before, after = (
        replace(
            plan,
            cells=[
                replace(cell, trial=replace(cell.trial, plugins={"model": source}))
                if cell.model == "wide"
                else cell
                for cell in plan.cells
            ],
        )
        for source in ("1", "2")
    )
    assert "the file of wide was edited: its runs are made again" in forget_edited_plugins(
        records, before, after
    )
    assert sorted(path.stem for path in (folder / "cells").glob("*.json")) == [BOP, "digits.mlp.latent-adam"]
    assert not any(ledger.transfer for ledger in remaining(folder))


def remaining(folder: Path) -> list[Ledger]:
    records = ExperimentFolder(folder)
    plan = records.plan()
    return [records.ledger(cell, plan) for cell in plan.cells if cell.model == "mlp"]


def test_where_all_trials_failed_nothing_is_expected(folder: Path) -> None:
    """The runs of that winner on the other task are never made, and the sweep counts as settled."""
    lost = ledgers(folder)[BOP].studies[0]
    for path in (folder / "cells").glob("digits.*.bop.json"):
        value = read_json(path)
        value["studies"] = [
            {**study, "winner": None, "final": []} if (path.stem, study["number"]) == (BOP, 0) else study
            for study in value["studies"]
        ]
        value["transfer"] = [
            each for each in value["transfer"] if (each["source"], each["study"]) != ("digits.mlp", 0)
        ]
        write_json(path, value)
    for entry in lost.tuning:
        run = folder / "runs" / entry.run
        (run / "result.json").unlink()
        ExperimentFolder(folder).run(entry.run).fail(Failure(kind="error", error="lost"))
    status = Observer(folder).look()
    assert {cell.cell: cell.never for cell in status.cells} == {
        BOP: 2, "digits.mlp.latent-adam": 0, "digits.wide.bop": 2, "digits.wide.latent-adam": 0,
    }  # fmt: skip
    assert status.settled


def test_more_trials_take_the_winners_back(tmp_path: Path, folder: Path) -> None:
    """A longer study may have another winner: until it has one, none of its runs is named."""
    plan = tiny_plan(tmp_path, "tuning.trials=3", text=TRANSFER)
    records, longer = ExperimentFolder(folder), plan.record
    assert all(not records.ledger(cell, longer).transfer for cell in longer.cells)
    sweep(replace(plan, name="tiny"), folder)
    again = ledgers(folder)
    assert not Verification(folder).run().exit_code
    assert all(len(each.transfer) == 2 for each in again.values())


def test_two_parts_of_a_ledger_become_one(tmp_path: Path, moved: Path) -> None:
    plan, whole = ExperimentFolder(moved).plan(), ledgers(moved)[BOP]
    first, second = whole.transfer
    parts = (
        replace(whole, transfer=[second, replace(first, final=first.final[1:])]),
        replace(whole, transfer=[replace(first, final=first.final[:1])]),
    )
    for mine, theirs in (parts, parts[::-1]):
        assert union(mine, theirs, plan, moved) == whole
    longer = tiny_plan(tmp_path, "tuning.trials=3", text=TRANSFER).record
    drawn = [*whole.studies[0].tuning, replace(whole.studies[0].tuning[1], number=2)]
    grown = replace(
        whole, studies=[replace(whole.studies[0], tuning=drawn, winner=None, final=[])], transfer=[]
    )
    for mine, theirs in ((whole, grown), (grown, whole)):  # study 0 may have another winner by now
        assert union(mine, theirs, longer, moved).transfer == [second]
    other = replace(whole, transfer=[replace(first, hypers=first.hypers | {"threshold": 0.25})])
    with pytest.raises(Contradiction, match=r"study 0 of digits\.wide is another setting"):
        union(whole, other, plan, moved)


def test_a_plan_may_begin_to_transfer_and_not_cease_to(tmp_path: Path, moved: Path) -> None:
    after = tiny_plan(tmp_path, "tuning.transfer=false", text=TRANSFER).record
    records = ExperimentFolder(moved)
    before = records.plan()
    assert not changes(after, before)
    assert "tuning.transfer is true, in the new plan it is false" in changes(before, after)
    with pytest.raises(UserError, match=r"are not in the new one: tuning\.transfer is true"):
        require_same_work(records, before, after)
    assert "extended: final runs of each winner on the other tasks" in require_same_work(
        records, after, before
    )


def test_an_archive_is_adopted_and_a_part_of_it_without_the_tasks_that_are_not_there(
    tmp_path: Path, moved: Path
) -> None:
    archive = tmp_path / "records.tar.xz"
    write_archive(moved, archive)
    smaller = TRANSFER.replace("studies: 2", "studies: 1").replace("seeds: 2", "seeds: 1")
    parts = ((TRANSFER, False, 16), (one_task(TRANSFER), True, 0), (smaller, True, 4))
    for number, (text, part, transfers) in enumerate(parts):
        plan = tiny_plan(tmp_path, text=text)
        folder = tmp_path / f"results-{number}"
        prepare_folder(plan, folder, data_of(plan))
        with adoption(archive, folder, plan.record, data_of(plan), part) as ready:
            notes = ready.carry_out()
        assert any("adopted from" in note for note in notes), notes
        found = Verification(folder).run()
        assert found.counts["transfer", "done"] == transfers
        assert not found.findings and not sum(
            found.counts[phase, "missing"] for phase in ("tuning", "final", "default")
        )


def one_task(text: str) -> str:
    return text.replace(", {name: mlp, label: wide, hidden: [24]}", "").replace(", transfer: true", "")
