"""How often the comparison errs in small simulations, and that the strips' bootstrap covers what it should."""

import time

import numpy as np
import pytest

from clipexp.comparison import Group, compare, prior_of
from clipexp.comparison.bootstrap import strips_interval

NUM, SEEDS = 400, range(1, 6)


def rate(correlation: float, difference: float, first_seed: int = 1, *, has_prior: bool = False) -> float:
    """How often b, worse by so many standard deviations, is told from a, each with 5 seeds."""
    rng = np.random.default_rng(7)
    told = 0
    for _ in range(NUM):
        a, own = rng.normal(size=(2, 5))
        b = correlation * a + np.sqrt(1 - correlation**2) * own + difference
        past = [Group.of_values("p", "val/loss", dict(zip(SEEDS, rng.normal(size=5), strict=True))) for _ in range(4)]
        group_a = Group.of_values("a", "val/loss", dict(zip(SEEDS, a, strict=True)))
        group_b = Group.of_values("b", "val/loss", dict(zip(range(first_seed, first_seed + 5), b, strict=True)))
        told += compare(group_a, group_b, prior=prior_of(past) if has_prior else None).verdict != "not distinguishable"
    return told / NUM


# 5% of 400 draws come out at up to 7.5% in 99 of 100 simulations.
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_a_winner_among_equals_is_told_in_5_percent_at_most(correlation: float) -> None:
    assert rate(correlation, 0.0, has_prior=True) <= 0.075


def test_a_winner_among_equals_of_other_seeds_is_told_in_5_percent() -> None:
    assert 0.02 < rate(0.0, 0.0, first_seed=11) <= 0.075


def test_two_standard_deviations_are_found_without_correlation_in_80_percent() -> None:
    assert rate(0.0, 2.0, first_seed=11, has_prior=True) >= 0.78
    assert rate(0.0, 2.0, has_prior=True) >= 0.77


def test_less_than_one_standard_deviation_is_found_where_seeds_share_their_luck() -> None:
    assert rate(0.95, 0.7) >= 0.6 > 3 * rate(0.0, 0.7)


def test_the_strips_interval_holds_the_truth_in_95_percent() -> None:
    rng = np.random.default_rng(3)
    intervals = [strips_interval(rng.normal(1.0, 0.5, 32)) for _ in range(300)]
    assert 0.91 <= np.mean([low <= 1.0 <= high for low, high in intervals]) <= 0.98


def test_the_strips_interval_is_always_the_same() -> None:
    values = np.linspace(0, 1, 32)
    assert strips_interval(values) == strips_interval(values.copy())


def test_a_bootstrap_takes_less_than_20_ms() -> None:
    values = np.linspace(0, 1, 32)
    strips_interval(values)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        strips_interval(values)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02
