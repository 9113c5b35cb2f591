"""The learning rate of a run that goes on from another, at places where it can be calculated in the head."""

from typing import Any

import pytest

from clipexp.spec.run import RunSpec
from clipexp.train.schedule import learning_rate, learning_rate_at
from tests.train.conftest import Runs

# The other run was left at 100 samples of a horizon of 500, so that a ramp of a quarter ends at 100 + 400 / 4 = 200.
PARENT = {"spec_hash": "0" * 12, "samples_seen": 100, "weights_sha256": "0" * 64}


def spec_with(runs: Runs, **schedule: Any) -> RunSpec:
    schedule = {"warmup_frac": 0.25, "min_lr_frac": 0.0, "decay": "constant", **schedule}
    return runs.spec(
        schedule=schedule,
        optim={"max_lr": 1.0},
        continue_from=PARENT,
        train={"budget": {"samples": 500}, "batch_size": 4},
    )


@pytest.mark.parametrize(("samples_seen", "expected"), [(100, 0.2), (125, 0.4), (150, 0.6), (175, 0.8), (200, 1.0)])
def test_a_straight_line_leads_from_the_parent_s_last_rate_to_the_schedule(
    runs: Runs, samples_seen: int, expected: float
) -> None:
    assert learning_rate_at(spec_with(runs), samples_seen, 500, 0.2) == pytest.approx(expected)


@pytest.mark.parametrize("samples_seen", [200, 300, 444, 500])
@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
def test_behind_the_line_it_is_the_schedule_of_the_whole_horizon(runs: Runs, decay: str, samples_seen: int) -> None:
    spec = spec_with(runs, decay=decay)
    assert learning_rate_at(spec, samples_seen, 500, 0.2) == learning_rate(spec.schedule, 1.0, samples_seen / 500)


def test_a_parent_above_the_schedule_comes_down_to_it(runs: Runs) -> None:
    spec = spec_with(runs, decay="linear")  # at 200 of 500: 1 - (0.4 - 0.25) / 0.75 = 0.8
    assert [learning_rate_at(spec, at, 500, 1.0) for at in (100, 150, 200)] == pytest.approx([1.0, 0.9, 0.8])


def test_without_warmup_there_is_no_line(runs: Runs) -> None:
    spec = spec_with(runs, warmup_frac=0.0, decay="linear")
    assert learning_rate_at(spec, 104, 500, 9.0) == pytest.approx(1 - 104 / 500)


def test_a_warmup_over_everything_ends_at_the_peak(runs: Runs) -> None:
    spec = spec_with(runs, warmup_frac=1.0)
    assert [learning_rate_at(spec, at, 500, 0.2) for at in (300, 500)] == pytest.approx([0.6, 1.0])


def test_a_run_on_its_own_follows_its_schedule_alone(runs: Runs) -> None:
    spec = runs.spec(optim={"max_lr": 2.0})
    assert learning_rate_at(spec, 96, 384) == learning_rate(spec.schedule, 2.0, 0.25)


def test_a_parent_s_rate_that_is_missing_is_an_error(runs: Runs) -> None:
    with pytest.raises(ValueError, match="needs that one's last learning rate"):
        learning_rate_at(spec_with(runs), 104, 500)
