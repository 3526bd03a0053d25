import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import stats
from torch import Tensor

from suite.data.stored.crops import (
    ATTEMPTS,
    Box,
    Draw,
    central_box,
    cut,
    draws,
    normalise,
    random_box,
    shrink,
    uniform,
)
from tests.support.photographs import window

MASK = 2**64 - 1


@pytest.fixture(scope="module")
def transforms() -> Any:
    from torchvision import transforms  # here, because importing it takes seconds

    return transforms


def split_mix(seed: int, count: int) -> list[int]:
    """The first outputs of SplitMix64, one after the other, in Python's own numbers."""
    outputs = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        mixed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        outputs.append(mixed ^ (mixed >> 31))
    return outputs


def test_the_reference_generator_is_splitmix64():
    # The outputs of seed 1234567 by which its implementations are usually checked.
    assert split_mix(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("key", [0, 1234567, 2**63 - 1, MASK])
def test_a_sample_has_the_generator_that_the_key_gives_it(key: int):
    seeds = split_mix(key, 8)
    expected = [[output / 2**64 for output in split_mix(seeds[sample], 5)] for sample in (7, 0, 3)]
    np.testing.assert_allclose(uniform(key, np.array([7, 0, 3]), 5), expected, rtol=0, atol=2**-52)


def test_a_draw_depends_on_nothing_but_key_and_sample():
    together = draws(5, range(100))
    assert [draws(5, [sample])[0] for sample in (99, 0, 42)] == [together[n] for n in (99, 0, 42)]
    assert draws(5, [3, 3, 1]) == [together[3], together[3], together[1]]
    assert draws(6, range(100)) != together
    assert all(len(draw.areas) == len(draw.aspects) == ATTEMPTS for draw in together)


def test_the_numbers_are_uniform_and_not_correlated():
    table = uniform(11, np.arange(20_000), 6)
    assert table.min() >= 0 and table.max() < 1
    for column in table.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    neighbours = np.concatenate([table[:-1], table[1:], uniform(12, np.arange(19_999), 6)], axis=1)
    correlation = np.corrcoef(neighbours.T) - np.eye(18)
    assert np.abs(correlation).max() < 5 / math.sqrt(20_000)


def all_attempts_at_once(draw: Draw, height: int, width: int) -> Box | None:
    """The box of the first attempt that fits, from arrays of all ten."""
    area = height * width * (0.08 + 0.92 * np.array(draw.areas))
    ratio = (3 / 4) * (16 / 9) ** np.array(draw.aspects)
    across, down = np.rint(np.sqrt(area * ratio)).astype(int), np.rint(np.sqrt(area / ratio)).astype(int)
    fits = np.flatnonzero((across <= width) & (down <= height) & (across > 0) & (down > 0))
    if not len(fits):
        return None
    tall, wide = int(down[fits[0]]), int(across[fits[0]])
    return Box(
        math.floor(draw.top * (height - tall + 1)), math.floor(draw.left * (width - wide + 1)), tall, wide
    )


@pytest.mark.parametrize(("height", "width"), [(375, 500), (256, 256), (600, 200)])
def test_a_box_is_the_first_attempt_that_fits(height: int, width: int):
    unfit = 0
    for draw in draws(3, range(500)):
        expected = all_attempts_at_once(draw, height, width)
        unfit += expected is None
        if expected:
            assert random_box(draw, height, width) == expected
    assert unfit < 25


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 250)])
def test_boxes_are_distributed_as_torchvisions(transforms: Any, height: int, width: int):
    count = 4000
    ours = np.array([random_box(draw, height, width) for draw in draws(8, range(count))])
    blank = torch.empty(3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        get = transforms.RandomResizedCrop.get_params
        theirs = np.array([get(blank, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)])  # top left h w
    for what in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: np.log(box[:, 3] / box[:, 2]),
        lambda box: box[:, 0] / np.maximum(1, height - box[:, 2]),
        lambda box: box[:, 1] / np.maximum(1, width - box[:, 3]),
    ):
        compared: Any = stats.ks_2samp(what(ours), what(theirs))
        assert compared.pvalue > 1e-3
    areas = [(boxes[:, 2] * boxes[:, 3]).mean() / (height * width) for boxes in (ours, theirs)]
    assert abs(areas[0] - areas[1]) < 5 * 0.27 * math.sqrt(2 / count)


