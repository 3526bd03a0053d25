"""The door: the meaning of an experiment, and a message with its place for every mistake in it."""

# ruff: noqa: E501 - in the table below a mistake and what is said about it stand on one line

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution

from optimizers import METHODS
from optimizers.core import Method
from suite.experiment.cell import Cell
from suite.experiment.files import find_experiment
from suite.experiment.plan import Plan, make_plan
from suite.experiment.spec import ExperimentFile, SpecError
from suite.machine.plugin_file import source_of
from suite.records.codec import decode, encode
from suite.records.files import canonical
from suite.records.schedules import Cosine, Exponential, Linear, value_at
from suite.records.schema import PHASES, HyperCard, PlanRecord, Range, Track
from suite.records.trial import Choice, TrainSettings, Trial
from tests.support.registries import restored

TASK, METHOD, TRAIN = "{data: digits, model: mlp}", "bop", "{epochs: 1, batch_size: 32}"


def text_of(task: str = TASK, method: str = METHOD, train: str = TRAIN, more: str = "") -> str:
    """An experiment with its task on line 4, its method on line 6, both from column 5; `more` from line 8."""
    return (
        f"version: 1\nsummary: Small.\ntasks:\n  - {task}\nmethods:\n  - {method}\ntrain: {train}\n{more}\n"
    )


def plan_of(folder: Path, text: str, *changes: str) -> Plan:
    path = folder / "bad.yaml"
    path.write_text(text)
    return make_plan(ExperimentFile(path, changes))


def message_of(folder: Path, text: str, *changes: str) -> str:
    """What the user is told, without the path of the folder."""
    with pytest.raises(SpecError) as error:
        plan_of(folder, text, *changes)
    return str(error.value).replace(f"{folder}/", "")


def cell_of(folder: Path, *changes: str, **parts: str) -> Cell:
    (cell,) = plan_of(folder, text_of(**parts), *changes).cells
    return cell


METHODS_ARE = f"the choices are {', '.join(METHODS)}"
SCHEDULES_ARE = "the choices are linear, cosine, exponential, step, restart"

