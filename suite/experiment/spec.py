"""An experiment file: read strictly, checked against the registries, every problem with its place.

version: 1
summary: One sentence for the report's head.
tasks:                                   # data x model, crossed with every method
  - data: digits
    model: [mlp, {name: convnet, channels: 16}]
methods:
  - bop                                  # every hyperparameter is tuned
  - {name: latent-adam, clip: 1.0, decay: {lr: {cosine: 0.0}}}   # clip is set, lr decays from what is drawn
real: {decay: {lr: {cosine: 0.0}}}       # Adam for the real parameters, the same in every cell
train: {epochs: 20, batch_size: 64}
tuning: {trials: 8, sampler: random}
seeds: 5
"""

import copy
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from suite.experiment.strict_yaml import Document, Location, YamlError
from suite.machine.errors import UserError, one_of
from suite.records.files import digest

VERSION = 1
Augmentation = Literal["none", "crop", "crop-flip", "resized-crop-flip"]


class SpecError(UserError, ValueError):
    """The experiment cannot be run as written; one line per problem, each with its place."""


class Problem(ValueError):
    """One thing wrong at one location of an experiment; `describe` gives it a place in the file."""

    def __init__(self, location: Location, message: str) -> None:
        super().__init__(message)
        self.location, self.message = location, message


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Named(_Strict):
    """The name of something registered, what this experiment calls it, and its options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str
    label: str = Field(default="", pattern=r"^[A-Za-z0-9_+-]*$", max_length=60)  # a part of file names

    @property
    def called(self) -> str:
        return self.label or self.name

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class MethodEntry(Named):
    """A method. Its options set hyperparameters; `tune` names those to search, by default all others.

    `preset` is a published setting of the method: hyperparameters that it sets and the options do not.
    """

    preset: str | None = None
    tune: list[str] | None = None
    decay: dict[str, dict[str, Any]] = {}


class RealEntry(_Strict):
    """Adam for the real parameters: its learning rate, tuned with every method unless it is set here."""

    lr: Any = None  # a number or a schedule, checked where the methods' values are
    decay: dict[str, dict[str, Any]] = {}

    @field_validator("decay")
    @classmethod
    def _of_lr(cls, decay: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if unknown := [name for name in decay if name != "lr"]:
            raise PydanticCustomError("decay", "only lr can decay here, not {name}", {"name": unknown[0]})
        if decay and isinstance(info.data.get("lr"), dict):
            raise PydanticCustomError("decay", "lr follows a schedule already")
        return decay


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _list_of_named(value: Any) -> Any:
    return [_named(entry) for entry in (value if isinstance(value, list) else [value])]


class TrainSettings(_Strict):
    """How long and on what each run trains. `augment` null means what is usual for the data set.

    A batch is computed in `batch_parts` equal parts whose gradients are averaged; batch norm sees a part.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)]
    batch_parts: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    augment: Augmentation | None = None
    reestimate_batch_norm: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"


