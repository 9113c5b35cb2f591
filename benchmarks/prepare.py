"""Preparing a set: ours beside webdataset and Pillow, which decode in full.

    make setup-peers && python benchmarks/prepare.py [--quick] [--json FILE] [--source-px 512 1024]

The same tars of JPEG files (quality 90, 4:2:0) become raw rows of 224 px, squashed, on 2 cores. Ours tokenizes, looks
for duplicates and takes checksums besides. Every contender is a new process that times itself without its imports; all
take their turn in every round, and ratios are taken within a round. PSNR: ours against Pillow's rows.
"""

import argparse
import io
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).parents[1]
PEERS_PYTHON = ROOT / ".venv-peers/bin/python"
REPORT = ROOT / "reports/benchmarks/prepare"
SIZE_PX, NUM_WORKERS, SHARD_PICTURES, QUALITY = 224, 2, 256, 90
NUM_PICTURES, QUICK_PICTURES, ROUNDS, QUICK_ROUNDS = 8_192, 512, 5, 1
PILLOW, FINE, FAST, ONE_CORE = "webdataset-pillow", "ours-fine", "ours-fast", "ours-fine, 1 core"
TARGETS = {"prepare_vs_pillow": 2.5, "prepare_fast_vs_pillow": 3.7, "psnr_db": 43.0, "psnr_fast_db": 39.0}
OURS = """
import json, os, sys, time
os.sched_setaffinity(0, range(int(sys.argv[2])))
from clipexp.data.prepare import prepare
from clipexp.spec.data import DataSpec
import clipexp.data.picture, simplejpeg, torch
spec = DataSpec.model_validate(json.loads(sys.argv[1]))
start_s = time.perf_counter()
prepare(spec, context_length=77)
print(time.perf_counter() - start_s)
"""


