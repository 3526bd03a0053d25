"""The architectures: each as published, layer by layer, and their common properties."""

import math
import pickle
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from optimizers import METHODS
from optimizers.core import PSEUDO_GRADIENTS, Timed
from suite.checks.contract import model as contract
from suite.checks.contract.model import STAGES, Rule
from suite.models import MODELS
from suite.models.blocks.layers import BinaryConv2d, BinaryLinear, Sign, binary_layers
from suite.models.blocks.norms import Norm
from suite.models.blocks.residual import BiRealBlock
from suite.models.model import BadOption, Shape
from suite.models.reactnet import ReActBlock
from suite.training.evaluate import assert_binary
from tests.support.training import SMALL, Training, small_form

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


# ---- the tables of the papers


IMAGENET, CIFAR = (3, 224, 224), (3, 32, 32)


def of_size(model: str, shape: Shape, classes: int) -> nn.Module:
    """The network at full width, without memory."""
    with torch.device("meta"):
        return MODELS[model](shape, classes, LATENT, 1)


def binary_weights(network: nn.Module) -> dict[str, int]:
    return {name: layer.weight.numel() for name, layer in binary_layers(network)}


def trainable(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def maps(network: nn.Module, shape: Shape) -> dict[str, tuple[int, ...]]:
    """The shape of every module's output for an image of this shape, without the batch."""
    found: dict[str, tuple[int, ...]] = {}

    def remember(name: str) -> Any:
        return lambda module, inputs, output: found.update({name: tuple(output.shape[1:])})

    hooks = [m.register_forward_hook(remember(name)) for name, m in network.named_modules()]
    network(torch.empty(2, *shape, device=next(network.parameters()).device))
    for hook in hooks:
        hook.remove()
    return found


ALEXNET = {"conv1": 23_232, "conv2": 307_200, "conv3": 663_552, "conv4": 1_327_104, "conv5": 884_736}
ALEXNET |= {"dense6": 37_748_736, "dense7": 16_777_216, "dense8": 4_096_000}
XNOR = {"conv2": 614_400, "conv3": 884_736, "conv4": 1_327_104, "conv5": 884_736}
XNOR |= {"conv6": 37_748_736, "conv7": 16_777_216}
VGG = {"conv2": 147_456, "conv3": 294_912, "conv4": 589_824, "conv5": 1_179_648, "conv6": 2_359_296}


@pytest.mark.parametrize(
    ("model", "shape", "table", "total"),
    [
        ("binary-alexnet", IMAGENET, ALEXNET, 61_827_776),
        ("xnor-net", IMAGENET, XNOR, 58_236_928),
        ("vgg-small", CIFAR, VGG, 4_571_136),
    ],
)
def test_a_network_without_shortcuts_has_the_layers_of_its_table(
    model: str, shape: Shape, table: dict[str, int], total: int
) -> None:
    found = binary_weights(of_size(model, shape, 1000))
    assert found == table and list(found) == list(table)
    assert sum(found.values()) == total


def test_binary_alexnets_real_parameters_are_those_of_batch_norm() -> None:
    network = of_size("binary-alexnet", IMAGENET, 1000)
    outputs = 64 + 192 + 384 + 384 + 256 + 4096 + 4096 + 1000
    assert trainable(network) - 61_827_776 == 2 * outputs


def test_xnor_nets_real_kernels_are_its_first_and_last_layer() -> None:
    network = of_size("xnor-net", IMAGENET, 1000)
    kernels = [m.weight.numel() for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert kernels == [34_848, 4_096_000] and sum(kernels) == 4_130_848
    norms = 2 * (96 + 96 + 256 + 384 + 384 + 256 + 4096 + 4096)
    assert trainable(network) == 58_236_928 + 4_130_848 + norms


def test_vgg_smalls_real_layers() -> None:
    network = of_size("vgg-small", CIFAR, 10)
    real = trainable(network) - sum(binary_weights(network).values())
    assert real == 27 * 128 + (8192 * 10 + 10) + 2 * (128 + 128 + 256 + 256 + 512 + 512)


BI_REAL_18 = [147_456, 516_096, 2_064_384, 8_257_536]  # binary weights of each stage


@pytest.mark.parametrize(
    ("model", "shape", "blocks", "stages"),
    [
        ("birealnet-18", IMAGENET, (4, 4, 4, 4), BI_REAL_18),
        ("birealnet-34", IMAGENET, (6, 8, 12, 6), [221_184, 1_105_920, 6_782_976, 12_976_128]),
        ("resnet-18", CIFAR, (4, 4, 4, 4), BI_REAL_18),
        ("resnet-20", CIFAR, (6, 6, 6), [13_824, 50_688, 202_752]),
    ],
)
def test_a_residual_network_has_its_blocks_of_one_convolution_in_each_stage(
    model: str, shape: Shape, blocks: tuple[int, ...], stages: list[int]
) -> None:
    network = of_size(model, shape, 10)
    found = binary_weights(network)
    names = [f"stage{s}.block{b}.conv" for s, n in enumerate(blocks, 1) for b in range(1, n + 1)]
    assert list(found) == names
    for stage, weights in enumerate(stages, 1):
        assert weights == sum(n for name, n in found.items() if name.startswith(f"stage{stage}."))
    shortcuts = [name for name, m in network.named_modules() if name.endswith("shortcut.conv")]
    assert shortcuts == [f"stage{s}.block1.shortcut.conv" for s in range(2, len(blocks) + 1)]


@pytest.mark.parametrize(
    ("model", "total"),
    [("birealnet-18", 10_985_472), ("birealnet-34", 21_086_208), ("resnet-18", 10_985_472)],
)
def test_the_binary_weights_of_bi_real_net(model: str, total: int) -> None:
    assert sum(binary_weights(of_size(model, IMAGENET, 1000)).values()) == total


def test_the_binary_weights_of_resnet_20() -> None:
    network = of_size("resnet-20", CIFAR, 10)
    assert sum(binary_weights(network).values()) == 267_264
    norms = 2 * (7 * 16 + 6 * 32 + 6 * 64 + 32 + 64)
    assert trainable(network) - 267_264 == 27 * 16 + 16 * 32 + 32 * 64 + norms + 64 * 10 + 10


def test_bi_real_net_18_has_the_sizes_of_the_bop_papers_network() -> None:
    network = of_size("birealnet-18", IMAGENET, 1000)
    assert trainable(network) == 11_689_512
    statistics = [b.numel() for name, b in network.named_buffers() if "running" in name]
    assert trainable(network) + sum(statistics) == 11_699_112
    kernels = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    sizes = {name: sum(p.numel() for p in module.parameters()) for name, module in kernels.items()}
    assert list(sizes.values()) == [9_408, 8_192, 32_768, 131_072, 513_000]
    assert sum(sizes.values()) == 694_440


@pytest.mark.parametrize("depth", [18, 34])
def test_bi_real_net_has_the_parameters_of_torchvisions_resnet(depth: int) -> None:
    import torchvision.models  # here, because importing it takes seconds

    with torch.device("meta"):
        resnet = torchvision.models.get_model(f"resnet{depth}")
    ours = of_size(f"birealnet-{depth}", IMAGENET, 1000)
    shapes = [Counter(tuple(p.shape) for p in network.parameters()) for network in (ours, resnet)]
    assert shapes[0] == shapes[1]


def test_reactnet_has_the_parameters_of_its_blocks() -> None:
    channels = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    pairs = list(pairwise(channels))
    network = of_size("reactnet-a", IMAGENET, 1000)
    binary = sum(9 * a * a + a * b for a, b in pairs)
    assert sum(binary_weights(network).values()) == binary == 28_253_184
    # Two norms, two shifts before a sign, and two PReLUs between two shifts.
    real = sum((2 * a + 2 * b) + (a + a) + (3 * a + 3 * b) for a, b in pairs)
    assert trainable(network) - binary == real + 27 * 32 + 2 * 32 + 1024 * 1000 + 1000
    names = ["conv3x3", "conv1x1.0", "conv1x1.1"]
    expected = [
        f"block{n}.{name}" for n, (a, b) in enumerate(pairs, 1) for name in (names if a != b else names[:2])
    ]
    assert list(binary_weights(network)) == expected


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (
            "binary-alexnet",
            IMAGENET,
            {"conv1": (64, 56, 56), "norm1": (64, 27, 27), "norm2": (192, 13, 13), "norm3": (384, 13, 13)}
            | {"norm4": (384, 13, 13), "norm5": (256, 6, 6), "norm6": (4096,), "norm8": (1000,)},
        ),
        (
            "xnor-net",
            IMAGENET,
            {"norm1": (96, 56, 56), "norm2": (96, 27, 27), "conv2": (256, 27, 27), "norm3": (256, 13, 13)}
            | {"norm5": (384, 13, 13), "norm6": (256, 6, 6), "norm7": (4096, 1, 1), "flatten": (4096,)},
        ),
        (
            "birealnet-18",
            IMAGENET,
            {"stem.conv": (64, 112, 112), "stem": (64, 56, 56), "stage1": (64, 56, 56)}
            | {"stage2": (128, 28, 28), "stage3": (256, 14, 14), "stage4": (512, 7, 7), "pool": (512, 1, 1)},
        ),
        ("birealnet-34", IMAGENET, {"stage1": (64, 56, 56), "stage4": (512, 7, 7)}),
        ("birealnet-18", (3, 64, 64), {"stage1": (64, 16, 16), "stage4": (512, 2, 2)}),
        (
            "resnet-20",
            CIFAR,
            {"stem": (16, 32, 32), "stage1": (16, 32, 32), "stage2": (32, 16, 16), "stage3": (64, 8, 8)},
        ),
        ("resnet-18", CIFAR, {"stem": (64, 32, 32), "stage1": (64, 32, 32), "stage4": (512, 4, 4)}),
        (
            "vgg-small",
            CIFAR,
            {"norm1": (128, 32, 32), "norm2": (128, 16, 16), "norm3": (256, 16, 16), "norm4": (256, 8, 8)}
            | {"norm5": (512, 8, 8), "norm6": (512, 4, 4), "flatten": (8192,)},
        ),
        (
            "reactnet-a",
            IMAGENET,
            {"stem": (32, 112, 112), "block1": (64, 112, 112), "block2": (128, 56, 56)}
            | {"block3": (128, 56, 56), "block4": (256, 28, 28), "block6": (512, 14, 14)}
            | {"block11": (512, 14, 14), "block12": (1024, 7, 7), "block13": (1024, 7, 7)},
        ),
    ],
)
def test_the_maps_have_the_sizes_of_the_tables(
    model: str, shape: Shape, expected: dict[str, tuple[int, ...]]
) -> None:
    found = maps(of_size(model, shape, 1000), shape)
    assert {name: found[name] for name in expected} == expected
    assert found[""] == (1000,)


