"""The preparation of a folder of images on the screen: a bar or dated lines, then a summary."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from suite.data.stored.entries import skipped_text
from suite.data.stored.pack_index import Summary

LINE_EVERY = 30.0  # seconds, without a terminal
NAMED = 10  # images that are listed; the manifest names all


@contextmanager
def bar(console: Console, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function that shows how many units are done, of how many: a bar, or a line now and then."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(unit, total=None)
        last = time.monotonic()

        def show(done: int, total: int) -> None:
            nonlocal last
            progress.update(task, completed=done, total=total)
            if not console.is_terminal and time.monotonic() - last >= LINE_EVERY:
                last = time.monotonic()
                console.print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {unit}: {done:,} of {total:,}")

        yield show


def summary_text(summary: Summary, target: Path) -> str:
    """The content of a prepared folder, in a few lines."""
    lines = [
        f"{target}: {summary.train:,} images of train and {summary.val:,} of val in {summary.shards} shards, "
        f"{decimal(summary.bytes)}; {summary.made} of the shards made now"
    ]
    if summary.skipped:
        lines.append(skipped_text(summary.skipped))
    if summary.damaged:
        more = len(summary.damaged) - NAMED
        lines.append(f"{len(summary.damaged)} damaged images are left out, listed in prepared.json:")
        lines += [f"  {name}" for name in summary.damaged[:NAMED]]
        lines += [f"  and {more} more"] if more > 0 else []
    return "\n".join(lines)
