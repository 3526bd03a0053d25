"""A kept network predicts as the one that was trained did: every method, every model, to the last bit."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optimizers import METHODS
from optimizers.core.latent.transforms import TRANSFORMS
from suite.checks.contract.practice import CLASSES
from suite.data import NORMALISATIONS, Images, StoredImages, load_splits, load_test
from suite.data.memory import scale
from suite.data.stored.crops import DEVIATION, MEAN, normalise
from suite.deploy import Deployed, load, network_content
from suite.experiment.build import build_network
from suite.machine.errors import UserError
from suite.machine.precision import autocast
from suite.models import MODELS
from suite.models.blocks.layers import binary_layers
from suite.models.blocks.norms import NORMS
from suite.records.files import DamagedRecord
from suite.records.run import WEIGHTS, RunFolder
from suite.records.schema import Scores
from suite.records.trial import Choice, Trial
from suite.records.weights import kept_content
from suite.training import loop
from suite.training.loop import train
from tests.support.paths import ROOT
from tests.support.tiny import CPU, in_memory, tiny_trial
from tests.support.training import SMALL, Training

DIGITS = Choice("digits", {})


def digits(shape: tuple[int, ...]) -> Tensor:
    """Real test images, uint8 (N, *shape), enlarged to the shape."""
    pixels = in_memory(load_test(DIGITS)).pixels[:40].float()
    return F.interpolate(pixels, shape[1:]).expand(-1, shape[0], -1, -1).to(torch.uint8)


# ---- every method, from the trial to the file


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The logits of each network that a run keeps on the test images, as its evaluation computes them."""
    logits: list[Tensor] = []

    def keeps(model: nn.Module, trial: Trial, *rest: Any) -> bytes:
        ((x, _),) = load_test(DIGITS).eval_batches(CPU, set())
        with torch.no_grad(), autocast(CPU, trial.train.precision):
            logits.append(model(x).float())
        return network_content(model, trial, *rest)

    monkeypatch.setattr(loop, "network_content", keeps)
    return logits


LATENT = [
    *(f"transform: {name}" for name in TRANSFORMS),
    "binarize: stochastic",
    "binarize: ede, real_until: 0.9",
]
CONVNET = "tasks.0.model={name: convnet, channels: 4, dense: 16}"


@pytest.mark.parametrize(
    ("method", "options"), [*((name, "") for name in METHODS), *(("latent-adam", each) for each in LATENT)]
)
def test_a_network_of_every_method(tmp_path: Path, trained: list[Tensor], method: str, options: str) -> None:
    changes = (f"methods=[{{name: {method}, {options}}}]", "train.epochs=1", *([CONVNET] if options else []))
    trial = tiny_trial(tmp_path, method, "final", 7, *changes)
    run = RunFolder(tmp_path / trial.run_id)
    train(trial, run, CPU, keep_weights=True)
    network = load(run.path)
    logits = network(in_memory(load_test(DIGITS)).pixels)
    assert torch.equal(logits, trained[0]) and logits.isfinite().all()

    layers = network.kept.header.layers
    scaled = any(name in options for name in ("xnor", "magnitude"))
    assert {(layer.bits, layer.scaled) for layer in layers} == {(32 if method == "real" else 1, scaled)}
    for (name, layer), kept in zip(binary_layers(network.network), layers, strict=True):
        assert kept.name == name and list(layer.weight.shape) == kept.shape
        assert method == "real" or torch.equal(layer.weight.sign(), layer.binary_weight())


def test_a_network_in_bfloat16(tmp_path: Path, trained: list[Tensor]) -> None:
    trial = tiny_trial(tmp_path, "bop", "final", 7, "train.precision=bfloat16", CONVNET)
    run = RunFolder(tmp_path / trial.run_id)
    train(trial, run, CPU, keep_weights=True)
    logits = load(run.path)(in_memory(load_test(DIGITS)).pixels)
    assert logits.dtype == torch.float32 and torch.equal(logits, trained[0])


# ---- every model


def kept_of(training: Training, model: str, options: dict[str, Any], folder: Path) -> Path:
    """The file of a network after some steps, as its run would write it."""
    splits = load_splits(DIGITS)
    record = dataclasses.replace(splits.record, shape=list(SMALL[model][0]))
    data = dataclasses.replace(splits, classes=CLASSES, record=record)
    trial = dataclasses.replace(tiny_trial(folder, "bop", "final"), model=Choice(model, options))
    environment: Any = SimpleNamespace(device="cpu", threads=1)
    scores = Scores(val_loss=1.0, val_top1=0.5, val_top5=0.5, test_loss=1.0, test_top1=0.5, test_top5=0.5)
    file = folder / "taken-home.safetensors"
    file.write_bytes(network_content(training.model.eval(), trial, data, scores, environment))
    return file


