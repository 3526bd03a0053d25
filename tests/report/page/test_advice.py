"""The advice of a report: candidates from its records, and settings that an experiment accepts."""

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from report.page.advice import advice_of, as_trained, command_of
from report.read.experiment import read_records
from suite.cli.main import app
from suite.cli.train import Ended
from suite.records.run import RunFolder
from suite.records.schedules import Cosine, Restart, Step
from suite.records.trial import Trial
from tests.support.attempts import swept
from tests.support.fake_records import TASKS, write_experiment


def judged(*best: str, conditional: bool = False) -> Any:
    methods = [SimpleNamespace(method=name, may_be_best=name in best) for name in ("bop", "latent_adam")]
    return SimpleNamespace(methods=methods, conditional=conditional)


def test_the_records_give_memory_and_the_settings_of_the_best_study(tmp_path: Path) -> None:
    records = read_records(write_experiment(tmp_path, tasks=TASKS, methods=("bop", "latent_adam")))
    judgements: dict[Any, Any] = dict(
        zip(records.tasks, (judged("bop", "latent_adam"), judged("bop")), strict=True)
    )
    advice = advice_of(records, judgements, {})
    assert advice is not None
    assert (advice.method, advice.caution) == ("bop", "")
    assert list(advice.settings) == [task.title for task in records.tasks]
    entry = yaml.safe_load(advice.settings[records.tasks[0].title])
    winner = records.cells[0].winners[0].hypers
    assert entry["methods"][0] == {"name": "bop", "gamma": winner["gamma"], "threshold": winner["threshold"]}
    assert entry["real"] == {"lr": winner["real.lr"]}

    everywhere: dict[Any, Any] = dict.fromkeys(records.tasks, judged("bop", "latent_adam"))
    one, two = records.tasks
    draws = {(one, "bop"): 3.0, (two, "bop"): 30.0, (one, "latent_adam"): 9.0, (two, "latent_adam"): 10.0}
    hard = advice_of(records, everywhere, draws)  # the task on which a method needs most draws counts
    assert hard is not None and hard.method == "latent_adam"
    close = {
        (task, method): n for task in records.tasks for method, n in (("bop", 8.9), ("latent_adam", 8.1))
    }
    alike = advice_of(records, everywhere, close)  # nobody makes a tenth of a draw: memory decides
    assert alike is not None and alike.method == "bop"
    half_known = advice_of(records, everywhere, {**draws, (two, "latent_adam"): float("nan")})
    assert half_known is not None and half_known.method == "bop"


def test_one_task_is_decided_by_draws_and_then_memory_and_one_study_is_said(tmp_path: Path) -> None:
    records = read_records(write_experiment(tmp_path, tasks=TASKS[:1], methods=("bop", "latent_adam")))
    (task,) = records.tasks
    both = {task: judged("bop", "latent_adam", conditional=True)}
    by_memory = advice_of(records, both, {})
    assert by_memory is not None and by_memory.method == "bop"  # 4 + 4 bytes against 4 + 8
    assert by_memory.reasons[-1] == "bop: 8 bytes for each binary weight, the least of these."
    assert by_memory.caution.startswith("Given one draw of the tuning")
    by_draws = advice_of(records, both, {(task, "bop"): 30.0, (task, "latent_adam"): 4.0})
    assert by_draws is not None and by_draws.method == "latent_adam"


TWO = """
version: 1
summary: Two methods, one with a decay.
tasks: [{data: {name: digits, train_limit: 100}, model: {name: mlp, hidden: [8]}}]
methods: [bop, {name: latent-adam, label: adam, clip: null, decay: {lr: {cosine: 0.0}}}]
train: {epochs: 1, batch_size: 50}
tuning: {trials: 2}
seeds: 1
"""
NAMES_ALL = """
published: [{method: adam, data: digits, model: mlp, top1: 97.0, source: a paper}]
claim:
  id: C1
  title: One beats the other
  sentence: A sentence.
  source: A paper
  supports: it does
  refutes: it does not
  limits: A small network.
  tests: [{kind: contrast, says: bop beats adam, of: {bop: 1, adam: -1}, expect: above}]
"""


@pytest.mark.parametrize("names_all", ["", NAMES_ALL])
@pytest.mark.parametrize("changes", [(), ("train.batch_size=25", "real={decay: {lr: {cosine: 0.0}}}")])
def test_the_command_trains_with_the_settings_of_the_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: tuple[str, ...], names_all: str
) -> None:
    (place := tmp_path / "experiments").mkdir()
    swept(place, *changes, text=TWO + names_all)
    records = read_records(place / "results")
    trained: list[tuple[Trial, bool]] = []

    def take(trial: Trial, run: Path, device: str, threads: int, keep: bool, *_: object) -> Ended:
        trained.append((trial, keep))
        return Ended()

    monkeypatch.setattr("suite.cli.train._train", take)
    monkeypatch.chdir(tmp_path)
    for cell in records.cells:
        words = shlex.split(command_of(records, cell))
        assert words[:4] == ["flipbench", "train", "tiny", cell.name]
        ended = CliRunner().invoke(app, words[1:], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        trial, keep = trained.pop()
        (final,) = (run for run in records.finals(cell) if run.phase == "final")
        winners = RunFolder(place / "results" / "runs" / final.run_id).trial()
        assert keep and replace(trial, seed=winners.seed) == winners


def test_a_drawn_start_keeps_the_decay_of_the_plan() -> None:
    assert as_trained(0.02, Cosine(0.01, 0.0)) == Cosine(0.02, 0.0)
    assert as_trained(0.02, Step(0.01, 0.5, (0.5,))) == Step(0.02, 0.5, (0.5,))
    assert as_trained(0.02, 0.01) == 0.02
    assert as_trained(0.7, Cosine(0.01, 0.0)) == Cosine(0.7, 0.0)  # 0.01 * (0.7 / 0.01) is not 0.7
    halves = Restart(Cosine(0.01, 0.0), (0.5,))
    assert as_trained(0.7, halves) == Restart(Cosine(0.7, 0.0), (0.5,))
