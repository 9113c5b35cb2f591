"""Axes: round numbers, as short as they can be read."""

import numpy as np
import pytest

from clipexp.plots.axis import Axis, axis_around, axis_from_zero, log_axis


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        (Axis(0, 7), ["0", "2", "4", "6"]),
        (Axis(0, 1), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Axis(0, 1.1e-3), ["0", "2.5e-4", "5e-4", "7.5e-4", "1e-3"]),
        (Axis(0, 200_000), ["0", "50k", "100k", "150k", "200k"]),
        (Axis(0, 1.2e7), ["0", "2.5M", "5M", "7.5M", "10M"]),
        (Axis(0, 2000), ["0", "500", "1,000", "1,500", "2,000"]),
        (Axis(-0.3, 0.3), ["-0.2", "0", "0.2"]),
        (Axis(0.01, 10_000, is_log=True), ["0.01", "1", "100", "1e4"]),
    ],
)
def test_ticks_are_round_numbers(axis: Axis, labels: list[str]) -> None:
    assert [label for _, label in axis.ticks()] == labels


def test_a_value_stands_at_its_share() -> None:
    assert float(Axis(0, 10).share(2.5)) == 0.25
    assert float(Axis(1, 100, is_log=True).share(10.0)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "axis", [axis_from_zero(0.0), axis_around(3.0, 3.0), axis_around(0.0, 0.0), log_axis(np.array([5.0]))]
)
def test_an_axis_of_one_value_has_a_length(axis: Axis) -> None:
    assert axis.high > axis.low
    assert axis.ticks()