# part of the file, what is written there, line:column, key, words of the message
MISTAKES = [
    # unknown keys, at every level
    ("more", "tunning: {trials: 1}", "8:1", "tunning", "did you mean 'tuning'? the choices are version, summary"),
    ("more", "tuning: {trails: 1}", "8:10", "tuning.trails", "did you mean 'trials'?"),
    ("more", "published: [{method: bop, top1: 5.0, source: x, foo: 1}]", "8:49", "published.0.foo", "unknown key; the choices are method, data"),
    ("more", "real: {rate: 1}", "8:8", "real.rate", "unknown key; the choices are lr, decay"),
    ("task", "{data: digits, model: mlp, trian: {}}", "4:32", "tasks.0.trian", "did you mean 'train'?"),
    ("task", "{data: digits, model: mlp, train: {epoch: 1}}", "4:40", "tasks.0.train.epoch", "mean 'epochs'?"),
    ("train", "{epochs: 1, batch_size: 32, shuffle: true}", "7:36", "train.shuffle", "unknown key; the choices"),
    # unknown names
    ("method", "bpo", "6:5", "methods.0.name", f"there is no 'bpo'; did you mean 'bop'? {METHODS_ARE}"),
    ("method", "BOP", "6:5", "methods.0.name", "there is no 'BOP'; did you mean 'bop'?"),
    ("method", "{name: sgd}", "6:6", "methods.0.name", f"there is no 'sgd'; did you mean 'sgdt'? {METHODS_ARE}"),
    ("task", "{data: mnsit, model: mlp}", "4:6", "tasks.0.data.0.name", "did you mean 'mnist'?"),
    ("task", "{data: digits, model: [mlp, mpl]}", "4:33", "tasks.0.model.1.name", "did you mean 'mlp'?"),
    ("method", "{name: bop, gama: 1}", "6:17", "methods.0.gama", "did you mean 'gamma'? the choices are gamma"),
    ("method", "{name: bop, decay: {gama: {linear: 0}}}", "6:25", "methods.0.decay.gama", "mean 'gamma'?"),
    ("method", "{name: bop, tune: [threshold, gama]}", "6:35", "methods.0.tune.1", "did you mean 'gamma'?"),
    ("method", "{name: bop, gamma: {linaer: [1, 2]}}", "6:25", "methods.0.gamma.linaer", SCHEDULES_ARE),
    ("method", "{name: bop, decay: {gamma: {cos: 0}}}", "6:33", "methods.0.decay.gamma.cos", SCHEDULES_ARE),
    ("method", "{name: latent-adam, pseudo_gradient: cliped}", "6:25", "methods.0.pseudo_gradient", "'clipped'?"),
    ("method", "{name: bop, studies: 5}", "6:17", "methods.0.studies", "where `tuning` gives every method several"),
    ("method", "{name: bop, studies: 0}", "6:17", "methods.0.studies", "must be at least 1, not 0"),
    ("more", "tuning: {sampler: tpe}", "8:10", "tuning.sampler", "name the track instead, tuning: {tpe: {trials: 25"),
    ("more", "tuning: {at_once: 2}", "8:10", "tuning.at_once", "is no longer a key: name the track instead"),
    ("more", "tuning: {trials: tiny}", "8:10", "tuning.trials", "no budget 'tiny'; the choices are one-shot, small"),
    ("more", "tuning: {tpe: {trials: smal}}", "8:16", "tuning.tpe.trials", "no budget 'smal'; did you mean 'small'?"),
    ("more", "tuning: {random: {trials: 8, at_once: 2}}", "8:30", "tuning.random.at_once", "are trials, studies"),
    ("more", "tuning: {tpe: {studies: 2}}", "8:10", "tuning.tpe.trials", "is missing"),
    ("more", "tuning: {trials: 8, tpe: {trials: 8}}", "8:1", "tuning", "trials belongs into the tracks"),
    ("more", "tuning: {studies: 2, random: {trials: 8}}", "8:1", "tuning", "studies belongs into the tracks"),
    ("more", "tuning: {tpe: }", "8:1", "tuning", "tpe: nothing is below it; write for example tpe: {trials: 8}"),
    ("more", "tuning: {trials: 0, studies: 2}", "8:1", "tuning", "with trials: 0 there is no study"),
    ("more", "tuning: {random: {trials: 0}}", "8:19", "tuning.random.trials", "must be at least 1, not 0"),
    ("more", "tuning: {tpe: {trials: 8, at_once: 0}}", "8:27", "tuning.tpe.at_once", "must be at least 1, not 0"),
    ("more", "tuning: {trials: 8, studies: 1001}", "8:21", "tuning.studies", "must be at most 1000, not 1001"),
    ("more", "tuning: {trials: 8.0}", "8:10", "tuning.trials", "a whole number belongs here, not 8.0"),
    ("more", "tuning: {grid: {trials: 8}}", "8:10", "tuning.grid", "the choices are trials, studies, random, tpe"),
    ("train", "{epochs: 1, batch_size: 32, augment: flip}", "7:36", "train.augment", "did you mean 'crop-flip'?"),
    ("more", "real: {decay: {rate: {linear: 0}}}", "8:16", "real.decay.rate", "only lr can decay here"),
    # wrong types
    ("train", "{epochs: ten, batch_size: 32}", "7:9", "train.epochs", "a whole number belongs here, not the text 'ten'"),
    ("train", "{epochs: 1e1, batch_size: 32}", "7:9", "train.epochs", "a whole number belongs here, not 10.0"),
    ("train", "{epochs: true, batch_size: 32}", "7:9", "train.epochs", "a whole number belongs here, not true"),
    ("train", "{epochs: null, batch_size: 32}", "7:9", "train.epochs", "a whole number belongs here, not null"),
    ("train", "{epochs: 1, batch_size: 32, reestimate_batch_norm: yes}", "7:36", "train.reestimate_batch_norm",
     "true or false belongs here, not the text 'yes'"),
    ("train", "[1, 32]", "7:1", "train", "keys with values belong here, not [1, 32]"),
    ("more", "seeds: [1, 2]", "8:1", "seeds", "a whole number belongs here, not [1, 2]"),
    ("more", "plugins: mine.py", "8:1", "plugins", "a list belongs here, not the text 'mine.py'"),
    ("more", "real:", "8:1", "real", "keys with values belong here, not null"),
    ("more", "real: {lr: fast}", "8:8", "real.lr", "lr takes a number or a schedule, not the text 'fast'"),
    ("method", "{name: bop, gamma: true}", "6:17", "methods.0.gamma", "takes a number or a schedule, not true"),
    ("method", "{name: bop, gamma: null}", "6:17", "methods.0.gamma", "takes a number or a schedule, not null"),
    ("method", "{name: bop, gamma: '1e-4'}", "6:17", "methods.0.gamma", "not the text '1e-4'"),
    ("method", "{name: bop, gamma: 1_000}", "6:17", "methods.0.gamma", "not the text '1_000'"),
    ("method", "{name: latent-adam, clip: two}", "6:25", "methods.0.clip", "a number or a schedule or null"),
    ("method", "{name: latent-adam, glorot_rate: 1}", "6:25", "methods.0.glorot_rate", "takes false or true, not 1"),
    ("method", "{name: latent-adam, pseudo_gradient: 1}", "6:25", "methods.0.pseudo_gradient", "'identity' or"),
    ("method", "{name: bop, label: 3}", "6:17", "methods.0.label", "text belongs here, not 3"),
    ("method", "{name: bop, tune: gamma}", "6:17", "methods.0.tune", "a list belongs here, not the text 'gamma'"),
    ("method", "[bop]", "6:5", "methods.0", "keys with values belong here, not ['bop']"),
    ("task", "{data: digits, model: {name: mlp, hidden: 8}}", "4:39", "tasks.0.model.0.hidden", "a list belongs"),
    ("task", "{data: digits, model: {name: mlp, hidden: [8, 1.5]}}", "4:51", "tasks.0.model.0.hidden.1",
     "a whole number belongs here, not 1.5"),
    ("task", "{data: digits, model: {name: convnet, channels: wide}}", "4:43", "tasks.0.model.0.channels",
     "a whole number belongs here, not the text 'wide'"),
    ("task", "{data: [digits, 3], model: mlp}", "4:21", "tasks.0.data.1", "keys with values belong here, not 3"),
    # out of range; where the method itself knows the range, its own words
    ("train", "{epochs: 0, batch_size: 32}", "7:9", "train.epochs", "must be at least 1, not 0"),
    ("train", "{epochs: 1, batch_size: 1}", "7:20", "train.batch_size", "must be at least 2, not 1"),
    ("more", "seeds: 1001", "8:1", "seeds", "must be at most 1000, not 1001"),
    ("more", "published: [{method: bopp, top1: 91.3, source: x}]", "8:14", "published.0.method", "this experiment has no method 'bopp'; did you mean 'bop'? the choices are bop"),
    ("more", "published: [{method: bop, model: cnn, top1: 91.3, source: x}]", "8:27", "published.0.model", "this experiment has no model 'cnn'; the choices are mlp"),
    ("more", "published: [{method: bop, top1: 913, source: x}]", "8:27", "published.0.top1", "is in percent, above 1 and at most 100; it is 913"),
    ("more", "published: [{method: bop, top1: 0.913, source: x}]", "8:27", "published.0.top1", "is in percent, above 1 and at most 100; it is 0.913"),
    ("more", "published: [{method: bop, top1: 91.3}]", "8:13", "published.0.source", "is missing"),
    ("more", "margin: 0", "8:1", "margin", "must be above 0, not 0"),
    ("more", "margin: 100", "8:1", "margin", "must be below 100"),
    ("more", "margin: small", "8:1", "margin", "a number belongs here, not the text 'small'"),
    ("more", "tuning: {trials: -1}", "8:10", "tuning.trials", "must be at least 0, not -1"),
    ("more", "tuning: {seed: -1}", "8:10", "tuning.seed", "must be at least 0, not -1"),
    ("more", f"tuning: {{seed: {2**53}}}", "8:10", "tuning.seed", f"must be below {2**53}, not {2**53}"),
    ("more", "real: {lr: -0.1}", "8:8", "real.lr", "must be above zero, not -0.1"),
    ("more", "real: {lr: {linear: [0.1, -0.1]}}", "8:8", "real.lr", "must be above zero"),
    ("method", "{name: bop, gamma: 2}", "6:17", "methods.0.gamma", "gamma must lie in (0, 1], not 2.0"),
    ("method", "{name: bop, threshold: -1}", "6:17", "methods.0.threshold", "must be >= 0, not -1.0"),
    ("method", "{name: bop, gamma: {linear: [0.1, 2]}}", "6:17", "methods.0.gamma", "must lie in (0, 1], not 1.99"),
    ("method", "{name: latent-adam, clip: -1}", "6:25", "methods.0.clip", "clip must be > 0 or null, not -1.0"),
    ("method", "{name: latent-sgd, lr: -2}", "6:24", "methods.0.lr", "-2.0"),
    ("method", "{name: latent-adam, beta1: 1.5}", "6:25", "methods.0.beta1", "1.5"),
    ("method", "{name: latent-momentum, momentum: 1}", "6:29", "methods.0.momentum", "lie in [0, 1), not 1.0"),
    ("method", "{name: bop, gamma: .nan}", "6:17", "methods.0.gamma", "not nan"),
    ("method", "{name: latent-sgd, lr: .inf}", "6:24", "methods.0.lr", "not inf"),
    ("method", "{name: latent-sgd, lr: 1e999}", "6:24", "methods.0.lr", "not inf"),
    ("more", "real: {lr: .nan}", "8:8", "real.lr", "not nan"),
    ("method", "{name: bop, label: a.b}", "6:17", "methods.0.label", "letters, digits, '_', '+' and '-', not 'a.b'"),
    ("task", "{data: [], model: mlp}", "4:6", "tasks.0.data", "needs at least one entry"),
    # data sets and architectures
    ("task", "{data: digits, model: binarynet}", "4:20", "tasks.0.model.0", "images of 8x8 are too small"),
    ("task", "{data: {name: digits, validation: 2.0}, model: mlp}", "4:27", "tasks.0.data.0.validation", "2.0"),
    ("task", "{data: {name: digits, train_limit: 99999}, model: mlp}", "4:27", "tasks.0.data.0.train_limit", "1150"),
    ("task", "{data: {name: digits, size: 8}, model: mlp}", "4:27", "tasks.0.data.0.size", "the choices are validation, train_limit"),
    ("task", "{data: {name: imagefolder, folder: here, size: big}, model: mlp}", "4:46", "tasks.0.data.0.size",
     "'big'"),
    ("task", "{data: {name: imagefolder}, model: mlp}", "4:6", "tasks.0.data.0", "['folder', 'size']"),
    ("task", "{data: digits, model: {name: mlp, hiden: [8]}}", "4:39", "tasks.0.model.0.hiden", "mean 'hidden'?"),
    ("task", "{data: digits, model: {name: mlp, hidden: []}}", "4:39", "tasks.0.model.0.hidden", "at least one"),
    ("task", "{data: digits, model: {name: mlp, activation: relu}}", "4:39", "tasks.0.model.0.activation",
     "'clipped'"),
    ("task", "{data: digits, model: {name: convnet, channels: 10000000000}}", "4:20", "tasks.0.model.0", "convnet"),
    ("task", "{data: digits, model: {name: mlp, hidden: [99999999999999999999]}}", "4:20", "tasks.0.model.0", "mlp"),
    # schedules and decays
    ("method", "{name: bop, gamma: {}}", "6:17", "methods.0.gamma", "one of linear, cosine, exponential, step"),
    ("method", "{name: bop, gamma: {linear: [1]}}", "6:25", "methods.0.gamma.linear", "[start, end], two numbers"),
    ("method", "{name: bop, gamma: {linear: [1, x]}}", "6:25", "methods.0.gamma.linear", "not [1, 'x']"),
    ("method", "{name: bop, gamma: {exponential: [1, 0]}}", "6:25", "methods.0.gamma.exponential", "above zero"),
    ("method", "{name: bop, gamma: {step: {start: 1, factor: 0.1}}}", "6:25", "methods.0.gamma.step",
     "takes the keys start, factor, at"),
    ("method", "{name: bop, gamma: {step: {start: 1, factor: -1, at: [0.5]}}}", "6:42", "methods.0.gamma.step.factor",
     "at least 0, not -1"),
    ("method", "{name: bop, gamma: {step: {start: 1, factor: 0.1, at: [0.9, 0.1]}}}", "6:55", "methods.0.gamma.step.at",
     "rising shares of the training, between 0 and 1, not [0.9, 0.1]"),
    ("method", "{name: latent-sgd, lr: {step: {start: 1, factor: 1e300, at: [0.1, 0.5]}}}", "6:29",
     "methods.0.lr.step", "grows beyond what a number can hold"),
    ("method", "{name: bop, decay: {gamma: {linear: 2}}}", "6:33", "methods.0.decay.gamma.linear", "from 0 to 1, not 2"),
    ("method", "{name: bop, decay: {gamma: {exponential: 0}}}", "6:33", "methods.0.decay.gamma.exponential",
     "above 0 to 1, not 0"),
    ("method", "{name: bop, decay: {gamma: {step: {factor: 2, at: [0.5]}}}}", "6:40",
     "methods.0.decay.gamma.step.factor", "must be at most 1, not 2.0"),
    ("method", "{name: bop, gamma: {linear: [1, 0.1]}, decay: {gamma: {linear: 0}}}", "6:52",
     "methods.0.decay.gamma", "gamma follows a schedule already"),
    ("more", "real: {lr: {linear: [1, 0]}, decay: {lr: {linear: 0}}}", "8:30", "real.decay", "a schedule already"),
    ("method", "{name: latent-adam, init_scale: {linear: [1, 2]}}", "6:25", "methods.0.init_scale",
     "init_scale cannot follow a schedule"),
    ("method", "{name: latent-adam, decay: {init_scale: {linear: 0}}}", "6:33", "methods.0.decay.init_scale",
     "init_scale cannot follow a schedule"),
    ("method", "{name: latent-adam, decay: {clip: {linear: 0.5}}}", "6:33", "methods.0.decay.clip",
     "clip can be null, which cannot decay: set it to a number"),
    ("method", "{name: latent-adam, decay: {pseudo_gradient: {linear: 0.5}}}", "6:33",
     "methods.0.decay.pseudo_gradient", "cannot decay"),
    ("method", "{name: bop, gamma: {restart: {of: {linear: [1, 0]}}}}", "6:25", "methods.0.gamma.restart",
     "takes the keys of, at"),
    ("method", "{name: bop, gamma: {restart: {of: {linear: [1]}, at: [0.5]}}}", "6:40",
     "methods.0.gamma.restart.of.linear", "[start, end], two numbers"),
    ("method", "{name: bop, gamma: {restart: {of: {linear: [1, 0]}, at: [0.5, 0.5]}}}", "6:57",
     "methods.0.gamma.restart.at", "rising shares of the training, between 0 and 1, not [0.5, 0.5]"),
    ("method", "{name: bop, decay: {gamma: {restart: {of: {linear: 2}, at: [0.5]}}}}", "6:48",
     "methods.0.decay.gamma.restart.of.linear", "from 0 to 1, not 2"),
    # presets and what is optional
    ("method", "{name: bop, preset: rebutal}", "6:17", "methods.0.preset", "has no preset 'rebutal'; did you mean 'rebuttal'?"),
    ("method", "{name: boat, preset: rebuttal}", "6:18", "methods.0.preset", "no preset 'rebuttal', nor any other"),
    ("method", "{name: bop, preset: section-5-3, tune: [gamma]}", "6:45", "methods.0.tune.0", "cannot be tuned as well"),
    ("method", "{name: latent-adam, transform: xnr}", "6:25", "methods.0.transform", "no 'xnr'; did you mean 'xnor'?"),
    ("method", "{name: latent-adam, transform: 3}", "6:25", "methods.0.transform", "transform takes"),
    ("method", "{name: latent-adam, decay: {ags: {linear: 0}}}", "6:33", "methods.0.decay.ags", "ags can be null"),
    # contradictions and what is missing
    ("method", "{name: bop, gamma: 1e-3, tune: [gamma]}", "6:37", "methods.0.tune.0", "cannot be tuned as well"),
    ("method", "{label: bop}", "6:5", "methods.0.name", "is missing"),
    ("task", "{data: digits}", "4:5", "tasks.0.model", "is missing"),
    ("train", "{batch_size: 32}", "7:1", "train.epochs", "is missing"),
    ("more", "plugins: [nowhere.py]", "8:11", "plugins.0", "nowhere.py: there is no such file"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "written", "place", "key", "words"), MISTAKES, ids=[f"{m[0]} {m[1]}" for m in MISTAKES]
)
def test_every_mistake_is_told_once_with_its_place(
    tmp_path: Path, part: str, written: str, place: str, key: str, words: str
):
    message = message_of(tmp_path, text_of(**{part: written}))
    assert message.startswith(f"bad.yaml:{place}: {key}: ")
    assert words in message and len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "start", "words"),
    [
        (text_of().replace("version: 1\n", ""), "bad.yaml:1:1: version: is missing", ""),
        (
            text_of().replace("version: 1", "version: 0"),
            "bad.yaml:1:1: version: ",
            "for an older flipbench (0)",
        ),
        (
            text_of().replace("version: 1", "version: 2"),
            "bad.yaml:1:1: version: ",
            "for a newer flipbench (2)",
        ),
        (text_of().replace("version: 1", "version: one"), "bad.yaml:1:1: version: ", "not the text 'one'"),
        (text_of().replace("version: 1", "version: true"), "bad.yaml:1:1: version: ", "not true"),
        (text_of().replace("version: 1", "version: false"), "bad.yaml:1:1: version: ", "not false"),
        (text_of().replace("version: 1", "version: 0\nnew: 1"), "bad.yaml:1:1: version: ", "older"),
        (text_of().replace("Small.", "3"), "bad.yaml:2:1: summary: ", "text belongs here, not 3"),
        (text_of().replace("summary", "train"), "bad.yaml:7:1: ", "the key 'train' appears twice"),
        (text_of() + "x: [", "bad.yaml:9:5: ", "expected the node content"),
        ("", "bad.yaml:1:1: ", "an experiment has the keys version, summary, tasks"),
        ("- 1\n", "bad.yaml:1:1: ", "this file holds [1]"),
        ("hello", "bad.yaml:1:1: ", "this file holds 'hello'"),
        (text_of(method="&a [*a]"), "bad.yaml:6:5: ", "an alias to a value that it is a part of"),
        (text_of().replace("Small.", "[" * 20 + "x" * 9999 + "]" * 20), "bad.yaml:2:1: summary: ", "not [[["),
    ],
)
def test_mistakes_of_the_whole_file(tmp_path: Path, text: str, start: str, words: str):
    message = message_of(tmp_path, text)
    assert message.startswith(start) and words in message and len(message.splitlines()) == 1


