"""Preparing a tree of images: interruptions, refusals, and bytes that do not depend on them."""

import hashlib
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import suite.data.stored.prepare
from suite.data.errors import DataError
from suite.data.stored.image_tree import list_tree
from suite.data.stored.open import open_stored
from suite.data.stored.prepare import prepare
from suite.data.stored.verify_pack import verify
from suite.records.files import owned, read_json, write_json
from tests.support.photographs import window, write_jpeg, write_tree

PER_SHARD = 4
SHARDS = ["train-00000", "train-00001", "train-00002", "val-00000", "val-00001"]  # of 12 and 6 images


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite.data.stored.prepare, "IMAGES_PER_SHARD", PER_SHARD)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def unbroken(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree, prepared by one worker without interruption."""
    target = tmp_path_factory.mktemp("unbroken") / "prepared"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite.data.stored.prepare, "IMAGES_PER_SHARD", PER_SHARD)
        prepare(tree, target, encoding="jpeg", side=32)
    return target


@pytest.fixture
def target(unbroken: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(unbroken, tmp_path / "prepared")
    return tmp_path / "prepared"


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_folder_holds_the_shards_their_index_and_the_manifest(unbroken: Path):
    expected = {f"{name}.{ending}" for name in SHARDS for ending in ("bin", "json")}
    assert set(hashes(unbroken)) == expected | {"index.npy", "prepared.json", ".lock"}
    stored = open_stored(unbroken, 32, "stop")
    assert len(stored.train) == 12 and len(stored.val) == 6


SETTINGS = ["encoding", "side", "quality", "source", "images_per_shard", "version"]
FILE = ["name", "bytes", "sha256"]


def test_the_layout_of_the_json_files_is_that_of_version_2(unbroken: Path):
    manifest, shard = (read_json(unbroken / name) for name in ("prepared.json", "train-00001.json"))
    assert list(manifest) == [*SETTINGS, "classes", "train", "val", "shards", "index", "damaged"]
    assert manifest["version"] == 2 and [list(file) for file in manifest["shards"]] == [FILE] * len(SHARDS)
    assert list(manifest["index"]) == FILE and manifest["damaged"] == []
    assert list(shard) == ["settings", "part", "shard", "images", "damaged"]
    assert list(shard["settings"]) == SETTINGS and list(shard["shard"]) == FILE
    assert list(shard["images"]) == ["offset", "length", "height", "width", "label", "crc32", "name"]
    assert shard["images"]["label"] == [1] * 4 and shard["damaged"] == []


def test_the_bytes_do_not_depend_on_the_number_of_workers(tree: Path, unbroken: Path, tmp_path: Path):
    seen: list[tuple[int, int]] = []
    summary = prepare(
        tree,
        tmp_path / "two",
        encoding="jpeg",
        side=32,
        workers=2,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert hashes(tmp_path / "two") == hashes(unbroken)
    assert seen == [(0, 18), (4, 18), (8, 18), (12, 18), (16, 18), (18, 18)]
    size = sum((unbroken / f"{name}.bin").stat().st_size for name in SHARDS)
    assert summary == (12, 6, size, 5, 5, [], {})


def test_a_finished_shard_is_not_made_again(tree: Path, target: Path, unbroken: Path):
    before = {path.name: path.stat().st_mtime_ns for path in target.glob("*.bin")}
    assert prepare(tree, target, encoding="jpeg", side=32).made == 0
    assert {path.name: path.stat().st_mtime_ns for path in target.glob("*.bin")} == before
    assert hashes(target) == hashes(unbroken)


# --- interruptions ------------------------------------------------------------------------------------------

COMMAND = """
import signal
import sys
import time
from pathlib import Path
import suite.data.stored.prepare as prepare

# A shell that starts the tests in the background lets them ignore Ctrl-C, and all processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

def tell(done, total):
    print(done, flush=True)
    if done >= 4:
        for _ in range(6_000):  # until the signal: one long wait may miss a signal just before it
            time.sleep(0.01)

if __name__ == "__main__":
    prepare.IMAGES_PER_SHARD = 4
    prepare.prepare(
        Path(sys.argv[1]), Path(sys.argv[2]), encoding="jpeg", side=32, workers=2, on_progress=tell
    )
"""


def descendants(process: int) -> set[int]:
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(folder.name))
    found, new = set(), [process]
    while new:
        new = [child for parent in new for child in parents.get(parent, [])]
        found |= set(new)
    return found


def is_running(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def slow_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 images that take about 20 ms each, so that there is a middle in which to interrupt."""
    root = write_tree(tmp_path_factory.mktemp("slow"), train=9, val=1)
    for number, path in enumerate(sorted(root.glob("*/*/*"))):
        large = root / f"{number % 2}.JPEG"  # outside train and val, so not part of the tree
        if not large.exists():
            picture = Image.fromarray(window(number, 400, 600)).resize((2400, 1600))
            picture.save(large, quality=70)
        path.unlink()
        os.link(large, path)
    return root


@pytest.fixture(scope="module")
def slow_hashes(slow_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tree, prepared without interruption."""
    target = tmp_path_factory.mktemp("slow") / "prepared"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite.data.stored.prepare, "IMAGES_PER_SHARD", PER_SHARD)
        prepare(slow_tree, target, encoding="jpeg", side=32)
    return hashes(target)


@pytest.mark.parametrize("interruption", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_preparation_continues_to_the_same_bytes(
    slow_tree: Path, slow_hashes: dict[str, str], tmp_path: Path, interruption: signal.Signals
):
    script, target = tmp_path / "command.py", tmp_path / "prepared"
    script.write_text(COMMAND)
    command = subprocess.Popen(
        [sys.executable, str(script), str(slow_tree), str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        text=True,
    )
    with command:
        assert command.stdout is not None
        assert [command.stdout.readline() for _ in range(2)] == ["0\n", "4\n"]
        workers = descendants(command.pid)
        command.send_signal(interruption)
        command.wait(120)
    assert len(workers) >= 3  # two, and the process they are forked from
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, workers)), "workers outlived the command"

    assert (target / "train-00000.json").exists() and not (target / "prepared.json").exists()
    with pytest.raises(DataError, match="not completely prepared"):
        open_stored(target, 32, "stop")
    if interruption == signal.SIGINT:
        assert not list(target.glob(".*.tmp"))
    (target / ".val-00001.bin.1.tmp").write_bytes(b"torn")  # as a kill may leave it
    assert 1 <= prepare(slow_tree, target, encoding="jpeg", side=32).made < 8
    assert hashes(target) == slow_hashes


def test_workers_leave_the_shards_they_are_at_when_the_command_ends(slow_tree: Path, tmp_path: Path):
    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(slow_tree, tmp_path, encoding="jpeg", side=32, on_progress=interrupt)
    # One was done; of the next, one was at work and more had been handed to the worker already.
    assert len(list(tmp_path.glob("*.bin"))) <= 2 and not list(tmp_path.glob(".*.tmp"))


def test_a_worker_that_dies_is_reported_and_the_same_command_continues(
    tree: Path, unbroken: Path, tmp_path: Path
):
    others = set(multiprocessing.active_children())  # of other tests in this process

    def kill_the_workers(done: int, total: int) -> None:
        for worker in set(multiprocessing.active_children()) - others:
            os.kill(worker.pid or 0, signal.SIGKILL)

    target = tmp_path / "prepared"
    with pytest.raises(DataError, match=r"a worker process died.*the same command continues"):
        prepare(tree, target, encoding="jpeg", side=32, workers=2, on_progress=kill_the_workers)
    prepare(tree, target, encoding="jpeg", side=32)
    assert hashes(target) == hashes(unbroken)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("train-00001.bin", truncate),
        ("train-00001.bin", os.unlink),
        ("train-00001.json", truncate),
        ("train-00001.json", os.unlink),
    ],
)
def test_a_shard_that_is_not_whole_is_made_again(
    tree: Path, target: Path, unbroken: Path, file: str, damage: Callable[[Path], object]
):
    damage(target / file)
    assert prepare(tree, target, encoding="jpeg", side=32).made == 1
    assert hashes(target) == hashes(unbroken)


# --- indexes that do not belong to their shards -----------------------------------------------------------


def copy(source: str, place: str) -> Callable[[Path], object]:
    return lambda target: shutil.copyfile(target / source, target / place)


def swap(one: str, other: str) -> Callable[[Path], object]:
    def swap_them(target: Path) -> None:
        (target / one).rename(target / "aside")
        (target / other).rename(target / one)
        (target / "aside").rename(target / other)

    return swap_them


def both(*changes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda target: [change(target) for change in changes]


def rewritten(
    change: Callable[[dict[str, Any]], object], file: str = "train-00001.json"
) -> Callable[[Path], object]:
    """An index with a valid checksum and another content."""

    def rewrite(target: Path) -> None:
        content = read_json(target / file)
        change(content)
        write_json(target / file, content)

    return rewrite


def drop_last(row: dict[str, Any]) -> None:
    for column in row["images"].values():
        column.pop()


WRONG = {
    "doubled": copy("train-00000.json", "train-00001.json"),
    "of the other part": copy("val-00000.json", "train-00001.json"),
    "swapped": swap("train-00001.json", "train-00002.json"),
    "swapped with its shard": both(
        swap("train-00001.json", "train-00002.json"), swap("train-00001.bin", "train-00002.bin")
    ),
    "without its last image": rewritten(drop_last),
    "with an image of another": rewritten(lambda row: row["images"]["name"].__setitem__(0, "train/x.JPEG")),
    "with another label": rewritten(lambda row: row["images"]["label"].__setitem__(0, 2)),
    "with an image left out that was not there": rewritten(
        lambda row: row["damaged"].append({"name": "train/x.JPEG", "problem": "none"})
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_prepare_and_check_refuse_an_index_that_is_not_that_of_its_shard(
    tree: Path, target: Path, wrong: str
):
    WRONG[wrong](target)
    before = hashes(target)
    with pytest.raises(
        DataError, match=r"train-00001\.json is the index of .*not that of train-00001\.bin; delete it"
    ):
        prepare(tree, target, encoding="jpeg", side=32)
    assert hashes(target) == before
    assert verify(target)


def test_check_refuses_a_lost_index_and_shards_that_changed_places(target: Path):
    (target / "train-00001.json").unlink()
    assert verify(target) == [f"{target / 'train-00001.json'} is absent"]
    swap("val-00000.bin", "val-00001.bin")(target)
    assert [re.sub(" is damaged.*", "", line) for line in verify(target)] == [
        f"{target / 'val-00000.bin'}",
        f"{target / 'val-00001.bin'}",
    ]


def test_a_folder_of_an_older_version_is_refused_and_kept(tree: Path, target: Path):
    rewritten(lambda row: (row["settings"].update(version=1), row["images"].pop("crc32")))(target)
    before = hashes(target)
    with pytest.raises(
        DataError, match=r"is of version 1, this flipbench reads 2\. .* prepare the tree again"
    ):
        prepare(tree, target, encoding="jpeg", side=32)
    assert hashes(target) == before


def test_while_shards_are_made_again_there_is_no_manifest(tree: Path, target: Path):
    (target / "train-00001.bin").unlink()
    seen = []
    prepare(
        tree,
        target,
        encoding="jpeg",
        side=32,
        on_progress=lambda done, total: seen.append((target / "prepared.json").exists()),
    )
    assert seen == [False, False] and (target / "prepared.json").exists()


# --- damaged images -----------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A tree with two damaged images, the sixth and the ninth of train."""
    root = write_tree(tmp_path / "damaged")
    for position in (5, 8):
        truncate(sorted((root / "train").glob("*/*"))[position])
    return root


def test_the_first_damaged_image_stops_and_leaving_out_continues(damaged: Path, tmp_path: Path):
    target = tmp_path / "prepared"
    with pytest.raises(DataError, match=r"n02102040_1\.JPEG cannot be used: .*--damaged leave-out"):
        prepare(damaged, target, encoding="pixels", side=32)
    assert (target / "train-00000.bin").exists() and not (target / "train-00001.bin").exists()
    summary = prepare(damaged, target, encoding="pixels", side=32, damaged="leave-out")
    names = ["train/n02102040/n02102040_1.JPEG", "train/n03000684/n03000684_0.JPEG"]
    assert summary.damaged == names and (summary.train, summary.val) == (10, 6)
    manifest = read_json(target / "prepared.json")
    assert [image["name"] for image in manifest["damaged"]] == names
    assert all("truncated" in image["problem"] for image in manifest["damaged"])
    with pytest.raises(DataError, match=r"n02102040_1\.JPEG cannot be used"):
        prepare(damaged, target, encoding="pixels", side=32)


def test_images_after_one_that_was_left_out_are_still_found(damaged: Path, tmp_path: Path):
    prepare(damaged, tmp_path / "prepared", encoding="pixels", side=48, damaged="leave-out")
    prepared, plain = open_stored(tmp_path / "prepared", 32, "stop"), open_stored(damaged, 32, "grey")
    whole = [position for position in range(12) if position not in (5, 8)]
    assert prepared.train.labels.tolist() == plain.train.labels[whole].tolist()
    crops = prepared.train.centre_crops(range(10)).pixels
    assert crops.equal(plain.train.centre_crops(whole).pixels)
    assert prepared.record["damaged"] == [
        "train/n02102040/n02102040_1.JPEG",
        "train/n03000684/n03000684_0.JPEG",
    ]


# --- refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"side": 40}, "was prepared with side 32, now it is 40: choose another folder"),
        ({"quality": 80}, "was prepared with quality 90, now it is 80"),
        ({"encoding": "pixels"}, "was prepared with encoding jpeg, now it is pixels"),
    ],
)
def test_a_folder_of_other_settings_is_refused_and_kept(
    tree: Path, target: Path, unbroken: Path, changed: dict[str, Any], message: str
):
    with pytest.raises(DataError, match=message):
        prepare(tree, target, **{"encoding": "jpeg", "side": 32, **changed})
    assert hashes(target) == hashes(unbroken)


