"""What a person sees while a sweep runs: a bar on a terminal, dated lines elsewhere. All of it on stderr."""

from datetime import datetime
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from suite.experiment.plan import Plan
from suite.experiment.trial import Trial
from suite.sweep.worker import Report


class SweepProgress:
    """Counts epochs and runs of a plan; give `on_report` to a Sweep."""

    def __init__(self, plan: Plan, *, tuning_only: bool = False) -> None:
        finals = 0 if tuning_only else plan.experiment.seeds
        each = plan.experiment.tuning.trials + finals
        self.runs = len(plan.cells) * each
        self.epochs = sum(cell.train["epochs"] * each for cell in plan.cells)
        self.finished = self.failed = 0
        self.epochs_of: dict[str, int] = {}
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
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
        """Say what a person should know of the folder as a whole."""
        self.console.print(escape(text), soft_wrap=True)

    def on_report(self, report: Report, trial: Trial) -> None:
        """Move the bar; say what a person should know."""
        before = self.epochs_of.get(report.run_id, 0)
        if report.kind == "epoch":
            self.epochs_of[report.run_id] = int(report.text)
            self.bar.update(self.task, advance=int(report.text) - before)
            return
        if report.kind in ("done", "kept", "failed"):
            self.finished += 1
            self.failed += report.kind == "failed"
            self.bar.update(self.task, advance=trial.train["epochs"] - before)
        failures = f", {self.failed} failed" if self.failed else ""
        self.bar.update(self.task, description=f"{self.finished}/{self.runs} runs{failures}")
        if report.text:
            self.console.print(
                f"[bold]{report.kind}[/] {escape(_name(trial))}: {escape(report.text)}", soft_wrap=True
            )
        elif not self.console.is_terminal and report.kind == "done":
            now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
            print(
                f"{now}  {self.finished}/{self.runs} runs  {_name(trial)}", file=self.console.file, flush=True
            )


def _name(trial: Trial) -> str:
    cell = f"{trial.data['name']}.{trial.model['name']}.{trial.method}"
    return f"{cell} {trial.stage} seed {trial.seed} ({trial.run_id})"
