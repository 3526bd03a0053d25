"""An experiment's records as one file: its plan, data, ledgers and run folders, as they are sealed.

The file is a tar in xz, so any system can unpack it. Its first member lists all others with their sizes and
sha256, and that list allows one tar only. A reader compares the file with that tar, byte for byte: nothing
else can be in it, no link and no other name, and its size is known before anything is unpacked. The same
records give the same tar everywhere. Checkpoints, kept networks, locks, logs and reports are not in it.
No torch here.
"""

import contextlib
import hashlib
import lzma
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import Field, StrictInt, StrictStr

from suite.machine.errors import UserError, shown
from suite.records.codec import decode, encode, record
from suite.records.experiment import ExperimentFolder
from suite.records.files import (
    DamagedRecord,
    make_part,
    open_to_read,
    read_bytes,
    sealed,
    unsealed,
    writing,
    written_whole,
)
from suite.records.run import FILES, WEIGHTS, RunFolder
from suite.records.schema import Count

ARCHIVE = "records.tar.xz"
LIST = "archive.json"
VERSION = 1  # of an archive: raise it when the file is read in another way
LABEL = r"[^/\0.\ud800-\udfff][^/\0\ud800-\udfff]*"  # of a cell or a data set: it leads nowhere else
PLACES = re.compile(
    rf"plan\.json|(data|cells)/{LABEL}\.json|runs/[0-9a-f]{{16}}/[a-z0-9_]+\.(json|jsonl|npz|npy)"
)
FILTERS = [  # in full, so that no default of a library changes the bytes
    {
        "id": lzma.FILTER_LZMA2,
        "dict_size": 1 << 24,
        "lc": 3,
        "lp": 0,
        "pb": 2,
        "mode": lzma.MODE_NORMAL,
        "nice_len": 64,
        "mf": lzma.MF_BT4,
        "depth": 0,
    }
]
MEMORY = 1 << 27  # bytes that the decompression of an archive may take
LONGEST_LIST = 1 << 26  # bytes: room for some 300,000 files
RATIO = 1000  # records do not shrink to less than a thousandth: a file that claims more is a trap
BLOCK, CHUNK = tarfile.BLOCKSIZE, 1 << 20
END = bytes(2 * BLOCK)


@record
class Listed:
    """A file of an archive."""

    name: StrictStr
    bytes: Count
    sha256: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")]


@record
class Contents:
    """What an archive holds, in this order."""

    archive: StrictInt
    files: list[Listed]

    @property
    def finished_runs(self) -> list[str]:
        """The runs that have a result, sorted."""
        parts = [each.name.split("/") for each in self.files]
        return sorted(part[1] for part in parts if part[0] == "runs" and part[2] == "result.json")

    @property
    def ledgers(self) -> list[str]:
        """The names of the ledgers' files."""
        parts = [each.name.split("/") for each in self.files]
        return [part[1] for part in parts if part[0] == "cells"]


# ---- writing


def write_archive(folder: Path, path: Path) -> Contents:
    """Write the records of an experiment's folder to one file, whole or not at all.

    Nobody may write in the folder at the same time. Raises DamagedRecord for a result that is none.
    """
    contents = Contents(archive=VERSION, files=[_listed(folder, name) for name in _names(folder)])
    with (
        written_whole(path) as file,
        lzma.open(file, "wb", format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=FILTERS) as packed,
    ):
        packed.write(_member(LIST, sealed(encode(contents))))
        for each in contents.files:
            packed.write(_member(each.name, _same_content(folder, each)))
        packed.write(END)
    return contents


def _names(folder: Path) -> Iterator[str]:
    """The files of an archive: of a finished run those that its result seals, of others no checkpoint.

    Kept networks are not among them.
    """
    records = ExperimentFolder(folder)
    yield "plan.json"
    for part in ("data", "cells"):
        yield from sorted(f"{part}/{path.name}" for path in (folder / part).glob("[!.]*.json"))
    for name in filter(re.compile("[0-9a-f]{16}").fullmatch, records.run_names()):
        known = {*files_of(records.run(name))} - {WEIGHTS}  # larger than all else, and no comparison needs it
        yield from sorted(f"runs/{name}/{file}" for file in known)


def files_of(run: RunFolder) -> list[str]:
    """The files of a run that are its record: of a finished one those that its result seals.

    DamagedRecord for a name that no such file has: it could lead elsewhere.
    """
    result = run.result()
    if result is None:
        return [name for name in ("failure.json", *FILES) if (run.path / name).exists()]
    for name in result.files:
        if name != WEIGHTS:
            _require_place(run.path / name, f"runs/{run.path.name}/{name}")
    return ["result.json", *run.expected(result)]


def _require_place(path: Path, name: str) -> None:
    if not PLACES.fullmatch(name):
        raise DamagedRecord(path, "no record of flipbench has such a name")


