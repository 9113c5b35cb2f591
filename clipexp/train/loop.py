"""The training loop: a generator of events, which knows no tracker, no console and no files but its checkpoints.

    state = recover(folder, spec_hash).state
    for event in train(spec, table, device, hooks, state):
        ...

Everything is counted in samples seen. Between two steps it polls `hooks.stop` for a reason to end early. Metrics are
summed on the device and read once a logging window, so that no step waits for the host. Checkpoints are written behind
training; where that fails, training waits for room (see `pause`).
"""

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from clipexp.data.loader import Loader
from clipexp.data.table import PairTable
from clipexp.errors import DivergedError, StoreError
from clipexp.events import (
    CheckpointEvent,
    EndEvent,
    EvalEvent,
    Event,
    Example,
    FaultEvent,
    PauseEvent,
    StepEvent,
    StopReason,
)
from clipexp.model.clip import CLIP
from clipexp.spec.run import RunSpec, total_samples
from clipexp.track import checkpoint_names
from clipexp.train import checkpoint
from clipexp.train.checkpoint import TrainState
from clipexp.train.checkpoint_writer import CheckpointWriter, Written
from clipexp.train.feed import Feed
from clipexp.train.memory import telling_exhaustion
from clipexp.train.pause import cannot_write, pause
from clipexp.train.training import Training

# Yields events, and returns why the run is to end here, if it is.
Part = Generator[Event, None, StopReason | None]


@dataclass(frozen=True)
class Evaluation:
    """What one pass over the frozen validation gives; `loss` is what `best` is chosen by."""

    loss: float
    metrics: Mapping[str, float]
    examples: tuple[Example, ...] = ()
    strips: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Hooks:
    """What the loop is given from outside.

    evaluate: the frozen validation; None if it was cut short because a stop was asked for. stop: a reason to end now,
    or None. checkpoints: the folder for this run's. spec_hash: the run's identity, kept in every checkpoint.
    before_publish: called by the writing thread right before a checkpoint gets its name, so that what was recorded can
    be made durable first. annotate: what the caller keeps in every checkpoint's progress, asked for with its state.
    """

    evaluate: Callable[[CLIP], Evaluation | None]
    stop: Callable[[], StopReason | None]
    checkpoints: Path
    spec_hash: str
    before_publish: Callable[[], None] = _nothing
    annotate: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True)
