"""How far a difference between very runs rests on which pairs happen to validate.

strips_interval(differences_by_strip)    # 95%, the same each time

A strip is 32 validation pairs that follow one another. Both runs saw the same ones, so strips are paired: resampled are
the strips' differences.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clipexp.comparison.group import Replicate
from clipexp.comparison.verdict import CONFIDENCE

NUM_RESAMPLES = 2000
FEWEST_STRIPS = 8  # fewer say next to nothing on their spread
SEED = (19, 2_000)


def strip_differences(a: Sequence[Replicate], b: Sequence[Replicate]) -> NDArray[np.float64] | None:
    """Mean of a less mean of b over each strip, (strips,); None where not all have the same strips, 8 at least."""
    means = []
    for replicates in (a, b):
        strips = [replicate.strips for replicate in replicates]
        if not strips or any(found is None for found in strips) or len({len(found or ()) for found in strips}) > 1:
            return None
        means.append(np.asarray(strips, np.float64).mean(axis=0))
    same = len(means[0]) == len(means[1]) >= FEWEST_STRIPS
    return means[0] - means[1] if same and np.isfinite(means).all() else None


def strips_interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """The 95% interval of the mean over strips, by percentiles of 2,000 resamples (Efron 1979).

    Widened by sqrt(n / (n - 1)), since resamples of n strips spread less than draws of n new ones.
    """
    num, mean = len(differences), float(differences.mean())
    ends = np.quantile(differences[_drawn(num)].mean(axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    widening = math.sqrt(num / (num - 1))
    return mean + widening * (float(ends[0]) - mean), mean + widening * (float(ends[1]) - mean)


@lru_cache(maxsize=8)
def _drawn(num: int) -> NDArray[np.int64]:
    """Which strips each resample takes, (resamples, num): always the same, so a report's numbers are too."""
    return np.random.default_rng(SEED).integers(num, size=(NUM_RESAMPLES, num))
