"""Each rule of a data set's contract against a data set that breaks this rule."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from suite.checks.contract import data as contract
from suite.checks.contract.data import STAGES, Example
from suite.data import DATASETS, Dataset, Images
from suite.data.options import resolve_options
from suite.data.source import Source
from suite.plugins import load_plugin
from tests.support.registries import restored

SOURCE = '''
import itertools
import torch
from suite.data import Images, dataset
calls = itertools.count()

@dataset(classes=3, shape=(1, 6, 6), train=60, test=20, augment="{augment}")
def mine(part, *, levels: int = 256):
    """{summary}"""
    draws = torch.Generator().manual_seed({seed})
    {more}
    labels = torch.arange(60 if part == "train" else 20) % {classes}
    return Images(torch.randint(0, levels, (len(labels), 1, 6, 6), generator=draws).byte(), labels)
'''
GOOD = {"augment": "crop", "summary": "Noise.", "seed": "int(part == 'test')", "more": "pass", "classes": "3"}


def load(folder: Path, **code: str) -> Example:
    """A data set in which some parts are others than in GOOD."""
    path = folder / "mine.py"
    path.write_text(SOURCE.format(**{**GOOD, **code}))
    with restored():
        (found,) = load_plugin(path)
    assert isinstance(found, Dataset)
    return Example(found, resolve_options(found, {}))


@pytest.mark.parametrize("rule", [rule for stage in STAGES for rule in stage], ids=lambda rule: rule.__name__)
def test_a_good_data_set_keeps_every_rule(tmp_path: Path, rule: Any) -> None:
    assert list(rule(load(tmp_path))) == []
    assert list(rule(Example(DATASETS["digits"], resolve_options(DATASETS["digits"], {})))) == []


@pytest.mark.parametrize(
    ("rule", "code", "words"),
    [
        ("describes_itself", {"summary": "noise"}, "its summary is not a sentence: 'noise'"),
        ("describes_itself", {"augment": "resized-crop-flip"}, "it has no augmentation 'resized-crop-flip'"),
        ("leaves_torch_alone", {"more": "torch.rand(1)"}, "to read it changes torch's random state"),
        ("has_what_it_declares", {"classes": "2"}, "no training image is of class 2"),
        ("repeats", {"seed": "next(calls)"}, "its part 'train' has other images the second time"),
        ("keeps_its_test_part_apart", {"seed": "0"}, "20 of 20 test images are also training images"),
    ],
)
def test_a_bad_data_set_breaks_its_rule(tmp_path: Path, rule: str, code: dict[str, str], words: str) -> None:
    (remark,) = getattr(contract, rule)(load(tmp_path, **code))
    assert words in remark.text
    lines = (tmp_path / "mine.py").read_text().splitlines()
    assert remark.line and lines[remark.line - 1].startswith("@dataset")


class Odd(Images):
    """Images that are scaled in a way of their own."""

    normalisation = "x"

    def eval_batches(self, *_: Any, **__: Any) -> Any:
        yield torch.full((2, 1, 6, 6), torch.nan), self.labels[:2]


def unknown(source: Source) -> Source:
    return replace(source, read_test=lambda: odd(source.read_test()))


def odd(images: Any, kind: type[Images] = Odd) -> Images:
    return kind(images.pixels, images.labels)


def not_to_be_sent(source: Source) -> Source:
    class Local(Images):
        def __reduce__(self) -> Any:
            raise pickle.PicklingError("it stays")

    return replace(source, read=lambda index: odd(source.read(index), Local))


@pytest.mark.parametrize(
    ("rule", "spoil", "words"),
    [
        (
            "has_what_it_declares",
            lambda source: replace(source, read_test=lambda: source.read(torch.arange(9))),
            "its part 'test' has 9 images, but 20 are declared",
        ),
        ("has_what_it_declares", unknown, "its part 'test' is normalised in a way that is unknown"),
        (
            "reads_what_is_asked",
            lambda source: replace(source, read=lambda index: source.read(index.sort().values)),
            "are not those of the whole part at these positions",
        ),
        ("has_a_validation_part", not_to_be_sent, "cannot be sent to another process, as workers need them"),
        (
            "gives_batches",
            lambda source: replace(source, read=lambda index: odd(source.read(index))),
            "or a number that is not finite",
        ),
    ],
)
def test_a_bad_source_breaks_its_rule(
    tmp_path: Path, rule: str, spoil: Callable[[Source], Source], words: str
) -> None:
    good = load(tmp_path)
    bad = replace(good.dataset, open=lambda **options: spoil(good.dataset.open(**options)))
    (remark,) = getattr(contract, rule)(Example(bad, good.options))
    assert words in remark.text
