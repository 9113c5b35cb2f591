"""Statistics of one noisy curve: its noise, its slope with an interval, jumps out of it, and patterns that return.

slope_of(line).per_sample, slope_of(line).high

Neighbouring points of a curve lean the same way, so an interval that took each for news of its own would be too narrow.
Slopes count a curve of n points, whose residuals correlate by r from one to the next, as n (1 - r) / (1 + r) points.
"""

from dataclasses import dataclass

import numpy as np

from clipexp.findings.reading import FloatArray, IntArray, Line

NORMAL_OF_MAD = 1.4826  # a normal distribution's deviation over its median absolute one
Z_95 = 1.96
T_OF_ONE = 12.7
SEED = 5  # of all resampling here: the same curve gives the same finding
FEWEST_FOR_SLOPE = 4
FEWEST_FOR_NOISE = 8


@dataclass(frozen=True)
class Slope:
    """A straight line's slope, a sample: with its 95% interval. level: its value at the end."""

    per_sample: float
    low: float
    high: float
    level: float

    def over(self, samples: float) -> float:
        """What it comes to over so many samples."""
        return self.per_sample * samples


def mad(values: FloatArray) -> float:
    """A robust standard deviation: from the median absolute deviation. 0 of less than two values."""
    if len(values) < 2:
        return 0.0
    return float(NORMAL_OF_MAD * np.median(np.abs(values - np.median(values))))


def noise_of(values: FloatArray) -> float:
    """The deviation of single points about a smooth curve: from second differences, which have no slope in them."""
    if len(values) < FEWEST_FOR_NOISE:
        return 0.0
    second = values[2:] - 2 * values[1:-1] + values[:-2]
    return float(NORMAL_OF_MAD * np.median(np.abs(second)) / np.sqrt(6))


def lag_correlation(residuals: FloatArray) -> float:
    """Between neighbours, from 0 to 0.9."""
    power = float(residuals @ residuals)
    if len(residuals) < 3 or power <= 0:
        return 0.0
    return float(np.clip(residuals[1:] @ residuals[:-1] / power, 0.0, 0.9))


def slope_of(line: Line | None) -> Slope | None:
    """A least-squares slope; None of less than four points."""
    if line is None or len(line) < FEWEST_FOR_SLOPE:
        return None
    x = line.samples - float(line.samples.mean())
    spread = float(x @ x)
    per_sample = float(x @ line.values) / spread
    mean = float(line.values.mean())
    residuals = line.values - mean - per_sample * x
    correlation = lag_correlation(residuals)
    degrees = max(1.0, len(line) * (1 - correlation) / (1 + correlation) - 2)
    variance = float(residuals @ residuals) / degrees
    reach = t_95(degrees) * np.sqrt(variance / spread)
    level = mean + per_sample * float(x[-1])
    return Slope(per_sample, float(per_sample - reach), float(per_sample + reach), level)


def t_95(degrees: float) -> float:
    """Student's t for a two-sided 95%, within 3% from 2 degrees of freedom on; 12.7 of one or less."""
    return T_OF_ONE if degrees < 1.5 else Z_95 + 2.37 / degrees + 2.8 / degrees**2 + 3.0 / degrees**3.2


def running_median(values: FloatArray, width: int) -> FloatArray:
    """The median of the `width` (odd) points about each, the curve mirrored at its ends. (points,) -> (points,)."""
    half = min(width, len(values) - 1 + len(values) % 2) // 2
    if half < 1:
        return values.copy()
    padded = np.concatenate([values[half:0:-1], values, values[-2 : -half - 2 : -1]])
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)  # type: ignore[no-any-return]


