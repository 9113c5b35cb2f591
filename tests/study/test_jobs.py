"""Jobs: what a worker is told, smaller micro-batches, and deaths."""

import pytest

from clipexp.spec.load import ResolvedRun, resolve
from clipexp.study.jobs import Job


def job(run: ResolvedRun, batch_size: int = 32, micro_batch: int | None = None) -> Job:
    content = run.spec.model_dump(mode="json")
    content["train"] |= {"batch_size": batch_size, "micro_batch": micro_batch}
    return Job("trial 7", resolve(content), "0123456789ab", {"clipexp.trial": "7"}, number=7)


def test_a_message_is_all_that_a_worker_needs(small_run: ResolvedRun) -> None:
    message = job(small_run).message("sqlite:///mlflow.db")
    assert (message["job"], message["tags"]) == ("trial 7", {"clipexp.trial": "7"})
    assert message["tracking"] == "sqlite:///mlflow.db"
    assert resolve(message["spec"]).spec == small_run.spec


@pytest.mark.parametrize(
    ("batch_size", "micro_batch", "wanted"),
    [
        (32, None, 8),
        (30, None, 6),  # 7 does not divide it
        (7, None, 1),
        (2, None, 1),
        (64, 16, 4),  # a quarter of what it held before
    ],
)
def test_a_quarter_is_held_at_once_as_far_as_the_batch_divides(
    small_run: ResolvedRun, batch_size: int, micro_batch: int | None, wanted: int
) -> None:
    found = job(small_run, batch_size, micro_batch)
    assert found.use_small_batches() == wanted
    train = found.resolved.spec.train
    assert (train.batch_size, train.micro_batch) == (batch_size, wanted)
    assert found.message("")["spec"]["train"]["micro_batch"] == wanted
    assert found.is_shrunk


def test_three_deaths_in_a_row_without_progress_are_enough(small_run: ResolvedRun) -> None:
    found = job(small_run)
    assert [found.die(), found.die(), found.die()] == [False, False, True]


def test_progress_forgives_deaths_and_falling_back_to_a_checkpoint_is_none(small_run: ResolvedRun) -> None:
    found = job(small_run)
    assert not found.die()
    found.samples_seen = 192
    assert not found.die()
    found.samples_seen = 64  # from the checkpoint before, and it came no further than this
    assert not found.die()
    found.samples_seen = 192
    assert found.die()
    found.samples_seen = 193
    assert not found.die()


def test_smaller_batches_are_given_as_many_attempts(small_run: ResolvedRun) -> None:
    found = job(small_run)
    assert [found.die(), found.die(), found.die()] == [False, False, True]
    found.use_small_batches()
    assert [found.die(), found.die(), found.die()] == [False, False, True]


def test_seconds_are_those_of_earlier_launches_and_since_it_began(small_run: ResolvedRun) -> None:
    found = job(small_run)
    found.prior_s = 10.0
    assert found.seconds(105.0) == 10.0
    found.begun_s = 100.0
    assert found.seconds(105.0) == 15.0