def test_several_mistakes_are_told_together_and_none_twice(tmp_path: Path):
    text = text_of("{data: [digits, mnits], model: [mlp, mpl]}", "bpo\n  - {name: bop, gama: 1}")
    lines = message_of(tmp_path, text).splitlines()
    assert len(lines) == len(set(lines)) == 4
    assert all(any(word in line for line in lines) for word in ("'mnits'", "'mpl'", "'bpo'", "'gama'"))
    lines = message_of(tmp_path, text_of(train="{batchsize: 1, epochs: 0}", more="seeds: 0")).splitlines()
    assert len(lines) == len(set(lines)) == 4


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"method": "bop\n  - {name: bop, gamma: 1}"}, "7:5: methods.1: two methods are called bop: "),
        (
            {"method": "{name: bop, label: x}\n  - {name: latent-sgd, label: x}"},
            "7:5: methods.1: two methods are called x: ",
        ),
        (
            {"task": "{data: [digits, digits, digits], model: mlp}"},
            "4:5: tasks.0: two tasks are called digits.mlp: ",
        ),
        (
            {"task": "{data: digits, model: mlp}\n  - {data: digits, model: mlp}"},
            "5:5: tasks.1: two tasks are called digits.mlp: ",
        ),
    ],
)
def test_two_cells_of_one_name_are_refused(tmp_path: Path, parts: dict[str, str], words: str):
    message = message_of(tmp_path, text_of(**parts))
    assert message.startswith(f"bad.yaml:{words}give one of") and message.endswith("a `label`")
    assert len(message.splitlines()) == 1


