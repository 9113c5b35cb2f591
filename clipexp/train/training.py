"""What steps change: model, optimizer, position, and the open logging window.

training = Training(spec, device)
training.step(batch, total)
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from clipexp.data.augment import augment
from clipexp.model.clip import CLIP
from clipexp.model.loss import backward
from clipexp.spec.run import RunSpec
from clipexp.train import checkpoint
from clipexp.train.lane import DeviceBatch
from clipexp.train.optim import make_optimizer
from clipexp.train.schedule import learning_rate_at


class Window:
    """Sums over the steps since the last StepEvent, on the device."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), device=device)
        self.grad_norm = torch.zeros((), device=device)
        self.num_steps = 0
        self.num_timed_steps = 0  # fewer after a resume: the first part was timed by the attempt before
        self.train_s = 0.0
        self.wait_s = 0.0

    def state(self) -> dict[str, float]:
        """The sums as plain data; waits for the device."""
        return {"loss": self.loss.item(), "grad_norm": self.grad_norm.item(), "num_steps": self.num_steps}

    def restore(self, state: Mapping[str, float]) -> None:
        """The inverse of `state`."""
        self.loss.fill_(state["loss"])
        self.grad_norm.fill_(state["grad_norm"])
        self.num_steps = int(state["num_steps"])


def from_parent(parent: checkpoint.TrainState, parent_lr: float) -> checkpoint.TrainState:
    """Where a run begins that goes on from another: its weights, optimizer and place; the rest is fresh.

    parent_lr: the learning rate of the parent's last step there.
    """
    progress: dict[str, Any] = {
        "samples_seen": parent.progress["samples_seen"],
        "best_loss": float("inf"),
        "is_best": False,
        "evaluation_due": True,
        "window": Window(torch.device("cpu")).state(),
        "parent_lr": parent_lr,
    }
    return checkpoint.TrainState(parent.model, parent.optimizer, progress)


class Training:
    """The state that steps change."""

    def __init__(self, spec: RunSpec, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(spec.seed)  # torch.manual_seed would reseed a GPU's too
            self.model = CLIP(spec.model, spec.data.tokenizer.vocab_size)  # drawn on the CPU: the same on every device
        self.model.to(device)
        if spec.optim.frozen is not None:
            self.model.get_submodule(spec.optim.frozen).requires_grad_(False)
        self.optimizer = make_optimizer(self.model.named_parameters(), spec.optim)
        self.window = Window(device)
        self.samples_seen = 0
        self.best_loss = float("inf")
        self.parent_lr: float | None = None  # of a run that goes on from another

    def step(self, batch: DeviceBatch, total: int) -> None:
        """One optimizer step; `total`: samples seen at the run's end."""
        spec = self.spec
        lr = learning_rate_at(spec, batch.end_position, total, self.parent_lr)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        pixels = augment(batch.pixels, spec.data, spec.model.image_size_px, spec.seed, self.samples_seen)
        loss = backward(self._embed, (pixels, batch.tokens), self.model.logit_scale, spec.train.micro_batch)
        max_norm = spec.optim.grad_clip_norm or float("inf")
        grad_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.clamp_logit_scale()
        self.window.loss += loss
        self.window.grad_norm += grad_norm
        self.window.num_steps += 1
        self.window.num_timed_steps += 1
        self.samples_seen = batch.end_position

    def _embed(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.spec.train.precision == "bf16"):
            image_emb, text_emb = self.model(pixels, tokens)
        return image_emb, text_emb

    def not_finite(self) -> str | None:
        """What is no longer finite, if anything; waits for the device."""
        weights = torch.stack([weight.detach().sum() for weight in self.model.parameters()]).sum()
        sums = {"training loss": self.window.loss, "gradient": self.window.grad_norm, "sum of the weights": weights}
        return next((name for name, value in sums.items() if not isfinite(value.item())), None)

    def state(self, *, is_best: bool, evaluation_due: bool) -> checkpoint.TrainState:
        """All that decides the future, as it is now; the tensors are training's own."""
        progress = {
            "samples_seen": self.samples_seen,
            "best_loss": self.best_loss,
            "is_best": is_best,
            "evaluation_due": evaluation_due,
            "window": self.window.state(),
        }
        if self.parent_lr is not None:
            progress["parent_lr"] = self.parent_lr
        return checkpoint.TrainState(self.model.state_dict(), checkpoint.flatten_optimizer(self.optimizer), progress)

    def restore(self, state: checkpoint.TrainState) -> None:
        """Go back to a state."""
        self.model.load_state_dict(dict(state.model))
        checkpoint.restore_optimizer(self.optimizer, state.optimizer)
        self.samples_seen = state.progress["samples_seen"]
        self.best_loss = state.progress["best_loss"]
        self.parent_lr = state.progress.get("parent_lr")
        self.window.restore(state.progress["window"])

    def window_metrics(self, lr: float) -> dict[str, float]:
        """Metrics of the window, which starts anew."""
        window, self.window = self.window, Window(self.device)
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
