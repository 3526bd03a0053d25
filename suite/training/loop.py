"""The training loop: from a trial to its record. Everything that a run does stands here, in order."""

import contextlib
import hashlib
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from optimizers import METHODS
from optimizers.core import Timed, WeightRule
from suite.data.feed import steps_of, train_batches
from suite.data.held import splits_on
from suite.experiment.schedules import apply_schedules, tell_time, value_at
from suite.experiment.trial import Trial, build_network, rule_at
from suite.machine import preemption
from suite.machine.environment import environment, peak_memory, reset_peak_memory
from suite.machine.preemption import Preempted
from suite.machine.random_keys import seed_draws
from suite.models.blocks.layers import binary_layers
from suite.records.files import canonical, digest
from suite.records.run import RunFolder
from suite.training.checkpoint import load_checkpoint, save_checkpoint
from suite.training.evaluate import chance, evaluate, reestimate_batch_norm
from suite.training.flips import FlipCounter
from suite.training.precision import autocast
from suite.training.ranks import ALONE, Ranks, gradients_stay_here, only_the_first_part_counts

OnEpoch = Callable[[dict[str, Any]], None]
LOOK_EVERY = 100  # steps between looks at the loss: a run that has diverged must not hold its place for long
ASK_EVERY = 10  # steps after which several processes tell each other of what only one may know


