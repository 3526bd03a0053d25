"""How many latent weights lie near zero at the end of a training, where a small step changes their sign."""

import torch

from suite.models.blocks.layers import binary_layers
from suite.probes.probe import Found, Trained, probe

BANDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
NUMBERS = ["mean_size", *(f"share_within.{band:g}" for band in BANDS)]


@probe(images=lambda sizes: 0, numbers=NUMBERS, needs_latents=True)
def latents(trained: Trained) -> Found:
    """The mean size of the latent weights, and the share of them within some distances of zero.

    mean_size: the mean of |w| over the latent weights of all binary layers. share_within.<b>: the share of
    them with |w| < b.
    """
    layers = [layer.weight.detach() for _, layer in binary_layers(trained.network())]
    sizes = torch.cat([weight.abs().double().flatten() for weight in layers])
    shares = {f"share_within.{band:g}": float((sizes < band).double().mean()) for band in BANDS}
    return {"mean_size": float(sizes.mean()), **shares}