def test_files_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"summary: \xe9")
    for name, words in (
        ("folder.yaml", "a folder is in its place"),
        ("latin.yaml", "can't decode byte 0xe9"),
    ):
        with pytest.raises(SpecError, match=words) as error:
            ExperimentFile(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: cannot be read: ")


def test_an_absent_experiment_names_the_near_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "experiments" / "paper").mkdir(parents=True)
    for name in ("mnist", "paper/imagenet"):
        (tmp_path / f"experiments/{name}.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as error:
        ExperimentFile(Path("experiments/mnsit.yaml"))
    message = str(error.value)
    assert message.startswith("experiments/mnsit.yaml: no such experiment file; did you mean 'mnist'? ")
    choices = message.split("the choices are ")[1].split(", ")
    assert {"mnist", "paper/imagenet", "demo"} <= set(
        choices
    )  # those in the folder, and those that are shipped


# ---- plugins


@pytest.fixture
def catalogue() -> Iterator[None]:
    """The registries as they were, after a test that loads plugins."""
    with restored():
        yield


PLUGIN = """
from optimizers.core import WeightRule, log, method, sign
import torch

@method(paper="Mine, https://example.org", rate=log(0.1, 0.01, 1.0))
def mine(rate: float) -> WeightRule:
    '''Mine.'''
    return WeightRule(start=sign, read=lambda w: w, optimizer=lambda params: torch.optim.SGD(params, rate))
"""


@pytest.mark.usefixtures("catalogue")
def test_a_plugin_stands_beside_the_experiment(tmp_path: Path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    plan = plan_of(tmp_path, text_of(method="{name: mine, rate: 0.5}", more="plugins: [mine.py]"))
    assert (
        plan.plugins == {source_of(tmp_path / "mine.py"): str(tmp_path / "mine.py")}
        and plan.cells[0].fixed["rate"] == 0.5
    )


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("raise KeyError('inside')", "KeyError: 'inside'"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("x = 1", "no method, model or data set in it: decorate a function with @method"),
        (PLUGIN.replace("def mine", "def bop"), "a method called 'bop' exists already"),
        (PLUGIN.replace("'''Mine.'''", ""), "mine needs a docstring"),
    ],
)
def test_a_plugin_that_is_no_method_is_told_with_its_place(tmp_path: Path, plugin: str, words: str):
    (tmp_path / "mine.py").write_text(plugin)
    message = message_of(tmp_path, text_of(more="plugins: [mine.py]"))
    assert message.startswith("bad.yaml:8:11: plugins.0: ") and words in message


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    return", "    {}['nothing']\n    return"),
        ("start=sign", "start=lambda w: w.view(77)"),
        ("torch.optim.SGD(params, rate)", "1 / 0"),
    ],
)
def test_a_method_that_raises_is_told_with_its_place(tmp_path: Path, old: str, new: str):
    (tmp_path / "mine.py").write_text(PLUGIN.replace(old, new))
    message = message_of(tmp_path, text_of(method="mine", more="plugins: [mine.py]"))
    assert message.startswith("bad.yaml:6:5: methods.0") and len(message.splitlines()) == 1


MODEL = """
from torch import nn
from suite.models.blocks.layers import BinaryLinear
from suite.models.model import model

@model
def mine(shape, classes, rule, *, width: int = 8):
    'Mine.'
    return nn.Sequential(nn.Flatten(), BinaryLinear(rule, 64, classes))
"""


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("old", "new", "option", "words"),
    [
        ("64, classes", "[][0], classes", "", r"mine: IndexError: list index out of range \(.*mine.py:9\)"),
        ("BinaryLinear(rule, ", "nn.Linear(", "", "mine: it has no binary layer"),
        ("64", "64", ", width: x", "a whole number belongs here, not the text 'x'"),
        ("64", "64", ", depth: 1", "unknown option; did you mean 'width'"),
    ],
)
def test_a_plugins_model_that_cannot_be_built_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, option: str, words: str
):
    (tmp_path / "mine.py").write_text(MODEL.replace(old, new))
    task = f"{{data: digits, model: {{name: mine{option}}}}}"
    message = message_of(tmp_path, text_of(task=task, more="plugins: [mine.py]"))
    assert message.startswith("bad.yaml:4:") and re.search(words, message) and "tasks.0.model.0" in message