def train(
    trial: Trial,
    run: RunFolder,
    device: torch.device,
    checkpoint_every: float = 60.0,
    on_epoch: OnEpoch = lambda line: None,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Train as the trial says, leave the record in `run`, return the result.

    A run that was interrupted goes on from its last checkpoint, also in the middle of an epoch, and ends with
    the same bits as an unbroken one: every random draw is keyed by (seed, epoch, sample) or, if a method
    draws, by (seed, step), so there is no generator state to lose.
    `checkpoint_every` is in seconds; `on_epoch` is shown every finished epoch. With several `ranks` each of
    them calls this, and all but the first with a run folder that does not write. Preempted if the process was
    asked to stop, once the state is saved.
    """
    started = time.perf_counter()
    reset_peak_memory(device)

    # Data, network, and the two optimizers that share it
    data = splits_on(device, canonical(trial.data), trial.stage == "final")
    rule, schedules = rule_at(trial, progress=0.0)
    model = build_network(trial, data.record["shape"], data.classes, rule).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights, real = optimizers_of(model, rule, value_at(trial.real["lr"], 0.0))
    real_schedules = {"lr": trial.real["lr"]} if isinstance(trial.real["lr"], dict) else {}
    settings = trial.train
    parts, batch_size = settings["batch_parts"], min(settings["batch_size"], len(data.train.labels))
    damaged: set[str] = set()  # images that cannot be decoded
    batches = train_batches(
        data.train,
        batch_size,
        seed=trial.seed,
        augment=settings["augment"],
        device=device,
        slices=ranks.slices(batch_size, parts),
        damaged=damaged,
    )
    network = ranks.train_together(model, parts)
    steps_per_epoch, epochs, precision = len(batches), settings["epochs"], settings["precision"]
    steps = steps_per_epoch * epochs
    flips = FlipCounter(model, device)
    timed = [module for module in model.modules() if isinstance(module, Timed)]

    # Where the run stands
    lines: list[dict[str, Any]] = []
    flips_per_step: list[Tensor] = []
    step, losses, correct = 0, [], torch.zeros((), dtype=torch.int64, device=device)
    here = {**environment(device, METHODS[trial.method]), "processes": ranks.count}
    state = checkpoint_for_all(run, ranks)
    where = here if state is None else went_on(json.loads(state["environment"]), here)
    run.begin(trial.as_dict(), where)
    seconds_before = seconds_in_epoch = 0.0
    if state is not None:
        model.load_state_dict(state["model"])
        weights.load_state_dict(state["weights"])
        real.load_state_dict(state["real"])
        flips.load_state_dict(state["flips"])
        lines, flips_per_step = json.loads(state["lines"]), state["flips_per_step"]
        step, losses = state["step"], list(state["losses"].to(device))
        correct += state["correct"]
        damaged.update(state["damaged"])
        seconds_before, seconds_in_epoch = state["seconds"], state["seconds_in_epoch"]
    run.keep_epochs(lines)
    checkpointed = epoch_started = time.perf_counter()
    diverged_at = None

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "weights": weights.state_dict(),
            "real": real.state_dict(),
            "flips": flips.state_dict(),
            "flips_per_step": flips_per_step,
            "lines": json.dumps(lines),
            "step": step,
            "losses": torch.stack(losses) if losses else torch.zeros(0),
            "correct": correct,
            "damaged": sorted(damaged),
            "environment": json.dumps(where),
            "seconds": seconds_before + time.perf_counter() - started,
            "seconds_in_epoch": seconds_in_epoch + time.perf_counter() - epoch_started,
        }
        if ranks.first:
            save_checkpoint(run.path, state)
        nonlocal checkpointed
        checkpointed = time.perf_counter()

    def is_due() -> bool:
        return time.perf_counter() - checkpointed >= checkpoint_every

    @contextlib.contextmanager
    def saved_if_stopped() -> Iterator[None]:
        try:
            yield
        except Preempted:
            save()
            raise Preempted(stopped_at(step, steps)) from None

    for epoch in range(len(lines) + 1, epochs + 1):
        # One epoch of training. Losses and hits stay on the device until it is over.
        epoch_started = time.perf_counter()
        model.train()
        for batch in steps_of(batches, epoch, step - (epoch - 1) * steps_per_epoch):
            apply_schedules(weights, schedules, step / steps)
            apply_schedules(real, real_schedules, step / steps)
            tell_time(weights, timed, epoch, step / steps)
            weights.zero_grad()
            real.zero_grad()
            loss = torch.zeros((), device=device)
            hits = torch.zeros((), dtype=torch.int64, device=device)
            for part, (x, labels) in enumerate(batch):
                seed_draws(device, trial.seed, "step", step)  # the same in each part of a batch
                last = part == len(batch) - 1
                with only_the_first_part_counts(model, part), gradients_stay_here(network, last):
                    with autocast(device, precision):
                        logits = network(x)
                        loss_of_part = F.cross_entropy(logits, labels) / len(batch)
                    loss_of_part.backward()
                loss += loss_of_part.detach()
                hits += (logits.detach().argmax(1) == labels).sum()
            weights.step()
            real.step()
            flips.count()
            losses.append(ranks.mean(loss))
            correct += ranks.sum(hits)
            run.step = step = step + 1
            if step % LOOK_EVERY == 0 and not bool(losses[-1].isfinite()):
                break
            if ranks.count == 1 or step % ASK_EVERY == 0:
                stop, due, names = ranks.hear(preemption.requested(), is_due(), damaged)
                damaged |= names
                if stop or due:
                    save()
                if stop:
                    raise Preempted(stopped_at(step, steps))

        # Did it diverge? A sign hides what has become of a latent weight or an average: look at them too.
        loss_of_step = torch.stack(losses).tolist()
        train_seconds = seconds_in_epoch + time.perf_counter() - epoch_started
        bad = next((n for n, value in enumerate(loss_of_step, 1) if not math.isfinite(value)), None)
        tensors = [*model.parameters(), *state_tensors(weights), *state_tensors(real)]
        if bad is None and not all(bool(tensor.isfinite().all()) for tensor in tensors):
            bad = len(losses)
        if bad is not None:
            diverged_at = (epoch - 1) * steps_per_epoch + bad
            break

        # What the epoch has brought
        if ranks.count > 1:
            ranks.agree(weights_sha256(model), "the weights")
        ranks.share_buffers(model)
        with saved_if_stopped():
            scores, _ = evaluate(model, data.val, "val", precision, ranks, damaged)
        counts, per_step = flips.end_epoch()
        flips_per_step.append(per_step)
        line = {
            "epoch": epoch,
            "step": step,
            "train_loss": statistics.fmean(loss_of_step),
            "train_top1": int(correct) / (steps_per_epoch * batches.batch_size),
            **scores,
            "flips": counts,
            "train_seconds": train_seconds,
            "seconds": seconds_in_epoch + time.perf_counter() - epoch_started,
        }
        lines.append(line)
        run.append_epoch(line)
        on_epoch(line)
        losses.clear()
        correct.zero_()
        seconds_in_epoch = 0.0

    # The end: batch norm if asked for, the scores, the record
    epoch_started = time.perf_counter()
    if diverged_at is None:
        if is_due():
            save()
        with saved_if_stopped():
            if settings["reestimate_batch_norm"]:
                reestimate_batch_norm(model, batches.epoch(epochs + 1), precision, ranks)
            scores, _ = evaluate(model, data.val, "val", precision, ranks, damaged)
            if trial.stage == "final":
                test_scores, right = evaluate(model, data.test, "test", precision, ranks, damaged)
                scores |= test_scores
                run.write_array("test_correct.npy", np.packbits(right.numpy()))
    else:
        scores = chance(data.classes, "val")
        if trial.stage == "final":
            scores |= chance(data.classes, "test")
    no_flips = torch.zeros(0, len(flips.names), dtype=torch.int32)
    per_step = torch.cat(flips_per_step) if flips_per_step else no_flips
    run.write_array("flips.npz", per_step.numpy())
    result = what_repeats(model, weights, real, flips, lines, scores, diverged_at)
    if names := sorted(set().union(*ranks.gather(damaged))):
        result["damaged_images"] = names
        run.notes.append(f"{len(names)} images could not be decoded and were plain grey, first {names[0]}")
    without_times = [{k: v for k, v in line.items() if "seconds" not in k} for line in lines]
    result["digest"] = digest(
        {
            "trial": trial.as_dict(),
            "result": result,
            "epochs": without_times,
            "flips": _sha256(per_step),
            "weights": weights_sha256(model),
        }
    )
    result["seconds"] = seconds_before + time.perf_counter() - started
    per_step_ms = [1000 * line["train_seconds"] / steps_per_epoch for line in lines]
    result["step_milliseconds"] = statistics.median(per_step_ms) if per_step_ms else None
    result["peak_memory_bytes"] = peak_memory(device)
    run.keep_epochs(lines)  # once more, whole and flushed: the result vouches for them
    return run.finish(result)


def stopped_at(step: int, steps: int) -> str:
    """What to say of a run that was told to stop."""
    return f"stopped after step {step} of {steps}, and saved"


def checkpoint_for_all(run: RunFolder, ranks: Ranks) -> dict[str, Any] | None:
    """The state to go on from. The first process reads it before the others: it sets damaged ones aside."""
    state = load_checkpoint(run.path, run.notes.append) if ranks.first else None
    ranks.gather(None)
    if not ranks.first:
        state = load_checkpoint(run.path)
    ranks.agree(state and state["step"], f"the checkpoint in {run.path}, which all of them must see")
    return state


def what_repeats(
    model: nn.Module,
    weights: Optimizer,
    real: Optimizer,
    flips: FlipCounter,
    lines: list[dict[str, Any]],
    scores: dict[str, float],
    diverged_at: int | None,
) -> dict[str, Any]:
    """The part of a result that the same trial gives again, bit for bit; the rest are measurements."""
    binary = sum(flips.weights)
    stored = sum(layer.weight.nbytes for _, layer in binary_layers(model))
    result: dict[str, Any] = {
        "status": "done" if diverged_at is None else "diverged",
        "epochs": len(lines),
        "steps": lines[-1]["step"] if lines else 0,
        "scores": scores,
        "layers": [{"name": n, "weights": w} for n, w in zip(flips.names, flips.weights, strict=True)],
        "binary_weights": binary,
        "real_parameters": sum(p.numel() for group in real.param_groups for p in group["params"]),
        "bytes_per_binary_weight": {
            "stored": stored / binary,
            "optimizer": sum(tensor.nbytes for tensor in state_tensors(weights)) / binary,
        },
    }
    if diverged_at is not None:
        result["diverged_at_step"] = diverged_at
    return result


def optimizers_of(model: nn.Module, rule: WeightRule, real_lr: float) -> tuple[Optimizer, Adam]:
    """The method's optimizer for the binary weights, Adam for every other trainable parameter.

    ValueError unless each trainable parameter has exactly one owner.
    """
    binary = [layer.weight for _, layer in binary_layers(model)]
    owned = {id(weight) for weight in binary}
    real = [p for p in model.parameters() if p.requires_grad and id(p) not in owned]
    weights = rule.optimizer(binary)
    adam = Adam(
        [{"params": real}], lr=real_lr, eps=1e-7, foreach=True
    )  # betas 0.9 and 0.999; eps as in Keras
    claimed = [
        id(p) for optimizer in (weights, adam) for group in optimizer.param_groups for p in group["params"]
    ]
    trainable = [id(p) for p in model.parameters() if p.requires_grad]
    if sorted(claimed) != sorted(trainable):
        raise ValueError("a parameter has no optimizer or two: every trainable parameter needs exactly one")
    return weights, adam


def went_on(before: dict[str, Any], here: dict[str, Any]) -> dict[str, Any]:
    """The environment of a resumed run: this one, and the ones that it began in if they were others."""
    earlier = before.pop("earlier", [])
    if before != here:
        earlier = [*earlier, before]
    return {**here, "earlier": earlier} if earlier else here


def state_tensors(optimizer: Optimizer) -> list[Tensor]:
    """All tensors in an optimizer's state."""
    return [v for state in optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]


def weights_sha256(model: nn.Module) -> str:
    """A hash of all effective binary weights and all real parameters."""
    tensors = [layer.binary_weight() > 0 for _, layer in binary_layers(model)]
    stored = {id(layer.weight) for _, layer in binary_layers(model)}
    return _sha256(*tensors, *(p.detach() for p in model.parameters() if id(p) not in stored))


def _sha256(*tensors: Tensor) -> str:
    content = hashlib.sha256()
    for tensor in tensors:
        content.update(tensor.cpu().contiguous().numpy().tobytes())
    return content.hexdigest()
