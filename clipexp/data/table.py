"""Pairs by row number, read from a store's shards by memory map: pixels, tokens, captions.

table = store.table("train", tokenizer_spec, context_length=32)
table.pixels(np.array([5, 0, 17]))  # uint8 (3, 48, 48, 3)
"""

import ctypes
import functools
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipexp.data.manifest import REMEDY
from clipexp.data.picture import decode_jpeg_into
from clipexp.data.sources import Pixels
from clipexp.data.watch import WatchedFile
from clipexp.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.integer]
WILL_NEED = 3  # madvise's advice, the same on Linux and macOS
MIN_ROWS_SHARED = 64  # fewer are copied sooner than threads are started, which can hang where memory ran out


class PairTable:
    """Pairs by row number: pixels, tokens, captions. Nothing is held in memory but what is asked for.

    What is read raises StoreError where its file was changed since the table was opened: whatever is handed out is
    what was there before.
    """

    def __init__(
        self,
        batches: Sequence["pa.RecordBatch"],
        tokens: NDArray[np.uint16],
        image_size_px: int,
        files: Sequence[WatchedFile] = (),
    ) -> None:
        """`files`: what the batches are mapped from, and then what the tokens are; none where all lies in memory."""
        self.image_size_px = image_size_px
        self._batches = batches
        self._tokens = tokens
        self._starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        self._shards = [_shard(batch, image_size_px) for batch in batches]
        counts = [np.diff(batch.column("captions").offsets.to_numpy()) for batch in batches]
        self._caption_starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
        if len(tokens) != self._caption_starts[-1]:
            raise StoreError(f"{len(tokens)} rows of tokens for {self._caption_starts[-1]} captions: {REMEDY}")
        self._files = tuple(files)

    @property
    def num_pairs(self) -> int:
        """Rows."""
        return int(self._starts[-1])

    def pixels(self, rows: Rows) -> Pixels:
        """Pictures of some rows: uint8 (rows, height, width, 3), 0-255, RGB; newly allocated."""
        out = self.empty(len(rows))
        if len(rows) < MIN_ROWS_SHARED:
            self.gather(rows, out)
            return out
        num = self._pool._max_workers
        slices = [slice(len(rows) * i // num, len(rows) * (i + 1) // num) for i in range(num)]
        list(self._pool.map(lambda part: self.gather(rows[part], out[part]), slices))
        return out

    def empty(self, num_rows: int) -> Pixels:
        """Room for the pictures of so many rows."""
        return np.empty((num_rows, self.image_size_px, self.image_size_px, 3), np.uint8)

    def gather(self, rows: Rows, out: Pixels) -> None:
        """Copy or decode the pictures of some rows, in the calling thread, with the GIL free most of the time.

        Args:
            rows: (rows,), each from 0 to below num_pairs.
            out: uint8 (rows, height, width, 3), contiguous; filled.

        Raises:
            StoreError: a shard was changed since the table was opened.
            ValueError: a picture is no JPEG of the store's size.
        """
        if not len(rows):
            return
        shard_idx, within = self._places(rows)
        with self._unchanged(np.unique(shard_idx).tolist()):
            self._fill(shard_idx, within, out)

    def _fill(self, shard_idx: Rows, within: Rows, out: Pixels) -> None:
        if len(self._shards) == 1 and isinstance(first := self._shards[0], _RawShard):
            np.take(first.pixels, within, axis=0, out=out, mode="clip")
            return
        stored = [
            self._shards[shard].stored(row) for shard, row in zip(shard_idx.tolist(), within.tolist(), strict=True)
        ]
        if isinstance(self._shards[0], _RawShard):
            # In one call, since each call waits for the GIL, and no array reaches over several maps to be taken from.
            np.concatenate(stored, out=out)
            return
        for jpeg, picture in zip(stored, out, strict=True):
            decode_jpeg_into(jpeg, picture)

    def read_ahead(self, rows: Rows) -> None:
        """Have the system read the pictures of some rows from the disk, without waiting for it.

        Neighbouring rows are asked for at once. Costs 2 us a row where they are in memory already.
        """
        if not self._files or not len(rows):
            return
        ordered = np.sort(rows)
        shard_idx, within = self._places(ordered)
        starts_run = np.concatenate([[True], (np.diff(ordered) > 1) | (np.diff(shard_idx) > 0)])
        firsts = np.flatnonzero(starts_run)
        lasts = np.append(firsts[1:], len(ordered)) - 1
        for shard, first, last in zip(
            shard_idx[firsts].tolist(), within[firsts].tolist(), within[lasts].tolist(), strict=True
        ):
            address, num_bytes = self._shards[shard].span(first, last + 1)
            page_start = address - address % mmap.PAGESIZE
            _libc().madvise(ctypes.c_void_p(page_start), ctypes.c_size_t(address + num_bytes - page_start), WILL_NEED)

    def num_captions(self, rows: Rows) -> NDArray[np.int64]:
        """How many captions each of some rows has: int64 (rows,)."""
        return self._caption_starts[rows + 1] - self._caption_starts[rows]

    def tokens(self, rows: Rows, caption_idx: Rows | int = 0) -> NDArray[np.uint16]:
        """One caption's tokens of each row: uint16 (rows, context_length)."""
        with self._unchanged([-1]):
            return np.asarray(self._tokens[self._caption_starts[rows] + caption_idx])

    def captions(self, row: int) -> tuple[str, ...]:
        """All captions of one row."""
        return tuple(self._cell("captions", row))

    def key(self, row: int) -> str:
        """What names one row within its source."""
        return str(self._cell("key", row))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="pictures")

    def _places(self, rows: Rows) -> tuple[Rows, Rows]:
        """Each row's shard, and its row there. Raises IndexError: no memory may be read beyond the maps."""
        if rows.min() < 0 or rows.max() >= self.num_pairs:
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {self.num_pairs}")
        shard_idx = np.searchsorted(self._starts, rows, side="right") - 1
        return shard_idx, rows - self._starts[shard_idx]

    def _cell(self, column: str, row: int) -> Any:
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        with self._unchanged([shard]):
            return self._batches[shard].column(column)[row - int(self._starts[shard])].as_py()

    @contextmanager
    def _unchanged(self, numbers: Iterable[int]) -> Iterator[None]:
        """What is read inside is what some files held when they were verified.

        That is asked behind the reading, 2 us a file: who asks before does not know what was read. Where reading goes
        wrong, a change of the file is the reason to tell.
        """
        files = [self._files[number] for number in numbers] if self._files else []
        for file in files:
            file.require_readable()
        try:
            yield
        finally:
            for file in files:
                file.require_unchanged()


@dataclass(frozen=True)
class _RawShard:
    """pixels: uint8 (rows, height, width, 3), a view of the map."""

    pixels: Pixels

    def stored(self, row: int) -> Pixels:
        """One picture, as an array of one: (1, height, width, 3)."""
        return self.pixels[row : row + 1]

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Address and bytes of some rows."""
        row_bytes = self.pixels[0].nbytes
        return self.pixels.ctypes.data + start * row_bytes, (stop - start) * row_bytes


@dataclass(frozen=True)
class _JpegShard:
    """offsets: int64 (rows + 1,), into data: uint8 (bytes,); both views of the map."""

    offsets: NDArray[np.int64]
    data: NDArray[np.uint8]

    def stored(self, row: int) -> NDArray[np.uint8]:
        """One picture's bytes."""
        return self.data[self.offsets[row] : self.offsets[row + 1]]

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Address and bytes of some rows."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return self.data.ctypes.data + first, last - first


def _shard(batch: "pa.RecordBatch", size_px: int) -> _RawShard | _JpegShard:
    import pyarrow as pa

    column = batch.column("image")
    buffers = column.buffers()
    if pa.types.is_fixed_size_binary(column.type):
        pixels = np.frombuffer(buffers[1], np.uint8).reshape(-1, size_px, size_px, 3)
        return _RawShard(pixels[: batch.num_rows])
    return _JpegShard(np.frombuffer(buffers[1], np.int64)[: batch.num_rows + 1], np.frombuffer(buffers[2], np.uint8))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
