"""The status of a sweep as a person reads it: once, or kept up to date on a terminal."""

import contextlib
import time

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from suite.checks.status import Observer, Status
from suite.cli.console import duration, table

REFRESH = 2.0  # seconds between two readings with `--watch`


def picture(status: Status) -> Group:
    """A table of the cells, the runs in progress, and the totals."""
    transfer = any(cell.transfer_planned for cell in status.cells)
    phases = ("tuning", "final", "default", *(["transfer"] if transfer else []))
    cells = table("cell", *phases, "failed", "diverged", "best validation so far", box=box.SIMPLE_HEAD)
    for cell in status.cells:
        cells.add_row(
            cell.cell,
            f"{cell.tuning}/{cell.tuning_planned}",
            f"{cell.final}/{cell.final_planned}",
            f"{cell.default}/{cell.default_planned}",
            *([f"{cell.transfer}/{cell.transfer_planned}"] if transfer else []),
            Text(f"{cell.failed}", style="bold red") if cell.failed else "",
            f"{cell.diverged}" if cell.diverged else "",
            "" if cell.best_val_top1 is None else f"{100 * cell.best_val_top1:.2f} %",
        )
    running = [Text(f"{run.cell} {run.which}: epoch {run.epoch} of {run.epochs}") for run in status.running]
    damaged = [Text(f"damaged: {problem}", style="red") for problem in status.damaged]
    head = Text.assemble((status.experiment, "bold"), f": {_headline(status)}")
    beyond = [Text(status.unplanned, style="yellow")] if status.unplanned else []
    return Group(head, cells, *running, Text(_totals(status)), *beyond, *damaged)


def _headline(status: Status) -> str:
    if status.working:
        return "a sweep works in this folder"
    return "every planned run has ended" if status.settled else "no sweep works in this folder"


def _totals(status: Status) -> str:
    finished = sum(cell.finished for cell in status.cells)
    planned = sum(cell.planned for cell in status.cells)
    epochs = sum(cell.epochs for cell in status.cells)
    epochs_planned = sum(cell.epochs_planned for cell in status.cells)
    parts = [f"{finished:,} of {planned:,} runs, {epochs:,} of {epochs_planned:,} epochs"]
    if status.epochs_per_minute:
        parts.append(f"{status.epochs_per_minute:,.0f} epochs per minute")
    if left := status.work_left_seconds:
        at_once = len(status.running)
        parts.append(
            f"about {duration(left / at_once)} left with {at_once} runs at once"
            if at_once > 1
            else f"about {duration(left)} of work left, one run at a time"
        )
    return "; ".join(parts)


def watch_status(observer: Observer, console: Console, refresh: float = REFRESH) -> Status:
    """Show the status until every planned run has ended or the user presses Ctrl-C; the last one."""
    status = observer.look()
    live = Live(picture(status), console=console, auto_refresh=False)
    with contextlib.suppress(KeyboardInterrupt), live:
        while status.working or not status.settled:
            time.sleep(refresh)
            status = observer.look()
            live.update(picture(status), refresh=True)
    return status