# ---- --set


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("train.epochs", "write path=value, for example train.epochs=5"),
        ("=5", "write path=value"),
        ("train.epochs=0", "train.epochs: must be at least 1, not 0"),
        ("train.epochs=", "train.epochs: a whole number belongs here, not null"),
        ("trian.epochs=5", "trian: unknown key; did you mean 'train'?"),
        ("train.epochs.x=1", "train.epochs is 1: it has no 'x'"),
        ("methods.1.gamma=1", "methods is a list of 1, counted from 0: it has no 1"),
        ("methods.bop.gamma=1", "methods is a list of 1, counted from 0: it has no 'bop'"),
        ("methods.\u00b2=1", "methods is a list of 1"),
        ("train.0=1", "train has keys, not numbers: epochs, batch_size"),
        ("methods.0.tune.0=gamma", "methods.0.tune is not set yet: give all of it"),
        ("methods.0.gamma=2", "methods.0.gamma: gamma must lie in (0, 1], not 2.0"),
        ("methods.0.gama=1", "did you mean 'gamma'?"),
        ("methods.0=bpo", "methods.0.name: there is no 'bpo'; did you mean 'bop'?"),
        ("tasks.0.model=mpl", "did you mean 'mlp'?"),
        (
            "tasks.0.model.hidden=[x]",
            "tasks.0.model.0.hidden.0: a whole number belongs here, not the text 'x'",
        ),
        ("tuning.random.trials=many", "tuning.random.trials: there is no budget 'many'"),
        ("tuning.sampler=tpe", "name the track instead"),
        ("version=0", "for an older flipbench (0)"),
    ],
)
def test_changes_are_checked_like_the_file(tmp_path: Path, change: str, words: str):
    message = message_of(tmp_path, text_of(), change)
    assert message.startswith(f"--set {change}: ") and words in message and len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("train.epochs=2", "train.epochs=2"), "--set train.epochs=2 sets the same value"),
        (("methods.0.gamma=1", "methods.00.gamma=0.5"), "--set methods.0.gamma=1 sets the same value"),
        (("methods." + "5" * 5000 + "=1",), "methods is a list of 1, counted from 0: it has no '555"),
        (("train.epochs=" + "5" * 5000,), "a number of 5000 digits is too long"),
        ((".".join("a" * 1200) + "=1",), "a path of 1200 parts"),
        (("a" * 5000 + "=1",), "unknown key"),
        (("a\0b=1",), "the character #x0000 is not allowed"),
        (("a\udcff=1",), "the character #xdcff is not allowed"),
        (("summary=\0",), "the character #x0000 is not allowed"),
        (('summary="\\0"',), "the character #x0000 is not allowed"),
        (("train.epochs=&a [*a]",), "an alias to a value that it is a part of"),
        (("methods.0=" + "x" * 5000,), "there is no 'xxx"),
    ],
)
def test_no_change_is_too_strange_for_a_message(tmp_path: Path, changes: tuple[str, ...], words: str):
    message = message_of(tmp_path, text_of(), *changes)
    assert message.startswith("--set ") and words in message
    assert len(message) < 1500 and message.replace("\n", "").isprintable()


def test_a_change_that_is_no_yaml_has_a_place(tmp_path: Path):
    assert message_of(tmp_path, text_of(), "train.epochs=[").startswith("--set train.epochs=[:1:2: ")


def test_a_mistake_beside_a_change_keeps_its_place_in_the_file(tmp_path: Path):
    message = message_of(tmp_path, text_of(train="{epochs: 1, batch_size: 1}"), "train.epochs=5")
    assert message.startswith("bad.yaml:7:20: train.batch_size: ")


def test_changes_do_what_they_say(tmp_path: Path):
    changes = ("train.epochs=7", "tasks.0.model.hidden=[8]", "methods.0.gamma=1e-7", "real.lr=1", "seeds=2")
    plan = plan_of(tmp_path, text_of(), *changes)
    (cell,) = plan.cells
    assert (cell.train.epochs, cell.model.options["hidden"], cell.fixed) == (
        7,
        [8],
        {"gamma": 1e-7, "real.lr": 1.0},
    )
    assert plan.seeds == 2


def test_a_change_leaves_what_only_shares_an_anchor(tmp_path: Path):
    text = text_of("{data: digits, model: mlp, train: &t {epochs: 1, batch_size: 2}}", train="*t")
    plan = plan_of(tmp_path, text, "train.epochs=9", "tasks.0.train.batch_size=4")
    assert plan.experiment.train.epochs == 9 and plan.experiment.tasks[0].train.epochs == 1
    assert plan.experiment.train.batch_size == 2 and plan.experiment.tasks[0].train.batch_size == 4


def test_a_changed_experiment_has_a_name_of_its_own_whatever_the_order(tmp_path: Path):
    plain = plan_of(tmp_path, text_of())
    changes = ["methods.0.gamma=0.5", "methods.0={name: bop, threshold: 0.25}", "seeds=1", "train.epochs=3"]
    one = plan_of(tmp_path, text_of(), *changes)
    other = plan_of(tmp_path, text_of(), changes[1], changes[2], changes[0], changes[3])
    assert plain.name == "bad" and re.fullmatch(r"bad-[0-9a-f]{8}", one.name)
    assert one.record == other.record
    (cell,) = one.cells
    assert cell.fixed == {"gamma": 0.5, "threshold": 0.25} and cell.train.epochs == 3
    assert plan_of(tmp_path, text_of(), "train.epochs=4").name != one.name
    assert one.text.endswith("\n# --set train.epochs=3\n")


def test_the_text_of_a_changed_experiment_is_still_yaml(tmp_path: Path):
    (tmp_path / "bad.yaml").write_text(text_of().rstrip("\n"))
    source = ExperimentFile(tmp_path / "bad.yaml", ["summary=two\n  lines"])
    assert source.text.splitlines()[-2:] == [f"train: {TRAIN}", "# --set summary=two   lines"]


# ---- what an experiment means


def test_everything_is_searched_unless_it_is_set(tmp_path: Path):
    cell = cell_of(tmp_path)
    assert set(cell.space) == {"gamma", "threshold", "real.lr"} and cell.fixed == {}
    assert cell.published == {"gamma": 1e-4, "threshold": 1e-8, "real.lr": 0.01}
    cell = cell_of(tmp_path, method="{name: latent-adam, clip: null, lr: 2, pseudo_gradient: identity}")
    set_here = {name: value for name, value in cell.fixed.items() if value is not None}
    assert set_here == {"lr": 2.0, "pseudo_gradient": "identity"} and cell.fixed["clip"] is None
    assert not {"clip", "lr", "pseudo_gradient"} & set(cell.space) and len(cell.space) == 6


def test_tune_narrows_the_search_and_the_rest_keeps_its_default(tmp_path: Path):
    cell = cell_of(tmp_path, method="{name: bop, tune: [threshold]}", more="real: {lr: 0.5}")
    assert set(cell.space) == {"threshold"} and cell.fixed == {"gamma": 1e-4, "real.lr": 0.5}
    assert set(cell_of(tmp_path, method="{name: bop, tune: []}").space) == {"real.lr"}


def test_a_preset_sets_what_the_options_do_not(tmp_path: Path):
    cell = cell_of(tmp_path, method="{name: bop, preset: rebuttal, threshold: 1e-9}")
    assert cell.fixed == {"gamma": Linear(5e-4, 5e-7), "threshold": 1e-9}
    assert set(cell.space) == {"real.lr"}


@pytest.mark.parametrize(
    ("method", "preset"), [(method, preset) for method in METHODS.values() for preset in method.presets]
)
def test_every_preset_is_a_setting_that_the_method_takes(tmp_path: Path, method: Method, preset: str):
    cell = cell_of(tmp_path, method=f"{{name: {method.name}, preset: {preset}}}")
    assert {name: encode(cell.fixed[name]) for name in method.presets[preset]} == method.presets[preset]


def test_what_is_optional_is_off_and_not_searched_unless_it_is_named(tmp_path: Path):
    plain = cell_of(tmp_path, method="latent-adam")
    assert plain.fixed["ags"] is None and "ags" not in plain.space
    assert plain.trial(plain.published, 1, "final").method.options["ags"] is None
    off = cell_of(tmp_path, method="{name: latent-adam, ags: null}")
    assert off.trial(off.published, 1, "final") == plain.trial(plain.published, 1, "final")
    given = cell_of(tmp_path, method="{name: latent-adam, ags: 0.04}")
    assert given.fixed["ags"] == 0.04 and set(given.space) == set(plain.space)
    named = cell_of(tmp_path, method="{name: latent-adam, tune: [lr, ags], decay: {ags: {linear: 0}}}")
    assert set(named.space) == {"lr", "ags", "real.lr"} and named.published["ags"] == 0.01
    assert named.trial(named.published, 1, "final").method.options["ags"] == Linear(0.01, 0.0)


