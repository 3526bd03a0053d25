"""Hand-made records of a believable experiment: two tasks, four methods, no training.

The numbers follow smooth curves plus seeded noise, so a test can recompute what the report must print.
`write_experiment` writes a complete experiment; `spoil` then turns four final runs into a diverged,
a failed, a missing and a damaged one.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from suite.records.codec import encode
from suite.records.experiment import ExperimentFolder
from suite.records.files import read_json, write_json
from suite.records.run import RunFolder
from suite.records.schedules import Cosine
from suite.records.schema import (
    FORMAT,
    BytesPerWeight,
    DataRecord,
    DataSizes,
    DefaultEntry,
    Environment,
    EpochLine,
    Failure,
    FailureKind,
    FinalEntry,
    FlipCounts,
    GitState,
    HyperCard,
    Layer,
    Ledger,
    MethodCard,
    MethodFile,
    PlannedCell,
    PlanRecord,
    Range,
    Result,
    Scores,
    StudyEntry,
    Track,
    Tuning,
    TuningEntry,
    Winner,
)
from suite.records.seeds import final_seed, tuning_seed
from suite.records.trial import PROTOCOL, Choice, HyperSetting, Settings, Stage, TrainSettings, Trial


def searched(default: HyperSetting, kind: str, *values: float | str) -> HyperCard:
    """A hyperparameter that the experiment searches."""
    return HyperCard(default=default, range=Range(kind, values))  # pyright: ignore[reportArgumentType]


REAL_LR = searched(0.01, "log", 1e-4, 0.1)
METHODS = {
    "bop": MethodCard(
        method="bop",
        paper="Latent Weights Do Not Exist, https://arxiv.org/abs/1906.02107",
        summary="Flip a weight when a moving average of its gradient exceeds a threshold.",
        latent_free=True,
        control=False,
        hypers={
            "gamma": searched(1e-4, "log", 1e-6, 0.01),
            "threshold": searched(1e-8, "log", 1e-9, 1e-5),
            "real.lr": REAL_LR,
        },
    ),
    "bop_second_order": MethodCard(
        method="bop_second_order",
        paper="Bop and Beyond, https://arxiv.org/abs/2104.05124",
        summary="Bop with the moving average divided by a second moment.",
        latent_free=True,
        control=False,
        hypers={
            "gamma": searched(1e-3, "log", 1e-6, 0.01),
            "sigma": searched(0.01, "uniform", 0.0, 0.99),
            "real.lr": REAL_LR,
        },
    ),
    "latent_adam": MethodCard(
        method="latent_adam",
        paper="Adam, https://arxiv.org/abs/1412.6980",
        summary="Adam on latent real weights, read through their sign.",
        latent_free=False,
        control=False,
        hypers={
            "lr": searched(1e-3, "log", 1e-5, 0.1),
            "clip": HyperCard(default=1.0, range=None),
            "estimator": searched("ste", "choice", "ste", "approx", "swish"),
            "real.lr": HyperCard(default=Cosine(0.01, 0.0), range=None),
        },
    ),
    "latent_sgd": MethodCard(
        method="latent_sgd",
        paper="BinaryConnect, https://arxiv.org/abs/1511.00363",
        summary="Momentum SGD on latent real weights, read through their sign.",
        latent_free=False,
        control=False,
        hypers={
            "lr": searched(0.1, "log", 1e-3, 1.0),
            "momentum": searched(0.9, "uniform", 0.0, 0.99),
            "real.lr": REAL_LR,
        },
    ),
}
DATA = {
    "digits": DataSizes(classes=10, shape=[1, 8, 8], train=1150, val=287, test=360, bytes=115_008),
    "fashion": DataSizes(classes=10, shape=[1, 28, 28], train=54000, val=6000, test=10000, bytes=54_880_000),
}
TASKS = (("digits", "mlp"), ("fashion", "resnet_small"))
LAYERS = {
    "mlp": [Layer(name="layers.0", weights=16384), Layer(name="layers.3", weights=2560)],
    "resnet_small": [
        Layer(name="stage1.conv", weights=9216),
        Layer(name="stage2.conv", weights=18432),
        Layer(name="stage3.conv", weights=36864),
        Layer(name="head", weights=5120),
    ],
}
OPTIMIZER_BYTES = {"bop": 4.0, "bop_second_order": 8.0, "latent_adam": 8.0, "latent_sgd": 4.0}
FLIP_LEVEL = {"bop": 3e-3, "bop_second_order": 6e-3, "latent_adam": 1.5e-2, "latent_sgd": 4e-3}
REACHED = {
    ("digits", "bop"): 0.946,
    ("digits", "bop_second_order"): 0.951,
    ("digits", "latent_adam"): 0.949,
    ("digits", "latent_sgd"): 0.905,
    ("fashion", "bop"): 0.871,
    ("fashion", "bop_second_order"): 0.894,
    ("fashion", "latent_adam"): 0.889,
    ("fashion", "latent_sgd"): 0.862,
}
EPOCHS, STEPS_PER_EPOCH = 20, 18
TRAIN = TrainSettings(
    epochs=EPOCHS,
    batch_size=64,
    batch_parts=1,
    augment="none",
    reestimate_batch_norm=False,
    precision="float32",
)
ENVIRONMENT = Environment(
    git=GitState(commit="0123456789abcdef0123456789abcdef01234567", dirty=False),
    versions={"python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"},
    method_file=MethodFile(name="method.py", sha256="ab" * 32),
    device="cpu",
    device_name="An imaginary CPU @ 2.0 GHz",
    threads=1,
    host="secret-host",
    platform="Linux-6.1-x86_64",
)


def run_id(*parts: object) -> str:
    return hashlib.sha256(".".join(map(str, parts)).encode()).hexdigest()[:16]


def score(data: str, method: str, study: int, number: int) -> float:
    """Test accuracy of a winner's final run: a level per method plus noise, partly shared by the methods."""
    seed = 1001 + 100 * study + number
    shared = np.random.default_rng([seed, len(data)]).normal(0, 0.003)
    own = np.random.default_rng([seed, len(method), len(data)]).normal(0, 0.002)
    return of_images(float(REACHED[data, method] + shared + own), data)


