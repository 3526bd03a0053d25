"""The contract of a method: each rule takes one and yields what breaks it.

The tests of the catalogue call these rules for every method there is, `flipbench check` for those of a file.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from torch import Tensor

from optimizers.core import BadHyper, Hyper, HyperValue, Method, WeightRule, run_step
from suite.checks.contract.practice import (
    CPU,
    DENSE,
    EPOCH,
    FILTERS,
    PLANNED,
    STEPS,
    Small,
    Training,
    advance,
    everything,
    same,
    start_of,
    through_a_file,
)
from suite.checks.contract.remark import Remark, line_of, note, raised
from suite.checks.contract.torch_state import TORCH_RANDOM, SharedState
from suite.experiment.build import apply_schedules
from suite.experiment.edges import edges, number_at
from suite.machine.errors import described, shown
from suite.machine.random_keys import seed_draws
from suite.models.blocks.layers import binary_layers
from suite.records.schedules import Linear
from suite.training.evaluate import assert_binary
from suite.training.flips import FlipCounter
from suite.training.step import optimizers_of, state_tensors

Setting = Mapping[str, HyperValue]
Rule = Callable[[Method], Iterator[Remark]]
DRAWS = 4  # random settings, besides those at the ends of the ranges
LEARNT = 0.9  # of the loss at the start: a method that reaches it with its binary weights alone learns
IN_TRAINING = (0, 1, 2, EPOCH, EPOCH + 1, PLANNED // 2, PLANNED // 2 + 1, PLANNED - 1)  # steps of all phases


# --- the settings in which a rule is tried ---


def with_each_part(method: Method) -> list[Setting]:
    """The defaults, and with each optional hyperparameter on, each of its choices."""
    optional = {name: hyper for name, hyper in method.hypers.items() if hyper.optional}
    return [{}, *({name: value} for name, hyper in optional.items() for value in _words(hyper))]


def in_the_ranges(method: Method) -> list[Setting]:
    """The defaults, the ends and the inside of all ranges, each optional part on, and a few draws."""
    searched = {name: hyper.range for name, hyper in method.hypers.items() if not hyper.optional}
    settings: list[Setting] = [{}, *edges(searched)]
    settings += [e for name, h in method.hypers.items() if h.optional for e in edges({name: h.range})]
    draw = random.Random(0)
    for _ in range(DRAWS if searched else 0):
        settings.append({name: _drawn(range_, draw) for name, range_ in searched.items()})
    return settings


def _drawn(range_: BaseDistribution, draw: random.Random) -> HyperValue:
    if isinstance(range_, CategoricalDistribution):
        return draw.choice(range_.choices)
    return number_at(range_, draw.random())


def _words(hyper: Hyper) -> Sequence[HyperValue]:
    return list(getattr(hyper.range, "choices", [hyper.default]))


def _at(setting: Setting) -> str:
    """`at lr 0.1, clip 1`, or `at its defaults`."""
    words = ", ".join(f"{name} {shown(value)}" for name, value in setting.items())
    return f"at {words}" if words else "at its defaults"


# --- what it says of itself ---


def describes_itself(method: Method) -> Iterator[Remark]:
    """Its card is a sentence and a paper with a link, its defaults lie in their ranges."""
    here = line_of(method.rule)
    if not re.fullmatch(r"[A-Z][^.!?\n]*\.", method.summary):
        yield note(f"its summary is not one sentence: {method.summary!r} (the docstring's first line)", here)
    if not re.search(r"https://\S+\.\S+", method.paper):
        yield note(f"its paper has no link: {method.paper!r}", here)
    for name, hyper in method.hypers.items():
        if not hyper.range._contains(hyper.range.to_internal_repr(hyper.default)):
            yield Remark(f"the default of {name}, {shown(hyper.default)}, lies outside its own range", here)


def refuses_impossible_values(method: Method) -> Iterator[Remark]:
    """A value that no hyperparameter can have is refused before the training, and named."""
    for name, hyper in method.hypers.items():
        if isinstance(hyper.default, bool):
            continue
        impossible = "impossible" if isinstance(hyper.default, str) else float("nan")
        try:
            method(**{name: impossible})
        except BadHyper as error:
            if error.name == name and str(error).startswith(f"{name} must "):
                continue
        except Exception:
            pass
        yield note(
            f"it takes {name} {impossible} without a word: let its function check {name} "
            "(optimizers.core.checks)",
            line_of(method.rule),
        )


# --- it works at all ---


def works_in_its_ranges(method: Method) -> Iterator[Remark]:
    """At the ends of its ranges, inside them, with each choice, its steps give finite numbers."""
    for setting in in_the_ranges(method):
        if problem := _failure(method, setting):
            alone = {name: value for name, value in setting.items() if _failure(method, {name: value})}
            yield Remark(f"{_at(alone or setting)} {problem.text}", problem.line, problem.fault)
            return


def _failure(method: Method, setting: Setting) -> Remark | None:
    try:
        rule = method(**setting)
        tensors = start_of(rule)
        optimizer = rule.optimizer(tensors)
        advance([optimizer], tensors, range(0, STEPS, 5))
        training = Training(rule)
        training.steps = PLANNED // 2  # after the controls that begin later have begun
        for _ in range(2):
            training.step()
    except Exception as error:
        problem = raised(error, method.rule)
        return Remark(f"it fails: {problem.text}", problem.line)
    if _finite([*everything([optimizer], tensors), *training.everything()]):
        return None
    return Remark(
        "its numbers become NaN or infinite in a few steps of ordinary gradients, some of which are zero",
        line_of(method.rule, type(optimizer).step),
    )


def _finite(tensors: Sequence[Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


# --- it changes nothing that all code of a process shares ---


def leaves_torch_alone(method: Method) -> Iterator[Remark]:
    """No part of it changes torch's settings or another's functions; it draws where the loop has seeded."""
    found: list[Remark] = []

    def use(part: str, function: Any, act: Callable[[], Any], *, may_draw: bool = False) -> Any:
        before = SharedState.now()
        try:
            result, changes = act(), list(before.changes())
        finally:
            before.restore()
        line = line_of(method.rule, function) if changes else None
        for change in changes:
            if not (may_draw and change == TORCH_RANDOM):
                found.append(Remark(f"{part} changes {change}", line))
            elif _sets_seed(act):
                found.append(Remark(f"{part} sets {change} itself, which the training does", line))
        before.restore()
        return result

    def read() -> None:
        for tensor in tensors:
            weight = rule.read(tensor)
            if weight.requires_grad:
                weight.sum().backward()

    rule = use("its function", method.rule, method)
    tensors = use("start", rule.start, lambda: start_of(rule))
    optimizer = use("optimizer", rule.optimizer, lambda: rule.optimizer(tensors))
    use("read", rule.read, read, may_draw=True)
    for tensor in tensors:
        tensor.grad = torch.ones_like(tensor)
    use("step", type(optimizer).step, lambda: run_step(optimizer), may_draw=True)
    if rule.deploy is not None:
        use("deploy", rule.deploy, lambda: [rule.deploy(tensor.detach()) for tensor in tensors])
    yield from found


def _sets_seed(act: Callable[[], Any]) -> bool:
    """Whether the random state after it is the same, whatever it was before."""
    ends = []
    for key in (1, 2):
        seed_draws(CPU, key)
        act()
        ends.append(torch.get_rng_state())
    return torch.equal(*ends)


# --- its weights ---


def deploys_signs(method: Method, small: Small = DENSE) -> Iterator[Remark]:
    """In evaluation each weight is -1 or +1, times at most one positive scale for each output."""
    training = Training(method(), small)
    rule = next(layer for _, layer in binary_layers(training.model))
    line = line_of(method.rule, rule.deploy)
    if not rule.binary:
        if not method.control:
            yield Remark("it says `binary=False`, which only a control may (control=True)", line)
        return
    for steps in (0, 1, 4):
        training.model.train()
        while training.steps < steps:
            training.step()
        training.model.eval()
        for _, layer in binary_layers(training.model):
            weight = layer.reading()(layer.weight)
            if weight.shape != layer.weight.shape:
                shapes = f"{list(weight.shape)} of {list(layer.weight.shape)}"
                yield Remark(f"{_reader(method)} changes the shape of a weight: it makes {shapes}", line)
                return
        try:
            assert_binary(training.model)
        except AssertionError:
            after = f"after step {steps}" if steps else "at the start"
            values = _some_sizes(training)
            yield Remark(
                f"{after} the forward pass of the evaluation has weights that are not -1/+1 ({values}): "
                f"let {_reader(method)} return signs (optimizers.core.sign)",
                line,
            )
            return


def _reader(method: Method) -> str:
    return "`read`" if method().deploy is None else "`deploy`"


def _some_sizes(training: Training) -> str:
    with torch.no_grad():
        layer = next(layer for _, layer in binary_layers(training.model))
        return ", ".join(f"{number:.3g}" for number in layer.deploy(layer.weight).flatten()[:3].tolist())


def reads_without_effect(method: Method) -> Iterator[Remark]:
    """To read a weight changes nothing, and to deploy it twice gives the same."""
    for setting in with_each_part(method):
        rule = method(**setting)
        for name, function in (("read", rule.read), ("deploy", rule.deploy or rule.read)):
            line, deployed = line_of(method.rule, function), name == "deploy"
            for tensor in start_of(rule):
                before = tensor.detach().clone()
                with torch.set_grad_enabled(not deployed):
                    first = function(tensor).detach().clone()
                    if not torch.equal(before, tensor.detach()):
                        yield Remark(f"{_at(setting)} `{name}` writes into the stored tensor", line)
                        return
                    second = function(tensor).detach()
                if deployed and not torch.equal(first, second):
                    yield Remark(
                        f"{_at(setting)} the deployed weight is another one at each call: flips would be "
                        "counted that no step makes",
                        line,
                    )
                    return


def counts_its_flips(method: Method, small: Small = DENSE) -> Iterator[Remark]:
    """The flip counter finds what a comparison of all weights before and after each step finds."""
    training = Training(method(), small)
    closely = FlipCounter(training.model, dense=True)
    expected = []
    for _ in range(6):
        before = [layer.binary_weight() for _, layer in binary_layers(training.model)]
        training.step()
        closely.count()
        after = [layer.binary_weight() for _, layer in binary_layers(training.model)]
        expected.append([int((one != two).sum()) for one, two in zip(before, after, strict=True)])
    for counter in (training.learner.flips, closely):
        found = counter.end_epoch()[1].tolist()
        if found != expected:
            step = next(number for number, flips in enumerate(found) if flips != expected[number])
            yield Remark(
                f"the flip counter finds {found[step]} flips per layer in step {step + 1}, a comparison of "
                f"the weights finds {expected[step]}: something other than the step changes what "
                f"{_reader(method)} returns",
                line_of(method.rule, method().deploy or method().read),
            )
            return


# --- its steps ---


def learns(method: Method, small: Small = DENSE) -> Iterator[Remark]:
    """In some setting of its ranges the loss falls by its steps alone; a control need not learn."""
    problem: Remark | None = None
    for setting in [] if method.control else in_the_ranges(method):
        training = Training(method(**setting), small)
        training.real.param_groups[0]["lr"] = 0.0
        loss, signs = training.loss_on_unseen_batches(), training.signs()
        stored = [tensor.clone() for tensor in training.stored()]
        after = loss
        while after >= LEARNT * loss and training.steps < 3 * EPOCH:
            for _ in range(EPOCH // 2):
                training.step()
            after = training.loss_on_unseen_batches()
        if after < LEARNT * loss:
            return
        if problem is None or not torch.equal(training.signs(), signs):
            problem = _why_not(method, training, signs, stored)
    if problem is not None:
        yield problem


def _why_not(method: Method, training: Training, signs: Tensor, stored: Sequence[Tensor]) -> Remark:
    """Why a training has not learnt, as far as its tensors show it."""
    rule, step = method(), line_of(method.rule, type(training.weights).step)
    layers = [layer for _, layer in binary_layers(training.model)]
    tried = "in no setting of its ranges"
    if all(layer.weight.grad is None or not layer.weight.grad.any() for layer in layers):
        return Remark(
            "the stored tensors get no gradient: `read` must return something that autograd follows "
            "(optimizers.core.pseudo_gradient)",
            line_of(method.rule, rule.read),
        )
    if not _finite([*training.stored(), *state_tensors(training.weights)]):
        return Remark(
            f"in a training of {training.steps} steps its weights or its state become NaN or infinite", step
        )
    if same(training.stored(), stored):
        return Remark(
            f"{tried} does a step change a stored tensor: does it write into a copy? "
            "`weight.copy_(new)` writes in place, `weight = new` does not",
            step,
        )
    if torch.equal(training.signs(), signs):
        return Remark(f"{tried} does a step flip a weight: stored numbers change, their signs do not", step)
    return Remark(
        f"{tried} does the loss of a small task fall to {LEARNT:.0%} in {3 * EPOCH} steps by the binary "
        "weights alone: is the sign of its update right?",
        step,
    )


def repeats(method: Method) -> Iterator[Remark]:
    """The same start and the same gradients give the same bits, a second time too."""
    for setting in with_each_part(method):
        first, second = (_updated(method, setting) for _ in range(2))
        if not same(*(everything([optimizer], tensors) for optimizer, tensors in (first, second))):
            yield Remark(
                f"{_at(setting)} a second training with the same gradients gives other bits: it holds a "
                "state outside its optimizer, or draws from a stream that the loop does not seed",
                line_of(method.rule, type(first[0]).step),
            )
            return


def _updated(method: Method, setting: Setting) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """An optimizer of the method and its tensors after some steps."""
    rule = method(**setting)
    tensors = start_of(rule)
    optimizer = rule.optimizer(tensors)
    advance([optimizer], tensors, range(STEPS))
    return optimizer, tensors


def repeats_in_a_network(method: Method, small: Small = DENSE) -> Iterator[Remark]:
    """The same images give the same bits, a second time too."""
    trainings = [Training(method(), small) for _ in range(2)]
    losses = [[training.step() for _ in range(3)] for training in trainings]
    if losses[0] != losses[1] or not same(*(training.everything() for training in trainings)):
        yield Remark(
            "a second training on the same images gives other bits: `read` holds a state, or draws from a "
            "stream that the loop does not seed",
            line_of(method.rule, method().read),
        )


def resumes(method: Method) -> Iterator[Remark]:
    """Steps that are continued from a saved state give the same bits as unbroken ones."""
    for setting in with_each_part(method):
        tensors, optimizer = _part_of_training(method, setting, seed=0)
        resumed, continued = _part_of_training(method, setting, seed=1)
        step = line_of(method.rule, type(optimizer).step)
        advance([optimizer], tensors, range(STEPS // 2))
        if kinds := _kinds_that_are_lost(optimizer):
            yield Remark(
                f"{_at(setting)} its state has {kinds}, which torch turns into the type of the weight when "
                "it loads a checkpoint: keep masks and counts in float32",
                step,
            )
            return
        try:
            (state,) = through_a_file(optimizer)
        except Exception as error:
            reason = described(error).splitlines()[0]
            yield Remark(f"{_at(setting)} its state cannot be loaded from a checkpoint: {reason}", step)
            return
        continued.load_state_dict(state)
        for here, there in zip(tensors, resumed, strict=True):
            there.data.copy_(here.data)
        advance([optimizer], tensors, range(STEPS // 2, STEPS))
        advance([continued], resumed, range(STEPS // 2, STEPS))
        if not same(everything([optimizer], tensors), everything([continued], resumed)):
            yield Remark(
                f"{_at(setting)} a resumed training gives other bits: the optimizer forgets something; keep "
                "it in `self.state[weight]` or in a parameter group, which a checkpoint saves",
                step,
            )
            return


def _kinds_that_are_lost(optimizer: torch.optim.Optimizer) -> str:
    """The types of state tensors that `Optimizer.load_state_dict` changes: all but floats and `step`."""
    tensors = [
        tensor
        for state in optimizer.state.values()
        for name, tensor in state.items()
        if isinstance(tensor, Tensor) and name != "step"
    ]
    return ", ".join(sorted({str(each.dtype) for each in tensors if not each.is_floating_point()}))


def resumes_in_a_network(method: Method, small: Small = DENSE) -> Iterator[Remark]:
    """A training that is saved, loaded and resumed gives the same bits as an unbroken one."""
    training, resuming = Training(method(), small), Training(method(), small, seed=2)
    for _ in range(3):
        training.step()
    parts = (resuming.model, resuming.weights, resuming.real)
    states = through_a_file(training.model, training.weights, training.real)
    for part, state in zip(parts, states, strict=True):
        part.load_state_dict(state)
    resuming.steps = training.steps
    losses = [[each.step() for _ in range(3)] for each in (resuming, training)]
    if losses[0] != losses[1] or not same(resuming.everything(), training.everything()):
        yield Remark(
            "a resumed training of a network gives other bits: `read` forgets something; let it be a module "
            "that keeps it in a buffer",
            line_of(method.rule, method().read),
        )


def _part_of_training(
    method: Method, setting: Setting, seed: int
) -> tuple[list[Tensor], torch.optim.Optimizer]:
    rule: WeightRule = method(**setting)
    tensors = start_of(rule, seed)
    return tensors, rule.optimizer(tensors)


def adds_up_parts(method: Method) -> Iterator[Remark]:
    """A gradient that comes in two halves does what the whole gradient does."""
    whole, halves = Training(method()), Training(method())
    for _ in range(5):
        whole.step()
        halves.step(halves=2)
    ends = [[*each.stored(), *state_tensors(each.weights)] for each in (whole, halves)]
    if not same(*ends):
        yield Remark(
            "a batch in two parts gives other weights than the whole batch: it counts reads or gradients, "
            "not steps",
            line_of(method.rule, method().read),
        )


def keeps_float32(method: Method) -> Iterator[Remark]:
    """Under bfloat16 its weights and its state stay float32, finite, and binary when they are deployed."""
    training = Training(method(), FILTERS)
    for _ in range(5):
        training.step(precision="bfloat16")
    tensors = [*training.stored(), *state_tensors(training.weights)]
    step = line_of(method.rule, type(training.weights).step)
    if kinds := sorted({str(tensor.dtype) for tensor in tensors} - {"torch.float32"}):
        yield Remark(f"in a training with bfloat16 its weights or its state are {', '.join(kinds)}", step)
    elif not _finite(tensors):
        yield Remark("in a training with bfloat16 its weights or its state become NaN or infinite", step)


def owns_the_binary_weights(method: Method, small: Small = DENSE) -> Iterator[Remark]:
    """Its optimizer has each binary weight once and nothing else."""
    rule = method()
    network = small.model(small.shape, 4, rule, 0, **small.options)
    try:
        weights, _ = optimizers_of(network, rule, 0.01)
    except ValueError as error:
        yield Remark(str(error), line_of(method.rule, rule.optimizer))
        return
    owned = sorted(id(p) for group in weights.param_groups for p in group["params"])
    if owned != sorted(id(layer.weight) for _, layer in binary_layers(network)):
        yield Remark(
            "its optimizer has other tensors than the binary weights", line_of(method.rule, rule.optimizer)
        )


# --- its hyperparameters ---


def uses_its_hyperparameters(method: Method) -> Iterator[Remark]:
    """Each hyperparameter changes something somewhere in its range, and so does its entry in the groups."""
    searched = {name: hyper.range for name, hyper in method.hypers.items() if not hyper.optional}
    trainings: list[tuple[Setting, list[Tensor]]] = []  # those from which one hyperparameter is changed

    def matters(name: str, *, in_the_groups: bool) -> bool:
        values = [edge[name] for edge in edges({name: method.hypers[name].range})]
        for number, setting in enumerate([{}, *edges(searched)]):
            if number == len(trainings):
                trainings.append((setting, _trained(method, setting)))
            for value in values:
                other = (
                    _trained(method, setting, name, value)
                    if in_the_groups
                    else _trained(method, {**setting, name: value})
                )
                if not same(trainings[number][1], other):
                    return True
        return False

    weights = Training(method()).weights
    for name, hyper in method.hypers.items():
        follows = isinstance(hyper.range, FloatDistribution)  # a schedule, as no whole number or word does
        if not matters(name, in_the_groups=False):
            yield note(
                f"{name} changes nothing in a short training, from one end of its range to the other: "
                "is it used?",
                line_of(method.rule),
            )
        elif (
            follows
            and all(name in group for group in weights.param_groups)
            and not matters(name, in_the_groups=True)
        ):
            yield note(
                f"{name} is an entry of the parameter groups, but a step does not read it there: a schedule "
                "would change nothing",
                line_of(method.rule, type(weights).step),
            )


def _trained(method: Method, setting: Setting, name: str = "", value: Any = 0.0) -> list[Tensor]:
    """All tensors after steps in all phases of a training, with this value in the groups."""
    training = Training(method(**setting))
    for training.steps in IN_TRAINING:
        apply_schedules(training.weights, {name: Linear(value, value)} if name else {}, 0.0)
        training.step()
    with torch.no_grad():
        deployed = [layer.deploy(layer.weight) for _, layer in binary_layers(training.model)]
    return [*training.everything(), *deployed]


# In this order: what one of a stage finds would make those of the next misleading.
STAGES: tuple[tuple[Rule, ...], ...] = (
    (leaves_torch_alone,),
    (works_in_its_ranges, owns_the_binary_weights),
    (describes_itself, deploys_signs, reads_without_effect, repeats, repeats_in_a_network),
    (
        counts_its_flips,
        learns,
        resumes,
        adds_up_parts,
    ),
    (resumes_in_a_network, keeps_float32),
    (uses_its_hyperparameters, refuses_impossible_values),
)
