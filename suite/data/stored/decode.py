"""The bytes of one image file as pixels, exactly as Pillow decodes them, and faster where possible.

Every reader of image files uses `decode`: it alone decides which files are images, and how their values
become red, green and blue of 8 bits. A value whose range is not known is refused, never guessed.
"""

import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from simplejpeg import decode_jpeg, decode_jpeg_header
from torch import Tensor

from suite.data.errors import DataError

JPEG = b"\xff\xd8"  # the first two bytes
LARGEST = 89_478_485  # pixels of an image, about 9,459 x 9,459: Pillow warns of more. They take 268 MB
LARGEST_FILE = 6 * LARGEST  # bytes: that many pixels of three colours with 16 bits each
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
# Pillow's modes of 8 bits a colour or fewer.
EXACT = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LA", "PA", "RGBA", "RGBa")
WIDE = re.compile(r"\b(I|LA?|RGB[AX]?|CMYK);1[26]")  # what Pillow calls values of 16 and of 12 bits in a file
DARK = 16  # of 256: 16-bit values that all lie below are most likely of fewer bits, such as a camera's 12


class DamagedImage(ValueError):
    """The bytes are not one complete image with an exact form in 8-bit RGB; the message is the reason."""


def read_bytes(path: bytes | Path) -> Tensor:
    """A file's bytes, uint8 (n,); DamagedImage if they are too many to be an image.

    DataError if the system cannot read them: the image may be undamaged.
    """
    try:
        if (size := os.stat(path).st_size) > LARGEST_FILE:
            raise DamagedImage(f"its file has {size:,} bytes, more than the {LARGEST_FILE:,} that are read")
        return torch.from_numpy(np.fromfile(os.fsdecode(path), dtype=np.uint8))
    except OSError as error:
        raise DataError(f"cannot read the image {os.fsdecode(path)}: {error.strerror}") from error


def decode(content: Tensor) -> Tensor:
    """Pixels uint8 (H, W, 3), red, green and blue, of an image file's bytes, uint8 (n,).

    JPEG of any kind (grey and CMYK too) or another of FORMATS, under any file name: ImageNet has some of
    these. The camera's orientation tag is ignored, as in the Bop authors' code. No decoder notices damage
    inside a JPEG that leaves it decodable: the format has no checksum.

    DamagedImage for a file that is cut short, is not an image, has no exact form in RGB, or has more pixels
    than LARGEST; its header says how many, so nothing is decoded.
    """
    data = content.numpy()
    if data[:2].tobytes() == JPEG:
        try:
            height, width, *_ = decode_jpeg_header(data)
            _refuse_large(int(width), int(height))
            return torch.from_numpy(decode_jpeg(data, "RGB"))
        except DamagedImage:
            raise
        except ValueError:
            pass  # Pillow may decode it, or has a shorter message
    return _decode_with_pillow(data.tobytes())


def _refuse_large(width: int, height: int) -> None:
    if width * height > LARGEST:
        raise DamagedImage(f"it has {width} x {height} pixels, more than the {LARGEST:,} that are read")


def _decode_with_pillow(content: bytes) -> Tensor:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _refuse_large(image.width, image.height)
            return torch.from_numpy(_rgb(image))
    except DamagedImage:
        raise
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        raise DamagedImage(_without_address(error)) from error


def _without_address(error: Exception) -> str:
    """Pillow's message holds the address of the buffer, which means nothing and differs every time."""
    return "it is not an image" if "cannot identify" in str(error) else str(error)


# ---- to 8-bit RGB, without a loss that nobody has asked for


def _rgb(image: Any) -> np.ndarray:
    """An opened image as uint8 (H, W, 3); DamagedImage if that needs a guess."""
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:  # MPO: views of one scene
        raise DamagedImage(f"it holds {frames} images, and a file must hold one")
    wide = any(WIDE.search(str(tile.args)) for tile in image.tile)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        wide, pixels = True, _high_bytes(image)
    elif image.mode not in EXACT:
        raise DamagedImage(
            f"the range of its values is not known (Pillow's mode {image.mode}); save it with 8 bits a colour"
        )
    else:
        opaque = _opaque(image)
        pixels = np.array(opaque if opaque.mode == "RGB" else opaque.convert("RGB"))  # convert always copies
    if wide and pixels.max() < DARK:
        raise DamagedImage(
            f"its 16-bit values use less than {DARK} of 256 parts of their range; scale them to all of it, "
            "or save it with 8 bits a colour"
        )
    return pixels


def _high_bytes(image: Any) -> np.ndarray:
    """16-bit grey as uint8 (H, W, 3): its more significant bytes, as Pillow reads 16-bit RGB."""
    values = np.array(image)
    if (image.info.get("transparency") == values).any():
        raise _transparent()
    if image.format == "TIFF" and image.tag_v2.get(WHITE_IS_ZERO[0]) == WHITE_IS_ZERO[1]:
        values = 65535 - values  # Pillow does that for 8 bits only
    return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)


WHITE_IS_ZERO = (262, 0)  # a TIFF's tag PhotometricInterpretation, and its value


def _opaque(image: Any) -> Any:
    """The image without its transparency, which must not hide anything: no background is known."""
    if not image.has_transparency_data:
        return image
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # of 16 bits, of which the image has lost 8
        raise _transparent()
    shown = image.convert("RGBA")
    if shown.getchannel("A").getextrema()[0] < 255:
        raise _transparent()
    return shown


def _transparent() -> DamagedImage:
    return DamagedImage("it is transparent, and its background is not known; save it without transparency")