def of_images(accuracy: float, data: str) -> float:
    """The nearest accuracy that a whole number of test images gives."""
    return round(accuracy * DATA[data].test) / DATA[data].test


def correct_images(accuracy: float, data: str, seed: int) -> np.ndarray:
    """Packed bits of the test images: most runs agree on which of them are difficult."""
    images = DATA[data].test
    difficulty = np.arange(images) + np.random.default_rng(seed).normal(0, 0.02 * images, images)
    return np.packbits(difficulty.argsort().argsort() < round(accuracy * images))


def write_experiment(
    folder: Path,
    *,
    tasks: tuple[tuple[str, str], ...] = TASKS,
    methods: tuple[str, ...] = tuple(METHODS),
    seeds: int = 5,
    trials: int = 8,
    sampler: str = "random",
    tracks: list[Track] | None = None,
    studies: Mapping[str, int] | None = None,
    reverse: bool = False,
) -> Path:
    """Write a complete experiment into `folder`; `reverse` creates the run folders in the opposite order.

    Without `tracks` there is one study of so many trials, or none for 0 of them. `studies` are those of
    methods that have more than the tracks give to all.
    """
    if tracks is None:
        tracks = [Track(name=sampler, trials=trials)] if trials else []  # pyright: ignore[reportArgumentType]
    plan = PlanRecord(
        format=FORMAT,
        protocol=PROTOCOL,
        experiment="demo",
        summary="Four ways to train a binarized network on two small tasks.",
        yaml="experiment: demo\nmethods: [bop, latent_adam]  # <two> & more\n",
        tuning=Tuning(tracks=tracks),
        seeds=seeds,
        methods={name: METHODS[name] for name in methods},
        data={name: DATA[name] for name, _ in tasks},
        cells=[
            replace(planned_cell(data, model, method), studies=(studies or {}).get(method))
            for data, model in tasks
            for method in methods
        ],
    )
    for name in ("data", "cells", "runs"):
        (folder / name).mkdir(parents=True)
    experiment = ExperimentFolder(folder)
    write_plan(folder, plan)
    for name in plan.data:
        write_json(experiment.data_path(name), encode(data_record(name)))
    for cell in reversed(plan.cells) if reverse else plan.cells:
        write_cell(experiment, cell, plan, reverse)
    return folder


