"""The contract of a model: each rule takes one in a small form and yields what breaks it.

The tests of the catalogue call these rules for every model there is, `flipbench check` for those of a file.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from optimizers import METHODS
from suite.checks.contract.method import repeats_in_a_network, resumes_in_a_network
from suite.checks.contract.practice import CLASSES, EPOCH, Small, Training, noisy_prototypes
from suite.checks.contract.remark import Remark, line_of, note
from suite.checks.contract.torch_state import SharedState
from suite.machine.errors import described, shown
from suite.models.blocks.layers import binary_layers
from suite.models.model import BadOption, Model, Shape

Rule = Callable[[Small], Iterator[Remark]]
SHAPES: tuple[Shape, ...] = ((1, 8, 8), (1, 16, 16), (1, 32, 32), (3, 64, 64), (3, 224, 224))
TINY: tuple[Shape, ...] = ((1, 1, 1), (1, 2, 9))
FEW = 200_000  # binary weights: a rule of a few dozen steps takes seconds
MANY = 1_000_000  # binary weights: more than a minute for a hundred steps
LEARNT = 0.9  # of the loss at the start
SIGNS, LATENT, REAL = METHODS["bop"], METHODS["latent-adam"], METHODS["real"]


def small_form_of(model: Model) -> Small:
    """The model on the smallest images that it takes; where it has a `width`, narrow enough to be quick."""
    before = SharedState.now()
    try:
        return _small_form_of(model)
    finally:
        before.restore()  # a change is a finding of its rule


def _small_form_of(model: Model) -> Small:
    options: dict[str, Any] = {}
    for shape in SHAPES:
        try:
            weights = _binary_weights(Small(model, shape, options))
        except ValueError:  # the images are too small
            continue
        width = model.options.get("width")
        while weights > FEW and isinstance(width, float) and width > 1 / 64:
            options["width"] = width = width / 2
            weights = _binary_weights(Small(model, shape, options))
        return Small(model, shape, options)
    return Small(model, SHAPES[-1], {})


def _binary_weights(small: Small) -> int:
    with torch.device("meta"):
        network = small.model(small.shape, CLASSES, REAL(), 0, **small.options)
    return sum(layer.weight.numel() for _, layer in binary_layers(network))


def _network(small: Small, seed: int = 1, method: str = "latent-sgd", classes: int = CLASSES) -> nn.Module:
    return small.model(small.shape, classes, METHODS[method](), seed, **small.options)


def _stored(network: nn.Module) -> Tensor:
    return torch.cat([layer.weight.detach().flatten() for _, layer in binary_layers(network)])


def _trained(small: Small) -> nn.Module:
    """A network after a step, in evaluation."""
    training = Training(LATENT(), small)
    training.step()
    return training.model.eval()


def _images(small: Small) -> Tensor:
    return noisy_prototypes(small.shape, 0)[0][:8]


# --- what it says of itself ---


def describes_itself(small: Small) -> Iterator[Remark]:
    """Its summary is a sentence."""
    model = small.model
    if not re.fullmatch(r"[A-Z][^.!?\n]*\.", model.summary):
        text = f"its summary is not one sentence: {model.summary!r} (the docstring's first line)"
        yield note(text, line_of(model.build))


def refuses_impossible_options(small: Small) -> Iterator[Remark]:
    """An option that no network can have is refused before the training, and named."""
    model = small.model
    for name, default in model.options.items():
        for impossible in _impossible(default):
            try:
                model(small.shape, CLASSES, REAL(), 1, **{**small.options, name: impossible})
            except BadOption as error:
                if error.name == name:
                    continue
            except Exception:
                pass
            yield note(
                f"it takes {name} {shown(impossible)} without a word: let its function raise "
                f'BadOption("{name}", ...) (suite.models.model)',
                line_of(model.build),
            )


def _impossible(default: Any) -> list[Any]:
    if isinstance(default, tuple):
        return [(wrong,) for wrong in _impossible(default[0])] if default else []
    if isinstance(default, bool):
        return []
    return [{int: -1, float: float("nan"), str: "impossible"}[type(default)]]


def refuses_small_images(small: Small) -> Iterator[Remark]:
    """A network that is built for an image can compute with it; one that cannot raises ValueError at once."""
    for shape in TINY:
        try:
            network = small.model(shape, CLASSES, REAL(), 1, **small.options)
        except ValueError:
            continue
        try:
            network(torch.zeros(2, *shape))
        except Exception as error:
            yield note(
                f"it is built for images of {shape[1]}x{shape[2]}, and then fails on them ("
                f"{described(error).splitlines()[0]}): let its function call check_size (suite.models.model)",
                line_of(small.model.build),
            )
            return


# --- it works at all ---


def leaves_torch_alone(small: Small) -> Iterator[Remark]:
    """Neither its function nor a forward pass changes torch's settings; only training may draw."""
    home = small.model.build
    before = SharedState.now()
    for part, training in (("its function", None), ("a training", True), ("an evaluation", False)):
        network = _network(small)
        if training is not None:
            network.train(training)(_images(small)).sum().backward()
        changes = list(before.changes(may_draw=training is True))
        before.restore()
        yield from (Remark(f"{part} changes {change}", line_of(home)) for change in changes)
        if changes:
            return


