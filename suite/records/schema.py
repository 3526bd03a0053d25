"""The types of all other records, one for each file. docs/records.md shows the files.

A file whose content does not fit its type is damaged. Nothing here imports torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_plain_validator_function

from suite.records.claim import Claim
from suite.records.codec import absent, encode, record
from suite.records.trial import Setting, Settings, Trial

# A record names files by these, so that no name leads out of the experiment's folder.
RunName = Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{16}$")]
PartName = Annotated[StrictStr, Field(pattern=r"^[^/\x00.][^/\x00]*$", max_length=200)]
Count = Annotated[StrictInt, Field(ge=0, lt=2**63)]
Seconds = Annotated[StrictFloat, Field(ge=0, le=1e9)]
Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
Fraction = Annotated[StrictFloat, Field(ge=0, le=1)]
FORMAT = 4  # of an experiment's folder: raise it when one of its files is read in another way

# ---- environment.json


@record
class GitState:
    """The commit of the code, None where it is not in a repository, and whether it had changes."""

    commit: StrictStr | None
    dirty: StrictBool | None


@record
class MethodFile:
    """The file that defines a method, a model or a data set, by name and content."""

    name: StrictStr
    sha256: StrictStr


@record
class Environment:
    """Where a run was made. `earlier`: the other environments in which it began, if it was interrupted.

    model_file, data_file: only of a model and a data set that are not in the catalogue.
    """

    git: GitState
    versions: dict[str, StrictStr]
    method_file: MethodFile
    device: StrictStr
    device_name: StrictStr
    threads: StrictInt
    host: StrictStr
    platform: StrictStr
    processes: StrictInt = 1
    earlier: list["Environment"] = absent(list)
    model_file: MethodFile | None = absent()
    data_file: MethodFile | None = absent()


# ---- epochs.jsonl

WITHIN = (1, 2, 5, 10)  # a flip is undone within k steps if the same weight flips back at most k steps later


@record
class FlipCounts:
    """The flips of one epoch, one entry for each binary layer.

    undone_k: flips that reverse one of the same weight at most k steps before. never: weights that have not
    flipped since the start. distance: weights whose sign is not that of the start.
    """

    flips: list[Count]
    undone_1: list[Count]
    undone_2: list[Count]
    undone_5: list[Count]
    undone_10: list[Count]
    never: list[Count]
    distance: list[Count]

    def undone(self, within: int) -> list[int]:
        """Flips that undo one at most so many steps before, one of WITHIN."""
        return getattr(self, f"undone_{within}")


@record
class EpochLine:
    """One epoch. Losses in nats, accuracies as fractions, times in seconds."""

    epoch: Count
    step: Count
    train_loss: Number
    train_top1: Fraction
    val_loss: Number
    val_top1: Fraction
    val_top5: Fraction
    flips: FlipCounts
    train_seconds: Seconds
    seconds: Seconds

    def without_times(self) -> dict[str, Any]:
        """The part that repeats with the same trial."""
        return {key: value for key, value in encode(self).items() if "seconds" not in key}


# ---- result.json, failure.json


@record
class Scores:
    """Mean loss in nats, top-1 and top-5 as fractions; of test in final runs only."""

    val_loss: Number
    val_top1: Fraction
    val_top5: Fraction
    test_loss: Number | None = absent()
    test_top1: Fraction | None = absent()
    test_top5: Fraction | None = absent()


@record
class Layer:
    """A binary layer and its number of weights."""

    name: StrictStr
    weights: Count


@record
class BytesPerWeight:
    """Bytes per binary weight: of the stored tensors, and of the optimizer's state."""

    stored: Number
    optimizer: Number