def test_the_plan_describes_of_the_optional_only_what_is_used(tmp_path: Path):
    plan = plan_of(tmp_path, text_of(method="{name: latent-adam, transform: xnor, tune: [lr, ags]}"))
    card = plan.record.methods["latent-adam"]
    assert {"transform", "ags", "lr", "clip"} <= set(card.hypers) and "sad" not in card.hypers
    assert card.hypers["ags"] == HyperCard(default=0.01, range=Range("log", (0.001, 0.1)))
    assert card.hypers["transform"].range is None and card.control is False


def summary_and_paper(folder: Path, method: str) -> tuple[str, str]:
    (card,) = plan_of(folder, text_of(method=method)).record.methods.values()
    return card.summary.removeprefix(METHODS[card.method].summary).strip(), card.paper


def test_a_row_names_what_it_adds_to_its_method_and_that_paper(tmp_path: Path):
    for method, added, paper in (
        ("latent-adam", "", "BinaryNet"),
        ("{name: latent-adam, clip: null, transform: null}", "", "BinaryNet"),
        ("{name: latent-adam, transform: recu}", "Here with ReCU's clamp of standardised weights.", "ReCU"),
        (
            "{name: latent-adam, tune: [lr, freeze]}",
            "Here with Nagel's freezing of oscillating weights.",
            "Nagel",
        ),
        ("{name: bop, preset: rebuttal}", "Here with the published setting rebuttal.", "Helwegen"),
    ):
        words, papers = summary_and_paper(tmp_path, method)
        assert words == added and paper in papers.split(";")[0]
    words, papers = summary_and_paper(
        tmp_path, "{name: latent-sgd, ags: 0.04, sad: 9.0e-4, binarize: ede_0.1}"
    )
    assert [paper.split(" et al.")[0] for paper in papers.split("; ")] == ["Qin", "Xiang", "Courbariaux"]
    assert words.count(" and ") == 2
    words, _ = summary_and_paper(tmp_path, "{name: bop-second-order, unbiased: true}")
    assert "unbiased" in words
    (searched, _), (biased, _) = (
        summary_and_paper(tmp_path, f"{{name: bop-second-order{rest}}}") for rest in ("", ", unbiased: false")
    )
    assert "unbiased" in searched and biased == ""


def test_the_standard_comparison_has_no_two_rows_of_one_description():
    source = ExperimentFile(find_experiment("standard/fashion-mlp"), ["tasks=[{data: digits, model: mlp}]"])
    cards = make_plan(source).record.methods
    assert cards.pop("latent-adam-again").summary == cards["latent-adam"].summary  # it is there twice
    assert len({card.summary for card in cards.values()}) == len(cards)


def test_a_decay_is_put_on_top_of_drawn_and_set_values(tmp_path: Path):
    cell = cell_of(
        tmp_path,
        method="{name: bop, threshold: 4, decay: {gamma: {cosine: 0}, threshold: {linear: 0.5}}}",
        more="real: {decay: {lr: {exponential: 0.1}}}",
    )
    trial = cell.trial({"gamma": 0.02, "real.lr": 0.3}, seed=3, stage="tune")
    assert trial.method == Choice("bop", {"gamma": Cosine(0.02, 0.0), "threshold": Linear(4.0, 2.0)})
    assert isinstance(trial.real_lr, Exponential)
    assert (trial.real_lr.start, trial.real_lr.end) == (0.3, pytest.approx(0.03))
    assert (trial.seed, trial.stage) == (3, "tune")


def test_the_real_rate_can_be_set_or_scheduled(tmp_path: Path):
    for written, resolved in (("0.5", 0.5), ("{linear: [1, 0]}", Linear(1.0, 0.0))):
        cell = cell_of(tmp_path, more=f"real: {{lr: {written}}}")
        assert cell.trial(cell.published, 0, "final").real_lr == resolved
        assert "real.lr" not in cell.space


def test_a_task_trains_differently_where_it_says_so(tmp_path: Path):
    task = "{data: digits, model: mlp, train: {epochs: 9, reestimate_batch_norm: true}}"
    train = "{epochs: 1, batch_size: 32, augment: crop}"
    one, other = plan_of(tmp_path, text_of(f"{task}\n  - {{data: cifar10, model: mlp}}", train=train)).cells
    usual = TrainSettings(
        epochs=1,
        batch_size=32,
        batch_parts=1,
        augment="crop",
        reestimate_batch_norm=False,
        precision="float32",
    )
    assert one.train == dataclasses.replace(usual, epochs=9, reestimate_batch_norm=True)
    assert other.train == usual


def test_augmentation_is_what_is_usual_for_the_data_set(tmp_path: Path):
    cells = plan_of(tmp_path, text_of("{data: [digits, cifar10, svhn], model: mlp}")).cells
    assert [cell.train.augment for cell in cells] == ["none", "crop-flip", "crop"]


def test_data_sets_models_and_methods_are_crossed_in_order(tmp_path: Path):
    task = "{data: [digits, {name: digits, label: few, train_limit: 100}], model: [mlp, {name: mlp, label: wide}]}"
    plan = plan_of(tmp_path, text_of(task, "{name: bop, label: b}\n  - latent-sgd", more="seeds: 3"))
    assert [cell.name for cell in plan.cells] == [
        f"{data}.{model}.{method}"
        for data in ("digits", "few")
        for model in ("mlp", "wide")
        for method in ("b", "latent-sgd")
    ]
    assert plan.cells[4].data == Choice("digits", {"validation": 0.2, "train_limit": 100})
    assert plan.cells[4].model.options["hidden"] == [512, 512]
    assert plan.runs == 8 * (8 + 3 + 3) and plan.seeds == 3


@pytest.mark.parametrize(
    ("written", "tracks", "runs"),
    [
        ("", [Track(name="random", trials=8)], (8, 2, 2)),
        ("{seed: 7}", [Track(name="random", trials=8)], (8, 2, 2)),
        ("{trials: 0}", [], (0, 0, 2)),
        ("{trials: one-shot}", [Track(name="random", trials=1)], (1, 2, 2)),
        ("{trials: 5, studies: 3}", [Track(name="random", trials=5, studies=3)], (15, 6, 6)),
        ("{tpe: {trials: small}}", [Track(name="tpe", trials=8, at_once=4)], (8, 2, 2)),
        (
            "{tpe: {trials: large, studies: 4, at_once: 2}, random: {trials: medium, studies: 3}}",
            [Track(name="random", trials=25, studies=3), Track(name="tpe", trials=75, studies=4, at_once=2)],
            (375, 14, 8),
        ),
    ],
)
def test_the_budget_of_a_cell(tmp_path: Path, written: str, tracks: list[Track], runs: tuple[int, ...]):
    plan = plan_of(tmp_path, text_of(more=f"seeds: 2\n{f'tuning: {written}' if written else ''}\n"))
    assert plan.tuning.tracks == plan.record.tuning.tracks == tracks
    assert tuple(plan.tuning.count(phase, plan.seeds) for phase in PHASES) == (*runs, 0)
    places = Counter(place.phase for place in plan.tuning.places(plan.seeds, plan.cells[0].task))
    assert [places[phase] for phase in PHASES] == [*runs, 0] and plan.runs == sum(runs)
    assert decode(PlanRecord, encode(plan.record), tmp_path) == plan.record


