"""Hand-made records of a believable experiment: two tasks, four methods, no training.

The numbers follow smooth curves plus seeded noise, so a test can recompute what the report must print.
`write_experiment` writes a complete experiment; `spoil` then turns four final runs into a diverged,
a failed, a missing and a damaged one.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from suite.records.files import read_json, write_json
from suite.records.run import RunFolder

METHODS = {
    "bop": dict(
        paper="Latent Weights Do Not Exist, https://arxiv.org/abs/1906.02107",
        summary="Flip a weight when a moving average of its gradient exceeds a threshold.",
        latent_free=True,
        hypers={
            "gamma": {"default": 1e-4, "range": "log 1e-06 … 0.01"},
            "threshold": {"default": 1e-8, "range": "log 1e-09 … 1e-05"},
            "real.lr": {"default": 0.01, "range": "log 0.0001 … 0.1"},
        },
    ),
    "bop_second_order": dict(
        paper="Bop and Beyond, https://arxiv.org/abs/2104.05124",
        summary="Bop with the moving average divided by a second moment.",
        latent_free=True,
        hypers={
            "gamma": {"default": 1e-3, "range": "log 1e-06 … 0.01"},
            "sigma": {"default": 0.01, "range": "uniform 0.0 … 0.99"},
            "real.lr": {"default": 0.01, "range": "log 0.0001 … 0.1"},
        },
    ),
    "latent_adam": dict(
        paper="Adam, https://arxiv.org/abs/1412.6980",
        summary="Adam on latent real weights, read through their sign.",
        latent_free=False,
        hypers={
            "lr": {"default": 1e-3, "range": "log 1e-05 … 0.1"},
            "clip": {"default": 1.0, "range": None},
            "estimator": {"default": "ste", "range": "choice ste | approx | swish"},
            "real.lr": {"default": {"cosine": [0.01, 0.0]}, "range": None},
        },
    ),
    "latent_sgd": dict(
        paper="BinaryConnect, https://arxiv.org/abs/1511.00363",
        summary="Momentum SGD on latent real weights, read through their sign.",
        latent_free=False,
        hypers={
            "lr": {"default": 0.1, "range": "log 0.001 … 1.0"},
            "momentum": {"default": 0.9, "range": "uniform 0.0 … 0.99"},
            "real.lr": {"default": 0.01, "range": "log 0.0001 … 0.1"},
        },
    ),
}
DATA = {
    "digits": {"classes": 10, "train": 1150, "val": 287, "test": 360},
    "fashion": {"classes": 10, "train": 54000, "val": 6000, "test": 10000},
}
TASKS = (("digits", "mlp"), ("fashion", "resnet_small"))
LAYERS = {
    "mlp": [("layers.0", 16384), ("layers.3", 2560)],
    "resnet_small": [("stage1.conv", 9216), ("stage2.conv", 18432), ("stage3.conv", 36864), ("head", 5120)],
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


def run_id(*parts: object) -> str:
    return hashlib.sha256(".".join(map(str, parts)).encode()).hexdigest()[:16]


def score(data: str, method: str, seed: int) -> float:
    """Test accuracy of a final run: a level per method plus noise, some of it shared by the methods."""
    shared = np.random.default_rng([seed, len(data)]).normal(0, 0.003)
    own = np.random.default_rng([seed, len(method), len(data)]).normal(0, 0.002)
    return round(float(REACHED[data, method] + shared + own), 4)


def write_experiment(
    folder: Path,
    *,
    tasks: tuple[tuple[str, str], ...] = TASKS,
    methods: tuple[str, ...] = tuple(METHODS),
    seeds: int = 5,
    trials: int = 8,
    sampler: str = "random",
    reverse: bool = False,
) -> Path:
    """Write a complete experiment into `folder`; `reverse` creates the run folders in the opposite order."""
    seed_list = [1001 + index for index in range(seeds)]
    cells = [
        {"cell": f"{data}.{model}.{method}", "data": data, "model": model, "method": method, "epochs": EPOCHS}
        for data, model in tasks
        for method in methods
    ]
    plan = {
        "format": 2,
        "protocol": 1,
        "experiment": "demo",
        "summary": "Four ways to train a binarized network on two small tasks.",
        "yaml": "experiment: demo\nmethods: [bop, latent_adam]  # <two> & more\n",
        "tuning": {"trials": trials, "sampler": sampler, "seed": 0},
        "seeds": seed_list,
        "methods": {name: METHODS[name] for name in methods},
        "data": {name: DATA[name] for name, _ in tasks},
        "cells": cells,
    }
    for name in ("data", "cells", "runs"):
        (folder / name).mkdir(parents=True)
    write_json(folder / "plan.json", plan)
    for name, _ in tasks:
        hashes = {"sha256": run_id(name) * 4, "validation_index_sha256": run_id(name, "val") * 4}
        write_json(folder / "data" / f"{name}.json", DATA[name] | hashes)
    for cell in reversed(cells) if reverse else cells:
        write_cell(folder, cell, seed_list, trials, reverse)
    return folder


def draw(spec: dict[str, Any], random: np.random.Generator) -> Any:
    """One random draw from a range text, the default where there is no range."""
    if spec["range"] is None:
        return spec["default"]
    kind, rest = spec["range"].split(" ", 1)
    if kind == "choice":
        return str(random.choice(rest.split(" | ")))
    low, high = (float(number) for number in rest.split(" … "))
    if kind == "log":
        return float(f"{np.exp(random.uniform(np.log(low), np.log(high))):.6g}")
    return round(float(random.uniform(low, high)), 4)


def write_cell(folder: Path, cell: dict[str, Any], seeds: list[int], trials: int, reverse: bool) -> None:
    data, method = cell["data"], cell["method"]
    random = np.random.default_rng(sum(map(ord, cell["cell"])))
    space = METHODS[method]["hypers"]
    tuning, values = [], []
    for number in range(trials):
        drawn = {name: spec["default"] if number == 0 else draw(spec, random) for name, spec in space.items()}
        tuning.append(
            {
                "number": number,
                "run": run_id(cell["cell"], "tuning", number),
                "published_default": number == 0,
                "hypers": drawn,
            }
        )
        loss = 0.02 if number == 0 else random.beta(1.3, 4) * 0.5
        values.append(round(float(REACHED[data, method] + 0.012 - loss), 4))
    best = int(np.argmax(values)) if trials else 0
    winner = {"number": best, "value": values[best], "hypers": tuning[best]["hypers"]} if trials else None
    final = [{"seed": seed, "run": run_id(cell["cell"], "final", seed)} for seed in seeds]
    write_json(
        folder / "cells" / f"{cell['cell']}.json",
        {"cell": cell["cell"], "tuning": tuning, "winner": winner, "final": final},
    )
    jobs = [(entry["run"], value, None) for entry, value in zip(tuning, values, strict=True)]
    jobs += [(entry["run"], None, entry["seed"]) for entry in final]
    for run, value, seed in reversed(jobs) if reverse else jobs:
        write_run(folder / "runs" / run, cell, value, seed)


def write_run(folder: Path, cell: dict[str, Any], value: float | None, seed: int | None) -> None:
    """One finished run: a tuning run with this validation score, or the final run of this seed."""
    data, model, method = cell["data"], cell["model"], cell["method"]
    layers = LAYERS[model.split("-")[0]]  # mlp-2 is another task with the same network
    folder.mkdir(parents=True)
    reached = score(data, method, seed) if seed is not None else value
    assert reached is not None
    flips = flip_counts(layers, method, seed or 0)
    np.savez(folder / "flips.npz", flips=flips)
    lines = [epoch_line(epoch, reached, layers, flips) for epoch in range(1, EPOCHS + 1)]
    (folder / "epochs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    scores = {"val_loss": 0.3, "val_top1": reached, "val_top5": 0.99}
    if seed is not None:
        scores |= {"test_loss": 0.35, "test_top1": reached, "test_top5": 0.985}
    optimizer_bytes = OPTIMIZER_BYTES[method]
    write_json(folder / "trial.json", {"cell": cell["cell"], "seed": seed})
    write_json(folder / "environment.json", ENVIRONMENT)
    RunFolder(folder).finish(
        {
            "status": "done",
            "epochs": EPOCHS,
            "steps": EPOCHS * STEPS_PER_EPOCH,
            "scores": scores,
            "layers": [{"name": name, "weights": weights} for name, weights in layers],
            "binary_weights": sum(weights for _, weights in layers),
            "real_parameters": 532,
            "bytes_per_binary_weight": {"stored": 4.0, "optimizer": optimizer_bytes},
            "seconds": 4.2 + optimizer_bytes / 10,
            "step_milliseconds": 1.1 + optimizer_bytes / 20,
            "peak_memory_bytes": 310_000_000,
            "digest": run_id(folder.name, "digest"),
        },
    )


ENVIRONMENT = {
    "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
    "versions": {"python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"},
    "device": "cpu",
    "device_name": "An imaginary CPU @ 2.0 GHz",
    "threads": 1,
    "host": "secret-host",
    "platform": "Linux-6.1-x86_64",
}


def flip_counts(layers: list[tuple[str, int]], method: str, seed: int) -> np.ndarray:
    """Flips per step and layer, decaying from a level that depends on the method."""
    level = FLIP_LEVEL[method]
    steps = np.arange(EPOCHS * STEPS_PER_EPOCH)
    rates = level * np.exp(-steps / 120)[:, None] * np.linspace(1.0, 0.4, len(layers))
    weights = np.array([count for _, count in layers])
    return np.random.default_rng([seed, len(method)]).poisson(rates * weights).astype(np.int32)


def epoch_line(
    epoch: int, reached: float, layers: list[tuple[str, int]], flips: np.ndarray
) -> dict[str, Any]:
    step = epoch * STEPS_PER_EPOCH
    during, so_far = flips[step - STEPS_PER_EPOCH : step].sum(0), flips[:step].sum(0)
    weights = np.array([count for _, count in layers])
    accuracy = 0.1 + (reached - 0.1) * (1 - np.exp(-epoch / 3.5)) + 0.004 * np.sin(epoch * reached * 7)
    undone = {
        f"undone_{k}": (during * share).astype(int).tolist()
        for k, share in ((1, 0.02), (2, 0.05), (5, 0.11), (10, 0.19))
    }
    return {
        "epoch": epoch,
        "step": step,
        "train_loss": float(2.3 * np.exp(-epoch / 4) + 1.1 - reached),
        "train_top1": float(accuracy),
        "val_loss": float(2.3 * np.exp(-epoch / 4) + 1.2 - reached),
        "val_top1": round(float(accuracy + 0.004), 4),
        "val_top5": 0.98,
        "flips": {
            "flips": during.tolist(),
            **undone,
            "never": (weights * np.exp(-so_far / weights)).astype(int).tolist(),
            "distance": (weights * 0.5 * (1 - np.exp(-1.5 * so_far / weights))).astype(int).tolist(),
        },
        "seconds": 0.21,
    }


def final_run(folder: Path, cell: str, seed: int) -> Path:
    """The folder of one final run."""
    return folder / "runs" / run_id(cell, "final", seed)


def diverge(run: Path, step: int = 117) -> None:
    """Turn a finished run into one that diverged: chance-level scores, the epochs before `step` only."""
    result = read_json(run / "result.json")
    epochs = step // STEPS_PER_EPOCH
    scores = {
        name: 0.1 if name.endswith("top1") else 0.5 if name.endswith("top5") else 2.303
        for name in result["scores"]
    }
    result |= {
        "status": "diverged",
        "diverged_at_step": step,
        "epochs": epochs,
        "steps": step,
        "scores": scores,
    }
    lines = (run / "epochs.jsonl").read_text().splitlines(keepends=True)
    (run / "epochs.jsonl").write_text("".join(lines[:epochs]))
    RunFolder(run).finish(result)


def fail(run: Path, error: str = "RuntimeError: no such weight", kind: str = "error") -> None:
    """Turn a finished run into a failed one; `kind` is one of failure.json's."""
    (run / "result.json").unlink()
    traceback = f'Traceback (most recent call last):\n  File "train.py", line 9, in train\n{error}\n'
    RunFolder(run).fail(kind, error, "in step 7", traceback)


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
    diverge(final_run(folder, f"{data}.{model}.latent_sgd", 1001))
    fail(final_run(folder, f"{data}.{model}.bop", 1002))
    remove(final_run(folder, f"{data}.{model}.bop_second_order", 1003))
    damage(final_run(folder, f"{data}.{model}.latent_adam", 1004) / "result.json")
    return folder
