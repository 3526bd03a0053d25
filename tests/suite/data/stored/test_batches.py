"""Training from images that stay on disk: exact under any number of decoding processes, resumed anywhere."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from suite.data import Batches, DataError, DecoderDied, ImageSet, StoredImages, held, load_splits, load_test
from suite.data.held import Loan
from suite.data.image_set import WHOLE
from suite.data.stored.batches import Crops, Request, decoded_batches, decoders, share_decoders
from suite.data.stored.crops import normalise
from suite.data.stored.open import FileReader
from suite.experiment.build import build_network, rule_at
from suite.machine import preemption
from suite.machine.preemption import StopRequested
from suite.machine.random_keys import random_key
from suite.records.run import RunFolder
from suite.records.trial import Augmentation, Choice, Trial
from suite.training.evaluate import evaluate
from suite.training.loop import train
from suite.training.progress import Progress
from suite.training.ranks import Ranks
from tests.support.paths import ROOT
from tests.support.tiny import CPU, tiny_trial

TRAIN, VAL, SIDE = 80, 20, 24
pytestmark = pytest.mark.filterwarnings(
    "ignore:This DataLoader will create"
)  # more than this machine's cores
DATA = Choice("imagenet", {"folder": "net", "size": 16, "validation": 0.1})


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of four classes, each a colour in noise; decoded in this process by default."""
    monkeypatch.setenv("FLIPBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("FLIPBENCH_DECODERS", "0")
    for cache in (held._without_test, held._test):  # they know data sets by their options
        cache.cache_clear()
    random = np.random.RandomState(0)
    for part, count in (("train", TRAIN), ("val", VAL)):
        for number in range(count):
            label = number % 4
            colour = np.array([60 + 40 * label, 200 - 40 * label, 128])
            pixels = np.clip(colour + random.normal(0, 30, (SIDE, SIDE + number % 5, 3)), 0, 255)
            path = tmp_path / "net" / part / f"n{label}" / f"{number:03}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90)
    return tmp_path / "net"


def a_trial(folder: Path, *changes: str) -> Trial:
    text = ", ".join(f"{name}: {value}" for name, value in DATA.options.items())
    task = f"tasks=[{{data: {{name: imagenet, {text}}}, model: {{name: convnet, channels: 4, dense: 16}}}}]"
    return tiny_trial(folder, "bop", "final", 5, task, "train.batch_size=18", *changes)


def images() -> StoredImages:
    return on_disk(load_splits(DATA).train)


def on_disk(part: ImageSet) -> StoredImages:
    assert isinstance(part, StoredImages)
    return part


def batches_of(augment: Augmentation = "resized-crop-flip", slices: tuple[slice, ...] = WHOLE) -> Batches:
    return images().train_batches(20, seed=3, augment=augment, device=CPU, slices=slices, damaged=set())


def test_a_batch_holds_the_keyed_crops_of_its_samples() -> None:
    batches = batches_of()
    assert len(batches) == 3  # 72 images, 8 of them validation's
    first, (second,), _ = list(batches.steps(4))
    order = torch.randperm(72, generator=torch.Generator().manual_seed(random_key(3, "order", 4)))
    expected = images().train_crops(order[20:40].tolist(), random_key(3, "augment", 4))
    assert second[0].equal(normalise(expected.pixels)) and second[1].equal(expected.labels)
    assert second[0].shape == (20, 3, 16, 16) and second[0].dtype == torch.float32
    assert not first[0][0].equal(second[0])


def test_an_epoch_resumes_at_any_step_and_in_parts() -> None:
    whole = [x for ((x, _),) in batches_of().steps(1)]
    from_the_second = [x for ((x, _),) in batches_of().steps(1, 1)]
    assert all(map(torch.equal, whole[1:], from_the_second)) and len(from_the_second) == 2
    halves = list(batches_of(slices=(slice(0, 10), slice(10, 20))).steps(1))
    assert all(torch.cat([x for x, _ in parts]).equal(x) for parts, x in zip(halves, whole, strict=True))


def test_without_augmentation_training_sees_the_centres() -> None:
    order = torch.randperm(72, generator=torch.Generator().manual_seed(random_key(3, "order", 1)))
    ((x, _),) = next(batches_of("none").steps(1))
    assert x.equal(normalise(images().centre_crops(order[:20].tolist()).pixels))


def test_the_number_of_decoding_processes_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for count in ("0", "1", "3"):
        monkeypatch.setenv("FLIPBENCH_DECODERS", count)
        digests.append(train(a_trial(tmp_path), RunFolder(tmp_path / count), CPU).digest)
    assert digests[0] == digests[1] == digests[2]


def test_a_run_stopped_in_mid_epoch_ends_like_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = a_trial(tmp_path)
    unbroken = train(trial, RunFolder(tmp_path / "a"), CPU)
    broken = RunFolder(tmp_path / "b")
    monkeypatch.setenv("FLIPBENCH_DECODERS", "2")
    for step in (3, 6):  # four steps are an epoch
        with monkeypatch.context() as patch:
            progress = Progress()
            patch.setattr(preemption, "requested", lambda at=progress, step=step: at.step == step)
            with pytest.raises(StopRequested):
                train(trial, broken, CPU, progress=progress)
    assert train(trial, broken, CPU).digest == unbroken.digest
    assert unbroken.steps == 12 and unbroken.scores.test_top5 is not None


def damage(tree: Path) -> None:
    for path in ("train/n1/041.JPEG", "val/n2/002.JPEG"):
        (tree / path).write_bytes((tree / path).read_bytes()[:300])


@pytest.mark.parametrize("count", ["0", "2"])
def test_a_damaged_image_stops_the_run_and_is_named(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, count: str
) -> None:
    damage(tree)
    monkeypatch.setenv("FLIPBENCH_DECODERS", count)
    with pytest.raises(DataError, match=rf"^the image train/n1/041.JPEG of {tree} cannot be used: [^\n]*$"):
        train(a_trial(tmp_path), RunFolder(tmp_path / "run"), CPU)


def test_damaged_images_that_are_allowed_are_named_in_the_result(tmp_path: Path, tree: Path) -> None:
    damage(tree)
    progress = Progress()
    trial = a_trial(tmp_path, "tasks.0.data.damaged=grey", "train.epochs=6")
    names = train(trial, RunFolder(tmp_path / "run"), CPU, progress=progress).damaged_images
    assert names == ["train/n1/041.JPEG", "val/n2/002.JPEG"]
    assert progress.notes == [f"2 images could not be decoded and were plain grey, first {names[0]}"]


def test_evaluation_sees_every_centre_once_however_the_work_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.data.stored.images.EVAL_BATCH", 7)
    part = on_disk(load_test(DATA))
    batches = list(part.eval_batches(CPU, set()))
    assert [len(labels) for _, labels in batches] == [7, 7, 6]
    assert torch.cat([x for x, _ in batches]).equal(normalise(part.centre_crops(range(20)).pixels))
    dealt = [list(part.eval_batches(CPU, set(), first, 2)) for first in (0, 1)]
    assert [
        x.equal(y) for (x, _), (y, _) in zip(batches, (dealt[0][0], dealt[1][0], dealt[0][1]), strict=True)
    ]
    trial = a_trial(tmp_path)
    model = build_network(trial, (3, 16, 16), 4, rule_at(trial, 0.0))
    scores, correct = evaluate(model, part)
    assert correct.shape == (20,) and scores.top1 == int(correct.sum()) / 20


def test_the_number_of_decoding_processes_is_set_or_follows_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setenv("FLIPBENCH_DECODERS", "7")
    assert decoders() == 7
    monkeypatch.setenv("FLIPBENCH_DECODERS", "some")
    with pytest.raises(DataError, match=r"FLIPBENCH_DECODERS must be a number of processes, .* not 'some'"):
        decoders()
    monkeypatch.delenv("FLIPBENCH_DECODERS")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    assert decoders() == 15
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert decoders() == 1
    share_decoders(4)
    assert decoders() == 3


def test_a_batch_that_processes_share_is_decoded_once() -> None:
    whole = [x for ((x, _),) in batches_of().steps(1)]
    dealt = [
        [x for ((x, _),) in batches_of(slices=tuple(Ranks(rank, 2).slices(20, 2))).steps(1)]
        for rank in (0, 1)
    ]
    assert all(torch.cat(halves).equal(x) for *halves, x in zip(*dealt, whole, strict=True))


def decoding_processes() -> list[int]:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [
        child
        for child in map(int, children)
        if not re.search(b"forkserver|resource_tracker", command_line(child))
    ]


def command_line(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def kill_decoders() -> None:
    victims = decoding_processes()
    assert victims
    for victim in victims:
        os.kill(victim, signal.SIGKILL)


def test_decoders_that_die_while_the_network_computes_are_one_typed_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLIPBENCH_DECODERS", "2")
    loaders = [batches_of().steps(1) for _ in range(2)]
    for steps in loaders:
        next(steps)
    with pytest.raises(
        DecoderDied, match=r"a decoding process died: DataLoader worker \(pid \d+\) is killed"
    ):
        kill_decoders()
        for _ in range(1000):  # the loop of a training step: the signal arrives somewhere in it
            time.sleep(0.01)
    subprocess.run(["true"], check=True)  # the end of any child calls the handler, which could name the other


def test_a_dead_decoder_is_a_typed_error_outside_the_main_thread_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIPBENCH_DECODERS", "1")
    look = "torch.utils.data.dataloader._MultiProcessingDataLoaderIter._try_get_data.__defaults__"
    monkeypatch.setattr(look, (0.2,))  # seconds between looks at the decoders, instead of 5

    def never(request: Request) -> Crops:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def take() -> BaseException | None:
        try:
            list(decoded_batches(never, [Request(torch.arange(1), None)], CPU, set()))
        except Exception as error:
            return error
        return None

    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # as in a process that decodes in a thread only
    try:
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(take).result()
    finally:
        signal.signal(signal.SIGCHLD, handler)
    assert isinstance(error, DecoderDied) and "exited unexpectedly" in str(error)


SHORT = "unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)"


def test_a_decoder_that_cannot_hand_over_its_images_ends_the_run_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Torch would do it in a thread, and lose both the images and the error: the run would wait for ever."""
    monkeypatch.setenv("FLIPBENCH_DECODERS", "1")

    def full(tensor: torch.Tensor) -> None:
        raise RuntimeError(SHORT)

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(DecoderDied, match=rf"could not hand over its images: {re.escape(SHORT)}"):
        list(batches_of().steps(1))


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that answers the first request, and no other in time; the waits are short."""
    monkeypatch.setenv("FLIPBENCH_DECODERS", "1")
    decode = StoredImages.decode

    def wait(images: StoredImages, request: Request) -> Crops:
        crops = decode(images, request)
        time.sleep(1 if os.path.exists(held_up) else 0)
        Path(held_up).touch()
        return crops

    held_up = f"{os.environ['FLIPBENCH_DATA']}/held-up"
    monkeypatch.setattr(StoredImages, "decode", wait)
    for name, seconds in (("LOOK", 0.05), ("PATIENCE", 0.4), ("GRACE", 0.1)):
        monkeypatch.setattr(f"suite.data.stored.batches.{name}", seconds)


def test_no_wait_for_a_decoder_is_without_end(silent: None) -> None:
    with pytest.raises(DecoderDied, match=r"no images came from the decoding processes for 0 seconds"):
        list(batches_of().steps(1))


def test_a_request_to_stop_is_noticed_while_a_decoder_is_silent(
    silent: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress, asked = Progress(), []

    def requested() -> bool:  # from the first look after the first step on
        return progress.step == 1 and bool(asked or asked.append(1))

    monkeypatch.setattr(preemption, "requested", requested)
    run = RunFolder(tmp_path / "run")
    with pytest.raises(StopRequested, match="stopped after step 1 of 12, and saved"):
        train(a_trial(tmp_path), run, CPU, progress=progress)
    assert (run.path / "checkpoint.pt").exists()


class Disk(NamedTuple):
    free: int


def test_too_little_shared_memory_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = 125 * 16 * 16 * 3  # of an evaluation: larger than those of training
    looked = []

    def usage(place: str) -> Disk:
        looked.append(place)
        return Disk(free)

    monkeypatch.setenv("FLIPBENCH_DECODERS", "3")
    monkeypatch.setattr(shutil, "disk_usage", usage)
    free = 8 * part  # two for each decoder, and two that are in use
    assert len(batches_of()) == 3
    with pytest.raises(DataError, match=r"2 MB of shared memory \(/dev/shm\).* or set FLIPBENCH_DECODERS=0"):
        images().require_shared_memory([20], workers=3)
    free -= 1
    with pytest.raises(DataError, match=r"or set FLIPBENCH_DECODERS=2 \(now 3 for each") as error:
        batches_of()
    assert "docker run --shm-size=8g" in str(error.value)
    run = RunFolder(tmp_path / "run")
    with pytest.raises(DataError, match="of shared memory"):
        train(a_trial(tmp_path), run, CPU)
    assert not run.path.exists() and set(looked) == {"/dev/shm"}
    monkeypatch.setenv("FLIPBENCH_DECODERS", "0")
    assert len(batches_of()) == 3


def test_images_go_to_a_worker_as_shared_memory_and_not_through_its_pipe() -> None:
    """A pipe holds 64 KB: with more, to send would wait for a worker that may never read."""
    paths, lists = torch.zeros(100_000, 40, dtype=torch.uint8), torch.arange(100_000)
    stored = StoredImages(FileReader(Path("net"), paths), lists, lists.clone(), 224)
    stored.share()
    assert all(part.is_shared() for part in (paths, stored.index, stored.labels))
    assert len(ForkingPickler.dumps(Loan(DATA, None, stored))) < 4000


def test_an_error_of_another_kind_in_a_decoder_is_not_taken_for_its_death(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLIPBENCH_DECODERS", "1")

    def broken(request: Request) -> Crops:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug") as error:
        list(decoded_batches(broken, [Request(torch.arange(1), None)], CPU, set()))
    assert not isinstance(error.value, DecoderDied)


def test_sigterm_to_all_processes_at_once_leaves_time_to_save(tmp_path: Path, tree: Path) -> None:
    spec = tmp_path / "long.yaml"
    spec.write_text(
        "{version: 1, summary: Long., methods: [bop], tuning: {trials: 0}, seeds: 1,\n"
        f" tasks: [{{data: {{name: imagenet, folder: {tree}, size: 16, validation: 0.1}}, model: mlp}}],\n"
        " train: {epochs: 5000, batch_size: 18}}"
    )
    command = [sys.executable, "-m", "suite.cli", "train", str(spec), "imagenet.mlp.bop", "--device", "cpu"]
    environment = {**os.environ, "FLIPBENCH_DECODERS": "2", "PYTHONPATH": str(ROOT)}
    training = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert training.stderr is not None
    assert training.stderr.readline().startswith("epoch    1")
    os.killpg(training.pid, signal.SIGTERM)
    rest = training.communicate(timeout=60)[1]
    assert training.returncode == 75, rest
    assert list((tmp_path / "results").glob("long/runs/*/checkpoint.pt")), rest
