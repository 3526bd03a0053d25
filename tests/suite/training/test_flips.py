"""The flip counter, in both its ways, against a brute-force count over the whole history of signs."""

import pytest
import torch
from torch import Tensor, nn

from optimizers import METHODS
from optimizers.core import WeightRule
from suite.models.blocks.layers import BinaryConv2d, BinaryLinear
from suite.records.schema import WITHIN, FlipCounts
from suite.training.flips import FlipCounter

WAYS = pytest.mark.parametrize("dense", [False, True])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of the tests has several rows; the flips of a few steps are counted together."""
    monkeypatch.setattr("suite.training.flips.ROW", 16)
    monkeypatch.setattr("suite.training.flips.KEPT", 1000)


def network(rule: WeightRule) -> nn.Sequential:
    """Layers of 35, 135 (channels-last), 64 and 3 weights."""
    layers = [BinaryLinear(rule, 7, 5), BinaryConv2d(rule, 3, 5, 3), BinaryLinear(rule, 8, 8)]
    model = nn.Sequential(*layers, BinaryLinear(rule, 3, 1))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def flip_some(counter: FlipCounter, share: float = 0.15) -> None:
    for layer in counter.layers:
        layer.weight.data.mul_(torch.where(torch.rand_like(layer.weight) < share, -1.0, 1.0))


def history_of_signs(
    method: str, steps: int, dense: bool
) -> tuple[FlipCounter, list[list[Tensor]], list[FlipCounts], list[Tensor]]:
    """Random walks of all layers in two epochs: the signs after each step, beside what the counter says."""
    torch.manual_seed(0)
    counter = FlipCounter(network(METHODS[method]()), dense=dense)
    signs = [[layer.binary_weight() for layer in counter.layers]]
    records, per_step = [], []
    for step in range(steps):
        flip_some(counter)
        counter.count()
        signs.append([layer.binary_weight() for layer in counter.layers])
        if step in (steps // 2, steps - 1):
            counts, flips = counter.end_epoch()
            records.append(counts)
            per_step.append(flips)
    return counter, signs, records, per_step


@WAYS
@pytest.mark.parametrize("method", ["bop", "latent-adam"])
def test_counts_equal_brute_force(method: str, dense: bool) -> None:
    steps = 40
    counter, signs, records, per_step = history_of_signs(method, steps, dense)
    flips_of_step = torch.cat(per_step)
    assert flips_of_step.dtype == torch.int32
    bounds = [(0, steps // 2 + 1), (steps // 2 + 1, steps)]
    for layer in range(len(counter.layers)):
        flipped = torch.stack([signs[t + 1][layer] != signs[t][layer] for t in range(steps)])
        assert flips_of_step[:, layer].tolist() == flipped.flatten(1).sum(1).tolist()
        for record, (first, last) in zip(records, bounds, strict=True):
            assert record.flips[layer] == int(flipped[first:last].sum())
            for k in WITHIN:
                undone = sum(
                    int((flipped[t] & flipped[max(0, t - k) : t].any(0)).sum()) for t in range(first, last)
                )
                assert record.undone(k)[layer] == undone
            assert record.never[layer] == int((~flipped[:last].any(0)).sum())
            assert record.distance[layer] == int((signs[last][layer] != signs[0][layer]).sum())
    assert sum(records[1].undone_1) > 0 and sum(records[0].never) > 0  # the walk exercises all of it


@WAYS
def test_both_zeros_count_as_plus_one(dense: bool) -> None:
    layer = BinaryLinear(METHODS["latent-sgd"](), 4, 1)
    layer.weight.data = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    counter = FlipCounter(nn.Sequential(layer), dense=dense)
    for values in ([0.0, -0.0, 0.0, -0.0], [-0.0, 0.0, -0.0, 0.0], [-1e-30, 1.0, 1.0, 1.0]):
        layer.weight.data = torch.tensor([values])
        counter.count()
    assert counter.end_epoch()[1].flatten().tolist() == [2, 0, 1]


@WAYS
def test_a_method_that_reads_in_its_own_way_is_asked(dense: bool) -> None:
    rule = WeightRule(
        start=torch.clone,
        read=lambda w: torch.where(w > 0.5, 1.0, -1.0),
        optimizer=lambda params: torch.optim.SGD(params, 0.1),
    )
    layer = BinaryLinear(rule, 3, 1)
    layer.weight.data = torch.tensor([[0.4, 0.6, 0.7]])
    counter = FlipCounter(nn.Sequential(layer), dense=dense)
    layer.weight.data = torch.tensor([[0.6, 0.4, 0.8]])  # none of their signs has changed
    counter.count()
    layer.weight.data.copy_(torch.tensor([[0.4, 0.4, 0.9]]))  # in place
    counter.count()
    assert counter.end_epoch()[1].flatten().tolist() == [2, 1]


@WAYS
def test_a_method_that_changes_how_it_reads_is_asked_in_every_step(dense: bool) -> None:
    late = False
    rule = WeightRule(
        start=torch.clone,
        read=lambda w: -w if late else w,
        optimizer=lambda params: torch.optim.SGD(params, 0.1),
    )
    counter = FlipCounter(nn.Sequential(BinaryLinear(rule, 3, 1)), dense=dense)
    counter.count()
    late = True
    counter.count()
    assert counter.end_epoch()[1].flatten().tolist() == [0, 3]


@WAYS
def test_filters_that_are_not_channels_last_are_counted_too(dense: bool) -> None:
    """Their numbers in this order are a copy, which no later step changes."""
    layer = BinaryConv2d(METHODS["bop"](), 3, 2, 3)
    counter = FlipCounter(nn.Sequential(layer), dense=dense)
    for _ in range(3):
        layer.weight.data[0, 1] *= -1.0
        counter.count()
    assert counter.end_epoch()[1].flatten().tolist() == [9, 9, 9]


@pytest.mark.parametrize(("before", "after"), [(False, False), (True, True), (False, True), (True, False)])
def test_a_counter_goes_on_from_its_state(before: bool, after: bool) -> None:
    torch.manual_seed(1)
    model = network(METHODS["bop"]())
    unbroken, restored = FlipCounter(model, dense=before), FlipCounter(model, dense=after)
    for half in range(2):
        for _ in range(5):
            flip_some(unbroken, 0.3)
            unbroken.count()
            if half:
                restored.count()
        counts, flips = unbroken.end_epoch()
        if not half:
            restored.count()  # a step of another training, which is forgotten
            restored.load_state_dict(unbroken.state_dict())
        else:
            again, same_flips = restored.end_epoch()
            assert again == counts and sum(counts.undone_5) > 0
            assert torch.equal(same_flips, flips)
