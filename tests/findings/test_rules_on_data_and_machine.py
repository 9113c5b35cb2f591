"""Rules on the data's order, the validation set and the machine: each with a run in trouble, and one near it."""

import numpy as np
import pytest

from clipexp.track.curves import Series
from tests.findings.plain_runs import (
    AT,
    NUM_POINTS,
    TOTAL,
    VAL_AT,
    fallen,
    line,
    noise,
    plain_run,
    scaled,
    told,
)

EPOCH, SHARD = TOTAL // 8, TOTAL // 32


def _with_pattern(num_points: int, period: int, height: float) -> Series:
    """A falling loss of so many points, on which the same random pattern lies in each period."""
    samples = np.arange(1, num_points + 1) * TOTAL // num_points
    pattern = noise(1000, 7)
    pattern = np.convolve(pattern, np.ones(100) / 10, "same")
    at = samples / TOTAL
    values = 3 * fallen(at) + 0.05 * noise(num_points) + height * pattern[(samples % period) * 1000 // period]
    return Series(samples, np.zeros(num_points), values, np.zeros(num_points))


@pytest.mark.parametrize(("period", "name"), [(EPOCH, "epoch"), (SHARD, "shard")])
@pytest.mark.parametrize("num_points", [400, 1000])
def test_a_loss_with_the_datas_own_period_is_told(period: int, name: str, num_points: int) -> None:
    curves, facts = plain_run(shuffle="none", num_train_pairs=EPOCH, shard_pairs=SHARD)
    curves["train/loss"] = _with_pattern(num_points, period, 0.1)
    finding = told(curves, facts)["loss_periodicity"]
    assert f"the {name} of {period:,} pairs" in finding.claim
    assert finding.settings == ("data.shuffle=full",)


def test_another_period_than_the_datas_is_not_told() -> None:
    curves, facts = plain_run(shuffle="none", num_train_pairs=EPOCH, shard_pairs=None)
    curves["train/loss"] = _with_pattern(1000, round(EPOCH * 0.37), 0.1)
    assert "loss_periodicity" not in told(curves, facts)


def test_no_period_is_found_where_the_data_are_shuffled() -> None:
    curves, facts = plain_run(shuffle="full")
    curves["train/loss"] = _with_pattern(1000, EPOCH, 0.1)
    assert "loss_periodicity" not in told(curves, facts)


def test_a_step_down_at_each_epoch_is_no_period_of_the_datas_order() -> None:
    """As learning by heart gives: pairs that come again are known better."""
    curves, facts = plain_run(shuffle=None)
    epochs = np.floor(AT * 4 - 1e-9)
    curves["train/loss"] = line(3 - 0.5 * epochs + 0.02 * noise(NUM_POINTS))
    assert "loss_periodicity" not in told(curves, facts)


def test_noise_has_no_period_in_all_but_few_of_200_runs() -> None:
    """Half of them with neighbours that lean the same way. The rule's chance is 0.2% a period, and two are tried."""
    spoken = 0
    for seed in range(200):
        curves, facts = plain_run(shuffle=None)
        values = noise(300, seed)
        values = np.convolve(values, np.ones(5) / 2, "same") if seed % 2 else values
        samples = np.arange(1, 301) * TOTAL // 300
        curves["train/loss"] = Series(samples, np.zeros(300), 3 + 0.1 * values, np.zeros(300))
        spoken += "loss_periodicity" in told(curves, facts)
    assert spoken <= 3


@pytest.mark.parametrize(("train_end", "is_told"), [(0.3, True), (3.5, False)])
def test_a_validation_loss_that_turns_is_overfitting_where_training_goes_on_falling(
    train_end: float, is_told: bool
) -> None:
    curves, facts = plain_run()
    curves["val/loss"] = line(3 + 6 * np.square(VAL_AT - 0.5), from_start=True)
    curves["train/loss"] = line(np.maximum(train_end, 4 - 4 * AT))
    found = told(curves, facts)
    assert ("overfitting" in found) == is_told
    if is_told:
        assert found["overfitting"].settings == (f"train.budget.samples={TOTAL // 2}",)
        assert found["overfitting"].evidence.window == (TOTAL // 2, TOTAL)


@pytest.mark.parametrize(("num_pairs", "is_told"), [(100, True), (1024, False)])
def test_a_validation_set_of_100_pairs_is_small(num_pairs: int, is_told: bool) -> None:
    curves, facts = plain_run()
    curves["val/num_pairs"] = line(np.full(len(VAL_AT), num_pairs), from_start=True)
    curves["val/text_to_image_recall_at_1"] = line(np.full(len(VAL_AT), 0.5), from_start=True)
    found = told(curves, facts)
    assert ("small_evaluation" in found) == is_told
    if is_told:  # 1.96 * sqrt(0.5 * 0.5 / 100)
        assert "recall@1 of 50% is known to 10 points either way (95%)" in found["small_evaluation"].claim


def test_strips_tell_how_far_the_loss_is_known() -> None:
    curves, facts = plain_run(strips={"val/loss": (2.0, 3.0, 4.0)})
    del curves["val/num_pairs"]
    finding = told(curves, facts)["small_evaluation"]
    assert finding.evidence.value == 96
    assert finding.evidence.further is not None
    assert finding.evidence.further["loss_reach"] == pytest.approx(1.96 / np.sqrt(3))


@pytest.mark.parametrize(("share", "is_told"), [(0.5, True), (0.15, False)])
def test_waiting_for_data_is_told_where_it_is_a_large_share(share: float, is_told: bool) -> None:
    curves, facts = plain_run()
    curves["system/data_wait_frac"] = line(np.full(NUM_POINTS, share))
    found = told(curves, facts)
    assert ("data_starvation" in found) == is_told
    if is_told:
        assert "50% of its time: 2.0x as fast" in found["data_starvation"].claim


def test_waiting_that_began_in_the_last_half_is_told_of_that() -> None:
    curves, facts = plain_run()
    curves["system/data_wait_frac"] = line(np.where(AT > 0.6, 0.5, 0.0))
    finding = told(curves, facts)["data_starvation"]
    assert "of its last half's time" in finding.claim
    assert finding.evidence.window[0] == TOTAL // 2 + TOTAL // NUM_POINTS


@pytest.mark.parametrize(("end", "is_told"), [(0.4, True), (0.85, False)])
def test_a_rate_that_falls_by_more_than_half_is_told(end: float, is_told: bool) -> None:
    curves, facts = plain_run()
    curves["system/samples_per_s"] = scaled(curves["system/samples_per_s"], 1 - (1 - end) * AT)
    assert ("throughput_falling" in told(curves, facts)) == is_told


def test_a_rate_that_jumps_about_does_not_fall() -> None:
    curves, facts = plain_run()
    curves["system/samples_per_s"] = line(1000 * np.exp(1.5 * noise(12, 4)))
    assert "throughput_falling" not in told(curves, facts)


@pytest.mark.parametrize("metric", ["system/memory_frac", "system/gpu_memory_frac"])
@pytest.mark.parametrize(("top", "is_told"), [(0.97, True), (0.8, False)])
def test_memory_near_its_limit_is_told(metric: str, top: float, is_told: bool) -> None:
    curves, facts = plain_run()
    curves[metric] = line(np.full(NUM_POINTS, top))
    found = told(curves, facts)
    assert ("memory_near_limit" in found) == is_told
    if is_told:
        assert ("the GPU's" in found["memory_near_limit"].claim) == ("gpu" in metric)
        assert found["memory_near_limit"].settings == ("train.micro_batch=32",)
