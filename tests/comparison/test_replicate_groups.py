"""Which runs are replicates of one another, and what each of them counts for."""

import math

import pytest

from clipexp.comparison import Group, groups_of
from tests.comparison.made import TOTAL, record, replicates


def test_runs_of_one_spec_are_one_group_in_the_order_given() -> None:
    found = groups_of([*replicates("b", [2.0, 3.0]), *replicates("a", [1.0])], "val/loss")
    assert [(group.name, group.value_by_seed) for group in found] == [("b", {1: 2.0, 2: 3.0}), ("a", {1: 1.0})]


def test_a_group_has_the_mean_and_the_standard_deviation_of_a_sample() -> None:
    group = Group.of_values("a", "val/loss", {1: 1.0, 2: 2.0, 3: 3.0})
    assert (group.mean, group.sd, group.num_seeds) == (2.0, 1.0, 3)


def test_one_seed_has_no_standard_deviation() -> None:
    assert Group.of_values("a", "val/loss", {1: 1.0}).sd is None


def test_a_run_without_a_group_stands_alone() -> None:
    assert len(groups_of([record(group="", run_id="x"), record(group="", run_id="y")], "val/loss")) == 2


def test_a_repeat_counts_not_at_all_and_is_told() -> None:
    [group] = groups_of([record(run_id="x"), record(loss=9.0, run_id="y", repeat_of="x")], "val/loss")
    assert (group.value_by_seed, group.left_out) == ({1: 2.0}, ("run1-seed-1 repeats run1-seed-1",))


def test_a_repeat_whose_original_is_not_there_counts() -> None:
    [group] = groups_of([record(loss=9.0, run_id="y", repeat_of="x")], "val/loss")
    assert group.value_by_seed == {1: 9.0}


def test_of_two_runs_of_a_seed_the_one_that_finished_counts() -> None:
    cut = record(loss=5.0, status="KILLED", samples_seen=100, run_id="cut-off")
    [group] = groups_of([cut, record(run_id="finished")], "val/loss")
    assert group.value_by_seed == {1: 2.0}
    assert group.left_out == ("run1-seed-1 (cut-off) has the seed of run1-seed-1 (finished)",)


def test_a_run_still_going_is_left_out_and_told() -> None:
    [group] = groups_of([record(), record(seed=2, status="RUNNING")], "val/loss")
    assert (group.num_seeds, group.left_out) == (1, ("run1-seed-2 still goes on",))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_replicate_is_counted_but_not_averaged(value: float) -> None:
    [group] = groups_of(replicates("a", [1.0, value, 3.0]), "val/loss")
    assert (group.mean, group.num_seeds, group.num_without_value) == (2.0, 2, 1)


def test_a_run_that_failed_came_to_no_value_whatever_stood_there_before() -> None:
    [group] = groups_of([record(), record(seed=2, loss=3.0, status="FAILED", samples_seen=100)], "val/loss")
    assert (group.num_without_value, group.conditions and group.conditions.samples_seen) == (1, (TOTAL,))


def test_a_run_that_lacks_the_metric_came_to_no_value() -> None:
    assert groups_of([record()], "val/loss_block_40")[0].num_without_value == 1


def test_strips_go_to_their_run() -> None:
    [group] = groups_of(replicates("a", [1.0, 2.0]), "val/loss", {"a-2": {"val/loss": (1.5, 2.5)}})
    assert [replicate.strips for replicate in group.replicates] == [None, (1.5, 2.5)]


def test_records_without_curves_give_their_last_values() -> None:
    import dataclasses

    [group] = groups_of([dataclasses.replace(record(), curves={})], "val/loss")
    assert (group.mean, group.conditions and group.conditions.samples_seen) == (2.0, ())
