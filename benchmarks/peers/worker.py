"""One contender of benchmarks/loader.py in a process of its own, which loads batches when told to.

    .venv-peers/bin/python benchmarks/peers/worker.py litdata-simplejpeg FOLDER

Reads lines of `WARM_UP SECONDS LEAST` from standard input: batches that are not counted, then how long to load, and
how many batches at the least. Answers each with a line of JSON, see `measure`. Other libraries need no clipexp here,
but for the import of torchvision beside a torch without CUDA.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.rivals import by_pillow, by_simplejpeg, hf, litdata, mosaic_jpeg, mosaic_raw, webdataset
from benchmarks.peers.sets import BATCH_SIZE, NUM_WORKERS, ROW_SHAPE, SIZE_PX, own_spec

FOREVER = 1_000_000  # batches


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    batches = CONTENDERS[sys.argv[1]](Path(sys.argv[2]))
    for line in sys.stdin:
        warm_up, duration_s, least = line.split()
        answers.write(json.dumps(measure(batches, int(warm_up), float(duration_s), int(least))) + "\n")
        answers.flush()


def measure(batches: Iterator[Any], num_warm_up: int, duration_s: float, least: int) -> dict[str, float]:
    """Samples, seconds, bytes from the disk and faults that waited for it; the mean pixel of the last batch.

    Processes hand out their batches in pairs, so an even number is timed.
    """
    for _ in range(num_warm_up):
        next(batches)
    before, start_s, num_batches = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter(), 0
    while num_batches < least or time.perf_counter() - start_s < duration_s:
        for _ in range(NUM_WORKERS):
            batch = next(batches)
            require_pictures(batch)
            num_batches += 1
    took_s, after = time.perf_counter() - start_s, resource.getrusage(resource.RUSAGE_SELF)
    return {
        "num_samples": num_batches * BATCH_SIZE,
        "s": took_s,
        "read_bytes": 512 * (after.ru_inblock - before.ru_inblock),
        "major_faults": after.ru_majflt - before.ru_majflt,
        "mean": float(np.asarray(batch).mean()),
    }


def require_pictures(batch: Any) -> None:
    """All contenders hand out the same amount. Raises ValueError."""
    shapes = {(BATCH_SIZE, *ROW_SHAPE), (BATCH_SIZE, 3, SIZE_PX, SIZE_PX)}
    if tuple(batch.shape) not in shapes or not str(batch.dtype).endswith("uint8"):
        raise ValueError(f"a batch of {batch.dtype} {tuple(batch.shape)}, expected uint8 of one of {shapes}")


def ours(encoding: str, *, fresh: bool = False) -> Callable[[Path], Iterator[Any]]:
    """Our loader; fresh: as a newly allocated tensor of (batch, 3, height, width), as the others hand out."""

    def batches(folder: Path) -> Iterator[Any]:
        from clipexp.data.loader import Loader

        table, spec = own_table(folder, encoding)
        loader = Loader(table, spec, BATCH_SIZE, seed=0)
        pixels = (batch.pixels for batch in loader.batches(0, FOREVER, reuse=True))
        return as_new_tensors(pixels) if fresh else pixels

    return batches


def as_new_tensors(pixels: Iterator[Any]) -> Iterator[Any]:
    """uint8 (batch, 3, height, width), copied from (batch, height, width, 3)."""
    import torch

    return (torch.from_numpy(one).permute(0, 3, 1, 2).contiguous() for one in pixels)


def own_table(folder: Path, encoding: str) -> tuple[Any, Any]:
    """Our store's training pairs, and the data section."""
    from clipexp.data.store import Store

    spec = own_spec(folder, encoding)
    return Store(Path(spec.store)).table("train", spec.tokenizer, context_length=16), spec


def shuffled(num_rows: int) -> Iterator[np.ndarray[Any, Any]]:
    """Row numbers of each batch."""
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(num_rows)
        for start in range(0, num_rows - BATCH_SIZE + 1, BATCH_SIZE):
            yield order[start : start + BATCH_SIZE]


