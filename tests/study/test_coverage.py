"""How much of a space was looked at, and whether the best learning rate moved with the batch size."""

import itertools
import math
import random

import pytest

from clipexp.study.coverage import coverage, infeasible
from clipexp.study.evidence import StudyEvidence, TrialRow
from clipexp.study.tradeoff import lr_against_batch
from tests.study.toy import BATCH, DECAY, LR, WARMUP, WITH_CHOICE, evidence_of, row


def at(idx: int, lr: float, batch: int = 128, warmup: float = 0.1, loss: float = 1.0) -> TrialRow:
    return row(idx, loss, {LR: lr, WARMUP: warmup, BATCH: batch})


def test_a_grid_over_all_quarters_covers_the_space() -> None:
    rates, warmups = (1.5e-4, 3.5e-4, 8e-4, 2e-3), (0.02, 0.07, 0.12, 0.17)
    cells = itertools.product(rates, warmups, (64, 128, 256, 512, 1024))
    found = coverage(evidence_of([at(idx, lr, batch, warmup) for idx, (lr, warmup, batch) in enumerate(cells)]))
    assert found is not None
    assert found.num_cells_tried == found.num_cells == 3 * 16
    assert found.is_covered


def test_trials_in_one_corner_leave_a_gap_that_is_named() -> None:
    found = coverage(evidence_of([at(idx, 1e-4 * (1 + idx / 100), 64, 0.01 * idx) for idx in range(6)]))
    assert found is not None
    assert not found.is_covered
    widest = next(gap for gap in found.gaps if gap.path == LR)
    assert (widest.low, widest.high) == (pytest.approx(1.05e-4), pytest.approx(3e-3))
    assert widest.share == pytest.approx(1 - math.log(1.05) / math.log(30))


def test_neighbouring_powers_of_two_leave_no_gap() -> None:
    batches = (64, 128, 256, 512, 1024)
    found = coverage(evidence_of([at(idx, 1e-3, batch) for idx, batch in enumerate(batches)]))
    assert found is not None
    assert next(gap.share for gap in found.gaps if gap.path == BATCH) == 0


def test_a_choice_that_was_never_tried_is_named() -> None:
    found = coverage(evidence_of([row(0, 1.0, {**at(0, 1e-3).values, DECAY: "cosine"})], WITH_CHOICE))
    assert found is not None
    assert found.untried == ((DECAY, "linear"), (DECAY, "constant"))
    assert not found.is_covered


def test_a_baseline_beyond_the_range_visits_no_part_of_it() -> None:
    found = coverage(evidence_of([at(0, 1.0)]))
    assert found is not None
    assert found.num_cells_tried == 1  # of warmup against batch size alone


def test_infeasible_trials_are_counted_by_reason() -> None:
    rows = [row(idx, None, {LR: 1e-3}, state="infeasible", reason=why) for idx, why in enumerate("abb")]
    assert infeasible(evidence_of(rows)) == {"b": 2, "a": 1}


def surface(exponent: float, noise: float, num: int = 30) -> StudyEvidence:
    """Trials over a valley in which the best rate goes as batch ** exponent."""
    draw = random.Random(0)
    rows = []
    for idx in range(num):
        lr, batch = 10 ** draw.uniform(-4, -2.6), 2 ** draw.randint(6, 10)
        off = math.log(lr / 5e-4) - exponent * math.log(batch / 256)
        rows.append(at(idx, lr, batch, draw.uniform(0, 0.2), 1 + off**2 + draw.gauss(0, noise)))
    return evidence_of(rows)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_the_exponent_of_a_clean_valley_is_found(exponent: float) -> None:
    found = lr_against_batch(surface(exponent, noise=0.01))
    assert found is not None
    assert found.exponent == pytest.approx(exponent, abs=0.02)
    assert found.interval[0] <= exponent + 0.01
    assert found.interval[1] >= exponent - 0.01
    readings = {0.0: "not at all as expected", 0.5: "as expected", 1.0: "more than expected"}
    assert found.reading == readings[exponent]


def test_noise_alone_tells_of_no_trade() -> None:
    assert lr_against_batch(surface(0.5, noise=100.0)) is None


def test_few_trials_or_one_batch_size_tell_nothing() -> None:
    assert lr_against_batch(surface(0.5, 0.01, num=11)) is None
    assert lr_against_batch(evidence_of([at(idx, 1e-4 * (idx + 1), loss=idx) for idx in range(20)])) is None
