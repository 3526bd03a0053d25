"""Called by test_ranks.py in a process of its own: two processes train the trials of a folder.

`trials.json` maps a name to a trial; the records go beside it. torchrun's own function starts the processes,
as forks: what they import is imported once.
"""

import json
from pathlib import Path

import torch

from suite.data import memory
from suite.records.codec import decode
from suite.records.run import RunFolder
from suite.records.trial import Trial
from suite.training.loop import train
from suite.training.ranks import joined

EVALUATED = 30  # images at a time, so that each process has some of the batches


def train_all_together(folder: Path) -> None:
    """What torchrun --standalone --nproc-per-node 2 does."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(1, 1, 2, rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="fork")
    elastic_launch(config, train_together)(folder)


def train_together(folder: Path) -> None:
    torch.set_num_threads(1)
    memory.SMALL_EVAL_BATCH = EVALUATED
    device = torch.device("cpu")
    with joined(device) as ranks:
        for name, values in json.loads((folder / "trials.json").read_text()).items():
            trial = decode(Trial, values, folder / "trials.json")
            train(trial, RunFolder(folder / name), device, ranks=ranks)
