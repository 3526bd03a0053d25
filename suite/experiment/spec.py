"""An experiment file, read strictly, with every problem at its place in the file.

version: 1
summary: One sentence for the report's head.
tasks:                                   # data x model, crossed with every method
  - data: digits
    model: [mlp, {name: convnet, channels: 16}]
methods:
  - bop                                  # every hyperparameter is tuned
  - {name: latent-adam, clip: 1.0, decay: {lr: {cosine: 0.0}}}   # clip is set, lr decays from its drawn value
real: {decay: {lr: {cosine: 0.0}}}       # Adam for the real parameters, the same in every cell
train: {epochs: 20, batch_size: 64}
tuning: {trials: 8}                      # random search; studies: 3 repeats it
seeds: 5
"""

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from suite.experiment.files import experiment_name, experiments
from suite.experiment.strict_yaml import MAX_DEPTH, Document, Location, YamlError, refused_character
from suite.machine.errors import UserError, one_of, shortened, shown
from suite.records.claim import Claim, Contrast, Ease, Exact, Identical, Match, Order
from suite.records.files import DamagedRecord, digest, read_bytes
from suite.records.schema import Track, Tuning, task_name
from suite.records.trial import Augmentation, Precision

VERSION = 1
Epochs = Annotated[int, Field(ge=1, le=100_000)]
BatchSize = Annotated[int, Field(ge=2, le=1_000_000)]
BatchParts = Annotated[int, Field(ge=1, le=1_000_000)]


class SpecError(UserError, ValueError):
    """The experiment cannot be run as it is written; one line per problem, each with its place."""


class Problem(ValueError):
    """One thing wrong at one location of an experiment; `describe` gives it a place in the file."""

    def __init__(self, location: Location, message: str) -> None:
        super().__init__(message)
        self.location, self.message = location, message


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Named(_Strict):
    """Something registered: its name, its label in this experiment, and its options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str
    label: str = Field(default="", pattern=r"^[A-Za-z0-9_+-]*$", max_length=60)  # a part of file names

    @property
    def called(self) -> str:
        return self.label or self.name

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ProbeEntry(_Strict):
    """A probe, measured on the trained network of every final run: its name and its options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


Studies = Annotated[int, Field(ge=1, le=1000)]


class MethodEntry(Named):
    """A method. Its options set hyperparameters; `tune` names those to search, by default all others.

    `preset` is a published setting of the method; the options override it. `studies` are more studies of the
    same budget than the experiment gives to every method: they make its row more certain, not better tuned.
    """

    preset: str | None = None
    tune: list[str] | None = None
    decay: dict[str, dict[str, Any]] = {}
    studies: Studies | None = None


