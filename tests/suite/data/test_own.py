"""`@dataset`: what a function may return, and when it is asked for."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from suite.data import DataError, Dataset, Images, TestSetGuard, dataset
from suite.data.options import resolve_options
from suite.data.splits import make_splits

PIXELS, LABELS = torch.zeros(6, 1, 2, 2, dtype=torch.uint8), torch.arange(6) % 3


def made(images: Callable[[str], Any]) -> Dataset:
    @dataset(classes=3, shape=(1, 2, 2), train=6, test=3, validation=0.5)
    def mine(part: str, *, sizes: tuple[int, ...] = (1, 2), share: float = 0.5) -> Images:
        """Mine."""
        assert sizes == [1, 2] and share == 1.0  # as YAML gives them
        return images(part)

    return mine


def splits(images: Callable[[str], Any], **options: Any) -> Any:
    mine = made(images)
    return make_splits(mine, resolve_options(mine, {"share": 1, **options}))


def test_the_test_part_is_asked_for_alone() -> None:
    asked: list[str] = []
    good = Images(PIXELS, LABELS)
    found = splits(lambda part: asked.append(part) or good)
    assert asked == ["train"] and (len(found.train), len(found.val)) == (3, 3)
    with pytest.raises(TestSetGuard):
        _ = found.test
    with pytest.raises(DataError, match="its part 'test' has 6 images, but 3 are declared"):
        made(lambda part: good).source({"sizes": [1, 2], "share": 1.0}).read_test()


@pytest.mark.parametrize(
    ("pixels", "labels", "words"),
    [
        (PIXELS.float(), LABELS, r"has pixels of torch\.float32, not torch\.uint8"),
        (PIXELS[:, 0], LABELS, r"has pixels of shape \(6, 2, 2\), not \(N, 1, 2, 2\)"),
        (PIXELS, LABELS[:5], "has 6 images and 5 labels"),
        (PIXELS, LABELS.int(), r"has labels of torch\.int32 in 1 dimensions, not torch\.int64 in one"),
        (PIXELS, LABELS[:, None], r"has labels of torch\.int64 in 2 dimensions"),
        (PIXELS[:5], LABELS[:5], "has 5 images, but 6 are declared"),
        (PIXELS, LABELS + 1, "has labels from 1 to 3, but those of 3 classes are 0 to 2"),
        (PIXELS, LABELS - 1, "has labels from -1 to 1"),
    ],
)
def test_images_that_do_not_fit_are_refused(pixels: Tensor, labels: Tensor, words: str) -> None:
    with pytest.raises(DataError, match=f"data set 'mine': its part 'train' {words}"):
        splits(lambda part: Images(pixels, labels))


def test_what_is_no_images_and_an_option_of_another_kind_are_refused() -> None:
    with pytest.raises(DataError, match=r"is of type tuple, not suite\.data\.Images"):
        splits(lambda part: (PIXELS, LABELS))
    with pytest.raises(DataError, match="'share' must be of type float, got 'x'") as error:
        splits(lambda part: Images(PIXELS, LABELS), share="x")
    assert error.value.option == "share"


def test_an_option_may_have_the_name_of_another_sets_option() -> None:
    @dataset(classes=3, shape=(1, 2, 2), train=6, test=3, validation=0.5)
    def mine(
        part: str,
        *,
        size: tuple[int, ...] = (8, 8),
        classes: tuple[str, ...] = ("cat", "dog"),
        damaged: float = 0.1,
    ) -> Images:
        """Mine."""
        return Images(PIXELS, LABELS)

    found = resolve_options(mine, {"damaged": 0.5})
    assert (found["size"], found["classes"], found["damaged"]) == ([8, 8], ["cat", "dog"], 0.5)
    with pytest.raises(DataError, match="'damaged' must be of type float"):
        resolve_options(mine, {"damaged": "grey"})
