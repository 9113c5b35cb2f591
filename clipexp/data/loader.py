"""The loader: batches of training pairs by position, in a true permutation of the whole set each epoch.

    loader = Loader(table, spec.data, batch_size=256, seed=0)
    for batch in loader.batches(position=0, num_batches=100):
        batch.pixels, batch.tokens

A position counts pairs since the start of training: epoch `position // num_pairs`, place `position % num_pairs`. It is
the loader's whole state: what stands at a position is a function of (seed, position), so resuming is exact, for any
number of threads. A batch may reach over the end of an epoch into the next, so that every pair is seen once an epoch
and none is dropped.

Threads fill slices of several batches at once, so that none waits for another at a batch's end.

Who owns a batch: its taker, for ever, unless the arrays were to be reused (`reuse=True`) or were handed in (`buffers`).
Then its pixels are the taker's until the next batch is taken, or the iterator is closed; whoever needs them longer
copies them. Its tokens and rows are always the taker's.
"""

import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clipexp.data.order import BLOCK_PAIRS, Order, Share, drawn_captions, epoch_order, window_pairs
from clipexp.data.read_ahead import ReadAhead
from clipexp.data.sources import Pixels
from clipexp.data.table import PairTable
from clipexp.errors import RunError
from clipexp.spec.data import DataSpec

NUM_PREFETCHED = 3
NUM_READ_AHEAD = 4  # further batches that the disk is asked for where the set is not in memory


@dataclass(frozen=True)
class Batch:
    """A batch, and the position behind it.

    pixels: uint8 (batch, height, width, 3), 0-255, RGB. tokens: uint16 (batch, length), padding that all rows share
    cut off. rows: (batch,), row numbers in the table. Of several ranks, `batch` is one rank's share.
    """

    pixels: Pixels
    tokens: NDArray[np.uint16]
    rows: NDArray[np.integer]
    end_position: int


class Buffers(Protocol):
    """Where a loader gets the arrays that it fills, and puts those that its taker is done with."""

    def take(self) -> Pixels:
        """An array for one batch, that may be written to from now on. Called by the taker's thread alone."""

    def give_back(self, pixels: Pixels) -> None:
        """The next batch is being taken: this one's pixels are the loader's again."""


class _Fresh:
    """Buffers that are their taker's for ever."""

    def __init__(self, table: PairTable, num_pairs: int) -> None:
        self._table = table
        self._num_pairs = num_pairs

    def take(self) -> Pixels:
        return self._table.empty(self._num_pairs)

    def give_back(self, pixels: Pixels) -> None:
        pass


class _Reused(_Fresh):
    """A few buffers, again and again."""

    def __init__(self, table: PairTable, num_pairs: int) -> None:
        super().__init__(table, num_pairs)
        self._free: deque[Pixels] = deque()

    def take(self) -> Pixels:
        return self._free.popleft() if self._free else super().take()

    def give_back(self, pixels: Pixels) -> None:
        self._free.append(pixels)


@dataclass(frozen=True)
class _InFlight:
    """A batch that threads are filling."""

    pixels: Pixels
    rows: Order
    tokens: "Future[NDArray[np.uint16]]"
    fills: "list[Future[None]]"
    end_position: int

    def result(self) -> Batch:
        """The batch, once it is full. Raises what a thread raised."""
        for fill in self.fills:
            fill.result()
        return Batch(self.pixels, self.tokens.result(), self.rows, self.end_position)


