"""Rules on training itself: each with a run that has its trouble, and one close by that has not."""

import dataclasses
import math

import numpy as np
import pytest

from clipexp.findings.finding import RunFacts
from clipexp.track.curves import Series
from tests.findings.plain_runs import (
    AT,
    BATCH,
    NUM_POINTS,
    NUM_VALIDATIONS,
    TOTAL,
    VAL_AT,
    fallen,
    line,
    noise,
    plain_run,
    scaled,
    told,
    with_values,
)

CHANCE, VAL_CHANCE = math.log(BATCH), math.log(1024)


def test_nothing_is_said_of_a_plain_run() -> None:
    assert told(*plain_run()) == {}


def test_a_loss_that_is_nan_is_told_with_its_place() -> None:
    curves, facts = plain_run()
    curves["train/loss"] = with_values(curves["train/loss"], [60, 61], np.nan)
    finding = told(curves, facts)["non_finite"]
    place = int(curves["train/loss"].samples_seen[60])
    assert finding.evidence.window[0] == place
    assert f"{place:,} samples" in finding.claim
    assert finding.settings == ("optim.max_lr=0.000333",)


@pytest.mark.parametrize(
    ("fault", "is_told"), [("the gradient is not finite at 640 samples", True), ("the disk was full", False)]
)
def test_a_fault_that_says_so_is_not_finite(fault: str, is_told: bool) -> None:
    curves, facts = plain_run(faults=(fault,))
    assert ("non_finite" in told(curves, facts)) == is_told


@pytest.mark.parametrize(("height", "is_told"), [(1.5, True), (0.3, False)])
def test_a_jump_that_comes_back_is_a_spike_where_it_is_high(height: float, is_told: bool) -> None:
    curves, facts = plain_run()
    loss = curves["train/loss"]
    curves["train/loss"] = with_values(loss, [70], loss.values[70] + height)
    found = told(curves, facts)
    assert ("loss_spikes" in found) == is_told
    if is_told:
        begin, end = found["loss_spikes"].evidence.window
        assert begin < loss.samples_seen[70] < end


def test_a_loss_that_rises_and_stays_is_no_spike() -> None:
    curves, facts = plain_run()
    curves["train/loss"] = with_values(curves["train/loss"], range(70, 100), 2.0)
    assert "loss_spikes" not in told(curves, facts)


