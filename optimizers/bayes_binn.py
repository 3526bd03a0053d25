"""BayesBiNN: a Bernoulli distribution over every weight, learned through its natural parameter.

Meng, Bachmann and Khan, Training Binary Neural Networks using the Bayesian Learning Rule, ICML 2020,
https://arxiv.org/abs/2002.10778. The stored tensor is lambda: the weight is +1 with probability
1 / (1 + exp(-2 lambda)). The forward pass reads a relaxed sample of it, evaluation the mode.

In float32 the published temperature of 1e-10 turns these equations into a different rule:

* The relaxed sample is -1 or +1 to the last bit, so 1 - w² is 0, and only the 1e-10 that the released code
  adds remains of its slope: a straight-through gradient, times 1e-10 / temperature. That factor is 1 at 1e-10
  and 0.01 at 1e-8: the temperature is a hidden factor of the step.
* Beyond |lambda| = 9 (lambda starts at 10), 1 - mu² is 0 too: the slope is 1 / temperature = 1e10. Lambda
  then moves by millions, the noise (below 9 in float32) has no effect, and the sign of lambda is the sign of
  a moving average of -gradient with rate `lr`: Bop at threshold 0. `strength` then has no effect either.
* In the rare case that a draw cancels lambda, the weight of that step is 0 and the step 1e10 times as long.

Differences from the released code: it computes mu before the last step, here mu belongs to the present
lambda, as in the paper. It can average the gradient over steps and samples, but every published run has one
sample and no average. It trains all parameters of the network with this rule, and therefore has batch norm
without a trained shift; here only the binary weights are Bayesian. The published runs decay `lr` to 1e-16
along a cosine.
"""

from typing import Any

import torch
from torch import Tensor

from optimizers.core import Flipper, WeightRule, log, method, sign
from optimizers.core.checks import check_positive, check_rates

FAMILY = "relaxed weights"

EPSILON = 1e-10  # as released; see above for its effect
START = 10.0  # magnitude of lambda, as released


def relaxed_sample(natural: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """A sample in [-1, 1] that is -1 or +1 as temperature -> 0: tanh((lambda + delta) / temperature).

    natural: lambda. uniform: draws from [0, 1), of which 0 gives -1; delta is logistic noise made of them.
    """
    delta = 0.5 * torch.log(uniform / (1.0 - uniform))
    return torch.tanh((natural + delta) / temperature)


def natural_slope(sample: Tensor, natural: Tensor, temperature: float) -> Tensor:
    """The factor from the gradient at the sample to that for the mean, mu = tanh(lambda), as released."""
    of_the_sample = 1.0 - sample * sample + EPSILON
    of_the_mean = 1.0 - torch.tanh(natural) ** 2 + EPSILON
    return of_the_sample / temperature / of_the_mean


def bayes_binn_update(natural: Tensor, gradient: Tensor, lr: float, strength: float) -> tuple[Tensor]:
    """One step of the Bayesian learning rule with a uniform prior, as in released code: the new lambda.

    gradient: of the mean loss with respect to mu. lr: the learning rate, by which lambda also decays.
    strength: number of samples in the training set, as the rule needs the sum over them, times any scale.
    That lambda = 0 means +1 is decided by the sign that evaluation reads, not here.
    """
    return ((1.0 - lr) * natural - lr * strength * gradient,)


class _Sample(torch.autograd.Function):
    """Forward a relaxed sample, backward the gradient with respect to mu."""

    @staticmethod
    def forward(ctx: Any, natural: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        sample = relaxed_sample(natural, uniform, temperature)
        ctx.save_for_backward(sample, natural)
        ctx.temperature = temperature
        return sample

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        sample, natural = ctx.saved_tensors
        return gradients[0] * natural_slope(sample, natural, ctx.temperature), None, None


@method(
    paper="Meng et al., Training Binary Neural Networks using the Bayesian Learning Rule, ICML 2020, "
    "https://arxiv.org/abs/2002.10778",
    lr=log(3e-4, 1e-6, 1e-1),
    temperature=log(1e-10, 1e-10, 1.0),
    strength=log(4.5e5, 1e1, 1e7),
    presets={
        "cifar10": dict(lr={"cosine": [3e-4, 1e-16]}, temperature=1e-10, strength=4.5e5),
        "cifar100": dict(lr={"cosine": [3e-4, 1e-16]}, temperature=1e-8, strength=4.5e5),
        "mnist": dict(lr={"cosine": [1e-4, 1e-16]}, temperature=1e-10, strength=5.4e4),
    },
)
def bayes_binn(lr: float, temperature: float, strength: float) -> WeightRule:
    """Learn a probability for each sign by natural gradients at a relaxed sample, and use the likelier sign.

    The defaults are those of CIFAR-10, where strength is 45,000 images times 10.
    """
    check_rates(lr=lr)
    check_positive(temperature=temperature, strength=strength)

    def read(natural: Tensor) -> Tensor:
        return _Sample.apply(natural, torch.rand_like(natural), temperature)  # type: ignore[return-value]

    return WeightRule(
        start=lambda initial: START * sign(initial),
        read=read,
        deploy=sign,
        optimizer=lambda params: Flipper(params, bayes_binn_update, state={}, lr=lr, strength=strength),
    )
