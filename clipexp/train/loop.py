"""The training loop: a generator of events, which knows no tracker, no console and no files but its checkpoints.

    for event in train(spec, table, device, hooks):
        ...

Everything is counted in samples seen. Between two steps it polls `hooks.stop` for a reason to end early. Metrics are
summed on the device and read once a logging window, so that no step waits for the host.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import torch

from clipexp.data.augment import augment
from clipexp.data.loader import Batch, Loader
from clipexp.data.store import PairTable
from clipexp.errors import RunError
from clipexp.events import (
    CheckpointEvent,
    EndEvent,
    EvalEvent,
    Event,
    Example,
    FaultEvent,
    StepEvent,
    StopReason,
)
from clipexp.model.clip import CLIP
from clipexp.model.loss import info_nce
from clipexp.spec.run import RunSpec, num_steps
from clipexp.train import checkpoint
from clipexp.train.optim import make_optimizer
from clipexp.train.schedule import learning_rate


@dataclass(frozen=True)
class Evaluation:
    """What one pass over the frozen validation gives; `loss` is what `best` is chosen by."""

    loss: float
    metrics: Mapping[str, float]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Hooks:
    """What the loop is given from outside.

    evaluate: the frozen validation. stop: a reason to end now, or None. checkpoints: the folder for this run's.
    spec_hash: the run's identity, kept in every checkpoint.
    """

    evaluate: Callable[[CLIP], Evaluation]
    stop: Callable[[], StopReason | None]
    checkpoints: Path
    spec_hash: str


class _Window:
    """Sums over the steps since the last StepEvent, on the device."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), device=device)
        self.grad_norm = torch.zeros((), device=device)
        self.num_steps = 0
        self.num_timed_steps = 0  # fewer after a resume: the first part was timed by the attempt before
        self.train_s = 0.0
        self.wait_s = 0.0

    def state(self) -> dict[str, float]:
        return {"loss": self.loss.item(), "grad_norm": self.grad_norm.item(), "num_steps": self.num_steps}

    def restore(self, state: Mapping[str, float]) -> None:
        self.loss.fill_(state["loss"])
        self.grad_norm.fill_(state["grad_norm"])
        self.num_steps = int(state["num_steps"])


class _Training:
    """The state that steps change."""

    def __init__(self, spec: RunSpec, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(spec.seed)  # torch.manual_seed would reseed a GPU's too
            self.model = CLIP(spec.model, spec.data.tokenizer.vocab_size)  # drawn on the CPU: the same on every device
        self.model.to(device)
        self.optimizer = make_optimizer(self.model.named_parameters(), spec.optim)
        self.window = _Window(device)
        self.samples_seen = 0
        self.best_loss = float("inf")

    def step(self, batch: Batch, budget_samples: int) -> None:
        """One optimizer step."""
        spec = self.spec
        lr = learning_rate(spec.schedule, spec.optim.max_lr, batch.end_position / budget_samples)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        pixels = torch.from_numpy(batch.pixels).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        tokens = torch.from_numpy(batch.tokens).to(self.device, non_blocking=True).long()
        pixels = augment(pixels, spec.data.augment, spec.seed, self.samples_seen)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=spec.train.precision == "bf16"):
            image_emb, text_emb = self.model(pixels, tokens)
        loss = info_nce(image_emb, text_emb, self.model.logit_scale)
        loss.backward()  # type: ignore[no-untyped-call]
        max_norm = spec.optim.grad_clip_norm or float("inf")
        grad_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.clamp_logit_scale()
        self.window.loss += loss.detach()
        self.window.grad_norm += grad_norm
        self.window.num_steps += 1
        self.window.num_timed_steps += 1
        self.samples_seen = batch.end_position

    def not_finite(self) -> str | None:
        """What is no longer finite, if anything; waits for the device."""
        weights = torch.stack([weight.detach().sum() for weight in self.model.parameters()]).sum()
        sums = {"training loss": self.window.loss, "gradient": self.window.grad_norm, "sum of the weights": weights}
        return next((name for name, value in sums.items() if not isfinite(value.item())), None)

    def state(self, *, is_best: bool) -> checkpoint.TrainState:
        progress = {
            "samples_seen": self.samples_seen,
            "best_loss": self.best_loss,
            "is_best": is_best,
            "window": self.window.state(),
        }
        return checkpoint.TrainState(self.model.state_dict(), checkpoint.flatten_optimizer(self.optimizer), progress)

    def restore(self, state: checkpoint.TrainState) -> None:
        self.model.load_state_dict(dict(state.model))
        checkpoint.restore_optimizer(self.optimizer, state.optimizer)
        self.samples_seen = state.progress["samples_seen"]
        self.best_loss = state.progress["best_loss"]
        self.window.restore(state.progress["window"])

    def window_metrics(self, lr: float) -> dict[str, float]:
        """Metrics of the window, which starts anew."""
        window, self.window = self.window, _Window(self.device)
        loss = window.loss.item() / window.num_steps
        metrics = {
            "train/loss": loss,
            "train/grad_norm": window.grad_norm.item() / window.num_steps,
            "train/lr": lr,
            "train/logit_scale": self.model.logit_scale.exp().item(),
        }
        if window.train_s > 0:
            metrics["system/samples_per_s"] = window.num_timed_steps * self.spec.train.batch_size / window.train_s
            metrics["system/data_wait_frac"] = window.wait_s / window.train_s
        return metrics


