"""The order of an epoch: a permutation whatever the shuffle, and captions drawn by (seed, epoch, row) alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from clipexp.data.order import drawn_captions, epoch_order, window_pairs
from tests.data.made import data_spec


def order(num_pairs: int, seed: int = 0, epoch: int = 0, **spec: Any) -> list[int]:
    return epoch_order(data_spec(Path("store"), **spec), seed, epoch, num_pairs).tolist()


@pytest.mark.parametrize("shuffle", ["full", "blocks", "none"])
@pytest.mark.parametrize("num_pairs", [1, 5, 1000, 1003])
def test_an_epoch_visits_every_row_once(shuffle: str, num_pairs: int) -> None:
    blocks = {"block_pairs": 10} if shuffle == "blocks" else {}
    assert sorted(order(num_pairs, shuffle=shuffle, **blocks)) == list(range(num_pairs))


@pytest.mark.parametrize("shuffle", ["full", "blocks"])
def test_seed_and_epoch_alone_decide_the_order(shuffle: str) -> None:
    assert order(500, shuffle=shuffle) == order(500, shuffle=shuffle)
    assert order(500, shuffle=shuffle) != order(500, epoch=1, shuffle=shuffle)
    assert order(500, shuffle=shuffle) != order(500, seed=1, shuffle=shuffle)


def test_full_shuffle_is_the_generators_own_permutation() -> None:  # which runs of before this module drew, too
    assert order(50, seed=3, epoch=2) == np.random.default_rng([3, 2]).permutation(50).tolist()


def test_a_window_of_blocks_holds_whole_blocks_of_neighbours() -> None:
    rows = order(4000, shuffle="blocks", block_pairs=10)
    window = rows[: window_pairs(10)]
    starts = {row // 10 * 10 for row in window}
    assert sorted(window) == sorted(start + i for start in starts for i in range(10))
    assert len(starts) == 16


def test_neighbours_of_the_source_are_far_apart_in_a_window() -> None:
    rows = np.array(order(4000, shuffle="blocks", block_pairs=100))
    assert np.mean(np.abs(np.diff(rows)) == 1) < 0.01


def draw(seed: int, epoch: int, rows: np.ndarray[Any, Any], num: int = 5) -> np.ndarray[Any, Any]:
    return drawn_captions(seed, np.full(len(rows), epoch), rows, np.full(len(rows), num))


def test_a_rows_caption_does_not_depend_on_the_rows_beside_it() -> None:
    rows = np.arange(1000, dtype=np.uint32)
    assert draw(1, 2, rows)[::-1].tolist() == draw(1, 2, rows[::-1]).tolist()
    assert draw(1, 2, rows[500:510]).tolist() == draw(1, 2, rows)[500:510].tolist()


@pytest.mark.parametrize("num_captions", [2, 3, 5])
def test_all_captions_are_alike_likely(num_captions: int) -> None:
    over_rows = draw(0, 0, np.arange(100_000), num_captions)
    over_epochs = np.array([draw(0, epoch, np.array([17]), num_captions)[0] for epoch in range(3000)])
    for drawn in (over_rows, over_epochs):
        assert chisquare(np.bincount(drawn, minlength=num_captions)).pvalue > 1e-3


def test_epochs_and_seeds_draw_independently() -> None:
    rows = np.arange(20_000)
    first = draw(0, 0, rows)
    for other in (draw(0, 1, rows), draw(1, 0, rows), np.roll(first, 1)):
        counts = np.histogram2d(first, other, bins=5)[0]
        assert chisquare(counts.ravel()).pvalue > 1e-3


def test_a_row_with_one_caption_has_that() -> None:
    assert set(draw(0, 0, np.arange(1000), 1).tolist()) == {0}
