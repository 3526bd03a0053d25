"""Many small trainings as a plain PyTorch script runs them: the yardstick of a whole sweep.

The usual way: torchvision's data set, transforms and DataLoader, one process that imports torch once for all
its runs. The network, the method's optimizer and the number of evaluations are those of the suite; nothing is
recorded.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset

from suite.experiment.build import build_network, rule_at
from suite.models.blocks.layers import binary_layers
from suite.records.codec import decode
from suite.records.files import read_json
from suite.records.schedules import start_of
from suite.records.trial import Trial

SHAPE, CLASSES, EVALUATED = (1, 28, 28), 10, 1000


def train(trial: Trial, root: Path, train: int, val: int) -> float:
    """Train on the first images of MNIST, evaluate on the next ones after each epoch; the last accuracy."""
    from torchvision import transforms
    from torchvision.datasets import MNIST

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    images = MNIST(str(root), train=True, transform=transform)
    size = trial.train.batch_size
    batches = DataLoader(Subset(images, range(train)), size, shuffle=True, drop_last=True)
    unseen = DataLoader(Subset(images, range(train, train + val)), EVALUATED)

    torch.manual_seed(trial.seed)
    rule = rule_at(trial, progress=0.0)
    model = build_network(trial, SHAPE, CLASSES, rule)
    binary = [layer.weight for _, layer in binary_layers(model)]
    owned = {id(weight) for weight in binary}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in owned]
    optimizers = rule.optimizer(binary), torch.optim.Adam(rest, start_of(trial.real_lr), eps=1e-7)
    accuracy = 0.0
    for _ in range(trial.train.epochs):
        model.train()
        for x, labels in batches:
            for optimizer in optimizers:
                optimizer.zero_grad()
            F.cross_entropy(model(x), labels).backward()
            for optimizer in optimizers:
                optimizer.step()
        accuracy = evaluate(model, unseen)
    return accuracy


@torch.no_grad()
def evaluate(model: nn.Module, unseen: DataLoader) -> float:
    model.eval()
    hits, count = 0, 0
    for x, labels in unseen:
        hits += int((model(x).argmax(1) == labels).sum())
        count += len(labels)
    return hits / count


def main(task: Path, first: int, every: int) -> None:
    """One process of the script: every so many-th of the trials in a file, from a first one on."""
    torch.set_num_threads(1)
    given = read_json(task)
    for trial in given["trials"][first::every]:
        accuracy = train(decode(Trial, trial, task), Path(given["root"]), given["train"], given["val"])
        print(json.dumps(accuracy), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
