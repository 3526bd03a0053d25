"""Probes at the door: named and checked in the experiment, of final runs alone, counted in the plan."""

from pathlib import Path

import pytest

from optimizers.core.checks import check_positive
from suite.cli.views.plan import plan_view
from suite.experiment.cost import probed_images
from suite.experiment.spec import SpecError
from suite.probes import PROBES
from suite.probes.probe import Found, Trained, probe
from suite.records.agreement import named_runs
from suite.records.codec import decode, encode
from suite.records.schema import Ledger, PlanRecord, StudyEntry, TuningEntry, Winner
from suite.records.trial import Choice, Trial
from tests.support.tiny import tiny_plan


@probe(
    images=lambda sizes, times: times * sizes.test,
    numbers=(),
    check=check_positive,
    needs_latents=True,
)
def planted(trained: Trained, *, times: int = 2) -> Found:
    """Counts something."""
    return {}


@pytest.fixture(autouse=True)
def and_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROBES, "planted", planted)


LATENT = "methods=[latent-adam]"


def test_final_runs_have_the_probes_and_tuning_runs_keep_their_ids(tmp_path: Path) -> None:
    (plain,) = tiny_plan(tmp_path, LATENT).cells
    (cell,) = tiny_plan(tmp_path, LATENT, "probes=[signs, {name: planted, times: 3}]").cells
    old, final = plain.trial(plain.published, 7, "final"), cell.trial(cell.published, 7, "final")
    assert final.probes == (Choice("signs", {}), Choice("planted", {"times": 3}))
    assert final.as_json() == old.as_json() | {"probes": [{"name": "signs"}, {"name": "planted", "times": 3}]}
    assert final.run_id != old.run_id
    assert decode(Trial, final.as_json(), tmp_path) == final
    tuning = cell.trial(cell.published, 7, "tune")
    assert tuning == plain.trial(plain.published, 7, "tune") and "probes" not in tuning.as_json()
    assert "probes" not in old.as_json()


def test_a_defaults_option_is_part_of_the_trial(tmp_path: Path) -> None:
    (one,) = tiny_plan(tmp_path, LATENT, "probes=[planted]").cells
    (other,) = tiny_plan(tmp_path, LATENT, "probes=[{name: planted, times: 2}]").cells
    assert one.first == other.first and one.first.probes == (Choice("planted", {"times": 2}),)


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        ("[sings]", "probes.0.name: there is no 'sings'; did you mean 'signs'? the choices are .*signs"),
        ("[signs, planted, signs]", "probes.2: signs is named twice"),
        ("[{name: signs, times: 2}]", "probes.0.times: unknown option; the choices are none"),
        ("[{name: planted, label: x}]", "probes.0.label: unknown option; the choices are times"),
        ("[{name: planted, times: 0}]", "probes.0.times: planted: times must be > 0, not 0"),
        (
            "[{name: planted, times: many}]",
            "probes.0.times: a whole number belongs here, not the text 'many'",
        ),
        ("[{name: interpolate, lr: 2.0}]", r"probes.0.lr: interpolate: lr must lie in \(0, 1\], not 2.0"),
        ("[{name: distort, draws: 0}]", "probes.0.draws: distort: draws must be > 0, not 0"),
        ("[3]", "probes.0: keys with values belong here, not 3"),
        ("[{times: 3}]", "probes.0.name: is missing"),
    ],
)
def test_a_wrong_probe_is_named_with_its_place_and_the_choices(
    tmp_path: Path, probes: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message.replace("?", r"\?")):
        tiny_plan(tmp_path, LATENT, f"probes={probes}")


@pytest.mark.parametrize("method", ["bop", "frozen", "real"])
def test_a_probe_of_latents_is_refused_where_there_are_none(tmp_path: Path, method: str) -> None:
    with pytest.raises(SpecError, match=f"probes.1: planted measures stored .* {method} has none"):
        tiny_plan(tmp_path, f"methods=[latent-adam, {method}]", "probes=[signs, planted]")
    tiny_plan(tmp_path, f"methods=[latent-adam, {method}]", "probes=[signs]")


def test_the_plan_counts_their_images(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, LATENT, "probes=[signs, planted]", "tuning={trials: 2, studies: 2}")
    final_runs = 2 * 2 * plan.seeds  # of the winners, and of the default
    assert probed_images(plan) == final_runs * 2 * 360
    text = " ".join(str(each) for each in plan_view(plan, tmp_path, []).renderables)
    assert "probes of each final run: signs, planted (times: 2)" in text
    assert f"and at most {final_runs * 720:,} to probe (--measure " in text
    assert "prob" not in " ".join(
        str(each) for each in plan_view(tiny_plan(tmp_path, LATENT), tmp_path, []).renderables
    )


def test_the_records_of_a_cell_name_probes_of_final_runs_alone(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, LATENT, "probes=[signs]").record
    (planned,) = plan.cells
    assert decode(PlanRecord, encode(plan), tmp_path) == plan
    hypers = {**planned.trial.method.options, "real.lr": planned.trial.real_lr}
    study = StudyEntry(
        track="random",
        number=0,
        key="",
        tuning=[TuningEntry(number=0, run="0" * 16, hypers=hypers)],
        winner=Winner(number=0, value=0.5, hypers=hypers),
        final=[],
    )
    ledger = Ledger(cell=planned.cell, studies=[study], default=[])
    (tuning,) = named_runs(ledger, planned, plan)
    assert tuning.expected.probes == () and planned.trial.probes == (Choice("signs", {}),)
