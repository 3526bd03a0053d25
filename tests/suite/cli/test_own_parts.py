"""A model and a data set of one's own, as docs/plugins.md shows them: from `check` to a kept network."""

import json
import re
from pathlib import Path
from typing import Any

from suite.data import DATASETS
from suite.machine.plugin_file import source_of
from suite.machine.repository import ROOT
from suite.models import MODELS
from tests.suite.cli.conftest import Flipbench

SMALL = (
    *("--set=tasks.0.data.validation=0.8", "--set=methods=[bop]", "--set=tuning={trials: 1}"),
    *("--set=train={epochs: 1, batch_size: 100, keep_weights: true}", "--set=seeds=1", "--workers=1"),
)


def write_documented() -> None:
    """The files of docs/plugins.md, in the folder that is the working one."""
    text = (ROOT / "docs/plugins.md").read_text()
    model, data = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (experiment,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    for name, content in (("rms_mlp.py", model), ("stripes.py", data), ("stripes.yaml", experiment)):
        Path(name).write_text(content)


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"runs/*/{name}.json"))]


def test_the_documented_files_pass_their_check_and_are_listed(flipbench: Flipbench) -> None:
    write_documented()
    Path("both.py").write_text(Path("rms_mlp.py").read_text() + Path("stripes.py").read_text())
    ended = flipbench("check", "both.py")
    assert (ended.code, ended.out) == (0, "both.py: passed (model rms-mlp, data set stripes)\n")
    files = ("--plugin", "rms_mlp.py", "--plugin", "stripes.py")
    cards = flipbench("list", *files, "--json").json
    assert cards["models"]["rms-mlp"]["options"] == {"hidden": 256, "activation": "clipped"}
    assert cards["data"]["stripes"]["shape"] == [1, 8, 8]
    shown = flipbench("show", "stripes", *files).out
    assert str(flipbench.folder / "stripes.py") in shown and "noise" in shown
    assert flipbench.completions("show", *files, "st") == ["stripes"]
    assert flipbench.completions("show", *files, "rm") == ["rms-mlp"]
    assert "stripes" not in DATASETS and "rms-mlp" not in MODELS


def test_a_model_and_a_data_set_of_ones_own_from_plan_to_a_kept_network(flipbench: Flipbench) -> None:
    write_documented()
    ended = flipbench("sweep", "stripes.yaml", *SMALL)
    assert ended.code == 0, ended.err
    (folder,) = Path("results").iterdir()
    model, data = source_of(Path("rms_mlp.py")), source_of(Path("stripes.py"))
    trials = records(folder, "trial")
    assert trials, (ended.err, flipbench.files())
    assert {trial["model"]["name"]: trial["plugins"] for trial in trials} == {
        "mlp": {"data": data},
        "rms-mlp": {"model": model, "data": data},
    }
    for trial, made in zip(trials, records(folder, "environment"), strict=True):
        named = {part: made.get(f"{part}_file", {}).get("name") for part in ("model", "data")}
        own = "rms_mlp.py" if trial["model"]["name"] == "rms-mlp" else None
        assert named == {"model": own, "data": "stripes.py"}

    files = ("--plugin", "rms_mlp.py", "--plugin", "stripes.py")
    replayed = flipbench("verify", str(folder), "--replay", "all", *files)
    assert replayed.code == 0 and f"{len(trials)} of {len(trials)} replayed" in replayed.out
    wrong = flipbench("verify", str(folder), "--replay", "all", "--plugin", "stripes.py").out
    assert f"made from a plugin with hash {model}" in wrong

    (kept,) = [
        path.parent
        for path in folder.glob("runs/*/weights.safetensors")
        if json.loads((path.parent / "trial.json").read_text())["model"]["name"] == "rms-mlp"
    ][:1]
    assert "there is no model 'rms-mlp' here; if it is one of your own" in flipbench("load", str(kept)).err
    assert flipbench("load", str(kept), *files, "--json").json["same"] is True

    with Path("stripes.py").open("a") as file:
        file.write("# edited\n")
    again = flipbench("load", str(kept), *files)
    assert again.code == 2 and "the data set 'stripes' was made from a plugin with hash" in again.err
    ended = flipbench("sweep", "stripes.yaml", *SMALL)
    assert ended.code == 0 and "the file of stripes was edited: its runs are made again" in ended.err
    assert len(records(folder, "trial")) == 2 * len(trials)
