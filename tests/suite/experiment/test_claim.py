"""A claim at the door: every mistake in it has a message with its place; the shipped claims are whole."""

# ruff: noqa: E501 - in the table below a mistake and its message stand on one line

import re
from pathlib import Path

import pytest

from suite.experiment.claim_files import cost
from suite.experiment.files import experiments
from suite.experiment.plan import Plan, make_plan
from suite.experiment.spec import ExperimentFile, SpecError
from suite.records.claim import cells_of_arm, groups_of
from suite.records.codec import decode, encode
from suite.records.schema import PlanRecord

HEAD = """version: 1
summary: Small.
tasks:
  - {{data: digits, model: [{{name: mlp, label: wide}}, {{name: mlp, label: thin, hidden: [8]}}]}}
methods: [bop, {{name: bop, label: bop-b, gamma: 0.1}}, frozen]
train: {{epochs: 1, batch_size: 32}}
{more}
claim:
  {{id: C1, title: t, sentence: s, source: s, supports: s, refutes: r, limits: l, tests: [
    {test}]}}
"""
CONTRAST = "{kind: contrast, says: s, of: {bop: 1, frozen: -1}, expect: above}"


def plan_of(folder: Path, test: str, more: str = "tuning: {trials: 0}") -> Plan:
    path = folder / "claim.yaml"
    path.write_text(HEAD.format(test=test, more=more))
    return make_plan(ExperimentFile(path))


@pytest.mark.parametrize(
    ("test", "key", "words"),
    [
        ("{kind: contrst, says: s}", "kind", "there is no 'contrst'; did you mean 'contrast'? the choices are identical, contrast, order, exact, ease"),
        ("{says: s}", "kind", "is missing; the choices are identical, contrast, order, exact, ease"),
        ("{kind: contrast, says: s, of: {bop: 1, frozen: -1}, expect: above, match: {target: 1.0, goal: 2}}", "match.goal", "unknown key; the choices are measure, target, tolerance"),
        ("{kind: contrast, says: s, of: {bop: 1, frozen: -1}, expect: above, margn: 1}", "margn", "unknown key; did you mean 'margin'? the choices are kind, says, measure, minus, of, expect, margin, match, control"),
        ("{kind: contrast, says: s, of: {bop: 1, frozen: -1}, expect: up}", "expect", "there is no 'up'; the choices are above, below, within, beyond"),
        ("{kind: contrast, says: s, of: {bop: 1, frozn: -1}, expect: above}", "", "no cell is called 'frozn'; did you mean 'frozen'?"),
        ("{kind: contrast, says: s, of: {bop: 1, frozen: 1}, expect: above}", "of", "the weights must add up to 0, or `minus` must name a second measure of the same network"),
        ("{kind: contrast, says: s, of: {bop: 1, frozen: -1}, expect: within}", "margin", "within needs a margin above 0"),
        ("{kind: contrast, says: s, of: {bop: 1, wide.frozen: -1}, expect: above}", "", "name all arms alike: METHOD, MODEL.METHOD or DATA.MODEL.METHOD"),
        ("{kind: contrast, says: s, measure: test_top, of: {bop: 1, frozen: -1}, expect: above}", "measure", "there is no measure 'test_top'; did you mean 'test_top1'?"),
        ("{kind: contrast, says: s, measure: probe.reestimate.x, of: {bop: 1, frozen: -1}, expect: above}", "measure", "this experiment has no probe 'reestimate'; the choices are signs"),
        ("{kind: contrast, says: s, of: {bop*: 1, frozen: -1}, expect: above}", "", "'bop*' names a pool: say with `match` which of its settings counts"),
        ("{kind: contrast, says: s, of: {bop: 1, frozen: -1}, expect: above, match: {measure: flip, target: 1}}", "match.measure", "there is no measure 'flip'; did you mean 'flips'?"),
        ("{kind: order, says: s, arms: [bop, frozen], shape: rising}", "arms", "needs at least 3 entries"),
        ("{kind: order, says: s, arms: [bop, frozen, bop], shape: rising}", "", "an arm is named twice"),
        ("{kind: ease, says: s, of: bop, against: frozen, expect: above}", "", "ease needs 20 random draws of each method, not 0: raise tuning.trials"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, test: str, key: str, words: str):
    with pytest.raises(SpecError) as error:
        plan_of(tmp_path, test, "tuning: {trials: 0}\nprobes: [signs]")
    message = str(error.value)
    assert "\n" not in message, "one problem, one line"
    where = f"claim.tests.0.{key}" if key else "claim.tests.0"
    assert re.search(rf"claim\.yaml:11:\d+: {re.escape(where)}: {re.escape(words)}", message), message


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ("probe.reestimate.test_top1.kep", "the probe 'reestimate' leaves no number 'test_top1.kep'; did you mean 'test_top1.kept'? the choices are val_loss.kept, "),
        ("probe.signs.weights", "the probe 'signs' leaves no number 'weights'; the choices are none"),
    ],
)  # fmt: skip
def test_a_number_that_no_probe_leaves(tmp_path: Path, measure: str, words: str):
    more = "tuning: {trials: 0}\nprobes: [signs, reestimate]"
    test = f"{{kind: contrast, says: s, measure: {measure}, of: {{bop: 1, frozen: -1}}, expect: above}}"
    with pytest.raises(SpecError) as error:
        plan_of(tmp_path, test, more)
    where = "claim.tests.0.measure"
    assert re.search(rf"claim\.yaml:11:\d+: {where}: {re.escape(words)}", str(error.value)), error.value
    assert plan_of(tmp_path, test.replace(measure, "probe.reestimate.test_top1.kept"), more)


