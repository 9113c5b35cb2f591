"""How far replicates spread: what a comparison's own seeds tell, and what the lab's other groups add.

prior = prior_of(other_groups)            # None where no other group has two seeds
spread = paired_spread(values_a, values_b, prior)
spread.interval(), spread.chance(), spread.told(num_seeds=11)

A seed draws the same first weights and the same order of the data under every spec, so its luck may be shared: the
correlation between two specs at equal seeds was anything up to 0.9 in our replicates. Few seeds don't tell it. So the
spread of a difference is averaged over correlations, each weighted by how well it explains the seeds at hand; three
quarters of the weight stand at none before anything is seen.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clipexp.comparison.group import Group
from clipexp.comparison.verdict import CONFIDENCE, POWER

Floats = NDArray[np.float64]
# Correlations that are thought possible: none, and twelve towards 0.99, evenly in the logarithm of 1 - correlation.
CORRELATIONS: Floats = 1 - np.concatenate([[1.0], np.geomspace(1.0, 0.01, 13)[1:]])
BEFORE: Floats = np.array([0.75, *[0.25 / 12] * 12])
# Weighing correlations by the seeds themselves is a little too sure of itself. By simulation (docs/comparison.md), a
# tail of 4.2% holds 5% at every correlation, from 2 seeds to 15.
PAIRED_TAIL = 0.042 / 0.05
# Specs differ in spread: in our replicates by a factor of 2.5. So what others tell counts as three degrees of freedom
# at most, as four more seeds would; and since it is itself an estimate, a tail of 4.8% holds 5% where specs differ so.
MOST_WEIGHT = 3.0
PRIOR_TAIL = 0.048 / 0.05


@dataclass(frozen=True)
class Prior:
    """The spread over seeds that other specs of the lab had, in one metric (empirical Bayes: Smyth 2004).

    scatter: one run's variance over seeds; of a recall as a share of the squared mean, since recalls lie far apart and
    spread in proportion. weight: for how many degrees of freedom it counts, 3 at most. num_groups: that it rests on.
    """

    metric: str
    scatter: float
    weight: float
    num_groups: int

    def variance(self, values: Sequence[float]) -> float:
        """One run's variance over seeds where values are like these."""
        return self.scatter * _unit(self.metric, statistics.fmean(values)) ** 2


def _unit(metric: str, mean: float) -> float:
    """What a metric's spread is in proportion to."""
    return abs(mean) if "recall" in metric else 1.0


def prior_of(groups: Iterable[Group]) -> Prior | None:
    """What groups that are not being compared tell of the spread over seeds; None where they tell nothing.

    It counts the less, the fewer they are and the more they differ among themselves.

    Args:
        groups: in one metric; those with fewer than two finite values or without any spread are passed over.
    """
    from scipy.special import digamma

    found = [group for group in groups if group.sd]
    if not found:
        return None
    halves = np.array([(group.num_seeds - 1) / 2 for group in found])
    relative = [(group.sd or 0.0) / _unit(group.metric, group.mean or 0.0) for group in found]
    logs = 2 * np.log(relative) - digamma(halves) + np.log(halves)
    own = float(_trigamma(halves).mean())  # what the logarithms vary by where the true spreads are all the same
    least = float(_trigamma(MOST_WEIGHT / 2))
    between = max(least, float(logs.var(ddof=1)) - own) if len(found) > 1 else least
    half = _inverse_trigamma(between * (1 + 1 / len(found)) + own / len(found))
    variance = math.exp(float(logs.mean()) + float(digamma(half)) - math.log(half))
    return Prior(found[0].metric, variance, 2 * half, len(found))


def _trigamma(x: float | Floats) -> Floats:
    """The variance of the logarithm of a gamma variable of shape x, which is Hurwitz's zeta(2, x)."""
    from scipy.special import zeta

    return np.asarray(zeta(2, x), np.float64)


def _inverse_trigamma(value: float) -> float:
    """The x at which trigamma(x) = value, by Newton's method on 1 / trigamma, which is nearly straight (Smyth 2004)."""
    from scipy.special import zeta

    x = 0.5 + 1 / value
    for _ in range(50):
        now = float(_trigamma(x))
        step = now * (1 - now / value) / (-2 * float(zeta(3, x)))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x


