"""Images that stay on disk: their decoding, their damage, and their prepared form."""

import io
import os
import pickle
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from PIL import Image

from suite.data.errors import DataError
from suite.data.stored.batches import Request, decoded_batches
from suite.data.stored.crops import central_box, cut, draws, random_box, shrink
from suite.data.stored.decode import DamagedImage, decode
from suite.data.stored.images import StoredImages
from suite.data.stored.open import Stored, open_stored
from suite.data.stored.prepare import Encoding, prepare
from suite.records.files import read_json, write_json
from tests.support.photographs import CLASSES, window, write_jpeg, write_tree
from tests.support.tiny import CPU
from tests.support.warm import Warm

SIZE = 32


def as_bytes(content: bytes) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy())


def saved(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


PHOTOGRAPH = Image.fromarray(window(1, 90, 120))


# --- decoding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        saved(PHOTOGRAPH),
        saved(PHOTOGRAPH, progressive=True),
        saved(PHOTOGRAPH, subsampling=0),
        saved(PHOTOGRAPH.convert("L")),
        saved(PHOTOGRAPH, "PNG"),  # ImageNet has one that is called .JPEG
        saved(PHOTOGRAPH.convert("P"), "PNG"),
    ],
    ids=["plain", "progressive", "4:4:4", "grey", "PNG", "palette"],
)
def test_files_of_every_kind_are_decoded_as_by_pillow(content: bytes):
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    found = decode(as_bytes(content))
    assert found.dtype == torch.uint8 and np.array_equal(found.numpy(), expected)


def test_cmyk_is_decoded_as_by_pillow_up_to_rounding():
    content = saved(PHOTOGRAPH.convert("CMYK"), quality=95)  # ImageNet has 22 such files
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert np.abs(decode(as_bytes(content)).numpy() - expected).max() <= 2


def test_the_cameras_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned = saved(PHOTOGRAPH, exif=exif)
    assert decode(as_bytes(turned)).equal(decode(as_bytes(saved(PHOTOGRAPH))))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.6, 0.99])
def test_a_file_that_is_cut_short_is_damaged(form: str, kept: float):
    content = saved(PHOTOGRAPH, form)
    with pytest.raises(DamagedImage):
        decode(as_bytes(content[: int(len(content) * kept)]))


def test_a_jpeg_that_lacks_its_last_two_bytes_is_damaged():
    with pytest.raises(DamagedImage, match="truncated"):
        decode(as_bytes(saved(PHOTOGRAPH)[:-2]))


# --- crops from a tree and from each prepared form ----------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("tree"), height=60, width=80)


