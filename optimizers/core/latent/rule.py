"""The rule that all methods on latent weights share: habits, additions, and the optimizer step with them.

The field's usual habits are hyperparameters here, because the reply to the reviewers of "Latent Weights Do
Not Exist" counts them among the settings that must be tuned: the scale of the start, the clip, the
pseudo-gradient, weight decay, BinaryNet's Glorot scaling of the learning rate (in the form for Adam, for all
optimizers; BinaryConnect reportedly squares it for SGD). The additions of later papers are optional:

* binarize: a binarization that changes during training or draws. If set, it replaces pseudo_gradient.
  "stochastic" is that of BinaryConnect, whose evaluation then uses the real weights; here, as everywhere,
  evaluation uses their signs.
* transform: see optimizers.core.latent.transforms.
* ags, sad, dampen, freeze: see optimizers.core.latent.flip_control.
* real_until: before this progress the forward pass reads the latent weights themselves, afterwards binary
  weights. These are the two steps of AdamBNN (Liu et al., ICML 2021, https://arxiv.org/abs/2106.11309). There
  each step is a whole training with its own learning rate and weight decay, which an experiment can
  schedule. Evaluation always uses binary weights; during the first step the statistics of batch norm are
  those of the network with real weights.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optimizers.core.checks import BadHyper, check_not_negative, check_one_of, check_positive, check_shares
from optimizers.core.hyper import Addition, HyperValue, choice, log, optional, uniform
from optimizers.core.latent import flip_control
from optimizers.core.latent.flip_control import FLIP_CONTROL
from optimizers.core.latent.transforms import ADDED, TRANSFORMS, Reading
from optimizers.core.method import Timed, WeightRule
from optimizers.core.pseudo_gradients import pseudo_gradient as named
from optimizers.core.pseudo_gradients import sign

SLOPES = ("clipped", "identity", "approx_sign", "swish_sign")
_TWO_STEPS = Addition(
    "AdamBNN's first step with real weights",
    "Liu et al., How Do Adam and Training Strategies Help BNNs Optimization, ICML 2021, "
    "https://arxiv.org/abs/2106.11309",
)
_EDE = "Qin et al., IR-Net, CVPR 2020, https://arxiv.org/abs/1909.10788"
BINARIZATIONS: dict[HyperValue, Addition] = {
    "ede": Addition("IR-Net's error decay estimator, from a sharpness of 0.001", _EDE),
    "reste": Addition(
        "the estimator of ReSTE", "Wu et al., ReSTE, ICCV 2023, https://arxiv.org/abs/2308.06689"
    ),
    "stochastic": Addition(
        "BinaryConnect's random signs in training",
        "Courbariaux et al., BinaryConnect, NeurIPS 2015, https://arxiv.org/abs/1511.00363",
    ),
    "ede_0.1": Addition("IR-Net's error decay estimator, from a sharpness of 0.1", _EDE),
}
NEEDS_THE_TIME = ("dampen", "freeze")

# The defaults are larq's: ste_sign with weight_clip, Glorot uniform start.
LATENT: dict[str, Any] = dict(
    init_scale=log(1.0, 0.1, 10.0),
    clip=choice(1.0, None),
    weight_decay=choice(0.0, 1e-6, 1e-5, 1e-4),
    pseudo_gradient=choice(*SLOPES),
    glorot_rate=choice(False, True),
    binarize=optional(choice(*BINARIZATIONS), BINARIZATIONS),
    transform=optional(choice(*TRANSFORMS), ADDED),
    **FLIP_CONTROL,
    real_until=optional(uniform(0.5, 0.1, 0.9), _TWO_STEPS),
)


def glorot_rate_scale(weight: Tensor) -> float:
    """BinaryNet's W_LR_scale, sqrt((fan in + fan out) / 1.5), for a weight of shape (out, in, *kernel)."""
    kernel = weight[0, 0].numel()
    return ((weight.shape[0] + weight.shape[1]) * kernel / 1.5) ** 0.5


class LatentStep(Optimizer):
    """Mixed into an optimizer: scales the learning rate per tensor before its step, and clips after it.

    Every parameter group has the entries `bound` (the clip: the largest latent magnitude, or None),
    `lr_scale`, and the flip controls that are on. `deployed`: latent weight -> deployed weight, whose changes
    of sign are the flips. `move`: the step of the optimizer itself.
    """

    move: Callable[[Any], object]
    deployed: Callable[[Tensor], Tensor] = staticmethod(sign)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        assert closure is None
        rates = [group["lr"] for group in self.param_groups]
        before: dict[Tensor, Tensor] = {}
        for group in self.param_groups:
            group["lr"] *= group["lr_scale"]
            for weight in group["params"]:
                if weight.grad is not None:
                    flip_control.before_step(weight, self.state.get(weight, {}), group)
                    _align_gradient(weight)
                    if flip_control.watches_flips(group):
                        before[weight] = weight.clone()
        type(self).move(self)
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate
            for weight in group["params"]:
                if group["bound"] is not None:
                    weight.clamp_(-group["bound"], group["bound"])
                if weight in before:
                    state = self.state[weight]
                    flip_control.after_step(weight, before[weight], state, group, self.deployed)


