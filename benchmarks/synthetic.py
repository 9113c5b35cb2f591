"""What a store of two million pairs costs to open and to shuffle: a synthetic one, of raw pictures of 8 px.

    python benchmarks/synthetic.py [--pairs N] [--json FILE] [--keep FOLDER]

Makes the store (noise, one caption each), then opens it in a process of its own, which loads an epoch's order and some
batches, and says what its memory grew by. Pages of the store itself that the system keeps are not counted: they are
given back when memory is short. Shards are of 2 MB, so that there are as many as raw pictures of 224 px would take.
"""

import argparse
import contextlib
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from clipexp.data.loader import Loader
from clipexp.data.manifest import MANIFEST_FILE, Manifest, Shard, file_sha256, shards_checksum, store_settings
from clipexp.data.store import Store
from clipexp.data.tokens import write_tokens
from clipexp.spec.data import DataSpec

NUM_PAIRS, NUM_VAL = 2_000_000, 1_024
SIZE_PX, CONTEXT_LENGTH = 8, 8
ROWS_A_SHARD = 891  # as many raw pictures of 224 px as 128 MiB hold
ROUNDS = 5
LIMITS = {"open_2m_s": 2.0, "shuffle_2m_s": 2.0, "index_2m_mb": 100.0}


def spec_of(store: Path) -> DataSpec:
    """The data section of a run on it."""
    return DataSpec.model_validate(
        {
            "source": {"kind": "scenes-v1", "num_pairs": NUM_PAIRS},  # nominal: the pictures are noise
            "store": str(store),
            "image_size_px": SIZE_PX,
            "tokenizer": {"kind": "trained", "vocab_size": 300},
        }
    )


def make_store(folder: Path, num_pairs: int) -> DataSpec:
    """Write the store with the project's own manifest and tokens; there already, it stays."""
    spec = spec_of(folder)
    if (folder / MANIFEST_FILE).exists():
        return spec
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    shards = [
        _write_shard(folder, side, number, min(ROWS_A_SHARD, num - start), rng)
        for side, num in (("train", num_pairs), ("val", NUM_VAL))
        for number, start in enumerate(range(0, num, ROWS_A_SHARD))
    ]
    manifest = Manifest(
        settings=store_settings(spec),
        num_train=num_pairs,
        num_val=NUM_VAL,
        num_left_out=0,
        num_dropped_by_reason={},
        dropped_examples_by_reason={},
        shards=tuple(shards),
        licence="none",
        attribution="",
        versions={"clipexp": version("clipexp")},
        checksum=shards_checksum(tuple(shards)),
    )
    (folder / MANIFEST_FILE).write_bytes(manifest.to_json().encode())
    write_tokens(Store(folder), spec.tokenizer, CONTEXT_LENGTH)
    return spec


def _write_shard(folder: Path, side: str, number: int, num_rows: int, rng: np.random.Generator) -> Shard:
    row_bytes = SIZE_PX**2 * 3
    pixels = rng.integers(0, 256, num_rows * row_bytes, np.uint8)
    batch = pa.record_batch(
        {
            "key": pa.array([f"{side}-{number:05d}-{row:04d}" for row in range(num_rows)]),
            "image": pa.FixedSizeBinaryArray.from_buffers(pa.binary(row_bytes), num_rows, [None, pa.py_buffer(pixels)]),
            "captions": pa.array([["a picture of noise"]] * num_rows, pa.list_(pa.string())),
        }
    )
    path = folder / f"{side}-{number:05d}.arrow"
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, batch.schema) as writer:
        writer.write_batch(batch)
    return Shard(path.name, side, num_rows, path.stat().st_size, file_sha256(path))


def measure(store: Path) -> dict[str, float]:
    """In a process of its own: seconds to open and to shuffle, MB of memory that this took, and batches a second."""
    spec = spec_of(store)
    Loader(Store(store).table("val", spec.tokenizer, CONTEXT_LENGTH), spec, 256, 0).batch(0)  # libraries are loaded
    before_mb = _own_mb()
    start_s = time.perf_counter()
    table = Store(store).table("train", spec.tokenizer, CONTEXT_LENGTH)
    opened_s = time.perf_counter()
    loader = Loader(table, spec, 256, seed=0)
    loader.rows(0)
    shuffled_s = time.perf_counter()
    for _ in loader.batches(table.num_pairs - 256 * 20, 40, reuse=True):  # over an epoch's end: two orders at once
        pass
    return {
        "open_2m_s": opened_s - start_s,
        "shuffle_2m_s": shuffled_s - opened_s,
        "index_2m_mb": _own_mb() - before_mb,
        "files_open": float(psutil.Process().num_fds()),
        "limit_files_open": float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    }


def _own_mb() -> float:
    """Memory that is this process's alone: resident, less what is mapped from files."""
    memory = psutil.Process().memory_info()
    return float(memory.rss - memory.shared) / 1e6


def report(store: Path) -> dict[str, float]:
    """Medians over processes."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rounds = [pool.apply(measure, (store,)) for _ in range(ROUNDS)]
    return {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}


@contextlib.contextmanager
def folder_of(keep: Path | None) -> Iterator[Path]:
    """A folder to keep, or one that goes."""
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="clipexp-synthetic-") as made:
        yield Path(made)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=NUM_PAIRS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with folder_of(options.keep) as folder:
        store = folder / f"synthetic-{options.pairs}"
        make_store(store, options.pairs)
        found = report(store)
    for name, value in found.items():
        limit = f" (asked: at most {LIMITS[name]:g})" if name in LIMITS else ""
        print(f"{name:18s} {value:10.3f}{limit}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"pairs": options.pairs, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
