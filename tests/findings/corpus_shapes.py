"""Synthetic curves: a plain run by formulas, on which recipes put faults.

    outcome = drawn(Shape(num_points=120), rng)

The noise is that of the real runs, measured on 64 plain ones in their second half, around a running mean of 15 windows
(and the validation loss around a line). A window's training loss scatters by 0.59 of its value over the root of the
window's pairs (middle half 0.36 to 0.84); the logarithm of the gradient norm by 0.34 over the root of its steps (0.27
to 0.42); that of the speed by 0.18 (0.13 to 0.23); the validation loss by 0.04 nats (0.025 to 0.053). The training loss
is not correlated from window to window (-0.06 in the median).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.findings.corpus_runs import Outcome

LOSS_NOISE, NORM_NOISE, SPEED_NOISE, VAL_NOISE = 0.59, 0.34, 0.18, 0.04
START_SCALE = 14.3
Values = NDArray[np.float64]
Points = dict[str, tuple[NDArray[np.int64], Values]]


@dataclass(frozen=True)
class Shape:
    """A run without a fault.

    num_points: logging windows. floor: where the training loss goes, as a share of chance; power, half: it falls as
    `(1 + samples / (half * total)) ** -power`. val_gap: how much higher the validation loss ends, as a share of what
    training gained. norm: the gradient's at the start, norm_end: its share at the end. scale_end: the logit scale's
    end. speed: samples/s.
    """

    num_points: int = 120
    steps_per_point: int = 4
    num_evals: int = 14
    batch_size: int = 64
    num_val: int = 1024
    num_train_pairs: int = 20_000
    floor: float = 0.1
    power: float = 1.0
    half: float = 0.08
    val_gap: float = 0.1
    norm: float = 8.0
    norm_end: float = 0.3
    scale_end: float = 22.0
    speed: float = 2400.0
    max_lr: float = 1e-3
    warmup_frac: float = 0.05
    decay: str = "cosine"
    min_lr_frac: float = 0.1

    @property
    def total(self) -> int:
        """Samples of the budget."""
        return self.num_points * self.steps_per_point * self.batch_size

    @property
    def window(self) -> int:
        """Pairs of a logging window."""
        return self.steps_per_point * self.batch_size


def progress(shape: Shape) -> Values:
    """The share of the budget at the end of each window."""
    return np.arange(1, shape.num_points + 1) / shape.num_points


def fallen(shape: Shape, at: Values, power: float | None = None) -> Values:
    """How much of the loss is still to be learned, from 1 on down: at shares of the budget."""
    delay = np.clip(at / max(shape.warmup_frac, 1e-9), 0, 1)  # little is learned while the rate is small
    return np.asarray((1 + at * delay / shape.half) ** -(power or shape.power))


def rates(shape: Shape, at: Values) -> Values:
    """The learning rate."""
    after = np.clip((at - shape.warmup_frac) / (1 - shape.warmup_frac), 0, 1)
    share = {"cosine": 0.5 * (1 + np.cos(np.pi * after)), "linear": 1 - after, "constant": np.ones_like(at)}[
        shape.decay
    ]
    down = shape.min_lr_frac + (1 - shape.min_lr_frac) * share
    return np.asarray(shape.max_lr * np.where(at < shape.warmup_frac, at / max(shape.warmup_frac, 1e-9), down))


def drawn(shape: Shape, rng: np.random.Generator) -> Points:
    """The curves of a run without a fault, with the noise of real ones."""
    at = progress(shape)
    samples = np.arange(1, shape.num_points + 1) * shape.window
    chance = math.log(shape.batch_size)
    loss = chance * (shape.floor + (1.04 - shape.floor) * fallen(shape, at))
    loss *= 1 + LOSS_NOISE / math.sqrt(shape.window) * rng.standard_normal(len(at)) * np.clip(1 - loss / chance, 0.1, 1)
    norm = shape.norm * (shape.norm_end + (1 - shape.norm_end) * fallen(shape, at))
    norm *= np.exp(NORM_NOISE / math.sqrt(shape.steps_per_point) * rng.standard_normal(len(at)))
    scale = START_SCALE + (shape.scale_end - START_SCALE) * (1 - fallen(shape, at, 0.6)) / (
        1 - fallen(shape, at, 0.6)[-1]
    )
    speed = shape.speed * np.exp(rng.uniform(0.3, 1.2) * SPEED_NOISE * rng.standard_normal(len(at)))
    memory = rng.uniform(0.05, 0.5) * (1 + 0.02 * (1 - np.exp(-8 * at)))
    points: Points = {
        "train/loss": (samples, loss),
        "train/grad_norm": (samples, norm),
        "train/lr": (samples, rates(shape, at)),
        "train/logit_scale": (samples, scale),
        "system/samples_per_s": (samples, speed),
        "system/data_wait_frac": (samples, rng.uniform(0.002, 0.04) * rng.gamma(4, 0.25, len(at))),
        "system/memory_frac": (samples, memory),
    }
    return points | _validated(shape, rng)


def _validated(shape: Shape, rng: np.random.Generator) -> Points:
    at = np.linspace(0, 1, shape.num_evals + 1)
    samples = np.round(at * shape.num_points).astype(np.int64) * shape.window
    chance = math.log(shape.num_val)
    end = shape.floor + shape.val_gap * (1 - shape.floor)
    left = fallen(shape, at)
    loss = chance * (end + (1.03 - end) * left)
    loss += VAL_NOISE * rng.uniform(0.4, 1.2) * rng.standard_normal(len(at)) * (1 - left)
    recall = np.clip(np.exp(-1.1 * loss) * (1 + 0.03 * rng.standard_normal(len(at))), 1 / shape.num_val, 1)
    alike = 0.02 + 0.85 * left**2
    return {
        val_name(shape): (samples, loss),
        "val/chance_loss": (samples, np.full(len(at), chance)),
        "val/num_pairs": (samples, np.full(len(at), float(shape.num_val))),
        "val/block_size": (samples, np.full(len(at), float(shape.num_val))),
        "val/text_to_image_recall_at_1": (samples, recall),
        "val/image_to_text_recall_at_1": (samples, np.clip(recall * 1.02, 0, 1)),
        "val/image_similarity": (samples, alike + 0.004 * rng.random(len(at))),
        "val/text_similarity": (samples, alike * 0.9 + 0.004 * rng.random(len(at))),
    }


def val_name(shape: Shape) -> str:
    """The validation loss's name."""
    return "val/loss" if shape.num_val == 1024 else f"val/loss_block_{shape.num_val}"


def as_outcome(shape: Shape, points: Points, faults: tuple[str, ...] = ()) -> Outcome:
    """The curves in the form of a real run's."""
    lists = {name: (at.tolist(), values.tolist()) for name, (at, values) in points.items()}
    return Outcome(lists, {}, list(faults), shape.num_train_pairs, shape.total)
