"""What a study saves against random search, and what its driver costs.

    python -m benchmarks.sweeps [--quick] [--json FILE]

1. Random search of T full trials is drawn many times on a surrogate made from real runs (see `surrogate.py`); the
   median of its best is the target. Then `studies/quick.yaml`, with its own sampler, pruner and baseline, through the
   book that the driver uses, until a trial finishes at the target or below: the samples that it trained, those of
   stopped and unfinished trials too, over the T full trials. Every worker trains at the same rate. A seed that has
   not got there with three times as much counts as infinite. Rows beside it change one part each.
2. The driver with each storage over 1,000 trials whose workers answer at once (see `driver_cost.py`).
"""

import argparse
import json
import math
import multiprocessing
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.driver_cost import LATE, Cost, measure
from benchmarks.surrogate import BATCH, LOG2_BATCH, LR, MAX_LR, WARMUP, WARMUP_FRAC, committed, leave_out, read_runs
from clipexp.spec.study import HyperbandSpec, NoPrunerSpec, PrunerSpec, SamplerSpec, StudySpec, SuccessiveHalvingSpec
from clipexp.spec.study_load import load_study
from clipexp.study.book import open_book
from clipexp.study.space import combinations, distributions, params_from_values, values_from_params
from clipexp.study.storage import StudyStorage
from clipexp.train.device import describe_device

STUDY = Path(__file__).parents[1] / "studies" / "quick.yaml"
FULL = max(committed().samples)
HORIZONS = (16, 30, 60)  # trials of random search; the quick study has 16
NUM_SEEDS, QUICK_SEEDS = 30, 6
RANDOM_SEEDS = 400
FIRST_RUNG = 3_072
PATIENCE = 3  # times what random search trains
TRIALS, QUICK_TRIALS = 1_000, 150

Row = dict[str, Any]


CHOICE = "its pruner was chosen on sampler seeds 1000 to 1199, which are not among these"


@dataclass(frozen=True)
class Variant:
    """A study to be compared. horizons: random search's trials; the last one decides how long it goes on."""

    name: str
    spec: StudySpec
    num_workers: int = 1
    horizons: tuple[int, ...] = HORIZONS


def random_targets(horizons: Sequence[int] = HORIZONS, num_seeds: int = RANDOM_SEEDS) -> dict[int, float]:
    """The median best of random search, by its number of full trials."""
    drawn = np.random.default_rng(num_seeds).random((num_seeds * max(horizons), 3))
    num_sizes = 1 + LOG2_BATCH[1] - LOG2_BATCH[0]
    points = [
        {
            LR: float(f"{MAX_LR[0] * (MAX_LR[1] / MAX_LR[0]) ** lr:.4g}"),
            WARMUP: float(f"{WARMUP_FRAC[0] + warmup * (WARMUP_FRAC[1] - WARMUP_FRAC[0]):.4g}"),
            BATCH: 1 << (LOG2_BATCH[0] + int(batch * num_sizes)),
        }
        for lr, warmup, batch in drawn
    ]
    finals = committed().curves(points)[:, -1].reshape(num_seeds, -1)
    return {horizon: float(np.median(finals[:, :horizon].min(1))) for horizon in horizons}


def play(spec: StudySpec, num_workers: int) -> Iterator[tuple[int, float]]:
    """Carry out a study for ever.

    Yields:
        What was trained so far, by all workers, and the final loss of each trial that finishes.
    """
    import optuna
    from optuna.storages import InMemoryStorage

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = StudyStorage(InMemoryStorage(), "memory", Path("memory"), notes=(), patience_s=0)
    book = open_book(spec, storage, distributions(spec.search), combinations(spec), {}, FULL)
    study = load_study(STUDY)
    for baseline in spec.baselines:
        params = params_from_values(spec.search, study.baseline_values(baseline))
        book.enqueue(baseline.name, params, is_baseline=True)
    under_way: dict[int, tuple[int, Iterator[tuple[int, float]]]] = {}  # by worker: the trial, and what is to come
    trained = 0
    while True:
        for worker in range(num_workers):
            if worker not in under_way:
                suggestion = book.ask()
                if suggestion is None:
                    return
                values = values_from_params(spec.search, suggestion.params)
                under_way[worker] = suggestion.number, iter(committed().curve(values).items())
        for worker, (number, curve) in list(under_way.items()):
            samples_seen, loss = next(curve)
            trained += FULL // (len(committed().samples) - 1) if samples_seen else 0
            book.report(number, samples_seen, loss)
            if samples_seen == FULL:
                book.tell_finished(number, loss)
                del under_way[worker]
                yield trained, loss
            elif book.should_prune(number):
                book.tell_pruned(number)
                del under_way[worker]


def ratios(variant: Variant, targets: Mapping[int, float], seed: int) -> dict[int, float]:
    """Samples trained over random search's, by horizon; infinite where the target was never reached."""
    spec = variant.spec.model_copy(update={"sampler": variant.spec.sampler.model_copy(update={"seed": seed})})
    found = dict.fromkeys(variant.horizons, math.inf)
    for trained, loss in play(spec, variant.num_workers):
        full_trials = trained / FULL
        for horizon, before in found.items():
            if math.isinf(before) and full_trials <= PATIENCE * horizon and loss <= targets[horizon]:
                found[horizon] = full_trials / horizon
        if all(n < math.inf or full_trials > PATIENCE * horizon for horizon, n in found.items()):
            break
    return found


