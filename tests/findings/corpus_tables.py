"""Sets of pairs for the corpus: parts of a prepared set, held in memory, with faults put in.

    table = damaged(memory_table(store, "train", Pairs("scenes", num_pairs=512, half_size=True)), "wrong_pairs", seed=0)

The tables are read as `clipexp.data.store.PairTable` is.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipexp.data.store import Store
from clipexp.spec.data import TrainedTokenizerSpec

CONTEXT_LENGTH = 32
VOCAB_SIZES = {"scenes": 1024, "openmoji": 4096}
MOST_PAIRS = 12_000  # as many of a set are read at the most: more are never seen by runs this short
Source = Literal["scenes", "openmoji"]


@dataclass(frozen=True)
class Pairs:
    """Which pairs: of a source, the first so many of the training side (None: up to 12,000), at full or half size."""

    source: Source
    num_pairs: int | None = None
    half_size: bool = False


class MemoryTable:
    """Pairs in memory. pixels: uint8 (pairs, size, size, 3); caption_tokens: uint16 (pairs, context_length)."""

    def __init__(self, pixels: NDArray[np.uint8], caption_tokens: NDArray[np.uint16]) -> None:
        self.all_pixels = pixels
        self.all_tokens = caption_tokens
        self.image_size_px = pixels.shape[1]
        self.before_read: Callable[[], None] = lambda: None

    @property
    def num_pairs(self) -> int:
        return len(self.all_pixels)

    def pixels(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        self.before_read()
        return self.all_pixels[rows]

    def empty(self, num_rows: int) -> NDArray[np.uint8]:
        return np.empty((num_rows, *self.all_pixels.shape[1:]), np.uint8)

    def gather(self, rows: NDArray[np.integer], out: NDArray[np.uint8]) -> None:
        out[:] = self.pixels(rows)

    def read_ahead(self, rows: NDArray[np.integer]) -> None:
        """Nothing: all is in memory."""

    def tokens(self, rows: NDArray[np.int64], caption_idx: NDArray[np.int64] | int = 0) -> NDArray[np.uint16]:
        return self.all_tokens[rows]

    def num_captions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.ones(len(rows), np.int64)

    @property
    def every_row(self) -> NDArray[np.int64]:
        """All row numbers, in order."""
        return np.arange(self.num_pairs)

    def taken(self, rows: NDArray[np.integer]) -> "MemoryTable":
        """Some rows, in a given order."""
        return MemoryTable(self.all_pixels[rows], self.all_tokens[rows])


@lru_cache(maxsize=4)
def _read(folder: Path, source: Source, side: Literal["train", "val"], half_size: bool) -> MemoryTable:
    store = Store(folder)
    spec = TrainedTokenizerSpec(kind="trained", vocab_size=VOCAB_SIZES[source])
    table = store.table(side, spec, CONTEXT_LENGTH)
    rows = np.arange(min(table.num_pairs, MOST_PAIRS))
    pixels = np.concatenate([table.pixels(part) for part in np.array_split(rows, 1 + len(rows) // 1000)])
    if half_size:
        num, size = len(pixels), pixels.shape[1] // 2
        pixels = pixels.reshape(num, size, 2, size, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8)
    return MemoryTable(pixels, table.tokens(rows))


def memory_table(folder: Path, side: Literal["train", "val"], pairs: Pairs) -> MemoryTable:
    """One side of a prepared set. Raises StoreError where the set is missing."""
    table = _read(folder, pairs.source, side, pairs.half_size)
    if side == "train" and pairs.num_pairs is not None:
        return table.taken(np.arange(pairs.num_pairs))
    return table.taken(np.arange(table.num_pairs))


def background(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A number for each picture's colour in its corner: int64 (pairs,)."""
    corner = pixels[:, 0, 0].astype(np.int64)
    return (corner[:, 0] * 256 + corner[:, 1]) * 256 + corner[:, 2]


def in_order(table: MemoryTable, order: str) -> MemoryTable:
    """Rows in an order: `as_is`, `by_colour`, `by_caption`, or `shards_by_colour:N`, N pairs a shard."""
    rows = np.arange(table.num_pairs)
    kind, _, number = order.partition(":")
    match kind:
        case "as_is":
            return table
        case "by_colour":
            return table.taken(np.argsort(background(table.all_pixels), kind="stable"))
        case "by_caption":
            return table.taken(np.lexsort(table.all_tokens.T[::-1]))
        case "shards_by_colour":
            shards = np.split(rows, range(int(number), len(rows), int(number)))
            keys = background(table.all_pixels)
            return table.taken(np.concatenate([shard[np.argsort(keys[shard], kind="stable")] for shard in shards]))
        case _:
            raise ValueError(f"no such order: {order}")


def damaged(table: MemoryTable, damage: str, seed: int) -> MemoryTable:
    """A table with a fault.

    damage: `wrong_pairs`; `same_caption`; `black`; `coarse:K` (the first K tokens of each caption) or `tail:K` (the
    last); `bad_blocks:COUNT:LENGTH` (runs of pairs at random places whose captions are shifted by one);
    `bad_from:ROW` (all captions from there on belong to other pictures).
    """
    rng = np.random.default_rng([seed, 5])
    pixels, tokens = table.all_pixels, table.all_tokens
    kind, *numbers = damage.split(":")
    match kind:
        case "wrong_pairs":
            tokens = tokens[rng.permutation(len(tokens))]
        case "same_caption":
            tokens = np.repeat(tokens[:1], len(tokens), axis=0)
        case "black":
            pixels = np.zeros_like(pixels)
        case "coarse":
            tokens = _cut(tokens, int(numbers[0]))
        case "tail":
            tokens = _tail(tokens, int(numbers[0]))
        case "bad_from":
            start = int(numbers[0])
            tokens = np.concatenate([tokens[:start], tokens[start:][rng.permutation(len(tokens) - start)]])
        case "bad_blocks":
            count, length = map(int, numbers)
            slots = np.arange(length, len(tokens) - 2 * length, 3 * length)
            tokens = tokens.copy()
            for start in rng.choice(slots, count, replace=False) + rng.integers(0, length, count):
                tokens[start : start + length] = np.roll(tokens[start : start + length], 1, axis=0)
        case _:
            raise ValueError(f"no such damage: {damage}")
    return MemoryTable(pixels, tokens)


def _cut(tokens: NDArray[np.uint16], length: int) -> NDArray[np.uint16]:
    """Captions cut to their first tokens; the highest id ends a text, and 0 fills the rest."""
    end = tokens.max()
    places = np.minimum(tokens.argmax(axis=1), length)
    out = tokens.copy()
    out[np.arange(len(out)), places] = end
    out[np.arange(out.shape[1]) > places[:, None]] = 0
    return out


def _tail(tokens: NDArray[np.uint16], length: int) -> NDArray[np.uint16]:
    """The last tokens of each caption, between its marks of start and end."""
    ends = tokens.argmax(axis=1)
    out = np.zeros_like(tokens)
    out[:, 0] = tokens[:, 0]
    for row, end in enumerate(ends):
        start = max(1, end - length)
        out[row, 1 : 2 + end - start] = tokens[row, start : end + 1]
    return out


def slow_reads(table: MemoryTable, wait_s: float, grows: float = 0.0) -> None:
    """Have each read of pixels wait; `grows`: by how many seconds the wait gets longer with each read."""
    num_reads = 0

    def wait() -> None:
        nonlocal num_reads
        time.sleep(wait_s + grows * num_reads)
        num_reads += 1

    table.before_read = wait
