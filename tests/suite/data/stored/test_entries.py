"""One rule for what counts in a folder, in every reader, at every depth."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from suite.data import DATASETS, DataError, load_splits, resolve, skipped_text
from suite.data.sets import imagenet
from suite.data.source import Source
from suite.data.stored.open import open_stored
from suite.data.stored.prepare import prepare
from suite.records.codec import encode
from suite.records.trial import Choice
from tests.support.photographs import CLASSES, write_jpeg, write_tree

READERS = ("imagefolder", "imagenet")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    imagenet._opened.cache_clear()
    return write_tree(tmp_path / "own", train=2, val=1)


def choice(reader: str, root: Path) -> Choice:
    return resolve(Choice(reader, {"folder": str(root), "size": 16, "validation": 0.5}))


def opened(reader: str, root: Path) -> Source:
    return DATASETS[reader].source(choice(reader, root).options)


def litter(root: Path) -> dict[str, int]:
    """Leave behind what other programs do, at every depth; returns how many entries of which kinds."""
    deep = root / "train" / CLASSES[0] / "more"
    for folder in (root / "train", root / "val", root / "train" / CLASSES[1], deep):
        for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git"):
            write_jpeg(folder / name / "cat.JPEG", 0)
        for name in ("._cat.JPEG", ".DS_Store", "Thumbs.db", "DESKTOP.INI", ".cat.JPEG"):
            (folder / name).write_bytes(b"no image")
    for name in ("boxes.txt", "more.TXT", "scan.0001", "photo.heic"):
        (root / "val" / CLASSES[2] / name).write_bytes(b"no image")
    write_jpeg(root / "train" / "stray.JPEG", 0)
    (root / "val" / "val_annotations.txt").write_text("known, and not needed here")
    fours = (".DS_Store", ".ipynb_checkpoints", "._*", "@eaDir", "Thumbs.db", "__MACOSX", "desktop.ini")
    others = {"*.heic": 1, "*.txt": 2, ".*": 8, "images outside the folders of classes": 1, "other files": 1}
    return {**dict.fromkeys(fours, 4), **others}


@pytest.mark.parametrize("reader", READERS)
def test_leftovers_change_no_image_and_are_counted_in_the_record(tree: Path, reader: str):
    write_jpeg(tree / "train" / CLASSES[0] / "more" / "deep.JPEG", 0)
    clean = load_splits(choice(reader, tree)).record
    assert "skipped" not in encode(clean)
    kinds = litter(tree)
    imagenet._opened.cache_clear()
    record = load_splits(choice(reader, tree)).record
    assert record.skipped == kinds
    assert {**encode(clean), "skipped": kinds} == encode(record)


def test_prepare_skips_the_same_and_reads_the_same_later(tree: Path, tmp_path: Path):
    prepare(tree, tmp_path / "clean", encoding="jpeg")
    kinds = litter(tree)
    assert prepare(tree, tmp_path / "other", encoding="jpeg").skipped == kinds
    clean, other = (open_stored(tmp_path / name, 16, "stop") for name in ("clean", "other"))
    assert (clean.skipped, other.skipped) == ({}, kinds) and clean.record == other.record


def test_a_finder_that_has_looked_into_a_prepared_folder_does_no_harm(tree: Path, tmp_path: Path):
    prepare(tree, tmp_path / "prepared", encoding="jpeg")
    (tmp_path / "prepared" / ".DS_Store").touch()
    assert prepare(tree, tmp_path / "prepared", encoding="jpeg").made == 0


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["a.webp", "b.TIF", "c.bmp", "d.jfif", "e.pgm"])
def test_images_of_every_known_suffix_count(tree: Path, reader: str, name: str):
    before = len(opened(reader, tree).labels)
    imagenet._opened.cache_clear()
    (tree / "train" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG").rename(tree / "train" / CLASSES[2] / name)
    labels = opened(reader, tree).labels
    assert len(labels) == before and labels.bincount().tolist() == [1, 2, 3]


def link_to_above(tree: Path) -> None:
    (tree / "train" / CLASSES[0] / "loop").symlink_to(tree / "train")


def broken_link(tree: Path) -> None:
    (tree / "train" / CLASSES[0] / "gone.JPEG").symlink_to(tree / "nowhere.JPEG")


def pipe(tree: Path) -> None:
    os.mkfifo(tree / "train" / CLASSES[0] / "pipe.JPEG")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (link_to_above, "loop is a link to a folder that contains it"),
        (broken_link, r"gone\.JPEG is not a file, or a link that leads to none"),
        (pipe, r"pipe\.JPEG is not a file"),  # to read it would wait for ever
    ],
)
def test_what_only_looks_like_an_image_or_a_folder_is_named(
    tree: Path, reader: str, spoil: Callable[[Path], None], message: str
):
    spoil(tree)
    with pytest.raises(DataError, match=message):
        opened(reader, tree)


def test_an_image_folder_keeps_the_order_of_torchvision(tree: Path, monkeypatch: pytest.MonkeyPatch):
    """Folder by folder, as its ImageFolder walks: by their whole paths, m/ would come before z.png."""
    names = ["z.png", "a/d.png", "m/b.png", "m-n/c.png", "m/k/a.png"]
    for number, name in enumerate(names):
        write_jpeg(tree / "train" / CLASSES[0] / name, number)
    read: list[bytes] = []

    def listed(paths: list[bytes], size: int) -> torch.Tensor:
        read.extend(paths)
        return torch.zeros(len(paths), 3, size, size, dtype=torch.uint8)

    monkeypatch.setattr("suite.data.sets.image_folder.decode", listed)
    source = opened("imagefolder", tree)
    source.read((source.labels == 0).nonzero().flatten())
    first = [f"{CLASSES[0]}_{number}.JPEG" for number in (0, 1)]
    assert read == [os.fsencode(tree / "train" / CLASSES[0] / name) for name in first + names]


def test_the_text_counts_every_kind():
    assert skipped_text({}) == "" and skipped_text({"b": 1200, "._*": 2}) == "left out: 2 ._*, 1,200 b"
