"""Files of every mode and size: exact in 8-bit RGB, or refused with the reason; the same in all readers."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from suite.data import DataError, StoredImages
from suite.data.stored import decode as module
from suite.data.stored.decode import DamagedImage, decode, read_bytes
from suite.data.stored.prepare import prepare
from suite.records.trial import Choice
from tests.support.photographs import window
from tests.support.tiny import all_splits, in_memory

PIXELS = window(1, 64, 64).astype(np.uint8)
GREY = PIXELS[..., 0]
GRADIENT = np.arange(0, 2**16, 16, dtype=np.uint16).reshape(64, 64)
PALETTE = Image.fromarray(PIXELS).quantize(16)
USED = int(np.asarray(PALETTE)[0, 0])


def saved(image: Any, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def png(values: np.ndarray, colours: int, transparent: bytes = b"") -> bytes:
    """A PNG of 16 bits, which Pillow does not write: one row of values, uint16 (width, channels)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", len(values), 1, 16, colours, 0, 0, 0)
    key = chunk(b"tRNS", transparent) if transparent else b""
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + values.astype(">u2").tobytes()))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + key + pixels + chunk(b"IEND", b"")


def decoded(content: bytes) -> np.ndarray:
    return decode(torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy())).numpy()


def of_grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


WIDE = np.array([[0, 256, 65535], [257, 32768, 255]], dtype=np.uint16)  # two pixels of three colours
with_alpha = Image.merge("RGBA", (*Image.fromarray(PIXELS).split(), Image.new("L", (64, 64), 255)))
see_through = Image.merge("RGBA", (*Image.fromarray(PIXELS).split(), Image.fromarray(GREY)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (saved(GRADIENT), of_grey(GRADIENT >> 8)),
        (saved(GRADIENT, "TIFF"), of_grey(GRADIENT >> 8)),
        (saved(GRADIENT, "TIFF", tiffinfo={262: 0}), of_grey((65535 - GRADIENT) >> 8)),
        (saved(GRADIENT, "PPM"), of_grey(GRADIENT >> 8)),
        (b"P5 3 1 1000\n" + np.array([0, 500, 1000], ">u2").tobytes(), of_grey(np.array([[0, 128, 255]]))),
        (png(WIDE, 2), (WIDE >> 8)[None]),
        (png(np.array([[40000, 65535]]), 4), of_grey(np.array([[156]]))),
        (saved(GREY > 99), of_grey(255 * (GREY > 99))),
        (saved(GREY), of_grey(GREY)),
        (saved(PALETTE), np.asarray(PALETTE.convert("RGB"))),
        (saved(PALETTE, transparency=200), np.asarray(PALETTE.convert("RGB"))),
        (saved(with_alpha), PIXELS),
        (saved(with_alpha.convert("LA")), np.asarray(with_alpha.convert("L").convert("RGB"))),
        (saved(PIXELS // 2, transparency=(255, 255, 255)), PIXELS // 2),
        (saved(Image.fromarray(PIXELS).convert("CMYK"), "TIFF"), PIXELS),
        (saved(PIXELS, "WEBP", lossless=True), PIXELS),
        (saved(PIXELS, "JPEG2000"), PIXELS),
        *((saved(PIXELS, form), PIXELS) for form in ("BMP", "TIFF", "PPM")),
        (saved(PALETTE, "GIF"), np.asarray(PALETTE.convert("RGB"))),
    ],
)
def test_an_image_of_a_known_range_is_exact(content: bytes, expected: np.ndarray):
    assert np.array_equal(decoded(content), expected)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (saved(GRADIENT.astype(np.int32), "TIFF"), "range of its values is not known.*mode I"),
        (saved(GRADIENT.astype(np.float32), "TIFF"), "range of its values is not known.*mode F"),
        (saved(Image.frombytes("LAB", (64, 64), PIXELS.tobytes()), "TIFF"), "is not known.*mode LAB"),
        (saved(GRADIENT >> 4), "16-bit values use less than 16 of 256 parts"),  # as 12 bits of a camera
        (png(WIDE >> 4, 2), "16-bit values use less than 16 of 256 parts"),
        (saved(GRADIENT, transparency=int(GRADIENT[3, 3])), "it is transparent"),
        (png(WIDE, 2, struct.pack(">HHH", *WIDE[0].tolist())), "it is transparent"),
        (saved(see_through), "it is transparent"),
        (saved(see_through, "WEBP"), "it is transparent"),
        (saved(see_through.convert("LA")), "it is transparent"),
        (saved(PALETTE, transparency=USED), "it is transparent"),
        (saved(GREY, transparency=int(GREY[0, 0])), "it is transparent"),
        (
            saved(PIXELS, "GIF", save_all=True, append_images=[Image.fromarray(255 - PIXELS)]),
            "holds 2 images",
        ),
        (
            saved(PIXELS, "TIFF", save_all=True, append_images=[Image.fromarray(255 - PIXELS)]),
            "holds 2 images",
        ),
        (saved(PIXELS, "EPS"), "it is not an image"),  # Pillow would start another program for it
    ],
)
def test_an_image_that_would_lose_data_is_refused_with_the_reason(content: bytes, reason: str):
    with pytest.raises(DamagedImage, match=reason):
        decoded(content)