@record
class Result:
    """A finished run. `digest` covers all but the measurements; `files` are the sha256 of the run's files.

    probes: what each probe of the trial found in the trained network, by name and key.
    """

    status: Literal["done", "diverged"]
    epochs: Count
    steps: Count
    scores: Scores
    layers: list[Layer]
    binary_weights: Count
    real_parameters: Count
    bytes_per_binary_weight: BytesPerWeight
    diverged_at_step: Count | None = absent()
    damaged_images: list[StrictStr] = absent(list)
    probes: dict[StrictStr, dict[StrictStr, Number | StrictStr]] = absent(dict)
    digest: StrictStr = ""
    seconds: Seconds = 0.0
    step_milliseconds: Seconds | None = None
    peak_memory_bytes: Count | None = None
    files: dict[str, StrictStr] = field(default_factory=dict)

    def deterministic(self) -> dict[str, Any]:
        """The part that repeats with the same trial, bit for bit."""
        return {key: value for key, value in encode(self).items() if key not in MEASURED}


MEASURED = ("digest", "seconds", "step_milliseconds", "peak_memory_bytes", "files")

FailureKind = Literal["error", "out of memory", "worker died"]


@record
class Failure:
    """Why a run has no result: the kind of failure, its message, and how far the run had come."""

    status: Literal["failed"] = "failed"
    kind: FailureKind
    error: StrictStr
    where: StrictStr = ""
    traceback: StrictStr = ""

    @property
    def reason(self) -> str:
        """Kind, place and error in one line."""
        return f"{self.kind}{f' {self.where}' if self.where else ''}: {self.error}"


# ---- cells/<cell>.json


@record
class TuningEntry:
    """One tuning trial: its run, and its hyperparameters as drawn or set, before any decay.

    Trial 0 is the published default.
    """

    number: StrictInt
    run: RunName
    hypers: Settings


@record
class Winner:
    """The tuning trial of a study with the best validation score, and that score."""

    number: StrictInt
    value: Fraction
    hypers: Settings


TrackName = Literal["random", "tpe"]


@record
class FinalEntry:
    """One final run of a study's winner, by its number among them."""

    number: StrictInt
    run: RunName


@record
class DefaultEntry:
    """One final run of the published default, with the seed of the winners' run of that study and number."""

    study: StrictInt
    number: StrictInt
    run: RunName


@record
class StudyEntry:
    """One study of a cell. `key` names the definition that its draws belong to."""

    track: TrackName
    number: StrictInt
    key: StrictStr
    tuning: list[TuningEntry]
    winner: Winner | None
    final: list[FinalEntry]

    def __str__(self) -> str:
        return f"{self.track} study {self.number}"


@record
class TransferEntry:
    """The winner of a study of the same method on another task, and its final runs on this one.

    source: that task. hypers: the winner's, as drawn or set, before any decay.
    """

    source: StrictStr
    track: TrackName
    study: StrictInt
    hypers: Settings
    final: list[FinalEntry]

    def __str__(self) -> str:
        return f"the winner of {self.track} study {self.study} of {self.source}"


@record
class Ledger:
    """The runs that a cell consists of: its studies, and final runs that none of them has chosen.

    Those are of the published default and, where the experiment asks for it, of other tasks' winners.
    """

    cell: StrictStr
    studies: list[StudyEntry]
    default: list[DefaultEntry]
    transfer: list[TransferEntry] = absent(list)

    @classmethod
    def empty(cls, cell: str) -> Self:
        """The ledger of a cell of which no run is named."""
        return cls(cell=cell, studies=[], default=[])


# ---- plan.json, data/<data set>.json

Phase = Literal["tuning", "final", "default", "transfer"]
PHASES: tuple[Phase, ...] = ("tuning", "final", "default", "transfer")


class Place(NamedTuple):
    """What a run is in its cell: a trial of a study, or a final run.

    Of its winner, of the published default, or of the winner of the study on another task, the `source`.
    """

    phase: Phase
    track: TrackName | None  # none for the published default, which belongs to no track
    study: int
    number: int  # of the trial in its study, or of the final run
    source: str | None = None

    def __str__(self) -> str:
        """What a person calls it: `random study 0 trial 3`, or `default study 0 seed 1`."""
        which = "trial" if self.phase == "tuning" else "seed"
        where = f" of {self.source}" if self.source else ""
        return f"{self.track or 'default'} study {self.study}{where} {which} {self.number}"


