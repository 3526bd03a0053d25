import hashlib
import json
import pickle
import struct
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from suite.checks.contract.data import STAGES, Example
from suite.data import (
    DATASETS,
    Batches,
    DataError,
    Images,
    ImageSet,
    TestSetGuard,
    describe,
    load_splits,
    load_test,
    resolve,
)
from suite.data.image_set import WHOLE, epoch_order
from suite.data.memory import augmentation_draws
from suite.data.sets import image_folder
from suite.data.sets.torchvision_sets import cifar_images, mnist_images, svhn_images, torchvision_set
from suite.data.splits import stratified_index
from suite.machine import preemption
from suite.machine.random_keys import generator, numbered_keys, random_key
from suite.records.codec import decode, encode
from suite.records.schema import DataRecord
from suite.records.trial import Augmentation, Choice
from tests.support.tiny import CPU, all_splits, in_memory

TRAIN, TEST, CLASSES = 60, 20, 10


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and no network."""
    monkeypatch.setenv("FLIPBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("FLIPBENCH_DOWNLOAD", "0")
    return tmp_path


# --- small synthetic files in the layouts that torchvision reads -------------------------------------------


class Written(NamedTuple):
    """The content of a synthetic data set on disk: pixels (N, C, H, W) and labels (N,)."""

    choice: Choice
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def some_images(count: int, channels: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(seed)
    return random.randint(0, 256, (count, channels, size, size)).astype(np.uint8), np.arange(count) % CLASSES


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def register(monkeypatch: pytest.MonkeyPatch, name: str, constructor: str, images: Any, files: dict) -> None:
    known = DATASETS[name]
    channels, size = (1, 28) if name.endswith("mnist") else (3, 32)
    small = torchvision_set(
        name,
        constructor,
        images,
        files,
        summary=known.summary,
        classes=CLASSES,
        shape=(channels, size, size),
        train=TRAIN,
        test=TEST,
        augment=known.augment,
    )
    monkeypatch.setitem(DATASETS, name, small)


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist(name: str, constructor: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    parts = {"train": some_images(TRAIN, 1, 28, seed=1), "t10k": some_images(TEST, 1, 28, seed=2)}
    raw = folder / constructor / "raw"
    raw.mkdir(parents=True)
    for part, (pixels, labels) in parts.items():
        write_idx(raw / f"{part}-images-idx3-ubyte", pixels[:, 0])
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
    files = {str(path.relative_to(folder)): md5(path) for path in raw.iterdir()}
    register(monkeypatch, name, constructor, mnist_images, files)
    return Written(Choice(name, {}), parts["train"], parts["t10k"])


def write_cifar(name: str, constructor: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    import torchvision.datasets

    original = getattr(torchvision.datasets, constructor)
    train, test = some_images(TRAIN, 3, 32, seed=3), some_images(TEST, 3, 32, seed=4)
    base = folder / original.base_folder
    base.mkdir()
    lists: dict[str, list] = {"train_list": [], "test_list": []}
    for attribute, (pixels, labels) in (("train_list", train), ("test_list", test)):
        names = [file for file, _ in getattr(original, attribute)]
        for file, rows in zip(names, np.array_split(np.arange(len(labels)), len(names)), strict=True):
            batch = {"data": pixels[rows].reshape(len(rows), -1)}
            batch["labels" if name == "cifar10" else "fine_labels"] = labels[rows].tolist()
            (base / file).write_bytes(pickle.dumps(batch))
            lists[attribute].append([file, md5(base / file)])
        monkeypatch.setattr(original, attribute, lists[attribute])
    meta = base / original.meta["filename"]
    meta.write_bytes(pickle.dumps({original.meta["key"]: [str(number) for number in range(CLASSES)]}))
    monkeypatch.setattr(original, "meta", {**original.meta, "md5": md5(meta)})
    files = {str(path.relative_to(folder)): md5(path) for path in base.iterdir()}
    register(monkeypatch, name, constructor, cifar_images, files)
    return Written(Choice(name, {}), train, test)


def write_svhn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    import torchvision.datasets

    train, test = some_images(TRAIN, 3, 32, seed=5), some_images(TEST, 3, 32, seed=6)
    split_list = {}
    for part, (pixels, labels) in (("train", train), ("test", test)):
        path = folder / f"{part}_32x32.mat"
        house_numbers = np.where(labels == 0, 10, labels)  # SVHN's label of the digit 0 is 10
        scipy.io.savemat(path, {"X": pixels.transpose(2, 3, 1, 0), "y": house_numbers[:, None]})
        split_list[part] = ["no address", path.name, md5(path)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", split_list)
    register(
        monkeypatch, "svhn", "SVHN", svhn_images, {file: digest for _, file, digest in split_list.values()}
    )
    return Written(Choice("svhn", {}), train, test)


def write_image_folder(folder: Path, test_name: str = "test") -> Written:
    train, test = some_images(TRAIN, 3, 16, seed=7), some_images(TEST, 3, 16, seed=8)
    sorted_parts = []
    for part, (pixels, labels) in (("train", train), (test_name, test)):
        order = np.argsort(labels, kind="stable")  # ImageFolder lists class by class
        sorted_parts.append((pixels[order], labels[order]))
        for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
            path = folder / "own" / part / f"class{label}" / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.transpose(1, 2, 0)).save(path)
    return Written(Choice("imagefolder", {"folder": "own", "size": 16}), *sorted_parts)


def write_imagenet(folder: Path) -> Written:
    """Images whose centre, which evaluation sees, is one of `some_images`, and the rest black."""
    train, test = some_images(TRAIN, 3, 16, seed=9), some_images(TEST, 3, 16, seed=10)
    sorted_parts = []
    for part, (pixels, labels) in (("train", train), ("val", test)):
        order = np.argsort(labels, kind="stable")
        sorted_parts.append((pixels[order], labels[order]))
        for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
            path = folder / "net" / part / f"n0{label}" / f"{number:03}.JPEG"  # a PNG: ImageNet has such, too
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = np.pad(picture.transpose(1, 2, 0), ((16, 16), (16, 16), (0, 0)))
            Image.fromarray(whole).save(path, format="png")
    return Written(Choice("imagenet", {"folder": "net", "size": 16, "validation": 0.1}), *sorted_parts)


@pytest.fixture(params=sorted(set(DATASETS) - {"digits"}))
def written(request: pytest.FixtureRequest, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    match request.param:
        case "mnist":
            return write_mnist("mnist", "MNIST", data_folder, monkeypatch)
        case "fashion-mnist":
            return write_mnist("fashion-mnist", "FashionMNIST", data_folder, monkeypatch)
        case "cifar10":
            return write_cifar("cifar10", "CIFAR10", data_folder, monkeypatch)
        case "cifar100":
            return write_cifar("cifar100", "CIFAR100", data_folder, monkeypatch)
        case "svhn":
            return write_svhn(data_folder, monkeypatch)
        case "imagefolder":
            return write_image_folder(data_folder)
        case "imagenet":
            return write_imagenet(data_folder)
        case other:
            raise AssertionError(f"no synthetic files for {other!r}: write some")


def fingerprints(pixels: Any, labels: Any) -> list[tuple[bytes, int]]:
    return [(np.asarray(p).tobytes(), int(label)) for p, label in zip(pixels, labels, strict=True)]


def fingerprints_of(images: ImageSet) -> list[tuple[bytes, int]]:
    pixels = in_memory(images)
    return fingerprints(pixels.pixels, pixels.labels)


# --- splits -------------------------------------------------------------------------------------------------


def test_every_written_image_comes_back_once_with_its_label(written: Written):
    splits = all_splits(written.choice)
    parts = [in_memory(part) for part in (splits.train, splits.val, splits.test)]
    train, val, test = map(fingerprints_of, parts)
    assert fingerprints_of(load_test(written.choice)) == test
    assert sorted(train + val) == sorted(fingerprints(*written.train))
    assert not set(train) & set(val)
    assert test == fingerprints(*written.test)
    for part in parts:
        assert part.pixels.dtype == torch.uint8 and part.labels.dtype == torch.int64
        assert part.pixels.is_contiguous(memory_format=torch.channels_last)


def test_the_record_describes_the_splits(written: Written):
    splits = load_splits(written.choice)
    record = splits.record
    values = encode(record)
    assert decode(DataRecord, json.loads(json.dumps(values)), Path("data.json")) == record
    assert record == all_splits(written.choice).record
    index = record.validation_index
    assert fingerprints_of(splits.val) == fingerprints(written.train[0][index], written.train[1][index])
    sizes = encode(describe(written.choice))
    assert sizes.pop("bytes") == (TRAIN + TEST) * written.train[0][0].size
    assert sizes == {key: values[key] for key in sizes}
    assert (record.train, record.val, record.test) == (TRAIN - 6, 6, TEST)
    assert Choice(record.name, record.options) == resolve(written.choice)


def test_a_data_set_keeps_each_rule_of_the_contract(written: Written):
    example = Example(DATASETS[written.choice.name], resolve(written.choice).options)
    for rule in [rule for stage in STAGES for rule in stage]:
        assert list(rule(example)) == [], rule.__name__


def test_the_recorded_hash_covers_pixels_and_labels(data_folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_mnist("mnist", "MNIST", data_folder, monkeypatch)
    splits = load_splits(Choice("mnist", {}))
    digest = hashlib.sha256()
    for images in (splits.train, splits.val):
        digest.update(in_memory(images).pixels.numpy().transpose(0, 2, 3, 1).tobytes())
        digest.update(images.labels.numpy().astype("<i8").tobytes())
    assert splits.record.sha256 == digest.hexdigest()


def test_digits_are_scikit_learns_and_the_parts_do_not_overlap():
    from sklearn.datasets import load_digits

    splits = all_splits(Choice("digits", {}))
    parts = (splits.train, splits.val, splits.test)
    assert [len(part.labels) for part in parts] == [1150, 287, 360]
    got = sorted(fingerprint for part in parts for fingerprint in fingerprints_of(part))
    pixels, labels = load_digits(return_X_y=True)
    stretched = np.floor(pixels * 255 / 16 + 0.5).astype(np.uint8)
    assert got == sorted(fingerprints(stretched, labels))
    assert splits.to("cpu").test.labels.equal(splits.test.labels)


def test_the_parts_of_digits_never_move():
    whole, limited = (load_splits(Choice("digits", {"train_limit": n})).record for n in (None, 100))
    assert whole.validation_index_sha256 == "26ee0f67116fda6595084e31e01e02a9cef7a13abd4dcd6ab5fa12970ba7117f"
    assert whole.sha256 == "ff8bb1ce0fd2e5497ea762f968f631aa6326dd4f7b5e271ec2ee6e11c91fd57b"
    assert limited.sha256 == "1c8a357288a375b48daa256ce8d7ae1cbf495bbb873ceef00dd340318eccf916"


def test_stratified_index_rounds_by_largest_remainder():
    labels = torch.tensor([0] * 50 + [1] * 31 + [2] * 16 + [3] * 3)
    index = stratified_index(labels, 10, "key")
    # shares of 10: 5.0, 3.1, 1.6, 0.3 -> 5, 3, 1, 0 and the last one to the largest remainder, 0.6
    assert labels[index].bincount(minlength=4).tolist() == [5, 3, 2, 0]
    assert index.tolist() == sorted(set(index.tolist()))
    assert index.equal(stratified_index(labels, 10, "key"))
    assert not index.equal(stratified_index(labels, 10, "another key"))


def test_train_limit_keeps_the_shares_and_leaves_validation_alone():
    full, limited = (load_splits(Choice("digits", {"train_limit": n})) for n in (None, 100))
    assert limited.train.labels.bincount().tolist() == [10] * 10
    assert set(fingerprints_of(limited.train)) <= set(fingerprints_of(full.train))
    assert in_memory(limited.val).pixels.equal(in_memory(full.val).pixels)
    assert describe(Choice("digits", {"train_limit": 100})).train == 100


def test_the_test_set_cannot_be_reached_while_tuning(monkeypatch: pytest.MonkeyPatch):
    def poisoned() -> Images:
        raise AssertionError("the test images were read")

    digits = DATASETS["digits"]
    bad = replace(digits, open=lambda: replace(digits.open(), read_test=poisoned))
    monkeypatch.setitem(DATASETS, "digits", bad)
    splits = load_splits(Choice("digits", {}))
    for guarded in (splits, splits.to("cpu")):
        with pytest.raises(TestSetGuard, match="while tuning"):
            _ = guarded.test
    with pytest.raises(AssertionError, match="were read"):
        all_splits(Choice("digits", {}))


@pytest.mark.parametrize("installed", [False, True])
def test_digits_that_are_absent_from_scikit_learn(installed: bool, monkeypatch: pytest.MonkeyPatch):
    if installed:
        monkeypatch.setattr("suite.data.sets.digits.FILE", "datasets/data/none.csv.gz")
    else:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    name = "none" if installed else "digits"
    with pytest.raises(DataError, match=rf"sklearn/datasets/data/{name}\.csv\.gz is absent.*scikit-learn"):
        load_splits(Choice("digits", {}))


# --- what goes wrong, and what the message says ------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS[name].files])
def test_absent_files_are_listed_with_their_full_paths(name: str, data_folder: Path):
    with pytest.raises(DataError) as error:
        load_splits(Choice(name, {}))
    for file in DATASETS[name].files:
        assert f"  {data_folder / file}\n" in str(error.value)
    for part in (repr(name), "FLIPBENCH_DOWNLOAD=0", "export FLIPBENCH_DATA="):
        assert part in str(error.value)


def test_a_failed_download_says_so_and_leaves_nothing(data_folder: Path, monkeypatch: pytest.MonkeyPatch):
    import torchvision.datasets

    def fail(self: Any) -> None:
        Path(self.raw_folder).mkdir(parents=True)
        (Path(self.raw_folder) / "train-images-idx3-ubyte").write_bytes(b"half of it")
        raise URLError("no route to host")

    monkeypatch.setenv("FLIPBENCH_DOWNLOAD", "1")
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", fail)
    with pytest.raises(DataError, match=r"downloading them failed .*no route to host") as error:
        load_splits(Choice("mnist", {}))
    assert str(data_folder / "MNIST/raw/t10k-labels-idx1-ubyte") in str(error.value)
    assert list(data_folder.iterdir()) == []


@pytest.mark.parametrize("damaged", [False, True])
def test_a_download_is_checked_before_it_counts(
    damaged: bool,
    data_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
):
    import torchvision.datasets

    server = tmp_path_factory.mktemp("server")
    written = write_mnist("mnist", "MNIST", server, monkeypatch)
    if damaged:
        path = server / "MNIST/raw/train-labels-idx1-ubyte"
        path.write_bytes(path.read_bytes()[:-1] + b"!")

    def fetch(self: Any) -> None:
        Path(self.raw_folder).mkdir(parents=True, exist_ok=True)
        for path in (server / "MNIST/raw").iterdir():
            (Path(self.raw_folder) / path.name).write_bytes(path.read_bytes())

    monkeypatch.setenv("FLIPBENCH_DOWNLOAD", "1")
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", fetch)
    if damaged:
        with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.* arrived damaged"):
            all_splits(Choice("mnist", {}))
        assert list(data_folder.iterdir()) == []
    else:
        splits = all_splits(Choice("mnist", {}))
        assert fingerprints_of(splits.test) == fingerprints(*written.test)
        assert [path.name for path in data_folder.iterdir()] == ["MNIST"]


@pytest.mark.parametrize("written", [name for name in DATASETS if DATASETS[name].files], indirect=True)
@pytest.mark.parametrize("damage", ["truncated", "one bit"])
def test_a_damaged_file_is_named(written: Written, damage: str, data_folder: Path):
    for file in DATASETS[
        written.choice.name
    ].files:  # the test set's files too: better now than after the tuning
        path = data_folder / file
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] if damage == "truncated" else whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(DataError, match="damaged file") as error:
            load_splits(written.choice)
        assert str(path) in str(error.value) and "delete it" in str(error.value)
        path.write_bytes(whole)


def test_a_truncated_jpeg_is_named(data_folder: Path):
    write_image_folder(data_folder)
    path = data_folder / "own/train/class3/999.jpg"
    noise = np.random.RandomState(0).randint(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    options = {"folder": "own", "size": 16}
    assert describe(Choice("imagefolder", options)).train == TRAIN + 1 - 6
    load_splits(Choice("imagefolder", options))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="cannot be used: image file is truncated") as error:
        load_splits(Choice("imagefolder", options))
    assert str(path) in str(error.value)


def test_a_stop_waits_for_no_image_that_is_not_begun(monkeypatch: pytest.MonkeyPatch):
    begun: list[bytes] = []

    def one(path: bytes, size: int) -> np.ndarray:
        begun.append(path)
        time.sleep(0.002)
        return np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr("suite.data.sets.image_folder._decode_one", one)
    monkeypatch.setattr(preemption, "requested", lambda: len(begun) > 3)
    with pytest.raises(preemption.StopRequested):
        image_folder.decode([b"x"] * 2000, 2)
    assert len(begun) < 100


def test_images_are_resized_by_the_short_side_and_cropped_in_the_centre(data_folder: Path):
    write_image_folder(data_folder, test_name="val")
    for path in (data_folder / "own/val").rglob("*.png"):
        path.unlink()
    # 16 high, 48 wide: a black, a grey and a white square; the centre is the grey one
    stripes = np.repeat(np.array([0, 128, 255], dtype=np.uint8), 16)[None].repeat(16, 0)
    for label in range(CLASSES):
        Image.fromarray(stripes).save(data_folder / f"own/val/class{label}/stripes.png")
    choice = Choice("imagefolder", {"folder": str(data_folder / "own"), "size": 16})
    splits = all_splits(choice)
    pixels = in_memory(splits.test).pixels
    assert pixels.shape == (CLASSES, 3, 16, 16) and pixels.unique().tolist() == [128]


def test_an_image_folder_with_a_class_unknown_to_train_is_refused(data_folder: Path):
    write_image_folder(data_folder)
    (data_folder / "own/test/class3").rename(data_folder / "own/test/zebra")
    with pytest.raises(DataError, match=r"own/test has classes \['zebra'\]") as error:
        describe(Choice("imagefolder", {"folder": "own", "size": 16}))
    assert error.value.option == "folder"


def test_test_labels_follow_the_names_of_the_classes(data_folder: Path):
    written = write_image_folder(data_folder)
    for path in (data_folder / "own/test/class0").iterdir():
        path.unlink()
    (data_folder / "own/test/class0").rmdir()
    splits = all_splits(written.choice)
    assert sorted(set(splits.test.labels.tolist())) == list(range(1, CLASSES))


def test_an_absent_image_folder_is_named_with_what_it_needs(data_folder: Path):
    with pytest.raises(DataError, match="<folder>/train/<class>") as error:
        load_splits(Choice("imagefolder", {"folder": "nowhere", "size": 16}))
    assert str(data_folder / "nowhere/train") in str(error.value) and error.value.option == "folder"


def test_images_beyond_the_memory_are_refused_before_decoding(data_folder: Path):
    write_image_folder(data_folder)
    with pytest.raises(DataError, match="Choose a smaller size or train_limit"):
        load_splits(Choice("imagefolder", {"folder": "own", "size": 10**7}))


@pytest.mark.parametrize(
    ("name", "options", "message", "option"),
    [
        ("cifar", {}, "no data set 'cifar'; did you mean 'cifar10'. the choices are digits, mnist", None),
        ("digits", {"val": 0.1}, "no option 'val'; the choices are validation, train_limit", "val"),
        ("digits", {"folder": "x"}, "no option 'folder'; the choices are", "folder"),
        (
            "digits",
            {"validation": "0.1"},
            "'validation' must be a fraction between 0 and 1, got '0.1'",
            "validation",
        ),
        ("digits", {"validation": 1.0}, "'validation' must be a fraction", "validation"),
        ("digits", {"validation": 1}, "'validation' must be a fraction", "validation"),
        (
            "digits",
            {"train_limit": 0},
            "'train_limit' must be a number of images, 2 or more, got 0",
            "train_limit",
        ),
        ("digits", {"train_limit": 1.5}, "'train_limit' must be", "train_limit"),
        ("digits", {"train_limit": True}, "'train_limit' must be", "train_limit"),
        ("digits", {"train_limit": 5000}, "train_limit is 5000, but train has 1150 images", "train_limit"),
        ("digits", {"validation": 1e-9}, "of 1437 images 1437 are left for train, 0 for val", "validation"),
        ("imagefolder", {"size": 8}, r"needs the option \['folder'\]", None),
        ("imagefolder", {"folder": "x", "size": "8"}, "'size' must be of type int, got '8'", "size"),
        (
            "imagefolder",
            {"folder": "x", "size": 0},
            "'size' must be a positive number of pixels, got 0",
            "size",
        ),
    ],
)
def test_bad_options_are_refused_by_name(name: str, options: dict, message: str, option: str | None):
    with pytest.raises(DataError, match=message):
        load_splits(Choice(name, options))
    with pytest.raises(DataError, match=message) as error:
        describe(Choice(name, options))
    assert error.value.option == option


def test_an_error_keeps_its_option_on_the_way_to_another_process():
    error = pickle.loads(pickle.dumps(DataError("too large", "size")))
    assert isinstance(error, DataError) and str(error) == "too large" and error.option == "size"


def test_an_unclear_download_switch_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLIPBENCH_DOWNLOAD", "no")
    with pytest.raises(DataError, match="FLIPBENCH_DOWNLOAD must be 0 or 1, got 'no'"):
        load_splits(Choice("mnist", {}))


def test_validation_may_not_empty_a_class(data_folder: Path):
    write_image_folder(data_folder)
    for path in sorted((data_folder / "own/train/class0").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError, match=r"only training images of classes \[0\]"):
        load_splits(Choice("imagefolder", {"folder": "own", "size": 16, "validation": 0.5}))


def test_resolved_options_hold_every_default():
    assert resolve(Choice("digits", {})) == Choice("digits", {"validation": 0.2, "train_limit": None})
    assert resolve(Choice("mnist", {"train_limit": 5})).options == {"validation": 0.1, "train_limit": 5}


# --- batches ------------------------------------------------------------------------------------------------


def numbered_images(count: int = 37, channels: int = 3, height: int = 16, width: int = 12) -> Images:
    """Random pixels; the label of a sample is its position, so that batches can be read back."""
    pixels = torch.randint(0, 256, (count, channels, height, width), generator=generator("pixels", count))
    return Images(pixels.to(torch.uint8), torch.arange(count)).channels_last()


def batches_of(images: Images, batch_size: int, seed: int = 0, augment: Augmentation = "none") -> Batches:
    return images.train_batches(
        batch_size, seed=seed, augment=augment, device=CPU, slices=WHOLE, damaged=set()
    )


def one_by_one(images: Images, sample: int, augment: str, pad: int, seed: int, epoch: int) -> np.ndarray:
    """The augmented sample, made as one would by hand."""
    picture = images.pixels[sample].numpy().astype(np.float64)
    if augment != "none":
        corners, flips = augmentation_draws(len(images.labels), pad, seed, epoch)
        (top, left), (_, height, width) = corners[sample].tolist(), picture.shape
        padded = np.pad(picture, ((0, 0), (pad, pad), (pad, pad)))
        picture = padded[:, top : top + height, left : left + width]
        if augment == "crop-flip" and flips[sample]:
            picture = picture[:, :, ::-1]
    return picture / 127.5 - 1


@pytest.mark.parametrize("augment", ["none", "crop", "crop-flip"])
@pytest.mark.parametrize(("batch_size", "channels"), [(5, 3), (16, 1)])
def test_batches_equal_a_sample_by_sample_reference(augment: Any, batch_size: int, channels: int):
    images = numbered_images(channels=channels)
    for pixels, labels in batches_of(images, batch_size, 3, augment).epoch(4):
        assert pixels.dtype == torch.float32 and pixels.shape == (batch_size, channels, 16, 12)
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        for picture, sample in zip(pixels, labels.tolist(), strict=True):
            np.testing.assert_allclose(picture, one_by_one(images, sample, augment, 2, 3, 4), atol=1e-6)


def test_batch_size_changes_neither_order_nor_crops():
    images = numbered_images(36)
    joined = []
    for batch_size in (4, 9, 36, 100):
        batches = list(batches_of(images, batch_size, 1, "crop-flip").epoch(0))
        joined.append([torch.cat(parts) for parts in zip(*batches, strict=True)])
    for pixels, labels in joined[1:]:
        assert pixels.equal(joined[0][0]) and labels.equal(joined[0][1])


def test_steps_start_anywhere_and_come_in_parts():
    images = numbered_images()
    whole = list(batches_of(images, 10, 1, "crop-flip").steps(2))
    assert [len(parts) for parts in whole] == [1, 1, 1]
    assert [labels.tolist() for _, labels in batches_of(images, 10, 1).epoch(2)] == [
        labels.tolist() for ((_, labels),) in whole
    ]
    slices = (slice(0, 4), slice(4, 10))
    parts = images.train_batches(10, seed=1, augment="crop-flip", device=CPU, slices=slices, damaged=set())
    from_the_second = list(parts.steps(2, 1))
    assert len(from_the_second) == 2 and len(parts) == 3
    for ((pixels, labels),), halves in zip(whole[1:], from_the_second, strict=True):
        assert [len(labels) for _, labels in halves] == [4, 6]
        assert torch.cat([half for half, _ in halves]).equal(pixels)
        assert torch.cat([half for _, half in halves]).equal(labels)


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"), [(37, 16, [16, 16]), (32, 16, [16, 16]), (7, 16, [7])]
)
def test_training_drops_the_incomplete_batch_unless_it_is_the_only_one(
    count: int, batch_size: int, sizes: list[int]
):
    batches = batches_of(numbered_images(count), batch_size)
    labels = [labels for _, labels in batches.epoch(0)]
    assert [len(part) for part in labels] == sizes and len(batches) == len(sizes)
    assert batches.batch_size == sizes[0]
    assert len(torch.cat(labels).unique()) == sum(sizes)


def test_epochs_and_seeds_differ_and_repeat():
    def order(seed: int, epoch: int) -> list[int]:
        return epoch_order(50, seed, epoch).tolist()

    assert order(0, 0) == order(0, 0) and sorted(order(0, 0)) == list(range(50))
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    batches = batches_of(numbered_images(), 37, 0, "crop-flip")
    (first, _), (again, _), (other, _) = (next(batches.epoch(epoch)) for epoch in (0, 0, 1))
    assert first.equal(again) and not first.equal(other)
    draws = [augmentation_draws(37, 1, seed, epoch)[0] for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert not draws[0].equal(draws[1]) and not draws[0].equal(draws[2])


def test_crops_are_uniform_and_half_are_flipped():
    corners, flips = augmentation_draws(20_000, 2, seed=0, epoch=0)
    table = torch.bincount(corners[:, 0] * 5 + corners[:, 1], minlength=25)
    assert len(table) == 25
    chi_square = ((table - 800) ** 2 / 800).sum()
    assert chi_square < 51.2  # 24 degrees of freedom, p = 0.001
    assert abs(int(flips.sum()) - 10_000) < 3.3 * 5000**0.5


def test_evaluation_sees_every_image_once_in_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("suite.data.memory.SMALL_EVAL_BATCH", 16)
    images = numbered_images(37)
    batches = list(images.eval_batches(CPU, set()))
    assert [len(labels) for _, labels in batches] == [16, 16, 5]
    assert torch.cat([labels for _, labels in batches]).equal(images.labels)
    pixels = torch.cat([pixels for pixels, _ in batches])
    np.testing.assert_allclose(pixels, images.pixels.numpy().astype(np.float64) / 127.5 - 1, atol=1e-6)
    shared = [[labels.tolist() for _, labels in images.eval_batches(CPU, set(), n, 2)] for n in (0, 1)]
    assert shared == [[batches[0][1].tolist(), batches[2][1].tolist()], [batches[1][1].tolist()]]


@pytest.mark.parametrize(("width", "size"), [(64, 1000), (65, 125)])
def test_fewer_of_the_large_images_are_evaluated_together(width: int, size: int):
    images = numbered_images(1001, 1, 8, width)
    sizes = [len(labels) for _, labels in images.eval_batches(CPU, set())]
    assert sizes[0] == size and sum(sizes) == 1001


@pytest.mark.parametrize(("height", "pad"), [(32, 4), (28, 3), (8, 1)])
def test_the_padding_is_four_of_thirty_two(height: int, pad: int):
    images = numbered_images(9, 1, height, height)
    for pixels, labels in batches_of(images, 9, 2, "crop").epoch(1):
        for picture, sample in zip(pixels, labels.tolist(), strict=True):
            np.testing.assert_allclose(picture, one_by_one(images, sample, "crop", pad, 2, 1), atol=1e-6)


def test_bad_batches_are_refused():
    with pytest.raises(
        ValueError, match=r"no augmentation 'flip'; the choices are \['none', 'crop', 'crop-flip'\]"
    ):
        batches_of(numbered_images(), 4, augment="flip")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        batches_of(numbered_images(), 0)


# --- keys ---------------------------------------------------------------------------------------------------


def test_random_keys_depend_on_every_part_and_never_change():
    assert random_key("a", 1) == int(hashlib.sha256(b'["a", 1]').hexdigest()[:16], 16) // 2
    keys = {random_key(*parts) for parts in (("a", 1), ("a", "1"), ("a1",), ("a", 1, None), (1, "a"), ())}
    assert len(keys) == 6 and all(0 <= key < 2**63 for key in keys)
    with pytest.raises(TypeError):
        random_key(np.int64(1))
    assert torch.rand(3, generator=generator("x")).equal(torch.rand(3, generator=generator("x")))


@pytest.mark.parametrize("parts", [(7, "step"), (7.0, "step"), (True, "step"), ("a, b]",), (1,), (1.0, None)])
def test_numbered_keys_are_random_keys(parts: tuple[object, ...]):
    key = numbered_keys(*parts)
    assert [key(number) for number in (0, 1, 10**6)] == [random_key(*parts, n) for n in (0, 1, 10**6)]