def kinds(network: nn.Module) -> list[str]:
    """The kinds of a flat network's modules, in order."""
    short = {"BatchNorm2d": "norm", "BatchNorm1d": "norm", "BinaryConv2d": "binary", "BinaryLinear": "binary"}
    short |= {"Conv2d": "real", "Linear": "real", "MaxPool2d": "pool", "Sign": "sign", "ReLU": "relu"}
    return [short.get(type(m).__name__, type(m).__name__) for m in network.children()]


def test_the_order_of_the_modules_in_networks_without_shortcuts() -> None:
    plain, pooled = ["sign", "binary", "norm"], ["sign", "binary", "pool", "norm"]
    alexnet = ["binary", "pool", "norm", *pooled, *plain, *plain, *pooled, "Flatten", *3 * plain]
    assert kinds(of_size("binary-alexnet", IMAGENET, 10)) == alexnet
    xnor = ["real", "norm", "relu", "pool", "norm", *pooled, *plain, *plain, *pooled, *plain, *plain]
    assert kinds(of_size("xnor-net", IMAGENET, 10)) == [*xnor, "relu", "Flatten", "real"]
    vgg = ["real", "norm", *pooled, *plain, *pooled, *plain, *pooled, "Hardtanh", "Flatten", "real"]
    assert kinds(of_size("vgg-small", CIFAR, 10)) == vgg


