"""`list`, `show` and `plan`: what can be looked at before anything runs; and what a shell completes."""

import shutil
from pathlib import Path

import pytest

from optimizers import METHODS
from suite.cli import catalogue
from suite.cli.views.show import reflowed
from suite.data import DATASETS
from suite.experiment.files import SHIPPED, experiments, find_experiment
from suite.experiment.ranges import range_of
from suite.models import MODELS
from suite.plugins import PLUGINS
from suite.probes import PROBES
from suite.records.archive import ARCHIVE
from suite.records.files import read_json, write_json
from tests.suite.cli.conftest import TINY, Flipbench
from tests.support.fake_records import TASKS, write_experiment
from tests.support.paths import ROOT

# ---- list


def test_list_names_all_there_is(flipbench: Flipbench):
    ended = flipbench("list")
    names = [*METHODS, *MODELS, *DATASETS, "tiny", "Tiny.", "paper/section52"]
    assert ended.code == 0 and all(name in ended.out for name in names)


def test_list_as_json(flipbench: Flipbench):
    ended = flipbench("list", "--json")
    assert list(ended.json) == ["methods", "models", "data", "probes", "experiments"] and ended.err == ""
    assert ended.json["methods"]["bop"]["hypers"]["gamma"] == {
        "default": 1e-4,
        "range": "log 1e-06 … 0.1",
        "optional": False,
    }
    assert set(ended.json["models"]["mlp"]) == {"summary", "options"}
    assert set(ended.json["data"]["digits"]) == {"summary", "classes", "shape"}
    assert ended.json["experiments"]["tiny"] == "Tiny."


@pytest.mark.parametrize("kind", ["methods", "models", "data", "probes", "experiments"])
def test_list_of_one_kind_is_that_part_of_all(flipbench: Flipbench, kind: str):
    parts = {
        "methods": METHODS,
        "models": MODELS,
        "data": DATASETS,
        "probes": PROBES,
        "experiments": experiments(),
    }
    ended, everything = flipbench("list", kind), flipbench("list", "--json").json
    assert ended.code == 0 and all(name in ended.out for name in parts[kind])
    others = {name for other in parts if other != kind for name in parts[other]} - {*parts[kind]}
    first_words = {line.strip(" │").split(" ")[0] for line in ended.out.splitlines()}
    assert not first_words & others
    assert flipbench("list", kind, "--json").json == {kind: everything[kind]}


def test_the_state_of_a_method_is_measured(flipbench: Flipbench):
    cards = flipbench("list", "--json").json["methods"]
    found = {name: (card["latent_free"], card["state_floats"]) for name, card in cards.items()}
    assert found["bop"] == (True, 1)  # an average
    assert found["latent-sgd"] == (False, 0) and found["latent-momentum"] == (False, 1)
    assert found["latent-adam"] == (False, 2)  # two moments


# ---- experiments, here and shipped


def test_an_experiment_of_the_current_folder_hides_a_shipped_one(flipbench: Flipbench):
    assert experiments()["demo"] == SHIPPED / "demo.yaml" == find_experiment("demo")
    Path("experiments/demo.yaml").write_text(TINY.replace("Tiny.", "Mine."))
    assert experiments()["demo"] == Path("experiments/demo.yaml") == find_experiment("demo")
    assert flipbench("list", "experiments", "--json").json["experiments"]["demo"] == "Mine."
    assert flipbench("plan", "demo", "--json").json["summary"] == "Mine."


def test_shipped_experiments_run_from_any_folder(flipbench: Flipbench, tmp_path: Path):
    shutil.rmtree("experiments")
    assert flipbench("list", "experiments", "--json").json["experiments"].keys() == {
        str(path.relative_to(ROOT / "experiments").with_suffix(""))
        for path in (ROOT / "experiments").rglob("*.yaml")
    }
    ended = flipbench("plan", "demo")
    assert ended.code == 0 and "results/demo" in ended.out


def test_an_editors_copy_is_no_experiment(flipbench: Flipbench):
    copies = Path("experiments/.ipynb_checkpoints")
    copies.mkdir()
    (copies / "tiny-copy.yaml").write_text(TINY)
    Path("experiments/.tiny.yaml").write_text(TINY)
    assert [name for name in experiments() if "tiny" in name] == ["tiny"]


def test_a_broken_experiment_does_not_hide_the_others(flipbench: Flipbench):
    Path("experiments/broken.yaml").write_text("summary: [")
    found = flipbench("list", "experiments", "--json").json["experiments"]
    assert "broken.yaml:1:" in found["broken"] and found["tiny"] == "Tiny."


