"""Run by torchrun in test_ranks.py: train the trials of a folder, whose records go beside them.

`trials.json` maps a name to a trial; each process trains all of them with the others.
"""

import json
import sys
from pathlib import Path

import torch

from suite.data import feed
from suite.experiment.trial import Trial
from suite.records.run import RunFolder, SilentRunFolder
from suite.training.loop import train
from suite.training.ranks import joined

EVALUATED = 30  # images at a time, so that each process has some of the batches


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    feed.MANY = EVALUATED
    device = torch.device("cpu")
    with joined(device) as ranks:
        for name, values in json.loads((folder / "trials.json").read_text()).items():
            values.pop("protocol")
            run = (RunFolder if ranks.first else SilentRunFolder)(folder / name)
            train(Trial(**values), run, device, ranks=ranks)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
