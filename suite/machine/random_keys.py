"""Keyed random numbers: every stream is named by its purpose, so no draw depends on earlier ones."""

import functools
import hashlib
import json
from collections.abc import Callable

import torch


def random_key(*parts: object) -> int:
    """A number of 63 bits that depends on all parts and on nothing else.

    Parts are strings, Python numbers, booleans, None, or lists of these; 1 and "1" differ. TypeError for the
    rest (a NumPy integer prints unlike the Python one it equals, so it would silently be another key).
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A fresh CPU generator for the stream that these parts name."""
    return torch.Generator().manual_seed(random_key(*parts))


@functools.lru_cache(typed=True)  # 1, 1.0 and True are other parts
def numbered_keys(first: object, *parts: object) -> Callable[[int], int]:
    """random_key(first, *parts, number) as a function of the number: the hash begins once for all numbers."""
    beginning = hashlib.sha256(f"{json.dumps((first, *parts))[:-1]}, ".encode())

    def key(number: int) -> int:
        whole = beginning.copy()
        whole.update(b"%d]" % number)
        return int.from_bytes(whole.digest()[:8], "big") >> 1

    return key


def seed_draws(device: torch.device, key: int) -> None:
    """Set the device's global stream to the start of the one that this key names."""
    # torch.manual_seed looks at every kind of device there is, which takes longer than a small layer.
    of_device = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed
    of_device(key)
