"""The learning rate at places where it can be calculated in the head."""

from typing import Any

import pytest

from clipexp.spec.run import ScheduleSpec
from clipexp.train.schedule import learning_rate


def lr(progress: float, **spec: Any) -> float:
    """With a peak of 1 and a warmup of a fifth unless told."""
    return learning_rate(ScheduleSpec(**{"warmup_frac": 0.2, "min_lr_frac": 0.1, **spec}), 1.0, progress)


@pytest.mark.parametrize(("progress", "expected"), [(0.05, 0.25), (0.1, 0.5), (0.15, 0.75)])
def test_warmup_rises_linearly_from_zero(progress: float, expected: float) -> None:
    assert lr(progress) == pytest.approx(expected)


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup_frac", [0.0, 0.02, 0.2, 1.0])
def test_the_peak_at_the_end_of_warmup_is_exactly_max_lr(decay: str, warmup_frac: float) -> None:
    spec = ScheduleSpec.model_validate({"warmup_frac": warmup_frac, "decay": decay})
    assert learning_rate(spec, 3e-4, warmup_frac) == 3e-4


@pytest.mark.parametrize(("progress", "expected"), [(0.4, 0.1 + 0.9 * 0.853553), (0.6, 0.55), (1.0, 0.1)])
def test_cosine_is_half_way_down_in_the_middle_and_ends_at_min_lr_frac(progress: float, expected: float) -> None:
    assert lr(progress, decay="cosine") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("progress", "expected"), [(0.4, 0.775), (0.6, 0.55), (1.0, 0.1)])
def test_linear_loses_the_same_in_every_part(progress: float, expected: float) -> None:
    assert lr(progress, decay="linear") == pytest.approx(expected)


@pytest.mark.parametrize("progress", [0.2, 0.5, 1.0])
def test_constant_stays_at_the_peak(progress: float) -> None:
    assert lr(progress, decay="constant") == 1.0


def test_without_warmup_the_first_step_is_next_to_the_peak() -> None:
    assert lr(0.001, warmup_frac=0.0, decay="linear") == pytest.approx(0.9991)


@pytest.mark.parametrize(("progress", "expected"), [(0.25, 0.25), (0.999, 0.999), (1.0, 1.0)])
def test_a_warmup_over_the_whole_budget_ends_at_the_peak(progress: float, expected: float) -> None:
    assert lr(progress, warmup_frac=1.0) == pytest.approx(expected)


def test_max_lr_scales_the_whole_curve() -> None:
    spec = ScheduleSpec()
    for progress in (0.01, 0.3, 1.0):
        assert learning_rate(spec, 2.0, progress) == pytest.approx(2 * learning_rate(spec, 1.0, progress))