def write_plan(folder: Path, plan: PlanRecord) -> None:
    """Write plan.json; the cells and runs that are there stay as they are."""
    write_json(folder / "plan.json", encode(plan))


def planned_cell(data: str, model: str, method: str) -> PlannedCell:
    published = {name: card.default for name, card in METHODS[method].hypers.items()}
    return PlannedCell(
        cell=f"{data}.{model}.{method}",
        data=data,
        model=model,
        method=method,
        epochs=EPOCHS,
        trial=Trial(
            stage="final",
            data=Choice(data, {}),
            model=Choice(model, {}),
            method=Choice(method, {name: value for name, value in published.items() if name != "real.lr"}),
            real_lr=published["real.lr"],  # pyright: ignore[reportArgumentType]
            train=TRAIN,
            seed=final_seed(0, 0, 0),
        ),
    )


def data_record(name: str) -> DataRecord:
    sizes = DATA[name]
    return DataRecord(
        name=name,
        options={},
        classes=sizes.classes,
        train=sizes.train,
        val=sizes.val,
        test=sizes.test,
        shape=sizes.shape,
        sha256=run_id(name) * 4,
        validation_index=list(range(0, sizes.val, 100)),
        validation_index_sha256=run_id(name, "val") * 4,
    )


def draw(card: HyperCard, random: np.random.Generator) -> HyperSetting:
    """One random draw from a range, the default where there is no range."""
    if card.range is None:
        return card.default
    if card.range.kind == "choice":
        return card.range.values[random.integers(len(card.range.values))]
    low, high = map(float, card.range.values)  # pyright: ignore[reportArgumentType]
    if card.range.kind == "log":
        return float(f"{np.exp(random.uniform(np.log(low), np.log(high))):.6g}")
    return round(float(random.uniform(low, high)), 4)


def write_cell(experiment: ExperimentFolder, cell: PlannedCell, plan: PlanRecord, reverse: bool) -> None:
    random = np.random.default_rng(sum(map(ord, cell.cell)))
    cards = METHODS[cell.method].hypers
    published = {name: card.default for name, card in cards.items()}
    studies: list[StudyEntry] = []
    jobs: dict[str, tuple[Trial, float]] = {}

    def finals(hypers: Settings, study: int, loss: float = 0.0) -> list[str]:
        trials = [trial_of(cell, "final", hypers, final_seed(0, study, n)) for n in range(plan.seeds)]
        for number, trial in enumerate(trials):
            jobs.setdefault(
                trial.run_id,
                (trial, of_images(score(cell.data, cell.method, study, number) - loss, cell.data)),
            )
        return [trial.run_id for trial in trials]

    for track in plan.tuning_of(cell).tracks:
        for study in range(track.studies):
            tuning, values = [], []
            for number in range(track.trials):
                hypers = {
                    name: card.default if number == 0 else draw(card, random) for name, card in cards.items()
                }
                trial = trial_of(cell, "tune", hypers, tuning_seed(0, cell.cell, track.name, study))
                loss = 0.02 if number == 0 else random.beta(1.3, 4) * 0.5
                values.append(round(float(REACHED[cell.data, cell.method] + 0.012 - loss), 4))
                tuning.append(TuningEntry(number=number, run=trial.run_id, hypers=hypers))
                jobs[trial.run_id] = trial, values[-1]
            best = int(np.argmax(values))
            winner = Winner(number=best, value=values[best], hypers=tuning[best].hypers)
            runs = finals(winner.hypers, study)
            studies.append(
                StudyEntry(
                    track=track.name,
                    number=study,
                    key=f"{cell.cell}.{track.name}.{study}",
                    tuning=tuning,
                    winner=winner,
                    final=[FinalEntry(number=number, run=run) for number, run in enumerate(runs)],
                )
            )
    default = [
        DefaultEntry(study=study, number=number, run=run)
        for study in range(plan.tuning_of(cell).studies)
        for number, run in enumerate(finals(published, study, 0.02 if studies else 0.0))
    ]
    ledger = Ledger(cell=cell.cell, studies=studies, default=default)
    write_json(experiment.ledger_path(cell.cell), encode(ledger))
    written = list(jobs.items())
    for run, (trial, reached) in reversed(written) if reverse else written:
        write_run(experiment.run(run), trial, reached)


