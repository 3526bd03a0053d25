"""The network that a final run keeps, as a file: weights.safetensors. docs/records.md describes it.

Binary weights are packed to one bit, all other numbers stay as they are. The file carries what is needed to
build the network again, and a hash of its tensors: it can leave its run's folder. It is data: to read it
executes nothing. No torch here.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, StrictInt, StrictStr
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from suite.machine.errors import UserError, shown
from suite.records.codec import decode, encode, record
from suite.records.files import DamagedRecord, digest, read_bytes, sealed, unsealed
from suite.records.run import WEIGHTS, RunFolder
from suite.records.schema import RunName, Scores
from suite.records.trial import Trial

KEY = "flipbench"  # in the metadata of the file
XZ = b"\xfd7zXZ\x00"  # how a file of that format begins
VERSION = 1  # of the file: raise it when it is read in another way
DTYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
SIGNS, SCALES = ".weight.signs", ".weight.scales"  # after the name of a layer
Size = Annotated[StrictInt, Field(ge=1, lt=2**31)]


@record
class KeptLayer:
    """A layer with a binary weight, whose first axis are its outputs. bits: 32 where it is not binarized.

    scaled: whether the signs of each output are times a positive number.
    """

    name: StrictStr
    shape: Annotated[list[Size], Field(min_length=2)]
    bits: Literal[1, 32]
    scaled: bool = False

    @property
    def weights(self) -> int:
        return math.prod(self.shape)


@record
class KeptHeader:
    """What is needed to build the network again, and what it scored.

    normalisation: from a pixel x of 0 to 255 to what the network reads. device, threads: on which its scores
    have these bits. tensors: a digest of all tensors.
    """

    weights: StrictInt = VERSION
    run: RunName
    trial: Trial
    shape: Annotated[list[Size], Field(min_length=3, max_length=3)]
    classes: Size
    normalisation: StrictStr
    layers: list[KeptLayer]
    scores: Scores
    device: StrictStr
    threads: Size
    tensors: StrictStr = ""

    @property
    def test_scores(self) -> dict[str, float]:
        """Those of the test images, by name."""
        return {name: value for name, value in encode(self.scores).items() if name.startswith("test")}


@dataclass(frozen=True)
class KeptNetwork:
    """A kept network: its header, and its tensors by name as they are in the file."""

    header: KeptHeader
    tensors: Mapping[str, np.ndarray]

    @property
    def bytes(self) -> int:
        """Of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def float_bytes(self) -> int:
        """Of the same network with a float32 for each binary weight, which takes in the scale."""
        packed = sum(self.layer_bytes(layer) for layer in self.header.layers)
        return self.bytes - packed + 4 * sum(layer.weights for layer in self.header.layers)

    def layer_bytes(self, layer: KeptLayer) -> int:
        """Of the weight of a layer."""
        return sum(self.tensors[name].nbytes for name in _names(layer))

    def weight(self, layer: KeptLayer) -> np.ndarray:
        """The weight of a layer as the forward pass uses it, float32, of the layer's shape."""
        if layer.bits == 32:
            return self.tensors[f"{layer.name}.weight"]
        bits = np.unpackbits(self.tensors[layer.name + SIGNS], count=layer.weights)
        signs = np.where(bits, np.float32(1), np.float32(-1)).reshape(layer.shape)
        if not layer.scaled:
            return signs
        return signs * self.tensors[layer.name + SCALES].reshape(-1, *[1] * (len(layer.shape) - 1))

    @property
    def rest(self) -> dict[str, np.ndarray]:
        """All tensors that are no weight of a binary layer."""
        weights = {name for layer in self.header.layers for name in _names(layer)}
        return {name: tensor for name, tensor in self.tensors.items() if name not in weights}


def pack_layer(name: str, weight: np.ndarray, *, binary: bool) -> tuple[KeptLayer, dict[str, np.ndarray]]:
    """A layer and its tensors, from its weight as the forward pass uses it, float32 (outputs, ...).

    binary: whether it holds -1 and +1, times at most one positive scale for each output.
    """
    shape = list(weight.shape)
    if not binary:
        return KeptLayer(name=name, shape=shape, bits=32), {f"{name}.weight": weight}
    tensors = {name + SIGNS: np.packbits(weight > 0)}
    scales = np.abs(weight.reshape(shape[0], -1)[:, 0])
    if scaled := bool((scales != 1).any()):
        tensors[name + SCALES] = scales
    return KeptLayer(name=name, shape=shape, bits=1, scaled=scaled), tensors


