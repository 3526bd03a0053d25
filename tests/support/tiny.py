"""A tiny experiment on the embedded digits, for the tests that really train."""

from pathlib import Path
from typing import Any

import torch

from suite.data import Images, ImageSet, Splits, StoredImages, load_splits, load_test
from suite.experiment.plan import Plan, make_plan
from suite.experiment.spec import ExperimentFile
from suite.records.trial import Choice, Stage, Trial

SPEC = """
version: 1
summary: Tiny.
tasks:
  - {data: {name: digits, train_limit: 200}, model: {name: mlp, hidden: [16]}}
methods: [bop, latent-adam]
train: {epochs: 3, batch_size: 50}
tuning: {trials: 2, studies: 2}
seeds: 1
"""


def tiny_plan(folder: Path, *changes: str, text: str = SPEC) -> Plan:
    """The plan of SPEC, changed as by `--set`."""
    path = folder / "tiny.yaml"
    path.write_text(text)
    return make_plan(ExperimentFile(path, changes))


def tiny_trial(
    folder: Path, method: str = "bop", stage: Stage = "tune", seed: int = 7, *changes: str
) -> Trial:
    """One trial of the tiny experiment at its published hyperparameters."""
    cell = next(cell for cell in tiny_plan(folder, *changes).cells if cell.method == method)
    return cell.trial(cell.published, seed, stage)


def digests(runs: Path) -> dict[str, str]:
    """run_id -> digest of every finished run."""
    import json

    return {
        path.parent.name: json.loads(path.read_text())["digest"]
        for path in sorted(runs.glob("*/result.json"))
    }


def all_splits(choice: Choice) -> Splits:
    """A data set's images, those of test as well."""
    return load_splits(choice).with_test(load_test(choice))


def in_memory(images: ImageSet) -> Images:
    """The images themselves, or the centres of those that stay on disk."""
    if isinstance(images, Images):
        return images
    assert isinstance(images, StoredImages)
    crops = images.centre_crops(range(len(images)))
    return Images(crops.pixels.permute(0, 3, 1, 2), crops.labels)


CPU = torch.device("cpu")
Json = dict[str, Any]
