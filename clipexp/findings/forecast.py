"""What twice the budget would bring.

forecast = forecast_of(line, lr)
forecast.gain, forecast.low, forecast.high     # how far the loss would fall, in nats

The method: *the next doubling takes off the share that the last one did*, and a fifth more. Learning is counted in S,
the sum of the learning rate over samples, so that a warmup or a decayed end counts for the little that it is. A run of
twice the budget with the same schedule has twice the S at its end, and its rate is as low there. So with the loss L(S)

    gain = 1.2 L(S) (1 - L(S) / L(S / 2))

which is a power law's but for the 1.2. Laws with more to fit (powers and exponentials with an asymptote, resampled in
blocks) were tried on the runs of the corpus's tuning half that were trained again with twice the budget, and told next
to nothing of what came.

The 1.2 and the interval, a factor either way, are from those runs: the logarithm of the true gain over the law's had a
mean of 0.20 and a deviation of 0.47 over 24 runs of 6 settings. Runs of one setting are much alike, so that there are
6 - 1 degrees of freedom. `benchmarks/findings.py` prints how often the interval held on the half that it is not from.
Where a loss is noisy, its noise is added.
"""

import math
from dataclasses import dataclass

import numpy as np

from clipexp.findings.reading import FloatArray, Line
from clipexp.findings.statistics import Z_95, noise_of

MORE = 1.2
FACTOR = 3.3  # exp(2.57 * 0.47): Student's t of 5 degrees of freedom, since runs of one setting are much alike
FEWEST_POINTS = 4
MOST_POINTS = 32


@dataclass(frozen=True)
class Forecast:
    """At the end of twice the budget. level: the loss now; gain: its fall from there, with its 95% interval. nats."""

    level: float
    gain: float
    low: float
    high: float


def learning_done(samples: FloatArray, start: float, lr: Line | None) -> FloatArray:
    """S at each place as a share of the last one's, (points,); without a learning rate it counts as constant."""
    if lr is None or len(lr) < 3 or lr.values.max() <= 0:
        done = samples - start
    else:
        places = np.concatenate([[start], lr.samples.astype(np.float64)])
        rates = np.concatenate([[0.0], lr.values])
        summed = np.concatenate([[0.0], np.cumsum(np.diff(places) * (rates[1:] + rates[:-1]) / 2)])
        done = np.interp(samples, places, summed)
    return np.asarray(done / max(float(done[-1]), 1e-300))


def forecast_of(line: Line | None, lr: Line | None, start: float = 0.0) -> Forecast | None:
    """A loss's forecast for twice the budget.

    Args:
        line: the loss, from its first point past `start` on.
        lr: the learning rate.
        start: samples seen where the run began.

    Returns:
        None where there are too few points, or none in the first half of what was learned.
    """
    if line is None or len(line) < FEWEST_POINTS or line.samples[0] <= start:
        return None
    few = line.thinned(MOST_POINTS)
    done = learning_done(few.samples.astype(np.float64), start, lr)
    if done[0] > 0.5:
        return None
    is_mean = len(line) > MOST_POINTS
    level = float(few.values[-2:].mean()) if is_mean else float(few.values[-1])
    before = float(np.interp(0.5, done, few.values))
    gain = min(MORE * level * (1 - level / before), level) if before > 0 else 0.0
    # few points are validations, whose noise was in the runs that the factor is from
    reach = Z_95 * math.sqrt(2) * noise_of(line.values) / math.sqrt(len(line) / MOST_POINTS) if is_mean else 0.0
    down, up = (abs(gain / FACTOR - gain), abs(gain * FACTOR - gain)) if gain > 0 else (0.0, 0.0)
    return Forecast(level, gain, gain - math.hypot(down, reach), min(gain + math.hypot(up, reach), max(level, gain)))
