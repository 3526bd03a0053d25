"""What `flipbench place` needs of a standard experiment: its whole baselines, its file with a newcomer in it,
and two of its runs trained again on this machine.
"""

import hashlib
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from suite.checks.adopt import other_protocol
from suite.checks.status import Observer
from suite.experiment.files import experiments, published_archive
from suite.experiment.spec import ExperimentFile
from suite.machine.errors import UserError
from suite.records.agreement import named_runs
from suite.records.archive import unpacked
from suite.records.experiment import ExperimentFolder
from suite.records.placement import Repeated
from suite.records.run import RunFolder
from suite.records.schema import EpochLine, Tuning
from suite.training.loop import train

STANDARD = "standard/"  # the experiments that a method is placed on
REPEATED = 2  # published runs that this machine trains again


class NoBaselines(UserError):
    """An archive that is intact, and in which there is too little to compare with as yet."""


@dataclass(frozen=True)
class FinalRun:
    """A published final run of a study's winner, that did not diverge. study: the cell's, of one track."""

    method: str
    study: tuple[str, str | None, int]
    run: str
    score: float  # top-1 on test


@dataclass(frozen=True)
class Baselines:
    """A standard experiment and the methods whose runs are all in its archive, in the order of its file."""

    experiment: str
    archive: Path
    sha256: str
    whole: tuple[str, ...]
    left_out: tuple[str, ...]
    finals: tuple[FinalRun, ...]  # of methods that compete
    tuning: Tuning  # of the archive's plan
    studies: Mapping[str, int]  # of the methods that have more there

    @property
    def seed_scores(self) -> list[list[float]]:
        """Of each study of the methods that are repeated, if it has two final runs or more.

        Those of the others say nothing about these: one that jumps would let any machine pass.
        """
        repeated = {each.method for each in self.repeated}
        studies = defaultdict(list)
        for each in self.finals:
            if each.method in repeated:
                studies[each.study].append(each.score)
        return [scores for scores in studies.values() if len(scores) > 1]

    @property
    def seed_sd(self) -> float:
        """Of a final run within its study, pooled over these studies."""
        return statistics.fmean(map(statistics.variance, self.seed_scores)) ** 0.5

    @property
    def repeated(self) -> list[FinalRun]:
        """The first final run of the first methods: the same ones for everybody."""
        first = {each.method: each for each in reversed(self.finals)}
        return [first[method] for method in self.whole if method in first][:REPEATED]


def standard_experiments(results: Path) -> dict[str, Path]:
    """The archives of the standard experiments, by experiment; only those that are published."""
    names = [name for name in experiments() if name.startswith(STANDARD)]
    archives = {name: published_archive(name, results) for name in names}
    return {name: archive for name, archive in archives.items() if archive is not None}


def read_baselines(experiment: str, archive: Path) -> Baselines:
    """DamagedRecord for a damaged archive; UserError for another protocol's; NoBaselines for too few runs."""
    with unpacked(archive) as folder:
        records = ExperimentFolder(folder)
        if problem := other_protocol(records):
            raise UserError(f"{archive}: its runs are no baselines: {problem}")
        plan = records.plan()
        cells = {each.cell: each for each in Observer(folder).look().cells}
        whole = dict.fromkeys(cell.method for cell in plan.cells)
        for cell in plan.cells:
            if cells[cell.cell].finished < cells[cell.cell].planned:
                whole.pop(cell.method, None)
        finals = []
        for cell in plan.cells:
            if cell.method not in whole or plan.methods[cell.method].control:
                continue
            for named in named_runs(records.ledger(cell, plan), cell, plan):
                result = records.run(named.run).result() if named.place.phase == "final" else None
                if result is not None and result.status == "done":
                    assert result.scores.test_top1 is not None
                    study = (cell.cell, named.place.track, named.place.study)
                    finals.append(FinalRun(cell.method, study, named.run, result.scores.test_top1))
    everyone = dict.fromkeys(cell.method for cell in plan.cells)
    found = Baselines(
        experiment,
        archive,
        hashlib.sha256(archive.read_bytes()).hexdigest(),
        tuple(whole),
        tuple(method for method in everyone if method not in whole),
        tuple(finals),
        plan.tuning,
        {cell.method: cell.studies for cell in plan.cells if cell.studies},
    )
    if len({each.method for each in finals}) < REPEATED:
        raise NoBaselines(
            f"{archive}: fewer than {REPEATED} methods have all their runs in it: nothing to compare"
        )
    if not found.seed_scores:
        raise NoBaselines(
            f"{archive}: its studies have one final run each: how far seeds lie apart is not known, and so "
            "not how far a machine may"
        )
    return found


def placed_file(source: ExperimentFile, baselines: Baselines, entry: Mapping[str, Any], quick: bool) -> str:
    """The experiment with the whole baselines and a newcomer, as a file of its own.

    It has the studies that are in the archive, also where the experiment asks for more by now: only the
    newcomer is trained. quick: with one study instead of all.
    """
    values = {key: value for key, value in source.values.items() if key != "claim"}  # not the newcomer's
    methods = []
    for listed in values["methods"]:
        method = dict(listed) if isinstance(listed, dict) else {"name": listed}
        label = method.get("label", method["name"])
        method.pop("studies", None)
        if label in baselines.studies and not quick:
            method["studies"] = baselines.studies[label]
        if label in baselines.whole:
            methods.append(method)
    values["methods"] = [*methods, dict(entry)]
    tuning = dict(values.get("tuning", {}))
    for track in baselines.tuning.tracks:
        studies = {"studies": 1 if quick else track.studies}
        if track.name in tuning:
            tuning[track.name] = {**tuning[track.name], **studies}
        else:
            tuning |= studies
    values["tuning"] = tuning
    values["summary"] = f"{entry['name']} among the baselines of {source.name}."
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
    return f"# Written by flipbench place from experiments/{source.name}.yaml.\n{text}"


def train_again(
    baselines: Baselines,
    device: torch.device,
    on_epoch: Callable[[EpochLine], None] = lambda line: None,
) -> list[Repeated]:
    """The handshake: published final runs, trained again on this machine in a temporary folder."""
    found = []
    with (
        unpacked(baselines.archive) as folder,
        tempfile.TemporaryDirectory(prefix="flipbench-place-") as place,
    ):
        for each in baselines.repeated:
            before = ExperimentFolder(folder).run(each.run)
            recorded = before.result()
            assert recorded is not None
            now = train(before.trial(), RunFolder(Path(place) / each.run), device, on_epoch=on_epoch)
            assert now.scores.test_top1 is not None
            found.append(
                Repeated(
                    method=each.method,
                    run=each.run,
                    published=each.score,
                    here=now.scores.test_top1,
                    same_bits=now.digest == recorded.digest,
                )
            )
    return found