def test_a_folder_of_another_source_is_refused(tree: Path, target: Path, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(tree, other)
    write_jpeg(sorted((other / "train").glob("*/*"))[0], 99)
    digests = [list_tree(root).digest() for root in (tree, other)]
    with pytest.raises(DataError, match=f"was prepared with source {digests[0]}, now it is {digests[1]}"):
        prepare(other, target, encoding="jpeg", side=32)


def test_a_folder_with_other_files_is_refused(tree: Path, tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(DataError, match=r"holds other files, such as thesis\.tex"):
        prepare(tree, tmp_path, encoding="jpeg")
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_folder_that_another_process_prepares_is_refused(tree: Path, tmp_path: Path):
    with owned(tmp_path) as mine, pytest.raises(DataError, match="another process is preparing"):
        assert mine
        prepare(tree, tmp_path, encoding="jpeg")


def test_a_disk_without_the_space_is_refused_before_anything_is_made(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Usage = namedtuple("Usage", ["total", "used", "free"])
    needed = 18 * 32 * 43 * 3  # bytes of pixels: 48 x 64 becomes 32 x 43

    def free(space: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - space, space))

    free(needed - 1)
    with pytest.raises(DataError, match=r"needs about 0\.0 GB more, the disk has 0\.0 GB left"):
        prepare(tree, tmp_path / "prepared", encoding="pixels", side=32)
    assert not list((tmp_path / "prepared").glob("*.bin"))
    free(needed)
    assert prepare(tree, tmp_path / "prepared", encoding="pixels", side=32).bytes == needed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"encoding": "png"}, "'encoding' must be one of jpeg, pixels, got 'png'"),
        ({"damaged": "grey"}, "'damaged' must be one of stop, leave-out, got 'grey'"),
        ({"side": 0}, "'side' must be a positive number of pixels, got 0"),
        ({"quality": 96}, "'quality' must be from 1 to 95, got 96"),
        ({"workers": 0}, "'workers' must be a positive number of processes, got 0"),
    ],
)
def test_bad_settings_are_refused_by_name(tree: Path, tmp_path: Path, wrong: dict[str, Any], message: str):
    with pytest.raises(DataError, match=message) as error:
        prepare(tree, tmp_path / "prepared", **{"encoding": "jpeg", **wrong})
    assert error.value.option == next(iter(wrong))
    assert not (tmp_path / "prepared").exists()