def gives_logits(small: Small) -> Iterator[Remark]:
    """It has binary layers, and gives a float32 for each image and class; it can be built without memory."""
    here = line_of(small.model.build)
    if not _binary_weights(small):
        yield Remark("it has no binary layer (suite.models.blocks.layers): nothing in it is compared", here)
        return
    for classes in (CLASSES, 7):
        logits = _network(small, classes=classes)(_images(small)[:2])
        if not isinstance(logits, Tensor) or logits.shape != (2, classes):
            found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            yield Remark(f"for 2 images and {classes} classes it gives {found}, not [2, {classes}]", here)
            return


# --- its start ---


def starts_from_its_seed(small: Small) -> Iterator[Remark]:
    """The start is drawn from the seed alone."""
    here = line_of(small.model.build)
    first, again, other = (_network(small, seed).state_dict() for seed in (1, 1, 2))
    if any(not torch.equal(first[name], again[name]) for name in first):
        yield Remark("a second network of the same seed starts from other numbers: draw from torch", here)
    elif all(torch.equal(first[name], other[name]) for name in first):
        yield Remark("the networks of two seeds start from the same numbers: it seeds torch itself", here)


def starts_alike_for_every_method(small: Small) -> Iterator[Remark]:
    """Every method starts from the same signs."""
    starts = [_stored(_network(small, method=name)) >= 0 for name in ("latent-sgd", "bop", "real")]
    if not all(torch.equal(start, starts[0]) for start in starts):
        text = "its start depends on the method: all must start from the same signs"
        yield Remark(text, line_of(small.model.build))


def starts_glorot_uniform(small: Small) -> Iterator[Remark]:
    """Binary layers start from Glorot uniform draws, and so do real ones: one start in all networks."""
    network, here = _network(small), line_of(small.model.build)
    for name, layer in binary_layers(network):
        if not _is_glorot(layer.weight):
            yield Remark(f"its binary layer {name} does not start from Glorot uniform draws", here)
            return
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and not _is_glorot(layer.weight):
            yield note(
                f"its real layer {name} does not start from Glorot uniform draws: real_conv2d and "
                "real_linear do (suite.models.blocks.layers)",
                here,
            )
            return


def _is_glorot(weight: Tensor) -> bool:
    """Whether the largest weight is just below the bound of the draws; of few weights, only below it."""
    kernel = weight[0, 0].numel()
    bound = (6 / ((weight.shape[0] + weight.shape[1]) * kernel)) ** 0.5
    largest = weight.detach().abs().max().item()
    return largest <= bound * 1.0001 and (largest > 0.8 * bound or weight.numel() < 50)


# --- its layers ---


def uses_each_binary_layer(small: Small) -> Iterator[Remark]:
    """The gradient reaches every binary layer."""
    network = _network(small)
    network(_images(small)).square().sum().backward()
    for name, layer in binary_layers(network):
        if layer.weight.grad is None or not layer.weight.grad.any():
            text = f"its binary layer {name} gets no gradient: the forward pass does not use it"
            yield Remark(text, line_of(small.model.build))
            return


def computes_with_signs(small: Small) -> Iterator[Remark]:
    """The size of a latent weight changes nothing: the layers compute with what the method reads."""
    for training in (True, False):
        network = _network(small).train(training)
        torch.manual_seed(0)
        logits = network(_images(small))
        with torch.no_grad():
            for _, layer in binary_layers(network):
                layer.weight.mul_(0.5)
        torch.manual_seed(0)
        if not torch.equal(network(_images(small)), logits):
            yield Remark(
                "the size of a latent weight changes its logits: a layer of its own must compute with "
                "self.reading()(self.weight), not with self.weight",
                line_of(small.model.build),
            )
            return


