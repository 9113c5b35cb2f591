"""Forecasts that can be checked by hand."""

import math
from pathlib import Path

import pytest

from clipexp.spec.load import resolve
from clipexp.spec.study import HyperbandSpec, MedianSpec, NoPrunerSpec, PrunerSpec, SuccessiveHalvingSpec
from clipexp.study import forecast as module
from clipexp.study.forecast import Forecast, duration, forecast, least_share, prior_of_trial
from tests.small import small_content

PRIOR = Forecast(10.0, 20.0, num_workers=2, basis="by 1 earlier run")


def test_equal_durations_leave_no_doubt() -> None:
    found = forecast(12, [30.0, 30.0, 30.0], None, num_workers=2)
    assert found == Forecast(360.0, 360.0, 2, "by 3 trials so far")
    assert found.line() == "about 3 min (0.1 to 0.1 hours of training; by 3 trials so far)"


def test_the_interval_is_students_for_a_sum_of_further_draws() -> None:
    # mean 30, standard deviation 2; three further: variance 4 * (3 + 9 / 3) = 24; t with 2 degrees of freedom 4.303
    found = forecast(3, [28.0, 30.0, 32.0], None, num_workers=1)
    assert found is not None
    assert (found.low_s, found.high_s) == pytest.approx((90 - 4.303 * math.sqrt(24), 90 + 4.303 * math.sqrt(24)))
    assert found.line().startswith("69 s to 2 min (")


def test_more_trials_narrow_it_and_a_missing_degree_takes_the_wider_one() -> None:
    widths = []
    for number in (3, 8, 31):
        found = forecast(4, [28.0, 30.0, 32.0] * 10 + [30.0] if number == 31 else [28.0, 32.0] * 4, None, 1)
        if number == 3:
            found = forecast(4, [28.0, 30.0, 32.0], None, 1)
        assert found is not None
        widths.append(found.high_s - found.low_s)
    assert widths == sorted(widths, reverse=True)
    # 8 trials: 7 degrees of freedom, of which the table has 6; standard deviation sqrt(32 / 7)
    assert widths[1] == pytest.approx(2 * 2.447 * math.sqrt(32 / 7) * math.sqrt(4 + 16 / 8))


def test_no_time_is_below_none() -> None:
    found = forecast(100, [1.0, 1.0, 100.0], None, num_workers=1)
    assert found is not None
    assert found.low_s == 0.0


@pytest.mark.parametrize("durations_s", [[], [500.0, 700.0]])
def test_earlier_runs_count_until_three_trials_have_ended(durations_s: list[float]) -> None:
    assert forecast(4, durations_s, PRIOR, 2, confirm_s=5.0) == Forecast(45.0, 85.0, 2, PRIOR.basis)
    assert forecast(4, durations_s, None, 2) is None
    assert forecast(4, [1.0, 1.0, 1.0], PRIOR, 2, confirm_s=5.0) == Forecast(9.0, 9.0, 2, "by 3 trials so far")


@pytest.mark.parametrize(
    ("seconds", "words"), [(45, "45 s"), (99.4, "99 s"), (720, "12 min"), (7140, "119 min"), (12_600, "3.5 h")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("pruner", "share"),
    [
        (NoPrunerSpec(kind="none"), 1.0),
        (MedianSpec(kind="median"), 0.5),
        # of 4 trials all see 250 of 1,000 samples, one the other 750: 1,750 of 4,000
        (SuccessiveHalvingSpec(kind="successive_halving", min_samples=250, reduction=4), 0.4375),
        # of 16 all see 100 of 1,000, 4 another 300, 1 the other 600: 3,400 of 16,000
        (SuccessiveHalvingSpec(kind="successive_halving", min_samples=100, reduction=4), 3400 / 16_000),
        (SuccessiveHalvingSpec(kind="successive_halving", min_samples=2000, reduction=4), 1.0),
        # the brackets that begin at 250 and at 1,000
        (HyperbandSpec(kind="hyperband", min_samples=250, reduction=4), (0.4375 + 1.0) / 2),
        (HyperbandSpec(kind="hyperband", min_samples=2000, reduction=4), 1.0),
    ],
)
def test_what_a_pruner_leaves_at_best(pruner: PrunerSpec, share: float) -> None:
    assert least_share(pruner, 1000) == pytest.approx(share)


def test_what_earlier_runs_tell_of_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [resolve(small_content(Path("store"), batch_size=size)).spec for size in (16, 32, 64)]
    rates = {16: (50.0, 1), 64: (200.0, 2)}  # of 32 nothing is known
    monkeypatch.setattr(module, "cost_key", lambda spec: spec.train.batch_size)
    monkeypatch.setattr(module, "samples_per_s", lambda key, device: rates.get(key) if device == "a CPU" else None)
    found = prior_of_trial(specs, 1000, "a CPU", MedianSpec(kind="median"))
    assert found is not None
    assert (found.low_s, found.high_s) == (1000 / 200 * 0.5, 1000 / 50)
    assert "by 3 earlier run(s)" in found.basis
    assert prior_of_trial(specs, 1000, "another", MedianSpec(kind="median")) is None