# --- verify -------------------------------------------------------------------------------------------------


def test_a_whole_folder_has_no_problems(unbroken: Path):
    seen = []
    assert verify(unbroken, lambda done, total: seen.append((done, total))) == []
    size = sum(path.stat().st_size for path in unbroken.glob("*.bin"))
    total = size + (unbroken / "index.npy").stat().st_size
    assert len(seen) == 6 and seen[-1] == (total, total) and seen == sorted(seen)


@pytest.mark.parametrize("file", ["train-00002.bin", "index.npy"])
def test_one_changed_bit_is_found(target: Path, file: str):
    content = bytearray((target / file).read_bytes())
    content[len(content) // 2] ^= 1
    (target / file).write_bytes(content)
    assert verify(target) == [f"{target / file} is damaged: its sha256 is not the one in prepared.json"]


def test_every_problem_is_named(target: Path):
    (target / "train-00001.bin").unlink()
    truncate(target / "val-00000.bin")
    problems = verify(target)
    assert len(problems) == 2
    assert re.search(r"train-00001\.bin is absent", problems[0])
    assert re.search(r"val-00000\.bin is damaged: it has \d+ bytes of \d+", problems[1])


def test_a_folder_without_a_whole_manifest_cannot_be_verified(target: Path):
    truncate(target / "prepared.json")
    with pytest.raises(DataError, match=r"prepared\.json is damaged"):
        verify(target)
    (target / "prepared.json").unlink()
    with pytest.raises(DataError, match="nothing is prepared there, or not completely"):
        verify(target)
