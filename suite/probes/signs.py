"""Hashes of the binary trajectory: two runs with the same ones had the same binary weights."""

import hashlib

import numpy as np

from suite.models.blocks.layers import binary_layers
from suite.probes.probe import Found, Trained, probe


@probe(images=lambda sizes: 0, numbers=())
def signs(trained: Trained) -> Found:
    """Hashes of the final binary weights and of the flips of each step: are two trajectories identical?

    weights: the sha256 of all binary weights; weights.<layer>: of one layer's. One bit for each, 1 for +1, in
    the order of the layer's shape, outputs first, each layer packed by numpy.packbits, layer after layer.
    flips: the sha256 of the flips of each step and layer, little-endian int32 (steps, layers).
    """
    together, found = hashlib.sha256(), Found()
    for name, layer in binary_layers(trained.network()):
        packed = np.packbits(layer.binary_weight().cpu().numpy() > 0).tobytes()
        together.update(packed)
        found[f"weights.{name}"] = hashlib.sha256(packed).hexdigest()
    flips = trained.flips.numpy().astype("<i4").tobytes()
    return {"weights": together.hexdigest(), **found, "flips": hashlib.sha256(flips).hexdigest()}