@pytest.mark.parametrize(("height", "width"), [(10, 1000), (1000, 10), (7, 333)])
def test_where_nothing_fits_the_box_is_torchvisions_central_one(transforms: Any, height: int, width: int):
    blank = torch.empty(3, height, width)
    expected = transforms.RandomResizedCrop.get_params(blank, [0.08, 1.0], [3 / 4, 4 / 3])
    assert {random_box(draw, height, width) for draw in draws(1, range(20))} == {Box(*expected)}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (3, 2), (2, 2), (64, 48)])
def test_boxes_lie_within_the_image_and_reach_its_edges(height: int, width: int):
    boxes = [random_box(draw, height, width) for draw in draws(2, range(400))]
    for top, left, tall, wide in boxes:
        assert 0 <= top <= height - tall and 0 <= left <= width - wide and tall > 0 and wide > 0
    if min(height, width) > 1:
        loose = [box for box in boxes if box.height < height and box.width < width]
        assert any(box.top == 0 for box in loose) and any(box.left == 0 for box in loose)
        assert any(box.top + box.height == height for box in loose)
        assert any(box.left + box.width == width for box in loose)


def test_half_of_the_samples_are_flipped():
    flipped = sum(draw.flipped for draw in draws(4, range(10_000)))
    assert abs(flipped - 5000) < 4 * 50


@pytest.mark.parametrize(
    ("size", "height", "width", "expected"),
    [
        (224, 256, 256, (16, 16, 224, 224)),
        (
            224,
            256,
            341,
            (16, 59, 224, 224),
        ),  # the odd pixel is above and to the left, as in the released code
        (224, 375, 500, (24, 86, 328, 328)),
        (64, 96, 97, (16, 17, 64, 64)),
        (224, 1, 9, (0, 4, 1, 1)),
    ],
)
def test_evaluation_sees_the_centre(size: int, height: int, width: int, expected: tuple[int, ...]):
    assert central_box(size, height, width) == expected
    top, left, side, _ = central_box(size, width, height)
    assert (left, top, side) == expected[:3]


def crop(image: Tensor, box: Box, size: int, *, flipped: bool = False) -> np.ndarray:
    into = torch.zeros(size, size, 3, dtype=torch.uint8)
    cut(image, box, into, flipped=flipped)
    return into.numpy()


BOXES = [Box(10, 20, 60, 70), Box(0, 0, 200, 300), Box(33, 5, 32, 32), Box(50, 60, 9, 11)]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("flipped", [False, True])
def test_a_crop_is_what_pillow_makes_of_it(box: Box, flipped: bool):
    picture = window(0, 200, 300)
    part = Image.fromarray(picture[box.top : box.top + box.height, box.left : box.left + box.width])
    expected = np.asarray(part.resize((32, 32), Image.Resampling.BICUBIC)).astype(int)
    expected = expected[:, ::-1] if flipped else expected
    found = crop(torch.from_numpy(picture.copy()), box, 32, flipped=flipped)
    assert np.abs(found - expected).max() <= 1


def test_a_part_of_the_wanted_size_is_only_copied():
    picture = window(1, 100, 100)
    image = torch.from_numpy(picture.copy())
    assert np.array_equal(crop(image, Box(30, 40, 50, 50), 50), picture[30:80, 40:90])
    assert np.array_equal(crop(image, Box(30, 40, 50, 50), 50, flipped=True), picture[30:80, 40:90][:, ::-1])


def test_a_crop_is_written_in_its_place_and_nowhere_else():
    image = torch.from_numpy(window(0, 100, 100).copy())
    batch = torch.full((3, 16, 16, 3), 7, dtype=torch.uint8)
    cut(image, Box(5, 6, 70, 80), batch[1])
    assert (batch[0] == 7).all() and (batch[2] == 7).all()
    part = image[5:75, 6:86].permute(2, 0, 1)[None]
    expected = F.interpolate(part, size=(16, 16), mode="bicubic", antialias=True)
    assert batch[1].permute(2, 0, 1).equal(expected[0])


def test_shrinking_is_what_pillow_does():
    picture = window(0, 200, 300)
    expected = np.asarray(Image.fromarray(picture).resize((96, 64), Image.Resampling.BICUBIC)).astype(int)
    found = shrink(torch.from_numpy(picture.copy()), 64, 96)
    assert found.is_contiguous() and np.abs(found.numpy() - expected).max() <= 1


def test_pixels_are_normalised_by_the_mean_and_deviation_of_their_colour(transforms: Any):
    pixels = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8)
    found = normalise(pixels)
    usual = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = usual(pixels.permute(0, 3, 1, 2).double() / 255)
    assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)
