"""The inclusions are those of the update rules, and rows are paired only where nothing else differs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from optimizers import METHODS
from report.analysis.gain import welch
from report.analysis.inclusion import (
    INCLUSIONS,
    Inclusion,
    InclusionCheck,
    inclusions,
    nothing_between,
    reaches,
)
from report.read.experiment import read_records
from report.read.records import Records
from suite.records.schema import HyperCard, PlanRecord
from tests.support.fake_records import TASKS, searched, write_experiment

NEAR = {"sigma": 1e-30, "alpha": 0.0, "momentum": 1e-12}  # as near as all methods take it


def weights_after(name: str, hypers: dict[str, float], steps: int = 4) -> torch.Tensor:
    """The binary weights of a method after a few steps on the same gradients."""
    rule, random = METHODS[name](**hypers), torch.Generator().manual_seed(0)
    stored = rule.start(torch.randn(20, 20, generator=random)).requires_grad_()
    optimizer = rule.optimizer([stored])
    for group in optimizer.param_groups:
        group.update(progress=0.0, epoch=1)
    for _ in range(steps):
        stored.grad = torch.randn(20, 20, generator=random)
        optimizer.step()
    return torch.sign(rule.read(stored.detach()))


@pytest.mark.parametrize("rule", INCLUSIONS, ids=lambda rule: f"{rule.general} of {rule.special}")
def test_the_general_method_is_the_special_one_there(rule: Inclusion) -> None:
    common = {"gamma": 0.2, "sigma": 0.3, "threshold": 0.05, "lr": 0.3}
    special_hypers = {name: common[name] for name in METHODS[rule.special].hypers if name in common}
    general_hypers = {name: common[name] for name in METHODS[rule.general].hypers if name in common}
    general_hypers[rule.hyper] = NEAR[rule.hyper]
    if rule.hyper == "sigma":  # m / 1e-10 is compared with the threshold
        general_hypers["threshold"] = 0.05 / 1e-10
    special = weights_after(rule.special, special_hypers)
    assert torch.equal(weights_after(rule.general, general_hypers), special)
    assert not torch.equal(special, weights_after(rule.special, special_hypers, steps=0))


def loss(first: list[float], second: list[float]) -> bool:
    return InclusionCheck(INCLUSIONS[0], "general", "special", True, welch(first, second)).lost


def test_only_a_shown_loss_is_one() -> None:
    assert loss([0.90, 0.901, 0.902], [0.95, 0.951, 0.952])
    assert not loss([0.95, 0.951, 0.952], [0.90, 0.901, 0.902])
    assert not loss([0.90, 0.901], [0.95, 0.951, 0.952])  # two units carry no verdict
    assert not loss([0.90, 0.99], [0.95, 0.96]) and not loss([0.90], [0.95, 0.951])


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """latent_sgd stands for momentum, latent_adam for plain SGD."""
    return read_records(write_experiment(tmp_path, tasks=TASKS[:1], seeds=1, trials=2))


def changed(records: Records, change: Callable[[PlanRecord], PlanRecord]) -> Records:
    return replace(records, plan=change(records.plan))


def as_momentum_and_sgd(
    general: dict[str, HyperCard], special: dict[str, HyperCard]
) -> Callable[[PlanRecord], PlanRecord]:
    def change(plan: PlanRecord) -> PlanRecord:
        cards = dict(plan.methods)
        cards["latent_sgd"] = replace(cards["latent_sgd"], method="latent-momentum", hypers=general)
        cards["latent_adam"] = replace(cards["latent_adam"], method="latent-sgd", hypers=special)
        return replace(plan, methods=cards)

    return change


def test_rows_are_paired_where_the_experiment_fixes_the_same(records: Records) -> None:
    lr, clip = searched(0.1, "log", 1e-3, 1.0), HyperCard(default=1.0, range=None)
    momentum = searched(0.9, "uniform", 0.0, 0.99)
    cells = records.cells
    alike = changed(records, as_momentum_and_sgd({"lr": lr, "momentum": momentum}, {"lr": lr}))
    ((rule, general, special),) = inclusions(alike, cells)
    assert (general.method, special.method, reaches(alike, rule, general)) == (
        "latent_sgd",
        "latent_adam",
        True,
    )
    narrow = {"lr": lr, "momentum": searched(0.9, "uniform", 0.1, 0.99)}
    assert not reaches(changed(records, as_momentum_and_sgd(narrow, {"lr": lr})), rule, general)
    fixed = {"lr": lr, "momentum": HyperCard(default=0.9, range=None)}
    assert inclusions(changed(records, as_momentum_and_sgd(fixed, {"lr": lr})), cells) == []
    other = as_momentum_and_sgd({"lr": lr, "momentum": momentum}, {"lr": lr, "clip": clip})
    assert inclusions(changed(records, other), cells) == []


@pytest.mark.parametrize(
    ("rule", "general", "special", "compared"),
    [
        ("bop-second-order", {"unbiased": False}, {}, True),
        ("bop-second-order", {"unbiased": True}, {}, False),  # 0 / 0 under the root
        ("bop-second-order", {"unbiased": False, "real.lr": 0.01}, {"real.lr": 0.01}, True),
        ("bop-second-order", {"unbiased": False, "real.lr": 0.01}, {}, False),
        ("prob-bop-second-order", {}, {"unbiased": False}, True),
        ("prob-bop-second-order", {}, {"unbiased": True}, False),
        ("prob-bop", {"unbiased": False}, {}, False),
    ],
)
def test_what_one_of_two_rows_alone_has_must_be_as_the_inclusion_says(
    rule: str, general: dict[str, float], special: dict[str, float], compared: bool
) -> None:
    (found,) = (each for each in INCLUSIONS if each.general == rule)
    assert nothing_between(found, general, special) == compared