def test_identical_needs_the_hashes(tmp_path: Path):
    test = "{kind: identical, says: s, arms: [bop, bop-b]}"
    with pytest.raises(SpecError, match=r"identical needs `probes: \[signs\]` in the experiment"):
        plan_of(tmp_path, test)
    assert plan_of(tmp_path, test, "tuning: {trials: 0}\nprobes: [signs]").record.claim is not None


def test_ease_needs_twenty_draws_besides_the_default(tmp_path: Path):
    test = "{kind: ease, says: s, of: bop, against: frozen, expect: above, margin: -10}"
    with pytest.raises(SpecError, match="not 18"):
        plan_of(tmp_path, test, "tuning: {trials: 10, studies: 2}")
    assert plan_of(tmp_path, test, "tuning: {trials: 11, studies: 2}").record.claim is not None
    path = tmp_path / "more.yaml"
    text = HEAD.format(test=test, more="tuning: {trials: 8, studies: 2}")
    path.write_text(text.replace("[bop,", "[{name: bop, studies: 3},"))
    with pytest.raises(SpecError, match="not 14"):  # frozen has two studies
        make_plan(ExperimentFile(path))
    path.write_text(path.read_text().replace("frozen]", "{name: frozen, studies: 4}]"))
    plan = make_plan(ExperimentFile(path))
    assert cost(plan.experiment) == (plan.runs, plan.epochs)


def test_arms_of_one_test_are_on_one_data_set_and_ease_on_one_model(tmp_path: Path):
    ease = "{kind: ease, says: s, of: wide.bop, against: thin.bop, expect: above, margin: -10}"
    with pytest.raises(SpecError, match="its arms are on different models, which have no best setting"):
        plan_of(tmp_path, ease, "tuning: {trials: 21}")
    text = HEAD.format(
        test="{kind: contrast, says: s, of: {digits.wide.bop: 1, few.wide.bop: -1}, expect: above}",
        more="tuning: {trials: 0}",
    )
    path = tmp_path / "two.yaml"
    path.write_text(
        text.replace("data: digits", "data: [digits, {name: digits, label: few, train_limit: 99}]")
    )
    with pytest.raises(SpecError, match="its arms are on different data sets, whose images cannot"):
        make_plan(ExperimentFile(path))


def test_the_plan_holds_the_claim_and_without_one_has_no_such_key(tmp_path: Path):
    record = plan_of(tmp_path, CONTRAST).record
    written = encode(record)
    assert written["claim"]["tests"][0]["of"] == {"bop": 1.0, "frozen": -1.0}
    assert decode(PlanRecord, written, Path("plan.json")) == record
    path = tmp_path / "claim.yaml"
    path.write_text(path.read_text().partition("claim:")[0])
    bare = make_plan(ExperimentFile(path)).record
    assert "claim" not in encode(bare)
    assert [cell.trial.run_id for cell in bare.cells] == [cell.trial.run_id for cell in record.cells]


def test_arms_name_cells_from_the_right(tmp_path: Path):
    cells = plan_of(tmp_path, CONTRAST).record.cells

    def names(arm: str) -> dict[tuple[str, ...], list[str]]:
        return {group: [each.cell for each in found] for group, found in cells_of_arm(arm, cells).items()}

    assert names("frozen") == {
        ("digits", "wide"): ["digits.wide.frozen"],
        ("digits", "thin"): ["digits.thin.frozen"],
    }
    assert names("thin.frozen") == {("digits",): ["digits.thin.frozen"]}
    assert names("digits.thin.frozen") == {(): ["digits.thin.frozen"]}
    assert names("bop") == {("digits", "wide"): ["digits.wide.bop"], ("digits", "thin"): ["digits.thin.bop"]}
    assert names("thin.bop*") == {("digits",): ["digits.thin.bop", "digits.thin.bop-b"]}
    assert names("mlp.bop") == {}
    assert list(groups_of(["bop", "frozen"], cells)) == [("digits", "wide"), ("digits", "thin")]


def claims() -> dict[str, Path]:
    return {
        name: path for name, path in experiments().items() if re.search(r"^claim:", path.read_text(), re.M)
    }


def test_every_claim_of_the_reply_has_an_experiment():
    found: dict[str, list[str]] = {}
    for name, path in claims().items():
        claim = ExperimentFile(path).experiment().claim
        assert claim is not None
        found.setdefault(claim.id, []).append(name)
    again = {id_ for id_ in found if id_[-1].islower()}  # the same claim, on another task
    assert {*found} - again == {*(f"C{n}" for n in range(1, 23)), "M"}
    assert {id_[:-1] for id_ in again} <= {*found}
    assert all(len(names) == 1 for names in found.values()), found
