"""How much of a training step's time goes to waiting for data: on the CPU, and for a consumer as fast as a GPU.

    python benchmarks/data_wait.py [--quick] [--json FILE] [--keep FOLDER]

224 px, shuffled, raw and JPEG (quality 90, 4:2:0), prepared here from random crops of scikit-learn's photographs.

On the CPU the real loop trains a small model; the share is the run's own `system/data_wait_frac`, whose computing and
loading threads share the cores. The consumer of a GPU's speed takes batches of 256 through the real feed and sleeps
for as long as its step would take, which leaves the cores to the loader as a GPU does. With CUDA, batches are copied
to the device, and the share is the device's own time; without, they stay where they are. 10,000 samples/s are asked
for on 16 cores, 625 a core; with fewer cores the same rate a core is measured beside it.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from clipexp.data.loader import Loader
from clipexp.data.prepare import prepare
from clipexp.data.store import Store
from clipexp.data.table import PairTable
from clipexp.events import StepEvent
from clipexp.spec.load import resolve
from clipexp.spec.run import RunSpec
from clipexp.train.device import describe_device
from clipexp.train.feed import Feed
from clipexp.train.loop import Evaluation, Hooks, train

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "reports/benchmarks/data_wait"
SIZE_PX, NUM_PAIRS, QUICK_PAIRS = 224, 4_096, 768
CPU_BATCH, CPU_STEPS, QUICK_STEPS = 64, 12, 3
CONSUMER_BATCH, CONSUMER_S, QUICK_CONSUMER_S = 256, 10.0, 3.0
ROUNDS, QUICK_ROUNDS = 3, 1
WANTED_RATE, WANTED_CORES, WANTED_SHARE = 10_000, 16, 0.01


def content(folder: Path, encoding: str, num_pairs: int, num_steps: int) -> dict[str, Any]:
    """A run of a model that has the lab's shape at a tenth of its size."""
    jpeg = {"jpeg_quality": 90, "jpeg_subsampling": "420"} if encoding == "jpeg" else {}
    return {
        "name": f"data-wait-{encoding}",
        "data": {
            "source": {"kind": "folder"},
            "path": str(folder / f"pictures-{num_pairs}"),
            "store": str(folder / f"store-{num_pairs}-{encoding}"),
            "image_size_px": SIZE_PX,
            "encoding": encoding,
            "tokenizer": {"kind": "trained", "vocab_size": 1024},
            "split": {"num_val": 64},
            **jpeg,
        },
        "model": {
            "image_size_px": SIZE_PX,
            "patch_size_px": 16,
            "embed_dim": 128,
            "context_length": 32,
            "vision": {"width": 192, "layers": 4, "heads": 4},
            "text": {"width": 128, "layers": 2, "heads": 4},
        },
        "optim": {"max_lr": 5e-4},
        "train": {
            "batch_size": CPU_BATCH,
            "budget": {"samples": num_steps * CPU_BATCH},
            "device": "cpu",
            "log_every_samples": num_steps * CPU_BATCH,
        },
    }


def write_pictures(folder: Path, num_pictures: int) -> None:
    """Crops of photographs, each with a caption in a file beside it."""
    if folder.exists():
        return
    folder.mkdir(parents=True)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    rng = np.random.default_rng(0)
    for i in range(num_pictures):
        photo, side = photos[i % len(photos)], int(rng.integers(SIZE_PX, 420))
        left, upper = int(rng.integers(photo.width - side)), int(rng.integers(photo.height - side))
        crop = photo.resize((SIZE_PX, SIZE_PX), box=(left, upper, left + side, upper + side))
        crop.save(folder / f"{i:06d}.jpg", quality=95)
        (folder / f"{i:06d}.txt").write_text(f"a square of photograph {i % len(photos)} at {left}, {upper}\n")


def table_of(spec: RunSpec) -> PairTable:
    """The training pairs."""
    return Store(Path(spec.data.store)).table("train", spec.data.tokenizer, spec.model.context_length)


def share_in_training(spec: RunSpec) -> dict[str, float]:
    """The run's own share and rate, over all its steps, from the very first batch on."""
    with tempfile.TemporaryDirectory() as checkpoints:
        hooks = Hooks(lambda _: Evaluation(0.0, {}), lambda: None, Path(checkpoints) / "run", "0" * 12)
        events = list(train(spec, table_of(spec), torch.device("cpu"), hooks))
    (told,) = [event.metrics for event in events if isinstance(event, StepEvent)]
    return {"share": told["system/data_wait_frac"], "samples_per_s": told["system/samples_per_s"]}


