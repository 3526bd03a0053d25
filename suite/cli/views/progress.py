"""The screen while a sweep runs: a bar on a terminal, dated lines elsewhere. All of it on stderr."""

from datetime import datetime
from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from suite.cli.console import err, say
from suite.experiment.plan import Plan
from suite.records.trial import Trial
from suite.sweep.messages import Busy, DiskFull, Done, EpochDone, Failed, Kept, Lost, Message, Preempted


class SweepProgress:
    """Counts the epochs and runs of a plan; a Sweep calls `on_message` and `on_note`."""

    def __init__(self, plan: Plan, *, tuning_only: bool = False) -> None:
        runs = plan.tuning_runs if tuning_only else plan.runs_of
        self.runs = sum(map(runs, plan.cells))
        self.epochs = sum(cell.train.epochs * runs(cell) for cell in plan.cells)
        self.finished = self.failed = 0
        self.epochs_of: dict[str, int] = {}
        self.console = err
        self.bar = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("epochs ·"),
            TimeElapsedColumn(),
            TextColumn("· left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("starting", total=self.epochs)

    def __enter__(self) -> "SweepProgress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()

    def on_note(self, text: str) -> None:
        """Print a note about the folder as a whole."""
        say(self.console, text)

    def on_message(self, message: Message, trial: Trial, cell: str) -> None:
        """Move the bar, and print what a person should know of a run that a cell asked for."""
        match message:
            case EpochDone(run_id, epoch):
                self.bar.update(self.task, advance=epoch - self.epochs_of.get(run_id, 0))
                self.epochs_of[run_id] = epoch
                return
            case Done() | Kept() | Failed():
                self.finished += 1
                self.failed += isinstance(message, Failed)
                shown = self.epochs_of.pop(message.run_id, 0)  # of one place: a run may fill several
                self.bar.update(self.task, advance=trial.train.epochs - shown)
        failures = f", {self.failed} failed" if self.failed else ""
        self.bar.update(self.task, description=f"{self.finished}/{self.runs} runs{failures}")
        if text := _text(message):
            word = type(message).__name__.lower()
            line = Text.assemble((word, "bold"), f" {_name(trial, cell)}: {text}")
            self.console.print(line, soft_wrap=True)
        elif not self.console.is_terminal and isinstance(message, Done):
            now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
            end = ": diverged" if message.result.status == "diverged" else ""
            say(self.console, f"{now}  {self.finished}/{self.runs} runs  {_name(trial, cell)}{end}")


def _text(message: Message) -> str:
    """What a person should know of a run, if anything."""
    match message:
        case Done(notes=text) | Kept(notes=text) | Preempted(text=text) | DiskFull(text=text):
            return text
        case Lost(failure=failure):
            return f"{failure.error}; it is run again"
        case Failed(failure=failure):
            return failure.error if failure else ""
        case Busy():
            return "another process has this run; waiting for it"
        case EpochDone():
            return ""


def _name(trial: Trial, cell: str) -> str:
    return f"{cell} {trial.stage} seed {trial.seed} ({trial.run_id})"
