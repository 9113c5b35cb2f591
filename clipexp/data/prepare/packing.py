"""Packing: the rows of all parts, split into sides and packed into Arrow shards.

    plan = plan_shards(spec, parts)
    for job in plan.jobs(folder): pack_shard(job)

A shard is written under another name, renamed when it is whole, and then noted beside it; so packing goes on where it
was cut off. Validation and test sets come first, and training in the source's order: a part's pictures can go as soon
as the shards that need them are there, so that the disk holds little more than the store itself.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xxhash
from numpy.typing import NDArray

from clipexp.data.manifest import Shard, Side, file_sha256
from clipexp.data.prepare.parts import ReadPart
from clipexp.data.sources import Drop
from clipexp.data.split import NO_TEST, Groups, Rows, split_pairs
from clipexp.spec.data import DataSpec

if TYPE_CHECKING:
    import pyarrow as pa

SHARD_BYTES = 128 << 20  # of raw pictures; those of JPEG hold as many rows
ROW_COLUMNS = ("key", "captions")


@dataclass(frozen=True)
class Plan:
    """Which rows of which parts stand on which side; rows count over all parts."""

    idx_by_side: Mapping[Side, Rows]
    left_out_idx: Rows
    duplicate_idx: Rows


@dataclass(frozen=True)
class ShardJob:
    """One shard to pack: `rows` (count over all `parts`, which begin at `starts`)."""

    folder: Path
    file: str
    side: Side
    parts: tuple[ReadPart, ...]
    starts: tuple[int, ...]
    rows: Rows
    encoding: str

    @property
    def path(self) -> Path:
        """Where it goes."""
        return self.folder / self.file

    @property
    def made_from(self) -> str:
        """Changes with the content of its parts and with which of their rows it holds."""
        found = xxhash.xxh3_128(self.rows.tobytes())
        found.update(" ".join(f"{part.pictures_sum} {part.rows_sum}" for part in self.parts).encode())
        return found.hexdigest()

    @property
    def note(self) -> Path:
        """What says that it is there, and its checksum."""
        return self.folder / f"{self.file}.json"


def plan_shards(spec: DataSpec, parts: Sequence[ReadPart]) -> Plan:
    """Leave out duplicates where the spec asks so, and split what is left."""
    groups, tests, test = _groups(parts), *_tests(parts)
    num_rows = len(groups)
    duplicate_idx = np.empty(0, np.int64)
    if spec.filters is not None and spec.filters.duplicates == "drop":
        duplicate_idx = _repeated(_pixel_hashes(parts))
    kept = np.setdiff1d(np.arange(num_rows), duplicate_idx, assume_unique=True)
    split = split_pairs(groups.take(kept), spec.split.num_val, spec.split.seed, test[kept])
    sides = {"train": split.train_idx, "val": split.val_idx, **dict(zip(tests, split.test_idx, strict=True))}
    return Plan({side: kept[idx] for side, idx in sides.items()}, kept[split.left_out_idx], duplicate_idx)


def shard_jobs(spec: DataSpec, parts: Sequence[ReadPart], plan: Plan, folder: Path) -> list[ShardJob]:
    """All shards, in the order of packing: training last."""
    rows_a_shard = max(1, SHARD_BYTES // (spec.image_size_px**2 * 3))
    starts = np.cumsum([0, *(part.num_rows for part in parts)])
    jobs = []
    for side in sorted(plan.idx_by_side, key=lambda side: side == "train"):
        idx = plan.idx_by_side[side]
        for number, start in enumerate(range(0, len(idx), rows_a_shard)):
            rows = idx[start : start + rows_a_shard]
            needed = np.unique(np.searchsorted(starts, rows, side="right") - 1)
            jobs.append(
                ShardJob(
                    folder,
                    f"{side}-{number:05d}.arrow",
                    side,
                    tuple(dataclasses.replace(parts[i], drops=()) for i in needed),  # which may be many
                    tuple(starts[needed].tolist()),
                    rows,
                    spec.encoding,
                )
            )
    return jobs


def packed(job: ShardJob) -> Shard | None:
    """A shard that an earlier process packed, every byte of it; None if it did not."""
    try:
        content = json.loads(job.note.read_bytes())
        is_same, shard = content.pop("made_from") == job.made_from, Shard(**content)
        is_whole = is_same and file_sha256(job.path) == shard.sha256
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return shard if is_whole else None


def pack_shard(job: ShardJob) -> Shard:
    """Write one shard in a worker. Raises OSError where it can't be written or its parts can't be read."""
    import pyarrow as pa

    part = np.searchsorted(job.starts, job.rows, side="right") - 1
    order = np.argsort(part, kind="stable")  # part by part; `back` undoes it
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    pieces = [(job.parts[number], job.rows[part == number] - job.starts[number]) for number in np.unique(part).tolist()]
    table = pa.concat_tables([found.gather(rows, ROW_COLUMNS) for found, rows in pieces]).combine_chunks()
    columns = table.take(pa.array(back)).combine_chunks().to_batches()[0]
    images = _raw(pieces, back) if job.encoding == "raw" else _encoded(pieces, back)
    batch = pa.record_batch({"key": columns["key"], "image": images, "captions": columns["captions"]})
    tmp = job.path.with_suffix(".tmp")
    with pa.OSFile(str(tmp), "wb") as out, pa.ipc.new_file(out, batch.schema) as writer:
        writer.write_batch(batch)
    shard = Shard(job.file, job.side, len(job.rows), tmp.stat().st_size, file_sha256(tmp))
    tmp.replace(job.path)
    noted = job.note.with_suffix(".tmp")
    noted.write_text(json.dumps({"made_from": job.made_from, **dataclasses.asdict(shard)}))
    noted.replace(job.note)
    return shard


def dropped_rows(parts: Sequence[ReadPart], rows: Rows, reason: str) -> list[Drop]:
    """Rows that no side has, for dropped.jsonl; those of the source's own faults and of filters are in the parts."""
    starts = np.cumsum([0, *(part.num_rows for part in parts)])
    found = []
    for number, part in enumerate(parts):
        inside = rows[(rows >= starts[number]) & (rows < starts[number + 1])] - starts[number]
        if len(inside):
            table = part.gather(inside, ("key", "origin")).to_pydict()
            found += [
                Drop(key, reason, origin, is_fault=False)
                for key, origin in zip(table["key"], table["origin"], strict=True)
            ]
    return found


