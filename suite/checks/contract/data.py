"""The contract of a data set: each rule takes one with its options and yields what breaks it.

The tests of the catalogue call these rules for every data set, `flipbench check` for those of a file.
"""

import inspect
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from suite.checks.contract.practice import CPU, same
from suite.checks.contract.remark import Remark, line_of, note
from suite.checks.contract.torch_state import SharedState
from suite.data import NORMALISATIONS, Dataset, Images, ImageSet
from suite.data.image_set import WHOLE
from suite.data.own import problem_of
from suite.data.source import Options, Source
from suite.data.splits import make_splits, sizes_of
from suite.machine.errors import described


class Example(NamedTuple):
    """A data set with all its options."""

    dataset: Dataset
    options: Options

    @property
    def line(self) -> int | None:
        """Of its function."""
        return line_of(inspect.unwrap(self.dataset.open))

    def opened(self) -> Source:
        return self.dataset.source(self.options)

    def train(self, source: Source) -> ImageSet:
        """The whole training part, before validation is carved out."""
        return source.read(torch.arange(len(source.labels)))


Rule = Callable[[Example], Iterator[Remark]]
BATCH = 16


def describes_itself(example: Example) -> Iterator[Remark]:
    """Its summary is a sentence, its augmentation one that its images have, its sizes are possible."""
    dataset = example.dataset
    if not re.fullmatch(r"[A-Z0-9].*\.", dataset.summary):
        text = f"its summary is not a sentence: {dataset.summary!r} (the docstring's first line)"
        yield note(text, example.line)
    if dataset.augment not in dataset.augmentations:
        choices = ", ".join(dataset.augmentations)
        yield Remark(f"it has no augmentation {dataset.augment!r}; there are {choices}", example.line)
    sizes = sizes_of(dataset, example.options)
    if sizes.classes < 2 or min(sizes.shape) < 1 or len(sizes.shape) != 3 or sizes.test < 1:
        text = "it needs two classes or more, images of (channels, height, width), and a test part"
        yield Remark(text, example.line)


def leaves_torch_alone(example: Example) -> Iterator[Remark]:
    """To read it changes nothing that all code of a process shares, no random state either."""
    before = SharedState.now()
    source = example.opened()
    example.train(source)
    source.read_test()
    changes = list(before.changes())
    before.restore()
    yield from (Remark(f"to read it changes {change}", example.line) for change in changes)


def has_what_it_declares(example: Example) -> Iterator[Remark]:
    """Both parts have the images, the shape and the labels that a plan counts with."""
    sizes = sizes_of(example.dataset, {**example.options, "train_limit": None})
    source = example.opened()
    channels, height, width = sizes.shape
    train, test = example.train(source), source.read_test()
    counts = {"train": sizes.train + sizes.val, "test": sizes.test}
    for part, images in (("train", train), ("test", test)):
        if images.normalisation not in NORMALISATIONS:
            yield Remark(f"its part {part!r} is normalised in a way that is unknown here", example.line)
        if problem := problem_of(images, counts[part], sizes.classes, (channels, height, width)):
            yield Remark(f"its part {part!r} {problem}", example.line)
            return
    if absent := sorted(set(range(sizes.classes)) - set(train.labels.tolist())):
        yield note(f"no training image is of class {absent[0]}", example.line)


def repeats(example: Example) -> Iterator[Remark]:
    """Read a second time, it has the same images."""
    sources = [example.opened() for _ in range(2)]
    for part, read in (("train", example.train), ("test", lambda source: source.read_test())):
        one, other = (read(source).hashed_tensors() for source in sources)
        if not same(one, other):
            yield Remark(
                f"its part {part!r} has other images the second time: draw from a generator with a seed",
                example.line,
            )
            return


def reads_what_is_asked(example: Example) -> Iterator[Remark]:
    """The images at some positions are those of the whole part at these positions, in this order."""
    source = example.opened()
    count = len(source.labels)
    index = torch.tensor([count - 1, 0, count // 2])
    some, whole = source.read(index), example.train(source)
    expected: list[Tensor] = [source.labels[index], whole.labels]
    found = [some.labels, source.labels]
    if isinstance(some, Images) and isinstance(whole, Images):
        expected.append(whole.pixels[index])
        found.append(some.pixels)
    if not same(found, expected):
        text = "its images at some positions are not those of the whole part at these positions"
        yield Remark(text, example.line)


def has_a_validation_part(example: Example) -> Iterator[Remark]:
    """Validation can be carved out of the training part, and the splits reach another process."""
    splits = make_splits(example.dataset, example.options)
    try:
        there = pickle.loads(pickle.dumps(splits))
    except Exception as error:
        reason = described(error).splitlines()[0]
        text = f"its images cannot be sent to another process, as workers need them ({reason})"
        yield Remark(f"{text}: use suite.data.Images", example.line)
        return
    if not same(there.train.hashed_tensors(), splits.train.hashed_tensors()):
        yield Remark("its images are others when they are sent to another process", example.line)


def gives_batches(example: Example) -> Iterator[Remark]:
    """A batch has finite numbers of the declared shape."""
    sizes = sizes_of(example.dataset, example.options)
    splits = make_splits(example.dataset, example.options)
    batches = splits.train.train_batches(
        BATCH, seed=0, augment=example.dataset.augment, device=CPU, slices=WHOLE, damaged=set()
    )
    for batch in (next(batches.epoch(1)), next(splits.val.eval_batches(CPU, set()))):
        if list(batch[0].shape[1:]) != sizes.shape or not batch[0].isfinite().all():
            text = f"a batch has shape {list(batch[0].shape)}, or a number that is not finite"
            yield Remark(text, example.line)
            return


def keeps_its_test_part_apart(example: Example) -> Iterator[Remark]:
    """No test image is also a training image."""
    source = example.opened()
    train, test = example.train(source), source.read_test()
    if isinstance(train, Images) and isinstance(test, Images):
        known = Counter(pixels.numpy().tobytes() for pixels in train.pixels.contiguous())
        both = sum(pixels.numpy().tobytes() in known for pixels in test.pixels.contiguous())
        if both:
            yield note(f"{both} of {len(test)} test images are also training images", example.line)


# In this order: what one of a stage finds would make those of the next misleading.
STAGES: tuple[tuple[Rule, ...], ...] = (
    (leaves_torch_alone,),
    (describes_itself, has_what_it_declares),
    (repeats, reads_what_is_asked, has_a_validation_part, keeps_its_test_part_apart),
    (gives_batches,),
)
