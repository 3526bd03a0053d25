"""The tuning study of a task for the terminal, and as JSON."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from report.analysis.comparison import compare
from report.analysis.effective import FIT_DRAWS, Effective, effective_of
from report.analysis.study import MethodStudy, TaskStudy, task_study
from report.analysis.transfer import Transfer, transfer_row, transfers_of
from report.page.answer import answer, notes
from report.page.transfer import transfer_sentences
from report.page.tuning import ease_numbers
from report.read.records import Records, Task

HEADINGS = (
    "random\ndraws",
    "within\n1 point, %",
    "draws for\n95 %",
    "best of 8,\n% valid.",
    "gain,\npoints",
    "default\nbelow best",
)
MANY_ROWS = 12  # of one screen: of more, the first and the last are shown


@dataclass(frozen=True)
class StudyPage:
    """The study of a task, with the fits that were asked for by method."""

    study: TaskStudy
    answer: list[str]
    notes: list[str]
    effective: dict[str, Effective]
    transfers: list[Transfer]  # of other tasks' winners

    def rich(self) -> Group:
        """One screen: a table of the methods, the easiest first, and the answer in sentences."""
        table = RichTable(title=self.study.task.title, title_justify="left", box=SIMPLE, pad_edge=False)
        table.add_column("method", overflow="fold")
        for heading in HEADINGS:
            table.add_column(heading, justify="right", overflow="fold")
        rows = self._rows()
        left_out = len(rows) - MANY_ROWS
        for row in rows if left_out <= 0 else [*rows[: MANY_ROWS // 2], *rows[-MANY_ROWS // 2 :]]:
            table.add_row(row.method, *map(below, ease_numbers(row)))
        parts: list[RenderableType] = [table] if rows else []
        if left_out > 0:
            parts.append(Text(f"{left_out} rows between them are left out; --json has all"))
        fits = [Text(f"{method}: {fit}") for method, fit in self.effective.items()]
        return Group(
            *parts,
            *map(Text, self.answer),
            *fits,
            *map(Text, transfer_sentences(self.transfers)),
            *(Text(f"- {note}") for note in self.notes),
            Text(""),
        )

    def _rows(self) -> list[MethodStudy]:
        first = self.study.competing
        return [*first, *(row for row in self.study.methods if row not in first)]

    def as_json(self) -> dict[str, Any]:
        """The same numbers unrounded, with the shares at every tolerance; null where there is no number."""
        return without_nan(self._numbers())

    def _numbers(self) -> dict[str, Any]:
        reference = self.study.reference
        return {
            "data": self.study.task.data,
            "model": self.study.task.model,
            "reference": reference
            and {"setting": reference.setting.title, "validation": reference.validation},
            "answer": self.answer,
            "notes": self.notes,
            "methods": [self._method(row) for row in self.study.methods],
            **({"transfer": [transfer_row(each) for each in self.transfers]} if self.transfers else {}),
        }

    def _method(self, row: MethodStudy) -> dict[str, Any]:
        curve = row.budget
        return {
            "method": row.method,
            "track": row.cell.track,
            "control": row.control,
            "draws": len(row.search.scores),
            "missing_draws": row.search.missing,
            "shares": [asdict(share) | {"share": share.share} for share in row.shares if share.draws],
            "best_of": [
                {"n": n, "median": median, **({"low": low, "high": high} if n <= curve.carried else {})}
                for n, median, low, high in zip(
                    *(each.tolist() for each in (curve.budgets, curve.median, curve.low, curve.high)),
                    strict=True,
                )
            ],
            "gain": asdict(row.gain),
            "regret": asdict(row.regret),
            "studies": row.studies,
            "won_by_default": row.won_by_default,
            "order": asdict(row.order) if row.order else None,
            "hyperparameters": [asdict(effect) for effect in row.effects],
            "effective": asdict(self.effective[row.method]) if row.method in self.effective else None,
        }


def below(text: str) -> str:
    """A number with its interval on the next line, so that eight columns fit a terminal."""
    return text.replace(" [", "\n[").replace(" (", "\n(")


def without_nan(value: Any) -> Any:
    """The same with None for each NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def study_page(records: Records, task: Task, effective: bool) -> StudyPage:
    study = task_study(records, task, compare(records, task).judgement)
    fits = {}
    if effective:
        enough = [row for row in study.methods if len(row.search.scores) >= FIT_DRAWS]
        fits = {row.method: effective_of(row.search.scores) for row in enough}
    found = notes(study)
    if effective and not fits:
        found.append(
            f"No row has the {FIT_DRAWS} random draws that an effective number of hyperparameters takes."
        )
    return StudyPage(study, answer(study), found, fits, transfers_of(records, task))