def jpeg_bomb(width: int, height: int) -> bytes:
    content = bytearray(saved(PIXELS, "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (jpeg_bomb(65500, 65500), "65500 x 65500"),
        (jpeg_bomb(20000, 20001), "20000 x 20001"),
        (jpeg_bomb(9460, 9459), "9460 x 9459"),
        (b"P6 9460 9459 255\n", "9460 x 9459"),
        (b"P6 60000 60000 255\n", "3600000000 pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_size_beyond_the_largest_is_refused_before_anything_is_decoded(
    content: bytes, size: str, monkeypatch: pytest.MonkeyPatch
):
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(module, "decode_jpeg", never)
    monkeypatch.setattr(module, "_rgb", never)
    with pytest.raises(DamagedImage, match=size):
        decoded(content)


def test_a_file_too_long_for_an_image_is_not_read(tmp_path: Path):
    path = tmp_path / "long.png"
    path.touch()
    os.truncate(path, module.LARGEST_FILE + 1)  # it takes no space
    with pytest.raises(DamagedImage, match=r"its file has 536,870,911 bytes"):
        read_bytes(path)


# ---- the three readers


Read = Callable[[Path], torch.Tensor]


def from_memory(root: Path) -> torch.Tensor:
    choice = Choice("imagefolder", {"folder": str(root), "size": 64, "validation": 0.5})
    return in_memory(all_splits(choice).test).pixels


def from_disk(root: Path) -> torch.Tensor:
    choice = Choice("imagenet", {"folder": str(root), "size": 64, "validation": 0.5})
    test = all_splits(choice).test
    in_memory(test)  # names what it refuses
    assert isinstance(test, StoredImages)
    whole = [test.reader.read(position) for position in test.index.tolist()]
    return torch.stack(whole).permute(0, 3, 1, 2)


def prepared(encoding: Any) -> Read:
    def read(root: Path) -> torch.Tensor:
        prepare(root, root / encoding, encoding=encoding, side=64)
        return from_disk(root / encoding)

    return read


def tree_of(root: Path, content: bytes, name: str = "0.png") -> Path:
    """Two classes with two images each in train and one in val, which has this content in the first class."""
    for part, count in (("train", 2), ("val", 1)):
        for label in ("a", "b"):
            for number in range(count):
                path = root / part / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(saved(PIXELS))
    (root / "val/a/0.png").unlink()
    (root / "val/a" / name).write_bytes(content)
    return root


READERS: dict[str, Read] = {
    "in memory": from_memory,
    "from disk": from_disk,
    "jpeg": prepared("jpeg"),
    "pixels": prepared("pixels"),
}


@pytest.mark.parametrize("name", ["0.png", "0.WEBP", "0.tiff"])  # the suffix does not matter
@pytest.mark.parametrize("read", READERS)
def test_every_reader_sees_the_same_gradient(tmp_path: Path, read: str, name: str):
    content = saved(GRADIENT, "TIFF" if name == "0.tiff" else "PNG")
    found = READERS[read](tree_of(tmp_path, content, name))
    assert np.array_equal(found[0].permute(1, 2, 0).numpy(), of_grey(GRADIENT >> 8))
    assert np.array_equal(found[1].permute(1, 2, 0).numpy(), PIXELS)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("content", "reason"),
    [(saved(see_through), "it is transparent"), (jpeg_bomb(20000, 20000), "it has 20000 x 20000 pixels")],
)
def test_every_reader_names_the_file_that_it_refuses(tmp_path: Path, read: str, content: bytes, reason: str):
    tree_of(tmp_path, content)
    with pytest.raises(DataError, match=rf"the image \S*val/a/0\.png .*cannot be used: {reason}"):
        READERS[read](tmp_path)
