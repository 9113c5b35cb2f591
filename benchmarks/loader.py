"""Our loader beside webdataset, mosaicml-streaming, litdata and HF datasets, and beside the limits.

    make setup-peers && python benchmarks/loader.py [--quick] [--json FILE] [--keep FOLDER]

224 px, batches of 256, shuffled, 2 threads or processes each, the same JPEG files (quality 90, 4:2:0; ours are decoded
and encoded once more as `data prepare` does). Limits: memcpy of the same rows, and the decoder alone. Each contender is
a process that waits while another is measured; all take their turn in every round, and ratios are taken within a
round. Cold contenders are new processes each time, after the system was told to forget their files.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.sets import BATCH_SIZE, NUM_WORKERS, SIZE_PX, cold_files, drop_from_memory, write_sets
from benchmarks.peers.worker import CONTENDERS

ROOT = Path(__file__).parents[1]
PEERS_PYTHON = ROOT / ".venv-peers/bin/python"
WORKER = ROOT / "benchmarks/peers/worker.py"
REPORT = ROOT / "reports/benchmarks/loader"
NUM_PICTURES, QUICK_PICTURES = 16_384, 2_048
ROUNDS, QUICK_ROUNDS, COLD_ROUNDS, ROUND_S, QUICK_ROUND_S = 7, 3, 3, 3.0, 1.0
WARM_UP_BATCHES, COLD_LEAST_BATCHES, LEAST_BATCHES = 8, 4, 8
LIMITS = {"memcpy", "decoder"}
IN_OUR_VENV = ("ours", "memcpy", "decoder", "cold")
# name: (dividend, divisor, least that is asked, or None)
RATIOS: dict[str, tuple[str, str, float | None]] = {
    "raw_vs_memcpy": ("ours-raw", "memcpy", 0.75),
    "raw_vs_webdataset": ("ours-raw", "webdataset-pillow", 30.0),
    "raw_vs_mosaic": ("ours-raw", "mosaic-raw", 10.0),
    "raw_fresh_vs_mosaic": ("ours-raw-fresh", "mosaic-raw", None),
    "jpeg_vs_webdataset": ("ours-jpeg", "webdataset-pillow", 3.3),
    "jpeg_vs_litdata": ("ours-jpeg", "litdata-simplejpeg", 1.8),
    "jpeg_vs_litdata_pillow": ("ours-jpeg", "litdata-pillow", None),
    "jpeg_vs_mosaic": ("ours-jpeg", "mosaic-pillow", None),
    "jpeg_vs_hf": ("ours-jpeg", "hf-pillow", None),
    "jpeg_vs_decoder": ("ours-jpeg", "decoder", 0.9),
    "jpeg_fresh_vs_webdataset": ("ours-jpeg-fresh", "webdataset-pillow", 2.0),
    "jpeg_fresh_vs_litdata": ("ours-jpeg-fresh", "litdata-simplejpeg", 1.2),
    "cold_raw_vs_map": ("cold-ours-raw", "cold-map-raw", 10.0),
    "cold_raw_vs_map_threads": ("cold-ours-raw", "cold-map-raw-threads", None),
    "cold_jpeg_vs_map": ("cold-ours-jpeg", "cold-map-jpeg", None),
}


class Contender:
    """A worker process."""

    def __init__(self, name: str, folder: Path) -> None:
        python = sys.executable if name.startswith(IN_OUR_VENV) else str(PEERS_PYTHON)
        environment = {**os.environ, "OMP_NUM_THREADS": str(NUM_WORKERS), "PYTHONPATH": str(ROOT)}
        self.name = name
        self.process = subprocess.Popen(
            [python, str(WORKER), name, str(folder)],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
        )

    def measure(self, num_warm_up: int, duration_s: float, least: int) -> dict[str, float]:
        """What the worker answers, with `samples_per_s`.

        Raises:
            RuntimeError: it ended.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError(f"{self.name} has no pipes")
        self.process.stdin.write(f"{num_warm_up} {duration_s} {least}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}; its message stands above")
        result: dict[str, float] = json.loads(answer)
        return {**result, "samples_per_s": result["num_samples"] / result["s"]}

    def end(self) -> None:
        """End the process and what it started."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


@contextmanager
def started(name: str, folder: Path) -> Iterator[Contender]:
    """A contender that is ended."""
    contender = Contender(name, folder)
    try:
        yield contender
    finally:
        contender.end()


def measure_warm(folder: Path, num_rounds: int, round_s: float) -> dict[str, list[float]]:
    """Samples/s by contender, a number a round, files in the system's cache."""
    names = [name for name in CONTENDERS if not name.startswith("cold-")]
    contenders: list[Contender] = []
    rates: dict[str, list[float]] = {name: [] for name in names}
    try:
        for name in names:
            contenders.append(Contender(name, folder))
            contenders[-1].measure(WARM_UP_BATCHES, round_s, LEAST_BATCHES)
        for _ in range(num_rounds):
            for contender in contenders:
                rates[contender.name].append(contender.measure(2, round_s, LEAST_BATCHES)["samples_per_s"])
        return rates
    finally:
        for contender in contenders:
            contender.end()


