"""How long a report of many runs takes: reading, findings and comparison, figures and text, writing.

    python benchmarks/reports.py [--quick] [--json FILE] [--keep FOLDER]

Makes its runs in a folder of its own (--keep: in FOLDER, made once): each has a journal, written and packed by the
project's own writers and delivered to MLflow's SQLite database with params, tags, points and artifacts, as a real run
leaves them. Two sizes: 100 runs of 10,000 points, and 1,000 runs of 1,000 points; of each the whole command's work is
timed in parts, in a process of its own, and once more with the journals gone, so that curves come from MLflow. The
median of the repeats is printed.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clipexp.events import EndEvent, EvalEvent, Event, Example, StepEvent
from clipexp.plots.artifacts import EXAMPLES, write_run_examples
from clipexp.spec.load import resolve
from clipexp.spec.run import RunSpec, spec_hash
from clipexp.spec.yaml_lines import dump
from clipexp.track import mlflow_run
from clipexp.track.delivery import Delivery, publishing
from clipexp.track.header import HOME_STORE, RunHeader, write_header
from clipexp.track.home import home
from clipexp.track.journal import FROM_START, Journal, pack
from clipexp.track.mlflow_run import Identity
from clipexp.track.mlflow_store import connect
from clipexp.track.provenance import Git
from clipexp.track.summary import RunSummary

SIZES = ((100, 10_000), (1_000, 1_000))
QUICK_SIZES = ((10, 1_000), (30, 1_000))
REPEATS = 3
NUM_TRAIN, BATCH = 40_370, 128
NUM_EVAL_METRICS, NUM_STEP_METRICS = 16, 8
NUM_STRIPS = 32
SCENES = {"kind": "scenes-v1", "num_pairs": 42_000}


def spec_of(number: int) -> RunSpec:
    """The run's spec: five seeds a learning rate."""
    tower = {"width": 64, "layers": 2, "heads": 2}
    content = {
        "name": f"run-{number:04d}",
        "seed": number % 5,
        "data": {"source": SCENES, "store": "data/scenes", "image_size_px": 48, "tokenizer": {"kind": "trained"}},
        "model": {"image_size_px": 48, "patch_size_px": 12, "embed_dim": 64, "context_length": 32}
        | {"vision": tower, "text": tower},
        "optim": {"max_lr": float(f"{1e-4 * 1.01 ** (number // 5):.4g}")},
        "train": {"batch_size": BATCH, "budget": {"samples": 96_000}},
    }
    return resolve(content).spec