@record
class Track:
    """One way of tuning: independent studies, each with the same number of trials.

    at_once: of TPE alone, the trials that are drawn before their results are used.
    """

    name: TrackName
    trials: Annotated[StrictInt, Field(ge=1, le=100_000)]
    studies: Annotated[StrictInt, Field(ge=1, le=1000)] = 1
    at_once: Annotated[StrictInt, Field(ge=1)] | None = absent()


@record
class Tuning:
    """The budget of a cell: its tracks. Without any, the published default is used untuned.

    seed: the experiment's; every draw and every seed of a run is keyed by it. transfer: the tasks whose
    winners also run on each of the others.
    """

    tracks: list[Track]
    seed: Annotated[StrictInt, Field(ge=0, lt=2**53)] = 0
    transfer: list[StrictStr] = absent(list)

    @property
    def studies(self) -> int:
        """How many groups of final seeds there are: study n of every track uses the same ones."""
        return max((track.studies for track in self.tracks), default=1)

    def with_studies(self, studies: int | None) -> Self:
        """The same budget for each study, but so many of them, where a track has fewer."""
        tracks = [replace(track, studies=max(track.studies, studies or 0)) for track in self.tracks]
        return replace(self, tracks=tracks)

    @property
    def random_draws(self) -> int:
        """Random draws of a cell: the published default, each study's first trial, is none."""
        return sum((track.trials - 1) * track.studies for track in self.tracks if track.name == "random")

    def count(self, phase: Phase, seeds: int) -> int:
        """How many runs of a phase a cell has, with so many final runs of each winner.

        A run that is in two places counts twice: the winner may be the default, and its final runs are too.
        """
        if phase == "tuning":
            return sum(track.studies * track.trials for track in self.tracks)
        studies = self.studies if phase == "default" else sum(track.studies for track in self.tracks)
        sources = max(0, len(self.transfer) - 1) if phase == "transfer" else 1
        return sources * studies * seeds

    def places(self, seeds: int, task: str) -> Iterator[Place]:
        """The place of every planned run of a cell of a task.

        Study by study, then those of the published default, then those of the other tasks' winners.
        """
        for track in self.tracks:
            for study in range(track.studies):
                yield from (Place("tuning", track.name, study, number) for number in range(track.trials))
                yield from (Place("final", track.name, study, number) for number in range(seeds))
        for study in range(self.studies):
            yield from (Place("default", None, study, number) for number in range(seeds))
        for source in self.transfer:
            for track in self.tracks if source != task else ():
                for study in range(track.studies):
                    for number in range(seeds):
                        yield Place("transfer", track.name, study, number, source)


@dataclass(frozen=True)
class Range:
    """Where a tuner searches: `log`, `uniform`, `integer` between two numbers, `choice` among the values."""

    kind: Literal["log", "uniform", "integer", "choice"]
    values: tuple[float | str | bool | None, ...]

    def __str__(self) -> str:
        """The range in words, as every table prints it."""
        if self.kind == "choice":
            return "choice " + " | ".join("none" if value is None else str(value) for value in self.values)
        low, high = self.values
        return f"{self.kind} {low:g} … {high:g}"

    def as_json(self) -> dict[str, Any]:
        return {self.kind: list(self.values)}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return no_info_plain_validator_function(_parse_range)


def _parse_range(value: Any) -> Range:
    try:
        ((kind, values),) = value.items()
    except (AttributeError, ValueError):
        raise ValueError("a range is one of log, uniform, integer and choice with its values") from None
    if kind not in ("log", "uniform", "integer", "choice") or not isinstance(values, list):
        raise ValueError(f"there is no range {kind!r} with such values")
    if kind != "choice" and not (len(values) == 2 and all(type(v) in (int, float) for v in values)):
        raise ValueError("takes two numbers")
    return Range(kind, tuple(values))


