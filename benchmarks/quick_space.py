"""Real runs spread over the space of `studies/quick.yaml`, for a surrogate on which samplers are compared.

    python benchmarks/quick_space.py --runs 96 --workers 2    # writes benchmarks/data/quick_space.json

The points are a scrambled Sobol sequence, so that any prefix covers the space evenly; batch sizes are powers of two. A
finished run is not run again: the same command goes on after a stop, and a larger `--runs` adds to what is there.
"""

import argparse
import json
import math
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import torch
from scipy.stats import qmc

from clipexp.runner import start
from clipexp.spec.load import load_spec
from clipexp.track.journal import points

BASE = "experiments/quick-trial.yaml"
OUT = Path("benchmarks/data/quick_space.json")
MAX_LR, WARMUP_FRAC, LOG2_BATCH = (1e-4, 1e-2), (0.0, 0.2), (5, 9)


def design(num_runs: int) -> list[dict[str, float]]:
    """The first points of the sequence, by dotted path."""
    drawn = qmc.Sobol(d=3, rng=0).random(1 << math.ceil(math.log2(max(2, num_runs))))[:num_runs]
    found = []
    for lr, warmup, batch in drawn:
        log_lr = math.log(MAX_LR[0]) + lr * math.log(MAX_LR[1] / MAX_LR[0])
        exponent = LOG2_BATCH[0] + min(int(batch * (1 + LOG2_BATCH[1] - LOG2_BATCH[0])), LOG2_BATCH[1] - LOG2_BATCH[0])
        warmup_frac = WARMUP_FRAC[0] + warmup * (WARMUP_FRAC[1] - WARMUP_FRAC[0])
        found.append(
            {
                "optim.max_lr": float(f"{math.exp(log_lr):.4g}"),
                "schedule.warmup_frac": round(float(warmup_frac), 4),
                "train.batch_size": 1 << exponent,
            }
        )
    return found


def carry_out(job: tuple[int, dict[str, float]]) -> dict[str, Any]:
    """One run to its end; its validation losses by samples seen (None from where it was no longer finite)."""
    number, values = job
    overrides = [
        f"name=quick-space-{number}",
        "train.device=cpu",
        *(f"{path}={value}" for path, value in values.items()),
    ]
    execution = start(load_spec(BASE, overrides))
    error = ""
    try:
        for _ in execution.events():
            pass
    except Exception as caught:  # noqa: BLE001 (a run that diverges is a result: it is written down)
        error = str(caught)
    curves = points(execution.header.folder)
    losses = {point.samples_seen: point.value for point in curves["val/loss"]}
    print(f"run {number}: {values} -> {list(losses.values())[-1]:.4f} {error}", flush=True)
    return {"values": values, "spec_hash": execution.header.spec_hash, "val_loss": losses, "error": error}


def main() -> None:
    """Carry out what is not there yet, and write all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=96)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    threads = max(1, len(os.sched_getaffinity(0)) // options.workers)
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.workers, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        runs = pool.map(carry_out, enumerate(design(options.runs)), chunksize=1)
    OUT.parent.mkdir(exist_ok=True)
    head = {"made_by": " ".join(["python", *sys.argv]), "base": BASE, "metric": "val/loss", "runs": runs}
    OUT.write_text(json.dumps(head, indent=1) + "\n")
    print(f"{OUT}: {len(runs)} runs")


if __name__ == "__main__":
    main()
