"""The images of a plugin are read in a process of its own, once, and lent to the workers."""

from pathlib import Path

import pytest

from suite.data import DATASETS
from suite.machine.apart import apart
from suite.machine.errors import UserError
from suite.machine.plugin_file import source_of
from suite.records.run import RunFolder
from suite.records.trial import Choice
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.images import read_images
from suite.sweep.pool import LocalPool, Machine
from tests.support.tiny import digests, in_memory, tiny_plan

DATA = """
from pathlib import Path
import torch
from suite.data import Images, dataset

@dataset(classes=2, shape=(1, 6, 6), train=200, test=50)
def halves(part, *, level: int = 200):
    'The upper or the lower half is bright.'
    with Path(__file__).with_name("reads").open("a") as file:
        print(part, file=file)
    labels = torch.arange(200 if part == "train" else 50) % 2
    pixels = torch.zeros(len(labels), 1, 6, 6).byte()
    for image, label in zip(pixels, labels, strict=True):
        image[:, 3 * label : 3 * label + 3] = level
    return Images(pixels, labels)
"""
METHOD = """
from optimizers.bop import Bop
from optimizers.core import WeightRule, method, sign, stored_signs

@method(paper="https://example.org")
def mine():
    'Mine.'
    return WeightRule(sign, stored_signs, lambda params: Bop(params, 1e-2, 1e-6))
"""
CHANGES = (
    *("plugins=[halves.py, mine.py]", "methods=[mine, bop]", "tasks.0.data={name: halves}"),
    *("tuning={trials: 1}", "seeds=1", "train.epochs=1"),
)


def test_a_worker_borrows_the_images_of_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "halves.py").write_text(DATA)
    (tmp_path / "mine.py").write_text(METHOD)
    data, method = source_of(tmp_path / "halves.py"), source_of(tmp_path / "mine.py")
    plan = apart(["halves.py", "mine.py"], tiny_plan, tmp_path, *CHANGES)
    assert [cell.first.sources for cell in plan.cells] == [(method, data), (data,)]
    assert not (tmp_path / "reads").exists()  # a plan reads no image
    choice, results = plan.cells[0].data, tmp_path / "results"
    with LocalPool(Machine(("cpu", "cpu")), plan.plugins) as pool:
        splits, read_test = read_images(choice, {data: plan.plugins[data]})
        assert in_memory(splits.train).pixels.shape == (180, 1, 6, 6) and "halves" not in DATASETS
        assert pool.lend(choice, splits, read_test) == ""
        prepare_folder(plan, results, {"halves": splits.record})
        assert Sweep(plan, results, pool).run()
    # For the workers together, then for the final runs: the data set is opened again for its test part.
    assert (tmp_path / "reads").read_text().split() == ["train", "train", "test"]
    runs = digests(results / "runs")
    made = [RunFolder(results / "runs" / run).environment() for run in runs]
    assert len(runs) == 4 and {each.data_file.name for each in made if each.data_file} == {"halves.py"}


def test_code_that_fails_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "halves.py"
    path.write_text(DATA.replace("labels = ", "labels = 1 / 0 * "))
    with pytest.raises(UserError, match=r"ZeroDivisionError: division by zero \(.*halves\.py:11\)"):
        read_images(Choice("halves", {}), {source_of(path): str(path)})
