"""Normalisation as an axis: each kind against its formula, and in every architecture."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optimizers import METHODS
from suite.models import MODELS
from suite.models.blocks.layers import (
    BinaryConv2d,
    BinaryLayer,
    BinaryLinear,
    binary_layers,
    real_conv2d,
    real_linear,
)
from suite.models.blocks.norms import NORMS, FanInScale, LearnedScale, Norm
from suite.models.model import BadOption
from suite.training.evaluate import reestimate_batch_norm
from tests.support.training import SMALL, noisy_prototypes

LATENT = METHODS["latent-sgd"]()
KINDS = [kind for kind in NORMS if kind != "batch"]
every_model = pytest.mark.parametrize("model", MODELS)
every_kind = pytest.mark.parametrize("kind", NORMS)
# A convolution and a dense layer: six outputs each, sums of 45 and of 35 products.
LAYERS = {"convolution": BinaryConv2d(LATENT, 5, 6, 3), "dense": BinaryLinear(LATENT, 35, 6)}
every_layer = pytest.mark.parametrize("layer", LAYERS)


def small(model: str, norm: str, **options: Any) -> nn.Module:
    shape, small_options = SMALL[model]
    return MODELS[model](shape, 10, LATENT, 1, **{**small_options, "norm": norm, **options})


def outputs_of(layer: str) -> Tensor:
    shape = (4, 6, 3, 5) if layer == "convolution" else (4, 6)
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 1


def over(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """x minus its mean, over the root of its variance plus eps."""
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True) + eps).sqrt()


def axes_of(kind: str, x: Tensor) -> tuple[int, ...]:
    """The axes of mean and variance: all but the channel, or all of one image."""
    return (1, 2, 3)[: x.dim() - 1] if kind == "layer" else (0, 2, 3)[: x.dim() - 1]


@every_layer
@pytest.mark.parametrize("eps", [1e-3, 0.5])
@pytest.mark.parametrize("kind", ["batch", "batch-without-affine", "layer"])
def test_the_measured_mean_and_variance_are_removed(kind: str, eps: float, layer: str) -> None:
    x = outputs_of(layer)
    norm = Norm(kind, 0.1, eps).after(LAYERS[layer])
    torch.testing.assert_close(norm(x), over(x, axes_of(kind, x), eps), atol=1e-5, rtol=1e-5)


@every_layer
@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_scale_and_shift_are_one_for_each_channel(kind: str, layer: str) -> None:
    x = outputs_of(layer)
    norm = Norm(kind, 0.1, 1e-3).after(LAYERS[layer])
    scale, shift = torch.arange(1.0, 7.0), torch.arange(-3.0, 3.0)
    norm.load_state_dict({"weight": scale, "bias": shift}, strict=False)
    like_a_channel = (1, 6, 1, 1)[: x.dim()]
    expected = over(x, axes_of(kind, x), 1e-3) * scale.view(like_a_channel) + shift.view(like_a_channel)
    torch.testing.assert_close(norm(x), expected, atol=1e-4, rtol=1e-5)


@every_layer
def test_layer_norm_is_torchs_with_an_affine_part_for_each_channel(layer: str) -> None:
    x = outputs_of(layer)
    norm = Norm("layer", 0.1, 1e-3).after(LAYERS[layer])
    torch.testing.assert_close(norm(x), nn.functional.layer_norm(x, x.shape[1:], eps=1e-3))
    assert torch.equal(norm.eval()(x), norm.train()(x))  # no running statistics


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (BinaryConv2d(LATENT, 5, 6, 3), 45),
        (BinaryConv2d(LATENT, 5, 6, (2, 4)), 40),
        (BinaryLinear(LATENT, 35, 6), 35),
        (real_conv2d(5, 6, 7), 245),
        (real_linear(12, 6), 12),
    ],
)
def test_fan_in_divides_by_the_root_of_the_number_of_products(
    layer: BinaryLayer | nn.Conv2d | nn.Linear, fan_in: int
) -> None:
    norm = Norm("fan-in", 0.1, 1e-3).after(layer)
    x = torch.randn(4, 6)
    torch.testing.assert_close(norm(x), x / math.sqrt(fan_in))
    assert not norm.state_dict()
    learned = Norm("learned-scale", 0.1, 1e-3).after(layer)
    assert torch.equal(learned(x), norm(x))  # at its start
    learned.load_state_dict({"gain": torch.tensor(-2.5)})
    torch.testing.assert_close(learned(x), -2.5 * x / math.sqrt(fan_in))


def test_fan_in_gives_sums_of_random_signs_unit_variance() -> None:
    torch.manual_seed(0)
    layer = BinaryLinear(LATENT, 400, 300)
    random = torch.Generator().manual_seed(0)
    x = torch.randint(2, (200, 400), generator=random) * 2.0 - 1.0
    scaled = Norm("fan-in", 0.1, 1e-3).after(layer)(layer(x))
    assert scaled.std().item() == pytest.approx(1.0, abs=0.02)


@every_layer
def test_none_returns_its_input(layer: str) -> None:
    x = outputs_of(layer)
    assert Norm("none", 0.1, 1e-3).after(LAYERS[layer])(x) is x


@every_layer
@every_kind
@pytest.mark.parametrize("scale", [False, True])
def test_which_parameters_are_trained(kind: str, layer: str, scale: bool) -> None:
    norm = Norm(kind, 0.1, 1e-3, scale).after(LAYERS[layer])
    trained = {name: tuple(p.shape) for name, p in norm.named_parameters() if p.requires_grad}
    affine = {"weight": (6,), "bias": (6,)} if scale else {"bias": (6,)}
    expected = {"batch": affine, "layer": affine, "learned-scale": {"gain": ()}}
    assert trained == expected.get(kind, {})


# ---- in the architectures


STAND_INS = {
    "batch": nn.BatchNorm1d | nn.BatchNorm2d,
    "batch-without-affine": nn.BatchNorm1d | nn.BatchNorm2d,
    "layer": nn.GroupNorm,
    "fan-in": FanInScale,
    "learned-scale": LearnedScale,
    "none": nn.Identity,
}


@every_model
def test_batch_is_the_default(model: str) -> None:
    assert MODELS[model].options["norm"] == "batch"


@every_model
@pytest.mark.parametrize("kind", KINDS)
def test_every_batch_norm_has_a_replacement_in_its_place(model: str, kind: str) -> None:
    as_published, other = dict(small(model, "batch").named_modules()), small(model, kind)
    places = {n: m for n, m in as_published.items() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)}
    for name, module in other.named_modules():
        if name in places:
            assert isinstance(module, STAND_INS[kind]), name
        else:
            assert type(module) is type(as_published[name]), name
    for name, norm in places.items():
        module = other.get_submodule(name)
        if kind == "layer":
            assert isinstance(module, nn.GroupNorm)
            assert (module.num_channels, module.eps) == (norm.num_features, norm.eps)
            assert module.weight.requires_grad is norm.weight.requires_grad and module.bias.requires_grad
        elif kind == "batch-without-affine":
            assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and not module.affine
            assert (type(module), module.eps, module.momentum) == (type(norm), norm.eps, norm.momentum)
    # Everything that is not a norm starts as it does with batch norm.
    weights = other.state_dict()
    for name, tensor in small(model, "batch").state_dict().items():
        if name.rpartition(".")[0] not in places:
            assert torch.equal(tensor, weights[name]), name


@every_model
def test_fan_in_is_that_of_the_layer_before(model: str) -> None:
    network, products = small(model, "fan-in"), []
    for module in network.modules():
        if isinstance(module, BinaryLayer | nn.Conv2d | nn.Linear):
            products.append(module.weight[0].numel())
    scales = [module.scale for module in network.modules() if isinstance(module, FanInScale)]
    if model == "xnor-net":
        assert scales.pop(1) == 1.0  # the second norm after the first convolution
    if isinstance(network.get_submodule(last_name(network)), nn.Linear):
        products.pop()  # its logits are not normalised
    if model == "reactnet-a":
        # two 1x1 convolutions come before their two norms
        assert sorted(scales) == pytest.approx(sorted(n**-0.5 for n in products))
    else:
        assert scales == pytest.approx([n**-0.5 for n in products])


def last_name(network: nn.Module) -> str:
    return [name for name, _ in network.named_children()][-1]


@every_model
@every_kind
def test_every_architecture_trains_with_every_norm(model: str, kind: str) -> None:
    network, (shape, _) = small(model, kind), SMALL[model]
    weights = [layer.weight for _, layer in binary_layers(network)]
    real = [p for p in network.parameters() if p.requires_grad and all(p is not w for w in weights)]
    optimizer = torch.optim.SGD([{"params": weights}, {"params": real}], lr=0.01)
    start = [p.detach().clone() for p in (*weights, *real)]
    for number in (1, 2):
        x, labels = noisy_prototypes(shape, number)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), labels).backward()
        optimizer.step()
    after = [*weights, *real]
    assert all(p.isfinite().all() for p in after)
    # Without a norm, sums of signs exceed the range of the slopes: only the last layers move for certain.
    moved = [not torch.equal(p, q) for p, q in zip(after, start, strict=True)]
    assert any(moved) if kind == "none" else all(moved)


@every_model
def test_an_unknown_norm_is_refused_with_the_choices(model: str) -> None:
    with pytest.raises(BadOption, match=r"norm must be one of \['batch', .*'none'\], not 'group'") as error:
        small(model, "group")
    assert error.value.name == "norm"


@every_model
@pytest.mark.parametrize("kind", ["batch", "none"])
def test_an_impossible_momentum_is_refused_whether_it_is_used_or_not(model: str, kind: str) -> None:
    with pytest.raises(BadOption, match=r"batch_norm_momentum must lie in \(0, 1\], not 1.5") as error:
        small(model, kind, batch_norm_momentum=1.5)
    assert error.value.name == "batch_norm_momentum"


@pytest.mark.parametrize("kind", ["layer", "fan-in", "learned-scale", "none"])
def test_there_is_nothing_to_reestimate_without_batch_norm(kind: str) -> None:
    network = small("convnet", kind)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    reestimate_batch_norm(network, [(torch.randn(8, 1, 8, 8), torch.zeros(8))])
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
