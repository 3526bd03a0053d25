"""A model and a data set of one's own, as docs/plugins.md shows them: from `check` to a kept network."""

import re
from pathlib import Path

from optimizers import METHODS
from suite.checks.replay import replay
from suite.cli.catalogue import _cards_with
from suite.data import DATASETS
from suite.machine.plugin_file import source_of
from suite.machine.repository import ROOT
from suite.models import MODELS
from suite.records.files import read_json
from tests.suite.cli.conftest import Flipbench
from tests.support.registries import restored


def write_documented() -> None:
    """The files of docs/plugins.md, in the folder that is the working one."""
    text = (ROOT / "docs/plugins.md").read_text()
    model, data = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (experiment,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    for name, content in (("rms_mlp.py", model), ("stripes.py", data), ("stripes.yaml", experiment)):
        Path(name).write_text(content)


def test_the_documented_files_pass_their_check_and_are_listed(flipbench: Flipbench) -> None:
    write_documented()
    Path("both.py").write_text(Path("rms_mlp.py").read_text() + Path("stripes.py").read_text())
    ended = flipbench("check", "both.py")
    assert (ended.code, ended.out) == (0, "both.py: passed (model rms-mlp, data set stripes)\n")
    files = ("--plugin", "rms_mlp.py", "--plugin", "stripes.py")
    with restored():
        METHODS.clear()  # their cards take seconds
        made = _cards_with([Path("rms_mlp.py"), Path("stripes.py")])
    for command in ("list", "show"):
        flipbench.monkeypatch.setattr(f"suite.cli.{command}.catalogue", lambda plugins: made)
    cards = flipbench("list", *files, "--json").json
    assert cards["models"]["rms-mlp"]["options"] == {"hidden": 256, "activation": "clipped"}
    assert cards["data"]["stripes"]["shape"] == [1, 8, 8]
    shown = flipbench("show", "stripes", *files).out
    assert str(flipbench.folder / "stripes.py") in shown and "noise" in shown
    assert flipbench.completions("show", *files, "str") == ["stripes"]
    assert flipbench.completions("show", *files, "rm") == ["rms-mlp"]
    assert "stripes" not in DATASETS and "rms-mlp" not in MODELS


def test_a_run_of_a_model_and_a_data_set_of_ones_own_is_repeated_and_its_network_loaded(
    flipbench: Flipbench,
) -> None:
    write_documented()
    planned = flipbench("plan", "stripes.yaml", "--measure", "--device=cpu", "--json")
    assert planned.code == 0, planned.err
    assert planned.json["run_seconds"]["stripes.rms-mlp.bop"]["final"] > 0
    trained = flipbench(
        *("train", "stripes.yaml", "stripes.rms-mlp.bop", "--final", "--keep-weights", "--device=cpu"),
        *("--set=tasks.0.data.validation=0.8", "--set=train.epochs=1", "--json"),
    )
    assert trained.code == 0, trained.err
    run = Path(trained.json["run"])
    hashes = {source_of(Path(name)): Path(name).resolve() for name in ("rms_mlp.py", "stripes.py")}
    model, data = hashes
    made_in = read_json(run / "environment.json")
    assert read_json(run / "trial.json")["plugins"] == {"model": model, "data": data}
    assert [made_in[f"{part}_file"]["name"] for part in ("model", "data")] == ["rms_mlp.py", "stripes.py"]
    assert made_in["data_file"]["sha256"].startswith(data)

    assert replay(run, hashes) is None
    partly = replay(run, {data: hashes[data]})
    assert partly is not None and f"made from a plugin with hash {model}" in partly.text
    unnamed = replay(run, {})
    assert (
        unnamed is not None and "there is no model 'rms-mlp' here; if it is one of your own" in unnamed.text
    )

    assert "there is no model 'rms-mlp' here" in flipbench("load", str(run)).err
    files = ("--plugin", "rms_mlp.py", "--plugin", "stripes.py")
    assert flipbench("load", str(run), *files, "--json").json["same"] is True
    with Path("stripes.py").open("a") as file:
        file.write("# edited\n")
    edited = flipbench("load", str(run), *files)
    assert edited.code == 2 and "the data set 'stripes' was made from a plugin with hash" in edited.err
