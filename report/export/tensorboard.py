"""The curves of a run as an event file of TensorBoard: scalars by epoch, and its hyperparameters.

The time of an event is the training time so far, so that the same records give the same bytes. Needs the
package tensorboard, and neither TensorFlow nor torch.
"""

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from report.export.tables import Row
from report.read.records import RunRecord
from suite.records.files import make_folder, written_whole
from suite.records.schema import EpochLine

FILE = "events.out.tfevents.flipbench"  # TensorBoard knows an event file by the first part of its name


def place_of(run: RunRecord) -> Path:
    """The folder of a run, which is its name in TensorBoard: digits.mlp.bop/random-study-0-trial-3."""
    return Path(run.cell.name, str(run.place).replace(" ", "-"))


def write_events(folder: Path, run: RunRecord, lines: list[EpochLine], settings: Row) -> Path:
    """Write the event file of a run that has a result; `settings` are shown as its hyperparameters."""
    events = importlib.import_module("tensorboard.compat.proto.event_pb2")
    summaries = importlib.import_module("tensorboard.compat.proto.summary_pb2")
    records = importlib.import_module("tensorboard.summary.writer.record_writer")
    plugin = importlib.import_module("tensorboard.plugins.hparams.summary_v2")
    path, seconds = folder / place_of(run) / FILE, 0.0
    make_folder(path.parent)
    with written_whole(path) as file:
        writer = records.RecordWriter(file)

        def write(**content: Any) -> None:
            writer.write(events.Event(wall_time=seconds, **content).SerializeToString())

        def write_scalars(epoch: int, scalars: Iterable[tuple[str, float]]) -> None:
            values = [summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars]
            write(step=epoch, summary=summaries.Summary(value=values))

        write(file_version="brain.Event:2")
        write(summary=plugin.hparams_pb(settings, trial_id=run.run_id, start_time_secs=0.0))
        for line in lines:
            seconds += line.seconds
            write_scalars(line.epoch, _of_epoch(run, line))
        write_scalars(len(lines), _of_test(run))
    return path


def _of_epoch(run: RunRecord, line: EpochLine) -> Iterator[tuple[str, float]]:
    """The scalars of an epoch; what precedes the stroke is a section of TensorBoard's page."""
    yield "loss/train", line.train_loss
    yield "loss/val", line.val_loss
    yield "top1/train", line.train_top1
    yield "top1/val", line.val_top1
    yield "top5/val", line.val_top5
    yield "flips/all", sum(line.flips.flips)
    assert run.curves is not None
    for layer, flips in zip(run.curves.layers.names, line.flips.flips, strict=True):
        yield f"flips/{layer}", flips


def _of_test(run: RunRecord) -> Iterator[tuple[str, float]]:
    """The scores of a final run on the test set."""
    for name in ("loss", "top1", "top5"):
        if (value := getattr(run.result and run.result.scores, f"test_{name}", None)) is not None:
            yield f"{name}/test", value
