"""The tables of an export: a row per planned run, per run and epoch, per run, epoch and binary layer.

docs/records.md describes every column. Of a run that has no result only `runs` has a row.
"""

import json
from collections.abc import Iterator
from typing import Any

from report.analysis.frames import COUNTS, SCORES, run_row
from report.read.curves import COLUMNS
from report.read.records import Records, RunRecord
from suite.records.codec import encode
from suite.records.schedules import start_of
from suite.records.schema import WITHIN, EpochLine
from suite.records.seeds import tuning_seed

Row = dict[str, Any]  # by column; None, or no entry, for an empty cell
Columns = dict[str, type]  # str, int, float or bool, in the order of the table

WHICH: Columns = {  # which planned run a row belongs to: the first columns of every table
    "cell": str,
    "data": str,
    "model": str,
    "method": str,
    "label": str,
    "phase": str,
    "track": str,
    "study": int,
    "number": int,
    "source": str,
    "seed": int,
    "run": str,
    "status": str,
}
RUNS: Columns = {
    **WHICH,
    "reason": str,
    "failure": str,
    "published_default": bool,
    **dict.fromkeys(SCORES, float),
    **dict.fromkeys(COUNTS, int),
    "seconds": float,
    "step_milliseconds": float,
    "stored_bytes_per_weight": float,
    "optimizer_bytes_per_weight": float,
    "device_name": str,
    "commit": str,
}
UNDONE = [f"undone_{within}" for within in WITHIN]
WHOLE = ("epoch", "step", "flips", *UNDONE)  # the columns of curves.csv that are whole numbers
EPOCHS: Columns = {
    **WHICH,
    **{name: int if name in WHOLE else float for name in COLUMNS},
    "val_top5": float,
    "train_seconds": float,
    "seconds": float,
}
LAYERS: Columns = {
    **WHICH,
    "epoch": int,
    "step": int,
    "layer": str,
    "weights": int,
    "flips": int,
    "flip_rate": float,
    **dict.fromkeys(UNDONE, int),
    "never": float,
    "distance": float,
}
LARGEST = 2**63  # a whole number of a column is smaller
HYPER = "hypers."  # what a hyperparameter's column begins with: hypers.gamma, hypers.real.lr
PROBE = "probe."  # and that of what a probe found: probe.reestimate.val_top1.kept


class Tables:
    """The columns of the three tables, by name, and their rows, run by run."""

    def __init__(self, records: Records) -> None:
        self.cells = [cell.name for cell in records.cells]
        self._seed = records.plan.tuning.seed
        self._hypers = hyper_columns(records)
        self._probes = probe_columns(records)
        self.columns: dict[str, Columns] = {
            "runs": RUNS | {f"{HYPER}{name}": kind for name, kind in self._hypers.items()} | self._probes,
            "epochs": EPOCHS,
            "layers": LAYERS,
        }

    def rows(self, run: RunRecord, lines: list[EpochLine]) -> dict[str, list[Row]]:
        """The rows of a run in each table; `lines` and the run's curves are those of `read_epochs`."""
        whole = self._run(run)
        which = {name: whole[name] for name in WHICH}
        return {
            "runs": [whole],
            "epochs": [which | row for row in _epochs(run, lines)],
            "layers": [which | row for row in _layers(run, lines)],
        }

    def settings(self, run: RunRecord) -> Row:
        """What was chosen for a run: its part of the experiment and its hyperparameters."""
        whole = self._run(run)
        return {name: whole[name] for name in ("data", "model", "label", "phase")} | self._hypers_of(run)

    def _hypers_of(self, run: RunRecord) -> Row:
        cells = {name: cell(start_of(value), self._hypers[name]) for name, value in run.hypers.items()}
        return {name: value for name, value in cells.items() if value is not None}

    def _run(self, run: RunRecord) -> Row:
        row, trial = run_row(run), run.cell.planned.trial
        del row["hypers"]
        if run.phase == "tuning" and run.place.track:
            row["seed"] = tuning_seed(self._seed, run.cell.name, run.place.track, run.place.study)
        made = run.environment
        return row | {
            "method": trial.method.name,
            "label": run.cell.planned.method,
            "device_name": made and made.device_name,
            "commit": made and made.git.commit,
            **{f"{HYPER}{name}": value for name, value in self._hypers_of(run).items()},
            **{name: cell(value, self._probes[name]) for name, value in found_by_probes(run).items()},
        }


def hyper_columns(records: Records) -> Columns:
    """Every hyperparameter of the experiment, and the type that all its values have."""
    values: dict[str, list[Any]] = {}
    for planned in records.plan.cells:
        for name, card in records.plan.methods[planned.method].hypers.items():
            values.setdefault(name, []).append(start_of(card.default))
    for run in records.runs:
        for name, value in run.hypers.items():
            values.setdefault(name, []).append(start_of(value))
    return {name: type_of(found) for name, found in values.items()}


def probe_columns(records: Records) -> Columns:
    """What the probes of the experiment found, and the type that all values of a column have."""
    values: dict[str, list[Any]] = {}
    for run in records.runs:
        for name, value in found_by_probes(run).items():
            values.setdefault(name, []).append(value)
    return {name: type_of(found) for name, found in values.items()}


def found_by_probes(run: RunRecord) -> Row:
    """What the probes of a run found, by column."""
    probes = run.result.probes if run.result else {}
    return {f"{PROBE}{name}.{key}": value for name, found in probes.items() for key, value in found.items()}


def type_of(values: list[Any]) -> type:
    """The type of a column with these values: text if they are not all numbers, or all true or false."""
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float} and all(abs(value) < LARGEST for value in values if value is not None):
        return float if float in kinds else int
    return bool if kinds == {bool} else str


def cell(value: Any, kind: type) -> Any:
    """A hyperparameter, or what a probe found, as a value of its column: a number among texts as JSON."""
    if value is None or (isinstance(value, str) and kind is str):
        return value
    return json.dumps(encode(value), ensure_ascii=False) if kind is str else kind(value)


def _epochs(run: RunRecord, lines: list[EpochLine]) -> Iterator[Row]:
    if run.curves is None:
        return
    columns = {name: getattr(run.curves, name).tolist() for name in COLUMNS}
    for at, line in enumerate(lines):
        yield {
            **{name: values[at] for name, values in columns.items()},
            "val_top5": line.val_top5,
            "train_seconds": line.train_seconds,
            "seconds": line.seconds,
        }


def _layers(run: RunRecord, lines: list[EpochLine]) -> Iterator[Row]:
    if run.curves is None:
        return
    layers = list(zip(run.curves.layers.names, run.curves.layers.weights.tolist(), strict=True))
    for line, steps in zip(lines, run.curves.steps.tolist(), strict=True):
        for number, (layer, weights) in enumerate(layers):
            flips = line.flips.flips[number]
            yield {
                "epoch": line.epoch,
                "step": line.step,
                "layer": layer,
                "weights": weights,
                "flips": flips,
                "flip_rate": share(flips, weights * steps),
                **{f"undone_{within}": line.flips.undone(within)[number] for within in WITHIN},
                "never": share(line.flips.never[number], weights),
                "distance": share(line.flips.distance[number], weights),
            }


def share(count: int, of: int) -> float | None:
    return count / of if of else None
