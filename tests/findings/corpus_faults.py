"""Faults that are put into drawn curves: each changes a run's points in place.

points = drawn(shape, rng)
spikes(shape, points, rng)
"""

import math
from collections.abc import Callable

import numpy as np

from tests.findings.corpus_shapes import START_SCALE, Points, Shape, Values, progress, val_name

Rng = np.random.Generator
Fault = Callable[[Shape, Points, Rng], None]


def _late(shape: Shape, start: float, width: float) -> Values:
    """From 0 to 1 around a share of the budget."""
    return np.asarray(1 / (1 + np.exp(-(progress(shape) - start) / width)))


def memory_filling(shape: Shape, points: Points, rng: Rng) -> None:
    """Memory fills up to nearly all of the machine's, at once or little by little."""
    values = points["system/memory_frac"][1]
    end = rng.uniform(0.965, 0.995)
    speed = rng.choice([0.5, 1.0, 20.0])
    values[:] = end * (1 - 0.5 * np.exp(-(0.2 + speed) * 12 * progress(shape)))


def gpu_memory_full(shape: Shape, points: Points, rng: Rng) -> None:
    """The accelerator's memory is nearly full from the first window on."""
    samples, values = points["system/memory_frac"]
    points["system/gpu_memory_frac"] = (
        samples,
        np.clip(rng.uniform(0.968, 0.99) + 0.002 * rng.random(len(values)), 0, 1),
    )