def trial_of(cell: PlannedCell, stage: Stage, hypers: Settings, seed: int) -> Trial:
    """The planned trial of a cell with other hyperparameters."""
    options = {name: value for name, value in hypers.items() if name != "real.lr"}
    return replace(
        cell.trial,
        stage=stage,
        method=Choice(cell.method, options),
        real_lr=hypers["real.lr"],  # pyright: ignore[reportArgumentType]
        seed=seed,
    )


def write_run(run: RunFolder, trial: Trial, reached: float) -> None:
    """One finished run with this accuracy, on validation and, of a final run, on test."""
    layers = LAYERS[trial.model.name.split("-")[0]]  # mlp-2 is another task with the same network
    optimizer_bytes = OPTIMIZER_BYTES[trial.method.name]
    flips = flip_counts(layers, trial.method.name, trial.seed)
    lines = [epoch_line(epoch, reached, layers, flips) for epoch in range(1, EPOCHS + 1)]
    scores = Scores(val_loss=0.3, val_top1=reached, val_top5=0.99)
    if trial.stage == "final":
        scores = replace(scores, test_loss=0.35, test_top1=reached, test_top5=0.985)
    result = Result(
        status="done",
        epochs=EPOCHS,
        steps=EPOCHS * STEPS_PER_EPOCH,
        scores=scores,
        layers=layers,
        binary_weights=sum(layer.weights for layer in layers),
        real_parameters=532,
        bytes_per_binary_weight=BytesPerWeight(stored=4.0, optimizer=optimizer_bytes),
        digest=run_id(run.path.name, "digest"),
        seconds=4.2 + optimizer_bytes / 10,
        step_milliseconds=1.1 + optimizer_bytes / 20,
        peak_memory_bytes=310_000_000,
    )
    run.begin(trial, ENVIRONMENT)
    if trial.stage == "final":
        run.finish(result, lines, flips, correct_images(reached, trial.data.name, trial.seed))
    else:
        run.finish(result, lines)


def flip_counts(layers: list[Layer], method: str, seed: int) -> np.ndarray:
    """Flips per step and layer, decaying from a level that depends on the method."""
    level = FLIP_LEVEL[method]
    steps = np.arange(EPOCHS * STEPS_PER_EPOCH)
    rates = level * np.exp(-steps / 120)[:, None] * np.linspace(1.0, 0.4, len(layers))
    weights = np.array([layer.weights for layer in layers])
    return np.random.default_rng([seed, len(method)]).poisson(rates * weights).astype(np.int32)


