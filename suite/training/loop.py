"""The training loop, from a trial to its record: everything that a run does, in order."""

import functools
from collections.abc import Callable

import numpy as np
import torch

from optimizers import METHODS
from suite.data.held import splits_on
from suite.deploy import network_content
from suite.experiment.build import build_network, rule_at, schedules_of
from suite.machine import preemption
from suite.machine.environment import reset_peak_memory
from suite.plugins import own_files
from suite.probes.probe import Found
from suite.records.run import RunFolder
from suite.records.schema import EpochLine, Result
from suite.records.trial import Trial
from suite.training.checkpoint import Checkpoints
from suite.training.evaluate import chance, evaluate, reestimate_batch_norm, scores_of, validation_of
from suite.training.probing import measure_probes, require_one_process
from suite.training.progress import Progress
from suite.training.provenance import environment, merge_environments, pack, unpack
from suite.training.ranks import ALONE, Ranks
from suite.training.result import epoch_loss, flips_of_all_steps, result_of, weights_sha256
from suite.training.step import make_learner, set_progress, training_step

LOOK_EVERY = 100  # steps between looks at the loss: a run that has diverged must not hold its place for long
ASK_EVERY = 10  # steps between two exchanges of several processes about stops, checkpoints, damaged images


def train(
    trial: Trial,
    run: RunFolder,
    device: torch.device,
    *,
    progress: Progress | None = None,
    checkpoint_every: float = 60.0,
    on_epoch: Callable[[EpochLine], None] = lambda line: None,
    ranks: Ranks = ALONE,
    keep_weights: bool = False,
) -> Result:
    """Train a trial, leave the record in `run`, return the result.

    An interrupted run resumes from its last checkpoint, also in the middle of an epoch, and ends with the
    same bits as an unbroken one: every random draw is keyed by (seed, epoch, sample) or, if a method draws,
    by (seed, step), so there is no generator state to lose.

    progress: filled while the run advances, for a caller that needs to know where it failed.
    checkpoint_every: in seconds.
    ranks: the processes that train this trial together. Each of them calls this function, and the first one
        writes the record.
    keep_weights: whether a final run that does not diverge keeps its network in the record.

    Raises StopRequested, once the state is saved, if the process was asked to stop, and RanksError if the
    processes cannot train this trial together.
    """
    require_one_process(trial, ranks.count)
    progress = Progress() if progress is None else progress
    progress.start()
    reset_peak_memory(device)

    # Data, network, and the two optimizers that share it
    settings, is_final = trial.train, trial.stage == "final"
    data = splits_on(device, trial.data, is_final)
    batch_size = min(settings.batch_size, len(data.train))
    batches = data.train.train_batches(
        batch_size,
        seed=trial.seed,
        augment=settings.augment,
        device=device,
        slices=ranks.slices(batch_size, settings.batch_parts),
        damaged=progress.damaged,
    )
    rule = rule_at(trial, progress=0.0)
    learner = make_learner(
        build_network(trial, data.record.shape, data.classes, rule),
        rule,
        trial.real_lr,
        device,
        schedules=schedules_of(trial),
        batch_parts=settings.batch_parts,
        ranks=ranks,
    )
    model, precision = learner.model, settings.precision
    steps_per_epoch, steps = len(batches), len(batches) * settings.epochs

    # Resume from a checkpoint, if there is one
    made_in = environment(device, METHODS[trial.method.name], ranks.count, own_files(trial))
    checkpoints = Checkpoints(
        run.path,
        lambda: {**learner.state_dict(), "progress": progress.state_dict(), "environment": pack(made_in)},
        lambda: f"step {progress.step} of {steps}",
        every=checkpoint_every,
        ranks=ranks,
    )
    if (state := checkpoints.load(progress.notes.append)) is not None:
        made_in = merge_environments(unpack(state["environment"]), made_in)
        learner.load_state_dict(state)
        progress.load_state_dict(state["progress"], device)
        if last := progress.step:  # evaluation and probes read it, also where no step is left to take
            epoch = 1 + (last - 1) // steps_per_epoch
            set_progress(learner.weights, learner.timed, epoch, (last - 1) / steps)
    if ranks.first:
        run.begin(trial, made_in, progress.lines)
    diverged_at = None

    for epoch in range(len(progress.lines) + 1, settings.epochs + 1):
        # One epoch of training
        model.train()
        progress.phase = "training"
        progress.start_epoch()
        first_step = progress.step - (epoch - 1) * steps_per_epoch
        for batch in checkpoints.saved_while_waiting(batches.steps(epoch, first_step)):
            loss, hits = training_step(
                learner,
                batch,
                seed=trial.seed,
                step=progress.step,
                epoch=epoch,
                progress=progress.step / steps,
                precision=precision,
                ranks=ranks,
            )
            progress.add(loss, hits)
            if progress.step % LOOK_EVERY == 0 and not bool(loss.isfinite()):
                break
            if ranks.count == 1 or progress.step % ASK_EVERY == 0:
                stop, due, damaged = ranks.exchange(
                    preemption.requested(), checkpoints.due(), progress.damaged
                )
                progress.damaged |= damaged
                if stop:
                    checkpoints.save_and_stop()
                if due:
                    checkpoints.save()
        progress.phase = "trained"
        train_seconds = progress.seconds_in_epoch
        train_loss, bad_step = epoch_loss(learner, progress.losses)
        if bad_step is not None:
            diverged_at = (epoch - 1) * steps_per_epoch + bad_step
            break

        # The epoch's scores, flips and times
        if ranks.count > 1:
            ranks.agree(weights_sha256(model), "the weights")
            ranks.share_buffers(model)
        with checkpoints.saved_if_stopped():
            val, _ = evaluate(model, data.val, precision, ranks, progress.damaged)
        flips, flips_per_step = learner.flips.end_epoch()
        line = EpochLine(
            epoch=epoch,
            step=progress.step,
            train_loss=train_loss,
            train_top1=int(progress.hits) / (steps_per_epoch * batches.batch_size),
            val_loss=val.loss,
            val_top1=val.top1,
            val_top5=val.top5,
            flips=flips,
            train_seconds=train_seconds,
            seconds=progress.seconds_in_epoch,
        )
        progress.end_epoch(line, flips_per_step)
        if ranks.first:
            run.append_epoch(line)
        on_epoch(line)

    # The end: batch norm if asked for, the scores, the probes, the record
    progress.phase = "trained"
    test = test_correct = None
    probes: dict[str, Found] = {}
    if diverged_at is None:
        stop, due, _ = ranks.exchange(preemption.requested(), checkpoints.due(), set())
        if stop:
            checkpoints.save_and_stop()
        if due:
            checkpoints.save()
        with checkpoints.saved_if_stopped():
            if settings.reestimate_batch_norm:
                reestimate_batch_norm(model, batches.epoch(settings.epochs + 1), precision, ranks)
                val, _ = evaluate(model, data.val, precision, ranks, progress.damaged)
            else:
                val = validation_of(progress.lines[-1])
            if is_final:
                test, correct = evaluate(model, data.test, precision, ranks, progress.damaged)
                test_correct = np.packbits(correct.numpy())
                all_flips = flips_of_all_steps(learner, progress)
                again = functools.partial(batches.epoch, settings.epochs + 1)
                probes = measure_probes(trial, model, data, all_flips, again, progress.damaged)
    else:
        val = chance(data.classes)
        test = val if is_final else None
    progress.damaged |= set().union(*ranks.gather(progress.damaged))
    # The digest covers the flips of every step. Tuning runs, most of a sweep, do not keep the steps: they are
    # nine tenths of a record, and only final runs are drawn.
    per_step = flips_of_all_steps(learner, progress).numpy() if is_final else None
    result = result_of(trial, learner, progress, scores_of(val, test), diverged_at, probes)
    if not ranks.first:
        return result
    kept = None
    if keep_weights and is_final and diverged_at is None:
        kept = network_content(model, trial, data, result.scores, made_in)
    return run.finish(result, progress.lines, per_step, test_correct, kept)
