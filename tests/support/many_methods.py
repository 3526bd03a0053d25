"""Fake records with any number of methods in families; some differ from the plain one by an option."""

from dataclasses import replace
from pathlib import Path

import pytest

from suite.records.schema import Track
from tests.support import fake_records
from tests.support.fake_records import FLIP_LEVEL, METHODS, OPTIMIZER_BYTES, REACHED, TASKS, write_experiment

FAMILIES = ("latent weights", "Bop and its descendants", "relaxed weights")


def write_many(folder: Path, count: int, patch: pytest.MonkeyPatch) -> Path:
    """An experiment on one task with so many methods, the last a control far below all others."""
    models = list(METHODS)
    for number in range(count):
        name, model = f"method-{number}", models[number % len(models)]
        control = number == count - 1
        card = replace(
            METHODS[model],
            family=FAMILIES[number % len(FAMILIES)],
            control=control,
            differs=[] if number % 4 else [f"option {number}"],
        )
        patch.setitem(METHODS, name, card)
        for table in (OPTIMIZER_BYTES, FLIP_LEVEL):
            patch.setitem(table, name, table[model])
        patch.setitem(REACHED, ("digits", name), 0.55 if control else 0.95 - 0.002 * (number * 7 % count))
    methods = tuple(f"method-{number}" for number in range(count))
    tracks = [Track(name="random", trials=3)]
    with patch.context() as few:
        few.setattr(fake_records, "EPOCHS", 6)
        return write_experiment(folder, tasks=TASKS[:1], methods=methods, seeds=2, tracks=tracks)
