"""One training run, resolved: what trial.json holds, and the name that follows from it."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_plain_validator_function

from suite.records.codec import encode, first_problem, record
from suite.records.files import digest
from suite.records.schedules import Schedule, as_json, is_number, parse_schedule

PROTOCOL = 4  # part of every run_id: raise it when a trial gives other numbers, or has more keys

HyperSetting = float | str | bool | None | Schedule  # the value of a hyperparameter in a trial


def _parse_setting(value: Any) -> HyperSetting:
    return parse_schedule(value) if isinstance(value, Mapping) else value


Setting = Annotated[HyperSetting, PlainValidator(_parse_setting)]
Settings = dict[str, Setting]

Augmentation = Literal["none", "crop", "crop-flip", "resized-crop-flip"]
Precision = Literal["float32", "bfloat16"]
Part = Literal["model", "data"]  # of a trial, which a plugin may hold as it may hold the method
Stage = Literal["tune", "final"]  # scored on validation, the test set out of reach; scored once on test


@dataclass(frozen=True)
class Choice:
    """Something registered, by name, with all its options: a data set, a model, or a method."""

    name: str
    options: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, **encode(self.options)}


def _parse_choice(value: Any) -> Any:
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise ValueError("a name with its options belongs here")
    return Choice(value["name"], {key: option for key, option in value.items() if key != "name"})


@record
class TrainSettings:
    """The settings of training.

    A batch is computed in `batch_parts` equal parts whose gradients are averaged; batch norm sees a part.
    """

    epochs: StrictInt
    batch_size: StrictInt
    batch_parts: StrictInt
    augment: Augmentation
    reestimate_batch_norm: StrictBool
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training run, with every default filled in. Its run_id is a hash of all of it.

    method: its options are its hyperparameters: numbers, words, schedules.
    real_lr: the learning rate of Adam for the real parameters.
    plugin: a hash of the method's file, if that is not in the catalogue.
    plugins: the same of the model's file, and of the data set's.
    revised: settings that gave other numbers when they were first run under this protocol.
    probes: what is measured on the trained network, with all options; of final runs only.
    """

    stage: Stage
    data: Choice
    model: Choice
    method: Choice
    real_lr: float | Schedule
    train: TrainSettings
    seed: int
    plugin: str | None = None
    plugins: Mapping[Part, str] = field(default_factory=dict)
    revised: tuple[str, ...] = ()
    probes: tuple[Choice, ...] = ()
    protocol: int = PROTOCOL

    @property
    def sources(self) -> tuple[str, ...]:
        """The hashes of all files from outside the catalogue that it needs, each once."""
        return tuple(dict.fromkeys([*([self.plugin] if self.plugin else []), *self.plugins.values()]))

    @property
    def setting(self) -> dict[str, HyperSetting]:
        """The method's hyperparameters, and as "real.lr" the rate of the real parameters: what is tuned."""
        return {**self.method.options, "real.lr": self.real_lr}

    def as_json(self) -> dict[str, Any]:
        """What trial.json holds."""
        return {
            "protocol": self.protocol,
            "stage": self.stage,
            "data": self.data.as_json(),
            "model": self.model.as_json(),
            "method": self.method.name,
            "hypers": encode(self.method.options),
            "real": {"lr": as_json(self.real_lr)},
            "train": encode(self.train),
            "seed": self.seed,
            **({} if self.plugin is None else {"plugin": self.plugin}),
            **({"plugins": dict(self.plugins)} if self.plugins else {}),
            **({"revised": list(self.revised)} if self.revised else {}),
            **({"probes": encode(self.probes)} if self.probes else {}),
        }

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return no_info_plain_validator_function(_parse_trial)

    @functools.cached_property
    def run_id(self) -> str:
        """The name of the run's folder: two trials share it only if they are the same in everything."""
        return digest(self.as_json())[:16]


def _parse_rate(value: Any) -> float | Schedule:
    if not isinstance(value, Mapping) and not is_number(value):
        raise ValueError("a number or a schedule belongs here")
    return parse_schedule(value) if isinstance(value, Mapping) else value


@record
class _RealParameters:
    lr: Annotated[float | Schedule, PlainValidator(_parse_rate)]


@record
class _TrialFile:
    """trial.json as it is written, with the method's name and its hyperparameters under two keys."""

    protocol: StrictInt
    stage: Stage
    data: Annotated[Choice, BeforeValidator(_parse_choice)]
    model: Annotated[Choice, BeforeValidator(_parse_choice)]
    method: StrictStr
    hypers: Settings
    real: _RealParameters
    train: TrainSettings
    seed: StrictInt
    plugin: StrictStr | None = None
    plugins: dict[Part, StrictStr] = field(default_factory=dict)
    revised: tuple[StrictStr, ...] = ()
    probes: tuple[Annotated[Choice, BeforeValidator(_parse_choice)], ...] = ()


_FILE = TypeAdapter(_TrialFile)


def _parse_trial(value: Any) -> Trial:
    try:
        file = _FILE.validate_python(value)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None
    return Trial(
        protocol=file.protocol,
        stage=file.stage,
        data=file.data,
        model=file.model,
        method=Choice(file.method, file.hypers),
        real_lr=file.real.lr,
        train=file.train,
        seed=file.seed,
        plugin=file.plugin,
        plugins=file.plugins,
        revised=file.revised,
        probes=file.probes,
    )
