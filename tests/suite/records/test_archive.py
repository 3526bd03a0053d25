"""An archive: the same records give the same bytes, and what is no archive is never unpacked for one."""

import contextlib
import functools
import gzip
import hashlib
import json
import lzma
import os
import random
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from suite.machine.errors import UserError
from suite.records import archive
from suite.records.archive import (
    ARCHIVE,
    END,
    FILTERS,
    LIST,
    VERSION,
    read_contents,
    unpack,
    unpacked,
    write_archive,
)
from suite.records.experiment import ExperimentFolder
from suite.records.files import SEAL, DamagedRecord, read_json, sealed, write_json
from suite.records.run import CHECKPOINTS
from tests.support.fake_records import TASKS, fail, final_run, remove, write_experiment

BOP = "digits.mlp.bop"
write_small = functools.partial(write_experiment, tasks=TASKS[:1], methods=("bop", "latent_sgd"), trials=2)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that was stopped: of its final runs one has failed, one is not finished, one is not there."""
    folder = write_small(tmp_path_factory.mktemp("archive") / "x", seeds=4)
    fail(final_run(folder, BOP, 1))
    (final_run(folder, BOP, 2) / "result.json").unlink()
    remove(final_run(folder, BOP, 3))
    return folder


@pytest.fixture(scope="module")
def whole(records: Path) -> Path:
    write_archive(records, records.parent / ARCHIVE)
    return records.parent / ARCHIVE


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_archive_holds_every_record_byte_for_byte(records: Path, whole: Path):
    with unpacked(whole) as folder:
        assert files_of(folder) == files_of(records)
    assert not folder.exists()
    unfinished = {final_run(records, BOP, seed).name for seed in (1, 2)}
    runs = set(os.listdir(records / "runs"))
    assert set(read_contents(whole).finished_runs) == runs - unfinished and len(runs) == 2 * (2 + 4) - 1


def test_any_system_can_unpack_it(records: Path, whole: Path):
    with tarfile.open(whole, "r:xz") as tar:
        found = {member.name: tar.extractfile(member) for member in tar}
        assert all((each.mode, each.mtime, each.uid, each.uname) == (0o644, 0, 0, "") for each in tar)
        assert next(iter(found)) == LIST
        content = {name: file.read() for name, file in found.items() if file}
    assert content.pop(LIST) and content == files_of(records)


def test_the_same_records_give_the_same_bytes(tmp_path: Path, records: Path, whole: Path):
    """In another order and at another time, with all that a sweep leaves next to its records."""
    copy = tmp_path / "copy"
    for path in sorted(files_of(records), reverse=True):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(records / path, copy / path)
        os.utime(copy / path, (1, 1))
        (copy / path).chmod(0o600)
    run = copy / "runs" / final_run(records, BOP, 2).name
    litter = [*CHECKPOINTS, ".lock", "epochs.jsonl.damaged", ".result.json.7.tmp"]
    places = [copy / "optuna.log", copy / "report/index.html", copy / ".lock", copy / "cells/.x.json"]
    for path in (*places, copy / "runs/notes/trial.json", *(run / name for name in litter)):
        path.parent.mkdir(exist_ok=True)
        path.write_text("no record")
    write_archive(copy, tmp_path / ARCHIVE)
    assert (tmp_path / ARCHIVE).read_bytes() == whole.read_bytes()


def test_a_name_may_be_long_and_in_any_script(tmp_path: Path):
    folder = write_small(tmp_path / "x", seeds=1)
    write_json(folder / "cells" / f"{'数' * 60}.json", {"cell": "…"})
    write_archive(folder, tmp_path / ARCHIVE)
    with unpacked(tmp_path / ARCHIVE) as found:
        assert files_of(found) == files_of(folder)


def test_an_archive_is_whole_or_absent(tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch):
    listed = archive._listed

    def then_change(folder: Path, name: str) -> archive.Listed:
        found = listed(folder, name)
        return found if name != "plan.json" else archive.Listed(name=name, bytes=1, sha256="0" * 64)

    monkeypatch.setattr(archive, "_listed", then_change)
    with pytest.raises(UserError, match=r"plan\.json has changed while it was written"):
        write_archive(records, tmp_path / ARCHIVE)
    assert os.listdir(tmp_path) == []


# ---- what is no archive

Files = list[tuple[str, bytes]]


def listing(files: Files, /, **changes: Any) -> bytes:
    entries = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files
    ]
    return sealed({"archive": VERSION, "files": entries, **changes})


def tar_of(files: Files, list_: bytes | None = None, end: bytes = END) -> bytes:
    return b"".join(archive._member(*each) for each in [(LIST, list_ or listing(files)), *files]) + end


def linked(kind: bytes) -> bytes:
    """A link in the place of a file whose list promises it."""
    link = tarfile.TarInfo("runs/0123456789abcdef/trial.json")
    link.type, link.linkname = kind, "/etc/passwd"
    plan = ("plan.json", b"{}")
    members = archive._member(*plan) + link.tobuf(tarfile.GNU_FORMAT)
    return archive._member(LIST, listing([plan, (link.name, b"")])) + members + END


PLAN = ("plan.json", b"{}")
HUGE = [{"name": "plan.json", "bytes": 10**15, "sha256": "0" * 64}]
NO_ARCHIVE = "it is no archive of flipbench"
TARS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it ends too early"),
    "text": (b"a text" * 1000, NO_ARCHIVE),
    "zeros": (bytes(10_000), NO_ARCHIVE),
    "another tar": (archive._member("plan.json", b"{}") + END, NO_ARCHIVE),
    "no list": (archive._member(LIST, b"[]") + END, "it holds a list, not an object"),
    "a list without seal": (archive._member(LIST, b'{"archive": 1}') + END, "it has no checksum"),
    "an endless list": (archive._header(LIST, 10**12), NO_ARCHIVE),
    "no plan": (tar_of([("cells/x.json", b"{}")]), "it holds no plan"),
    "a file twice": (tar_of([PLAN, PLAN]), "its list names a file twice"),
    "a missing file": (tar_of([], listing([PLAN])), "it does not hold what it lists"),
    "another file": (tar_of([("plan.json", b"[]")], listing([PLAN])), "plan.json does not match its sha256"),
    "another size": (tar_of([("plan.json", b"{ }")], listing([PLAN])), "it does not hold what it lists"),
    "a file more": (
        tar_of([PLAN, ("cells/x.json", b"{}")], listing([PLAN])),
        "it does not hold what it lists",
    ),
    "more at its end": (tar_of([PLAN], end=END + b"\0"), "it holds more than it lists"),
    "no end": (tar_of([PLAN], end=b""), "it ends too early"),
    "a trap": (tar_of([PLAN], listing([], files=HUGE)), "it claims to hold 1,000,000,000,000,000 bytes"),
    "a symbolic link": (linked(tarfile.SYMTYPE), "it does not hold what it lists"),
    "a hard link": (linked(tarfile.LNKTYPE), "it does not hold what it lists"),
    "a device": (linked(tarfile.CHRTYPE), "it does not hold what it lists"),
}
NAMES = (
    "../plan.json",
    "/tmp/plan.json",
    "runs/../../x",
    "runs/0123456789abcdef/../x",
    "runs/0123456789abcdef/.lock",
    "runs/0123456789abcdef/a/b",
    "runs/0123456789abcdef/",
    "runs/0123456789abcdef/checkpoint.pt",
    "runs/0123456789abcdef/plugin.py",
    "runs/0123456789abcdef/result.json.damaged",
    "runs/short/trial.json",
    "cells/../x.json",
    "cells/a/b.json",
    "cells/x\0.json",
    "cells/.json",
    "report/index.html",
    "",
)
for bad in NAMES:
    named = {"name": bad, "bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
    TARS[f"the name {bad!a}"] = (
        tar_of([PLAN], listing([], files=[named])),
        "no record of flipbench has the name",
    )
HALF = json.dumps({"archive": 1, "files": [{"name": "cells/\ud800.json"}], SEAL: ""}).encode()
TARS["half a character"] = tar_of([PLAN], HALF), "surrogates not allowed"


def problem_of(folder: Path, content: bytes) -> str:
    """The error about a file with this content, of which nothing is left."""
    (path := folder / "hostile.tar.xz").write_bytes(content)
    with pytest.raises(DamagedRecord) as raised, unpacked(path):
        raise AssertionError
    assert str(raised.value).startswith(str(path)) and os.listdir(folder) == [path.name]
    return str(raised.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary ones are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", TARS)
def test_a_tar_that_its_list_does_not_allow(here: Path, name: str):
    tar, problem = TARS[name]
    assert problem in problem_of(here, lzma.compress(tar, filters=FILTERS))


def test_a_file_of_another_kind(here: Path):
    tar = tar_of([PLAN])
    packed = lzma.compress(tar, filters=FILTERS)
    with unpacked_bytes(here, packed) as names:
        assert names == ["cells", "data", "plan.json", "runs"]
    for content in (b"", b"{}", tar, gzip.compress(tar), packed[:100] + packed, b"PK\3\4" + bytes(99)):
        problem_of(here, content)
    for more in (b"\0", packed, b"text"):
        assert "it holds more than it lists" in problem_of(here, packed + more)


@contextlib.contextmanager
def unpacked_bytes(folder: Path, content: bytes) -> Iterator[list[str]]:
    (folder / "whole.tar.xz").write_bytes(content)
    with unpacked(folder / "whole.tar.xz") as place:
        yield sorted(os.listdir(place))
    (folder / "whole.tar.xz").unlink()


def test_every_cut_and_every_changed_byte_is_noticed(here: Path, whole: Path):
    content, chosen = whole.read_bytes(), random.Random(0)
    for at in (*range(12), *chosen.sample(range(len(content)), 20), len(content) - 1):
        problem_of(here, content[:at])
        problem_of(here, content[:at] + bytes([content[at] ^ 1 << chosen.randrange(8)]) + content[at + 1 :])


def test_an_archive_cannot_take_all_memory(here: Path):
    """Its header asks for a dictionary of 4 GiB."""
    packed = bytearray(lzma.compress(tar_of([PLAN]), filters=FILTERS))
    size = 4 * (packed[12] + 1)  # of the block's header, after the 12 bytes of the stream's
    packed[16] = 40
    packed[8 + size : 12 + size] = zlib.crc32(packed[12 : 8 + size]).to_bytes(4, "little")
    assert "Memory usage limit" in problem_of(here, bytes(packed))


def test_records_that_do_not_fit_are_not_unpacked(here: Path, whole: Path, monkeypatch: pytest.MonkeyPatch):
    needed = sum(each.bytes for each in read_contents(whole).files)
    for free, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        (place := here / "place").mkdir()
        if fits:
            unpack(whole, place)
        else:
            with pytest.raises(UserError, match=rf"its {needed:,} bytes of records do not fit into {place}"):
                unpack(whole, place)
            assert os.listdir(place) == []
        shutil.rmtree(place)


def test_an_archive_of_a_newer_flipbench(tmp_path: Path):
    newer = tar_of([PLAN], listing([PLAN], archive=VERSION + 1, other="key"))
    (tmp_path / ARCHIVE).write_bytes(lzma.compress(newer))
    with pytest.raises(UserError, match=r"from a newer flipbench \(archive 2\); this one reads 1"):
        read_contents(tmp_path / ARCHIVE)


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / ARCHIVE)
    with pytest.raises(DamagedRecord, match="it is not a file"):
        read_contents(tmp_path / ARCHIVE)


def test_a_damaged_record_is_named_by_its_archive(tmp_path: Path, records: Path, whole: Path):
    with pytest.raises(DamagedRecord) as raised, unpacked(whole) as folder:
        write_json(folder / "plan.json", {**read_json(folder / "plan.json"), "seeds": "none"})
        ExperimentFolder(folder).plan()
    assert str(raised.value).startswith(f"{whole}/plan.json is damaged: seeds")
    with pytest.raises(DamagedRecord, match="mine is damaged"), unpacked(whole):
        raise DamagedRecord(Path("mine"), "of the caller")