@pytest.fixture(scope="module")
def folders(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tree, and its prepared forms with a short side of 48."""
    folders = {"tree": tree}
    forms: tuple[Encoding, ...] = ("jpeg", "pixels")
    for form in forms:
        folders[form] = tmp_path_factory.mktemp("prepared") / form
        prepare(tree, folders[form], encoding=form, side=48)
    return folders


def files_of(tree: Path, part: str) -> list[Path]:
    return sorted((tree / part).glob("*/*.JPEG"))


def pillow(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path)))


@pytest.fixture(params=["tree", "jpeg", "pixels"])
def stored(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Stored:
    return open_stored(folders[request.param], SIZE, "stop")


def test_every_form_has_the_same_classes_and_labels_in_the_same_order(stored: Stored, tree: Path):
    assert stored.classes == list(CLASSES)
    for part, images in (("train", stored.train), ("val", stored.val)):
        expected = [CLASSES.index(path.parent.name) for path in files_of(tree, part)]
        assert images.labels.tolist() == expected and images.labels.dtype == torch.int64
        names = [images.reader.name(position) for position in images.index.tolist()]
        for name, path in zip(names, files_of(tree, part), strict=True):
            assert str(path.relative_to(tree)) in name


def test_the_forms_hold_the_same_images(folders: dict[str, Path], tree: Path):
    jpeg, pixels = (open_stored(folders[form], SIZE, "stop") for form in ("jpeg", "pixels"))
    for part in ("train", "val"):
        for position, path in enumerate(files_of(tree, part)):
            expected = shrink(pillow(path), 48, 64)
            images = [getattr(form, part) for form in (jpeg, pixels)]
            lossy, exact = (form.reader.read(int(form.index[position])) for form in images)
            assert exact.equal(expected)
            assert 0 < (lossy.int() - expected.int()).abs().float().mean() < 8


def test_a_crop_is_that_of_its_sample_alone(stored: Stored):
    images = stored.train
    samples = [7, 2, 11, 2]
    crops = images.train_crops(samples, key=9)
    assert crops.pixels.dtype == torch.uint8 and crops.pixels.shape == (4, SIZE, SIZE, 3)
    assert crops.labels.tolist() == [images.labels[sample] for sample in samples] and not crops.damaged
    for pixels, sample in zip(crops.pixels, samples, strict=True):
        picture = images.reader.read(int(images.index[sample]))
        (draw,), expected = draws(9, [sample]), torch.empty(SIZE, SIZE, 3, dtype=torch.uint8)
        cut(picture, random_box(draw, *picture.shape[:2]), expected, flipped=draw.flipped)
        assert pixels.equal(expected)
    assert not images.train_crops(samples, key=10).pixels.equal(crops.pixels)


def test_evaluation_takes_the_centre_of_each_image(stored: Stored):
    images = stored.val
    crops = images.centre_crops(range(len(images)))
    assert crops.labels.equal(images.labels)
    for pixels, position in zip(crops.pixels, images.index.tolist(), strict=True):
        picture = images.reader.read(position)
        expected = torch.empty(SIZE, SIZE, 3, dtype=torch.uint8)
        cut(picture, central_box(SIZE, *picture.shape[:2]), expected)
        assert pixels.equal(expected)


def test_a_subset_is_numbered_from_zero(stored: Stored):
    part = stored.train.subset(torch.tensor([8, 3, 5])).subset(torch.tensor([2, 0]))
    assert len(part) == 2 and part.labels.tolist() == stored.train.labels[[5, 8]].tolist()
    assert part.centre_crops([0, 1]).pixels.equal(stored.train.centre_crops([5, 8]).pixels)
    # The draw goes by the position in the subset.
    (draw,), picture = draws(1, [0]), stored.train.reader.read(int(stored.train.index[5]))
    expected = torch.empty(SIZE, SIZE, 3, dtype=torch.uint8)
    cut(picture, random_box(draw, *picture.shape[:2]), expected, flipped=draw.flipped)
    assert part.train_crops([0], key=1).pixels[0].equal(expected)


def test_the_files_that_are_open_are_not_pickled(stored: Stored):
    before = len(pickle.dumps(stored.train))
    stored.train.train_crops([0, 5], key=1)
    assert len(pickle.dumps(stored.train)) == before < 4000


def some_crops(images: StoredImages) -> np.ndarray:
    return images.train_crops([0, 5], key=1).pixels.numpy()


def test_stored_images_travel_to_another_process(warm: Warm, folders: dict[str, Path]):
    images = open_stored(folders["pixels"], SIZE, "stop").train
    np.testing.assert_array_equal(warm.run(some_crops, images).value, some_crops(images))


def test_the_record_holds_the_form_and_the_source(folders: dict[str, Path], tmp_path: Path):
    records = {form: open_stored(folder, SIZE, "stop").record for form, folder in folders.items()}
    assert [record["form"] for record in records.values()] == list(records)
    assert len({record["digest"] for record in records.values()}) == 3
    for form, quality in (("jpeg", 90), ("pixels", None)):
        assert records[form]["source"] == records["tree"]["digest"]
        assert records[form]["side"] == 48 and records[form]["quality"] == quality
    prepare(folders["tree"], tmp_path / "other", encoding="jpeg", side=48, quality=80)
    assert open_stored(tmp_path / "other", SIZE, "stop").record["digest"] != records["jpeg"]["digest"]


def test_an_image_that_is_small_already_is_kept_as_it_is(tree: Path, tmp_path: Path):
    prepare(tree, tmp_path / "jpeg", encoding="jpeg", side=60)
    files = [path.read_bytes() for path in files_of(tree, "train")]
    assert (tmp_path / "jpeg" / "train-00000.bin").read_bytes() == b"".join(files)
    prepare(tree, tmp_path / "pixels", encoding="pixels", side=500)
    reader = open_stored(tmp_path / "pixels", SIZE, "stop").train.reader
    assert reader.read(3).equal(pillow(files_of(tree, "train")[3]))


# --- damage -------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged_tree(tmp_path: Path) -> Path:
    """Six images in train, of which the third is cut short."""
    root = write_tree(tmp_path / "tree", train=2, val=1)
    path = files_of(root, "train")[2]
    path.write_bytes(path.read_bytes()[:-100])
    return root


def test_a_damaged_image_stops_with_its_name(damaged_tree: Path):
    images = open_stored(damaged_tree, SIZE, "stop").train
    images.train_crops([0, 1, 3], key=0)
    for crops in (lambda: images.train_crops([0, 2], key=0), lambda: images.centre_crops([2])):
        with pytest.raises(DataError, match=r"n02102040_0\.JPEG of .* cannot be used: .*truncated"):
            crops()


def test_a_damaged_image_becomes_grey_and_is_named(damaged_tree: Path):
    grey, whole = open_stored(damaged_tree, SIZE, "grey").train, open_stored(damaged_tree, SIZE, "stop").train
    for of in (lambda part, samples: part.train_crops(samples, 3), StoredImages.centre_crops):
        crops = of(grey, [1, 2, 0])
        assert crops.damaged == [str(files_of(damaged_tree, "train")[2].relative_to(damaged_tree))]
        assert (crops.pixels[1] == 128).all() and crops.labels.tolist() == [0, 1, 0]
        assert crops.pixels[[0, 2]].equal(of(whole, [1, 0]).pixels)


def test_a_file_that_cannot_be_read_always_stops(damaged_tree: Path):
    images = open_stored(damaged_tree, SIZE, "grey").train
    path = files_of(damaged_tree, "train")[0]
    path.unlink()  # as when a disk goes away: training on grey would not be what was asked for
    with pytest.raises(DataError, match=r"cannot read the image .*n01440764_0\.JPEG: No such file"):
        images.centre_crops([0])


def remake(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def changed_manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """A manifest with a valid checksum and another content."""

    def change_it(folder: Path) -> None:
        manifest = read_json(folder / "prepared.json")
        change(manifest)
        write_json(folder / "prepared.json", manifest)

    return change_it


another_version = changed_manifest(lambda manifest: manifest.update(version=0, new_key=1))


def flip_last_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: os.unlink(folder / "val-00000.bin"), r"val-00000\.bin is absent; delete it"),
        (
            remake("train-00000.bin", lambda content: content[1:]),
            r"train-00000\.bin is damaged: it has \d+ bytes",
        ),
        (
            remake("index.npy", flip_last_bit),
            r"index\.npy is damaged: its sha256 is not the one in prepared\.json",
        ),
        (lambda folder: os.unlink(folder / "index.npy"), r"cannot read .*index\.npy: No such file"),
        (
            remake("prepared.json", lambda content: content.replace(b'"side": 48', b'"side": 49')),
            r"prepared\.json is damaged: its content does not match its checksum",
        ),
        (
            another_version,
            r"prepared\.json is of version 0, this flipbench reads 2\. .* prepare the tree again",
        ),
        (
            changed_manifest(lambda manifest: manifest.pop("side")),
            r"prepared\.json is damaged: side: field required; delete it",
        ),
        (
            changed_manifest(lambda manifest: manifest.update(train="6")),
            r"prepared\.json is damaged: train: input should be a valid integer; delete it",
        ),
        (lambda folder: os.unlink(folder / "prepared.json"), "is not completely prepared: run the same"),
    ],
)
def test_a_prepared_folder_that_is_not_whole_is_refused(
    folders: dict[str, Path], tmp_path: Path, damage: Callable[[Path], object], message: str
):
    folder = tmp_path / "copy"
    shutil.copytree(folders["jpeg"], folder)
    open_stored(folder, SIZE, "stop")
    damage(folder)
    with pytest.raises(DataError, match=message):
        open_stored(folder, SIZE, "stop")


def flip_a_bit(path: Path, position: int) -> None:
    with open(path, "r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 4]))


@pytest.mark.parametrize("form", ["jpeg", "pixels"])
def test_one_changed_bit_in_a_shard_is_named_and_never_trained_on(
    folders: dict[str, Path], tmp_path: Path, form: str
):
    folder = shutil.copytree(folders[form], tmp_path / "copy")
    rows = read_json(folder / "train-00000.json")["images"]
    flip_a_bit(folder / "train-00000.bin", rows["offset"][1] + rows["length"][1] // 2)
    stop, grey = (open_stored(folder, SIZE, damaged).train for damaged in ("stop", "grey"))
    changed = (
        r"n01440764_1\.JPEG of .*copy cannot be used: its bytes in train-00000\.bin have changed.*delete it"
    )
    for crops in (lambda: stop.centre_crops([0, 1]), lambda: stop.train_crops([1], key=0)):
        with pytest.raises(DataError, match=changed):
            crops()
    crops = grey.centre_crops([0, 1, 2])
    assert crops.damaged == ["train/n01440764/n01440764_1.JPEG"] and (crops.pixels[1] == 128).all()
    whole = open_stored(folders[form], SIZE, "stop").train
    assert crops.pixels[[0, 2]].equal(whole.centre_crops([0, 2]).pixels)


def test_an_image_is_checked_once_by_a_process_and_its_decoders(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    images = open_stored(shutil.copytree(folders["pixels"], tmp_path / "copy"), SIZE, "stop").train
    monkeypatch.setenv("FLIPBENCH_DECODERS", "1")
    requests = [Request(torch.tensor([3, 5]), None)]
    list(decoded_batches(images.decode, requests, CPU, set()))  # in a process that ends with it

    checked: list[int] = []
    monkeypatch.setattr(zlib, "crc32", lambda content: checked.append(len(content)) or crc32(content))
    again = pickle.loads(pickle.dumps(images))  # as for the next trial
    for _ in range(2):
        again.centre_crops([3, 4, 5])
    assert len(checked) == 1


@pytest.mark.parametrize(
    ("size", "damaged", "message"),
    [
        (0, "stop", "must be a positive number of pixels, got 0"),
        (32, "skip", "'damaged' must be one of stop, grey, got 'skip'"),
    ],
)
def test_bad_settings_are_refused_by_name(tree: Path, size: int, damaged: Any, message: str):
    with pytest.raises(DataError, match=message):
        open_stored(tree, size, damaged)


def test_a_folder_of_neither_form_is_refused(tmp_path: Path):
    write_jpeg(tmp_path / "a.JPEG", 0)
    with pytest.raises(DataError, match=r"there is no folder .*/train"):
        open_stored(tmp_path, SIZE, "stop")
