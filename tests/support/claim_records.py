"""Records of a claim in memory: each arm's final runs have the numbers that a test gives them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from report.read.curves import Curves, LayerFlips
from report.read.records import CellRecord, Records, RunRecord, Status, Task
from suite.records.claim import Claim, Test
from suite.records.schema import (
    FORMAT,
    BytesPerWeight,
    DataSizes,
    HyperCard,
    Ledger,
    MethodCard,
    Place,
    PlannedCell,
    PlanRecord,
    Range,
    Result,
    Scores,
    Track,
    Tuning,
)
from suite.records.trial import PROTOCOL, Choice, HyperSetting, TrainSettings, Trial

IMAGES, WEIGHTS, STEPS = 1000, 100, 20


@dataclass(frozen=True)
class Run:
    """What one final run reached; a score of None is a run that is missing."""

    top1: float | None = 0.5
    flips: float = 1.0  # per weight
    undone_10: float = 0.25  # share of the flips
    reals: float = 2.0
    status: Status = "done"
    probes: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def claim_of(*tests: Test) -> Claim:
    return Claim(
        id="C1",
        title="A title",
        sentence="A sentence.",
        source="a source",
        supports="this",
        refutes="that",
        limits="small",
        tests=list(tests),
    )


def records_of(
    claim: Claim,
    arms: Mapping[str, Sequence[Run]],
    settings: Mapping[str, Mapping[str, HyperSetting]] | None = None,
) -> Records:
    """One task whose methods are the arms, untuned: a unit is a run. settings: of arms of one method."""
    task = Task("data", "model", "data.model")
    methods = {arm: Choice(arm, {}) for arm in arms} | {
        arm: Choice("bop", options) for arm, options in (settings or {}).items()
    }
    cells = [
        CellRecord(_planned(arm, methods[arm]), task, None, arm, Ledger.empty(f"data.model.{arm}"))
        for arm in arms
    ]
    plan = PlanRecord(
        format=FORMAT,
        protocol=PROTOCOL,
        experiment="claim",
        summary="A claim.",
        yaml="",
        tuning=Tuning(tracks=[]),
        seeds=max(map(len, arms.values())),
        methods={arm: _card(arm) for arm in arms},
        data={"data": DataSizes(classes=10, shape=[1, 2, 2], train=8, val=4, test=IMAGES, bytes=48)},
        cells=[cell.planned for cell in cells],
        claim=claim,
    )
    runs = [
        _run(cell, number, run)
        for cell, arm in zip(cells, arms.values(), strict=True)
        for number, run in enumerate(arm)
    ]
    return Records(plan, [task], cells, runs, {})


def tuned_records_of(
    claim: Claim,
    draws: Mapping[str, Sequence[float]],
    *,
    best: float,
    studies: Mapping[str, Sequence[Sequence[Run]]] | None = None,
) -> Records:
    """One study of random search: the validation scores of each method's draws, after the default's.

    best: the score of every published default on fresh seeds. studies: the winners' final runs by study, in
    place of none.
    """
    plain = records_of(claim, {arm: [Run(top1=best)] * 2 for arm in draws})
    finals = studies or {}
    count = max((len(groups) for groups in finals.values()), default=1)
    trials = 1 + max(map(len, draws.values()))
    tuning = Tuning(tracks=[Track(name="random", trials=trials, studies=count)])
    cells = [replace(cell, track="random") for cell in plain.cells]
    runs = [replace(run, cell=cells[plain.cells.index(run.cell)]) for run in plain.runs]
    for cell in cells:
        for number, score in enumerate([best, *draws[cell.method]]):
            run = _run(cell, number, Run(top1=score))
            runs.append(replace(run, place=Place("tuning", "random", 0, number), seed=None))
        for study, group in enumerate(finals.get(cell.method, [])):
            for number, each in enumerate(group):
                runs.append(replace(_run(cell, number, each), place=Place("final", "random", study, number)))
    range_ = Range("log", (1e-6, 1e-2))
    cards = {
        arm: replace(card, hypers={"gamma": HyperCard(default=1e-4, range=range_)})
        for arm, card in plain.plan.methods.items()
    }
    plan = replace(plain.plan, tuning=tuning, methods=cards)
    return Records(plan, plain.tasks, cells, runs, {})


def _card(arm: str) -> MethodCard:
    return MethodCard(method=arm, paper="", summary="", latent_free=True, control=False, hypers={})


def _planned(arm: str, method: Choice) -> PlannedCell:
    train = TrainSettings(
        epochs=1,
        batch_size=2,
        batch_parts=1,
        augment="none",
        reestimate_batch_norm=False,
        precision="float32",
    )
    trial = Trial(
        stage="final",
        data=Choice("data", {}),
        model=Choice("model", {}),
        method=method,
        real_lr=0.01,
        train=train,
        seed=0,
    )
    return PlannedCell(
        cell=f"data.model.{arm}", data="data", model="model", method=arm, epochs=1, trial=trial
    )


def _run(cell: CellRecord, number: int, run: Run) -> RunRecord:
    place = Place("default", None, 0, number)
    if run.top1 is None:
        return RunRecord(cell, place, number, "missing", reason="not started")
    right = round(run.top1 * IMAGES)
    bits = np.zeros(IMAGES, bool)
    bits[:right] = True
    scores = Scores(
        val_loss=1.0,
        val_top1=run.top1,
        val_top5=1.0,
        test_loss=1.0,
        test_top1=right / IMAGES,
        test_top5=1.0,
    )
    done = run.status == "done"
    result = Result(
        status="done" if done else "diverged",
        epochs=1,
        steps=STEPS,
        scores=scores,
        layers=[],
        binary_weights=WEIGHTS,
        real_parameters=0,
        bytes_per_binary_weight=BytesPerWeight(stored=4.0, optimizer=4.0 * (run.reals - 1)),
        probes=dict(run.probes),
    )
    return RunRecord(
        cell,
        place,
        number,
        run.status,
        run_id=f"{cell.method}-{number}",
        result=result,
        curves=_curves(run) if done else None,
        correct=np.packbits(bits).tobytes() if done else b"",
    )


def _curves(run: Run) -> Curves:
    assert run.top1 is not None
    flips = np.array([round(run.flips * WEIGHTS)])
    undone = np.array([round(run.undone_10 * flips[0])])
    nothing, one = np.array([0]), np.array([1.0])
    return Curves(
        epoch=np.array([1]),
        step=np.array([STEPS]),
        train_loss=one,
        train_top1=np.array([run.top1 + 0.1]),
        val_loss=one,
        val_top1=np.array([run.top1]),
        flips=flips,
        flip_rate=flips / (WEIGHTS * STEPS),
        pi=one,
        undone_1=nothing,
        undone_2=nothing,
        undone_5=nothing,
        undone_10=undone,
        undone_share_10=undone / np.maximum(1, flips),
        never=np.array([0.5]),
        distance=np.array([0.25]),
        layers=LayerFlips(("first", "last"), np.array([60, 40]), np.array([[0, flips[0]]])),
    )