@record
class HyperCard:
    """A hyperparameter as the report shows it; without a range the experiment does not search it."""

    default: Setting
    range: Range | None


@record
class MethodCard:
    """A method as the report shows it. A control is a floor or a ceiling that competes with nobody.

    family: what the method's file calls its kind. differs: how the row differs from the plain method.
    """

    method: StrictStr
    paper: StrictStr
    summary: StrictStr
    latent_free: StrictBool
    control: StrictBool
    family: StrictStr | None = absent()
    differs: list[StrictStr] = absent(list)
    hypers: dict[str, HyperCard]


@record
class DataSizes:
    """A data set before a pixel is read: classes, (channels, height, width), images, bytes of all pixels."""

    classes: StrictInt
    shape: list[StrictInt]
    train: StrictInt
    val: StrictInt
    test: StrictInt
    bytes: StrictInt


@record
class PlannedCell:
    """A cell: the labels of its parts, and its first final trial at the published setting.

    studies: of each track, where this method has more of them than the plan gives to all.
    """

    cell: PartName
    data: PartName
    model: StrictStr
    method: StrictStr
    epochs: StrictInt
    trial: Trial
    studies: Annotated[StrictInt, Field(ge=1, le=1000)] | None = absent()

    @property
    def task(self) -> str:
        """The data set and the model, as a ledger names them where it takes winners from another task."""
        return task_name(self.data, self.model)


def task_name(data: str, model: str) -> str:
    """A task in one word, by the labels of its parts."""
    return f"{data}.{model}"


@record
class PublishedScore:
    """What a paper reports for a method: percent on test. data, model: labels; without them every task's."""

    method: StrictStr
    data: PartName | None = absent()
    model: StrictStr | None = absent()
    top1: Number
    top5: Number | None = absent()
    source: StrictStr


@record
class PlanRecord:
    """The plan, written before anything runs: the denominators of the report.

    seeds: the final runs of each study's winner, and as many of the published default. layers: of each model
    the kinds of its binary layers in order, conv or dense. margin: percentage points by which two accuracies
    may differ and still count as equal. published: scores of papers, which the report shows next to its own.
    claim: what the experiment sets out to decide.
    """

    format: StrictInt
    protocol: StrictInt
    experiment: StrictStr
    summary: StrictStr
    yaml: StrictStr
    tuning: Tuning
    seeds: Annotated[StrictInt, Field(ge=1, le=1000)]
    methods: dict[str, MethodCard]
    data: dict[PartName, DataSizes]
    layers: dict[StrictStr, list[Literal["conv", "dense"]]] = absent(dict)
    cells: list[PlannedCell]
    margin: Annotated[StrictFloat, Field(gt=0, lt=100)] | None = absent()
    published: list[PublishedScore] = absent(list)
    claim: Claim | None = absent()

    def tuning_of(self, planned: PlannedCell) -> Tuning:
        """The budget of one of the cells."""
        return self.tuning.with_studies(planned.studies)

    def studies_of(self, track: TrackName) -> list[int]:
        """How many studies of a track the cells have: each number once, the smallest first."""
        tracks = [each for planned in self.cells for each in self.tuning_of(planned).tracks]
        return sorted({each.studies for each in tracks if each.name == track})


@record
class DataRecord:
    """The images that the runs were measured on. `sha256` covers train and validation."""

    name: StrictStr
    options: dict[str, Any]
    classes: StrictInt
    train: StrictInt
    val: StrictInt
    test: StrictInt
    shape: list[StrictInt]
    sha256: StrictStr
    stored: dict[str, Any] = absent(dict)  # of images that stay on disk: their form and a digest
    skipped: dict[str, StrictInt] = absent(dict)  # entries of the user's folders that are no data, by kind
    validation_index: list[StrictInt]
    validation_index_sha256: StrictStr