def _raw(pieces: Sequence[tuple[ReadPart, Rows]], back: Rows) -> "pa.Array":
    import pyarrow as pa

    row_bytes = next(found.num_bytes // found.num_rows for found, _ in pieces)
    out = np.empty((len(back), row_bytes), np.uint8)
    place = np.argsort(back)  # of the rows, part by part, in the shard
    start = 0
    for found, rows in pieces:
        pictures = np.memmap(found.pictures, np.uint8, "r", shape=(found.num_rows, row_bytes))
        into = place[start : start + len(rows)]
        start += len(rows)
        if np.array_equal(into, np.arange(into[0], into[0] + len(into))):
            np.take(pictures, rows, axis=0, out=out[into[0] : into[0] + len(into)], mode="clip")  # without a copy
        else:
            out[into] = pictures[rows]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(row_bytes), len(out), [None, pa.py_buffer(out)])


def _encoded(pieces: Sequence[tuple[ReadPart, Rows]], back: Rows) -> "pa.Array":
    import pyarrow as pa

    pictures: list[bytes] = []
    for found, rows in pieces:
        extent = found.gather(rows, ("start", "num_bytes"))
        content = np.memmap(found.pictures, np.uint8, "r")
        pictures += [
            content[start : start + num].tobytes()
            for start, num in zip(extent["start"].to_pylist(), extent["num_bytes"].to_pylist(), strict=True)
        ]
    return pa.array([pictures[i] for i in back], pa.large_binary())


def _groups(parts: Sequence[ReadPart]) -> Groups:
    import pyarrow as pa

    lists = [chunk for part in parts for chunk in part.column("key_ids").chunks]
    lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in lists]
    ids = [chunk.flatten().to_numpy() for chunk in lists]
    names = [chunk for part in parts for chunk in part.column("least_key").chunks]
    return Groups(
        np.concatenate(ids or [np.empty(0, np.uint64)]).astype(np.uint64),
        np.concatenate([[0], np.cumsum(np.concatenate(lengths or [np.empty(0, np.int64)]))]).astype(np.int64),
        pa.chunked_array(names, pa.string()),
    )


def _tests(parts: Sequence[ReadPart]) -> tuple[tuple[str, ...], NDArray[np.int8]]:
    """The names of the test sets, and of each row the number of its own."""
    chunks = [chunk for part in parts for chunk in part.column("test").chunks]
    names = sorted({name for chunk in chunks for name in chunk.unique().to_pylist()} - {""})
    number_by_name = {"": NO_TEST, **{name: number for number, name in enumerate(names)}}
    found = [number_by_name[name] for chunk in chunks for name in chunk.to_pylist()]
    return tuple(names), np.array(found, np.int8)


def _pixel_hashes(parts: Sequence[ReadPart]) -> NDArray[np.uint64]:
    """uint64 (rows, 2)."""
    chunks = [chunk for part in parts for chunk in part.column("pixels").chunks]
    content = [np.frombuffer(b"".join(chunk.to_pylist()), np.uint64).reshape(-1, 2) for chunk in chunks]
    return np.concatenate(content or [np.empty((0, 2), np.uint64)])


def _repeated(hashes: NDArray[np.uint64]) -> Rows:
    """The rows whose hash an earlier row has, in order."""
    order = np.lexsort(hashes.T)  # stable: of equal ones the first comes first
    in_order = hashes[order]
    is_repeated = np.zeros(len(hashes), bool)
    is_repeated[order[1:]] = (in_order[1:] == in_order[:-1]).all(axis=1)
    return np.flatnonzero(is_repeated)