@pytest.mark.parametrize(("loss", "is_told"), [(CHANCE, True), (0.3, False)])
def test_small_gradients_have_vanished_only_where_the_loss_is_high(loss: float, is_told: bool) -> None:
    curves, facts = plain_run()
    curves["train/grad_norm"] = with_values(curves["train/grad_norm"], range(40, 100), 1e-3)
    curves["train/loss"] = with_values(curves["train/loss"], range(40, 100), loss)
    found = told(curves, facts)
    assert ("vanished_gradients" in found) == is_told
    if is_told:
        assert found["vanished_gradients"].evidence.window == (41 * TOTAL // NUM_POINTS, TOTAL)


@pytest.mark.parametrize(("rise", "is_told"), [(2.0, True), (0.0, False)])
def test_gradients_explode_only_where_the_loss_suffers(rise: float, is_told: bool) -> None:
    curves, facts = plain_run()
    curves["train/grad_norm"] = with_values(curves["train/grad_norm"], range(70, 100), 90.0)
    loss = curves["train/loss"]
    curves["train/loss"] = with_values(loss, range(70, 100), loss.values[70:] + rise)
    found = told(curves, facts)
    assert ("exploding_gradients" in found) == is_told
    if is_told:
        assert found["exploding_gradients"].evidence.value > 7
        assert "lr_too_high" in found


def test_a_norm_that_triples_does_not_explode() -> None:
    curves, facts = plain_run()
    curves["train/grad_norm"] = with_values(curves["train/grad_norm"], range(70, 100), 12.0)
    curves["train/loss"] = with_values(curves["train/loss"], range(70, 100), 3.0)
    assert "exploding_gradients" not in told(curves, facts)


@pytest.mark.parametrize(("loss", "is_told"), [(2.5, True), (0.3, False)])
def test_a_rate_is_too_high_where_the_norm_is_lost_and_the_loss_is_not(loss: float, is_told: bool) -> None:
    curves, facts = plain_run(max_lr=9e-3)
    curves["train/grad_norm"] = line(10 * np.exp(-5 * AT) + 0.2)
    curves["train/loss"] = line(loss + (CHANCE - loss) * np.exp(-20 * AT))
    found = told(curves, facts)
    assert ("lr_too_high" in found) == is_told
    if is_told:
        assert found["lr_too_high"].settings == ("optim.max_lr=0.003",)


def _run_that_falls_slowly(rate: float, end: float) -> tuple[dict[str, Series], RunFacts]:
    """Its loss goes straight from chance to a share of it, with norms that stay."""
    curves, facts = plain_run(max_lr=rate)
    curves["train/lr"] = scaled(curves["train/lr"], rate / 1e-3)
    curves["train/grad_norm"] = line(8 * np.exp(0.1 * noise(NUM_POINTS)))
    curves["train/loss"] = line(CHANCE * (1 - (1 - end) * AT))
    curves["val/loss"] = line(VAL_CHANCE * (1 - (1 - end) * VAL_AT), from_start=True)
    return curves, facts


@pytest.mark.parametrize(("rate", "is_told"), [(5e-5, True), (1e-3, False)])
def test_there_is_room_above_a_rate_that_could_not_take_the_run_far(rate: float, is_told: bool) -> None:
    found = told(*_run_that_falls_slowly(rate, 0.5))
    assert ("room_for_higher_lr" in found) == is_told
    if is_told:
        finding = found["room_for_higher_lr"]
        assert finding.settings == ("optim.max_lr=0.00015",)
        assert finding.claim.startswith("The gradient norm is still 7.8 at the end while the loss falls, by 0.5")
        assert finding.evidence.further is not None
        steps_times_rate = TOTAL / BATCH * rate
        assert 0.4 * steps_times_rate < finding.evidence.further["way"] < steps_times_rate


@pytest.mark.parametrize(("rate", "end", "is_told"), [(1e-6, 0.98, True), (1e-3, 0.98, False), (1e-6, 0.3, False)])
def test_a_rate_is_too_low_where_the_run_hardly_moved(rate: float, end: float, is_told: bool) -> None:
    found = told(*_run_that_falls_slowly(rate, end))
    assert ("lr_too_low" in found) == is_told
    if is_told:
        assert found["lr_too_low"].settings == ("optim.max_lr=1e-05",)


@pytest.mark.parametrize(("warmup", "is_told"), [(0.0, True), (0.1, False)])
def test_a_norm_that_drops_out_at_the_start_tells_of_a_warmup_too_short(warmup: float, is_told: bool) -> None:
    curves, facts = plain_run(warmup_frac=warmup)
    curves["train/grad_norm"] = with_values(curves["train/grad_norm"], range(2, 6), 0.05)
    found = told(curves, facts)
    assert ("warmup_too_short" in found) == is_told
    if is_told:
        assert found["warmup_too_short"].settings == ("schedule.warmup_frac=0.1",)


def test_an_early_bump_tells_of_a_warmup_too_short_where_norms_are_not_recorded() -> None:
    curves, facts = plain_run(warmup_frac=0.0)
    del curves["train/grad_norm"]
    assert "warmup_too_short" not in told(curves, facts)
    curves["train/loss"] = with_values(curves["train/loss"], range(5, 10), 5.0)
    assert told(curves, facts)["warmup_too_short"].evidence.metric == "train/loss"


@pytest.mark.parametrize(("warmup", "is_told"), [(0.9, True), (0.7, False)])
def test_a_warmup_is_too_long_where_no_time_is_left_to_come_down(warmup: float, is_told: bool) -> None:
    curves, facts = plain_run(warmup_frac=warmup)
    assert ("warmup_too_long" in told(curves, facts)) == is_told


def test_the_warmup_is_read_from_the_curve_where_the_spec_is_not_known() -> None:
    curves, facts = plain_run(warmup_frac=None)
    curves["train/lr"] = line(1e-3 * np.minimum(AT / 0.9, 1))
    assert told(curves, facts)["warmup_too_long"].evidence.value == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(("end", "is_told"), [(100.0, True), (90.0, False)])
def test_a_logit_scale_that_stays_at_its_clamp_is_told(end: float, is_told: bool) -> None:
    curves, facts = plain_run()
    curves["train/logit_scale"] = line(np.minimum(end, 14.3 + 150 * AT))
    assert ("logit_scale_clamped" in told(curves, facts)) == is_told


@pytest.mark.parametrize(("end", "is_told"), [(8.0, True), (13.0, False)])
def test_a_logit_scale_that_falls_and_stays_is_told(end: float, is_told: bool) -> None:
    curves, facts = plain_run()
    curves["train/logit_scale"] = line(end + (14.2 - end) * np.exp(-8 * AT))
    assert ("logit_scale_falling" in told(curves, facts)) == is_told


def test_a_logit_scale_with_another_start_is_held_against_that() -> None:
    curves, facts = plain_run()
    curves["train/logit_scale"] = line(np.full(NUM_POINTS, 5.0))
    assert "logit_scale_falling" not in told(curves, facts)


@pytest.mark.parametrize("side", ["image", "text"])
def test_one_tower_that_collapsed_is_enough(side: str) -> None:
    curves, facts = plain_run()
    curves[f"val/{side}_similarity"] = line(np.minimum(0.999, 0.5 + VAL_AT), from_start=True)
    finding = told(curves, facts)["embedding_collapse"]
    assert ("captions" if side == "text" else "pictures") in finding.claim


def test_towers_that_were_as_alike_before_training_have_not_collapsed() -> None:
    curves, facts = plain_run()
    curves["val/image_similarity"] = line(0.995 - 0.01 * VAL_AT, from_start=True)
    assert "embedding_collapse" not in told(curves, facts)


@pytest.mark.parametrize(("lowest", "is_told"), [(VAL_CHANCE - 0.05, True), (VAL_CHANCE - 0.5, False)])
def test_a_validation_loss_that_never_leaves_chance_is_stuck(lowest: float, is_told: bool) -> None:
    curves, facts = plain_run()
    curves["train/loss"] = line(np.full(NUM_POINTS, CHANCE))
    curves["val/loss"] = line(np.linspace(VAL_CHANCE, lowest, NUM_VALIDATIONS + 1), from_start=True)
    assert ("stuck_at_chance" in told(curves, facts)) == is_told


def test_chance_is_that_of_the_validations_own_block() -> None:
    curves, facts = plain_run()
    del curves["val/loss"], curves["val/chance_loss"]
    curves["train/loss"] = line(np.full(NUM_POINTS, CHANCE))
    curves["val/loss_block_256"] = line(np.full(10, math.log(256)), from_start=True)
    assert told(curves, facts)["stuck_at_chance"].evidence.metric == "val/loss_block_256"


@pytest.mark.parametrize(("slope", "is_told"), [(0.6, True), (3.0, False)])
def test_a_loss_that_falls_to_the_end_is_still_converging(slope: float, is_told: bool) -> None:
    """It falls to 0.4 of chance: all the way, or in the first fifth."""
    curves, facts = plain_run()
    curves["val/loss"] = line(VAL_CHANCE * np.maximum(0.4, 1 - slope * VAL_AT), from_start=True)
    found = told(curves, facts)
    assert ("still_converging" in found) == is_told
    if is_told:
        finding = found["still_converging"]
        assert finding.settings == (f"train.budget.samples={2 * TOTAL}",)
        further = finding.evidence.further
        assert further is not None
        assert (
            0
            <= further["forecast_low"]
            <= further["forecast"]
            <= further["forecast_high"]
            < curves["val/loss"][-1].value
        )


def test_the_end_is_not_judged_of_a_run_that_was_cut_off() -> None:
    curves, facts = plain_run(total_samples=2 * TOTAL)
    curves["val/loss"] = line(VAL_CHANCE * (1 - 0.6 * VAL_AT), from_start=True)
    assert "still_converging" not in told(curves, facts)


@pytest.mark.parametrize(("flat_from", "is_told"), [(0.3, True), (0.95, False)])
def test_a_run_is_saturated_where_its_last_half_brings_nothing(flat_from: float, is_told: bool) -> None:
    curves, facts = plain_run()
    curves["val/loss"] = line(VAL_CHANCE * (1 - 0.7 * np.minimum(VAL_AT / flat_from, 1)), from_start=True)
    found = told(curves, facts)
    assert ("saturated_early" in found) == is_told
    if is_told:
        assert found["saturated_early"].settings == (f"train.budget.samples={TOTAL // 2}",)
        assert "still_converging" not in found


def test_a_run_that_learned_nothing_is_not_saturated() -> None:
    curves, facts = plain_run()
    curves["val/loss"] = line(np.full(NUM_VALIDATIONS + 1, VAL_CHANCE), from_start=True)
    assert "saturated_early" not in told(curves, facts)


@pytest.mark.parametrize(("deviation", "is_told"), [(0.3, True), (0.02, False)])
def test_an_end_is_noisy_where_validations_scatter(deviation: float, is_told: bool) -> None:
    curves, facts = plain_run()
    values = VAL_CHANCE * fallen(VAL_AT) + 1 + deviation * noise(NUM_VALIDATIONS + 1, 5)
    curves["val/loss"] = line(values, from_start=True)
    found = told(curves, facts)
    assert ("noisy_end" in found) == is_told
    if is_told:
        assert found["noisy_end"].settings == ("schedule.min_lr_frac=0.0",)


def test_a_noisy_end_is_told_by_the_training_loss_where_validations_are_few() -> None:
    curves, facts = plain_run(decay="constant")
    curves = {name: series for name, series in curves.items() if not name.startswith("val/")}
    assert "noisy_end" not in told(curves, facts)
    curves["train/loss"] = line(1 + 0.4 * noise(NUM_POINTS, 6))
    finding = told(curves, facts)["noisy_end"]
    assert finding.evidence.metric == "train/loss"
    assert finding.settings == ("schedule.decay=cosine",)


def test_a_run_that_goes_on_from_another_is_judged_from_its_own_start() -> None:
    curves, facts = plain_run()
    start = 10 * TOTAL
    curves = {
        name: Series(series.samples_seen + start, series.epoch, series.values, series.time_ms)
        for name, series in curves.items()
    }
    curves["val/loss"] = Series(
        curves["val/loss"].samples_seen, VAL_AT, VAL_CHANCE * (1 - 0.6 * VAL_AT), np.zeros(len(VAL_AT))
    )
    facts = dataclasses.replace(facts, start_samples=start, total_samples=start + TOTAL)
    assert told(curves, facts)["still_converging"].settings == (f"train.budget.samples={start + 2 * TOTAL}",)