@pytest.mark.parametrize("activation", sorted(set(PSEUDO_GRADIENTS) - {"identity"}))
def test_no_gradient_passes_a_sign_of_vgg_small_beyond_one(activation: str) -> None:
    """As in IR-Net's network, whose clamps stop it whatever the slope of the sign."""
    network = MODELS["vgg-small"](CIFAR, 10, LATENT, 1, width=1 / 64, activation=activation)
    signs = [module for name, module in network.named_children() if name.startswith("sign")]
    assert len(signs) == 5
    x = torch.tensor([-3.0, -1.01, -0.5, 0.5, 1.01, 3.0], requires_grad=True)
    for module in signs:
        (slope,) = torch.autograd.grad(module.train()(x).sum(), x)
        assert (slope != 0.0).tolist() == [False, False, True, True, False, False]


# ---- batch norm


# eps, momentum, whether the scale is trained
BATCH_NORM = {
    **dict.fromkeys(("mlp", "convnet"), (1e-3, 0.1, False)),
    "binarynet": (1e-3, 0.01, False),
    "binary-alexnet": (1e-3, 0.1, True),
    **dict.fromkeys(("birealnet-18", "birealnet-34"), (1e-3, 0.2, True)),
    **dict.fromkeys(("vgg-small", "resnet-20", "resnet-18", "reactnet-a"), (1e-5, 0.1, True)),
}