# ---- show


def test_show_a_method(flipbench: Flipbench):
    ended, card = flipbench("show", "latent-adam"), flipbench("show", "latent-adam", "--json").json
    method = METHODS["latent-adam"]
    words = [method.summary, method.paper, "optimizers/latent.py", "BinaryConnect"]
    words += [*method.hypers, *(str(range_of(hyper)) for hyper in method.hypers.values())]
    assert ended.code == 0 and all(word in ended.out for word in words)
    assert card["name"] == "latent-adam" and set(card["hypers"]) == set(method.hypers)
    assert "straight through" in card["file_description"] and card["description"].startswith(method.summary)
    (recu,) = [each for each in card["additions"] if each["value"] == "recu"]
    assert recu["hyper"] == "transform" and recu["phrase"] in ended.out and recu["paper"] in ended.out


def test_show_has_the_presets(flipbench: Flipbench):
    ended = flipbench("show", "bop")
    for name, values in METHODS["bop"].presets.items():
        assert name in ended.out and values.keys() <= set(ended.out.split())
    assert "{linear: [0.0005, 5e-07]}" in ended.out
    assert "preset" not in flipbench("show", "boat").out


def test_an_optional_hyperparameter_is_off_in_the_card_and_one_row_in_the_list(flipbench: Flipbench):
    card = [line.split() for line in flipbench("show", "latent-sgd").out.splitlines()]
    row, added = [words for words in card if words[:1] == ["ags"]]
    assert added == ["ags", "OvSW's", "scaling", "of", "small", "gradients"]
    assert row == ["ags", "off", "log", "0.001", "…", "0.1,", "published", "0.01"]
    assert "7 optional" in flipbench("list").out


def test_a_docstring_is_reflowed_but_for_its_lists_and_formulas():
    text = "One\ntwo.\n\n* three\n  four\n* five\n\n    six = 7\n    eight\n\nnine\nten"
    assert reflowed(text) == "One two.\n\n* three four\n* five\n\n    six = 7\n    eight\n\nnine ten"


def test_show_a_model(flipbench: Flipbench):
    ended, card = flipbench("show", "mlp"), flipbench("show", "mlp", "--json").json
    rows = [line.split() for line in ended.out.splitlines()]
    assert MODELS["mlp"].summary in ended.out and "suite/models/mlp.py" in ended.out
    assert ["hidden", "[512,", "512]"] in rows and ["activation", "clipped"] in rows
    assert card["name"] == "mlp" and card["options"]["hidden"] == [512, 512]
    assert card["file"] == "suite/models/mlp.py" and card["description"].startswith(card["summary"])


def test_show_a_probe(flipbench: Flipbench):
    ended, card = flipbench("show", "signs"), flipbench("show", "signs", "--json").json
    assert PROBES["signs"].summary in ended.out and "suite/probes/signs.py" in ended.out
    assert card["options"] == {} and "weights.<layer>" in card["description"]


def test_show_a_data_set_and_where_its_files_are_looked_for(flipbench: Flipbench):
    (first, *others) = DATASETS["mnist"].files
    there = flipbench.folder / "no-data" / first
    there.parent.mkdir(parents=True)
    there.touch()
    ended = flipbench("show", "mnist", "--kind", "data")
    for words in (
        DATASETS["mnist"].summary,
        "1x28x28",
        "60,000",
        "10,000",
        str(flipbench.folder / "no-data"),
    ):
        assert words in ended.out
    rows = [line.split() for line in ended.out.splitlines()]
    presence = {row[0]: row[1] for row in rows if row[-1:] in (["present"], ["absent"])}
    assert presence == {first: "present", **dict.fromkeys(others, "absent")}
    card = flipbench("show", "mnist", "--kind", "data", "--json").json
    assert card["classes"] == 10 and card["options"]["validation"] == 0.1
    assert card["folder"] == str(flipbench.folder / "no-data") and card["present"] == [
        True,
        False,
        False,
        False,
    ]


def test_show_a_data_set_without_files_of_its_own(flipbench: Flipbench):
    assert (
        "none: its code makes them, or finds them in an installed package" in flipbench("show", "digits").out
    )
    ended = flipbench("show", "imagenet")
    assert ended.code == 0 and "depends on the files" in ended.out
    assert f"in the option folder, absolute or below {flipbench.folder / 'no-data'}" in ended.out
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["folder", "needed:", "str"] in rows and ["size", "needed:", "int"] in rows