def _listed(folder: Path, name: str) -> Listed:
    _require_place(folder / name, name)
    content = read_bytes(folder / name)
    return Listed(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _same_content(folder: Path, listed: Listed) -> bytes:
    content = read_bytes(folder / listed.name)
    if hashlib.sha256(content).hexdigest() != listed.sha256:
        raise UserError(f"{folder / listed.name} has changed while it was written to an archive")
    return content


def _member(name: str, content: bytes) -> bytes:
    return _header(name, len(content)) + content + _padding(len(content))


def _header(name: str, size: int) -> bytes:
    """What precedes a file in a tar; no time, no owner, the mode of a plain file."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


# ---- reading


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """An archive as a folder of records, for the time of the block; DamagedRecord if it is not as written."""
    with tempfile.TemporaryDirectory(prefix="flipbench-") as place:
        unpack(path, Path(place))
        try:
            yield Path(place)
        except DamagedRecord as error:  # it names a folder that is gone when a person reads that
            if not error.path.is_relative_to(place):
                raise
            raise DamagedRecord(path / error.path.relative_to(place), error.problem) from None


def unpack(path: Path, folder: Path) -> Contents:
    """Unpack an archive into an empty folder. What is there after an error is no record.

    DamagedRecord for a file that is no whole archive, UserError for one of a newer flipbench or too large.
    """
    with open_to_read(path) as file:
        tar = _Tar(path, file)
        contents = tar.contents()
        needed, free = sum(each.bytes for each in contents.files), shutil.disk_usage(folder).free
        if needed > free:
            raise UserError(
                f"{path}: its {needed:,} bytes of records do not fit into {folder}: {free:,} are free"
            )
        for part in ("data", "cells", "runs"):
            make_part(folder / part)
        for each in contents.files:
            tar.expect(_header(each.name, each.bytes))
            with writing(place := folder / each.name):
                place.parent.mkdir(exist_ok=True)
                with open(place, "xb") as written:
                    tar.copy(each, written)
            tar.expect(_padding(each.bytes))
        tar.expect(END)
        tar.require_end()
    return contents


def read_contents(path: Path) -> Contents:
    """What an archive says it holds, without unpacking it; raises as `unpack`."""
    with open_to_read(path) as file:
        return _Tar(path, file).contents()


class _Tar:
    """The tar in an archive, read once from its beginning."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file
        self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)

    def contents(self) -> Contents:
        """The list of files, checked: every name is a place of a record, and the sizes are possible."""
        head = self._read(BLOCK)
        try:
            size = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape").size
        except tarfile.HeaderError:
            size = -1
        if not 0 <= size <= LONGEST_LIST or head != _header(LIST, size):
            raise self._damaged("it is no archive of flipbench")
        value = unsealed(self._read(size), self.path / LIST)
        self.expect(_padding(size))
        if type(version := value.get("archive")) is int and version > VERSION:
            raise UserError(
                f"{self.path}: from a newer flipbench (archive {shown(version)}); this one reads {VERSION}"
            )
        contents = decode(Contents, value, self.path / LIST)
        names = [each.name for each in contents.files]
        if wrong := [name for name in names if not PLACES.fullmatch(name)]:
            raise self._damaged(f"no record of flipbench has the name {shown(wrong[0])}")
        if len(set(names)) < len(names) or "plan.json" not in names:
            raise self._damaged("its list names a file twice" if "plan.json" in names else "it holds no plan")
        most = RATIO * self.path.stat().st_size
        if (total := sum(each.bytes for each in contents.files)) > most:
            raise self._damaged(f"it claims to hold {total:,} bytes, far more than records of its size can")
        return contents

    def expect(self, content: bytes) -> None:
        """Read what must come next."""
        if self._read(len(content)) != content:
            raise self._damaged("it does not hold what it lists")

    def copy(self, listed: Listed, target: BinaryIO) -> None:
        """Read the content of a file, which must have its hash."""
        hashed, left = hashlib.sha256(), listed.bytes
        while left:
            part = self._read(min(left, CHUNK))
            hashed.update(part)
            target.write(part)
            left -= len(part)
        if hashed.hexdigest() != listed.sha256:
            raise self._damaged(f"{listed.name} does not match its sha256")

    def require_end(self) -> None:
        """Nothing may follow."""
        if self._some(1) or self._unpacker.unused_data or self._file.read(1):
            raise self._damaged("it holds more than it lists")

    def _read(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._some(count - len(parts))
            if not part:
                raise self._damaged("it ends too early")
            parts += part
        return bytes(parts)

    def _some(self, most: int) -> bytes:
        """The next bytes, at most so many; none at the end."""
        while not self._unpacker.eof:
            packed = self._file.read(CHUNK) if self._unpacker.needs_input else b""
            if self._unpacker.needs_input and not packed:
                raise self._damaged("it ends too early")
            try:
                part = self._unpacker.decompress(packed, most)
            except lzma.LZMAError as error:
                raise self._damaged(f"it cannot be unpacked: {error}") from None
            if part:
                return part
        return b""

    def _damaged(self, problem: str) -> DamagedRecord:
        return DamagedRecord(self.path, problem)
