"""The sentences about whole tasks, as a reader sees them."""

from dataclasses import replace
from pathlib import Path

import pytest

from report.analysis.comparison import compare
from report.analysis.evidence import MethodEvidence, TaskEvidence
from report.analysis.judgement import judge
from report.page.verdict import basis, constant, incomplete, runs, verdict
from report.read.experiment import read_records
from suite.records.schema import Track
from tests.support.fake_records import TASKS, final_run, remove, write_experiment, write_plan
from tests.support.final_runs import method, task

HIGH = method("high", [0.95, 0.951, 0.952])
NEAR = method("near", [0.945, 0.95, 0.951])
LOW = method("low", [0.90, 0.901, 0.903])
LOWER = method("lower", [0.80, 0.801, 0.803])


def text(of: TaskEvidence) -> str:
    """The sentences with plain spaces and signs."""
    return verdict(judge(of)).replace("\u00a0", " ").replace("\u2212", "-")


def notes(of: TaskEvidence) -> list[str]:
    found = [*incomplete(judge(of)), *constant(judge(of))]
    return [each.replace("\u00a0", " ") for each in found]


def family(first: int, count: int, level: float) -> list[MethodEvidence]:
    """Methods that lie 0.01 points apart."""
    return [
        method(f"m{n:02}", [level - 1e-4 * n + step for step in (0.0, 0.01, -0.01, 0.005)], images=10_000)
        for n in range(first, first + count)
    ]


WILD = method("wild", [0.85, 0.7, 0.95, 0.5], images=10_000)
FORTY = task(*family(0, 25, 0.9), *family(25, 15, 0.7), images=10_000)
TRACKS = task(
    method("bop (random)", [[0.90, 0.91], [0.91, 0.92], [0.92, 0.93]]),
    method("bop (tpe)", [[0.97, 0.97], [0.971, 0.972], [0.97, 0.972]]),
    studies=3,
)


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (
            task(HIGH, NEAR, LOW, LOWER),
            "high has the highest mean, 95.10 ± 0.25 % (n = 3 runs); near (-0.49 to 0.95 points behind) may "
            "be best too. low is worse by 4.97 [2.73, 7.20] and lower by 14.97 [11.33, 18.60] points.",
        ),
        (
            task(HIGH, LOW, studies=1),
            "Given one draw of the tuning, high has the highest mean, 95.10 ± 0.25 % (n = 3 runs). Given the "
            "same draw, low is worse by 4.97 [3.62, 6.32] points.",
        ),
        (
            TRACKS,
            "bop (tpe) has the highest mean, 97.08 ± 0.19 % (n = 3 studies). bop (random) is worse by 5.58 "
            "[3.63, 7.54] points.",
        ),
        (
            task(method("a", [0.9, 0.91, 0.92]), method("b", [0.92, 0.91, 0.9]), LOWER),
            "a and b share the highest mean, 91.00 % (n = 3 runs). lower is worse by 10.87 [8.09, 13.64] "
            "points.",
        ),
        (
            task(method("a", [0.9] * 3), method("b", [0.8] * 3)),
            "a has the highest mean, 90.00 ± 0.00 % (n = 3 runs). b is worse by 10.00 [8.14, 11.86] points.",
        ),
        (
            task(HIGH, NEAR, margin=0.02),
            "high has the highest mean, 95.10 ± 0.25 % (n = 3 runs); near (-0.43 to 0.90 points behind) may "
            "be best too. near (-0.26 to 0.73 points behind) is equal to high within 2.00 points.",
        ),
        (
            task(method("a", [[0.9, 0.91]] * 2), method("b", [[0.5, 0.51], [0.5, 0.52]]), studies=2),
            "Too few studies for a verdict (n = 2; it takes 3): a 90.50 ± 0.00 % and b 50.75 ± 3.18 %.",
        ),
        (
            task(method("a", [0.9]), method("b", [0.8]), studies=1),
            "Given one draw of the tuning, too few runs for a verdict (n = 1; it takes 3): a 90.00 % and b "
            "80.00 %.",
        ),
        (
            task(HIGH, LOW, method("lost", [0.97, 0.97], missing=1), method("nan", [0.96] * 3, diverged=1)),
            "high has the highest mean of the complete methods, 95.10 ± 0.25 % (n = 3 runs). low is worse by "
            "4.97 [2.16, 7.77] points.",
        ),
        (
            task(HIGH, method("lost", [0.97, 0.97], missing=1)),
            "Only high has all of its runs and none diverged: 95.10 ± 0.25 %.",
        ),
        (
            task(method("a", [0.9], missing=2), method("b", [0.8], diverged=2)),
            "No method has all of its runs without a diverged one, so none can be called best.",
        ),
        (
            task(method("a", [], missing=2), method("b", [], missing=2), studies=1),
            "No final run has finished, so nothing can be said about the methods yet.",
        ),
        (
            task(HIGH, method("frozen", [0.96] * 3, control=True)),
            "high reaches 95.10 ± 0.25 % on test (n = 3 runs); there is no other method to compare.",
        ),
        (
            task(HIGH, method("frozen", [], missing=3, control=True)),
            "high reaches 95.10 ± 0.25 % on test (n = 3 runs); there is no other method to compare.",
        ),
        (
            task(method("a", [0.9, 0.8], missing=1), studies=1),
            "Given one draw of the tuning, a reaches 85.00 ± 63.53 % on test (n = 2 runs), provisional: 2 of "
            "3 runs in; there is no other method to compare.",
        ),
        (
            FORTY,
            "m00 has the highest mean, 90.13 ± 1.36 % (n = 4 runs); 24 of the 39 others (-2.89 to 3.14 "
            "points behind) may be best too. 15 others are worse, from m25 by 20.25 [16.96, 23.54] to m39 by "
            "20.39 [17.10, 23.68] points.",
        ),
        (
            task(*family(0, 5, 0.9), images=10_000),
            "m00 has the highest mean, 90.13 ± 1.36 % (n = 4 runs); all 4 others (-2.23 to 2.28 points "
            "behind) may be best too.",
        ),
        (
            task(*family(0, 12, 0.9), WILD, images=10_000),
            "m00 has the highest mean, 90.13 ± 1.36 % (n = 4 runs); 11 of the 12 others (-2.56 to 2.68 "
            "points behind) may be best too. wild varies too much between runs to be placed.",
        ),
    ],
)  # fmt: skip
def test_the_verdict(of: TaskEvidence, words: str) -> None:
    assert text(of) == words