def test_show_an_experiment(flipbench: Flipbench):
    Path("experiments/tiny.yaml").write_text(f"# Why it is there.\n#\n# Cost  none\n{TINY}# the end\n")
    ended, card = flipbench("show", "tiny"), flipbench("show", "tiny", "--json").json
    for words in (
        "Tiny.",
        "Why it is there.",
        "digits with mlp",
        "bop, latent-adam",
        "1 x 2 trials",
        "2 seeds",
    ):
        assert words in ended.out
    assert card["comments"] == "Why it is there.\n\nCost  none" and card["methods"] == ["bop", "latent-adam"]
    assert card["tuning"] == [{"name": "random", "trials": 2, "studies": 1}]
    assert (card["seeds"], card["epochs"]) == (2, 1)
    assert card["tasks"] == [{"data": ["digits"], "model": ["mlp"]}]
    by_path = flipbench("show", "experiments/tiny.yaml", "--json").json
    assert {**by_path, "name": "tiny"} == card


def test_every_shipped_experiment_can_be_shown(flipbench: Flipbench):
    for name in experiments():
        ended = flipbench("show", name, "--kind", "experiment")
        assert ended.code == 0 and ("Command" in ended.out or name == "tiny")


# ---- the kept cards


def test_the_second_list_prints_the_same_from_the_kept_cards(
    flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.with_name(f"{tmp_path.name}-cache")))
    first = flipbench("list")
    kept = catalogue.cache_file()
    assert kept.exists() and catalogue.kept_cards() is not None
    kept.write_text(kept.read_text().replace("bop", "bob"))  # damaged: made again, and mended
    assert catalogue.kept_cards() is None
    assert flipbench("list") == first and catalogue.kept_cards() is not None
    write_json(kept, {**read_json(kept), "cards": {"methods": {}, "models": {}, "data": {}}})
    assert not flipbench("list", "--json").json["methods"]  # the kept cards are the printed ones


