"""Statistics of single curves: intervals that hold, noise that is found again, patterns, and the forecast."""

import numpy as np
import pytest

from clipexp.findings.forecast import FACTOR, MORE, forecast_of, learning_done
from clipexp.findings.reading import Line
from clipexp.findings.statistics import mad, moving_mean, noise_of, returning_pattern, running_median, slope_of, t_95


def drawn(values: np.ndarray) -> Line:
    return Line("train/loss", np.arange(1, len(values) + 1) * 10, values)


def correlated(num: int, seed: int, share: float) -> np.ndarray:
    """Noise of which each point holds a share of the one before."""
    fresh = np.random.default_rng(seed).standard_normal(num + 50)
    for place in range(1, num + 50):
        fresh[place] += share * fresh[place - 1]
    return fresh[50:]


def test_the_slope_of_a_straight_line_is_exact() -> None:
    slope = slope_of(drawn(5 - 0.02 * np.arange(50)))
    assert slope is not None
    assert slope.per_sample == pytest.approx(-0.002)
    assert slope.level == pytest.approx(5 - 0.02 * 49)
    assert slope.over(1000) == pytest.approx(-2)
    assert slope.high - slope.low < 1e-9


def test_three_points_have_no_slope() -> None:
    assert slope_of(drawn(np.arange(3.0))) is None
    assert slope_of(None) is None


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_the_interval_of_a_slope_holds_where_neighbours_lean_the_same_way(share: float) -> None:
    """It would hold 71% of the time for a share of 0.6, were each point taken for news of its own."""
    held = 0
    for seed in range(300):
        slope = slope_of(drawn(correlated(60, seed, share)))
        assert slope is not None
        held += slope.low <= 0 <= slope.high
    assert held / 300 >= 0.9


@pytest.mark.parametrize(("degrees", "value"), [(2, 4.303), (5, 2.571), (20, 2.086), (1000, 1.962)])
def test_students_t_is_within_4_percent(degrees: float, value: float) -> None:
    assert t_95(degrees) == pytest.approx(value, rel=0.04)


def test_noise_is_found_again_on_a_slope_and_despite_a_jump() -> None:
    values = 0.1 * np.random.default_rng(0).standard_normal(2000) + np.linspace(9, 1, 2000)
    values[700] += 50
    assert noise_of(values) == pytest.approx(0.1, rel=0.1)
    assert mad(np.random.default_rng(1).standard_normal(4000)) == pytest.approx(1, rel=0.05)
    assert noise_of(np.arange(5.0)) == mad(np.zeros(1)) == 0


def test_running_medians_and_means_by_hand() -> None:
    assert running_median(np.array([1.0, 9, 2, 3, 8]), 3).tolist() == [9.0, 2, 3, 3, 3]
    assert moving_mean(np.array([1.0, 2, 3, 6]), 2).tolist() == [1.5, 2.5, 4.5]


def test_a_pattern_that_returns_is_certain_and_one_that_does_not_is_not() -> None:
    samples = np.arange(300) * 10
    pattern = np.sin(2 * np.pi * samples / 500)
    found = returning_pattern(samples, pattern + 0.1 * correlated(300, 0, 0.0), 500)
    assert found is not None
    assert found.correlation > 0.9
    assert found.chance == 1 / 500
    other = returning_pattern(samples, correlated(300, 1, 0.7), 500)
    assert other is not None
    assert other.chance > 0.01


@pytest.mark.parametrize("period", [20, 1500, 10**9])
def test_there_is_no_pattern_to_see_in_two_points_a_period_or_in_one_period(period: int) -> None:
    assert returning_pattern(np.arange(200) * 10, correlated(200, 0, 0.0), period) is None


def test_learning_done_is_the_sum_of_the_rates() -> None:
    lr = Line("train/lr", np.arange(1, 101), np.full(100, 1e-3))
    samples = np.array([25.0, 50.0, 100.0])
    assert learning_done(samples, 0, None).tolist() == [0.25, 0.5, 1.0]
    assert learning_done(samples, 0, lr) == pytest.approx([0.25, 0.5, 1.0], abs=0.01)
    decayed = Line("train/lr", np.arange(1, 101), np.where(np.arange(100) < 50, 1e-3, 0.0))
    assert learning_done(samples, 0, decayed)[1] == pytest.approx(1, abs=0.02)


def test_a_power_law_is_forecast_to_go_on_by_its_share_and_a_fifth_more() -> None:
    samples = np.arange(1, 21) * 100
    forecast = forecast_of(Line("val/loss", samples, 5 * samples**-0.1), None)
    assert forecast is not None
    level = 5 * 2000**-0.1
    gain = MORE * level * (1 - 2**-0.1)
    assert forecast.gain == pytest.approx(gain, rel=0.01)
    assert forecast.low == pytest.approx(gain / FACTOR, rel=0.01)
    assert forecast.high == pytest.approx(gain * FACTOR, rel=0.01)


def test_a_forecast_never_takes_more_than_there_is() -> None:
    forecast = forecast_of(Line("val/loss", np.arange(1, 11) * 10, np.exp(-np.arange(10.0))), None)
    assert forecast is not None
    assert 0 < forecast.low < forecast.gain <= forecast.high <= forecast.level


def test_a_flat_noisy_loss_is_forecast_to_stay_with_its_noise() -> None:
    values = 2 + 0.1 * np.random.default_rng(0).standard_normal(400)
    forecast = forecast_of(Line("train/loss", np.arange(1, 401) * 10, values), None)
    assert forecast is not None
    assert forecast.low < 0 < forecast.high
    assert abs(forecast.gain) < 0.15


def test_there_is_no_forecast_from_few_points_or_from_the_end_alone() -> None:
    assert forecast_of(None, None) is None
    assert forecast_of(Line("val/loss", np.arange(1, 4), np.ones(3)), None) is None
    assert forecast_of(Line("val/loss", np.arange(80, 101), np.ones(21)), None) is None