def write_tars(folder: Path, num_pictures: int, source_px: int) -> None:
    """Tars of KEY.jpg and KEY.json: random crops of two photographs, of `source_px` a side."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    from clipexp.data.picture import encode_jpeg

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for start in range(0, num_pictures, SHARD_PICTURES):
        with tarfile.open(folder / f"{start // SHARD_PICTURES:05d}.tar", "w") as tar:
            for i in range(start, min(num_pictures, start + SHARD_PICTURES)):
                photo, side = photos[i % len(photos)], int(rng.integers(SIZE_PX, 420))
                left, upper = rng.integers(0, photo.width - side), rng.integers(0, photo.height - side)
                crop = photo.resize((source_px, source_px), box=(left, upper, left + side, upper + side))
                jpeg = encode_jpeg(np.asarray(crop), QUALITY, "420")
                for name, content in (("jpg", jpeg), ("json", json.dumps({"prompt": f"photograph {i}"}).encode())):
                    member = tarfile.TarInfo(f"{i:08d}.{name}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def prepare_once(contender: str, tars: Path, target: Path) -> float:
    """Seconds that a contender takes.

    Raises:
        subprocess.CalledProcessError: it failed; its message stands above.
    """
    shutil.rmtree(target, ignore_errors=True)
    if contender == PILLOW:
        worker = str(ROOT / "benchmarks/peers/pillow_prepare.py")
        command = [str(PEERS_PYTHON), worker, str(tars), str(target), str(SIZE_PX), str(NUM_WORKERS)]
    else:
        content = {
            "source": {"kind": "webdataset"},
            "path": str(tars),
            "store": str(target),
            "image_size_px": SIZE_PX,
            "encoding": "raw",
            "decode": "fast" if contender == FAST else "fine",
            "tokenizer": {"kind": "trained", "vocab_size": 300},
            "split": {"num_val": 16},
        }
        command = [sys.executable, "-c", OURS, json.dumps(content), "1" if contender == ONE_CORE else str(NUM_WORKERS)]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    return float(done.stdout.split()[-1])


def rows_of(folder: Path) -> dict[str, "np.ndarray[Any, np.dtype[np.uint8]]"]:
    """Pixels by key."""
    rows = {}
    for path in sorted(folder.glob("*.arrow")):
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        column = next(name for name in ("pixels", "image") if name in table.column_names)
        for key, pixels in zip(table["key"].to_pylist(), table[column].to_pylist(), strict=True):
            rows[Path(key).name] = np.frombuffer(pixels, np.uint8)
    return rows


def psnrs(ours: Path, theirs: Path) -> list[float]:
    """DB of each picture, ours against theirs.

    Raises:
        RuntimeError: they don't hold the same pictures, but for duplicates that ours dropped.
    """
    mine, other = rows_of(ours), rows_of(theirs)
    if not mine or not set(mine) <= set(other):
        raise RuntimeError(f"{len(mine)} and {len(other)} rows, of other keys")
    errors = [float(((mine[key].astype(np.float32) - other[key]) ** 2).mean()) for key in mine]
    return [10 * math.log10(255**2 / max(error, 1e-9)) for error in errors]


def measure(source_px: int, num_pictures: int, num_rounds: int) -> dict[str, Any]:
    """Rates, ratios and PSNR for pictures of one size."""
    names = [PILLOW, FINE, FAST, ONE_CORE]
    rates: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_tars(folder / "tars", num_pictures, source_px)
        for name in names:
            prepare_once(name, folder / "tars", folder / name)
        fine, fast = (psnrs(folder / name, folder / PILLOW) for name in (FINE, FAST))
        for _ in range(num_rounds):
            for name in names:
                rates[name].append(num_pictures / prepare_once(name, folder / "tars", folder / name))
    return {
        "source_px": source_px,
        "prepare_vs_pillow": _ratio(rates[FINE], rates[PILLOW]),
        "prepare_fast_vs_pillow": _ratio(rates[FAST], rates[PILLOW]),
        "scaling": _ratio(rates[FINE], rates[ONE_CORE]),
        "psnr_db": statistics.mean(fine),
        "psnr_worst_db": min(fine),
        "psnr_fast_db": statistics.mean(fast),
        "psnr_fast_worst_db": min(fast),
        "rates": rates,
    }


def _ratio(dividends: Sequence[float], divisors: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(dividends, divisors, strict=True))


def markdown(result: Mapping[str, Any]) -> str:
    """The tables of a result."""
    sizes = result["sizes"]
    heads = " | ".join(f"from {size['source_px']} px" for size in sizes)
    lines = [
        "<!-- made by: python benchmarks/prepare.py -->",
        "# Preparing side by side",
        "",
        f"{result['num_pictures']:,} JPEG pictures to raw rows of {SIZE_PX} px, {NUM_WORKERS} cores; "
        f"{result['num_rounds']} rounds, {result['machine']}.",
        "",
        "![pictures per second of each](prepare.svg)",
        "",
        f"| pictures/s, median | {heads} |",
        "|---|" + "---:|" * len(sizes),
    ]
    for name in sizes[0]["rates"]:
        lines.append(f"| {name} | " + " | ".join(f"{statistics.median(s['rates'][name]):,.0f}" for s in sizes) + " |")
    lines += ["", f"| figure | {heads} | asked |", "|---|" + "---:|" * (len(sizes) + 1)]
    for name in (key for key in sizes[0] if key not in ("source_px", "rates")):
        asked = f"{TARGETS[name]:g}" if name in TARGETS else ""
        lines.append(f"| {name} | " + " | ".join(f"{size[name]:.2f}" for size in sizes) + f" | {asked} |")
    return "\n".join(lines) + "\n"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """A bar a contender and size."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "clipexp"
    labels, values = [], []
    for size in result["sizes"]:
        for name, rates in size["rates"].items():
            labels.append(f"{name}, from {size['source_px']} px")
            values.append(statistics.median(rates))
    figure, axes = plt.subplots(figsize=(8, 0.34 * len(labels) + 0.9), layout="constrained")
    colours = ["#1f6feb" if label.startswith("ours") else "#d9a441" for label in labels[::-1]]
    bars = axes.barh(labels[::-1], values[::-1], color=colours)
    axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values[::-1]], padding=3, fontsize=8)
    axes.set_xlim(right=1.12 * max(values))
    axes.set_xlabel(f"pictures/s to raw rows of {SIZE_PX} px")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pictures, one round; writes no report")
    parser.add_argument("--json", type=Path, help="write the result there too")
    parser.add_argument("--source-px", type=int, nargs="+", default=[512, 1024], help="sizes of the pictures taken")
    options = parser.parse_args()
    if not PEERS_PYTHON.exists():
        sys.exit("webdataset is missing; run: make setup-peers")
    num_pictures, num_rounds = (QUICK_PICTURES, QUICK_ROUNDS) if options.quick else (NUM_PICTURES, ROUNDS)
    result = {
        "num_pictures": num_pictures,
        "num_rounds": num_rounds,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "sizes": [measure(size, num_pictures, num_rounds) for size in options.source_px],
    }
    print(markdown(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if not options.quick:
        REPORT.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        REPORT.with_suffix(".md").write_text(markdown(result))
        draw(result, REPORT.with_suffix(".svg"))


if __name__ == "__main__":
    main()
