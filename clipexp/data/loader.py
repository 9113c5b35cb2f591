"""The loader: batches of training pairs by position, in a true permutation of the whole set each epoch.

    loader = Loader(table, spec.data, batch_size=256, seed=0)
    for batch in loader.batches(position=0, num_batches=100):
        batch.pixels, batch.tokens

A position counts pairs since the start of training: epoch `position // num_pairs`, place `position % num_pairs`. It is
the loader's whole state: what stands at a position is a function of (seed, position), so resuming is exact. A batch may
reach over the end of an epoch into the next, so that every pair is seen once an epoch and none is dropped.
"""

import queue
import threading
from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clipexp.data.sources import Pixels
from clipexp.data.store import PairTable
from clipexp.errors import RunError
from clipexp.spec.run import DataSpec

NUM_PREFETCHED = 3
CAPTION_STREAM = 1  # tells the captions' random stream from the order's


@dataclass(frozen=True)
class Batch:
    """A batch, and the position behind it.

    pixels: uint8 (batch, height, width, 3), 0-255, RGB. tokens: uint16 (batch, length), padding that all rows share
    cut off. rows: (batch,), row numbers in the table.
    """

    pixels: Pixels
    tokens: NDArray[np.uint16]
    rows: NDArray[np.int64]
    end_position: int


class Loader:
    """See the module. Raises RunError if a batch would be larger than the set."""

    def __init__(self, table: PairTable, spec: DataSpec, batch_size: int, seed: int) -> None:
        if batch_size > table.num_pairs:
            raise RunError(
                f"train.batch_size {batch_size:,} is above the {table.num_pairs:,} training pairs of {spec.store};"
                " lower it, or prepare a larger set"
            )
        self.table = table
        self.spec = spec
        self.batch_size = batch_size
        self.seed = seed
        self._order = lru_cache(maxsize=2)(self._draw_order)

    def _draw_order(self, epoch: int) -> NDArray[np.int64]:
        """The rows of one epoch, in order: int64 (num_pairs,)."""
        if self.spec.shuffle == "none":
            return np.arange(self.table.num_pairs)
        return np.random.default_rng([self.seed, epoch]).permutation(self.table.num_pairs)

    def rows(self, position: int) -> NDArray[np.int64]:
        """Row numbers of the batch at a position: int64 (batch_size,)."""
        num_pairs = self.table.num_pairs
        epoch, place = divmod(position, num_pairs)
        rows = self._order(epoch)[place : place + self.batch_size]
        missing = self.batch_size - len(rows)
        return np.concatenate([rows, self._order(epoch + 1)[:missing]]) if missing else rows

    def batch(self, position: int) -> Batch:
        """The batch at a position."""
        rows = self.rows(position)
        caption_idx: NDArray[np.int64] | int = 0
        if self.spec.captions == "sample":
            rng = np.random.default_rng([self.seed, position, CAPTION_STREAM])
            caption_idx = rng.integers(self.table.num_captions(rows))
        tokens = trim_padding(self.table.tokens(rows, caption_idx))
        return Batch(self.table.pixels(rows), tokens, rows, position + self.batch_size)

    def batches(self, position: int, num_batches: int) -> Generator[Batch, None, None]:
        """Batches from a position on, fetched ahead by a thread that ends with the iterator."""
        fetched: queue.Queue[Batch | BaseException] = queue.Queue(NUM_PREFETCHED)
        stopped = threading.Event()

        def put(item: Batch | BaseException) -> bool:
            while not stopped.is_set():
                try:
                    fetched.put(item, timeout=0.1)
                except queue.Full:
                    continue
                return True
            return False

        def fetch() -> None:
            try:
                for number in range(num_batches):
                    if not put(self.batch(position + number * self.batch_size)):
                        return
            except BaseException as error:  # noqa: BLE001 (handed to the consumer, who raises it)
                put(error)

        thread = threading.Thread(target=fetch, name="loader", daemon=True)
        thread.start()
        try:
            for _ in range(num_batches):
                item = fetched.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stopped.set()
            thread.join()


def trim_padding(tokens: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Cut off the columns in which every row is padding; the causal text tower gives the same result without them.

    Args:
        tokens: (batch, context_length); a row's highest id ends its text.

    Returns:
        (batch, length of the longest text).
    """
    return tokens[:, : int(tokens.argmax(axis=1).max()) + 1]
