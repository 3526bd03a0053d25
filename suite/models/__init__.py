"""The architectures: one file each, `MODELS` by name."""

from suite.models.binarynet import binarynet
from suite.models.convnet import convnet
from suite.models.mlp import mlp
from suite.models.model import Model

MODELS: dict[str, Model] = {entry.name: entry for entry in (mlp, convnet, binarynet)}
