"""Every experiment that comes with the suite can be planned, and its head tells what it costs."""

import re
from pathlib import Path

import pytest

from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from tests.support.paths import ROOT
from tests.support.registries import restored
from tests.support.tiny import tiny_plan

FOLDER = ROOT / "experiments"
CLASSES, EACH = 1000, 2  # of a folder that stands for ImageNet: what it holds is only listed
NAMES = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml"))


@pytest.fixture(scope="module", autouse=True)
def imagenet(tmp_path_factory: pytest.TempPathFactory):
    """Folders with the names of images: a plan needs their number, and opens none."""
    root = tmp_path_factory.mktemp("data")
    for part in ("train", "val"):
        for label in range(CLASSES):
            folder = root / "imagenet" / part / f"n{label:08}"
            folder.mkdir(parents=True)
            for number in range(EACH):
                (folder / f"{number}.JPEG").touch()
    for name in ("imagenette", "imagenette-pixels", "birds"):
        (root / name).symlink_to(root / "imagenet")
    with pytest.MonkeyPatch.context() as patch, restored():  # claims bring plugins
        patch.setenv("FLIPBENCH_DATA", str(root))
        yield


def test_there_are_experiments():
    assert {"demo", "mnist", "cifar10", "paper/rebuttal-imagenet"} <= set(NAMES)
    assert not list(FOLDER.rglob("*.yml")), "the command finds .yaml files by name"


@pytest.mark.parametrize("name", NAMES)
def test_it_plans(name: str):
    plan = make_plan(ExperimentFile(FOLDER / f"{name}.yaml"))
    assert plan.name == name and plan.runs > 0
    assert len(plan.experiment.summary) > 20 and plan.experiment.summary.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_its_head_says_what_it_costs_and_how_to_run_it(name: str):
    head = [
        line.removeprefix("#").strip()
        for line in (FOLDER / f"{name}.yaml").read_text().splitlines()
        if line.startswith("#")
    ]
    assert len(head[0]) > 20, "the first line says what it is"
    told = {words[0]: words[1] for line in head if len(words := re.split(r" {2,}", line)) == 2}
    assert told["Data"] and re.search(r"\d", told["Cost"])
    claim = f"make claim C={name.removeprefix('claims/')}" if name.startswith("claims/") else ""
    assert told["Command"] == ("make demo" if name == "demo" else claim or f"make sweep EXP={name}")


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_runs_in_its_head_is_that_of_its_plan(name: str):
    source = ExperimentFile(FOLDER / f"{name}.yaml")
    plan = make_plan(source)
    if told := re.search(r"# Cost +(?:up to )?([\d,]+) runs", source.text):
        assert plan.runs == int(told[1].replace(",", ""))
    if told := re.search(r"# Cost +(?:up to )?[\d,]+ runs of (\d+) epochs?", source.text):
        assert plan.epochs == plan.runs * int(told[1])
    others = (
        "demo",
        "adam-bnn",
        "paper/section53",
        "claims/reestimation",
        "claims/learning-rate-is-scale",
        "tuning/transfer",
    )
    assert told or name in others, "say it as the others do"


def test_the_examples_with_images_of_ones_own_are_planned(tmp_path: Path):
    examples = re.findall(r"^data: (\{.*birds.*\})", (ROOT / "docs/protocol.md").read_text(), re.MULTILINE)
    assert len(examples) == 2
    for data in examples:
        (cell, _) = tiny_plan(tmp_path, f"tasks.0.data={data}").cells
        size = cell.data.options["size"]
        assert cell.sizes.classes == CLASSES and cell.sizes.shape == [3, size, size]
        assert cell.sizes.train + cell.sizes.val == cell.sizes.test == CLASSES * EACH
