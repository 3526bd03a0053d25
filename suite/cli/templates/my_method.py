"""My method: one sentence on what it does and why it might be better.

As it stands, the rule is Bop's (Helwegen et al. 2019): replace it with your own. A method is a torch
optimizer plus a way to read its tensors. Each binary layer stores one real tensor; the method decides how it
starts, how the forward pass reads a weight from it, and how a step changes it.
"""

import torch

from optimizers.core import WeightRule, log, method, sign, stored_signs
from optimizers.core.checks import check_not_negative, check_rates

FAMILY = "New"  # a report groups and colours methods by it


class MyMethod(torch.optim.Optimizer):
    """Flips a weight where a moving average of its gradient pushes against it hard enough."""

    def __init__(self, params, rate, threshold):
        # What is in the parameter groups may follow a schedule: `threshold: {linear: [1.0e-3, 1.0e-5]}`.
        super().__init__(params, dict(rate=rate, threshold=threshold))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                # Keep what you remember here, as tensors: a checkpoint saves it, a resumed run gets it back.
                state = self.state[weight]
                if not state:
                    state["average"] = torch.zeros_like(weight)
                average = state["average"]
                average.lerp_(weight.grad, group["rate"])
                # weight +1 and average > 0: the loss falls if the weight becomes -1.
                flips = weight * average > group["threshold"]
                weight.copy_(torch.where(flips, -weight, weight))  # in place: `weight = ...` changes nothing


# Each parameter of the function has a default, which the first tuning trial uses, and a range, which is
# searched: log(default, low, high), uniform, integer, choice(default, other, ...), optional(...).
@method(
    paper="Who, What, Where and When, https://example.org",
    rate=log(1e-3, 1e-6, 1e-1),
    threshold=log(1e-6, 1e-10, 1e-3),
)
def my_method(rate, threshold):
    """Flip a weight against a moving average of its gradient that exceeds a threshold."""
    check_rates(rate=rate)  # a value that cannot be fails before anything runs
    check_not_negative(threshold=threshold)
    return WeightRule(
        start=sign,  # the fresh real tensor -> the tensor that the layer stores, here its signs
        read=stored_signs,  # the stored tensor -> the weight of the forward pass, here the tensor itself.
        # With latent weights: start=lambda initial: initial and read=pseudo_gradient("clipped").
        # Where evaluation reads them in another way: deploy=sign.
        optimizer=lambda params: MyMethod(params, rate, threshold),
    )
