"""A trained network to take home: packed at the end of its run, and loaded again for predictions.

    from suite.deploy import load

    network = load("results/demo/runs/77ab…")
    logits = network(images)

What is kept is the weight that each layer deploys, so that a network is loaded without the file of its
method. Nothing is drawn here, and no weight is rounded: on the processor that trained the network, with its
number of threads and its batches, the logits have the same bits.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from optimizers.core import WeightRule, stored_signs
from suite.data import NORMALISATIONS, Splits
from suite.experiment.build import build_network
from suite.machine.errors import UserError, described, one_of
from suite.machine.precision import autocast
from suite.models import MODELS
from suite.models.blocks.layers import binary_layers
from suite.plugins import not_here
from suite.records.files import DamagedRecord
from suite.records.schema import Environment, Scores
from suite.records.trial import Trial
from suite.records.weights import KeptHeader, KeptNetwork, find_kept, kept_content, pack_layer, read_kept


@torch.no_grad()
def network_content(
    model: nn.Module, trial: Trial, data: Splits, scores: Scores, made_in: Environment
) -> bytes:
    """The content of weights.safetensors for a network at the end of its training."""
    layers, tensors = [], {}
    state = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    for name, layer in binary_layers(model):
        # A method's own parameters have done their work: the deployed weight contains them.
        state = {key: tensor for key, tensor in state.items() if not key.startswith(f"{name}.")}
        kept, packed = pack_layer(name, layer.deploy(layer.weight).cpu().numpy(), binary=layer.binary)
        layers.append(kept)
        tensors |= packed
    tensors |= {name: tensor.numpy() for name, tensor in state.items()}
    header = KeptHeader(
        run=trial.run_id,
        trial=trial,
        shape=list(data.record.shape),
        classes=data.classes,
        normalisation=data.train.normalisation,
        layers=layers,
        scores=scores,
        device=made_in.device,
        threads=made_in.threads,
    )
    return kept_content(header, tensors)


class Deployed(nn.Module):
    """A trained network, ready to predict.

    network: what was trained, in evaluation mode, with a float32 for each weight. kept: its file's content.
    """

    def __init__(self, network: nn.Module, kept: KeptNetwork) -> None:
        super().__init__()
        self.network, self.kept = network, kept

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """uint8 images (N, channels, height, width) -> logits (N, classes), float32.

        It computes as the scores of its run were computed. Raises ValueError for other images.
        """
        header = self.kept.header
        if images.dtype != torch.uint8 or list(images.shape[1:]) != header.shape:
            raise ValueError(
                f"this network takes uint8 images of shape (N, {', '.join(map(str, header.shape))}), not "
                f"{str(images.dtype).removeprefix('torch.')} of {tuple(images.shape)}"
            )
        x = NORMALISATIONS[header.normalisation](images.contiguous(memory_format=torch.channels_last))
        with autocast(x.device, header.trial.train.precision):
            return self.network(x).float()


def load(path: str | Path) -> Deployed:
    """The network that a run keeps, from the run's folder or from the file alone, on the CPU.

    DamagedRecord names a file that is truncated, edited or none of flipbench's; UserError one that is not
    there, or whose model is unknown here: load the plugin that holds it first (suite.plugins.load_plugin).
    Nothing from the file is executed.
    """
    file, content = find_kept(Path(path))
    kept = read_kept(content, file)
    header = kept.header
    if problem := not_here(header.trial, "model"):
        name = header.trial.model.name
        raise UserError(f"{file}: {problem}{'' if name in MODELS else one_of(name, MODELS)}")
    if header.normalisation not in NORMALISATIONS:
        raise UserError(f"{file}: its images are normalised in a way that is unknown here")
    state = {name: torch.from_numpy(tensor.copy()) for name, tensor in kept.rest.items()}
    state |= {f"{each.name}.weight": torch.from_numpy(kept.weight(each).copy()) for each in header.layers}
    try:
        with torch.device("meta"):  # no start is drawn, and no file can ask for more memory than its own size
            network = build_network(header.trial, header.shape, header.classes, _rule(kept))
        network.load_state_dict(state, assign=True)
        if any(buffer.is_meta for buffer in network.buffers()):
            raise ValueError("its model has a buffer that is not persistent, which no file keeps")
    except (ValueError, TypeError, RuntimeError) as error:
        raise DamagedRecord(file, f"its network cannot be built here: {described(error)}") from None
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as in training
    return Deployed(network.requires_grad_(False).eval(), kept)


def _rule(kept: KeptNetwork) -> WeightRule:
    """Layers that compute with the weight that they store. Only signs may be convolved as integers."""
    layers = kept.header.layers
    signs = all(layer.bits == 1 and not layer.scaled for layer in layers)
    return WeightRule(
        start=lambda initial: initial,
        read=stored_signs if signs else lambda weight: weight,
        optimizer=lambda weights: torch.optim.SGD(weights),
        binary=all(layer.bits == 1 for layer in layers),
    )
