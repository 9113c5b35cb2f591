"""Thinned curves: few points, but every spike and every gap is among them."""

import numpy as np

from clipexp.plots.thin import thin


def test_few_points_stay_as_they_are() -> None:
    x = np.arange(10.0)
    thinned = thin(x, x**2, 100)
    assert thinned.x.tolist() == x.tolist()
    assert thinned.starts.tolist() == [True] + [False] * 9


def test_a_single_spike_among_many_points_is_kept() -> None:
    x, y = np.arange(100_000.0), np.zeros(100_000)
    y[54_321] = 9.0
    thinned = thin(x, y, 500)
    assert len(thinned.x) <= 1002
    assert thinned.x[thinned.y == 9.0].tolist() == [54_321.0]


def test_the_least_and_the_greatest_of_each_column_are_kept() -> None:
    y = np.random.default_rng(0).normal(0, 1, 10_000)
    thinned = thin(np.arange(10_000.0), y, 10)
    for column in range(10):
        part = y[column * 1000 : (column + 1) * 1000]
        assert {part.min(), part.max()} <= set(thinned.y.tolist())


def test_the_ends_are_kept() -> None:
    x = np.arange(5000.0)
    y = np.sin(x)
    thinned = thin(x, y, 7)
    assert (thinned.x[0], thinned.x[-1]) == (0.0, 4999.0)


def test_a_gap_among_many_points_stays_one() -> None:
    x, y = np.arange(10_000.0), np.ones(10_000)
    y[5000:5100] = np.nan
    thinned = thin(x, y, 100)
    assert int(thinned.starts.sum()) == 2
    assert thinned.x[thinned.starts].tolist()[1] == 5100.0
    assert len(thinned.gaps) in (1, 2)
    assert 5000 <= thinned.gaps[0] < 5100


def test_nothing_and_nothing_finite_are_no_error() -> None:
    assert len(thin(np.zeros(0), np.zeros(0), 5).x) == 0
    nowhere = thin(np.arange(3.0), np.full(3, np.inf), 5)
    assert (len(nowhere.x), nowhere.gaps.tolist()) == (0, [0.0, 1.0, 2.0])