def test_methods_without_a_verdict_are_named_with_the_reason() -> None:
    of = task(
        HIGH,
        method("lost", [0.97, 0.97], missing=1),
        method("both", [0.97], missing=1, diverged=1),
        method("nan", [0.96] * 3, diverged=1),
        method("never", [], diverged=3),
        method("same", [0.5] * 3),
    )
    assert notes(of) == [
        "Provisional, so without a verdict: lost (2 of 3 runs in) and both (2 of 3 runs in, 1 diverged).",
        "Diverged, counted at chance and without a verdict: nan (1 of 4 runs, 96.00 % without) and never (3 "
        "of 3 runs).",
        "The runs of lost and same all score the same: ±0 is no proof that further ones would.",
    ]


def test_a_row_with_fewer_studies_than_the_best_is_named() -> None:
    rows = [method("few", [[0.9, 0.91], [0.92, 0.93]]), *TRACKS.methods]
    assert notes(task(*rows, studies=3)) == ["Too few studies for a verdict: few (n = 2; it takes 3)."]
    higher = task(method("few", [[0.98, 0.99]]), *TRACKS.methods, studies=3)
    assert text(higher) == (
        "bop (tpe) has the highest mean of the complete methods with 3 studies, 97.08 ± 0.19 % (n = 3 "
        "studies). bop (random) is worse by 5.58 [3.19, 7.98] points."
    )
    assert notes(task(*rows[:1], method("also", [[0.8, 0.81], [0.82, 0.83]]), studies=2)) == []


def test_the_basis_names_the_runs_of_every_track(tmp_path: Path) -> None:
    tracks = [Track(name="random", trials=2), Track(name="tpe", trials=2, studies=3)]
    records = read_records(
        write_experiment(tmp_path, tasks=TASKS[:1], methods=("bop",), seeds=1, tracks=tracks)
    )
    assert runs(records) == (
        "1 seed of one study's winner (random), 1 seed of each of 3 studies' winners (tpe) per method"
    )


@pytest.mark.parametrize("finished", [True, False])
def test_the_basis_names_the_controls_that_have_a_score(tmp_path: Path, finished: bool) -> None:
    folder = write_experiment(tmp_path, tasks=TASKS[:1], methods=("bop", "latent_sgd"), seeds=2, trials=0)
    plan = read_records(folder).plan
    control = replace(plan.methods["latent_sgd"], control=True)
    write_plan(folder, replace(plan, methods={**plan.methods, "latent_sgd": control}))
    for number in range(0 if finished else 2):
        remove(final_run(folder, "digits.mlp.latent_sgd", number))
    records = read_records(folder)
    assert ("controls: latent_sgd" in basis(records, compare(records, records.tasks[0]))) is finished


def test_every_competitor_is_in_a_sentence() -> None:
    of = task(HIGH, NEAR, LOW, method("lost", [0.97, 0.97], missing=1))
    whole = " ".join([text(of), *notes(of)])
    assert all(f"{each.method} " in whole for each in of.methods)
