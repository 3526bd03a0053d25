import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from suite.data.errors import DataError
from suite.data.stored.image_tree import ImageTree, Listing, list_tree

CLASSES = ("n01440764", "n02102040", "n03000684")


def put(path: Path, size: int = 1) -> None:
    """A file of that size; nothing here opens an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two images of each class in train, one of each in val; their sizes tell the classes apart."""
    for label, name in enumerate(CLASSES):
        for number in (10, 9):
            put(tmp_path / "train" / name / f"{name}_{number}.JPEG", size=label + 1)
        put(tmp_path / "val" / name / f"ILSVRC2012_val_0000000{3 - label}.JPEG", size=label + 1)
    return tmp_path


def flatten_val(root: Path, folder: str = "") -> dict[str, str]:
    """Move val's images together; the class of each by its name."""
    classes = {}
    for path in sorted((root / "val").glob("*/*.JPEG")):
        classes[path.name] = path.parent.name
        (root / "val" / folder).mkdir(exist_ok=True)
        path.rename(root / "val" / folder / path.name)
        path.parent.rmdir()
    return classes


def shown(tree: ImageTree, listing: Listing) -> dict[str, str]:
    """The class of every image, by the name of its file."""
    names = [os.path.basename(path).decode() for path in listing.paths.tolist()]
    return {name: tree.classes[label] for name, label in zip(names, listing.labels.tolist(), strict=True)}


def write_kaggle(root: Path, classes: dict[str, str]) -> None:
    rows = [f"{Path(name).stem},{wnid} 1 2 3 4 {wnid} 5 6 7 8 " for name, wnid in classes.items()]
    (root / "LOC_val_solution.csv").write_text(
        "\n".join(["ImageId,PredictionString", *reversed(rows)]) + "\n"
    )


def write_synset_labels(root: Path, classes: dict[str, str]) -> None:
    lines = [classes[name] for name in sorted(classes)]
    (root / "imagenet_2012_validation_synset_labels.txt").write_text("\n".join(lines) + "\n")


def write_annotations(root: Path, classes: dict[str, str]) -> None:
    rows = [f"{name}\t{wnid}\t0\t32\t44\t62" for name, wnid in classes.items()]
    (root / "val" / "val_annotations.txt").write_text("\n".join(reversed(rows)) + "\n")


TRUTHS: dict[str, Callable[[Path, dict[str, str]], None]] = {
    "kaggle": write_kaggle,
    "synset labels": write_synset_labels,
    "annotations": write_annotations,
}


def test_images_are_listed_by_class_in_the_order_of_their_names(tree: Path):
    listed = list_tree(tree)
    assert listed.classes == CLASSES
    names = [f"train/{name}/{name}_{number}.JPEG".encode() for name in CLASSES for number in (10, 9)]
    assert listed.train.paths.tolist() == names
    assert listed.train.labels.tolist() == [0, 0, 1, 1, 2, 2] and listed.train.labels.dtype == "int64"
    assert listed.val.labels.tolist() == [0, 1, 2] and len(listed.val) == 3


def test_the_order_does_not_depend_on_the_disk(tree: Path):
    names = [f"{number * 37 % 50:02}.JPEG" for number in range(50)]  # in no order that a disk may keep
    for name in names:
        put(tree / "train" / CLASSES[0] / "more" / name)
    paths = [path for path in list_tree(tree).train.paths.tolist() if b"/more/" in path]
    assert paths == [f"train/{CLASSES[0]}/more/{name}".encode() for name in sorted(names)]


def test_images_lie_at_any_depth_and_end_in_any_case(tree: Path):
    put(tree / "train" / CLASSES[1] / "images" / "deep" / "a.JpG")
    put(tree / "train" / CLASSES[1] / "b.png")
    for other in ("notes.txt", "._b.JPEG", "jpeg", "c.jpeg.part"):
        put(tree / "train" / CLASSES[1] / other)
    put(tree / "train" / "stray.JPEG")  # of no class
    (tree / "train" / "README").write_text("no class either")
    listed = list_tree(tree)
    assert listed.train.labels.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert {b"train/n02102040/images/deep/a.JpG", b"train/n02102040/b.png"} < set(listed.train.paths.tolist())


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("folder", ["", "images"])
def test_a_flat_val_is_labelled_by_its_ground_truth(tree: Path, truth: str, folder: str):
    by_folder = list_tree(tree)
    expected = shown(by_folder, by_folder.val)
    TRUTHS[truth](tree, flatten_val(tree, folder))
    listed = list_tree(tree)
    assert shown(listed, listed.val) == expected
    assert listed.val.labels.tolist() == [2, 1, 0]  # by name: not the order of the classes


def test_synset_labels_go_by_the_names_of_the_files_whatever_their_folders(tree: Path):
    classes = flatten_val(tree, "a")
    (tree / "val" / "b").mkdir()
    first = min(classes)
    (tree / "val" / "a" / first).rename(tree / "val" / "b" / first)
    write_synset_labels(tree, classes)
    listed = list_tree(tree)
    assert shown(listed, listed.val) == classes