class Loader:
    """See the module."""

    def __init__(
        self, table: PairTable, spec: DataSpec, batch_size: int, seed: int, rank: int = 0, num_ranks: int = 1
    ) -> None:
        """`batch_size`: of the global batch, of which each of `num_ranks` takes an equal share, rank 0 the first.

        Raises:
            RunError: a batch would be larger than the set, or can't be shared equally.
        """
        if batch_size > table.num_pairs:
            raise RunError(
                f"train.batch_size {batch_size:,} is above the {table.num_pairs:,} training pairs of {spec.store};"
                " lower it, or prepare a larger set"
            )
        if batch_size % num_ranks:
            raise RunError(f"train.batch_size {batch_size:,} can't be shared by {num_ranks} ranks; make it a multiple")
        self.table = table
        self.spec = spec
        self.batch_size = batch_size
        self.seed = seed
        self.share = Share.of_rank(batch_size, rank, num_ranks)
        self._order = lru_cache(maxsize=2)(self._draw_order)  # 4 bytes a pair each

    def _draw_order(self, epoch: int) -> Order:
        return epoch_order(self.spec, self.seed, epoch, self.table.num_pairs)

    def rows(self, position: int) -> Order:
        """Row numbers of the global batch at a position: (batch_size,)."""
        epoch, place = divmod(position, self.table.num_pairs)
        rows = self._order(epoch)[place : place + self.batch_size]
        missing = self.batch_size - len(rows)
        return np.concatenate([rows, self._order(epoch + 1)[:missing]]) if missing else rows

    def batch(self, position: int) -> Batch:
        """The batch at a position, or the rank's share of it."""
        rows = self.rows(position)[self.share.part]
        return Batch(self.table.pixels(rows), self._tokens(position), rows, position + self.batch_size)

    def _tokens(self, position: int) -> NDArray[np.uint16]:
        """As long as the global batch needs them, so that all ranks' are of one length."""
        rows = self.rows(position)
        caption_idx: NDArray[np.int64] | int = 0
        if self.spec.captions == "sample":
            epochs = (position + np.arange(self.batch_size)) // self.table.num_pairs
            caption_idx = drawn_captions(self.seed, epochs, rows, self.table.num_captions(rows))
        return trim_padding(self.table.tokens(rows, caption_idx))[self.share.part]

    def batches(
        self, position: int, num_batches: int, *, reuse: bool = False, buffers: Buffers | None = None
    ) -> Generator[Batch, None, None]:
        """Batches from a position on, filled ahead by threads that end with the iterator.

        Args:
            position: of the first.
            num_batches: how many.
            reuse: fill the same few arrays again and again, twice as fast for raw pictures.
            buffers: arrays of the taker's own to fill instead, such as pinned ones.

        Raises:
            StoreError: the store was changed meanwhile.
        """
        num_threads = self.spec.num_threads or os.cpu_count() or 1
        if buffers is None:
            buffers = (_Reused if reuse else _Fresh)(self.table, self.share.num_pairs)
        flying: deque[_InFlight] = deque()
        positions = iter(range(position, position + num_batches * self.batch_size, self.batch_size))
        pool = ThreadPoolExecutor(num_threads, thread_name_prefix="loader")
        try:
            with closing(self._read_ahead(position, num_batches)) as ahead:

                def send() -> None:
                    if (at := next(positions, None)) is not None:
                        flying.append(self._send(pool, ahead, buffers.take(), at, num_threads))

                for _ in range(NUM_PREFETCHED):
                    send()
                while flying:
                    batch = flying.popleft().result()
                    send()
                    yield batch
                    buffers.give_back(batch.pixels)
        finally:
            pool.shutdown(cancel_futures=True)

    def _send(
        self, pool: ThreadPoolExecutor, ahead: ReadAhead, pixels: Pixels, position: int, num_threads: int
    ) -> _InFlight:
        """Hand a batch to the threads, in as many slices as there are."""
        ahead.move_to(position)
        rows = self.rows(position)[self.share.part]
        tokens = pool.submit(self._tokens, position)
        bounds = [len(rows) * i // num_threads for i in range(num_threads + 1)]
        slices = [slice(start, stop) for start, stop in pairwise(bounds) if stop > start]
        fills = [pool.submit(ahead.watch, self.table.gather, rows[part], pixels[part]) for part in slices]
        return _InFlight(pixels, rows, tokens, fills, position + self.batch_size)

    def _read_ahead(self, position: int, num_batches: int) -> ReadAhead:
        end = position + num_batches * self.batch_size
        step = self.batch_size if self.spec.shuffle != "blocks" else window_pairs(self.spec.block_pairs or BLOCK_PAIRS)

        def rows_from(start: int) -> Order:
            epoch, place = divmod(start, self.table.num_pairs)
            return self._order(epoch)[place : place + min(step, end - start)]

        distance = max(step, self.batch_size * NUM_READ_AHEAD)
        return ReadAhead(self.table, rows_from, range(position, end, step), distance)


def trim_padding(tokens: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Cut off the columns in which every row is padding; the causal text tower gives the same result without them.

    Args:
        tokens: (batch, context_length); a row's highest id ends its text.

    Returns:
        (batch, length of the longest text).
    """
    return tokens[:, : int(tokens.argmax(axis=1).max()) + 1]
