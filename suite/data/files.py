"""The files of a data set: find them, check them, and download them if that is allowed."""

import hashlib
import os
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from suite.data.errors import DataError

DOWNLOAD_TIMEOUT = 30  # seconds without an answer; torchvision itself would wait without end


def data_root() -> Path:
    """The folder that holds the data sets: FLIPBENCH_DATA, by default ./data."""
    return Path(os.environ.get("FLIPBENCH_DATA") or "data").expanduser().resolve()


def download_allowed() -> bool:
    """Whether absent files may be downloaded: FLIPBENCH_DOWNLOAD, 1 (the default) or 0."""
    value = os.environ.get("FLIPBENCH_DOWNLOAD") or "1"
    if value not in ("0", "1"):
        raise DataError(f"FLIPBENCH_DOWNLOAD must be 0 or 1, got {value!r}")
    return value == "1"


def require_files(name: str, files: Mapping[str, str], download: Callable[[Path], object]) -> Path:
    """The data folder, once all `files` (path below it -> MD5) exist and are undamaged.

    All files are checked, those of the test set too, so that a sweep does not fail after the tuning is done.
    `download` fetches them into the folder it is given. DataError if files are absent or damaged.
    """
    root = data_root()
    if absent := [root / file for file in files if not (root / file).is_file()]:
        if not download_allowed():
            raise _absent(name, absent, "FLIPBENCH_DOWNLOAD=0 forbids downloading them")
        try:
            _download(name, root, files, download)
        except Exception as error:  # network, archive and disk fail in many ways; the advice is the same
            raise _absent(name, absent, f"downloading them failed ({error})") from error
    for file, md5 in files.items():
        _check(name, root / file, md5)
    return root


def _download(name: str, root: Path, files: Mapping[str, str], download: Callable[[Path], object]) -> None:
    """Download aside, check, then rename: a failed download leaves nothing, and two at once do no harm."""
    root.mkdir(parents=True, exist_ok=True)
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}-") as folder:
            download(Path(folder))
            if damaged := [file for file, md5 in files.items() if _md5(Path(folder) / file) != md5]:
                raise RuntimeError(f"{damaged} arrived damaged")
            for file in files:
                if not (root / file).exists():  # a file of the user's is never overwritten
                    (root / file).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(Path(folder) / file, root / file)
    finally:
        socket.setdefaulttimeout(previous)


def _check(name: str, path: Path, expected: str) -> None:
    try:
        found = _md5(path)
    except OSError as error:
        raise DataError(f"data set {name!r}: cannot read {path}: {error}") from error
    if found != expected:
        raise DataError(
            f"data set {name!r}: damaged file {path} ({path.stat().st_size} bytes): its MD5 is {found}, not "
            f"{expected}. Put a good copy there, or delete it and run again to download it"
        )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _absent(name: str, absent: list[Path], tried: str) -> DataError:
    listing = "\n".join(f"  {path}" for path in absent)
    return DataError(
        f"data set {name!r}: {len(absent)} of its files are absent, and {tried}.\n"
        f"Put them exactly here, unpacked (this is torchvision's layout):\n{listing}\n"
        f"or, if you have them elsewhere: export FLIPBENCH_DATA=<the folder to use instead of {data_root()}>"
    )