def batch_norms(network: nn.Module) -> dict[str, nn.BatchNorm1d | nn.BatchNorm2d]:
    return {n: m for n, m in network.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)}


@every_model
def test_batch_norm_has_the_constants_of_its_recipe(model: str) -> None:
    norms = batch_norms(small(model))
    found = {name: (m.eps, m.momentum, m.weight.requires_grad) for name, m in norms.items()}
    if model == "xnor-net":
        eps = {"norm1": 1e-5, "norm8": 1e-3} | {f"norm{n}": 1e-4 for n in range(2, 8)}
        assert found == {name: (eps[name], 0.1, True) for name in eps}
    else:
        assert set(found.values()) == {BATCH_NORM[model]}
    assert all(m.bias.requires_grad for m in norms.values())


@pytest.mark.parametrize("model", ["mlp", "convnet", "binarynet"])
def test_a_scale_that_is_not_trained_stays_one(model: str) -> None:
    training = Training(LATENT, model)
    training.step()
    norms = batch_norms(training.model).values()
    assert len(norms) == len(list(binary_layers(training.model)))
    for norm in norms:
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
        *(("vgg-small", shape) for shape in [(3, 32, 32), (1, 28, 28), (3, 8, 19)]),
        *(("resnet-20", shape) for shape in [(3, 32, 32), (1, 28, 28), (3, 3, 10)]),
        *(("resnet-18", shape) for shape in [(3, 32, 32), (1, 28, 28), (3, 5, 10)]),
        *(("binary-alexnet", shape) for shape in [(3, 64, 64), (1, 59, 90)]),
        *(("xnor-net", shape) for shape in [(3, 64, 64), (1, 59, 130)]),
        *(("birealnet-18", shape) for shape in [(3, 64, 64), (1, 28, 28), (3, 17, 45)]),
        *(("birealnet-34", shape) for shape in [(3, 64, 64), (1, 17, 33)]),
        *(("reactnet-a", shape) for shape in [(3, 64, 64), (1, 28, 28), (3, 17, 45)]),
    ],
)
def test_logits_for_images_of_many_shapes(model: str, shape: Shape) -> None:
    network = MODELS[model](shape, 7, LATENT, 1, **SMALL[model][1])
    assert network(torch.randn(2, *shape)).shape == (2, 7)


@every_model
def test_every_method_starts_from_the_same_signs(model: str) -> None:
    """Every method in dense layers and in filters, three in every network."""
    methods = METHODS if model in ("mlp", "convnet") else ("bop", "latent-sgd", "binarynet-adam")
    starts = [stored(small(model, method)) >= 0 for method in methods]
    assert all(torch.equal(start, starts[0]) for start in starts)
    assert 0.4 < starts[0].float().mean() < 0.6