def test_a_ground_truth_next_to_folders_of_classes_is_not_needed(tree: Path):
    (tree / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nanother,n1\n")
    assert list_tree(tree).val.labels.tolist() == [0, 1, 2]


def test_the_digest_is_of_paths_sizes_and_classes(tree: Path):
    digest = list_tree(tree).digest()
    lines = []
    for part in ("train", "val"):
        for path in sorted(tree.glob(f"{part}/*/*")):
            lines.append(f"{path.relative_to(tree)}\t{path.stat().st_size}\t{path.parent.name}\n")
    assert digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    path = tree / "train" / CLASSES[0] / f"{CLASSES[0]}_9.JPEG"
    path.write_bytes(b"y")  # content is not read
    assert list_tree(tree).digest() == digest
    path.write_bytes(b"yy")
    assert list_tree(tree).digest() != digest


def test_the_digest_of_a_flat_val_depends_on_its_ground_truth(tree: Path):
    classes = flatten_val(tree)
    write_kaggle(tree, classes)
    digest = list_tree(tree).digest()
    write_kaggle(tree, dict(zip(classes, reversed(classes.values()), strict=True)))
    assert list_tree(tree).digest() != digest


def test_a_file_that_vanished_is_named(tree: Path):
    listed = list_tree(tree)
    (tree / os.fsdecode(listed.val.paths[0])).unlink()
    with pytest.raises(DataError, match=r"cannot read .*val_00000003\.JPEG: No such file"):
        listed.digest()


def remove_images(folder: Path) -> None:
    for path in folder.rglob("*.JPEG"):
        path.unlink()


def remove_class(folder: Path) -> None:
    remove_images(folder)
    folder.rmdir()


def flat_with(truth: str, change: Callable[[dict[str, str]], object]) -> Callable[[Path], None]:
    """A flat val whose ground truth was changed."""

    def break_it(root: Path) -> None:
        classes = flatten_val(root)
        change(classes)
        TRUTHS[truth](root, classes)

    return break_it


def devkit(root: Path) -> None:
    flatten_val(root)
    (root / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n361\n171\n")


def half_a_line(root: Path) -> None:
    flatten_val(root)
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\n")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "val").rename(root / "validation"), r"there is no folder .*/val\. A tree"),
        (
            lambda root: remove_images(root / "train"),
            r"there are no images \(.jpeg, .* .avif\) in .*/train",
        ),
        (lambda root: remove_images(root / "val"), r"there are no images \(.jpeg, .* .avif\) in .*/val"),
        (
            lambda root: remove_images(root / "train" / CLASSES[1]),
            "train has no image of 1 of the 3 classes: n02102040",
        ),
        (
            lambda root: remove_class(root / "val" / CLASSES[2]),
            "val has no image of 1 of the 3 classes: n03000684",
        ),
        (
            lambda root: put(root / "val" / "n09999999" / "a.JPEG"),
            "val has 1 folders that are not classes of train: n09999999",
        ),
        (flatten_val, "holds images outside the folders of classes.*LOC_val_solution.csv"),
        (
            devkit,
            "ground_truth.txt gives the classes as numbers of ImageNet's devkit.*LOC_val_solution.csv",
        ),
        (
            flat_with("kaggle", lambda classes: classes.popitem()),
            "has no class for 1 of the images, first ILSVRC2012_val_00000001",
        ),
        (
            flat_with("annotations", lambda classes: classes.update({"x.JPEG": CLASSES[0]})),
            "names 1 images that do not exist, first x.JPEG",
        ),
        (
            flat_with("synset labels", lambda classes: classes.popitem()),
            "has 2 lines, but there are 3 images: it must have one for each",
        ),
        (
            flat_with(
                "kaggle", lambda classes: classes.update({"ILSVRC2012_val_00000001.JPEG": "n09999999"})
            ),
            "the ground truth of .*/val has 1 classes that train lacks: n09999999",
        ),
        (half_a_line, "val_annotations.txt: a line must name an image and its class, got 'val_0.JPEG'"),
    ],
)
def test_a_faulty_tree_is_refused_with_the_reason(
    tree: Path, break_it: Callable[[Path], object], message: str
):
    break_it(tree)
    with pytest.raises(DataError, match=message):
        list_tree(tree)


def test_at_most_ten_classes_are_named_and_all_are_counted(tree: Path):
    for number in range(13):
        put(tree / "train" / f"x{number:02}" / "a.JPEG")
    with pytest.raises(DataError, match=r"no image of 13 of the 16 classes: x00, .*x09 and 3 more$"):
        list_tree(tree)


def test_a_name_that_no_record_can_hold_is_refused(tree: Path):
    path = os.path.join(os.fsencode(tree / "train" / CLASSES[0]), b"\xff.JPEG")
    with open(path, "wb"):
        pass
    with pytest.raises(DataError, match=r"not UTF-8: .*\\xff\.JPEG"):
        list_tree(tree)