def epoch_line(epoch: int, reached: float, layers: list[Layer], flips: np.ndarray) -> EpochLine:
    step = epoch * STEPS_PER_EPOCH
    during, so_far = flips[step - STEPS_PER_EPOCH : step].sum(0), flips[:step].sum(0)
    weights = np.array([layer.weights for layer in layers])
    accuracy = 0.1 + (reached - 0.1) * (1 - np.exp(-epoch / 3.5)) + 0.004 * np.sin(epoch * reached * 7)

    def undone(share: float) -> list[int]:
        return (during * share).astype(int).tolist()

    return EpochLine(
        epoch=epoch,
        step=step,
        train_loss=float(2.3 * np.exp(-epoch / 4) + 1.1 - reached),
        train_top1=float(accuracy),
        val_loss=float(2.3 * np.exp(-epoch / 4) + 1.2 - reached),
        val_top1=round(float(accuracy + 0.004), 4),
        val_top5=0.98,
        flips=FlipCounts(
            flips=during.tolist(),
            undone_1=undone(0.02),
            undone_2=undone(0.05),
            undone_5=undone(0.11),
            undone_10=undone(0.19),
            never=(weights * np.exp(-so_far / weights)).astype(int).tolist(),
            distance=(weights * 0.5 * (1 - np.exp(-1.5 * so_far / weights))).astype(int).tolist(),
        ),
        train_seconds=0.19,
        seconds=0.21,
    )


def final_run(folder: Path, cell: str, number: int, study: int = 0) -> Path:
    """The folder of one final run of a study's winner, of the published default where nothing is tuned."""
    ledger = read_json(ExperimentFolder(folder).ledger_path(cell))
    if not ledger["studies"]:
        (run,) = (e["run"] for e in ledger["default"] if (e["study"], e["number"]) == (study, number))
    else:
        run = ledger["studies"][study]["final"][number]["run"]
    return folder / "runs" / run


def result_of(run: Path) -> Result:
    """The result of a run that has one."""
    result = RunFolder(run).result()
    assert result is not None
    return result


def diverge(run: Path, step: int = 117) -> None:
    """Turn a finished run into one that diverged: chance-level scores, the epochs before `step` only."""
    folder, result = RunFolder(run), result_of(run)
    epochs = step // STEPS_PER_EPOCH
    (run / "test_correct.npy").unlink(missing_ok=True)
    scores = Scores(val_loss=math.log(10), val_top1=0.1, val_top5=0.5)
    if result.scores.test_top1 is not None:
        scores = replace(scores, test_loss=math.log(10), test_top1=0.1, test_top5=0.5)
    diverged = replace(
        result, status="diverged", diverged_at_step=step, epochs=epochs, steps=step, scores=scores
    )
    flips = folder.flips(result) if folder.trial().stage == "final" else None
    folder.finish(diverged, folder.epochs(result)[:epochs], flips)


def fail(run: Path, error: str = "RuntimeError: no such weight", kind: FailureKind = "error") -> None:
    """Turn a finished run into a failed one; `kind` is one of failure.json's."""
    (run / "result.json").unlink()
    traceback = f'Traceback (most recent call last):\n  File "train.py", line 9, in train\n{error}\n'
    RunFolder(run).fail(Failure(kind=kind, error=error, where="in step 7", traceback=traceback))


def damage(path: Path) -> None:
    """Cut a file in half, as a full disk or a torn write would."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def remove(run: Path) -> None:
    """Delete a run folder: the run was planned and never happened."""
    for file in run.iterdir():
        file.unlink()
    run.rmdir()


def spoil(folder: Path) -> Path:
    """One diverged, one failed, one missing and one damaged final run, all in the first task."""
    data, model = TASKS[0]
    diverge(final_run(folder, f"{data}.{model}.latent_sgd", 0))
    fail(final_run(folder, f"{data}.{model}.bop", 1))
    remove(final_run(folder, f"{data}.{model}.bop_second_order", 2))
    damage(final_run(folder, f"{data}.{model}.latent_adam", 3) / "result.json")
    return folder