# --- training and evaluation ---


def learns(small: Small) -> Iterator[Remark]:
    """The loss of a small task falls by a tenth in a few epochs, with one of two methods."""
    if (weights := _binary_weights(small)) > MANY:
        text = f"it is not tried whether it learns: {weights:,} binary weights take long"
        yield note(f"{text}; with an option `width` it is tried in small", line_of(small.model.build))
        return
    for method in (LATENT, SIGNS):
        training = Training(method(), small)
        loss = after = training.loss_on_unseen_batches()
        while after >= LEARNT * loss and training.steps < 3 * EPOCH:
            for _ in range(EPOCH // 2):
                training.step()
            after = training.loss_on_unseen_batches()
        if after < LEARNT * loss:
            return
    text = f"it does not learn: the loss of a small task does not fall to {LEARNT:.0%} in {3 * EPOCH} steps"
    yield Remark(f"{text} of {LATENT.name}, nor of {SIGNS.name}", line_of(small.model.build))


def evaluates_each_image_alone(small: Small) -> Iterator[Remark]:
    """In evaluation the logits of an image depend on no other image, and nothing is changed or drawn."""
    network, here = _trained(small), line_of(small.model.build)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        whole, again = network(_images(small)), network(_images(small))
        parts = torch.cat([network(part) for part in _images(small).split(4)])
    if not torch.equal(whole, again):
        yield Remark("an evaluation of the same images gives other logits the second time", here)
    elif any(not torch.equal(before[name], tensor) for name, tensor in network.state_dict().items()):
        yield Remark("an evaluation changes its buffers or parameters", here)
    elif not torch.allclose(whole, parts, rtol=1e-3, atol=1e-3):
        yield Remark("in evaluation the logits of an image depend on the other images of its batch", here)


def repeats(small: Small) -> Iterator[Remark]:
    """The same images give the same bits, a second time too."""
    if list(repeats_in_a_network(SIGNS, small)):
        yield Remark(
            "a second training on the same images gives other bits: it holds a state that all its networks "
            "share, or draws from a stream that the loop does not seed",
            line_of(small.model.build),
        )


def resumes(small: Small) -> Iterator[Remark]:
    """A training that is saved, loaded and resumed gives the same bits as an unbroken one."""
    if list(resumes_in_a_network(SIGNS, small)):
        yield Remark(
            "a resumed training gives other bits: keep what changes in a parameter or a buffer, which a "
            "checkpoint saves",
            line_of(small.model.build),
        )


def can_be_kept(small: Small) -> Iterator[Remark]:
    """A kept network is built without a start, and filled from its file: parameters and buffers are all."""
    network = _trained(small)
    with torch.device("meta"):
        rule = replace(LATENT(), start=lambda initial: initial)
        loaded = small.model(small.shape, CLASSES, rule, 1, **small.options)
    loaded.load_state_dict(network.state_dict(), assign=True)
    missing = [name for name, buffer in loaded.named_buffers() if buffer.is_meta]
    if missing:
        yield Remark(
            f"its buffer {missing[0]} is not persistent: a kept network could not be loaded again",
            line_of(small.model.build),
        )
        return
    with torch.no_grad():
        same = torch.equal(loaded.eval()(_images(small)), network(_images(small)))
    if not same:
        text = "loaded from its parameters and buffers it gives other logits: it computes with more"
        yield Remark(text, line_of(small.model.build))


def works_in_bfloat16(small: Small) -> Iterator[Remark]:
    """A training with bfloat16 gives finite losses."""
    training = Training(SIGNS(), small)
    losses = [training.step(precision="bfloat16") for _ in range(3)]
    if not torch.tensor(losses).isfinite().all():
        text = "in a training with bfloat16 its loss becomes NaN or infinite"
        yield Remark(text, line_of(small.model.build))


# In this order: what one of a stage finds would make those of the next misleading.
STAGES: tuple[tuple[Rule, ...], ...] = (
    (gives_logits,),
    (leaves_torch_alone,),
    (describes_itself, starts_from_its_seed, starts_alike_for_every_method, starts_glorot_uniform),
    (uses_each_binary_layer, computes_with_signs),
    (evaluates_each_image_alone, repeats, resumes, can_be_kept, works_in_bfloat16, learns),
    (refuses_impossible_options, refuses_small_images),
)
