"""Two groups against one another.

compare(half_lr, good_lr).sentence()

Why these tests, and how often they err: docs/comparison.md.
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from clipexp.comparison.bootstrap import strip_differences, strips_interval
from clipexp.comparison.fairness import unfairness
from clipexp.comparison.group import Group, Replicate
from clipexp.comparison.noise import Prior, Spread, paired_spread, prior_of, spread_of
from clipexp.comparison.verdict import (
    CONFIDENCE,
    POWER,
    Difference,
    Direction,
    Unfairness,
    Verdict,
)

MOST_MORE_SEEDS = 20  # what is asked of anybody
Sides = tuple[tuple[Replicate, ...], tuple[Replicate, ...]]


def direction_of(metric: str) -> Direction:
    """Which values are better: `higher` for recalls and throughput, `lower` for losses, ranks and all else."""
    return "higher" if "recall" in metric or "samples_per_s" in metric else "lower"


@dataclass(frozen=True)
class Measured:
    """Two groups held against each other, before a verdict: that depends on how many are compared.

    spread: None where one has fewer than two values. guess: of single seeds, what other groups tell.
    """

    groups: tuple[Group, Group]
    difference: Difference
    spread: Spread | None
    guess: Spread | None

    @property
    def can_be_told(self) -> bool:
        """Whether there is a verdict to be found over seeds."""
        return self.spread is not None and not any(found.forbids_ranking for found in self.difference.unfair)


def compare(a: Group, b: Group, direction: Direction | None = None, prior: Prior | None = None) -> Difference:
    """Group a against group b; all values in the answer are a's less b's.

    Seeds are compared one by one where both groups have them: at least two, and half of the larger group's. A winner is
    told where the 95% interval over seeds leaves 0 out and nothing forbids ranking.

    Args:
        a, b: two groups.
        direction: which values are better; None: as `direction_of` the metric says.
        prior: what other groups of the lab tell of the spread over seeds, never these two; see `prior_of`.
    """
    measured = measure(a, b, prior)
    return judge(measured, direction or direction_of(a.metric), measured.difference.chance, 1)


def measure(a: Group, b: Group, prior: Prior | None) -> Measured:
    """All but the verdict, and what follows from that."""
    sides, is_paired = _sides(a, b)
    values_a, values_b = ([replicate.value for replicate in side] for side in sides)
    spread = _spread(values_a, values_b, prior, is_paired=is_paired)
    has_values = bool(values_a and values_b)
    difference = Difference(
        a=a.name,
        b=b.name,
        metric=a.metric,
        mean=statistics.fmean(values_a) - statistics.fmean(values_b) if has_values else math.nan,
        interval=spread.interval() if spread else None,
        interval_kind=_kind(spread, prior),
        seed_sd=spread.seed_sd if spread else None,
        num_a=len(values_a),
        num_b=len(values_b),
        num_pairs=len(a.value_by_seed.keys() & b.value_by_seed.keys()),
        is_paired=is_paired,
        verdict="not distinguishable",
        chance=spread.chance() if spread else None,
        unfair=(*unfairness(a, b), *_uncounted(a, b, sides)),
    )
    found = prior or prior_of((a, b)) if spread is None and has_values else None
    guess = Spread.of_prior(statistics.fmean(values_a), statistics.fmean(values_b), found) if found else None
    return Measured((a, b), _with_evaluation(difference, sides, a.num_pairs), spread, guess)


def judge(measured: Measured, better: Direction, chance: float | None, num_comparisons: int) -> Difference:
    """The difference with its verdict. chance: corrected for `num_comparisons`, if there are more than one."""
    told = dataclasses.replace(measured.difference, chance=chance, num_comparisons=num_comparisons)
    return _with_more_seeds(_told(told, measured.groups, better), measured.spread or measured.guess)


def _sides(a: Group, b: Group) -> tuple[Sides, bool]:
    """The replicates that count, and whether they are the same seeds in the same order."""
    finite_a, finite_b = ({r.seed: r for r in group.replicates if r.is_finite} for group in (a, b))
    shared = sorted(finite_a.keys() & finite_b.keys())
    if len(shared) >= 2 and 2 * len(shared) >= max(len(finite_a), len(finite_b)):
        return (tuple(finite_a[seed] for seed in shared), tuple(finite_b[seed] for seed in shared)), True
    return (tuple(finite_a.values()), tuple(finite_b.values())), False


def _spread(a: Sequence[float], b: Sequence[float], prior: Prior | None, *, is_paired: bool) -> Spread | None:
    if min(len(a), len(b)) < 2:
        return None
    return paired_spread(a, b, prior) if is_paired else spread_of(a, b, prior)


def _uncounted(a: Group, b: Group, sides: Sides) -> list[Unfairness]:
    """What of the groups is not in the mean: all of a group that came to no value, seeds that only one has."""
    found = []
    if not all(sides):
        empty = [group.name for group, side in zip((a, b), sides, strict=True) if not side]
        found.append(Unfairness("replicates", f"{' and '.join(empty)} came to no finite value", True))
    for group, side in zip((a, b), sides, strict=True):
        if 0 < len(side) < group.num_seeds:
            detail = f"only the {len(side)} seeds that both have count, of {group.name}'s {group.num_seeds}"
            found.append(Unfairness("replicates", detail, False))
    return found


def _kind(spread: Spread | None, prior: Prior | None) -> str:
    if spread is None:
        return "none: one group has a single seed"
    kind = "paired by seed, averaged over correlations" if spread.is_paired else "t of independent seeds, one variance"
    if prior is None:
        return kind
    return f"{kind}, with the spread of {prior.num_groups} other {'group' if prior.num_groups == 1 else 'groups'}"


def _told(difference: Difference, groups: tuple[Group, Group], better: Direction) -> Difference:
    """The difference with its verdict.

    A group that lost more of its replicates on the way is not called better for those that are left.
    """
    if any(found.forbids_ranking for found in difference.unfair):
        return dataclasses.replace(difference, verdict="not comparable")
    if difference.chance is None or difference.chance >= 1 - CONFIDENCE or not difference.mean:
        return difference
    a, b = groups
    is_better = (difference.mean < 0) == (better == "lower")
    winner, loser = (a, b) if is_better else (b, a)
    if winner.num_without_value > loser.num_without_value:
        detail = f"{winner.name} would be better by the seeds that came to a value, but lost more of them on the way"
        lost = Unfairness("replicates", detail, True)
        return dataclasses.replace(difference, verdict="not comparable", unfair=(*difference.unfair, lost))
    verdict: Verdict = "better" if is_better else "worse"
    return dataclasses.replace(difference, verdict=verdict)


def _with_evaluation(difference: Difference, sides: Sides, num_pairs: int | None) -> Difference:
    """The difference with how far it rests on which pairs validate."""
    strips = strip_differences(*sides)
    if strips is None:
        return difference
    low, high = strips_interval(strips)
    is_too_small = low <= 0 <= high
    needed = None
    if is_too_small and num_pairs and difference.mean:
        quantiles = statistics.NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) + statistics.NormalDist().inv_cdf(POWER)
        error = float(strips.std(ddof=1)) / math.sqrt(len(strips))
        needed = max(num_pairs, math.ceil(num_pairs * (quantiles * error / abs(difference.mean)) ** 2))
    return dataclasses.replace(
        difference, evaluation_interval=(low, high), evaluation_is_too_small=is_too_small, pairs_needed=needed
    )


def _with_more_seeds(difference: Difference, spread: Spread | None) -> Difference:
    """The difference with the fewest more seeds that would tell it, or with what 20 more would tell."""
    if spread is None or not spread.per_seed or difference.verdict != "not distinguishable":
        return difference
    now = min(difference.num_a, difference.num_b)
    more = next(
        (k for k in range(1, MOST_MORE_SEEDS) if spread.told(now + k, difference.num_comparisons) <= abs(spread.mean)),
        MOST_MORE_SEEDS,
    )
    told = spread.told(now + more, difference.num_comparisons)
    seed_sd = difference.seed_sd if difference.seed_sd is not None else spread.seed_sd
    return dataclasses.replace(difference, more_seeds=more, tells=told, seed_sd=seed_sd)