class RealEntry(_Strict):
    """Adam for the real parameters: its learning rate, tuned with every method unless it is set here."""

    lr: Any = None  # a number or a schedule, checked where the methods' values are
    decay: dict[str, dict[str, Any]] = {}

    @field_validator("decay")
    @classmethod
    def _of_lr(cls, decay: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if unknown := [name for name in decay if name != "lr"]:
            raise PydanticCustomError("decay", "only lr can decay here", {"name": unknown[0]})
        if decay and isinstance(info.data.get("lr"), dict):
            raise PydanticCustomError("decay", "lr follows a schedule already")
        return decay


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _list_of_named(value: Any) -> Any:
    return [_named(entry) for entry in (value if isinstance(value, list) else [value])]


class TrainSection(_Strict):
    """How long and on what each run trains. `augment` null means the usual one of the data set.

    A batch is computed in `batch_parts` equal parts whose gradients are averaged; batch norm sees a part.
    `keep_weights` changes no bit of a run, only what is left of it, and so is no part of its trial.
    """

    epochs: Epochs
    batch_size: BatchSize
    batch_parts: BatchParts = 1
    augment: Augmentation | None = None
    reestimate_batch_norm: bool = False
    precision: Precision = "float32"
    keep_weights: bool = False


class TrainOverrides(_Strict):
    """Settings of training that differ in one task."""

    epochs: Epochs | None = None
    batch_size: BatchSize | None = None
    batch_parts: BatchParts | None = None
    augment: Augmentation | None = None
    reestimate_batch_norm: bool | None = None
    precision: Precision | None = None


class TaskEntry(_Strict):
    """Data sets crossed with models."""

    data: Annotated[list[Named], BeforeValidator(_list_of_named), Field(min_length=1)]
    model: Annotated[list[Named], BeforeValidator(_list_of_named), Field(min_length=1)]
    train: TrainOverrides = TrainOverrides()


def _budget(value: Any) -> Any:
    """A number of trials, or the name of one."""
    if not isinstance(value, str):
        return value
    if value not in BUDGETS:
        message = "there is no budget {name}{hint}"
        raise PydanticCustomError("budget", message, {"name": shown(value), "hint": one_of(value, BUDGETS)})
    return BUDGETS[value]


BUDGETS = {"one-shot": 1, "small": 8, "medium": 25, "large": 75}  # trials of a study
Trials = Annotated[int, BeforeValidator(_budget), Field(ge=1, le=100_000)]


class TrackSection(_Strict):
    """A track: random search. Every study is drawn on its own."""

    trials: Trials
    studies: Studies = 1


class TpeSection(TrackSection):
    """The track of TPE. `at_once` trials are drawn before their results are used."""

    at_once: Annotated[int, Field(ge=1, le=100_000)] = 4


class TuningSection(_Strict):
    """The budget of every cell: `trials` and `studies` of random search, or one or both tracks by name.

    With 0 trials nothing is tuned. All draws and seeds are keyed by `seed`. With `transfer` each study's
    winner also runs on the other tasks.
    """

    trials: Annotated[int, BeforeValidator(_budget), Field(ge=0, le=100_000)] = 8
    studies: Studies = 1
    random: TrackSection | None = None
    tpe: TpeSection | None = None
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    transfer: bool = False

    @model_validator(mode="after")
    def _one_form(self) -> "TuningSection":
        named = [name for name in ("random", "tpe") if getattr(self, name) is not None]
        if empty := self.model_fields_set & {"random", "tpe"} - {*named}:
            message = "{key}: nothing is below it; write for example {key}: {trials: 8}"
            raise PydanticCustomError("tuning", message, {"key": min(empty)})
        if named and (twice := self.model_fields_set & {"trials", "studies"}):
            message = "{key} belongs into the tracks where they are named, for example {track}: {trials: 8}"
            raise PydanticCustomError("tuning", message, {"key": min(twice), "track": named[0]})
        if not self.trials and self.studies > 1:
            raise PydanticCustomError(
                "tuning", "studies: with trials: 0 there is no study; `seeds` repeats runs"
            )
        return self

    def resolved(self) -> Tuning:
        """The tracks by name, random search first."""
        if self.random is None and self.tpe is None:
            only = [Track(name="random", trials=self.trials, studies=self.studies)] if self.trials else []
            return Tuning(tracks=only, seed=self.seed)
        tracks = []
        if self.random is not None:
            tracks.append(Track(name="random", trials=self.random.trials, studies=self.random.studies))
        if self.tpe is not None:
            tpe = self.tpe
            tracks.append(Track(name="tpe", trials=tpe.trials, studies=tpe.studies, at_once=tpe.at_once))
        return Tuning(tracks=tracks, seed=self.seed)


def _percent(value: Any) -> Any:
    """No share: no accuracy that a paper reports is 1 % or less."""
    if isinstance(value, int | float) and not 1 < value <= 100:
        raise PydanticCustomError("percent", "is in percent, above 1 and at most 100")
    return value


Percent = Annotated[float, BeforeValidator(_percent)]


class PublishedEntry(_Strict):
    """What a paper reports for a method of this experiment, by label: percent on test, of one task or all."""

    method: str
    data: str | None = None
    model: str | None = None
    top1: Percent
    top5: Percent | None = None
    source: Annotated[str, Field(min_length=1)]


class Experiment(_Strict):
    """A whole experiment file."""

    version: int
    summary: str
    tasks: Annotated[list[TaskEntry], Field(min_length=1)]
    methods: Annotated[list[Annotated[MethodEntry, BeforeValidator(_named)]], Field(min_length=1)]
    train: TrainSection
    real: RealEntry = RealEntry()
    tuning: TuningSection = TuningSection()
    seeds: Annotated[int, Field(ge=1, le=1000)] = 5
    margin: Annotated[float, Field(gt=0, lt=100)] | None = None  # points that count as equal
    published: list[PublishedEntry] = []  # next to which the report shows its own scores
    claim: Claim | None = None  # what the experiment sets out to decide
    plugins: list[str] = []
    probes: list[Annotated[ProbeEntry, BeforeValidator(_named)]] = []

    @property
    def budget(self) -> Tuning:
        """The tracks of every cell, and the tasks whose winners run on each of the others."""
        tasks = [
            task_name(data.called, model.called)
            for task in self.tasks
            for data in task.data
            for model in task.model
        ]
        return replace(self.tuning.resolved(), transfer=tasks if self.tuning.transfer else [])


class ExperimentFile:
    """An experiment file and the `--set` changes to it, with the origin of every value."""

    def __init__(self, path: Path, changes: Iterable[str] = ()) -> None:
        self.path = path
        self.name = experiment_name(path)
        try:
            self.text = read_bytes(path).decode()
        except FileNotFoundError:
            known = sorted(experiments())
            raise SpecError(f"{path}: no such experiment file{one_of(self.name, known)}") from None
        except DamagedRecord as error:  # a folder or a pipe, for example
            raise SpecError(f"{path}: cannot be read: {error.problem}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from None
        try:
            self.document = Document(self.text, str(path))
        except YamlError as error:
            raise SpecError(str(error)) from None
        self.values = self.document.values
        self.changes: dict[Location, str] = {}  # by the place where the file was changed
        made: dict[Location, tuple[str, Any]] = {}
        for location, text, value in map(_parsed_change, changes):
            if location in made:
                raise SpecError(f"{_as_set(text)}: {_as_set(made[location][0])} sets the same value")
            made[location] = text, value
        for location in sorted(
            made, key=lambda at: (len(at), str(at))
        ):  # any order gives the same experiment
            self._change(location, *made[location])
        if made:  # a changed experiment is another one, with a folder of its own
            texts = sorted(text for text, _ in made.values())
            self.name += f"-{digest(texts)[:8]}"
            self.text = "\n".join([self.text.rstrip("\n"), *(f"# --set {text}" for text in texts), ""])

    def _change(self, location: Location, text: str, value: Any) -> None:
        """Set the value at its place; sections that are missing in the file are added."""
        parent, begins = self.values, len(location)
        for depth, step in enumerate(location):
            last = depth == len(location) - 1
            if isinstance(parent, dict) and isinstance(step, str):
                if step not in parent:
                    begins = min(begins, depth + 1)
                parent[step] = value if last else _opened(parent.get(step, {}))
            elif isinstance(parent, list) and isinstance(step, int) and step < len(parent):
                parent[step] = value if last else _opened(parent[step])
            else:
                raise SpecError(f"{_as_set(text)}: {_dead_end(location[:depth], step, parent)}")
            parent = parent[step]  # type: ignore[index]
        self.changes[location[:begins]] = text

    def experiment(self) -> Experiment:
        """The validated experiment; SpecError names every problem in it."""
        if not isinstance(self.values, dict):
            raise SpecError(
                f"{self.path}:1:1: an experiment has the keys {', '.join(Experiment.model_fields)}; "
                f"this file holds {shown(self.values) if self.values is not None else 'nothing'}"
            )
        version = self.values.get("version")
        if type(version) is int and version != VERSION:
            age = "an older" if version < VERSION else "a newer"
            raise self.error(
                Problem(
                    ("version",), f"written for {age} flipbench ({version}); this one reads version {VERSION}"
                )
            )
        try:
            return Experiment.model_validate(self.values)
        except ValidationError as error:
            raise self.error(*(_from_pydantic(problem) for problem in error.errors())) from None

    def error(self, *problems: Problem) -> SpecError:
        """The problems as one error, a line each: place, key, problem."""
        return SpecError("\n".join(self._describe(problem) for problem in problems))

    def _describe(self, problem: Problem) -> str:
        where = _without_lone_index(problem.location)
        changed = [c for at, c in self.changes.items() if where[: len(at)] == _without_lone_index(at)]
        place = _as_set(changed[-1]) if changed else self.document.place(problem.location)
        key = ".".join(shortened(str(step)) for step in problem.location)
        return f"{place}: {key}: {problem.message}" if key else f"{place}: {problem.message}"


def _parsed_change(change: str) -> tuple[Location, str, Any]:
    """path=value as the location, the text on one line, and the value."""
    dotted, equals, text = change.partition("=")
    change = " ".join(change.splitlines())
    if not equals or not dotted:
        raise SpecError(f"{_as_set(change)}: write path=value, for example train.epochs=5")
    steps = dotted.split(".")
    if len(steps) > MAX_DEPTH:
        raise SpecError(
            f"{_as_set(change)}: a path of {len(steps)} parts; nothing lies deeper than {MAX_DEPTH}"
        )
    location = tuple(int(step) if step.isdecimal() and len(step) < 10 else step for step in steps)
    if refused := refused_character(dotted):
        raise SpecError(f"{_as_set(change)}: {refused}")
    try:
        return location, change, Document(text, _as_set(change)).values
    except YamlError as error:
        raise SpecError(str(error)) from None


def _as_set(change: str) -> str:
    """A change as a message names it."""
    return "--set " + shortened("".join(c if c.isprintable() else "?" for c in change), 200)


def _opened(value: Any) -> Any:
    """A copy to change, because anchors share values; a word becomes a mapping: `bop` is {name: bop}."""
    return {"name": value} if isinstance(value, str) else copy.copy(value)


def _dead_end(before: Location, step: str | int, parent: Any) -> str:
    """Why a path ends here."""
    at = ".".join(map(str, before)) or "the experiment"
    if isinstance(parent, list):
        return f"{at} is a list of {len(parent)}, counted from 0: it has no {shown(step)}"
    if parent == {}:
        return f"{at} is not set yet: give all of it"
    if isinstance(parent, dict):
        return f"{at} has keys, not numbers: {', '.join(parent) or 'none yet'}"
    return f"{at} is {shown(parent)}: it has no {shown(step)}"


def _without_lone_index(location: Location) -> Location:
    """A location without the 0 of a data set or model that is written without a list."""
    before = (None, *location)
    return tuple(s for s, b in zip(location, before, strict=False) if not (s == 0 and b in ("data", "model")))


def _from_pydantic(error: Mapping[str, Any]) -> Problem:
    """The problem that an error of pydantic means."""
    location, value = _without_kind(tuple(error["loc"])), shown(error["input"])
    limits = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden" if location in (("tuning", "sampler"), ("tuning", "at_once")):
            return Problem(location, OLDER_TUNING)
        case "extra_forbidden" | "unexpected_keyword_argument":
            return Problem(location, f"unknown key{one_of(str(location[-1]), _fields_at(error['loc'][:-1]))}")
        case "union_tag_invalid":
            return Problem(
                (*location, "kind"), f"there is no {shown(limits['tag'])}{one_of(limits['tag'], TESTS)}"
            )
        case "union_tag_not_found":
            return Problem((*location, "kind"), f"is missing{one_of('', TESTS)}")
        case "missing":
            return Problem(location, "is missing")
        case "literal_error":
            choices = re.findall(r"'([^']*)'", limits["expected"])
            return Problem(location, f"there is no {value}{one_of(str(error['input']), choices)}")
        case "greater_than_equal":
            return Problem(location, f"must be at least {limits['ge']}, not {value}")
        case "less_than_equal":
            return Problem(location, f"must be at most {limits['le']}, not {value}")
        case "greater_than":
            return Problem(location, f"must be above {limits['gt']:g}, not {value}")
        case "less_than":
            return Problem(location, f"must be below {limits['lt']}, not {value}")
        case "string_pattern_mismatch":
            return Problem(location, f"takes letters, digits, '_', '+' and '-', not {value}")
        case "too_short":
            least = limits["min_length"]
            entries = "one entry" if least == 1 else f"{least} entries"
            return Problem(location, f"needs at least {entries}")
        case "decay" if "name" in limits:
            return Problem((*location, limits["name"]), error["msg"])
        case "decay" | "tuning" | "budget":
            return Problem(location, error["msg"])
        case "model_type" | "dict_type":
            return Problem(location, f"keys with values belong here, not {value}")
        case kind if kind in _BELONGS:
            text = "the text " if isinstance(error["input"], str) else ""
            return Problem(location, f"{_BELONGS[kind]} belongs here, not {text}{value}")
    return Problem(location, f"{error['msg'][0].lower()}{error['msg'][1:]}; it is {value}")


TESTS = {
    "identical": Identical, "contrast": Contrast, "order": Order, "exact": Exact, "ease": Ease,
}  # fmt: skip


def _without_kind(location: Location) -> Location:
    """A location in a claim's test without the test's kind, which pydantic puts after its number."""
    if location[:2] == ("claim", "tests") and len(location) > 3 and location[3] in TESTS:
        return (*location[:3], *location[4:])
    return location


OLDER_TUNING = (
    "is no longer a key: name the track instead, tuning: {tpe: {trials: 25, studies: 1, at_once: 4}} or "
    "tuning: {random: {trials: 25, studies: 1}}; tuning: {trials: 25} alone is random search"
)
_BELONGS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
}


def _fields_at(location: Location) -> list[str]:
    """The allowed keys at a location of pydantic's."""
    words = [step for step in location if isinstance(step, str)]
    records = {"claim": Claim, "match": Match, **TESTS}
    if words and words[-1] in records:
        return [each.name for each in fields(records[words[-1]])]
    models: dict[str, type[BaseModel]] = {
        "train": TrainOverrides if "tasks" in words else TrainSection, "real": RealEntry,
        "tasks": TaskEntry, "methods": MethodEntry, "tuning": TuningSection, "random": TrackSection,
        "tpe": TpeSection, "published": PublishedEntry,
    }  # fmt: skip
    return list((models[words[-1]] if words else Experiment).model_fields)