RULES = [rule for stage in STAGES for rule in stage]
# tests/optimizers/test_methods.py trains on every architecture.
TRAININGS = (contract.repeats, contract.resumes, contract.learns, contract.works_in_bfloat16)


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        pytest.param(model, rule, id=f"{model}-{rule.__name__}")
        for model in MODELS
        for rule in RULES
        if rule not in TRAININGS or model in ("mlp", "convnet")
    ],
)
def test_a_model_keeps_each_rule(model: str, rule: Rule) -> None:
    assert list(rule(small_form(model))) == []


@every_model
def test_the_activations_pseudo_gradient_is_an_option(model: str) -> None:
    x = torch.randn(8, *SMALL[model][0], generator=torch.Generator().manual_seed(0))
    outputs, gradients = [], []
    for name in PSEUDO_GRADIENTS:
        network = small(model, activation=name)
        for module in network.modules():
            if isinstance(module, Timed):
                module.progress = 0.5  # at 0 the clamps of vgg-small make some of them alike
        output = network(x)
        output[:, 0].square().sum().backward()
        if name != "stochastic":  # all others are the sign in the forward pass
            outputs.append(output.detach())
        first = next(layer for _, layer in binary_layers(network))
        assert first.weight.grad is not None
        gradients.append(first.weight.grad)
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    for number, gradient in enumerate(gradients):
        assert not any(torch.equal(gradient, other) for other in gradients[:number])


APPROX_SIGN = {"resnet-20", "resnet-18", "birealnet-18", "birealnet-34", "reactnet-a"}


@every_model
def test_the_activations_pseudo_gradient_is_that_of_the_recipe(model: str) -> None:
    expected = "approx_sign" if model in APPROX_SIGN else "clipped"
    assert MODELS[model].options["activation"] == expected


@every_model
def test_an_unknown_activation_is_refused(model: str) -> None:
    with pytest.raises(BadOption, match=r"activation must be one of .*'approx_sign'.*, not 'relu'") as error:
        small(model, activation="relu")
    assert error.value.name == "activation"


WIDE = {name for name, model in MODELS.items() if "width" in model.options}


@pytest.mark.parametrize(
    ("model", "shape", "options", "words"),
    [
        ("convnet", (1, 3, 8), {}, "3x8 are too small"),
        ("binarynet", (3, 9, 32), {}, "9x32 are too small"),
        ("binarynet", (3, 32, 32), {"width": 0.0}, "width must be > 0"),
        ("convnet", (1, 8, 8), {"channels": 0}, "channels must be positive, not 0"),
        ("convnet", (1, 8, 8), {"dense": -1}, "dense must be positive, not -1"),
        ("vgg-small", (3, 7, 32), {}, "7x32 are too small: vgg-small needs 8x8 or more"),
        ("resnet-20", (3, 2, 9), {}, "2x9 are too small: resnet-20 needs 3x3 or more"),
        ("resnet-18", (3, 9, 4), {}, "9x4 are too small: resnet-18 needs 5x5 or more"),
        ("binary-alexnet", (3, 58, 64), {}, "58x64 are too small: binary-alexnet needs 59x59 or more"),
        ("xnor-net", (3, 64, 58), {}, "64x58 are too small: xnor-net needs 59x59 or more"),
        ("birealnet-18", (3, 16, 32), {}, "16x32 are too small: birealnet-18 needs 17x17 or more"),
        ("birealnet-34", (3, 32, 16), {}, "32x16 are too small: birealnet-34 needs 17x17 or more"),
        ("reactnet-a", (3, 16, 32), {}, "16x32 are too small: reactnet-a needs 17x17 or more"),
        *((m, SMALL[m][0], {"width": -0.5}, "width must be > 0, not -0.5") for m in SMALL if m in WIDE),
        ("mlp", (1, 8, 8), {"batch_norm_momentum": 0.0}, "batch_norm_momentum must lie in"),
        ("mlp", (1, 8, 8), {"hidden": ()}, "hidden must list at least one positive width"),
        ("mlp", (1, 8, 8), {"hidden": (16, 0)}, "hidden must list at least one positive width"),
    ],
)
def test_impossible_images_and_options_are_refused(
    model: str, shape: Shape, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as error:
        MODELS[model](shape, 10, LATENT, 1, **options)
    named = [error.value.name] if isinstance(error.value, BadOption) else []
    assert named == list(options)  # the size of an image is no option


def test_a_bad_option_can_cross_between_processes() -> None:
    error = BadOption("width", "width must be > 0, not 0.0")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, ValueError) and type(copy) is BadOption
    assert (copy.name, copy.message, str(copy)) == ("width", error.message, error.message)


