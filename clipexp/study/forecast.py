"""How long a study will take: by earlier runs before it begins, by its own trials once some have ended.

    forecast(num_left=12, durations_s=[31, 28, 12], prior=None, num_workers=2).line()

The interval is one for the sum of the trials that are left, not for a single one.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from clipexp.spec.run import RunSpec
from clipexp.spec.study import HyperbandSpec, MedianSpec, NoPrunerSpec, PrunerSpec, SuccessiveHalvingSpec
from clipexp.track.summary import cost_key, samples_per_s

MIN_TRIALS = 3  # of which durations tell more than earlier runs
T_QUANTILE_BY_DF = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 8: 2.306, 10: 2.228, 15: 2.131, 30: 2.042}


@dataclass(frozen=True)
class Forecast:
    """Seconds of training that are left, all workers together: an interval of 95%, or the extremes of earlier runs."""

    low_s: float
    high_s: float
    num_workers: int
    basis: str

    def line(self, unit: str = "hours of training", weight: int = 1) -> str:
        """For a person: the time on the clock, and what an hour of training counts as, `weight` in some unit."""
        low, high = (duration(seconds / self.num_workers) for seconds in (self.low_s, self.high_s))
        words = f"about {low}" if low == high else f"{low} to {high}"
        hours = f"{self.low_s / 3600 * weight:.2g} to {self.high_s / 3600 * weight:.2g} {unit}"
        return f"{words} ({hours}; {self.basis})"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def forecast(
    num_left: int, durations_s: Sequence[float], prior: Forecast | None, num_workers: int, confirm_s: float = 0.0
) -> Forecast | None:
    """What is left to train.

    Args:
        num_left: trials.
        durations_s: seconds of those that have ended, the pruned ones too.
        prior: a forecast for one trial from before the study; counts until three have ended.
        num_workers: how many train at once.
        confirm_s: what the confirmation will take, besides.

    Returns:
        None where nothing is known yet.
    """
    n = len(durations_s)
    if n < MIN_TRIALS:
        if prior is None:
            return None
        return Forecast(
            num_left * prior.low_s + confirm_s, num_left * prior.high_s + confirm_s, num_workers, prior.basis
        )
    mean, spread = statistics.fmean(durations_s), statistics.stdev(durations_s)
    # the sum of m further draws, whose mean is itself known from n: variance s^2 (m + m^2 / n)
    half = _t_quantile(n - 1) * spread * math.sqrt(num_left + num_left**2 / n)
    middle = num_left * mean
    basis = f"by {n} trials so far"
    return Forecast(max(0.0, middle - half) + confirm_s, middle + half + confirm_s, num_workers, basis)


def _t_quantile(df: int) -> float:
    """Student's t at 97.5%, from a short table; the next lower df where one is missing, which is the wider interval."""
    return T_QUANTILE_BY_DF[max(known for known in T_QUANTILE_BY_DF if known <= df)]


def prior_of_trial(specs: Sequence[RunSpec], total_samples: int, device: str, pruner: PrunerSpec) -> Forecast | None:
    """What one trial will take, by earlier runs here of the same cost.

    Args:
        specs: trials at the corners of the space, which differ in cost.
        total_samples: of each.
        device: the start of the device's name.
        pruner: what it saves at best is the lower end.
    """
    keys = dict.fromkeys(cost_key(spec) for spec in specs)
    rates = [rate for key in keys if (rate := samples_per_s(key, device)) is not None]
    if not rates:
        return None
    fastest, slowest = max(rate for rate, _ in rates), min(rate for rate, _ in rates)
    num_runs = sum(n for _, n in rates)
    basis = f"by {num_runs} earlier run(s) here of the same cost; the lower end if pruning saves the most it can"
    return Forecast(total_samples / fastest * least_share(pruner, total_samples), total_samples / slowest, 1, basis)


def least_share(pruner: PrunerSpec, total_samples: int) -> float:
    """The share of full trials' samples that a pruner leaves at best.

    Successive halving (Li 2020) trains n trials to r samples, n/k of them on to r*k, and so on to R: of n*R samples,
    n * (r + (r*k - r)/k + ...). Hyperband's brackets begin at r, r*k, ...; their mean counts.
    """
    match pruner:
        case NoPrunerSpec():
            return 1.0
        case MedianSpec():
            return 0.5
        case SuccessiveHalvingSpec():
            return _halving_share(pruner.min_samples, pruner.reduction, total_samples)
        case HyperbandSpec():
            first, shares = pruner.min_samples, []
            while first <= total_samples:
                shares.append(_halving_share(first, pruner.reduction, total_samples))
                first *= pruner.reduction
            return statistics.fmean(shares) if shares else 1.0
        case _:
            assert_never(pruner)


def _halving_share(first: int, reduction: int, total: int) -> float:
    samples, share, seen, rung = 0.0, 1.0, 0, first
    while rung < total:
        samples += share * (rung - seen)
        share, seen, rung = share / reduction, rung, rung * reduction
    return (samples + share * (total - seen)) / total