def _align_gradient(weight: Tensor) -> None:
    """Give the gradient the memory layout of its weight, as autograd does; torch's fused steps rely on it."""
    assert weight.grad is not None
    if weight.grad.stride() != weight.stride():
        weight.grad = torch.empty_like(weight).copy_(weight.grad)


class TwoSteps(Timed):
    """Reads the latent weight itself before progress `until`, and through `read` afterwards."""

    def __init__(self, read: Reading, until: float) -> None:
        super().__init__()
        self.read, self.until = read, until

    def forward(self, weight: Tensor) -> Tensor:
        return weight if self.progress < self.until else self.read(weight)


def latent_rule(
    optimizer: Callable[..., LatentStep],
    habits: Mapping[str, Any],
    *,
    lr: float,
    start_at_one: bool = False,
    **settings: Any,
) -> WeightRule:
    """The rule of an optimizer on latent weights. Raises BadHyper for an impossible lr or habit.

    habits: the hyperparameters of LATENT by name. lr: the learning rate. settings: further arguments of the
    optimizer's constructor, checked by the caller. start_at_one: start from U(-1, 1), times init_scale,
    instead of Glorot's uniform distribution.
    """
    values = {name: hyper.unless_set for name, hyper in LATENT.items()} | dict(habits)
    check_not_negative(lr=lr)
    _check(values)
    clip, scale = values["clip"], values["init_scale"]
    controls = _that_are_on(values, *FLIP_CONTROL)
    if any(name in controls for name in NEEDS_THE_TIME):
        controls["progress"] = 0.0
    read, deploy = _readings(values)

    def start(initial: Tensor) -> Tensor:
        # Glorot's bound is sqrt(6 / (fan in + fan out)): 2 / glorot_rate_scale.
        scaled = scale * (initial * (glorot_rate_scale(initial) / 2.0) if start_at_one else initial)
        return scaled if clip is None else scaled.clamp(-clip, clip)

    def make(params: Iterable[Tensor]) -> Optimizer:
        made = optimizer(
            _groups(params, clip, values["glorot_rate"], controls),
            lr=lr,
            weight_decay=values["weight_decay"],
            **settings,
        )
        made.deployed = deploy
        return made

    return WeightRule(start=start, read=read, deploy=deploy, optimizer=make)


def _check(values: Mapping[str, Any]) -> None:
    clip = values["clip"]
    if clip is not None and not clip > 0.0:
        raise BadHyper("clip", f"clip must be > 0 or null, not {clip}")
    check_positive(init_scale=values["init_scale"])
    check_not_negative(weight_decay=values["weight_decay"])
    check_one_of(SLOPES, pseudo_gradient=values["pseudo_gradient"])
    check_one_of(BINARIZATIONS, **_that_are_on(values, "binarize"))
    check_one_of(TRANSFORMS, **_that_are_on(values, "transform"))
    check_not_negative(**_that_are_on(values, *FLIP_CONTROL))
    check_shares(**_that_are_on(values, "real_until"))


def _that_are_on(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if values[name] is not None}


def _readings(values: Mapping[str, Any]) -> tuple[Reading, Reading]:
    """How a latent weight is read by the forward pass in training, and by evaluation and the flip counter."""
    slope, clip, transform = values["pseudo_gradient"], values["clip"], values["transform"]
    if slope == "clipped" and clip is not None and clip <= 1.0 and transform != "standardise":
        slope = "identity"  # the same within [-1, 1], where the clip keeps the weights, and one pass less
    read, deploy = named(values["binarize"] or slope), sign
    if transform is not None:
        in_training, deploy = TRANSFORMS[transform]
        read = in_training(read)
    if values["real_until"] is not None:
        read = TwoSteps(read, values["real_until"])
    return read, deploy


def _groups(
    params: Iterable[Tensor], clip: float | None, glorot_rate: bool, controls: Mapping[str, float]
) -> list[dict[str, Any]]:
    """One parameter group, or one for each tensor if each has its own learning rate."""
    if glorot_rate:
        return [dict(params=[w], bound=clip, lr_scale=glorot_rate_scale(w), **controls) for w in params]
    return [dict(params=list(params), bound=clip, lr_scale=1.0, **controls)]
