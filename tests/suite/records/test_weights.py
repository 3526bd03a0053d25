"""The file of a kept network: bits and sizes by hand, and what is no whole file of flipbench is refused."""

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from suite.machine.errors import UserError
from suite.records.files import DamagedRecord, sealed
from suite.records.schema import Scores
from suite.records.weights import (
    KEY,
    VERSION,
    KeptHeader,
    KeptLayer,
    KeptNetwork,
    find_kept,
    kept_content,
    pack_layer,
    read_kept,
)
from tests.support.fake_records import planned_cell

FILE = Path("somewhere/weights.safetensors")
SIGNS = np.array([[1, -1, 1], [-1, -1, 1]], np.float32)  # the bits 101 001, and two more to fill the byte
SCALED = np.array([[[0.5], [-0.5]], [[-2], [-2]]], np.float32)


@pytest.fixture(scope="module")
def header() -> KeptHeader:
    trial = planned_cell("digits", "mlp", "bop").trial
    return KeptHeader(
        run=trial.run_id,
        trial=trial,
        shape=[1, 1, 3],
        classes=2,
        normalisation="x / 127.5 - 1",
        layers=[],
        scores=Scores(val_loss=1.0, val_top1=0.5, val_top5=1.0, test_loss=1.0, test_top1=0.5, test_top5=1.0),
        device="cpu",
        threads=1,
    )


@pytest.fixture(scope="module")
def content(header: KeptHeader) -> bytes:
    """Two binary layers, one of floats, and a batch norm."""
    layers, tensors = [], {}
    for name, weight, binary in (("a", SIGNS, True), ("b.c", SCALED, True), ("d", SIGNS / 3, False)):
        layer, packed = pack_layer(name, weight, binary=binary)
        layers.append(layer)
        tensors |= packed
    tensors |= {"norm.running_mean": np.array([0.25, 4], np.float32), "norm.num_batches_tracked": np.array(7)}
    return kept_content(dataclasses.replace(header, layers=layers), tensors)


def test_a_weight_takes_one_bit(content: bytes, header: KeptHeader) -> None:
    kept = read_kept(content, FILE)
    assert {name: tensor.tolist() for name, tensor in kept.tensors.items()} == {
        "a.weight.signs": [0b10100100],
        "b.c.weight.signs": [0b10000000],
        "b.c.weight.scales": [0.5, 2.0],
        "d.weight": (SIGNS / 3).tolist(),
        "norm.running_mean": [0.25, 4.0],
        "norm.num_batches_tracked": 7,
    }
    a, bc, d = kept.header.layers
    assert (a, bc, d) == (
        KeptLayer(name="a", shape=[2, 3], bits=1),
        KeptLayer(name="b.c", shape=[2, 2, 1], bits=1, scaled=True),
        KeptLayer(name="d", shape=[2, 3], bits=32),
    )
    for layer, weight in ((a, SIGNS), (bc, SCALED), (d, SIGNS / 3)):
        again = kept.weight(layer)
        assert again.dtype == np.float32 and np.array_equal(again, weight)
    assert list(kept.rest) == ["norm.num_batches_tracked", "norm.running_mean"]
    assert dataclasses.replace(kept.header, tensors="") == dataclasses.replace(header, layers=[a, bc, d])


def test_its_size_is_that_of_all_tensors_next_to_floats(content: bytes) -> None:
    kept = read_kept(content, FILE)
    a, bc, d = kept.header.layers
    assert [kept.layer_bytes(each) for each in (a, bc, d)] == [1, 1 + 2 * 4, 6 * 4]
    assert kept.bytes == 1 + 9 + 24 + 2 * 4 + 8
    assert kept.float_bytes == (6 + 4 + 6) * 4 + 2 * 4 + 8  # a float takes in its scale


def test_any_program_can_read_its_tensors(content: bytes) -> None:
    assert load(content)["a.weight.signs"].tolist() == [0b10100100]


def test_the_same_network_gives_the_same_bytes(content: bytes) -> None:
    kept = read_kept(content, FILE)
    backwards = dict(reversed(list(kept.tensors.items())))
    assert kept_content(dataclasses.replace(kept.header, tensors=""), backwards) == content


def test_a_truncated_file_is_named(content: bytes) -> None:
    for length in (*range(0, len(content), 97), len(content) - 1):
        with pytest.raises(DamagedRecord, match=f"{FILE} is damaged: it is no whole safetensors file"):
            read_kept(content[:length], FILE)
    with pytest.raises(DamagedRecord, match="it is no whole safetensors file"):
        read_kept(content + b"!", FILE)


def test_no_byte_can_be_edited(content: bytes) -> None:
    for place in range(len(content)):
        edited = bytearray(content)
        edited[place] ^= 1
        if edited[place : place + 1].isspace() or content[place : place + 1].isspace():
            continue  # around JSON
        with pytest.raises(DamagedRecord, match=f"{FILE} is damaged"):
            read_kept(bytes(edited), FILE)


class Shout:
    def __reduce__(self):
        return print, ("executed",)


def with_header(header: object) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("foreign", "problem"),
    [
        (b"", "it is no whole safetensors file"),
        (pickle.dumps(Shout()), "it is no whole safetensors file"),
        (with_header([]), "it is no whole safetensors file"),
        (with_header({}), "flipbench did not write it: its metadata has no key 'flipbench'"),
        (save({"weight": SIGNS}, {"format": "pt"}), "flipbench did not write it"),
        (save({"weight": SIGNS}, {KEY: "{}"}), "it has no checksum"),
        (save({"weight": SIGNS}, {KEY: sealed({"weights": VERSION}).decode()}), "run: field required"),
    ],
    ids=range(7),
)
def test_a_foreign_file_is_named_and_not_executed(
    capsys: pytest.CaptureFixture, foreign: bytes, problem: str
) -> None:
    with pytest.raises(DamagedRecord, match=f"{FILE} is damaged: {problem}"):
        read_kept(foreign, FILE)
    assert capsys.readouterr().out == ""


def test_the_tensors_must_fit_the_layers_and_be_of_known_types(content: bytes) -> None:
    kept = read_kept(content, FILE)

    def changed(**tensors: np.ndarray) -> bytes:
        return kept_content(kept.header, {**kept.tensors, **tensors})

    signs, problem = {"a.weight.signs": np.zeros(2, np.uint8)}, "'a.weight.signs' is not the U8 tensor"
    for content, text in (
        (changed(**signs), f"{problem} of shape \\[1\\] of its layer"),
        (changed(**{"b.c.weight.scales": np.ones((2, 1), np.float32)}), "'b.c.weight.scales' is not the F32"),
        (kept_content(kept.header, {}), problem),
        (save({"x": np.zeros(1, np.uint16)}, {KEY: sealed_header(kept)}), "'x' is of type U16"),
    ):
        with pytest.raises(DamagedRecord, match=text):
            read_kept(content, FILE)


def sealed_header(kept: KeptNetwork, **changes: object) -> str:
    from suite.records.codec import encode

    return sealed({**encode(kept.header), **changes}).decode()


def test_a_file_of_a_newer_flipbench_is_said_to_be_one(content: bytes) -> None:
    newer = save({}, {KEY: sealed_header(read_kept(content, FILE), weights=VERSION + 1, more=1)})
    with pytest.raises(UserError, match=f"{FILE}: from a newer flipbench .weights 2.; this one reads 1"):
        read_kept(newer, FILE)


def test_a_file_is_found_alone(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "taken-home.safetensors"
    file.write_bytes(content)
    assert find_kept(file) == (file, content)
