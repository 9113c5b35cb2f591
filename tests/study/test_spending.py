"""Hours spent, by hand: a study's limits against seconds of training and of the study."""

import time

import pytest

from clipexp.spec.study import StudyBudgetSpec
from clipexp.study.spending import Spending


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that is set: `clock[0] = 7200`."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def spending(cores: int = 1, wall_before_s: float = 0.0, **budget: float) -> Spending:
    return Spending(StudyBudgetSpec.model_validate(budget), cores, wall_before_s, begun_s=0.0)


def test_gpu_hours_are_those_of_all_workers_together() -> None:
    spent = spending(gpu_hours=2)
    spent.set_seconds("trial 0", 1800)
    spent.set_seconds("trial 1", 3600)
    assert spent.training_s == 5400
    assert spent.left() == {"gpu_hours": 0.5}
    spent.set_seconds("trial 1", 5400)  # a job's seconds are replaced, not added
    assert spent.left() == {"gpu_hours": 0.0}
    assert spent.is_spent()


def test_an_hour_on_four_cores_is_four_cpu_hours() -> None:
    spent = spending(cores=4, cpu_hours=5)
    spent.set_seconds("trial 0", 3600)
    assert spent.left() == {"cpu_hours": 1.0}
    assert not spent.is_spent()


def test_wall_time_adds_up_over_launches(clock: list[float]) -> None:
    spent = spending(wall_before_s=1800, wall_hours=1)
    clock[0] = 900.0
    assert spent.wall_s == 2700
    assert spent.left() == {"wall_hours": 0.25}
    clock[0] = 1800.0
    assert spent.is_spent()


def test_a_reserve_counts_as_spent_and_is_shared_by_the_workers_on_the_clock() -> None:
    spent = spending(cores=2, gpu_hours=3, cpu_hours=8, wall_hours=2)
    spent.set_seconds("trial 0", 3600)
    assert spent.left(reserve_s=3600, num_workers=2) == {"gpu_hours": 1.0, "cpu_hours": 4.0, "wall_hours": 1.5}
    assert not spent.is_spent(3600, 2)


def test_the_first_limit_that_is_reached_ends_it() -> None:
    spent = spending(cores=2, gpu_hours=3, cpu_hours=2)
    spent.set_seconds("trial 0", 3600)
    assert spent.left() == {"gpu_hours": 2.0, "cpu_hours": 0.0}
    assert spent.is_spent()


def test_a_reserve_takes_half_of_a_limit_at_most() -> None:
    spent = spending(gpu_hours=3)
    spent.set_seconds("trial 0", 3600)
    assert spent.left(reserve_s=100 * 3600) == {"gpu_hours": 0.5}
    spent.set_seconds("trial 0", 5400)
    assert spent.is_spent(reserve_s=100 * 3600)
    assert not spent.is_spent()


def test_trials_alone_are_no_limit_of_hours() -> None:
    spent = spending(trials=3)
    spent.set_seconds("trial 0", 1e9)
    assert spent.left() == {}
    assert not spent.is_spent()