class _Run:
    """What the parts of the loop share. `total`: samples at the end of the budget."""

    training: Training
    table: PairTable
    total: int
    hooks: Hooks
    writer: CheckpointWriter

    @property
    def epoch(self) -> float:
        return self.training.samples_seen / self.table.num_pairs

    def is_due(self, every: int) -> bool:
        """Whether the last step reached or passed a multiple of `every` samples, or the end."""
        after = self.training.samples_seen
        before = after - self.training.spec.train.batch_size
        return after > 0 and (after == self.total or after // every > before // every)


def train(
    spec: RunSpec, table: PairTable, device: torch.device, hooks: Hooks, resume_from: TrainState | None = None
) -> Iterator[Event]:
    """Train from a state, or from the start.

    Args:
        spec: the run.
        table: the training pairs.
        device: where to compute.
        hooks: evaluation, the way to stop, and where checkpoints go.
        resume_from: what `checkpoint.recover` found, or `from_parent` made of another run's.

    Yields:
        What happens, an EndEvent last. A CheckpointEvent comes once the checkpoint is durable, some steps after what it
        holds; the last one before the EndEvent.

    Raises:
        DivergedError: the loss, its gradient or a weight is not finite (after a FaultEvent).
        StoreError: the prepared set was changed meanwhile (after a FaultEvent).
        MemoryExhaustedError: the device has too little memory.
        RunError: the batch is larger than the set.
        CheckpointError: a checkpoint could not be written for ten minutes (after PauseEvents).
    """
    with telling_exhaustion(spec.train):
        training = Training(spec, device)
        loader = Loader(table, spec.data, spec.train.batch_size, spec.seed)
        if resume_from is not None:
            training.restore(resume_from)
        with CheckpointWriter(hooks.checkpoints, hooks.spec_hash, spec.train.keep_last, hooks.before_publish) as writer:
            run = _Run(training, table, total_samples(spec, table.num_pairs), hooks, writer)
            try:
                reason = yield from _from_state(run, loader, resume_from)
            except StoreError as error:
                yield FaultEvent(training.samples_seen, str(error))
                raise
            yield EndEvent(training.samples_seen, reason or "finished")


def _from_state(run: _Run, loader: Loader, resume_from: TrainState | None) -> Part:
    """First the evaluation that is still due, then step by step."""
    training, cadence = run.training, run.training.spec.train
    if resume_from is None or resume_from.progress.get("evaluation_due", False):
        save = run.is_due(cadence.checkpoint_every_samples)
        reason = yield from _evaluate_and_save(run, evaluate=True, save=save)
        if reason is None and resume_from is not None and not run.writer.is_busy:
            # else a kill before the next checkpoint would have the evaluation done, and recorded, once more
            reason = yield from _save(run, is_best=False)
        if reason is not None:
            return reason
    num_left = (run.total - training.samples_seen) // cadence.batch_size
    # Its threads end however this ends. A step is done with its pictures before the next batch is taken, as it must be.
    with closing(Feed(loader, training.device, training.samples_seen, num_left)) as batches:
        return (yield from _steps(run, batches))


def _steps(run: _Run, batches: Feed) -> Part:
    """Step by step to the end of the budget, or to a reason to stop."""
    training, cadence = run.training, run.training.spec.train
    while training.samples_seen < run.total:
        if (reason := (yield from _take_written(run))) is not None:
            return reason
        if (reason := run.hooks.stop()) is not None:
            yield from _require_finite(training)
            yield from _save_last(run, evaluation_due=False)
            return reason
        start_s = time.perf_counter()
        training.step(next(batches), run.total)
        log, evaluate, save = (
            run.is_due(every)
            for every in (cadence.log_every_samples, cadence.eval_every_samples, cadence.checkpoint_every_samples)
        )
        if log:
            training.window.wait_s = batches.waited_s()
            if training.device.type == "cuda":
                torch.cuda.synchronize()
        training.window.train_s += time.perf_counter() - start_s
        if log or evaluate or save:
            yield from _require_finite(training)
        if log:
            lr = float(training.optimizer.param_groups[0]["lr"])
            yield StepEvent(training.samples_seen, run.epoch, training.window_metrics(lr))
        if (reason := (yield from _evaluate_and_save(run, evaluate=evaluate, save=save))) is not None:
            return reason
    return (yield from _finish_writing(run))


def _require_finite(training: Training) -> Iterator[Event]:
    if (what := training.not_finite()) is None:
        return
    message = f"the {what} is not finite at {training.samples_seen:,} samples"
    yield FaultEvent(training.samples_seen, message)
    remedy = f"lower optim.max_lr (now {training.spec.optim.max_lr}) or lengthen schedule.warmup_frac"
    raise DivergedError(f"{message}; {remedy}", training.samples_seen)


def _evaluate_and_save(run: _Run, *, evaluate: bool, save: bool) -> Part:
    """What is due behind a step; every best is saved, but for the untrained model."""
    training = run.training
    is_best = False
    if evaluate:
        result = run.hooks.evaluate(training.model)
        if result is None:
            reason = run.hooks.stop() or "interrupted"
            yield from _save_last(run, evaluation_due=True)
            return reason
        is_best = result.loss < training.best_loss and training.spec.train.keep_best and training.samples_seen > 0
        training.best_loss = min(training.best_loss, result.loss)
        yield EvalEvent(training.samples_seen, run.epoch, result.metrics, result.examples, result.strips)
    if save or is_best:
        return (yield from _save(run, is_best=is_best))
    return None


def _save(run: _Run, *, is_best: bool, evaluation_due: bool = False) -> Part:
    """Have the state written behind training, once the one before it is.

    Invariant: all that is to be recorded at this position (its StepEvent, its EvalEvent unless that is still due) was
    yielded before this is called. Who resumes keeps the records up to the checkpoint's position and repeats what is
    behind it, so a checkpoint that stood before its own points were recorded would lose them.
    """
    if (reason := (yield from _finish_writing(run))) is not None:
        return reason
    state = run.training.state(is_best=is_best, evaluation_due=evaluation_due)
    run.writer.begin(dataclasses.replace(state, progress={**run.hooks.annotate(), **state.progress}))
    return None


def _save_last(run: _Run, *, evaluation_due: bool) -> Iterator[Event]:
    """Save before a stop, unless this very state stands saved. A full disk does not keep a run from stopping."""
    yield from _finish_writing(run, stopping=True)
    if not _is_saved(run, evaluation_due=evaluation_due):
        yield from _save(run, is_best=False, evaluation_due=evaluation_due)
        yield from _finish_writing(run, stopping=True)


def _is_saved(run: _Run, *, evaluation_due: bool) -> bool:
    folder = run.hooks.checkpoints / checkpoint_names.name_at(run.training.samples_seen)
    return folder.exists() and checkpoint.read_meta(folder)["progress"].get("evaluation_due", False) == evaluation_due


def _finish_writing(run: _Run, *, stopping: bool = False) -> Part:
    """Wait until nothing is left to write; returns why the run is to end if that was asked for in a pause."""
    while run.writer.is_busy:
        run.writer.wait()
        if (reason := (yield from _take_written(run, stopping=stopping))) is not None:
            return reason
    return None


def _take_written(run: _Run, *, stopping: bool = False) -> Part:
    """Tell of a checkpoint that was written meanwhile; if it could not be, wait for room, unless we are stopping."""
    outcome = run.writer.take()
    if outcome is None:
        return None
    if isinstance(outcome, Written):
        yield _event(outcome)
        return None
    samples_seen = run.training.samples_seen
    if stopping:
        yield PauseEvent(samples_seen, cannot_write(run.writer, outcome, "the run ends without it"))
        run.writer.give_up()
        return None
    ended = yield from pause(run.writer, outcome, run.hooks.stop, samples_seen)
    if not isinstance(ended, Written):
        return ended
    yield _event(ended)
    return None


def _event(written: Written) -> CheckpointEvent:
    return CheckpointEvent(written.samples_seen, str(written.folder), written.is_best)
