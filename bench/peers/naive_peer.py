"""The naive PyTorch port (bench/naive.py) with the common networks, start and images; float32 only."""

import itertools
import platform

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.naive import NaiveBop, NaiveLatentAdam, NaiveLayer, naive_twin
from bench.peers.networks import (
    EPSILON,
    GAMMA,
    LATENT_RATE,
    NETWORKS,
    REAL_RATE,
    THRESHOLD,
    Cell,
)
from bench.peers.ours import method_rule, network_at_start, torch_batches
from bench.peers.protocol import serve


class NaiveSession:
    def __init__(self, cell: Cell, fixed_batch: bool) -> None:
        if cell.precision != "float32":
            raise ValueError(f"the naive port runs in float32, not in {cell.precision}")
        network = NETWORKS[cell.network]
        self.model = naive_twin(network_at_start(network, method_rule(cell.method)))
        weights: list[Tensor] = [module.weight for module in self.model if isinstance(module, NaiveLayer)]
        binary = {id(weight) for weight in weights}
        real = [p for p in self.model.parameters() if p.requires_grad and id(p) not in binary]
        self.optimizers = (
            NaiveBop(weights, GAMMA, THRESHOLD)
            if cell.method == "bop"
            else NaiveLatentAdam(self.model, LATENT_RATE),
            torch.optim.Adam(real, lr=REAL_RATE, eps=EPSILON, foreach=False),
        )
        self.batches = torch_batches(network, fixed_batch)
        self.images_per_step = network.batch
        self.binary = sum(weight.numel() for weight in weights)
        self.real = sum(p.numel() for p in real)

    def run(self, steps: int) -> list[float]:
        losses = []
        for x, labels in itertools.islice(self.batches, steps):
            loss = F.cross_entropy(self.model(x.contiguous()), labels)
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).tolist()


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve({"python": platform.python_version(), "torch": torch.__version__}, NaiveSession)