def test_an_edit_is_noticed(tmp_path: Path):
    for part in ("optimizers", "suite"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    keys = [catalogue.source_key(tmp_path)]
    for file in (
        "optimizers/bop.py",
        "optimizers/core/hyper.py",
        "suite/models/mlp.py",
        "suite/data/splits.py",
    ):
        with open(tmp_path / file, "a") as edited:
            edited.write("\n")
        keys.append(catalogue.source_key(tmp_path))
    (tmp_path / "optimizers" / "new.py").touch()
    assert len({*keys, catalogue.source_key(tmp_path)}) == 6


def test_cards_of_other_source_are_made_again(flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(flipbench.folder / "cache"))
    keep({"methods": {}}, key="of other source")
    assert catalogue.kept_cards() is None
    keep({"methods": {}})
    assert catalogue.kept_cards() == {"methods": {}}


def keep(cards: catalogue.Cards, key: str = "") -> None:
    """Keep these cards, by default as made from today's source."""
    catalogue.cache_file().parent.mkdir(parents=True, exist_ok=True)
    write_json(catalogue.cache_file(), {"key": key or catalogue.source_key(ROOT), "cards": cards})


def test_without_a_place_to_keep_them_the_cards_are_made_again(
    flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch
):
    (flipbench.folder / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(flipbench.folder / "file"))
    assert "bop" in flipbench("list", "--json").json["methods"]
    assert flipbench.files() == ["file"]


PLUGIN = """
import torch
from optimizers.core import WeightRule, method, sign

@method(paper="https://example.org")
def mine() -> WeightRule:
    \"\"\"Never flips.\"\"\"
    return WeightRule(sign, lambda weight: weight, lambda params: torch.optim.SGD(params, lr=0.0))
"""


def test_a_plugins_methods_are_listed_and_never_kept(flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(flipbench.folder.with_name("none-kept")))
    Path("mine.py").write_text(PLUGIN)
    try:
        ended = flipbench("list", "--plugin", "mine.py")
        assert ended.code == 0 and "Never flips." in ended.out and not catalogue.cache_file().exists()
        card = flipbench("show", "mine", "--plugin", "mine.py", "--json").json
        assert card["latent_free"] and card["file"] == str(flipbench.folder / "mine.py")
    finally:
        METHODS.pop("mine", None)
        PLUGINS.pop(("method", "mine"), None)
    assert "mine" not in flipbench("list", "--json").json["methods"]


def test_a_plugin_that_cannot_take_a_step_is_named(flipbench: Flipbench):
    Path("mine.py").write_text(PLUGIN.replace("lr=0.0", "lr=-1.0"))
    try:
        ended = flipbench("list", "--plugin", "mine.py")
        assert ended.code == 2 and "Traceback" not in ended.err
        assert "mine.py: mine: ValueError: Invalid learning rate" in ended.err
    finally:
        METHODS.pop("mine", None)
        PLUGINS.pop(("method", "mine"), None)


# ---- plan


def test_plan_shows_cells_and_costs_and_writes_nothing(flipbench: Flipbench):
    ended = flipbench("plan", "tiny")
    assert ended.code == 0 and flipbench.files() == []
    for words in (
        "digits.mlp.bop",
        "digits.mlp.latent-adam",
        "2 cells, at most 12 runs, 12 epochs",
        "results/tiny",
        "1 task, 2 methods, 2 runs each: no verdict, which takes 3 runs",
    ):
        assert words in ended.out


def test_a_plan_says_how_long_it_takes_here_if_it_is_asked_to_measure(flipbench: Flipbench):
    measured = ("plan", "tiny", "--measure", "--workers", "2", "--device", "cpu")
    ended = flipbench(*measured)
    assert ended.code == 0 and "a final run takes" in ended.out
    assert "all runs take about" in ended.out and "with 2 workers here" in ended.out
    found = flipbench(*measured, "--json").json
    of_cells = [2 * each["tuning"] + 4 * each["final"] for each in found["run_seconds"].values()]
    assert found["seconds"] == pytest.approx(sum(of_cells) / 2) and found["workers"] == 2
    assert flipbench.files() == []
    for alone in (("--workers", "2"), ("--device", "cpu")):
        refused = flipbench("plan", "tiny", *alone)
        assert refused.code == 2 and "add --measure" in refused.err and refused.out == ""
    without = flipbench(*measured, "--set", "tasks.0.data=mnist")
    assert without.code == 2 and "mnist" in without.err and without.out == ""


def test_a_plan_without_tuning_searches_nothing(flipbench: Flipbench):
    one = ("--set", "methods=[bop]", "--set", "tuning={trials: 0}", "--set", "seeds=1")
    ended = flipbench("plan", "tiny", *one)
    assert "searches" not in ended.out and "1 cell, at most 1 run, 1 epoch, at most" in ended.out


def test_plan_as_json_is_the_plan_that_the_sweep_will_write(flipbench: Flipbench):
    ended = flipbench("plan", "experiments/tiny.yaml", "--json", "--set", "seeds=3")
    assert (ended.json["runs"], ended.json["epochs"], ended.json["seeds"]) == (16, 16, 3)
    assert [cell["cell"] for cell in ended.json["cells"]] == ["digits.mlp.bop", "digits.mlp.latent-adam"]
    assert ended.json["detectable"][0]["sds"] == pytest.approx(3.85, abs=0.01)  # three runs of two methods
    assert ended.json["disk_bytes"] > 10_000 and ended.json["experiment"].startswith("tiny-")


def test_a_plan_needs_no_images_where_their_number_is_known(flipbench: Flipbench):
    data = "{name: imagenet, folder: imagenet, size: 32, classes: 1000}"
    ended = flipbench("plan", "tiny", "--set", f"tasks.0.data={data}")
    assert ended.code == 0 and flipbench.files() == []
    # 98 % of 1,281,167 images, in 2 + 2 + 2 runs of one epoch for each of two cells
    assert "15,066,528 images to train on (--measure says how long that takes here)" in ended.out
    assert f"imagenet: its images are not there: {flipbench.folder / 'no-data' / 'imagenet'}" in ended.out
    found = flipbench("plan", "tiny", "--json", "--set", "tasks.0.data=mnist").json
    assert "its images are not there: " in found["missing_images"]["mnist"]
    assert (
        found["training_images"] == 12 * 54_000
        and flipbench("plan", "tiny", "--json").json["missing_images"] == {}
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{name: imagenet, folder: mine, size: 32}", "so the number of its images is not known"),
        ("{name: imagenet, folder: mine, size: 32, classes: 10}", "only ImageNet itself can be planned"),
        ("{name: imagefolder, folder: mine, size: 32}", "no images in "),
    ],
)
def test_a_plan_names_the_folder_whose_images_nobody_knows(flipbench: Flipbench, data: str, words: str):
    ended = flipbench("plan", "tiny", "--set", f"tasks.0.data={data}")
    assert ended.code == 2 and ended.out == "" and words in ended.err
    assert str(flipbench.folder / "no-data" / "mine") in ended.err and "FLIPBENCH_DATA" in ended.err


