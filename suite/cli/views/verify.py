"""The findings of a verification as a person reads them: counts, then every problem with its file."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from suite.checks.run import SEVERITY
from suite.checks.verify import STATUSES, Verification, Verified
from suite.cli.console import table
from suite.machine.errors import UserError, one_of
from suite.machine.plugin_file import source_of
from suite.records.experiment import ExperimentFolder
from suite.records.schema import PHASES

COLOURS = ("dim", "yellow", "red")  # by severity
VERDICTS = ("all there and intact", "intact, but not all there", "damaged or contradictory")  # by exit code
OF_REPLAYS = {"differs", "not replayed"}  # which say nothing about what is there


def verify_with_bar(folder: Path, console: Console) -> Verified:
    """Check an experiment, with a bar over its run folders on a terminal."""
    with _bar(console) as bar:
        task = bar.add_task("runs", total=len(ExperimentFolder(folder).run_names()))
        return Verification(folder, on_run=lambda: bar.advance(task)).run()


def replay_with_bar(
    folder: Path, found: Verified, runs: Sequence[str], plugins: Sequence[Path], console: Console
) -> int:
    """Train these runs again and add every difference to the findings; how many gave the same bits."""
    from suite.checks.replay import replay  # it imports torch

    same, by_hash = 0, {source_of(plugin): plugin for plugin in plugins}
    with _bar(console) as bar:
        task = bar.add_task("replays", total=len(runs))
        for run in runs:
            bar.update(task, description=f"replay of {run}")
            if finding := replay(folder / "runs" / run, by_hash):
                found.add(*finding)
            else:
                same += 1
            bar.advance(task)
    return same


def redraw_with_bar(folder: Path, found: Verified, console: Console) -> int:
    """Draw every setting of random search again and add every difference to the findings; how many agree."""
    from suite.checks.draws import redraw  # it imports torch and optuna

    records, same = ExperimentFolder(folder), 0
    with _bar(console) as bar:
        for finding in bar.track(redraw(records, records.plan()), description="draws"):
            if finding is None:
                same += 1
            else:
                found.add(*finding)
    return same


def chosen_runs(wanted: str, folder: Path, found: Verified) -> list[str]:
    """The runs that `--replay` names: one, all, or a number of them, drawn the same way every time.

    Raises UserError if there is no such run, or none with an intact result.
    """
    if wanted == "all":
        return found.finished
    if wanted.isdecimal() and wanted not in found.finished:
        count = min(int(wanted), len(found.finished))
        return random.Random(0).sample(sorted(found.finished), count)
    if wanted not in found.finished:
        if wanted and "/" not in wanted and (folder / "runs" / wanted).is_dir():
            raise UserError(f"--replay {wanted}: this run has no intact result")
        hint = one_of(wanted, [*found.finished[:5], "all", "a number"])
        raise UserError(f"--replay {wanted}: there is no such run{hint}")
    return [wanted]


def _bar(console: Console) -> Progress:
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def picture(found: Verified) -> Group:
    """Counts, problems and verdict."""
    counted = table("planned runs", *STATUSES, box=box.SIMPLE_HEAD)
    for phase in PHASES:
        counts = [found.counts[phase, status] for status in STATUSES]
        if phase == "transfer" and not any(counts):  # most experiments have none
            continue
        counted.add_row(f"{phase} {sum(counts):,}", *(f"{count:,}" if count else "" for count in counts))
    hashed = f"{found.files:,} files in {found.folders:,} run folders, {decimal(found.bytes)}, hashed"
    if found.networks:
        size, floats = decimal(found.network_bytes), decimal(found.float_bytes)
        hashed += f"\n{found.networks:,} kept networks of {size}, as floats they would take {floats}"
    problems = [
        Text(f"{each.kind}: {each.file}: {each.text}", style=COLOURS[SEVERITY[each.kind]])
        for each in found.findings
    ]
    return Group(counted, hashed, *problems)


def verdict(found: Verified) -> str:
    """The last line."""
    kinds = {each.kind for each in found.findings if SEVERITY[each.kind] == found.exit_code}
    if found.exit_code == 1 and kinds <= OF_REPLAYS:
        return f"{VERDICTS[0]}; what was trained again gave other bits, or none"
    return VERDICTS[found.exit_code]


def as_json(found: Verified, drawn: int, replayed: int, same: int) -> dict[str, Any]:
    """Counts, problems and verdict for a program."""
    return {
        "verdict": verdict(found),
        "exit_code": found.exit_code,
        "runs": {phase: {status: found.counts[phase, status] for status in STATUSES} for phase in PHASES},
        "folders": found.folders,
        "files": found.files,
        "bytes": found.bytes,
        "networks": found.networks,
        "network_bytes": found.network_bytes,
        "float_bytes": found.float_bytes,
        "drawn_again": drawn,
        "replayed": replayed,
        "same_bits": same,
        "problems": [each._asdict() for each in found.findings],
    }
