"""Hand-made runs for the rules' tests: a plain one by formulas, and the same with one thing changed.

curves, facts = plain_run()
told(curves | {"train/loss": line([...])}, facts)["loss_spikes"].claim
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipexp.findings import find
from clipexp.findings.finding import Finding, RunFacts
from clipexp.track.curves import Series

NUM_POINTS, NUM_VALIDATIONS, BATCH, WINDOW = 100, 20, 64, 640
TOTAL = NUM_POINTS * WINDOW
FACTS = RunFacts(
    batch_size=BATCH,
    max_lr=1e-3,
    warmup_frac=0.1,
    decay="cosine",
    min_lr_frac=0.1,
    grad_clip_norm=1.0,
    shuffle="full",
    num_train_pairs=TOTAL // 4,
    shard_pairs=TOTAL // 16,
    total_samples=TOTAL,
)
AT = np.arange(1, NUM_POINTS + 1) / NUM_POINTS  # share of the budget at each training point
VAL_AT = np.arange(NUM_VALIDATIONS + 1) / NUM_VALIDATIONS
Values = NDArray[np.float64]


def line(values: ArrayLike, total: int = TOTAL, *, from_start: bool = False) -> Series:
    """Values evenly over the budget; the first at 0 where `from_start`."""
    column = np.asarray(values, np.float64)
    num = len(column)
    samples = np.arange(num) * total // max(1, num - 1) if from_start else np.arange(1, num + 1) * total // max(1, num)
    return Series(samples, np.zeros(num), column, np.zeros(num))


def fallen(at: Values) -> Values:
    """A share of the loss that is still to be learned: all at 0, a twentieth at 1, and nothing to speak of after."""
    return np.asarray(0.05 + 0.95 * np.exp(-8 * at))


def noise(num: int, seed: int = 0) -> Values:
    return np.random.default_rng(seed).standard_normal(num)


def plain_run(**facts: Any) -> tuple[dict[str, Series], RunFacts]:
    """A run in which nothing is wrong, and its facts with some changed."""
    chance, val_chance = math.log(BATCH), math.log(1024)
    rate = np.minimum(AT / 0.1, 0.55 + 0.45 * np.cos(np.pi * np.clip((AT - 0.1) / 0.9, 0, 1)))
    flat = np.ones(NUM_VALIDATIONS + 1)
    training = {
        "train/loss": chance * fallen(AT) * (1 + 0.02 * noise(NUM_POINTS)),
        "train/grad_norm": (3 + 5 * np.exp(-10 * AT)) * np.exp(0.1 * noise(NUM_POINTS, 1)),
        "train/lr": 1e-3 * rate,
        "train/logit_scale": 14.3 + 6 * AT,
        "system/samples_per_s": 1000 * np.exp(0.05 * noise(NUM_POINTS, 2)),
        "system/data_wait_frac": np.full(NUM_POINTS, 0.01),
        "system/memory_frac": np.full(NUM_POINTS, 0.2),
    }
    validation = {
        "val/loss": val_chance * fallen(VAL_AT) + 0.01 * noise(NUM_VALIDATIONS + 1, 3),
        "val/chance_loss": val_chance * flat,
        "val/num_pairs": 1024 * flat,
        "val/image_similarity": 0.05 + 0.8 * fallen(VAL_AT),
        "val/text_similarity": 0.05 + 0.7 * fallen(VAL_AT),
    }
    curves = {name: line(values) for name, values in training.items()}
    curves |= {name: line(values, from_start=True) for name, values in validation.items()}
    return curves, dataclasses.replace(FACTS, **facts)


def told(curves: dict[str, Series], facts: RunFacts = FACTS) -> dict[str, Finding]:
    """The findings by their rule."""
    return {finding.rule: finding for finding in find(curves, facts)}


def with_values(series: Series, places: Sequence[int], values: ArrayLike) -> Series:
    """A series with some values changed."""
    changed = series.values.copy()
    changed[list(places)] = values
    return Series(series.samples_seen, series.epoch, changed, series.time_ms)


def scaled(series: Series, factors: ArrayLike) -> Series:
    return Series(series.samples_seen, series.epoch, series.values * np.asarray(factors), series.time_ms)