def test_a_method_may_have_more_studies_than_all_have(tmp_path: Path):
    tuning = "seeds: 2\ntuning: {random: {trials: 5, studies: 3}, tpe: {trials: 4, studies: 9}}"
    for studies, problem in ((2, "every method has 3"), (7, "more than 2 times the 3 of the others")):
        with pytest.raises(SpecError, match=rf"methods.0.studies: .*{problem}"):
            plan_of(tmp_path, text_of(method=f"{{name: bop, studies: {studies}}}", more=tuning))
    methods = "{name: bop, studies: 5}\n  - latent-sgd"
    plan = plan_of(tmp_path, text_of(method=methods, more=tuning))
    assert list(map(plan.tuning_runs, plan.cells)) == [5 * 5 + 4 * 9, 3 * 5 + 4 * 9]
    assert list(map(plan.final_runs, plan.cells)) == [2 * (5 + 9) + 2 * 9, 2 * (3 + 9) + 2 * 9]
    assert plan.runs == 61 + 51 + 46 + 42 and plan.epochs == plan.runs * plan.cells[0].train.epochs
    record = decode(PlanRecord, encode(plan.record), tmp_path)
    assert record == plan.record and [cell.studies for cell in record.cells] == [5, None]
    assert (record.studies_of("random"), record.studies_of("tpe")) == ([3, 5], [9])
    for cell, planned in zip(plan.cells, record.cells, strict=True):
        places = Counter(place.phase for place in record.tuning_of(planned).places(2, planned.task))
        assert places["tuning"] == plan.tuning_runs(cell)
        assert places["final"] + places["default"] == plan.final_runs(cell)
    same = plan_of(tmp_path, text_of(method="{name: bop, studies: 3}", more="tuning: {studies: 3}"))
    assert same.cells[0].studies is None
    # More studies change no draw and no run.
    assert [cell.first for cell in plan.cells] == [
        cell.first for cell in plan_of(tmp_path, text_of(method="bop\n  - latent-sgd", more=tuning)).cells
    ]


TWO_TASKS = "{data: digits, model: [{name: mlp, hidden: [16]}, {name: mlp, label: wide, hidden: [32]}]}"


def test_winners_run_on_every_other_task(tmp_path: Path):
    more = "seeds: 2\ntuning: {trials: 3, studies: 2, transfer: true}"
    plan = plan_of(tmp_path, text_of(TWO_TASKS, more=more))
    assert plan.tuning.transfer == plan.record.tuning.transfer == ["digits.mlp", "digits.wide"]
    assert plan.tuning.count("transfer", plan.seeds) == 4 and plan.runs_of(plan.cells[0]) == 6 + 4 + 4 + 4
    for cell in plan.record.cells:
        (other,) = {"digits.mlp", "digits.wide"} - {cell.task}
        places = [place for place in plan.tuning.places(plan.seeds, cell.task) if place.phase == "transfer"]
        assert [place[1:] for place in places] == [
            ("random", study, number, other) for study in (0, 1) for number in (0, 1)
        ]
        assert str(places[1]) == f"random study 0 of {other} seed 1"
    assert decode(PlanRecord, encode(plan.record), tmp_path) == plan.record


@pytest.mark.parametrize(
    ("task", "tuning", "problem"),
    [
        (TASK, "{transfer: true}", "tuning.transfer: the winners have no other task to run on: name two"),
        (TWO_TASKS, "{trials: 0, transfer: true}", "tuning.transfer: nothing is tuned, so no winner differs"),
        (TWO_TASKS, "{trials: 1, transfer: true}", "tuning.transfer: nothing is tuned, so no winner differs"),
        (TWO_TASKS, "{transfer: 1}", "tuning.transfer: "),
    ],
)
def test_a_transfer_of_nothing_is_refused(tmp_path: Path, task: str, tuning: str, problem: str):
    message = message_of(tmp_path, text_of(task, more=f"tuning: {tuning}"))
    assert message.startswith("bad.yaml:8:") and problem in message


def run_id(folder: Path, *changes: str, **parts: str) -> str:
    cell = cell_of(folder, *changes, **parts)
    return cell.trial(cell.published, 1001, "final").run_id


def test_the_run_id_of_a_trial_never_moves(tmp_path: Path):
    # Records are found again by this. Whoever must change it raises PROTOCOL in suite/records/trial.py as well.
    method = "{name: bop, decay: {gamma: {cosine: 0.0}}}"
    assert run_id(tmp_path, method=method) == "41f53546873f983a"
    assert run_id(tmp_path, "train.keep_weights=true", method=method) == "41f53546873f983a"  # it keeps more


VGG_SMALL = "{data: digits, model: {name: vgg-small, width: 0.1, activation: %s}}"


@pytest.mark.parametrize(
    ("parts", "before"),
    [
        # These settings have the run ids that they had before options were added and rules revised.
        ({"method": "latent-adam"}, "13fd61d7fd536691"),
        ({"method": "{name: latent-adam, eps_placement: null}"}, "13fd61d7fd536691"),
        ({"method": "prox-quant"}, "ea077bece127919a"),
        ({"method": "{name: bop-second-order, unbiased: false}"}, "f6eaea924441b3c7"),
        ({"task": VGG_SMALL % "clipped"}, "e393f5193571261c"),
    ],
    ids=str,
)
def test_what_is_newer_than_the_protocol_and_off_is_not_in_a_trial(
    tmp_path: Path, parts: dict[str, str], before: str
):
    assert run_id(tmp_path, **parts) == before


@pytest.mark.parametrize(
    ("parts", "before", "revised"),
    [
        ({"method": "{name: bop-second-order, unbiased: true}"}, "aaf8634b8154c788", "unbiased"),
        ({"method": "{name: latent-adam, freeze: 0.1}"}, "38e0d58593dbe568", "freeze"),
        ({"task": VGG_SMALL % "ede"}, "94f04df0782a0af1", "model.activation"),
    ],
    ids=str,
)
def test_a_setting_whose_rule_was_revised_has_a_new_run_id_that_says_so(
    tmp_path: Path, parts: dict[str, str], before: str, revised: str
):
    cell = cell_of(tmp_path, **parts)
    trial = cell.trial(cell.published, 1001, "final")
    written = trial.as_json()
    assert written["revised"] == [revised] and trial.run_id != before
    assert decode(Trial, written, tmp_path) == trial
    old = dataclasses.replace(trial, revised=())
    assert old.run_id == before and "revised" not in old.as_json()


def test_what_is_newer_than_the_protocol_and_on_is_in_a_trial(tmp_path: Path):
    cell = cell_of(tmp_path, method="{name: prox-quant, restart: epoch}")
    assert cell.trial(cell.published, 1001, "final").as_json()["hypers"]["restart"] == "epoch"
    cell = cell_of(tmp_path, method="{name: latent-adam, tune: [lr, eps_placement]}")
    assert cell.published["eps_placement"] == "keras"


def test_every_field_of_a_trial_changes_its_run_id(tmp_path: Path):
    cell = cell_of(tmp_path)
    trial = cell.trial(cell.published, 1001, "final")
    others: dict[str, Any] = {
        "stage": "tune",
        "data": Choice("digits", {**trial.data.options, "train_limit": 100}),
        "model": Choice("mlp", {**trial.model.options, "hidden": [512]}),
        "method": Choice("bop", {**trial.method.options, "gamma": 1.00001e-4}),
        "real_lr": 0.02,
        "train": dataclasses.replace(trial.train, precision="bfloat16"),
        "seed": 1002,
        "protocol": 99,
        "plugin": "0123456789abcdef",
        "plugins": {"model": "0123456789abcdef"},
        "revised": ("gamma",),
        "probes": (Choice("signs", {}),),
    }
    assert set(others) == {field.name for field in dataclasses.fields(trial)}
    ids = [dataclasses.replace(trial, **{name: value}).run_id for name, value in others.items()]
    assert len({trial.run_id, *ids}) == len(others) + 1