def not_a_number(shape: Shape, points: Points, rng: Rng) -> None:
    """Some windows' loss and norm are not numbers, and training goes on."""
    at = rng.integers(shape.num_points // 5, shape.num_points - 2, size=int(rng.integers(1, 4)))
    points["train/loss"][1][at] = np.nan
    points["train/grad_norm"][1][at] = np.nan


def infinite_at_last(shape: Shape, points: Points, rng: Rng) -> None:
    """The gradient gets infinite, and then all is not a number: the run is cut there."""
    cut = int(rng.integers(shape.num_points // 3, shape.num_points - 3))
    points["train/grad_norm"][1][cut] = np.inf
    points["train/loss"][1][cut + 1 :] = np.nan
    points["train/grad_norm"][1][cut + 1 :] = np.nan
    end = points["train/loss"][0][min(cut + 4, shape.num_points - 1)]
    for name, (at, values) in list(points.items()):
        points[name] = (at[at <= end], values[at <= end])


def starving(shape: Shape, points: Points, rng: Rng) -> None:
    """Most of the time goes to waiting, all along or in bursts."""
    waits = points["system/data_wait_frac"][1]
    level = rng.uniform(0.5, 0.85)
    burst = 1 + 0.15 * np.sin(2 * np.pi * rng.uniform(3, 12) * progress(shape))
    waits[:] = np.clip(level * burst + 0.04 * rng.standard_normal(len(waits)), 0, 0.97)
    points["system/samples_per_s"][1][:] *= 1 - waits


def slowing(shape: Shape, points: Points, rng: Rng) -> None:
    """The speed falls, by a step or little by little."""
    end = rng.uniform(0.25, 0.5)
    width = rng.choice([0.004, 0.15])
    points["system/samples_per_s"][1][:] *= 1 - (1 - end) * _late(shape, rng.uniform(0.4, 0.6), width)


def spikes(shape: Shape, points: Points, rng: Rng) -> None:
    """Isolated jumps of the loss of half a nat and more, and back within some windows."""
    loss, norm = points["train/loss"][1], points["train/grad_norm"][1]
    for at in rng.choice(np.arange(len(loss) // 8, len(loss) - 8), size=int(rng.integers(2, 7)), replace=False):
        height = rng.uniform(0.8, 2.5)
        fade = np.exp(-np.arange(4) / rng.uniform(0.3, 1.2))
        loss[at : at + 4] += height * fade
        norm[at : at + 4] *= 1 + 2 * height * fade


def exploding(shape: Shape, points: Points, rng: Rng) -> None:
    """From a place on the norm grows by one to three orders of magnitude, and the loss goes up with it."""
    rise = _late(shape, rng.uniform(0.4, 0.75), rng.uniform(0.01, 0.05))
    points["train/grad_norm"][1][:] *= 10 ** (rng.uniform(1.4, 3.0) * rise)
    loss = points["train/loss"][1]
    loss += rise * (math.log(shape.batch_size) * rng.uniform(0.8, 1.1) - loss)
    _follow(shape, points, rise)


def _follow(shape: Shape, points: Points, rise: Values) -> None:
    """Let the validation go back to chance with the training loss."""
    at, values = points[val_name(shape)]
    share = np.interp(at / shape.total, progress(shape), rise)
    values += share * (math.log(shape.num_val) * 1.01 - values)


def vanishing(shape: Shape, points: Points, rng: Rng) -> None:
    """Soon the gradient is next to nothing, the loss at chance and all embeddings alike."""
    drop = _late(shape, rng.uniform(0.04, 0.3), rng.uniform(0.005, 0.02))
    points["train/grad_norm"][1][:] *= 10 ** (-rng.uniform(3.5, 6) * drop)
    loss = points["train/loss"][1]
    chance = math.log(shape.batch_size)
    loss += drop * (chance + 0.003 * rng.standard_normal(len(loss)) - loss)
    _follow(shape, points, drop)
    _alike(shape, points, drop)
    _scale_stays(shape, points, drop)


def _scale_stays(shape: Shape, points: Points, drop: Values) -> None:
    scale = points["train/logit_scale"][1]
    scale += drop * (START_SCALE * 0.97 - scale)


def _alike(shape: Shape, points: Points, drop: Values, sides: tuple[str, ...] = ("image", "text")) -> None:
    for side in sides:
        at, values = points[f"val/{side}_similarity"]
        values += np.interp(at / shape.total, progress(shape), drop) * (0.9995 - values)


def captions_collapse(shape: Shape, points: Points, rng: Rng) -> None:
    """One tower's embeddings become one, in the midst of training, and the loss goes back to chance."""
    drop = _late(shape, rng.uniform(0.2, 0.6), rng.uniform(0.01, 0.04))
    loss = points["train/loss"][1]
    loss += drop * (math.log(shape.batch_size) + 0.01 * rng.standard_normal(len(loss)) - loss)
    points["train/grad_norm"][1][:] *= 1 - 0.8 * drop
    _follow(shape, points, drop)
    _alike(shape, points, drop, (str(rng.choice(["image", "text"])),))
    _scale_stays(shape, points, drop)


def clamped(shape: Shape, points: Points, rng: Rng) -> None:
    """The logit scale grows to 100 and stays there."""
    scale = points["train/logit_scale"][1]
    grown = START_SCALE * np.exp(np.linspace(0, 1, len(scale)) * math.log(100 / START_SCALE) / rng.uniform(0.35, 0.8))
    scale[:] = np.minimum(grown, 100.0)


def falling_scale(shape: Shape, points: Points, rng: Rng) -> None:
    """The logit scale falls to a half of its start and below, and stays there."""
    scale = points["train/logit_scale"][1]
    end = rng.uniform(1.5, 7.0)
    scale[:] = end + (START_SCALE - end) * np.exp(-progress(shape) / rng.uniform(0.05, 0.25))
    scale *= 1 + 0.003 * rng.standard_normal(len(scale))


def periodic(shape: Shape, points: Points, rng: Rng) -> None:
    """The loss goes up and down with the epoch, by the order of the data: a wave or a saw."""
    samples, loss = points["train/loss"]
    place = samples / shape.num_train_pairs % 1
    wave = np.sin(2 * np.pi * place) if rng.random() < 0.5 else 2 * place - 1
    loss *= 1 + rng.uniform(0.12, 0.3) * wave


def noisy(shape: Shape, points: Points, rng: Rng) -> None:
    """The loss fluctuates strongly to the end: that of validation by 0.15 to 0.4 nats."""
    loss = points["train/loss"][1]
    loss *= np.exp(rng.uniform(0.25, 0.5) * rng.standard_normal(len(loss)))
    values = points[val_name(shape)][1]
    values[1:] += rng.uniform(0.2, 0.4) * rng.standard_normal(len(values) - 1)


def overfitted(shape: Shape, points: Points, rng: Rng) -> None:
    """From a third or half of the budget on the validation loss rises, by 0.5 to 2 nats."""
    at, values = points[val_name(shape)]
    values += rng.uniform(0.8, 2.4) * np.clip(at / shape.total - rng.uniform(0.25, 0.5), 0, 1) ** 1.2


def logged_twice(shape: Shape, points: Points, rng: Rng) -> None:
    """A resumed run logged a stretch twice, and the second time counts; its values differ by rounding."""
    for name, (at, values) in list(points.items()):
        again = at[(at > 0.5 * shape.total) & (at < 0.62 * shape.total)]
        rows = np.flatnonzero(np.isin(at, again))
        points[name] = (np.concatenate([at, at[rows]]), np.concatenate([values, values[rows] * (1 + 1e-4)]))


def without(*names: str) -> Fault:
    """Leave out metrics, as runs from elsewhere do."""

    def fault(shape: Shape, points: Points, rng: Rng) -> None:
        for name in names:
            del points[name]

    return fault