def events_of(number: int, num_points: int) -> Iterator[Event]:
    """A run's events with so many points in all: a falling loss with noise, evaluations on the way."""
    draw = np.random.default_rng([7, number])
    num_evals = max(2, num_points // 500) if num_points < 10_000 else 20
    num_steps = (num_points - num_evals * NUM_EVAL_METRICS) // NUM_STEP_METRICS
    level = 6.9 * np.exp(-3 * np.arange(num_steps) / num_steps) + 0.3
    noise = draw.normal(1, 0.02, (num_steps, NUM_STEP_METRICS))
    due = set(np.linspace(0, num_steps - 1, num_evals).astype(int).tolist())
    for step in range(num_steps):
        samples, epoch = (step + 1) * BATCH, (step + 1) * BATCH / NUM_TRAIN
        loss, norm, scale, rate, wait, memory, share, cpu = (float(np.float32(value)) for value in noise[step])
        metrics = {
            "train/loss": float(np.float32(level[step])) * loss,
            "train/grad_norm": 2 * norm,
            "train/lr": 1e-3 * (1 - step / num_steps),
            "train/logit_scale": 14.3 * scale,
            "system/samples_per_s": 1_200 * rate,
            "system/data_wait_frac": 0.01 * wait,
            "system/memory_mb": 900 * memory,
            "system/memory_frac": 0.2 * share + 0 * cpu,
        }
        yield StepEvent(samples, epoch, metrics)
        if step in due:
            yield evaluation(draw, samples, epoch, float(level[step]))
    yield EndEvent(num_steps * BATCH, "finished")


def evaluation(draw: np.random.Generator, samples: int, epoch: float, loss: float) -> EvalEvent:
    """A validation's 16 metrics, strips and two examples."""
    recall = float(np.clip(1.1 - loss / 7, 0.001, 1))
    metrics = {"val/loss": loss, "val/chance_loss": 6.93, "val/num_pairs": 1024.0, "val/block_size": 1024.0}
    metrics |= {"val/chance_recall_at_1": 1 / 1024, "val/image_similarity": 0.1, "val/text_similarity": 0.1}
    for way in ("text_to_image", "image_to_text"):
        metrics |= {f"val/{way}_recall_at_{k}": min(1.0, recall * k**0.3) for k in (1, 5, 10)}
        metrics[f"val/{way}_median_rank"] = 1 + 500 * (1 - recall)
    metrics["val/margin"] = 0.1
    strips = {m: tuple(draw.normal(metrics[m], 0.05, NUM_STRIPS).tolist()) for m in ("val/loss",)}
    examples = tuple(Example(f"caption {n}", n, (n, 1 - n), (0.5, 0.4)) for n in range(2))
    return EvalEvent(samples, epoch, metrics, examples, strips)


def make_runs(num_runs: int, num_points: int) -> list[str]:
    """Runs in the working directory; returns their ids."""
    uri = home().tracking_uri
    client = connect(uri)
    home().make()
    versions = {"clipexp": "0.1.0", "torch": "2.13.0", "mlflow": "3.17.2"}
    ids = []
    for number in range(num_runs):
        spec = spec_of(number)
        identity = Identity(
            spec,
            spec_hash(spec, "c" * 16),
            "c" * 16,
            "c" * 16,
            NUM_TRAIN,
            4096,
            96_000,
            "a CPU",
            Git("d" * 40, ""),
            versions,
        )
        run_id = mlflow_run.create(client, uri, spec.name, f"bench-{number}")
        header = RunHeader(
            run_id=run_id,
            spec_hash=identity.spec_hash,
            store=HOME_STORE,
            name=spec.name,
            spec=spec.model_dump(mode="json"),
            params=identity.params(),
            tags=identity.tags(),
            dataset=identity.dataset(),
            cost_key="k",
            device="a CPU",
            created_ms=time.time_ns() // 1_000_000,
            launch=f"bench-{number}",
        )
        write_header(header)
        with Journal(header.folder) as journal:
            journal.begin(FROM_START)
            for event in events_of(number, num_points):
                journal.append(event)
        with publishing(header, "spec") as folder:
            (folder / "resolved.yaml").write_text(dump(header.spec))
        pixels = {row: np.full((48, 48, 3), 40 * row, np.uint8) for row in range(2)}
        with publishing(header, EXAMPLES) as folder:
            write_run_examples(folder, evaluation(np.random.default_rng(0), 0, 0.0, 1.0).examples, pixels, "By none.")
        RunSummary.of(header, "").write(header.folder)
        Delivery(client, header).send_all()
        pack(header.folder)
        ids.append(run_id)
    return ids


def measure(out: Path) -> dict[str, float]:
    """Seconds of each part of writing a report on all runs of the working directory."""
    start = time.perf_counter()
    from clipexp.reporting.collect import choose, collect
    from clipexp.reporting.files import write_files
    from clipexp.reporting.render import FIGURES, render
    from clipexp.track.mlflow_store import connect

    client = connect(home().tracking_uri)
    ids = json.loads(Path("ids.json").read_text())
    marks = {"import and connect": time.perf_counter()}
    chosen = choose(client, ids)
    marks["find"] = time.perf_counter()
    evidence = collect(client, chosen, "bench")
    marks["read"] = time.perf_counter()
    files = render(evidence)
    marks["render"] = time.perf_counter()
    write_files(out / "bench", files, (FIGURES, "data"))
    marks["write"] = time.perf_counter()
    found, before = {}, start
    for part, at in marks.items():
        found[part], before = at - before, at
    found["all"] = before - start
    found["MB"] = sum(len(content) for content in files.values()) / 1e6
    return found


def timed(folder: Path) -> dict[str, float]:
    """The same in a process of its own, without anything loaded before."""
    with tempfile.TemporaryDirectory() as out:
        words = [sys.executable, str(Path(__file__).resolve()), "--measure", out]
        done = subprocess.run(words, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def journals_away(folder: Path) -> Iterator[None]:
    """For a while the folder has no journals, as on a machine that only has MLflow's database."""
    journals, away = folder / "mlruns" / "journals", folder / "mlruns" / "journals-away"
    journals.rename(away)
    journals.mkdir()
    try:
        yield
    finally:
        for empty in journals.iterdir():
            empty.rmdir()
        journals.rmdir()
        away.rename(journals)


def rows_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """A size's figures, each with its unit and basis."""
    basis = f"{result['runs']:,} runs of {result['points_a_run']:,} points, curves from {result['curves_from']}"
    parts = [part for part in result if part not in ("runs", "points_a_run", "curves_from")]
    return [
        {"name": part, "value": round(result[part], 3), "unit": "MB" if part == "MB" else "s", "basis": basis}
        for part in parts
    ]


def main() -> None:
    """Make runs, time reports of them, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few runs, one repeat")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the runs there, and keep them")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure)))
        return
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as tmp:
        root = (given.keep or Path(tmp)).resolve()
        for num_runs, num_points in QUICK_SIZES if given.quick else SIZES:
            folder = root / f"{num_runs}x{num_points}"
            if not (folder / "ids.json").exists():
                folder.mkdir(parents=True, exist_ok=True)
                before = Path.cwd()
                os.chdir(folder)
                ids = make_runs(num_runs, num_points)
                Path("ids.json").write_text(json.dumps(ids))
                os.chdir(before)
            repeats = 1 if given.quick else REPEATS
            of_journals = [timed(folder) for _ in range(repeats)]
            with journals_away(folder):
                of_mlflow = [timed(folder)]
            for source, times in (("journals", of_journals), ("MLflow alone", of_mlflow)):
                found = {part: statistics.median(one[part] for one in times) for part in times[0]}
                results.append({"runs": num_runs, "points_a_run": num_points, "curves_from": source, **found})
                parts = ", ".join(f"{part} {found[part]:.2f}" for part in found if part not in ("all", "MB"))
                print(
                    f"{num_runs:,} runs of {num_points:,} points, curves from {source}: {found['all']:.1f} s"
                    f" ({parts}; {found['MB']:.1f} MB; median of {len(times)})",
                    flush=True,
                )
    if given.json:
        given.json.write_text(json.dumps([row for result in results for row in rows_of(result)], indent=1) + "\n")


if __name__ == "__main__":
    main()