def test_a_file_that_is_no_experiment_is_named(flipbench: Flipbench):
    (flipbench.folder / "mine.py").write_text("x = 1")
    ended = flipbench("plan", "mine.py")
    assert ended.code == 2
    assert "mine.py: it is no experiment, whose file ends in .yaml: give a plugin with --plugin" in ended.err
    (flipbench.folder / "plan.json").write_text("{}")
    assert "plan.json: it is no experiment, whose file ends in .yaml\n" in flipbench("plan", "plan.json").err


@pytest.mark.parametrize("command", ["sweep", "tune"])
def test_a_dry_run_writes_nothing(flipbench: Flipbench, command: str):
    ended = flipbench(command, "tiny", "--dry-run")
    assert ended.code == 0 and "2 cells, at most 12 runs" in ended.out and flipbench.files() == []
    assert flipbench(command, "tiny", "--dry-run", "--json").json["runs"] == 12


def test_a_dry_run_refuses_what_the_sweep_refuses(flipbench: Flipbench):
    write_experiment(flipbench.folder / "results" / "tiny", tasks=TASKS[:1], methods=("bop",))
    dry, real = (flipbench("sweep", "tiny", "--device", "cpu", *more) for more in (["--dry-run"], []))
    assert (dry.code, real.code) == (2, 2)
    assert "it holds another plan" in dry.err and "finished runs that are not in the new one" in dry.err
    assert dry.err.splitlines()[-4:] == real.err.splitlines()[-4:]
    assert "2 cells, at most 12 runs" in dry.out  # what is asked for is shown


def test_tuning_alone_of_what_is_not_tuned_is_complete(flipbench: Flipbench):
    ended = flipbench("tune", "tiny", "--set", "tuning.trials=0", "--json", "--device", "cpu")
    assert ended.code == 0, ended.err
    assert ended.json["complete"]
    assert [cell["cell"] for cell in ended.json["cells"]] == ["digits.mlp.bop", "digits.mlp.latent-adam"]


# ---- folders


@pytest.mark.parametrize("command", ["status", "verify", "report", "study", "publish"])
def test_a_folder_of_tables_is_no_folder_of_records(flipbench: Flipbench, command: str):
    shutil.copytree(ROOT / "results/published/demo", "results/tiny", ignore=lambda *_: {ARCHIVE})
    before = flipbench.files()
    ended = flipbench(command, "tiny")
    assert ended.code == 2 and flipbench.files() == before
    assert ended.err.startswith("error: results/tiny holds a plan and no records, as a published folder")


# ---- completion


def test_a_shell_completes_the_names_that_are_known_at_once(
    flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(flipbench.folder / "cache"))
    keep({"methods": {"latent-adam": {}, "latent-momentum": {}}, "data": {"digits": {}}})
    assert set(flipbench.completions("pla")) == {"plan", "place"}
    assert flipbench.completions("plan", "ti") == ["tiny"] == flipbench.completions("sweep", "ti")
    assert flipbench.completions("show", "latent-mo") == ["latent-momentum"]
    assert flipbench.completions("show", "di") == ["digits"]
    assert flipbench.completions("show", "ti") == ["tiny"]
    assert flipbench.completions("list", "mod") == ["models"]
    assert flipbench.completions("status", "") == []
    places = ("one/plan.json", "two/plan.json", "tables/report.md", "two/three/plan.json")
    for name in (*places, "two/runs/four/plan.json", "published/two/plan.json"):
        Path("results", name).parent.mkdir(parents=True)
        Path("results", name).touch()
    for name in ("two", "paper/three", "there"):
        Path("results/published", name).mkdir(parents=True, exist_ok=True)
        Path("results/published", name, ARCHIVE).touch()
    for command in ("publish", "dashboard"):
        assert flipbench.completions(command, "t") == ["two", "two/three"]
    for command in ("status", "verify", "report", "study"):
        assert flipbench.completions(command, "t") == ["there", "two", "two/three"]
    assert flipbench.completions("report", "p") == ["paper/three"]


def test_completion_never_makes_the_cards(flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(flipbench.folder / "cache"))
    assert flipbench.completions("show", "latent") == [] and flipbench.completions("show", "ti") == ["tiny"]
    assert flipbench.files() == []