def measure_cold(folder: Path, num_rounds: int, round_s: float) -> dict[str, list[float]]:
    """Samples/s by contender, a number a round; every time a new process that finds nothing in memory."""
    names = [name for name in CONTENDERS if name.startswith("cold-")]
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(num_rounds):
        for name in names:
            drop_from_memory(cold_files(folder, name))
            with started(name, folder) as contender:
                rates[name].append(contender.measure(0, round_s, COLD_LEAST_BATCHES)["samples_per_s"])
    return rates


def ratios(rates: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Medians over the rounds of the ratios within a round."""
    return {
        name: statistics.median(a / b for a, b in zip(rates[dividend], rates[divisor], strict=True))
        for name, (dividend, divisor, _) in RATIOS.items()
    }


def markdown(result: Mapping[str, Any]) -> str:
    """The tables of a result."""
    rows = [
        f"| {name} | {statistics.median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} |"
        for name, rates in result["rates"].items()
    ]
    lines = [
        "<!-- made by: python benchmarks/loader.py -->",
        "# Loaders side by side",
        "",
        f"{result['num_pictures']:,} pictures of {SIZE_PX} px, batches of {BATCH_SIZE}, shuffled, {NUM_WORKERS} threads"
        f" or processes each; {result['num_rounds']} rounds ({COLD_ROUNDS} cold ones), {result['machine']}.",
        "",
        "![samples per second of each loader](loader.svg)",
        "",
        "| loader | samples/s, median | all rounds |",
        "|---|---:|---:|",
        *rows,
        "",
        "| ratio | measured | asked |",
        "|---|---:|---:|",
        *(
            f"| {name} | {result[name]:.2f} | {'' if asked is None else f'{asked:g}'} |"
            for name, (_, _, asked) in RATIOS.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """A bar a contender."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "clipexp"
    rates = {name: statistics.median(values) for name, values in result["rates"].items()}
    figure, axes = plt.subplots(figsize=(8, 0.34 * len(rates) + 0.9), layout="constrained")
    names = list(rates)[::-1]
    colours = ["#9aa0a6" if name in LIMITS else "#1f6feb" if "ours" in name else "#d9a441" for name in names]
    bars = axes.barh(names, [rates[name] for name in names], color=colours)
    axes.bar_label(bars, labels=[f"{rates[name]:,.0f}" for name in names], padding=3, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(right=2.5 * max(rates.values()))
    axes.set_xlabel(f"samples/s (log), {SIZE_PX} px, {NUM_WORKERS} threads or processes")
    axes.set_title("blue: clipexp; grey: limits; yellow: others", fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Make the sets, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pictures and rounds; writes no report")
    parser.add_argument("--json", type=Path, help="write the result there too")
    parser.add_argument("--keep", type=Path, help="keep the sets there, and take those that are there")
    options = parser.parse_args()
    if not PEERS_PYTHON.exists():
        sys.exit("the other loaders are missing; run: make setup-peers")
    num_pictures = QUICK_PICTURES if options.quick else NUM_PICTURES
    num_rounds, round_s = (QUICK_ROUNDS, QUICK_ROUND_S) if options.quick else (ROUNDS, ROUND_S)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        write_sets(folder, num_pictures)
        rates = measure_warm(folder, num_rounds, round_s) | measure_cold(folder, COLD_ROUNDS, round_s)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    result = {"num_pictures": num_pictures, "num_rounds": num_rounds, "machine": machine, **ratios(rates)}
    result["rates"] = rates
    print(markdown(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if not options.quick:
        REPORT.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        REPORT.with_suffix(".md").write_text(markdown(result))
        draw(result, REPORT.with_suffix(".svg"))


if __name__ == "__main__":
    main()
