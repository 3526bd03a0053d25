"""`flipbench claims`: the verdicts that are there, one of them, and exit codes."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from matplotlib.figure import Figure

from suite.cli import publish as publish_command
from suite.experiment import files
from suite.experiment.claim_files import claim_file, claim_files
from tests.suite.cli.conftest import TINY, Flipbench
from tests.support.fake_claims import Arm, around, write_claim
from tests.support.fake_records import damage, final_run

CLAIM = """
claim:
  id: {id}
  title: B is better
  sentence: Ease of use is an important consideration
  source: the reply
  lines: [11]
  supports: it is better
  refutes: it is not
  limits: small
  tests:
    - {{kind: contrast, says: b beats a, of: {{b: 1, a: -1}}, expect: above, margin: 0.5}}
"""


@pytest.fixture
def claims(flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flipbench]:
    """Two claims, one with records; none is shipped, and no drawing is rendered."""

    def blank(figure: Figure, file: BinaryIO, **_: object) -> None:
        file.write(b"<svg>\n</svg>\n")

    monkeypatch.setattr(Figure, "savefig", blank)
    monkeypatch.setattr(files, "SHIPPED", flipbench.folder / "shipped")
    monkeypatch.setattr(publish_command, "BROWSER", "no-such-browser")
    methods = "[{name: bop, label: a}, {name: bop, label: b}]"
    body = TINY.replace("[bop, latent-adam]", methods).replace("trials: 2", "trials: 0")
    folder = flipbench.folder / "experiments" / "claims"
    folder.mkdir()
    for name, id_ in (("better", "C9"), ("other", "C10")):
        (folder / f"{name}.yaml").write_text(body + CLAIM.format(id=id_))
    found = claim_file("claims/better")
    assert found is not None
    arms = {"a": Arm(around(0.90, 4, key=1)), "b": Arm(around(0.93, 4, key=2))}
    write_claim(flipbench.folder / "results" / "claims" / "better", found.claim, arms, "claims/better")
    yield flipbench


def test_all_claims_are_listed_and_their_page_is_written(claims: Flipbench) -> None:
    ended = claims("claims")
    assert ended.code == 0 and ended.err == ""
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["C9", "B", "is", "better", "✓", "supported", "4", "runs", "The", "test", "holds."] in rows
    assert "Open: 1 of the 2 claims is not decided: not run C10." in ended.out
    assert "page: results/claims/index.html" in ended.out
    assert Path("results/claims/claims.md").is_file() and not Path("results/published").exists()


def test_publish_writes_the_text_and_the_numbers(claims: Flipbench) -> None:
    ended = claims("claims", "--publish", "--json")
    assert ended.code == 0 and [each["verdict"] for each in ended.json] == ["supported", "not-run"]
    assert "no picture" in ended.err
    names = sorted(path.name for path in Path("results/published/claims").iterdir())
    assert names == ["claims.csv", "claims.md"]


@pytest.mark.parametrize("name", ["better", "claims/better", "C9", "experiments/claims/better.yaml"])
def test_one_claim_by_its_experiment_or_its_id(claims: Flipbench, name: str) -> None:
    ended = claims("claims", name)
    assert ended.code == 0 and "✓ supported: The test holds." in ended.out and "b beats a" in ended.out
    assert "run it: make claim C=better (8 of 8 runs" in ended.out
    assert not Path("results/claims/index.html").exists()


def test_records_of_ones_own_have_the_verdict_of_their_plan(claims: Flipbench) -> None:
    changed = ("--set", "seeds=3", "--set", "tuning.seed=7")
    swept = claims("sweep", "claims/better", *changed, "--device", "cpu")
    (folder,) = Path("results/claims").glob("better-*")
    (line,) = (line for line in swept.out.splitlines() if line.startswith("C9 "))
    assert swept.code == 0 and f"its tests: flipbench claims claims/{folder.name}" in swept.out
    for name in (f"claims/{folder.name}", str(folder)):
        ended = claims("claims", name)
        assert ended.code == 0 and "3 runs" in ended.out and "run it:" not in ended.out
        (verdict,) = (line for line in ended.out.splitlines() if line.startswith(("✓", "✗", "?")))
        assert verdict.partition(": ")[0] in line
    assert "4 runs" in claims("claims", "better").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["results"], "results"),
        (["betteer"], "there is no claim 'betteer'"),
        (["tiny"], "tiny makes no claim"),
        (["better", "--publish"], "leave out NAME"),
    ],
)
def test_what_is_no_claim(claims: Flipbench, arguments: list[str], message: str) -> None:
    ended = claims("claims", *arguments)
    assert ended.code == 2 and message in ended.err and ended.out == ""


def test_damaged_records_are_shown_and_end_with_2(claims: Flipbench) -> None:
    damage(final_run(Path("results/claims/better"), "digits.mlp.a", 0) / "result.json")
    Path("results/claims/other").mkdir()
    Path("results/claims/other/plan.json").write_text("{")
    Path("results/claims/other/runs").mkdir()
    ended = claims("claims")
    assert ended.code == 2 and "2 damaged or contradictory records" in ended.err
    assert "7 of 8 runs are in" in ended.out and "! damaged" in ended.out
    assert "with damaged records C10" in ended.out and Path("results/claims/index.html").is_file()


def test_the_costs_are_those_of_the_plan(claims: Flipbench) -> None:
    from suite.experiment.plan import make_plan
    from suite.experiment.spec import ExperimentFile

    tuned = Path("experiments/tuned.yaml")
    text = Path("experiments/claims/other.yaml").read_text()
    tuned.write_text(text.replace("trials: 0", "trials: 3, studies: 2"))
    names = [each.name for each in claim_files()]
    assert names == ["claims/better", "claims/other", "tuned"]
    for name, path in (("claims/other", "experiments/claims/other.yaml"), ("tuned", str(tuned))):
        plan, found = make_plan(ExperimentFile(Path(path))), claim_file(name)
        assert found is not None and (found.runs, found.epochs) == (plan.runs, plan.epochs)


def test_a_plan_shows_its_claim(claims: Flipbench) -> None:
    ended = claims("plan", "claims/other")
    assert ended.code == 0 and "claim C10: Ease of use is an important consideration" in ended.out
    assert (
        "b beats a: supported if above 0.5 points; 2 runs of each arm: no verdict, which takes 3" in ended.out
    )
