"""The bytes of one image file as pixels, exactly as Pillow decodes them, and faster where possible."""

import io
import os
from pathlib import Path

import numpy as np
import torch
from simplejpeg import decode_jpeg
from torch import Tensor

from suite.data.errors import DataError

JPEG = b"\xff\xd8"  # the first two bytes


class DamagedImage(ValueError):
    """The bytes are not a complete image; the message is the decoder's."""


def read_bytes(path: bytes | Path) -> Tensor:
    """A file's bytes, uint8 (n,); DataError if the system cannot read it: the image may be undamaged."""
    try:
        return torch.from_numpy(np.fromfile(os.fsdecode(path), dtype=np.uint8))
    except OSError as error:
        raise DataError(f"cannot read the image {os.fsdecode(path)}: {error.strerror}") from error


def decode(content: Tensor) -> Tensor:
    """Pixels uint8 (H, W, 3), red, green and blue, of an image file's bytes, uint8 (n,).

    JPEG of any kind (grey and CMYK too) or any other format that Pillow knows, under any file name: ImageNet
    has some of these. The camera's orientation tag is ignored, as in the Bop authors' code. DamagedImage for
    a file that is cut short or is not an image. No decoder notices damage inside a JPEG that leaves it
    decodable: the format has no checksum.
    """
    data = content.numpy()
    if data[:2].tobytes() == JPEG:
        try:
            return torch.from_numpy(decode_jpeg(data, "RGB"))
        except ValueError:
            pass  # Pillow may decode it, or has a shorter message
    return _decode_with_pillow(data.tobytes())


def _decode_with_pillow(content: bytes) -> Tensor:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return torch.from_numpy(np.array(image.convert("RGB")))
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        raise DamagedImage(_without_address(error)) from error


def _without_address(error: Exception) -> str:
    """Pillow's message holds the address of the buffer, which means nothing and differs every time."""
    return "it is not an image" if "cannot identify" in str(error) else str(error)