def train(spec: RunSpec, table: PairTable, device: torch.device, hooks: Hooks) -> Iterator[Event]:
    """Train from the newest checkpoint, or from the start.

    Args:
        spec: the run.
        table: the training pairs.
        device: where to compute.
        hooks: evaluation, the way to stop, and where checkpoints go.

    Yields:
        What happens, an EndEvent last.

    Raises:
        RunError: the loss, its gradient or a weight is not finite (after a FaultEvent), or the batch is larger than the
            set.
        CheckpointError: the newest checkpoint can't be used, or one can't be written.
    """
    training = _Training(spec, device)
    loader = Loader(table, spec.data, spec.train.batch_size, spec.seed)
    total = num_steps(spec, table.num_pairs) * spec.train.batch_size
    if not _resume(training, hooks):
        yield from _evaluate(training, table, hooks)
    num_left = (total - training.samples_seen) // spec.train.batch_size
    with closing(loader.batches(training.samples_seen, num_left)) as batches:  # its thread ends however this ends
        yield from _steps(training, table, batches, total, hooks)


def _steps(
    training: _Training, table: PairTable, batches: Iterator[Batch], total: int, hooks: Hooks
) -> Iterator[Event]:
    """Step by step up to `total` samples, or to a reason to stop."""
    cadence = training.spec.train
    while training.samples_seen < total:
        if (reason := hooks.stop()) is not None:
            yield from _require_finite(training)
            yield _save(training, hooks, is_best=False)
            yield EndEvent(training.samples_seen, reason)
            return
        before = training.samples_seen
        start_s = time.perf_counter()
        batch = next(batches)
        waited_s = time.perf_counter()
        training.step(batch, total)
        is_last = training.samples_seen == total
        log, evaluate, save = (
            is_last or training.samples_seen // every > before // every
            for every in (cadence.log_every_samples, cadence.eval_every_samples, cadence.checkpoint_every_samples)
        )
        if log and training.device.type == "cuda":
            torch.cuda.synchronize()
        training.window.wait_s += waited_s - start_s
        training.window.train_s += time.perf_counter() - start_s
        if log or evaluate or save:
            yield from _require_finite(training)
        if log:
            lr = float(training.optimizer.param_groups[0]["lr"])
            epoch = training.samples_seen / table.num_pairs
            yield StepEvent(training.samples_seen, epoch, training.window_metrics(lr))
        is_best = False
        if evaluate:
            best_before = training.best_loss
            yield from _evaluate(training, table, hooks)
            is_best = training.best_loss < best_before and cadence.keep_best
        if save or is_best:
            yield _save(training, hooks, is_best=is_best)
    yield EndEvent(training.samples_seen, "finished")


def _resume(training: _Training, hooks: Hooks) -> bool:
    """Go back to the newest checkpoint; whether there is one."""
    found = checkpoint.newest(hooks.checkpoints)
    if found is None:
        return False
    state = checkpoint.load(found, hooks.spec_hash)
    training.restore(state)
    if state.progress["is_best"]:  # a kill may have come before its copy was made
        checkpoint.keep_as_best(found)
    return True


def _require_finite(training: _Training) -> Iterator[Event]:
    if (what := training.not_finite()) is None:
        return
    message = f"the {what} is not finite at {training.samples_seen:,} samples"
    yield FaultEvent(training.samples_seen, message)
    raise RunError(f"{message}; lower optim.max_lr (now {training.spec.optim.max_lr}) or lengthen schedule.warmup_frac")


def _evaluate(training: _Training, table: PairTable, hooks: Hooks) -> Iterator[Event]:
    result = hooks.evaluate(training.model)
    training.best_loss = min(training.best_loss, result.loss)
    epoch = training.samples_seen / table.num_pairs
    yield EvalEvent(training.samples_seen, epoch, result.metrics, result.examples)


def _save(training: _Training, hooks: Hooks, *, is_best: bool) -> CheckpointEvent:
    folder = hooks.checkpoints / checkpoint.name_at(training.samples_seen)
    if not folder.exists():  # else it is of this very state, and a kill while it is replaced would lose it
        checkpoint.save(folder, training.state(is_best=is_best), hooks.spec_hash)
    if is_best:
        checkpoint.keep_as_best(folder)
    checkpoint.prune(hooks.checkpoints, training.spec.train.keep_last)
    return CheckpointEvent(training.samples_seen, str(folder), is_best)
