"""The committed real runs, the surrogate that is made of them, and what the study saves on it."""

import math
import statistics

import numpy as np

from benchmarks.surrogate import BATCH, CHANCE, LR, WARMUP, RealRun, committed, fit, leave_out, quality, read_runs
from benchmarks.sweeps import FULL, Variant, random_targets, ratios, variants

EVALS = tuple(range(0, FULL + 1, 3_072))
HORIZON = 16


def _variant(name: str) -> Variant:
    (found,) = (v for v in variants() if v.name == name)
    return Variant(found.name, found.spec, found.num_workers, (HORIZON,))


def test_the_committed_data_are_at_least_60_real_runs_with_whole_curves() -> None:
    runs = read_runs()
    assert len(runs) >= 60
    assert len({run.spec_hash for run in runs}) == len(runs)
    assert all(len(run.spec_hash) == 12 for run in runs)
    assert all(tuple(run.losses) == EVALS for run in runs if not run.error)
    assert all(1e-4 <= run.values[LR] <= 1e-2 and 0 <= run.values[WARMUP] <= 0.2 for run in runs)
    assert {run.values[BATCH] for run in runs} == {32, 64, 128, 256, 512}


def test_the_smooth_part_explains_98_percent_of_the_real_final_losses_and_the_noise_little_of_them() -> None:
    runs = read_runs()
    losses = np.array([[run.losses[n] for n in EVALS] for run in runs])
    points = [run.values for run in runs]
    smooth = quality(committed().curves(points, is_smooth=True), losses)
    rough = quality(committed().curves(points), losses)
    assert smooth.r2 > 0.98
    assert smooth.spearman > 0.98
    assert smooth.median_abs_error < 0.1
    assert 0.95 < rough.r2 < smooth.r2


def test_runs_that_were_left_out_are_foretold() -> None:
    found = leave_out(read_runs(), num_folds=4)
    assert found.r2 > 0.85
    assert found.spearman > 0.93
    assert found.curve_r2 > 0.8


def test_a_point_has_one_curve_and_its_neighbour_another() -> None:
    here, beside = ({LR: lr, WARMUP: 0.05, BATCH: 128} for lr in (1e-3, 1.001e-3))
    assert committed().curve(here) == fit(read_runs()).curve(here)
    assert tuple(committed().curve(here)) == EVALS
    smooth = committed().curves([here, beside], is_smooth=True)[:, -1]
    rough = committed().curves([here, beside])[:, -1]
    assert abs(smooth[0] - smooth[1]) < 0.01 < abs(rough[0] - rough[1])


def test_a_run_that_diverged_counts_at_chance_level() -> None:
    runs = read_runs()
    lost = [RealRun(run.values, run.spec_hash, {0: run.losses[0], 3_072: math.nan}, "NaN") for run in runs[:1]]
    told = fit([*lost, *runs[1:]]).curves([runs[0].values], is_smooth=True)[0, -1]
    before = fit(runs).curves([runs[0].values], is_smooth=True)[0, -1]
    assert before < told < 1.05 * CHANCE


def test_the_quick_study_needs_fewer_samples_than_random_search() -> None:
    target = random_targets((HORIZON,), num_seeds=100)
    ours = [ratios(_variant("quick"), target, seed)[HORIZON] for seed in range(100, 115)]
    random = [ratios(_variant("random"), target, seed)[HORIZON] for seed in range(100, 115)]
    assert statistics.median(ours) < 0.75
    assert statistics.median(ours) < 0.8 * statistics.median(random)