def variants() -> list[Variant]:
    """The committed study, and what changes one part of it.

    The quick study's pruner was chosen among some 23 settings on sampler seeds 1000 to 1199 (the first of them on a
    surrogate of 61 of the runs), which are not among those that are reported.
    """
    quick = load_study(STUDY).spec
    pruners: list[PrunerSpec] = [
        HyperbandSpec(kind="hyperband", min_samples=FIRST_RUNG, reduction=3),
        SuccessiveHalvingSpec(kind="successive_halving", min_samples=FIRST_RUNG, reduction=3),
    ]
    others = [pruner for pruner in pruners if pruner != quick.pruner]
    without: dict[str, Any] = {"pruner": NoPrunerSpec(kind="none")}
    changed = partial(StudySpec.model_copy, quick)
    return [
        Variant("quick", quick),
        Variant("quick, 2 workers", quick, 2),
        *(Variant(p.kind, changed(update={"pruner": p})) for p in others),
        *(Variant(f"{p.kind}, 2 workers", changed(update={"pruner": p}), 2) for p in others),
        Variant("random", changed(update={**without, "sampler": SamplerSpec(kind="random")})),
        Variant("random + pruner", changed(update={"sampler": SamplerSpec(kind="random")})),
        Variant("tpe, no pruner", changed(update=without)),
        Variant("gp + pruner", changed(update={"sampler": SamplerSpec(kind="gp")}), 1, HORIZONS[:1]),
    ]


def median_with_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median and its 95% interval by bootstrap; infinite values are values."""
    drawn = np.random.default_rng(0).choice(np.array(values), (4_000, len(values)))
    medians = np.sort(np.sort(drawn, axis=1)[:, [(len(values) - 1) // 2, len(values) // 2]].mean(1))
    return statistics.median(values), float(medians[100]), float(medians[-101])


def sample_rows(num_seeds: int) -> list[Row]:
    """How few samples are needed."""
    targets, runs = random_targets(), read_runs()
    fit = leave_out(runs)
    words = (
        f"surrogate of {fit.num_runs} real runs (leave-one-out: R2 {fit.r2:.2f}, Spearman {fit.spearman:.2f}, median "
        f"absolute error {fit.median_abs_error:.2f} of the final loss), with its noise"
    )
    rows: list[Row] = [
        {"name": "surrogate_r2", "value": fit.r2, "unit": "", "basis": f"final loss; {words}"},
        {"name": "surrogate_spearman", "value": fit.spearman, "unit": "", "basis": f"final loss; {words}"},
        {"name": "surrogate_median_abs_error", "value": fit.median_abs_error, "unit": "nats", "basis": words},
    ]
    with multiprocessing.get_context("spawn").Pool(min(2, os.cpu_count() or 1)) as pool:
        for variant in variants():
            found = pool.map(partial(ratios, variant, targets), range(num_seeds), chunksize=1)
            for horizon in variant.horizons:
                rows.append(_sample_row(variant, horizon, targets[horizon], [each[horizon] for each in found]))
                rows[-1]["basis"] += f"; {words}; {CHOICE}" if variant.name == "quick" else ""
                print(shown(rows[-1]), flush=True)
    return rows


def _sample_row(variant: Variant, horizon: int, target: float, found: Sequence[float]) -> Row:
    median, low, high = median_with_interval(found)
    num_never = sum(map(math.isinf, found))
    sampler, pruner = variant.spec.sampler.kind, variant.spec.pruner.kind
    return {
        "name": f"samples_against_random_{horizon}[{variant.name}]",
        "value": median if math.isfinite(median) else None,
        "unit": "ratio",
        "basis": f"median of {len(found)} sampler seeds, 95% interval {low:.2f} to {high:.2f}, never reached by"
        f" {num_never}; {sampler} with pruner {pruner}, {variant.num_workers} worker(s), until a trial finishes at"
        f" {target:.3f}, the median best of {horizon} full random trials over {RANDOM_SEEDS} seeds",
    }


def cost_rows(num_trials: int) -> list[Row]:
    """What the driver costs with each storage."""
    from tests.study.postgres import MISSING, Server, binaries

    rows = _cost_rows("journal", measure(num_trials, None), num_trials)
    if binaries() is None:
        print(MISSING)
        return rows
    with Server.started() as server:
        return rows + _cost_rows("postgresql", measure(num_trials, server.fresh_database()), num_trials)


def _cost_rows(storage: str, cost: Cost, num_trials: int) -> list[Row]:
    load = os.getloadavg()[0]
    states = ", ".join(f"{number} {name.lower()}" for name, number in cost.states.items())
    basis = f"{num_trials:,} trials of the quick study ({states}), {describe_device_words()}, load average {load:.1f}"
    found = {
        "driver_wall": (cost.mean_s, "mean of all"),
        "driver_wall_late": (cost.late_s, f"mean of the last {LATE}"),
        "driver_cpu": (cost.mean_cpu_s, "mean of all"),
        "driver_cpu_late": (cost.late_cpu_s, f"mean of the last {LATE}"),
    }
    rows = [
        {"name": f"{name}[{storage}]", "value": 1e3 * seconds, "unit": "ms/trial", "basis": f"{words}; {basis}"}
        for name, (seconds, words) in found.items()
    ]
    print("\n".join(map(shown, rows)), flush=True)
    return rows


def describe_device_words() -> str:
    """The processor's name."""
    import torch

    return describe_device(torch.device("cpu"))


def shown(row: Row) -> str:
    """A row of the table."""
    value = math.inf if row["value"] is None else row["value"]
    return f"{row['name']:<56} {value:>8.3f} {row['unit']}  {row['basis']}"


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few seeds and trials")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    rows = cost_rows(QUICK_TRIALS if args.quick else TRIALS)
    rows += sample_rows(QUICK_SEEDS if args.quick else NUM_SEEDS)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
