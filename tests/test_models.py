"""The architectures: BinaryNet as published, and what holds for all of them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optimizers import METHODS
from optimizers.core import PSEUDO_GRADIENTS
from suite.models import MODELS
from suite.models.layers import BinaryConv2d, BinaryLinear, Sign, batch_norm, binary_layers
from suite.models.model import Shape
from tests.conftest import SMALL, Training

LATENT = METHODS["latent-sgd"]()
every_model = pytest.mark.parametrize("model", MODELS)


def small(model: str, method: str = "latent-sgd", seed: int = 1, **options: Any) -> nn.Module:
    shape, small_options = SMALL[model]
    return MODELS[model](shape, 10, METHODS[method](), seed, **{**small_options, **options})


def stored(network: nn.Module) -> Tensor:
    return torch.cat([layer.weight.detach().flatten() for _, layer in binary_layers(network)])


@pytest.fixture(scope="module")
def full_binarynet() -> nn.Module:
    """BinaryNet for CIFAR-10 at full width, without memory."""
    with torch.device("meta"):
        return MODELS["binarynet"]((3, 32, 32), 10, LATENT, 1)


def test_binarynet_has_the_layers_of_the_paper(full_binarynet: nn.Module) -> None:
    weights = [layer.weight.numel() for _, layer in binary_layers(full_binarynet)]
    convolutions = [3_456, 147_456, 294_912, 589_824, 1_179_648, 2_359_296]
    assert weights == [*convolutions, 4_718_592, 1_048_576, 10_240]
    assert sum(weights) == 10_352_000
    trainable = sum(p.numel() for p in full_binarynet.parameters() if p.requires_grad)
    assert trainable - sum(weights) == 3_850


def test_binarynet_has_the_feature_maps_of_the_paper(full_binarynet: nn.Module) -> None:
    maps = []
    x = torch.empty(2, 3, 32, 32, device="meta")
    for module in full_binarynet.children():
        x = module(x)
        if isinstance(module, nn.BatchNorm2d):
            maps.append(tuple(x.shape[1:]))
    assert maps == [
        (128, 30, 30),
        (128, 15, 15),
        (256, 15, 15),
        (256, 7, 7),
        (512, 7, 7),
        (512, 3, 3),
    ]
    assert x.shape == (2, 10)


def test_binarynet_pools_before_batch_norm_and_binarizes_before_every_layer_but_the_first(
    full_binarynet: nn.Module,
) -> None:
    names = [type(module).__name__ for module in full_binarynet.children()]
    plain = ["Sign", "BinaryConv2d", "BatchNorm2d"]
    pooled = ["Sign", "BinaryConv2d", "MaxPool2d", "BatchNorm2d"]
    dense = ["Sign", "BinaryLinear", "BatchNorm1d"]
    first = ["BinaryConv2d", "BatchNorm2d"]
    assert names == first + pooled + plain + pooled + plain + pooled + ["Flatten"] + 3 * dense


def test_binarynets_batch_norm_is_that_of_the_paper(full_binarynet: nn.Module) -> None:
    norms = [m for m in full_binarynet.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == 9
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@every_model
def test_batch_norm_has_no_trainable_scale(model: str) -> None:
    training = Training(LATENT, model)
    training.step()
    norms = [m for m in training.model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == len(list(binary_layers(training.model)))
    for norm in norms:
        assert norm.eps == 1e-3
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
    assert any(norm.bias.abs().max() > 0 for norm in norms)


@every_model
def test_batch_norm_momentum_is_an_option(model: str) -> None:
    norms = [m for m in small(model, batch_norm_momentum=0.3).modules() if hasattr(m, "running_mean")]
    assert {norm.momentum for norm in norms} == {0.3}


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        *(("mlp", shape) for shape in [(1, 8, 8), (3, 5, 7)]),
        *(("convnet", shape) for shape in [(1, 8, 8), (1, 28, 28), (3, 13, 10)]),
        *(("binarynet", shape) for shape in [(3, 32, 32), (1, 28, 28), (3, 10, 40)]),
    ],
)
def test_logits_for_images_of_many_shapes(model: str, shape: Shape) -> None:
    network = MODELS[model](shape, 7, LATENT, 1, **SMALL[model][1])
    assert network(torch.randn(2, *shape)).shape == (2, 7)


@every_model
def test_every_method_starts_from_the_same_signs(model: str) -> None:
    starts = [stored(small(model, method)) >= 0 for method in METHODS]
    assert all(torch.equal(start, starts[0]) for start in starts)
    assert 0.4 < starts[0].float().mean() < 0.6


@every_model
def test_the_start_is_drawn_from_the_seed_alone(model: str) -> None:
    torch.manual_seed(5)
    first, state = stored(small(model)), torch.get_rng_state()
    torch.randn(3)
    assert torch.equal(stored(small(model)), first)
    assert not torch.equal(stored(small(model, seed=2)), first)
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state)  # nothing was drawn from it


@every_model
def test_the_start_is_glorot_uniform(model: str) -> None:
    for _, layer in binary_layers(small(model)):
        kernel = layer.weight[0, 0].numel()
        bound = (6 / ((layer.weight.shape[0] + layer.weight.shape[1]) * kernel)) ** 0.5
        largest = layer.weight.abs().max().item()
        assert 0.8 * bound < largest <= bound * 1.0001


@every_model
def test_the_activations_pseudo_gradient_is_an_option(model: str) -> None:
    x = torch.randn(8, *SMALL[model][0], generator=torch.Generator().manual_seed(0))
    outputs, gradients = [], []
    for name in PSEUDO_GRADIENTS:
        network = small(model, activation=name)
        output = network(x)
        output[:, 0].square().sum().backward()
        if name != "stochastic":  # the others are all the sign in the forward pass
            outputs.append(output.detach())
        first = next(layer for _, layer in binary_layers(network))
        assert first.weight.grad is not None
        gradients.append(first.weight.grad)
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    for number, gradient in enumerate(gradients):
        assert not any(torch.equal(gradient, other) for other in gradients[:number])


@every_model
def test_clipped_is_the_default_for_activations(model: str) -> None:
    assert MODELS[model].options["activation"] == "clipped"


@every_model
def test_an_unknown_activation_is_refused(model: str) -> None:
    with pytest.raises(ValueError, match=r"activation must be one of .*'approx_sign'.*, not 'relu'"):
        small(model, activation="relu")


@pytest.mark.parametrize(
    ("model", "shape", "options", "words"),
    [
        ("convnet", (1, 3, 8), {}, "3x8 are too small"),
        ("binarynet", (3, 9, 32), {}, "9x32 are too small"),
        ("binarynet", (3, 32, 32), {"width": 0.0}, "width must be > 0"),
        ("convnet", (1, 8, 8), {"channels": 0}, "channels and dense must be positive"),
        ("convnet", (1, 8, 8), {"dense": -1}, "channels and dense must be positive"),
        ("mlp", (1, 8, 8), {"batch_norm_momentum": 0.0}, "batch_norm_momentum must lie in"),
        ("mlp", (1, 8, 8), {"hidden": ()}, "hidden must list at least one positive width"),
        ("mlp", (1, 8, 8), {"hidden": (16, 0)}, "hidden must list at least one positive width"),
    ],
)
def test_impossible_images_and_options_are_refused(
    model: str, shape: Shape, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        MODELS[model](shape, 10, LATENT, 1, **options)


def test_layers_compute_with_the_signs() -> None:
    dense, convolution = BinaryLinear(LATENT, 5, 3), BinaryConv2d(LATENT, 2, 3, 3, padding=1)
    x, image = torch.randn(4, 5), torch.randn(4, 2, 6, 6)
    signs = torch.where(dense.weight >= 0, 1.0, -1.0)
    torch.testing.assert_close(dense(x), x @ signs.T)
    reference = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    reference.weight.data = torch.where(convolution.weight >= 0, 1.0, -1.0)
    torch.testing.assert_close(convolution(image), reference(image))


def test_binary_layers_are_found_by_their_type() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.binary_quant_kernel = nn.Linear(4, 4)
            self.plain = BinaryLinear(LATENT, 4, 4)
            self.block = nn.Sequential(nn.Conv2d(1, 1, 3), Sign("clipped"), BinaryConv2d(LATENT, 1, 1, 3))
            self.norm = batch_norm(4, 1, 0.1)

    assert [name for name, _ in binary_layers(Network())] == ["plain", "block.2"]