def share_of_consumer(spec: RunSpec, device: torch.device, rate: float, duration_s: float) -> dict[str, float]:
    """The share for one that could take `rate` samples/s, and what it got, from the second batch on."""
    step_s = CONSUMER_BATCH / rate
    num_batches = max(2, round(duration_s / step_s))
    loader = Loader(table_of(spec), spec.data, CONSUMER_BATCH, seed=0)
    with closing(Feed(loader, device, 0, num_batches + 1)) as feed:
        next(feed)
        feed.waited_s()
        start_s = time.perf_counter()
        for _ in range(num_batches):
            due_s = time.perf_counter() + step_s
            while (left_s := due_s - time.perf_counter()) > 0:
                time.sleep(left_s)
            next(feed)
        waited_s, took_s = feed.waited_s(), time.perf_counter() - start_s
    return {"share": waited_s / took_s, "samples_per_s": num_batches * CONSUMER_BATCH / took_s, "rate": rate}


def measure(folder: Path, *, quick: bool) -> dict[str, Any]:
    """All shares: medians and the highest over the rounds."""
    num_pairs, num_steps = (QUICK_PAIRS, QUICK_STEPS) if quick else (NUM_PAIRS, CPU_STEPS)
    duration_s = QUICK_CONSUMER_S if quick else CONSUMER_S
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cores = os.cpu_count() or 1
    rates = {WANTED_RATE * min(cores, WANTED_CORES) // WANTED_CORES, WANTED_RATE}
    specs = {name: resolve(content(folder, name, num_pairs, num_steps)).spec for name in ("raw", "jpeg")}
    for spec in specs.values():
        write_pictures(Path(spec.data.path or ""), num_pairs)
        prepare(spec.data, spec.model.context_length)
    rounds: dict[str, list[dict[str, float]]] = {}
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        for name, spec in specs.items():
            rounds.setdefault(f"cpu_{name}", []).append(share_in_training(spec))
        for rate in sorted(rates):
            found = share_of_consumer(specs["jpeg"], device, rate, duration_s)
            rounds.setdefault(f"consumer_jpeg_{rate}", []).append(found)
    return {
        "processor": describe_device(torch.device("cpu")),
        "device": describe_device(device),
        "cores": cores,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "num_pairs": num_pairs,
        "rounds": rounds,
        **{f"{name}_wait_frac": statistics.median(one["share"] for one in found) for name, found in rounds.items()},
    }


def markdown(result: Mapping[str, Any]) -> str:
    """The table of a result."""
    num_rounds = len(next(iter(result["rounds"].values())))
    lines = [
        "<!-- made by: python benchmarks/data_wait.py -->",
        f"{result['processor']}, {result['cores']} cores; the consumer's batches go to: {result['device']}.",
        f"{SIZE_PX} px, {result['num_pairs']:,} pairs, median and worst of {num_rounds} rounds; asked: under"
        f" {WANTED_SHARE:.0%}, and from JPEG at {WANTED_RATE:,} samples/s on {WANTED_CORES} cores with a GPU.",
        "",
        "| what waits | samples/s | time spent waiting | worst round |",
        "|---|---:|---:|---:|",
    ]
    for name, found in result["rounds"].items():
        what = {"cpu_raw": "training on the CPU, raw", "cpu_jpeg": "training on the CPU, JPEG"}.get(
            name, f"a consumer of {found[0].get('rate', 0):,.0f} samples/s, JPEG"
        )
        rate = statistics.median(one["samples_per_s"] for one in found)
        shares = [one["share"] for one in found]
        lines.append(f"| {what} | {rate:,.0f} | {statistics.median(shares):.3%} | {max(shares):.3%} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prepare, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pairs, steps and rounds; reports/ stays as it is")
    parser.add_argument("--json", type=Path, help="write the result there too")
    parser.add_argument("--keep", type=Path, help="keep the stores there, and take those that are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clipexp-data-wait-") as temporary:
        result = measure((options.keep or Path(temporary)).resolve(), quick=options.quick)
    print(markdown(result))
    text = json.dumps(result, indent=1) + "\n"
    if options.json:
        options.json.write_text(text)
    if not options.quick:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.with_suffix(".json").write_text(text)
        RESULT.with_suffix(".md").write_text(markdown(result))


if __name__ == "__main__":
    main()
