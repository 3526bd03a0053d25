"""The bytes of one image file as pixels, exactly as Pillow gives them, and faster where that is possible."""

import io
import os
from pathlib import Path

import numpy as np
import torch
from simplejpeg import decode_jpeg
from torch import Tensor

from suite.data.source import DataError

JPEG = b"\xff\xd8"  # the first two bytes


class DamagedImage(ValueError):
    """The bytes are no whole image; the message says what is wrong with them."""


def read_bytes(path: bytes | Path) -> Tensor:
    """A file's bytes, uint8 (n,); DataError if the system cannot read it, which is no damage of the image."""
    try:
        return torch.from_numpy(np.fromfile(os.fsdecode(path), dtype=np.uint8))
    except OSError as error:
        raise DataError(f"cannot read the image {os.fsdecode(path)}: {error.strerror}") from error


def decode(content: Tensor) -> Tensor:
    """Pixels uint8 (H, W, 3), red, green and blue, of an image file's bytes, uint8 (n,).

    JPEG of any kind (grey and CMYK too) or whatever else Pillow knows, whatever the file is called: among
    ImageNet's files are some of these. A note of the camera's orientation is ignored, as in the Bop authors'
    code. DamagedImage for a file that is cut short or is no image. Damage inside a JPEG that leaves it
    decodable is not noticed, by no decoder: it has no checksum.
    """
    data = content.numpy()
    if data[:2].tobytes() == JPEG:
        try:
            return torch.from_numpy(decode_jpeg(data, "RGB"))
        except ValueError:
            pass  # Pillow may do better, or says what is wrong in fewer words
    return _decode_with_pillow(data.tobytes())


def _decode_with_pillow(content: bytes) -> Tensor:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return torch.from_numpy(np.array(image.convert("RGB")))
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        raise DamagedImage(_without_address(error)) from error


def _without_address(error: Exception) -> str:
    """Pillow names the buffer it was given by its address, which says nothing and differs every time."""
    return "it is no image" if "cannot identify" in str(error) else str(error)
