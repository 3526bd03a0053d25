"""The settings of a claim's arms: what they share, what differs, and along which one a test orders them."""

from collections.abc import Sequence
from dataclasses import dataclass

from report.analysis.numbers import NONE, hyper
from report.page.tables import Table
from report.read.records import CellRecord, Records


@dataclass(frozen=True)
class Axis:
    """The one hyperparameter that differs between ordered arms, and its value for each of them.

    fixed: the settings that the arms share, as words.
    """

    setting: str
    values: tuple[float, ...]
    fixed: dict[str, str]


def axis_of(records: Records, cells: Sequence[CellRecord]) -> Axis | None:
    """None where several settings differ, or one that is no number, or that is searched for an arm."""
    found = [settings_of_cell(records, cell) for cell in cells]
    names = list(dict.fromkeys(name for settings in found for name in settings))
    differ = [name for name in names if len({settings.get(name) for settings in found}) > 1]
    if len(differ) != 1 or any(differ[0] in searched_of_cell(records, cell) for cell in cells):
        return None
    options = [cell.planned.trial.method.options.get(differ[0]) for cell in cells]
    values = [each for each in options if isinstance(each, int | float) and not isinstance(each, bool)]
    if len(values) < len(options):
        return None
    fixed = {name: value for name, value in found[0].items() if name != differ[0]}
    return Axis(differ[0], tuple(map(float, values)), fixed)


def settings_of(records: Records, cells: Sequence[CellRecord]) -> tuple[str, Table | None]:
    """What all arms share, in words, and a table of what differs between them, the arms as rows."""
    found = [(cell, settings_of_cell(records, cell)) for cell in cells]
    names = list(dict.fromkeys(name for _, settings in found for name in settings))
    values = {name: [settings.get(name, "") for _, settings in found] for name in names}
    differ = [name for name in names if len(set(values[name])) > 1]
    same = ", ".join(f"{name} {values[name][0]}" for name in names if name not in differ)
    if not differ:
        return same, None
    several = len({(cell.task.data, cell.task.model) for cell in cells}) > 1
    rows = [
        [cell.name if several else cell.planned.method, *(settings.get(name, NONE) for name in differ)]
        for cell, settings in found
    ]
    return same, Table(["arm", *differ], rows, text=tuple(range(len(differ) + 1)))


def settings_of_cell(records: Records, cell: CellRecord) -> dict[str, str]:
    """The settings of a cell by name, as words; of a searched one its range."""
    trial = cell.planned.trial
    options = trial.setting
    searched = searched_of_cell(records, cell)
    settings = {"method": trial.method.name}
    settings |= {
        name: f"searched, {searched[name]}" if name in searched else hyper(value)
        for name, value in options.items()
    }
    settings |= {f"model {name}": str(value) for name, value in trial.model.options.items()}
    settings |= {f"data {name}": str(value) for name, value in trial.data.options.items()}
    settings |= {"model": trial.model.name, "data": trial.data.name}
    train = trial.train
    return settings | {
        "epochs": str(train.epochs),
        "batch size": str(train.batch_size),
        "augmentation": train.augment,
        "precision": train.precision,
        "batch norm re-estimated": "yes" if train.reestimate_batch_norm else "no",
    }


def searched_of_cell(records: Records, cell: CellRecord) -> dict[str, str]:
    """The ranges of what is tuned, by name, as words."""
    card = records.plan.methods[cell.planned.method]
    tuned = {name: str(each.range) for name, each in card.hypers.items() if each.range is not None}
    return tuned if records.plan.tuning.tracks else {}
