"""The command, run in this process in a folder of its own, where `tiny` is an experiment."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from suite.cli import console
from suite.cli import main as cli

TINY = """
version: 1
summary: Tiny.
tasks: [{data: {name: digits, train_limit: 100}, model: {name: mlp, hidden: [8]}}]
methods: [bop, latent-adam]
train: {epochs: 1, batch_size: 50}
tuning: {trials: 2}
seeds: 2
"""


class Outcome(NamedTuple):
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Flipbench:
    """The command `flipbench`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
        self.folder, self.monkeypatch, self.capfd = folder, monkeypatch, capfd

    def __call__(self, *arguments: str) -> Outcome:
        self.monkeypatch.setattr(sys, "argv", ["flipbench", *arguments])
        self.capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self.capfd.readouterr()
        return Outcome(int(ended.value.code or 0), out, err)

    def completions(self, *words: str) -> list[str]:
        """The words that bash offers for the last of these."""
        with self.monkeypatch.context() as patch:
            patch.setenv("_FLIPBENCH_COMPLETE", "complete_bash")
            patch.setenv("COMP_WORDS", " ".join(["flipbench", *words]))
            patch.setenv("COMP_CWORD", str(len(words)))
            return self().out.split()

    def files(self) -> list[str]:
        """Everything in the folder but the experiments."""
        found = sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))
        return [name for name in found if not name.startswith("experiments")]


@pytest.fixture(scope="session")
def kept_cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that all tests share: to make the cards takes seconds."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of a finished sweep of `tiny`, to be copied."""
    from tests.support.attempts import swept  # it imports torch

    place = tmp_path_factory.mktemp("tiny")
    swept(place, text=TINY)
    return place / "results"


@pytest.fixture
def flipbench(
    tmp_path: Path, kept_cards: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> Flipbench:
    """Without the drawings of reports, which take most of their time: tests/report has them."""
    monkeypatch.setattr("report.draw.svg.rendered", lambda *_: b"<svg>\n</svg>\n")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(console.out, "_width", 200)  # made at import, whichever test imports it first
    monkeypatch.setenv("FLIPBENCH_DATA", str(tmp_path / "no-data"))
    monkeypatch.setenv("FLIPBENCH_DOWNLOAD", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept_cards))
    return Flipbench(tmp_path, monkeypatch, capfd)
