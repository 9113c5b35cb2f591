"""Part files: what was read of one part of a source, decoded, filtered and encoded as the store will hold it.

    found = read_part(PartJob(folder, 0, source, part, fingerprint, spec))
    found.gather(np.array([3, 1]), columns=("key",))

Each is three files: NAME.pictures, one picture after another; NAME.rows, Arrow with all else; and NAME.json, written
last, whose presence says that the others are whole. So work that was cut off goes on with the next part.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xxhash

from clipexp.data.manifest import read_sealed, sealed_json
from clipexp.data.picture import JPEG_QUALITY, UnreadablePictureError, decode_picture, encode_jpeg
from clipexp.data.prepare.drops import require_few_faults
from clipexp.data.prepare.filters import wanted
from clipexp.data.prepare.workers import tell
from clipexp.data.sources import Drop, Pair, Part, Pixels, Source
from clipexp.data.split import Rows, key_id
from clipexp.spec.data import DataSpec, FilterSpec

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 4096  # of a batch of NAME.rows
TELL_EVERY = 16  # items
SUM_BYTES = 16 << 20  # read at once for a checksum


@dataclass(frozen=True)
class PartJob:
    """One part to read, the `number`th of its source."""

    folder: Path
    number: int
    source: Source
    part: Part
    fingerprint: str
    spec: DataSpec


@dataclass(frozen=True)
class ReadPart:
    """What was read of a part. `num_items`: pairs and drops; `num_bytes`: of its pictures."""

    folder: Path
    number: int
    num_rows: int
    num_items: int
    num_bytes: int
    pictures_sum: str
    rows_sum: str
    drops: tuple[Drop, ...]

    @property
    def pictures(self) -> Path:
        """The file of its pictures; gone when all that needs it is packed."""
        return _path(self.folder, self.number, "pictures")

    @property
    def num_faults(self) -> int:
        """Items that are unusable."""
        return sum(drop.is_fault for drop in self.drops)

    def discard(self) -> None:
        """Let it be read again."""
        _path(self.folder, self.number, "json").unlink()

    @cached_property
    def _batches(self) -> "list[pa.RecordBatch]":
        import pyarrow as pa

        with pa.memory_map(str(_path(self.folder, self.number, "rows"))) as mapped:
            reader = pa.ipc.open_file(mapped)
            return [reader.get_batch(i) for i in range(reader.num_record_batches)]

    def column(self, name: str) -> "pa.ChunkedArray":
        """One column of all its rows, mapped and not in memory."""
        import pyarrow as pa

        return pa.chunked_array([batch.column(name) for batch in self._batches], _schema().field(name).type)

    def gather(self, rows: Rows, columns: Sequence[str]) -> "pa.Table":
        """Some of its rows, in the order asked for."""
        import pyarrow as pa

        order = np.argsort(rows, kind="stable")
        pieces = []
        for number, inside in _by_chunk(rows[order]):
            pieces.append(self._batches[number].select(list(columns)).take(pa.array(inside)))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        schema = pa.schema([_schema().field(name) for name in columns])
        return pa.Table.from_batches(pieces, schema).combine_chunks().take(pa.array(back))


def find_part(folder: Path, number: int, fingerprint: str) -> ReadPart | None:
    """What an earlier process read of a part; None if it did not finish, or the source's files are others by now.

    Every byte is held to its checksum: after a power cut, a file may be there and hold nothing.
    """
    try:
        content = read_sealed(_path(folder, number, "json"))
        drops = tuple(Drop(**drop) for drop in content.pop("drops"))
        was, found = content.pop("fingerprint"), ReadPart(folder=folder, number=number, drops=drops, **content)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    sums = {"rows": found.rows_sum, **({"pictures": found.pictures_sum} if found.pictures.exists() else {})}
    is_whole = all(_file_sum(_path(folder, number, suffix)) == expected for suffix, expected in sums.items())
    return found if was == fingerprint and is_whole else None


def read_part(job: PartJob) -> ReadPart:
    """Read a part in a worker.

    Raises:
        SourceError: it can't be had, or too much of the source is unusable.
        OSError: it can't be written.
        StoppedError: the parent wants no more of it.
    """
    with _Writer(job) as writer:
        for item in job.source.read(job.part):
            for made in _made(item, job.spec):
                writer.add(made)
    found = writer.result()
    content = {key: value for key, value in dataclasses.asdict(found).items() if key not in ("folder", "number")}
    path = _path(job.folder, job.number, "json")
    tmp = path.with_suffix(".tmp")
    tmp.write_bytes(sealed_json({"fingerprint": job.fingerprint, **content}).encode())
    tmp.replace(path)
    return found


def _made(item: Pair | Drop, spec: DataSpec) -> Iterator[tuple[Pair, Pixels] | Drop]:
    """What becomes of an item: the pair with its square picture, and what is left out."""
    if isinstance(item, Drop):
        yield item
        return
    try:
        pair, drops = wanted(item, spec.filters or FilterSpec())
        if pair is not None:
            yield pair, _pixels(pair, spec)
    except UnreadablePictureError as error:
        yield Drop(item.key, str(error), item.origin)
        return
    yield from drops


def _pixels(pair: Pair, spec: DataSpec) -> Pixels:
    if not isinstance(pair.image, bytes):
        return pair.image
    return decode_picture(pair.image, spec.image_size_px, spec.resize or "squash", spec.decode or "fine")


@dataclass
class _Writer:
    """The files of one part, while they are written."""

    job: PartJob
    drops: list[Drop] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    num_rows: int = 0
    num_bytes: int = 0
    num_faults: int = 0
    told: tuple[int, int] = (0, 0)

    def __enter__(self) -> Self:
        import pyarrow as pa

        self.sum = xxhash.xxh3_128()
        self.pictures = self._file("pictures").open("wb")
        self.rows_file = pa.OSFile(str(self._file("rows")), "wb")
        self.rows_writer = pa.ipc.new_file(self.rows_file, _schema())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self._flush()
        finally:
            self.rows_writer.close()
            self.rows_file.close()
            self.pictures.close()

    def add(self, found: tuple[Pair, Pixels] | Drop) -> None:
        """Write a pair, or note a drop."""
        if isinstance(found, Drop):
            self.drops.append(found)
            self.num_faults += found.is_fault
        else:
            self._write(*found)
        if (self.num_rows + len(self.drops)) % TELL_EVERY == 0:
            self._tell()

    def result(self) -> ReadPart:
        """What was read, when the files are closed."""
        self._tell()
        job, num_items = self.job, self.num_rows + len(self.drops)
        rows_sum = _file_sum(self._file("rows"))
        sums = (self.num_rows, num_items, self.num_bytes, self.sum.hexdigest(), rows_sum)
        return ReadPart(job.folder, job.number, *sums, tuple(self.drops))

    def _write(self, pair: Pair, pixels: Pixels) -> None:
        spec = self.job.spec
        content = np.ascontiguousarray(pixels).data.cast("B")
        pixels_hash = xxhash.xxh3_128(content)
        if spec.encoding == "jpeg":
            quality, subsampling = spec.jpeg_quality or JPEG_QUALITY, spec.jpeg_subsampling or "444"
            content = memoryview(encode_jpeg(pixels, quality, subsampling))
        self.pictures.write(content)
        self.sum.update(content)
        keys = (f"pixels:{pixels_hash.hexdigest()}", *pair.group_keys)
        row: dict[str, Any] = {"key": pair.key, "captions": pair.captions, "origin": pair.origin, "test": pair.test}
        row |= {"least_key": min(keys), "key_ids": [key_id(key) for key in keys], "pixels": pixels_hash.digest()}
        self.rows.append({**row, "start": self.num_bytes, "num_bytes": content.nbytes})
        self.num_bytes += content.nbytes
        self.num_rows += 1
        if len(self.rows) == CHUNK_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self.rows:
            columns = {name: [row[name] for row in self.rows] for name in _schema().names}
            self.rows_writer.write_batch(pa.record_batch(columns, _schema()))
            self.rows = []

    def _tell(self) -> None:
        now = (self.num_rows + len(self.drops), self.num_faults)
        tally = tell(now[0] - self.told[0], now[1] - self.told[1])
        self.told = now
        require_few_faults(tally.num_items, tally.num_faults, self.job.spec.max_drop_frac, self.drops, is_all=False)

    def _file(self, suffix: str) -> Path:
        return _path(self.job.folder, self.job.number, suffix)


def _schema() -> "pa.Schema":
    import pyarrow as pa

    text, whole = pa.string(), pa.int64()
    return pa.schema(
        [
            *(("key", text), ("captions", pa.list_(text)), ("origin", text), ("test", text), ("least_key", text)),
            *(("key_ids", pa.list_(pa.uint64())), ("pixels", pa.binary(16)), ("start", whole), ("num_bytes", whole)),
        ]
    )


def _by_chunk(rows: Rows) -> Iterator[tuple[int, Rows]]:
    """Sorted rows, as the number of their batch and their places in it."""
    chunks = rows // CHUNK_ROWS
    for number in np.unique(chunks).tolist():
        yield number, rows[chunks == number] - number * CHUNK_ROWS


def _path(folder: Path, number: int, suffix: str) -> Path:
    return folder / f"part-{number:05d}.{suffix}"


def _file_sum(path: Path) -> str:
    """A file's checksum; empty where it can't be read."""
    found = xxhash.xxh3_128()
    try:
        with path.open("rb") as file:
            while piece := file.read(SUM_BYTES):
                found.update(piece)
    except OSError:
        return ""
    return found.hexdigest()