@dataclass(frozen=True, eq=False)
class Spread:
    """What is known of a difference of means: Student's t around `mean`, averaged over `weights`.

    errors: the standard error under each correlation. per_seed: the variance of one seed's difference, averaged.
    seed_sd: one run's standard deviation over seeds. tail: see PAIRED_TAIL and PRIOR_TAIL.
    """

    mean: float
    errors: Floats
    weights: Floats
    freedom: float
    per_seed: float
    seed_sd: float
    prior_weight: float
    tail: float
    is_paired: bool

    def chance(self) -> float:
        """How likely a difference so far from 0 is where there is none: two-sided, between 0 and 1."""
        if not self.per_seed:
            return 0.0 if self.mean else 1.0
        return min(1.0, self._beyond(abs(self.mean)) / self.tail)

    def interval(self) -> tuple[float, float]:
        """The difference's 95% interval."""
        if not self.per_seed:
            return self.mean, self.mean
        from scipy.special import stdtrit

        wanted = self.tail * (1 - CONFIDENCE)
        quantile = float(stdtrit(self.freedom, 1 - wanted / 2))
        low, high = quantile * float(self.errors.min()), quantile * float(self.errors.max())
        for _ in range(36 if low < high else 0):
            middle = (low + high) / 2
            low, high = (middle, high) if self._beyond(middle) > wanted else (low, middle)
        return self.mean - high, self.mean + high

    def _beyond(self, distance: float) -> float:
        from scipy.special import stdtr

        return float(2 * self.weights @ stdtr(self.freedom, -distance / self.errors))

    def told(self, num_seeds: int, num_comparisons: int = 1) -> float:
        """The difference that so many seeds each tell in 80% of cases, if seeds go on to spread as they did."""
        from scipy.special import stdtrit

        freedom = max(1.0, 2 * (num_seeds - 1) + self.prior_weight)
        tail = (1 - CONFIDENCE) / num_comparisons * self.tail
        quantiles = stdtrit(freedom, 1 - tail / 2) + stdtrit(freedom, POWER)
        return float(quantiles) * math.sqrt(self.per_seed / num_seeds)

    @classmethod
    def of_prior(cls, a: float, b: float, prior: Prior) -> Self:
        """Of a difference between single seeds: nothing but the prior tells how far they spread."""
        variance = prior.variance([a, b])
        error = np.array([math.sqrt(2 * variance)])
        weight = prior.weight
        return cls(a - b, error, np.ones(1), weight, 2 * variance, math.sqrt(variance), weight, PRIOR_TAIL, False)


def spread_of(a: Sequence[float], b: Sequence[float], prior: Prior | None) -> Spread:
    """The difference between independent groups: the two-sample t with one variance, two seeds each at least."""
    weight = prior.weight if prior else 0.0
    squares = sum((len(values) - 1) * statistics.variance(values) for values in (a, b))
    squares += weight * prior.variance([*a, *b]) if prior else 0.0
    freedom = len(a) + len(b) - 2 + weight
    pooled = squares / freedom
    error = np.array([math.sqrt(pooled * (1 / len(a) + 1 / len(b)))])
    mean = statistics.fmean(a) - statistics.fmean(b)
    tail = PRIOR_TAIL if prior else 1.0
    return Spread(mean, error, np.ones(1), freedom, 2 * pooled, math.sqrt(pooled), weight, tail, False)


def paired_spread(values_a: Sequence[float], values_b: Sequence[float], prior: Prior | None) -> Spread:
    """The difference between groups of the same seeds, in the same order, two at least.

    With a known correlation r and one variance, sum and difference of a pair are independent, and both tell the
    variance: Q(r) / freedom, where Q = SS(a - b) / (2 - 2r) + SS(a + b) / (2 + 2r). A correlation is weighted by the
    likelihood of the seeds' scatter, (1 - r^2)^(-(n - 1) / 2) Q(r)^(-freedom / 2).
    """
    weight = prior.weight if prior else 0.0
    added = weight * prior.variance([*values_a, *values_b]) if prior else 0.0
    a, b = np.asarray(values_a, np.float64), np.asarray(values_b, np.float64)
    num = len(a)
    of_difference, of_sum = (float((num - 1) * both.var(ddof=1)) for both in (a - b, a + b))
    scatter = of_difference / (2 - 2 * CORRELATIONS) + of_sum / (2 + 2 * CORRELATIONS) + added
    freedom = 2 * (num - 1) + weight
    if not scatter.any():
        return Spread(float((a - b).mean()), np.zeros(1), np.ones(1), freedom, 0.0, 0.0, weight, PAIRED_TAIL, True)
    logs = np.log(BEFORE) - (num - 1) / 2 * np.log(1 - CORRELATIONS**2) - freedom / 2 * np.log(scatter)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    per_seed = 2 * (1 - CORRELATIONS) * scatter / freedom
    return Spread(
        mean=float((a - b).mean()),
        errors=np.sqrt(per_seed / num),
        weights=weights,
        freedom=freedom,
        per_seed=float(weights @ per_seed),
        seed_sd=math.sqrt(float(weights @ scatter) / freedom),
        prior_weight=weight,
        tail=PAIRED_TAIL,
        is_paired=True,
    )
