"""In which order an epoch visits the rows, and which caption of a row it takes: functions of (seed, epoch) alone.

epoch_order(spec.data, seed=0, epoch=3, num_pairs=40_000)  # a permutation of all rows
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clipexp.spec.data import DataSpec

BLOCK_PAIRS = 1024
BLOCKS_A_WINDOW = 16
BLOCK_STREAM, CAPTION_STREAM = 1, 2  # tell random streams of one (seed, epoch) apart
Order = NDArray[np.uint32]


@dataclass(frozen=True)
class Share:
    """Which pairs of a global batch of `num_global` are a rank's: those of `part`, which follow one another."""

    part: slice
    num_global: int

    @classmethod
    def of_rank(cls, num_global: int, rank: int, num_ranks: int) -> Self:
        """An equal share, rank 0 the first; `num_global` is a multiple of `num_ranks`."""
        return cls(slice(num_global * rank // num_ranks, num_global * (rank + 1) // num_ranks), num_global)

    @property
    def num_pairs(self) -> int:
        """How many they are."""
        return int(self.part.stop - self.part.start)


def epoch_order(spec: DataSpec, seed: int, epoch: int, num_pairs: int) -> Order:
    """The rows of one epoch, each once: uint32 (num_pairs,)."""
    if spec.shuffle == "blocks":
        return _block_order(spec.block_pairs or BLOCK_PAIRS, seed, epoch, num_pairs)
    order = np.arange(num_pairs, dtype=np.uint32)
    if spec.shuffle == "full":
        np.random.default_rng([seed, epoch]).shuffle(order)
    return order


def _block_order(block_pairs: int, seed: int, epoch: int, num_pairs: int) -> Order:
    """Blocks of neighbouring rows in a random order, then the rows of 16 blocks that follow one another mixed."""
    rng = np.random.default_rng([seed, epoch, BLOCK_STREAM])
    firsts = rng.permutation(-(-num_pairs // block_pairs)).astype(np.uint32) * np.uint32(block_pairs)
    rows: Order = np.add.outer(firsts, np.arange(block_pairs, dtype=np.uint32)).ravel()
    rows = rows[rows < num_pairs]  # the last block may be shorter
    window = window_pairs(block_pairs)
    for start in range(0, num_pairs, window):
        rng.shuffle(rows[start : start + window])
    return rows


def window_pairs(block_pairs: int) -> int:
    """Pairs that are mixed with one another in `shuffle: blocks`."""
    return block_pairs * BLOCKS_A_WINDOW


def drawn_captions(
    seed: int, epochs: NDArray[np.int64], rows: NDArray[np.integer], num_captions: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Which caption each row has in its epoch, all alike likely: int64 (rows,).

    A counter-based draw (SplitMix64, Steele 2014): it depends on nothing but (seed, epoch, row), so neither on the
    batch nor on who else draws.
    """
    key = np.random.SeedSequence([seed, CAPTION_STREAM]).generate_state(1, np.uint64)[0]
    mixed = _mixed(_mixed(epochs.astype(np.uint64) + key) + rows.astype(np.uint64))
    unit = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53  # 53 bits, in [0, 1)
    return (unit * num_captions).astype(np.int64)


def _mixed(counters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output for states: a bijection of 64 bits that looks random."""
    z = counters * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
