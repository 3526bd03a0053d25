"""The flip counter against a brute-force count over the whole history of signs."""

import pytest
import torch
from torch import Tensor, nn

from optimizers import METHODS
from suite.flips import WITHIN, FlipCounter
from suite.models.layers import BinaryLinear


def history_of_signs(
    method: str, steps: int
) -> tuple[FlipCounter, list[list[Tensor]], list[dict], list[Tensor]]:
    """Random walks of two layers in two epochs: the signs after each step, beside what the counter says."""
    torch.manual_seed(0)
    rule = METHODS[method]()
    model = nn.Sequential(BinaryLinear(rule, 7, 5), BinaryLinear(rule, 5, 3))
    counter = FlipCounter(model)
    signs = [[layer.binary_weight() for layer in counter.layers]]
    records, per_step = [], []
    for step in range(steps):
        for layer in counter.layers:
            flip = torch.where(torch.rand_like(layer.weight) < 0.15, -1.0, 1.0)
            layer.weight.data.mul_(flip)
        counter.count()
        signs.append([layer.binary_weight() for layer in counter.layers])
        if step in (steps // 2, steps - 1):
            counts, flips = counter.end_epoch()
            records.append(counts)
            per_step.append(flips)
    return counter, signs, records, per_step


@pytest.mark.parametrize("method", ["bop", "latent-adam"])
def test_counts_equal_brute_force(method: str) -> None:
    steps = 40
    _, signs, records, per_step = history_of_signs(method, steps)
    flips_of_step = torch.cat(per_step)
    bounds = [(0, steps // 2 + 1), (steps // 2 + 1, steps)]
    for layer in range(2):
        flipped = torch.stack([signs[t + 1][layer] != signs[t][layer] for t in range(steps)])
        assert flips_of_step[:, layer].tolist() == flipped.flatten(1).sum(1).tolist()
        for record, (first, last) in zip(records, bounds, strict=True):
            assert record["flips"][layer] == int(flipped[first:last].sum())
            for k in WITHIN:
                undone = sum(
                    int((flipped[t] & flipped[max(0, t - k) : t].any(0)).sum()) for t in range(first, last)
                )
                assert record[f"undone_{k}"][layer] == undone
            assert record["never"][layer] == int((~flipped[:last].any(0)).sum())
            assert record["distance"][layer] == int((signs[last][layer] != signs[0][layer]).sum())
    assert sum(records[1]["undone_1"]) > 0 and sum(records[0]["never"]) > 0  # the walk exercises all of it


def test_a_counter_goes_on_from_its_state() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(BinaryLinear(METHODS["bop"](), 6, 6))
    unbroken, restored = FlipCounter(model), FlipCounter(model)
    for half in range(2):
        for _ in range(5):
            model[0].weight.data.mul_(torch.where(torch.rand(6, 6) < 0.3, -1.0, 1.0))  # type: ignore[operator]
            unbroken.count()
            if half:
                restored.count()
        counts, flips = unbroken.end_epoch()
        if not half:
            restored.load_state_dict(unbroken.state_dict())
        else:
            assert restored.end_epoch()[0] == counts
            assert flips.shape == (5, 1)