class TrainOverrides(_Strict):
    """What a task trains differently."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    batch_parts: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    augment: Augmentation | None = None
    reestimate_batch_norm: bool | None = None
    precision: Literal["float32", "bfloat16"] | None = None


class Task(_Strict):
    """Data sets crossed with models."""

    data: Annotated[list[Named], BeforeValidator(_list_of_named), Field(min_length=1)]
    model: Annotated[list[Named], BeforeValidator(_list_of_named), Field(min_length=1)]
    train: TrainOverrides = TrainOverrides()


class Tuning(_Strict):
    """The budget of every cell. Trial 0 is the published default; with 0 trials it is used untuned."""

    trials: Annotated[int, Field(ge=0, le=100_000)] = 8
    sampler: Literal["random", "tpe"] = "random"
    seed: Annotated[int, Field(ge=0)] = 0
    at_once: Annotated[int, Field(ge=1)] = 4  # tpe only: trials drawn before their results are looked at


class Experiment(_Strict):
    """A whole experiment file."""

    version: int
    summary: str
    tasks: Annotated[list[Task], Field(min_length=1)]
    methods: Annotated[list[Annotated[MethodEntry, BeforeValidator(_named)]], Field(min_length=1)]
    train: TrainSettings
    real: RealEntry = RealEntry()
    tuning: Tuning = Tuning()
    seeds: Annotated[int, Field(ge=1, le=1000)] = 5
    plugins: list[str] = []


class ExperimentFile:
    """An experiment file and the `--set` changes to it: where every value came from."""

    def __init__(self, path: Path, changes: Iterable[str] = ()) -> None:
        self.path = path
        self.name = path.stem
        try:
            self.text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            known = sorted(
                str(p.relative_to("experiments").with_suffix("")) for p in Path("experiments").rglob("*.yaml")
            )
            raise SpecError(f"{path}: no such experiment file{one_of(self.name, known)}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from None
        try:
            self.document = Document(self.text, str(path))
        except YamlError as error:
            raise SpecError(str(error)) from None
        self.values = self.document.values
        self.changes: dict[Location, str] = {}  # where each change begins to differ from the file
        made = {location: (text, value) for location, text, value in map(_parsed_change, changes)}
        for location in sorted(made, key=lambda at: (len(at), str(at))):  # in any order the same experiment
            self._change(location, *made[location])
        if made:  # a changed experiment is another one: it gets a folder of its own
            texts = sorted(text for text, _ in made.values())
            self.name += f"-{digest(texts)[:8]}"
            self.text = "\n".join([self.text.rstrip("\n"), *(f"# --set {text}" for text in texts), ""])

    def _change(self, location: Location, text: str, value: Any) -> None:
        """Put the value where it belongs; sections that the file leaves out are made on the way."""
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
                raise SpecError(f"--set {text}: {_dead_end(location[:depth], step, parent)}")
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
        if isinstance(version, int) and version != VERSION:
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
        """The problems as one error, a line each: place, key, what is wrong."""
        return SpecError("\n".join(self._describe(problem) for problem in problems))

    def _describe(self, problem: Problem) -> str:
        where = _without_lone_index(problem.location)
        changed = [c for at, c in self.changes.items() if where[: len(at)] == _without_lone_index(at)]
        place = f"--set {changed[-1]}" if changed else self.document.place(problem.location)
        key = ".".join(str(step) for step in problem.location)
        return f"{place}: {key}: {problem.message}" if key else f"{place}: {problem.message}"


def _parsed_change(change: str) -> tuple[Location, str, Any]:
    """path=value as the location, the text on one line, and the value."""
    dotted, equals, text = change.partition("=")
    change = " ".join(change.splitlines())
    if not equals or not dotted:
        raise SpecError(f"--set {change}: write path=value, for example train.epochs=5")
    location = tuple(int(step) if step.isdecimal() else step for step in dotted.split("."))
    try:
        return location, change, Document(text, f"--set {change}").values
    except YamlError as error:
        raise SpecError(str(error)) from None


def _opened(value: Any) -> Any:
    """A copy to change, since anchors share; a word that gets options, because `bop` is {name: bop}."""
    return {"name": value} if isinstance(value, str) else copy.copy(value)


def _dead_end(before: Location, step: str | int, parent: Any) -> str:
    """Why a path does not lead on."""
    at = ".".join(map(str, before)) or "the experiment"
    if isinstance(parent, list):
        return f"{at} is a list of {len(parent)}, counted from 0: it has no {step!r}"
    if parent == {}:
        return f"{at} is not set yet: give all of it"
    if isinstance(parent, dict):
        return f"{at} has keys, not numbers: {', '.join(parent) or 'none yet'}"
    return f"{at} is {shown(parent)}: it has no {step!r}"


def _without_lone_index(location: Location) -> Location:
    """A location without the 0 of a data set or model that need not be written as a list."""
    before = (None, *location)
    return tuple(s for s, b in zip(location, before, strict=False) if not (s == 0 and b in ("data", "model")))


def _from_pydantic(error: Mapping[str, Any]) -> Problem:
    """Pydantic's error in our words."""
    location, value = tuple(error["loc"]), shown(error["input"])
    limits = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return Problem(location, f"unknown key{one_of(str(location[-1]), _fields_at(location[:-1]))}")
        case "missing":
            return Problem(location, "is missing")
        case "literal_error":
            choices = re.findall(r"'([^']*)'", limits["expected"])
            return Problem(location, f"there is no {value}{one_of(str(error['input']), choices)}")
        case "greater_than_equal":
            return Problem(location, f"must be at least {limits['ge']}, not {value}")
        case "less_than_equal":
            return Problem(location, f"must be at most {limits['le']}, not {value}")
        case "string_pattern_mismatch":
            return Problem(location, f"takes letters, digits, '_', '+' and '-', not {value}")
        case "too_short":
            return Problem(location, "needs at least one entry")
        case "decay":
            return Problem(location, error["msg"])
        case "model_type" | "dict_type":
            return Problem(location, f"keys with values belong here, not {value}")
        case kind if kind in _BELONGS:
            text = "the text " if isinstance(error["input"], str) else ""
            return Problem(location, f"{_BELONGS[kind]} belongs here, not {text}{value}")
    return Problem(location, f"{error['msg'][0].lower()}{error['msg'][1:]}; it is {value}")


_BELONGS = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
}


def shown(value: Any) -> str:
    """A value as a message shows it: as YAML writes it, and not too long."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _fields_at(location: Location) -> list[str]:
    """The keys that are allowed at a location that pydantic names."""
    words = [step for step in location if isinstance(step, str)]
    models: dict[str, type[BaseModel]] = {
        "train": TrainSettings, "real": RealEntry, "tuning": Tuning, "tasks": Task, "methods": MethodEntry,
    }  # fmt: skip
    return list((models[words[-1]] if words else Experiment).model_fields)