@pytest.mark.parametrize("model", sorted(WIDE))
def test_width_scales_every_layer_but_the_logits(model: str) -> None:
    shape = IMAGENET if "alexnet" in model or "xnor" in model else CIFAR
    sizes = []
    for width in (0.25, 0.5):
        with torch.device("meta"):
            network = MODELS[model](shape, 10, LATENT, 1, width=width)
        sizes.append([tuple(layer.weight.shape) for _, layer in binary_layers(network)])
    for half, whole in zip(*sizes, strict=True):
        assert whole[0] in (2 * half[0], 10) and whole[1] in (2 * half[1], 3)
        assert whole[2:] == half[2:]


# ---- the computation of a block


def convolved(x: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """A convolution of x (N, C, H, W) by its definition, the borders 0."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    size = weight.shape[2]
    rows, columns = ((padded.shape[axis] - size) // stride + 1 for axis in (2, 3))
    out = np.zeros((len(x), len(weight), rows, columns))
    for n, o, r, c in np.ndindex(*out.shape):
        window = padded[n, :, r * stride : r * stride + size, c * stride : c * stride + size]
        out[n, o, r, c] = (window * weight[o]).sum()
    return out


def normalised(x: np.ndarray, eps: float) -> np.ndarray:
    """Batch norm in training, scale 1 and shift 0."""
    axes = (0, 2, 3)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def average_of_two_by_two(x: np.ndarray) -> np.ndarray:
    """Means of 2x2 places; at the end of an odd side, of the places that exist."""
    rows, columns = (math.ceil(side / 2) for side in x.shape[2:])
    out = np.zeros((*x.shape[:2], rows, columns))
    for r, c in np.ndindex(rows, columns):
        out[:, :, r, c] = x[:, :, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean((2, 3))
    return out


@pytest.mark.parametrize("size", [5, 6])
@pytest.mark.parametrize("outputs", [3, 6])
def test_a_bi_real_block_is_the_normalised_sum_of_signs_plus_its_shortcut(outputs: int, size: int) -> None:
    torch.manual_seed(0)
    block = BiRealBlock(LATENT, 3, outputs, "approx_sign", Norm("batch", 0.2, eps=1e-3)).double()
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    image = x.numpy()
    stride = 2 if outputs > 3 else 1
    weight = np.where(block.conv.weight.detach().numpy() >= 0, 1.0, -1.0)
    expected = normalised(convolved(np.where(image >= 0, 1.0, -1.0), weight, stride, 1), 1e-3)
    if outputs > 3:
        real = block.shortcut.get_submodule("conv").get_parameter("weight").detach().numpy()
        expected += normalised(convolved(average_of_two_by_two(image), real, 1, 0), 1e-3)
    else:
        expected += image
    np.testing.assert_allclose(block(x).detach().numpy(), expected, atol=1e-9)


def test_the_shortcuts_of_bi_real_net_carry_real_values_unchanged() -> None:
    network = small("birealnet-18")
    for _, block in network.named_modules():
        if isinstance(block, BiRealBlock):
            nn.init.zeros_(block.norm.get_parameter("weight"))  # the convolutions give nothing
    x = torch.randn(4, *SMALL["birealnet-18"][0])
    expected = network.get_submodule("stem")(x)
    for stage in (2, 3, 4):
        shortcut = network.get_submodule(f"stage{stage}.block1.shortcut")
        pooled = nn.functional.avg_pool2d(expected, 2, ceil_mode=True)
        expected = shortcut.get_submodule("norm")(shortcut.get_submodule("conv")(pooled))
    logits = network.get_submodule("dense")(expected.mean((2, 3)))
    torch.testing.assert_close(network(x), logits)


@pytest.mark.parametrize(("outputs", "stride", "size"), [(2, 1, 4), (4, 1, 4), (2, 2, 4), (4, 2, 5)])
def test_a_block_of_reactnet_by_its_definition(outputs: int, stride: int, size: int) -> None:
    torch.manual_seed(0)
    norm = Norm("batch", 0.1, eps=1e-5)
    block = ReActBlock(LATENT, 2, outputs, stride, "approx_sign", norm).double()
    for parameter in block.parameters():
        if parameter.dim() < 4:
            nn.init.normal_(parameter)  # shifts, slopes, scales: none at 0 or 1
    numbers = {name: p.detach().numpy() for name, p in block.named_parameters()}

    def channelwise(name: str) -> np.ndarray:
        return numbers[name].reshape(1, -1, 1, 1)

    def rprelu(name: str, x: np.ndarray) -> np.ndarray:
        x = x + channelwise(f"{name}.before.bias")
        x = np.where(x > 0, x, channelwise(f"{name}.prelu.weight") * x)
        return x + channelwise(f"{name}.after.bias")

    def part(name: str, norm: str, signs: np.ndarray, stride: int, padding: int) -> np.ndarray:
        weight = np.where(numbers[f"{name}.weight"] >= 0, 1.0, -1.0)
        x = normalised(convolved(signs, weight, stride, padding), 1e-5)
        return x * channelwise(f"{norm}.weight") + channelwise(f"{norm}.bias")

    x = np.random.RandomState(0).randn(2, 2, size, size)
    signs = np.where(x + channelwise("sign3x3.shift.bias") >= 0, 1.0, -1.0)
    first = part("conv3x3", "norm3x3", signs, stride, 1)
    first = rprelu("prelu3x3", first + (average_of_two_by_two(x) if stride == 2 else x))
    signs = np.where(first + channelwise("sign1x1.shift.bias") >= 0, 1.0, -1.0)
    parts = [part(f"conv1x1.{n}", f"norm1x1.{n}", signs, 1, 0) + first for n in range(outputs // 2)]
    expected = rprelu("prelu1x1", np.concatenate(parts, axis=1))
    np.testing.assert_allclose(block(torch.from_numpy(x)).detach().numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("scaled", [False, True])
def test_xnor_net_trains_with_and_without_the_scales_of_its_paper(scaled: bool) -> None:
    settings = {"transform": "xnor"} if scaled else {}
    training = Training(METHODS["latent-adam"](**settings), "xnor-net")
    losses = [training.step() for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]
    training.model.eval()
    assert_binary(training.model)
    sizes = [layer.reading()(layer.weight).abs() for _, layer in binary_layers(training.model)]
    assert all(bool((size == 1).all()) is not scaled for size in sizes)


def test_layers_compute_with_the_signs() -> None:
    dense, convolution = BinaryLinear(LATENT, 5, 3), BinaryConv2d(LATENT, 2, 3, 3, padding=1)
    x, image = torch.randn(4, 5), torch.randn(4, 2, 6, 6)
    signs = torch.where(dense.weight >= 0, 1.0, -1.0)
    torch.testing.assert_close(dense(x), x @ signs.T)
    reference = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    reference.weight.data = torch.where(convolution.weight >= 0, 1.0, -1.0)
    torch.testing.assert_close(convolution(image), reference(image))
    strided = BinaryConv2d(LATENT, 2, 3, (5, 3), padding=1, stride=2)
    weight = torch.where(strided.weight >= 0, 1.0, -1.0)
    assert weight.shape == (3, 2, 5, 3)
    torch.testing.assert_close(
        strided(image), nn.functional.conv2d(image, weight, padding=1, stride=2), rtol=0, atol=1e-5
    )


def test_binary_layers_are_found_by_their_type() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.binary_quant_kernel = nn.Linear(4, 4)
            self.plain = BinaryLinear(LATENT, 4, 4)
            self.block = nn.Sequential(nn.Conv2d(1, 1, 3), Sign("clipped"), BinaryConv2d(LATENT, 1, 1, 3))
            self.norm = nn.BatchNorm1d(4)

    assert [name for name, _ in binary_layers(Network())] == ["plain", "block.2"]
