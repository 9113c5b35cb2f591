"""Curves as arrays that read as points."""

import numpy as np
import pytest

from clipexp.track.curves import Point, Series

POINTS = [Point(100, 0.5, 3.0, 7), Point(200, 1.0, 2.5, 8), Point(300, 1.5, float("inf"), 9)]


def test_a_series_reads_as_its_points() -> None:
    series = Series.of(POINTS)
    assert list(series) == POINTS
    assert series[-1].value == float("inf")
    assert len(series) == 3
    assert series == POINTS
    assert series != POINTS[:2]


def test_a_slice_is_a_series_of_the_same_numbers() -> None:
    part = Series.of(POINTS)[1:]
    assert isinstance(part, Series)
    assert part.values.tolist() == [2.5, float("inf")]


def test_points_of_a_series_are_plain_numbers() -> None:
    point = Series.of(POINTS)[0]
    assert [type(value) for value in (point.samples_seen, point.epoch, point.value)] == [int, float, float]


def test_what_was_logged_twice_is_there_once_with_the_later_value() -> None:
    series = Series.of([*POINTS, Point(200, 1.0, 2.25, 10)])
    assert series.samples_seen.tolist() == [100, 200, 300]
    assert series.values[1] == 2.25


def test_points_in_any_order_come_out_by_samples_seen() -> None:
    assert Series.of(reversed(POINTS)) == Series.of(POINTS)


def test_a_place_beyond_the_end_is_refused() -> None:
    with pytest.raises(IndexError):
        Series.of(POINTS)[3]


def test_arrays_are_taken_as_they_are() -> None:
    values = np.array([1.0, 2.0])
    assert Series([1, 2], [0.1, 0.2], values, [0, 0]).values is values


def test_a_series_says_what_it_holds() -> None:
    assert repr(Series.of(POINTS[:1])) == f"Series.of([{POINTS[0]!r}])"
    assert not Series.of([])