CASES = [
    *((model, {}, None) for model in MODELS),
    *(("vgg-small", {"norm": norm}, "xnor") for norm in NORMS),
    *(("mlp", {"activation": activation}, None) for activation in ("dsq", "stochastic", "ede", "identity")),
]


@pytest.mark.parametrize(("model", "more", "transform"), CASES)
def test_a_network_of_every_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, more: dict[str, Any], transform: str | None
) -> None:
    shape, options = SMALL[model]
    monkeypatch.setitem(SMALL, model, (shape, {**options, **more}))
    training = Training(METHODS["latent-adam"](transform=transform), model)
    training.step()
    file = kept_of(training, model, {**options, **more}, tmp_path)
    images = digits(shape)
    with torch.no_grad():
        expected = training.model(scale(images.contiguous(memory_format=torch.channels_last)))
    assert torch.equal(load(file)(images), expected)


# ---- what it is to a user


@pytest.fixture
def network(tmp_path: Path) -> Deployed:
    trial = tiny_trial(tmp_path, "bop", "final")
    train(trial, RunFolder(tmp_path / trial.run_id), CPU, keep_weights=True)
    return load(str(tmp_path / trial.run_id / WEIGHTS))


def test_it_takes_images_and_nothing_else(network: Deployed) -> None:
    images = in_memory(load_test(DIGITS)).pixels
    assert network(images).shape == (len(images), 10) and not network(images).requires_grad
    for wrong in (scale(images), images[:, :, :4], images[0]):
        with pytest.raises(ValueError, match=r"takes uint8 images of shape \(N, 1, 8, 8\), not"):
            network(wrong)


def test_the_three_lines_of_the_docs(tmp_path: Path, network: Deployed) -> None:
    page = (ROOT / "docs" / "records.md").read_text()
    (lines,) = re.findall(r"```python\n(from suite.deploy .*?)```", page, re.S)
    run, images = tmp_path / network.kept.header.run, in_memory(load_test(DIGITS)).pixels
    names: dict[str, Any] = {"images": images}
    exec(re.sub(r'load\(".*"\)', f"load({str(run)!r})", lines), names)
    assert torch.equal(names["logits"], network(images))


def test_images_are_normalised_as_their_set_does_it() -> None:
    pixels = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    stored = NORMALISATIONS[StoredImages.normalisation](pixels)
    assert torch.equal(stored, normalise(pixels.permute(0, 2, 3, 1)))
    assert torch.equal(NORMALISATIONS[Images.normalisation](pixels), scale(pixels))
    mean, deviation = (", ".join(f"{each:g}" for each in values) for values in (MEAN, DEVIATION))
    assert list(NORMALISATIONS) == ["x / 127.5 - 1", f"(x - [{mean}]) / [{deviation}]"]


def test_what_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Deployed
) -> None:
    """A run that kept nothing, no run at all, and files that are intact and yet of no use here."""
    trial = tiny_trial(tmp_path, "bop", "final", 8)
    train(trial, RunFolder(tmp_path / trial.run_id), CPU)
    with pytest.raises(UserError, match=f"{trial.run_id} holds no {WEIGHTS}: .* with train.keep_weights"):
        load(tmp_path / trial.run_id)
    with pytest.raises(UserError, match=f"{tmp_path} holds no {WEIGHTS}: it is the folder of no finished"):
        load(tmp_path)
    with pytest.raises(UserError, match="nowhere does not exist: name a run's folder"):
        load(tmp_path / "nowhere")

    def written(**changes: Any) -> Path:
        header, file = network.kept.header, tmp_path / "other"
        file.write_bytes(kept_content(dataclasses.replace(header, **changes), network.kept.tensors))
        return file

    def model(name: str, **options: Any) -> dict[str, Any]:
        return {"trial": dataclasses.replace(network.kept.header.trial, model=Choice(name, options))}

    assert load(written()).kept.header == network.kept.header
    with pytest.raises(UserError, match=r"other: there is no model 'mpl' here; .*; did you mean 'mlp'"):
        load(written(**model("mpl")))
    with pytest.raises(UserError, match="other: its images are normalised"):
        load(written(normalisation="x / 255"))
    for changes in (model("mlp", hidden=[15]), model("mlp", depth=3), model("convnet"), {"classes": 9}):
        with pytest.raises(DamagedRecord, match="other is damaged: its network cannot be built here"):
            load(written(**changes))
    monkeypatch.setattr("suite.deploy.build_network", with_lost_buffer)
    with pytest.raises(DamagedRecord, match="a buffer that is not persistent"):
        load(written())


def with_lost_buffer(*arguments: Any) -> nn.Module:
    network = build_network(*arguments)
    network.register_buffer("lost", torch.zeros(1), persistent=False)
    return network
