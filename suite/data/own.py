"""`@dataset`: a data set from one function, which gives the images of a part."""

import functools
from collections.abc import Callable
from typing import Literal

import torch

from suite.data.errors import DataError
from suite.data.image_set import ImageSet
from suite.data.memory import Images
from suite.data.source import Dataset, Shape, Source
from suite.machine.signature import signature_of
from suite.records.trial import Augmentation

OF_ALL = ("validation", "train_limit")  # options that every data set has


def dataset(
    *,
    classes: int,
    shape: Shape,
    train: int,
    test: int,
    augment: Augmentation = "none",
    validation: float = 0.1,
    files: tuple[str, ...] = (),
) -> Callable[[Callable[..., Images]], Dataset]:
    """Register `function(part, *, option=default, ...)` under its name, with dashes, as a data set.

    It returns the Images of the part "train", of which validation is carved out, or "test", which is asked
    for by final runs only. The same call must give the same images: draw from a generator with a seed.

    shape: of an image: channels, height, width. train, test: the images of each part. augment: the default
    for training. files: below the data folder (FLIPBENCH_DATA), without which it cannot be read.

    Raises TypeError as `signature_of`, and for an option that every data set has.
    """

    def register(function: Callable[..., Images]) -> Dataset:
        name, summary, options = signature_of(function, ("part",))
        if taken := [option for option in options if option in OF_ALL]:
            raise TypeError(f"{function.__name__}: {taken[0]} is an option of every data set")

        def read(part: Literal["train", "test"], count: int, options: dict[str, object]) -> Images:
            images = function(part, **options)
            if problem := _problem(images, count, classes, shape):
                raise DataError(f"data set {name!r}: its part {part!r} {problem}")
            return images.channels_last()

        @functools.wraps(function)
        def open_set(**options: object) -> Source:
            whole = read("train", train, options)
            return Source(
                classes, shape, whole.labels, whole.subset, test, lambda: read("test", test, options)
            )

        return Dataset(
            name,
            summary,
            augment,
            open_set,
            classes,
            shape,
            train,
            test,
            validation,
            files,
            optional={name: list(v) if isinstance(v, tuple) else v for name, v in options.items()},
        )

    return register


def _problem(images: object, count: int, classes: int, shape: Shape) -> str:
    """What is wrong with a part that a function returns, or nothing."""
    if not isinstance(images, Images):
        return f"is of type {type(images).__name__}, not suite.data.Images"
    return problem_of(images, count, classes, shape)


def problem_of(images: ImageSet, count: int, classes: int, shape: Shape) -> str:
    """Why these are not so many images of this shape, with labels below `classes`; or nothing."""
    labels = images.labels
    if isinstance(images, Images):
        pixels = images.pixels
        if pixels.dtype != torch.uint8:
            return f"has pixels of {pixels.dtype}, not torch.uint8"
        if tuple(pixels.shape[1:]) != tuple(shape):
            return f"has pixels of shape {tuple(pixels.shape)}, not (N, {', '.join(map(str, shape))})"
        if len(pixels) != len(labels):
            return f"has {len(pixels)} images and {len(labels)} labels"
    if labels.dtype != torch.int64 or labels.dim() != 1:
        return f"has labels of {labels.dtype} in {labels.dim()} dimensions, not torch.int64 in one"
    if len(labels) != count:
        return f"has {len(labels)} images, but {count} are declared"
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        found = f"from {int(labels.min())} to {int(labels.max())}"
        return f"has labels {found}, but those of {classes} classes are 0 to {classes - 1}"
    return ""
