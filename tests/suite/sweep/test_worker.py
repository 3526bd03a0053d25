"""What a worker reports of a method that fails, and that no plugin reaches the runs of other methods."""

from pathlib import Path

import pytest
import torch

from optimizers import METHODS
from optimizers.core import Method, WeightRule
from suite.machine.apart import apart
from suite.machine.errors import UserError
from suite.records.run import RunFolder
from suite.records.seeds import tuning_seed
from suite.sweep import worker
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.messages import Failed, Lost
from suite.sweep.pool import LocalPool, Machine
from suite.sweep.worker import run_once
from tests.support.tiny import CPU, digests, tiny_plan, tiny_trial


class OwnEnd(BaseException):
    """Neither an Exception nor one of Python's own."""


class Mute(Exception):
    def __str__(self) -> str:
        raise SystemExit(0)


class Endless(Exception):
    def __str__(self) -> str:
        return "x" * 10**7


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (SystemExit(0), Failed, "SystemExit: 0"),
        (KeyboardInterrupt(), Failed, "KeyboardInterrupt: "),
        (OwnEnd("gone"), Failed, "OwnEnd: gone"),
        (OSError(28, "No space left on device"), Lost, "OSError: [Errno 28] No space left on device"),
        (OSError(5, "Input/output error", "runs"), Lost, "OSError: [Errno 5] Input/output error: 'runs'"),
        (ValueError("a \udcff"), Failed, "ValueError: a \\udcff"),
        (Mute(), Failed, "Mute: its text cannot be made: SystemExit"),
        (Endless(), Failed, "Endless: xxx"),
        (RuntimeError("CUDA error: out of memory \ud800"), Lost, "RuntimeError: CUDA error: out of memory"),
    ],
    ids=range(9),
)
def test_whatever_a_method_raises_is_the_failure_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, kind: type, text: str
) -> None:
    class Fails(torch.optim.SGD):
        steps = 0

        def step(self, closure=None):  # type: ignore[override]
            Fails.steps += 1
            if Fails.steps > 1:  # the first one is that of the plan
                raise error

    rule = WeightRule(METHODS["bop"]().start, METHODS["bop"]().read, lambda params: Fails(params, lr=0.1))
    method = Method("plugged", "https://example.org", "For a test.", {}, lambda: rule)
    monkeypatch.setitem(METHODS, "plugged", method)
    trial = tiny_trial(tmp_path, "plugged", "tune", 7, "methods=[plugged]")
    Fails.steps = 1
    message = run_once(tmp_path / trial.run_id, trial, CPU, 60.0)
    assert isinstance(message, kind) and isinstance(message, Failed | Lost)
    assert message.failure and message.failure.error.startswith(text) and len(message.failure.error) <= 2000
    if isinstance(message, Failed):
        assert RunFolder(tmp_path / trial.run_id).failure() == message.failure


def test_a_plugin_that_was_changed_after_the_start_of_a_sweep_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit")
    with pytest.raises(UserError, match=r"mine\.py was changed after this sweep had begun"):
        worker.load_files({"0123": str(tmp_path / "mine.py")})


MEDDLER = """
import os
from pathlib import Path
import torch
from torch.nn import functional
from optimizers.core import WeightRule, method, sign

functional.cross_entropy = lambda *a, **k: a[0].sum() * float("nan")  # every run in this process diverges
with open(Path(__file__).with_name("imports"), "a") as file:
    print("{name}", os.path.sameopenfile(1, 2), file=file)

def as_it_is(weight):
    return weight

@method(paper="https://example.org")
def {name}() -> WeightRule:
    'Mine.'
    return WeightRule(sign, as_it_is, lambda params: torch.optim.SGD(params, lr=0.0))
"""


def test_no_plugin_is_imported_where_another_method_is_trained(tmp_path: Path) -> None:
    """One worker after another in one place: for mine, for yours, for bop, which finds torch as it was."""
    for name in ("mine", "yours"):
        (tmp_path / f"{name}.py").write_text(MEDDLER.format(name=name))
    changes = ("plugins=[mine.py, yours.py]", "methods=[mine, yours, bop]", "tuning={trials: 1}", "seeds=1")
    plan = apart(["mine.py", "yours.py"], tiny_plan, tmp_path, *changes)
    assert not {"mine", "yours"} & METHODS.keys()
    prepare_folder(plan, tmp_path / "results", {})
    with LocalPool(Machine(("cpu",)), plan.plugins) as pool:
        assert Sweep(plan, tmp_path / "results", pool).run()
    bop = plan.cells[2]
    seed = tuning_seed(0, bop.name, "random", 0)
    for trial in (bop.trial(bop.published, seed, "tune"), bop.first):
        run_once(tmp_path / "alone" / trial.run_id, trial, CPU, 60.0)
    assert len(digests(tmp_path / "alone")) == 2
    assert digests(tmp_path / "alone").items() <= digests(tmp_path / "results" / "runs").items()
    statuses = [
        result.status
        for run in (tmp_path / "results" / "runs").iterdir()
        if (result := RunFolder(run).result())
    ]
    assert sorted(statuses) == ["diverged"] * 4 + ["done"] * 2
    # Both to plan with; then each in its own worker: two tuning runs, and two final ones after bop's.
    imports = (tmp_path / "imports").read_text().splitlines()
    assert (
        imports[:2] == ["mine True", "yours True"] and set(imports) == set(imports[:2]) and len(imports) <= 6
    )
