"""Whether the best learning rate moved with the batch size, and as far as theory has it.

    found = lr_against_batch(evidence)
    found.exponent, found.interval   # best max_lr goes as batch_size ** exponent

With Adam's updates the learning rate that serves goes as the square root of the batch size (Malladi 2022, arXiv
2205.10287); with plain SGD as the batch size itself (Goyal 2017, arXiv 1706.02677).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipexp.study.evidence import StudyEvidence
from clipexp.study.insight import ranked

LR, BATCH = "optim.max_lr", "train.batch_size"
EXPECTED = 0.5
MIN_TRIALS = 12  # twice the surface's six coefficients
NUM_RESAMPLES = 1000
MIN_BENT = 0.9  # of the resamples have a valley at all, else the trials say nothing of one


@dataclass(frozen=True)
class Tradeoff:
    """The best max_lr goes as batch_size ** exponent, by a surface through so many finished trials; 95% interval."""

    exponent: float
    interval: tuple[float, float]
    num_trials: int

    @property
    def reading(self) -> str:
        """What may be concluded, in words."""
        low, high = self.interval
        if low <= EXPECTED <= high:
            return "as expected" if low > 0 else "in line with the square root, and with no trade at all"
        return "more than expected" if low > EXPECTED else "less than expected" if low > 0 else "not at all as expected"


def lr_against_batch(evidence: StudyEvidence) -> Tradeoff | None:
    """The trade between the two; None where they were not both searched, or the trials don't show a valley.

    A quadratic surface over ln(max_lr) and ln(batch_size) is laid through the objective of the finished trials; where
    it is bent upwards along ln(max_lr), the valley's slope is the exponent. Trials are resampled for the interval.
    """
    if LR not in evidence.spec.search or BATCH not in evidence.spec.search:
        return None
    sign = 1 if evidence.is_minimized else -1
    rows = [trial for trial in ranked(evidence) if trial.value is not None and _has_both(trial.values)]
    points = np.array([[math.log(_number(t.values[LR])), math.log(_number(t.values[BATCH]))] for t in rows])
    goals = np.array([sign * t.value for t in rows if t.value is not None])
    if len(rows) < MIN_TRIALS or len({*points[:, 1].tolist()}) < 3:
        return None
    exponent = _valley(points, goals)
    rng = np.random.default_rng(0)
    drawn = (rng.integers(len(rows), size=len(rows)) for _ in range(NUM_RESAMPLES))
    slopes = [slope for idx in drawn if (slope := _valley(points[idx], goals[idx])) is not None]
    if exponent is None or len(slopes) < MIN_BENT * NUM_RESAMPLES:
        return None
    low, high = np.quantile(slopes, [0.025, 0.975])
    return Tradeoff(exponent, (float(low), float(high)), len(rows))


def _has_both(values: object) -> bool:
    return isinstance(values, dict) and all(_number(values.get(path)) > 0 for path in (LR, BATCH))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _valley(points: NDArray[np.float64], goals: NDArray[np.float64] | Sequence[float]) -> float | None:
    """The slope along which a quadratic surface is lowest in its first coordinate; None where it has no valley."""
    x, y = (points - points.mean(axis=0)).T
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    coefficients, _, rank, _ = np.linalg.lstsq(terms, np.asarray(goals), rcond=None)
    bend, twist = float(coefficients[3]), float(coefficients[5])
    return -twist / (2 * bend) if rank == terms.shape[1] and bend > 0 else None
