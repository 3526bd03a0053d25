"""The process `flipbench`: what becomes of it when its streams, its encoding or its limits are poor."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.paths import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "60"}
YAML = "version: 1\nsummary: '± Δ [/z]'\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "[z] Δ.yaml").write_text(YAML)
    return tmp_path


def run(folder: Path, arguments: str, redirections: str = "", **more: str) -> subprocess.CompletedProcess:
    """`flipbench` with these arguments, started by a shell with these redirections."""
    script = f'exec "{sys.executable}" -m suite.cli {arguments} {redirections}'
    command = ["bash", "-c", script]
    environment = {**ENVIRONMENT, **more}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=60, check=False)


def test_a_folder_that_is_gone_is_one_message(folder: Path):
    (gone := folder / "gone").mkdir()
    script = f'cd "{gone}" && rmdir "{gone}" && exec "{sys.executable}" -m suite.cli list experiments'
    command = ["bash", "-c", script]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert ended.stderr.startswith(b"error: the current folder cannot be read: No such file or directory")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16-le"])
def test_no_encoding_is_too_small(folder: Path, encoding: str):
    ended = run(folder, "list experiments", PYTHONIOENCODING=encoding)
    text = ended.stdout.decode(encoding)
    assert ended.returncode == 0 and ended.stderr == b"" and "[/z]" in text
    assert ("Δ" if encoding == "utf-16-le" else "\\u0394") in text


@pytest.mark.parametrize(
    ("redirections", "code", "stderr"),
    [
        (">&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full", 2, "error: cannot write to stdout: No space left on device\n"),
        ("2>/dev/full", 0, ""),
    ],
)
def test_a_stream_that_takes_nothing_is_no_traceback(folder: Path, redirections: str, code: int, stderr: str):
    ended = run(folder, "list experiments", redirections)
    assert (ended.returncode, ended.stderr.decode()) == (code, stderr)


def test_a_reader_that_has_ended_does_not_change_the_exit_code(folder: Path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "suite.cli", "list", "experiments"]
    ended = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_too_few_open_files_are_named(folder: Path):
    script = f'ulimit -n 24; exec "{sys.executable}" -m suite.cli list experiments'
    ended = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=ENVIRONMENT, capture_output=True, check=False
    )
    assert ended.returncode == 2 and ended.stdout == b""
    assert b"this process may open 24 files at once, and needs 128: raise the limit" in ended.stderr


def test_ctrl_c_during_an_import_ends_quietly(folder: Path):
    """A module that takes long to import, in the place of rich."""
    (folder / "rich").mkdir()
    (folder / "rich" / "__init__.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
    )
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{folder}:{ROOT}"}
    command = [sys.executable, "-m", "suite.cli", "list", "experiments"]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"importing\n"
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 130 and time.monotonic() - started < 10
