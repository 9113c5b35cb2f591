"""How right findings are on the labelled corpus, and how long they take.

    python benchmarks/findings.py [--quick] [--write] [--json FILE]

The score is that of `clipexp findings --curves tests/findings/corpus`: rules were tuned on one half of the fault
recipes, and count by the other. `--write` puts the tables into docs/findings.md.
The coverage is the forecast's: how often what twice the budget did bring lay in its 95% interval, over the runs of a
half that were trained both ways. The interval is from those of the tuning half.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipexp.findings.corpus import PARTS, Labelled, read_corpus
from clipexp.findings.ending import end_forecast
from clipexp.findings.finding import RunFacts
from clipexp.findings.reading import Reading
from clipexp.findings.reference import write_page
from clipexp.findings.rules import RULES, find
from clipexp.findings.score import Score, scores_by_part
from clipexp.track.curves import Curves, Series

REPOSITORY = Path(__file__).parents[1]
CORPUS = REPOSITORY / "tests" / "findings" / "corpus"
NUM_POINTS = 10_000
TWICE = "-budget-x2"  # ends the name of a run that is another one with twice the budget


def long_run(num_points: int, seed: int = 0) -> tuple[Curves, RunFacts]:
    """A run with so many points of every metric that training records, and a tenth as many validations."""
    rng = np.random.default_rng(seed)
    samples = np.arange(1, num_points + 1) * 1024
    at = samples / samples[-1]
    loss = 6.9 * (0.2 + 0.8 / (1 + 20 * at)) * (1 + 0.03 * rng.standard_normal(num_points))
    values = {
        "train/loss": loss,
        "train/grad_norm": (3 + 8 / (1 + 20 * at)) * np.exp(0.2 * rng.standard_normal(num_points)),
        "train/lr": 1e-3 * np.minimum(at / 0.05, 0.55 + 0.45 * np.cos(np.pi * at)),
        "train/logit_scale": 14.3 + 10 * at,
        "system/samples_per_s": 2e3 * np.exp(0.1 * rng.standard_normal(num_points)),
        "system/data_wait_frac": 0.02 * rng.random(num_points),
        "system/memory_frac": np.full(num_points, 0.3),
    }
    few = slice(None, None, 10)
    validated = {
        "val/loss": loss[few] + 0.5,
        "val/chance_loss": np.full(len(loss[few]), np.log(1024)),
        "val/num_pairs": np.full(len(loss[few]), 4096.0),
        "val/image_similarity": 0.3 * (1 - at[few]),
        "val/text_similarity": 0.3 * (1 - at[few]),
    }
    curves = {name: _series(samples, column) for name, column in values.items()}
    curves |= {name: _series(samples[few], column) for name, column in validated.items()}
    facts = RunFacts(
        batch_size=1024,
        max_lr=1e-3,
        warmup_frac=0.05,
        decay="cosine",
        num_train_pairs=samples[-1] // 40,
        shard_pairs=samples[-1] // 400,
        total_samples=int(samples[-1]),
    )
    return curves, facts


def _series(samples: np.ndarray, values: np.ndarray) -> Series:
    return Series(samples, np.zeros(len(samples)), values, np.zeros(len(samples)))


def find_ms(num_points: int, times: int) -> list[float]:
    """Milliseconds of `find` on a run, each time on a run of its own."""
    took = []
    for seed in range(times + 1):  # the first also imports
        curves, facts = long_run(num_points, seed)
        begun_s = time.perf_counter()
        find(curves, facts)
        took.append((time.perf_counter() - begun_s) * 1e3)
    return took[1:]


def _print(part: str, score: Score) -> None:
    print(f"{part}: {score.num_curves} curves, {score.num_healthy} of them healthy")
    for rule, own in score.by_rule.items():
        rates = [
            f"{100 * r.share:5.1f}% of {r.out_of:3d}" if r.out_of else "    -       "
            for r in (own.precision, own.recall)
        ]
        print(f"  {rule:<22} precision {rates[0]}   recall {rates[1]}")
    for name, rate in (("precision", score.precision), ("recall", score.recall)):
        low, high = rate.interval
        print(f"  {name}: {rate.share:.1%} ({rate.hits} of {rate.out_of}; 95%: {low:.1%} to {high:.1%})")
    print(f"  problems found on healthy curves: {len(score.healthy_problems)}\n")


def coverage(labelled: Sequence[Labelled], part: str) -> tuple[int, int, float]:
    """How many true gains lay in the interval, of how many, and the median of (true gain / forecast)."""
    by_name = {curve.name: curve for curve in labelled if curve.part == part}
    held, ratios = 0, []
    for name, curve in by_name.items():
        longer = by_name.get(f"{name}{TWICE}")
        if longer is None:
            continue
        short, long = Reading(curve.curves, curve.facts), Reading(longer.curves, longer.facts)
        forecast = end_forecast(short)
        if forecast is None or short.val_loss is None or long.val_loss is None:
            continue
        gain = short.val_loss.last - long.val_loss.last
        held += forecast.low <= gain <= forecast.high
        ratios.append(gain / forecast.gain)
    return held, len(ratios), statistics.median(ratios) if ratios else float("nan")


def measured(labelled: Sequence[Labelled], times: int) -> list[dict[str, Any]]:
    """Print all, and return the records of `--json`."""
    by_part = scores_by_part(labelled)
    records: list[dict[str, Any]] = []
    for part, suffix in zip(PARTS, ("_tuning", ""), strict=True):
        if part not in by_part:
            continue
        score = by_part[part]
        _print(part, score)
        for name, rate in (("precision", score.precision), ("recall", score.recall)):
            low, high = rate.interval
            basis = (
                f"{rate.hits} of {rate.out_of}, 95%: {low:.3f} to {high:.3f}, {part} half, {score.num_curves} curves"
            )
            records.append({"name": f"{name}{suffix}", "value": round(rate.share, 4), "unit": "share", "basis": basis})
        held, num, ratio = coverage(labelled, part)
        if num:
            print(f"  forecast: {held} of {num} gains of twice the budget in its interval; median ratio {ratio:.2f}\n")
            basis = f"{held} of {num} runs of the {part} half, trained with twice the budget too; nominal 0.95"
            record = {
                "name": f"forecast_coverage{suffix}",
                "value": round(held / num, 3),
                "unit": "share",
                "basis": basis,
            }
            records.append(record)
        basis = f"{part} half, {score.num_healthy} healthy curves"
        problems = len(score.healthy_problems)
        records.append({"name": f"healthy_problems{suffix}", "value": problems, "unit": "findings", "basis": basis})
    took = find_ms(NUM_POINTS, times)
    median = statistics.median(took)
    times_ms = f"{median:.0f} ms (median of {times}, at most {max(took):.0f})"
    print(f"find() on {NUM_POINTS:,} points of each of 7 metrics: {times_ms}")
    basis = f"median of {times}, {NUM_POINTS:,} points of each of 7 metrics, one thread"
    records.append({"name": "find_ms", "value": round(median, 1), "unit": "ms", "basis": basis})
    return records


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="time find() 3 times rather than 15")
    parser.add_argument("--write", action="store_true", help="bring docs/findings.md up to date")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    labelled = read_corpus(CORPUS, RULES)
    records = measured(labelled, 3 if given.quick else 15)
    if given.write:
        write_page(labelled)
    if given.json is not None:
        given.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