def moving_mean(values: FloatArray, width: int) -> FloatArray:
    """Means of `width` neighbours, (points,) -> (points - width + 1,)."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((total[width:] - total[:-width]) / width)


@dataclass(frozen=True)
class Pattern:
    """How alike a curve is from one period to the next: the mean correlation of periods, and how likely by chance."""

    correlation: float
    chance: float
    num_periods: int
    amplitude: float


NUM_SHIFTS = 499
MOST_PHASES = 32
FEWEST_PHASES = 4
MOST_PERIODS = 48  # the last ones: more tell nothing new, and take time


def returning_pattern(samples: IntArray, values: FloatArray, period: float) -> Pattern | None:
    """What returns with a period, against a null in which each period is turned by a random phase.

    The curve is freed of all that is slower than the period (its moving mean over one), cut into periods, and of each
    its straight line is taken: a step or a slope at each epoch's start, as learning by heart gives, is no pattern in
    the data's order. Turning periods keeps what neighbours have in common, and the noise, and breaks what returns.

    Returns:
        None where there are less than two whole periods, or less than four points in one.
    """
    found = _on_grid(samples, values, period)
    if found is None:
        return None
    on_grid, num_phases = found
    slow = moving_mean(on_grid, num_phases + 1 - num_phases % 2)
    begin = (len(on_grid) - len(slow)) // 2
    rest = on_grid[begin : begin + len(slow)] - slow
    num_periods = min(MOST_PERIODS, len(rest) // num_phases)
    if num_periods < 2:
        return None
    rows = _without_lines(rest[len(rest) - num_periods * num_phases :].reshape(num_periods, num_phases))
    amplitude = float(np.sqrt(np.mean(np.mean(rows, axis=0) ** 2)))
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (norms > 0).all():
        return None
    observed, null = _likenesses(rows / norms)
    chance = (1 + np.count_nonzero(null >= observed)) / (1 + NUM_SHIFTS)
    return Pattern(observed, float(chance), num_periods, amplitude)


def _on_grid(samples: IntArray, values: FloatArray, period: float) -> tuple[FloatArray, int] | None:
    """A curve at so many phases a period, from its first point on, and that number; None of too few points."""
    if len(values) < 2 * FEWEST_PHASES:
        return None
    step = float(np.median(np.diff(samples)))
    num_phases = int(min(MOST_PHASES, period // step)) if step > 0 else 0
    if num_phases < FEWEST_PHASES or samples[-1] - samples[0] < 2 * period:
        return None
    width = period / num_phases
    grid = np.arange(samples[0], samples[-1] + width / 2, width)
    edges = np.searchsorted(samples, grid - width / 2)
    counts = np.diff(np.append(edges, len(samples)))
    if step < width / 2 and counts.min() > 0:  # several points a phase: their means
        return np.add.reduceat(values, edges) / counts, num_phases
    return np.interp(grid, samples, values), num_phases


def _likenesses(rows: FloatArray) -> tuple[float, FloatArray]:
    """The mean correlation of rows with one another, and those of rows turned at random, (NUM_SHIFTS,).

    rows: (periods, phases), norm 1 each. The square of their sum holds each pair twice, and each row with itself.
    """
    num_periods, num_phases = rows.shape
    pairs = num_periods * (num_periods - 1)
    observed = float((np.square(rows.sum(axis=0)).sum() - num_periods) / pairs)
    if observed <= 0:  # half of all curves without a pattern: no null makes one of it
        return observed, np.zeros(NUM_SHIFTS)
    turns = np.random.default_rng(SEED).integers(0, num_phases, (NUM_SHIFTS, num_periods, 1))
    places = (np.arange(num_phases) + turns) % num_phases
    turned = np.take_along_axis(np.broadcast_to(rows, (NUM_SHIFTS, *rows.shape)), places, axis=2)
    return observed, np.asarray((np.square(turned.sum(axis=1)).sum(axis=1) - num_periods) / pairs)


def _without_lines(rows: FloatArray) -> FloatArray:
    """Rows less the straight line through each. (rows, phases)."""
    x = np.arange(rows.shape[1]) - (rows.shape[1] - 1) / 2
    slopes = rows @ x / (x @ x)
    return np.asarray(rows - rows.mean(axis=1, keepdims=True) - slopes[:, None] * x)
