"""Hand-made records of experiments with a claim: what each arm reaches is planted, nothing is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from suite.records.claim import Claim
from suite.records.codec import encode
from suite.records.experiment import ExperimentFolder
from suite.records.files import write_json
from suite.records.schema import (
    FORMAT,
    BytesPerWeight,
    DefaultEntry,
    EpochLine,
    FinalEntry,
    FlipCounts,
    Layer,
    Ledger,
    PlannedCell,
    PlanRecord,
    Result,
    Scores,
    StudyEntry,
    Track,
    Tuning,
    TuningEntry,
    Winner,
)
from suite.records.seeds import final_seed, tuning_seed
from suite.records.trial import PROTOCOL, Choice, Settings, Stage, Trial
from tests.support.fake_records import (
    DATA,
    ENVIRONMENT,
    METHODS,
    TRAIN,
    correct_images,
    data_record,
    of_images,
    write_plan,
)

TASK = ("digits", "mlp")
LAYERS = [Layer(name="layers.0", weights=2000), Layer(name="layers.3", weights=500)]
WEIGHTS = sum(layer.weights for layer in LAYERS)
EPOCHS, STEPS = 2, 6  # steps of an epoch
TEXT = "version: 1\nseeds: 5\n"  # of the experiment's file


@dataclass(frozen=True)
class Arm:
    """What the runs of an arm have, seed by seed.

    flips: of the whole training, per weight. signs: what the runs have in common with those of other arms of
    the same word. parts: the step and the layer from which a seed differs from the others. draws: validation
    scores of random settings, where the experiment tunes.
    """

    top1: Sequence[float]
    flips: float = 0.4
    undone: float = 0.2
    reals: float = 2.0
    signs: str = ""
    parts: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    draws: Sequence[float] = ()
    options: Mapping[str, float] = field(default_factory=dict)
    method: str = "bop"


def around(mean: float, seeds: int, sd: float = 0.003, key: int = 0) -> list[float]:
    """Accuracies whose mean and standard deviation are these, up to rounding."""
    noise = np.random.default_rng([key, seeds]).normal(0, 1, seeds)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return [float(mean + sd * each) for each in noise]


def write_claim(
    folder: Path, claim: Claim | None, arms: Mapping[str, Arm], name: str = "claims/planted"
) -> Path:
    """Write a complete experiment with these arms into `folder`; all have the same number of seeds."""
    seeds, draws = ({len(each.top1) for each in arms.values()}, {len(each.draws) for each in arms.values()})
    (seeds,), (draws,) = seeds, draws
    tracks = [Track(name="random", trials=draws + 1)] if draws else []
    plan = PlanRecord(
        format=FORMAT,
        protocol=PROTOCOL,
        experiment=name,
        summary="An effect of known size.",
        yaml=TEXT,
        tuning=Tuning(tracks=tracks),
        seeds=seeds,
        methods={
            label: replace(METHODS[arm.method], hypers=METHODS[arm.method].hypers if draws else {})
            for label, arm in arms.items()
        },
        data={TASK[0]: DATA[TASK[0]]},
        cells=[planned(label, arm) for label, arm in arms.items()],
        claim=claim,
    )
    for part in ("data", "cells", "runs"):
        (folder / part).mkdir(parents=True)
    experiment = ExperimentFolder(folder)
    write_plan(folder, plan)
    write_json(experiment.data_path(TASK[0]), encode(data_record(TASK[0])))
    for cell, arm in zip(plan.cells, arms.values(), strict=True):
        write_arm(experiment, cell, arm)
    return folder


def planned(label: str, arm: Arm) -> PlannedCell:
    trial = Trial(
        stage="final",
        data=Choice(TASK[0], {}),
        model=Choice(TASK[1], {"hidden": 8}),
        method=Choice(arm.method, defaults(arm) if arm.draws else {"label": label, **arm.options}),
        real_lr=0.01,
        train=replace(TRAIN, epochs=EPOCHS),
        seed=final_seed(0, 0, 0),
    )
    return PlannedCell(
        cell=f"{TASK[0]}.{TASK[1]}.{label}",
        data=TASK[0],
        model=TASK[1],
        method=label,
        epochs=EPOCHS,
        trial=trial,
    )


def defaults(arm: Arm) -> Settings:
    """The published setting of its method, without the rate of the real parameters."""
    cards = METHODS[arm.method].hypers
    return {name: card.default for name, card in cards.items() if name != "real.lr"}


def drawn_trial(planned: Trial, stage: Stage, seed: int, number: int) -> tuple[Trial, Settings]:
    """A trial of the study and its hyperparameters: only the rate of the real parameters is drawn."""
    rate = 0.01 if number == 0 else 0.001 + 1e-6 * number
    trial = replace(planned, stage=stage, seed=seed, real_lr=rate)
    return trial, {**trial.method.options, "real.lr": rate}


def write_arm(experiment: ExperimentFolder, cell: PlannedCell, arm: Arm) -> None:
    trials = [replace(cell.trial, seed=final_seed(0, 0, number)) for number in range(len(arm.top1))]
    for number, trial in enumerate(trials):
        write_run(experiment, trial, arm, number)
    studies = [write_study(experiment, cell, arm)] if arm.draws else []
    default = [DefaultEntry(study=0, number=n, run=trial.run_id) for n, trial in enumerate(trials)]
    ledger = Ledger(cell=cell.cell, studies=studies, default=default)
    write_json(experiment.ledger_path(cell.cell), encode(ledger))


def write_study(experiment: ExperimentFolder, cell: PlannedCell, arm: Arm) -> StudyEntry:
    scores = (0.5, *arm.draws)  # the default's first
    tuning = []
    for number, score in enumerate(scores):
        seed = tuning_seed(0, cell.cell, "random", 0)
        trial, hypers = drawn_trial(cell.trial, "tune", seed, number)
        write_tuning_run(experiment, trial, score)
        tuning.append(TuningEntry(number=number, run=trial.run_id, hypers=hypers))
    best = int(np.argmax(scores))
    finals = []
    for number in range(len(arm.top1)):
        trial, _ = drawn_trial(cell.trial, "final", final_seed(0, 0, number), best)
        write_run(experiment, trial, arm, number)
        finals.append(FinalEntry(number=number, run=trial.run_id))
    winner = Winner(number=best, value=scores[best], hypers=tuning[best].hypers)
    key = f"{cell.cell}.random.0"
    return StudyEntry(track="random", number=0, key=key, tuning=tuning, winner=winner, final=finals)


def write_tuning_run(experiment: ExperimentFolder, trial: Trial, score: float) -> None:
    run = experiment.run(trial.run_id)
    flips = flip_counts(Arm([score]), 0)
    result = result_of(Arm([score]), Scores(val_loss=0.3, val_top1=score, val_top5=0.99))
    run.begin(trial, ENVIRONMENT)
    run.finish(result, lines_of(Arm([score]), score, flips))


def write_run(experiment: ExperimentFolder, trial: Trial, arm: Arm, number: int) -> None:
    reached = of_images(arm.top1[number], TASK[0])
    scores = Scores(
        val_loss=0.3, val_top1=reached, val_top5=0.99, test_loss=0.35, test_top1=reached, test_top5=0.99
    )
    flips = flip_counts(arm, number)
    result = result_of(arm, scores)
    if arm.signs:
        own = f"{arm.signs}-{number}-{arm.parts.get(number, '')}"
        result = replace(result, probes={"signs": {"weights": own, "flips": own}})
    run = experiment.run(trial.run_id)
    run.begin(trial, ENVIRONMENT)
    correct = correct_images(reached, TASK[0], trial.seed)
    run.finish(result, lines_of(arm, reached, flips), flips, correct)


def flip_counts(arm: Arm, number: int) -> np.ndarray:
    """int32 (steps, layers): the same for the same word and seed, but for what is planted."""
    steps = EPOCHS * STEPS
    level = arm.flips / steps * np.array([layer.weights for layer in LAYERS])
    counts = np.tile(level, (steps, 1)).astype(np.int32) + number
    if number in arm.parts:
        step, layer = arm.parts[number]
        counts[step - 1, layer] += 1
    return counts


def result_of(arm: Arm, scores: Scores) -> Result:
    return Result(
        status="done",
        epochs=EPOCHS,
        steps=EPOCHS * STEPS,
        scores=scores,
        layers=LAYERS,
        binary_weights=WEIGHTS,
        real_parameters=10,
        bytes_per_binary_weight=BytesPerWeight(stored=4.0, optimizer=4.0 * (arm.reals - 1)),
        digest="ab" * 32,
        seconds=4.5,
        step_milliseconds=1.0,
        peak_memory_bytes=10_000_000,
    )


def lines_of(arm: Arm, reached: float, flips: np.ndarray) -> list[EpochLine]:
    lines = []
    for epoch in range(1, EPOCHS + 1):
        during = flips[(epoch - 1) * STEPS : epoch * STEPS].sum(0)
        undone = (during * arm.undone).astype(int).tolist()
        lines.append(
            EpochLine(
                epoch=epoch,
                step=epoch * STEPS,
                train_loss=1.0 / epoch,
                train_top1=reached,
                val_loss=1.0 / epoch,
                val_top1=reached,
                val_top5=0.99,
                flips=FlipCounts(
                    flips=during.tolist(),
                    undone_1=undone,
                    undone_2=undone,
                    undone_5=undone,
                    undone_10=undone,
                    never=[100, 50],
                    distance=[900, 200],
                ),
                train_seconds=0.1,
                seconds=0.1,
            )
        )
    return lines