def in_threads(num_rows: int, fill: Callable[[Any, Any], None]) -> Iterator[Any]:
    """One array filled again and again, a slice a thread: `fill(rows, part of the array)`."""
    out = np.empty((BATCH_SIZE, *ROW_SHAPE), np.uint8)
    outs = np.array_split(out, NUM_WORKERS)
    with ThreadPoolExecutor(NUM_WORKERS) as pool:
        for rows in shuffled(num_rows):
            list(pool.map(fill, np.array_split(rows, NUM_WORKERS), outs))
            yield out


def memcpy(folder: Path) -> Iterator[Any]:
    """The limit of raw: the same rows copied from one array in memory into another."""
    table, _ = own_table(folder, "raw")
    source = np.concatenate([table.pixels(part) for part in np.array_split(np.arange(table.num_pairs), 64)])
    return in_threads(len(source), lambda rows, out: np.take(source, rows, axis=0, out=out, mode="clip"))


def decode_into(files: Any) -> Callable[[Any, Any], None]:
    """Decode some of the files into rows of an array."""
    import simplejpeg

    def decode(rows: Any, out: Any) -> None:
        for row, picture in zip(rows.tolist(), out, strict=True):
            simplejpeg.decode_jpeg(files[row], colorspace="RGB", buffer=picture)

    return decode


def decoder(folder: Path) -> Iterator[Any]:
    """The limit of jpeg: the files of our store decoded in threads from memory, and nothing else."""
    import pyarrow as pa

    files: list[bytes] = []
    for path in sorted((folder / "jpeg").glob("train-*.arrow")):
        with pa.memory_map(str(path)) as mapped:
            files += pa.ipc.open_file(mapped).get_batch(0).column("image").to_pylist()
    return in_threads(len(files), decode_into(files))


def map_raw(folder: Path) -> Iterator[Any]:
    """A shuffled memory map: each batch newly gathered by its row numbers, as numpy does it."""
    source = np.memmap(folder / "pixels.bin", np.uint8, "r").reshape(-1, *ROW_SHAPE)
    return (source[rows] for rows in shuffled(len(source)))


def map_raw_threads(folder: Path) -> Iterator[Any]:
    """The same map gathered in as many threads as we have, into an array that is there already."""
    source = np.memmap(folder / "pixels.bin", np.uint8, "r").reshape(-1, *ROW_SHAPE)
    return in_threads(len(source), lambda rows, out: np.take(source, rows, axis=0, out=out, mode="clip"))


class _MappedFiles:
    """files[row]: one file's bytes."""

    def __init__(self, folder: Path) -> None:
        self.offsets = np.load(folder / "offsets.npy")
        self.data = np.memmap(folder / "jpegs.bin", np.uint8, "r")

    def __getitem__(self, row: int) -> Any:
        return self.data[self.offsets[row] : self.offsets[row + 1]]


def map_jpeg(folder: Path) -> Iterator[Any]:
    """A shuffled memory map of files, decoded in as many threads as we have."""
    files = _MappedFiles(folder)
    return in_threads(len(files.offsets) - 1, decode_into(files))


CONTENDERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    "memcpy": memcpy,
    "ours-raw": ours("raw"),
    "ours-raw-fresh": ours("raw", fresh=True),
    "mosaic-raw": mosaic_raw,
    "decoder": decoder,
    "ours-jpeg": ours("jpeg"),
    "ours-jpeg-fresh": ours("jpeg", fresh=True),
    "litdata-simplejpeg": litdata(by_simplejpeg),
    "litdata-pillow": litdata(by_pillow),
    "mosaic-pillow": mosaic_jpeg,
    "hf-pillow": hf,
    "webdataset-pillow": webdataset,
    "cold-ours-raw": ours("raw"),
    "cold-map-raw-threads": map_raw_threads,
    "cold-map-raw": map_raw,
    "cold-ours-jpeg": ours("jpeg"),
    "cold-map-jpeg": map_jpeg,
}

if __name__ == "__main__":
    main()
