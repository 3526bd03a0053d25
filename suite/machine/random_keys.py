"""Keyed random numbers: every stream is named by its purpose, so no draw depends on earlier ones."""

import hashlib
import json

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


def seed_draws(device: torch.device, *parts: object) -> None:
    """Set the device's global stream to the start of the one that these parts name."""
    # torch.manual_seed looks at every kind of device there is, which takes longer than a small layer.
    of_device = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed
    of_device(random_key(*parts))