def kept_content(header: KeptHeader, tensors: Mapping[str, np.ndarray]) -> bytes:
    """The content of the file."""
    ready = {name: np.ascontiguousarray(tensor).reshape(tensor.shape) for name, tensor in tensors.items()}
    names = {dtype: name for name, dtype in DTYPES.items()}
    index = {name: _fingerprint(names[tensor.dtype], tensor) for name, tensor in ready.items()}
    whole = {**encode(header), "tensors": digest(index)}
    return save(ready, {KEY: sealed(whole).decode()})


def read_kept(content: bytes, path: Path) -> KeptNetwork:
    """A kept network from the content of its file.

    DamagedRecord names the file and what is wrong with it; UserError for one of a newer flipbench.
    """
    if content.startswith(XZ):
        raise UserError(
            f"{path}: it is an archive of records, which holds no networks: `flipbench train` with --final "
            "and --keep-weights makes one"
        )
    try:
        found = sorted(deserialize(content), key=lambda each: each[0])  # it has no order
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__")
    except SafetensorError as error:
        raise DamagedRecord(path, f"it is no whole safetensors file: {error}") from None
    if not isinstance(metadata, dict) or KEY not in metadata:
        raise DamagedRecord(path, f"flipbench did not write it: its metadata has no key {KEY!r}")
    value = unsealed(metadata[KEY].encode(), path)
    if type(version := value.get("weights")) is int and version > VERSION:
        raise UserError(
            f"{path}: from a newer flipbench (weights {shown(version)}); this one reads {VERSION}"
        )
    header = decode(KeptHeader, value, path)
    tensors, index = {}, {}
    for name, each in found:
        if each["dtype"] not in DTYPES:
            raise DamagedRecord(path, f"{shown(name)} is of type {each['dtype']}, which is not used here")
        tensors[name] = np.frombuffer(each["data"], DTYPES[each["dtype"]]).reshape(each["shape"])
        index[name] = _fingerprint(each["dtype"], tensors[name])
    if digest(index) != header.tensors:
        raise DamagedRecord(path, "its tensors do not match the checksum in its metadata")
    for layer in header.layers:
        _check_layer(layer, tensors, path)
    return KeptNetwork(header, tensors)


def find_kept(path: Path) -> tuple[Path, bytes]:
    """The file of a kept network, from its own path or its run's folder, and its content.

    In the folder of a finished run it must match result.json. UserError if it is not there.
    """
    if not path.is_dir():
        try:
            return path, read_bytes(path)
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: name a run's folder, or its {WEIGHTS}") from None
    run = RunFolder(path)
    result = run.result()
    if result is not None and run.holds_weights(result):
        return path / WEIGHTS, run.content(WEIGHTS, result)
    if result is None:
        why = "it is the folder of no finished run"
    elif WEIGHTS in result.files:
        why = "the run kept its network, but the file is not here: an archive holds none"
    else:
        why = NOT_KEPT
    raise UserError(f"{path} holds no {WEIGHTS}: {why}")


NOT_KEPT = (
    "only final runs keep their network, with train.keep_weights or --keep-weights, unless they diverge"
)


def _names(layer: KeptLayer) -> list[str]:
    if layer.bits == 32:
        return [f"{layer.name}.weight"]
    return [layer.name + SIGNS, *([layer.name + SCALES] if layer.scaled else [])]


def _check_layer(layer: KeptLayer, tensors: Mapping[str, np.ndarray], path: Path) -> None:
    packed = [("U8", [-(-layer.weights // 8)]), ("F32", layer.shape[:1])]
    expected = packed if layer.bits == 1 else [("F32", layer.shape)]
    for name, (dtype, shape) in zip(_names(layer), expected, strict=False):
        tensor = tensors.get(name)
        if tensor is None or tensor.dtype != DTYPES[dtype] or list(tensor.shape) != shape:
            raise DamagedRecord(
                path, f"{shown(name)} is not the {dtype} tensor of shape {shape} of its layer"
            )


def _fingerprint(dtype: str, tensor: np.ndarray) -> list[object]:
    return [dtype, list(tensor.shape), hashlib.sha256(tensor.tobytes()).hexdigest()]
