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

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from suite.errors import UserError
from suite.records import digest
from suite.strict_yaml import Document, Location, YamlError

VERSION = 1


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
    label: str = Field(default="", pattern=r"^[A-Za-z0-9_+-]*$")

    @property
    def called(self) -> str:
        return self.label or self.name

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class MethodEntry(Named):
    """A method. Its options set hyperparameters; `tune` names those to search, by default all others."""

    tune: list[str] | None = None
    decay: dict[str, dict[str, Any]] = {}


class RealEntry(_Strict):
    """Adam for the real parameters: its learning rate, tuned with every method unless it is set here."""

    lr: float | dict[str, Any] | None = None
    decay: dict[str, dict[str, Any]] = {}


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _list_of_named(value: Any) -> Any:
    return [_named(entry) for entry in (value if isinstance(value, list) else [value])]


class TrainSettings(_Strict):
    """How long and on what each run trains. `augment` null means what is usual for the data set."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)]
    augment: Literal["none", "crop", "crop-flip"] | None = None
    reestimate_batch_norm: bool = False


class TrainOverrides(_Strict):
    """What a task trains differently."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    augment: Literal["none", "crop", "crop-flip"] | None = None
    reestimate_batch_norm: bool | None = None


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
            raise SpecError(f"{path}: cannot be read: {error}") from None
        try:
            self.document = Document(self.text, str(path))
        except YamlError as error:
            raise SpecError(str(error)) from None
        self.values = self.document.values
        self.changes: dict[Location, str] = {}
        for change in changes:
            self._change(change)
        if self.changes:  # a changed experiment is another one: it gets a folder of its own
            made = sorted(self.changes.values())
            self.name += f"-{digest(made)[:8]}"
            self.text += "".join(f"# --set {change}\n" for change in made)

    def _change(self, change: str) -> None:
        dotted, equals, text = change.partition("=")
        if not equals or not dotted:
            raise SpecError(f"--set {change}: write path=value, for example train.epochs=5")
        location = tuple(int(step) if step.isdigit() else step for step in dotted.split("."))
        try:
            value = Document(text, f"--set {change}").values
        except YamlError as error:
            raise SpecError(str(error)) from None
        parent = self.values
        for depth, step in enumerate(location[:-1]):
            if isinstance(parent, dict) and isinstance(step, str):
                parent = parent.setdefault(step, {})
            elif isinstance(parent, list) and isinstance(step, int) and step < len(parent):
                if isinstance(parent[step], str):
                    parent[step] = {"name": parent[step]}
                parent = parent[step]
            else:
                raise SpecError(f"--set {change}: there is no {'.'.join(map(str, location[: depth + 1]))}")
        last = location[-1]
        if isinstance(parent, dict) or (
            isinstance(parent, list) and isinstance(last, int) and last < len(parent)
        ):
            parent[last] = value  # type: ignore[index]
        else:
            raise SpecError(f"--set {change}: there is no {dotted}")
        self.changes[location] = change

    def experiment(self) -> Experiment:
        """The validated experiment; SpecError names every problem in it."""
        if not isinstance(self.values, dict):
            raise SpecError(
                f"{self.path}:1:1: an experiment is a mapping with {list(Experiment.model_fields)}"
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
        changed = [c for at, c in self.changes.items() if problem.location[: len(at)] == at]
        place = f"--set {changed[-1]}" if changed else self.document.place(problem.location)
        key = ".".join(str(step) for step in problem.location)
        return f"{place}: {key}: {problem.message}" if key else f"{place}: {problem.message}"


def _from_pydantic(error: Mapping[str, Any]) -> Problem:
    """Pydantic's error in our words."""
    location = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        fields = _fields_at(location[:-1])
        return Problem(location, f"unknown key{one_of(str(location[-1]), fields)}")
    if error["type"] == "missing":
        return Problem(location, "is missing")
    if isinstance(error["input"], str) and error["type"] in ("float_type", "int_type"):
        return Problem(location, f"a number belongs here, not the text {error['input']!r}")
    return Problem(location, f"{error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r}")


def _fields_at(location: Location) -> list[str]:
    """The keys that are allowed at a location that pydantic names."""
    words = [step for step in location if isinstance(step, str)]
    models: dict[str, type[BaseModel]] = {
        "train": TrainSettings, "real": RealEntry, "tuning": Tuning, "tasks": Task, "methods": MethodEntry,
    }  # fmt: skip
    return list((models[words[-1]] if words else Experiment).model_fields)


def one_of(name: str, choices: Iterable[str]) -> str:
    """': did you mean x? the choices are …', to end a message about an unknown name."""
    choices = list(choices)
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"{hint} the choices are {', '.join(choices) or 'none'}"