def test_how_it_is_written_does_not_change_the_run_id(tmp_path: Path):
    one = text_of("{data: digits, model: {name: mlp, hidden: [8], activation: identity}}")
    other = "\n".join(
        [
            "# a comment", "methods: [{name: bop}]", "train:", "  batch_size: 32  # here too", "  epochs: 01",
            "tasks: [{model: [{activation: identity, hidden: [8], name: mlp}], data: [digits]}]",
            'summary: "Other words."', "seeds: 2", "version: 1",
        ]
    )  # fmt: skip
    ids = [
        cell.trial(cell.published, 1, "final").run_id
        for text in (one, other)
        for cell in plan_of(tmp_path, text).cells
    ]
    assert len(ids) == 2 and len(set(ids)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{name: latent-sgd, lr: 1}", "{name: latent-sgd, lr: 1.0}"),
        ("{name: latent-sgd, clip: 1, weight_decay: 0}", "{name: latent-sgd, clip: 1.0, weight_decay: 0.0}"),
        ("{name: latent-sgd, lr: {linear: [1, 0]}}", "{name: latent-sgd, lr: {linear: [1.0, 0.0]}}"),
        (
            "{name: latent-sgd, lr: {step: {start: 2, factor: 1, at: [0.5]}}}",
            "{name: latent-sgd, lr: {step: {at: [0.5], factor: 1.0, start: 2.0}}}",
        ),
        ("{name: bop, decay: {gamma: {cosine: 0}}}", "{name: bop, decay: {gamma: {cosine: 0.0}}}"),
        (
            "{name: latent-sgd, decay: {lr: {step: {factor: 0, at: [0.5]}}}}",
            "{name: latent-sgd, decay: {lr: {step: {factor: 0.0, at: [0.5]}}}}",
        ),
        ("{name: bop, gamma: 1e-4, threshold: 1e-8}", "{name: bop, tune: []}"),
    ],
)
def test_one_and_one_point_zero_are_the_same_experiment(tmp_path: Path, one: str, other: str):
    assert run_id(tmp_path, method=one) == run_id(tmp_path, method=other)


# ---- any edit of a valid experiment is a plan or a SpecError

TREE: dict[str, Any] = {
    "version": 1,
    "summary": "Fuzz.",
    "tasks": [
        {"data": "digits", "model": [{"name": "mlp", "hidden": [8]}], "train": {"epochs": 2}},
        {"data": {"name": "digits", "label": "few", "train_limit": 90}, "model": {"name": "convnet", "channels": 2}},
        {"data": "cifar10", "model": {"name": "binarynet", "width": 0.05}},
    ],
    "methods": [
        {"name": "bop", "gamma": {"linear": [1e-3, 1e-4]}, "tune": ["threshold"]},
        {"name": "latent-adam", "clip": 1.0, "decay": {"lr": {"step": {"factor": 0.1, "at": [0.5]}}}},
    ],
    "real": {"lr": {"exponential": [0.1, 0.01]}, "decay": {}},
    "train": {"epochs": 1, "batch_size": 32, "augment": "none"},
    "tuning": {"random": {"trials": 2, "studies": 2}, "tpe": {"trials": "small", "at_once": 3}, "seed": 0},
    "seeds": 2,
    "plugins": [],
    "probes": ["signs", {"name": "distort", "draws": 2}],
}  # fmt: skip

WORDS = [
    "bop", "latent-momentum", "digits", "mlp", "convnet", "name", "label", "lr", "clip", "pseudo_gradient", "gamma",
    "weight_decay", "linear", "step", "cosine", "exponential", "tune", "decay", "hidden", "train", "tpe", "a b", "",
    "trials", "studies", "random", "medium",
]  # fmt: skip
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2, 3, 1000, 10**10, -(10**20), 10**400]),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, 1e-7, 1e300, -1e300, float("inf"), float("nan")]),
    st.sampled_from(WORDS),
    st.text(max_size=3),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=3)
    ),
    max_leaves=5,
)


def nodes(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a tree."""
    items = list(
        tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else []
    )
    return [(tree, key) for key, _ in items] + [node for _, value in items for node in nodes(value)]


def as_yaml(tree: Any) -> str:
    text = json.dumps(tree, ensure_ascii=False)
    return re.sub(r"(?<=[ \[])(-?)Infinity(?=[,}\]])", r"\1.inf", re.sub(r"\bNaN(?=[,}\]])", ".nan", text))


def corners(cell: Cell) -> Iterator[dict[str, Any]]:
    """The draws at the corners of a cell's search space, one name at a time."""
    yield dict(cell.published)
    for name, space in cell.space.items():
        assert isinstance(space, FloatDistribution | CategoricalDistribution)
        ends = space.choices if isinstance(space, CategoricalDistribution) else (space.low, space.high)
        yield from ({**cell.published, name: value} for value in ends)


@settings(
    deadline=None,
    database=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_edit_is_a_plan_or_one_error(tmp_path: Path, data: st.DataObject):
    tree = json.loads(json.dumps(TREE))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(nodes(tree)))
        edit = data.draw(st.sampled_from(["replace", "replace", "add", "remove"]))
        if edit == "remove":
            del container[key]
        elif edit == "add" and isinstance(container, dict):
            container[data.draw(st.sampled_from(WORDS) | st.text(max_size=3))] = data.draw(values)
        else:
            container[key] = data.draw(values)
    try:
        plan = plan_of(tmp_path, as_yaml(tree))
    except SpecError as error:
        lines = str(error).splitlines()
        assert len(set(lines)) == len(lines) > 0
        return
    canonical(encode(plan.record))
    for cell in plan.cells:  # what can be drawn can be run: a sweep must not stumble later
        for draw in corners(cell):
            trial = cell.trial(draw, 1, "tune")
            assert len(trial.run_id) == 16
            for scheduled in (*trial.method.options.values(), trial.real_lr):
                assert all(value_at(scheduled, progress) != "never" for progress in (0.0, 0.5, 1.0))


def test_a_plan_names_the_family_of_a_method_and_how_a_row_differs(tmp_path: Path) -> None:
    """A preset by its name alone, an option by its value, an optional hyperparameter that is searched."""
    methods = """{name: bop, preset: rebuttal}
  - {name: latent-adam, transform: xnor, clip: 1.0}
  - {name: latent-adam, label: dampened, tune: [lr, dampen]}"""
    cards = plan_of(tmp_path, text_of(method=methods)).record.methods
    assert {label: (card.family, card.differs) for label, card in cards.items()} == {
        "bop": ("Bop and its descendants", ["preset rebuttal"]),
        "latent-adam": ("latent weights", ["transform xnor"]),
        "dampened": ("latent weights", ["dampen searched"]),
    }
    assert all(method.family for method in METHODS.values())


def test_a_plan_names_the_kinds_of_the_layers_of_each_model(tmp_path: Path) -> None:
    text = text_of(task="{data: digits, model: [mlp, {name: convnet, channels: 4, dense: 8}]}")
    assert plan_of(tmp_path, text).record.layers == {
        "mlp": ["dense"] * 3,
        "convnet": ["conv"] * 3 + ["dense"] * 2,
    }
