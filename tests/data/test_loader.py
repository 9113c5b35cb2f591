"""The loader: every pair once an epoch, and a position is all there is to resume from."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from clipexp.data.loader import Batch, Loader, trim_padding
from clipexp.data.picture import encode_jpeg
from clipexp.data.sources import Pixels
from clipexp.data.table import PairTable
from clipexp.errors import RunError
from tests.data.made import END, START, data_spec, pair_table


def make_loader(num_pairs: int = 10, batch_size: int = 3, seed: int = 0, captions_each: int = 1, **spec: Any) -> Loader:
    return Loader(pair_table(num_pairs, captions_each), data_spec(Path("store"), **spec), batch_size, seed)


def rows_seen(loader: Loader, position: int, num_batches: int) -> list[int]:
    return [int(row) for batch in loader.batches(position, num_batches) for row in batch.rows]


def content(batch: Batch) -> tuple[bytes, bytes, bytes, int]:
    return batch.pixels.tobytes(), batch.tokens.tobytes(), batch.rows.tobytes(), batch.end_position


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(("loader", "read-ahead"))]


def test_every_pair_comes_exactly_once_an_epoch() -> None:
    seen = rows_seen(make_loader(num_pairs=10, batch_size=3), position=0, num_batches=10)  # 30 pairs: 3 epochs
    assert [sorted(seen[start : start + 10]) for start in (0, 10, 20)] == [list(range(10))] * 3


def test_each_epoch_has_an_order_of_its_own() -> None:
    seen = rows_seen(make_loader(num_pairs=10, batch_size=5), position=0, num_batches=6)
    assert len({tuple(seen[start : start + 10]) for start in (0, 10, 20)}) == 3


def test_the_same_seed_gives_the_same_order_and_another_another() -> None:
    first, again, other = (rows_seen(make_loader(seed=seed), 0, 10) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_the_order_does_not_depend_on_the_batch_size() -> None:
    by_threes, by_fives = (rows_seen(make_loader(batch_size=size), 0, 30 // size) for size in (3, 5))
    assert by_threes == by_fives


def test_shuffle_none_keeps_the_order_of_the_set() -> None:
    assert rows_seen(make_loader(shuffle="none"), 0, 5) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4]


def test_a_batch_holds_pictures_and_tokens_of_its_rows() -> None:
    batch = make_loader().batch(position=6)
    assert batch.pixels.shape == (3, 4, 4, 3)
    assert batch.pixels[:, 0, 0, 0].tolist() == batch.rows.tolist()
    assert batch.tokens.tolist() == [[START, 10 * row + 1, END] for row in batch.rows]
    assert batch.end_position == 9


@pytest.mark.parametrize("batch_idx", [0, 1, 3, 4, 11])
@pytest.mark.parametrize("captions", ["first", "sample"])
def test_resuming_at_any_batch_gives_the_same_batches(batch_idx: int, captions: str) -> None:
    whole = [content(batch) for batch in make_loader(captions_each=4, captions=captions).batches(0, 12)]
    resumed = make_loader(captions_each=4, captions=captions).batches(3 * batch_idx, 12 - batch_idx)
    assert [content(batch) for batch in resumed] == whole[batch_idx:]


@pytest.mark.parametrize("position", [1, 7, 8, 9, 10, 19, 25])
def test_resuming_at_any_position_goes_on_in_the_same_order(position: int) -> None:
    stream = rows_seen(make_loader(batch_size=5), 0, 8)
    assert make_loader().rows(position).tolist() == stream[position : position + 3]


def test_batches_fetched_out_of_order_are_the_same_batches() -> None:
    loader = make_loader(captions_each=4, captions="sample")
    backwards = [content(loader.batch(position)) for position in (27, 9, 0)]
    assert backwards[::-1] == [content(make_loader(captions_each=4, captions="sample").batch(p)) for p in (0, 9, 27)]


def test_captions_first_uses_the_first_only() -> None:
    batches = make_loader(captions_each=3).batches(0, 20)
    assert {int(token) % 10 for batch in batches for token in batch.tokens[:, 1]} == {1}


def test_captions_sample_uses_every_caption_of_every_pair() -> None:
    batches = make_loader(captions_each=3, captions="sample").batches(0, 100)  # 30 epochs
    seen = {int(token) for batch in batches for token in batch.tokens[:, 1]}
    assert seen == {10 * row + c + 1 for row in range(10) for c in range(3)}


def test_a_batch_as_large_as_the_set_holds_it_whole() -> None:
    loader = make_loader(num_pairs=10, batch_size=10)
    assert sorted(loader.rows(0)) == sorted(loader.rows(10)) == list(range(10))


def test_a_batch_larger_than_the_set_is_refused_with_the_remedy() -> None:
    with pytest.raises(RunError, match=r"train\.batch_size 11 is above the 10 training pairs of store; lower it"):
        make_loader(num_pairs=10, batch_size=11)


def test_the_thread_ends_when_the_iterator_is_closed() -> None:
    batches = make_loader().batches(0, 1_000_000)
    next(batches)
    assert len(loader_threads()) >= 1
    batches.close()
    assert loader_threads() == []


def test_the_thread_ends_with_the_last_batch() -> None:
    assert len(list(make_loader().batches(0, 20))) == 20
    assert loader_threads() == []


def test_no_batch_wanted_is_none_given() -> None:
    assert list(make_loader().batches(0, 0)) == []
    assert loader_threads() == []


def test_what_goes_wrong_in_the_thread_is_raised_where_batches_are_read() -> None:
    sound = encode_jpeg(np.zeros((4, 4, 3), np.uint8))
    images = pa.array([sound, sound, b"no JPEG", sound], pa.large_binary())
    batch = pa.record_batch({"image": images, "captions": pa.array([["a"]] * 4)})
    table = PairTable([batch], np.full((4, 4), END, np.uint16), image_size_px=4)
    batches = Loader(table, data_spec(Path("store"), shuffle="none"), 2, seed=0).batches(0, 2)
    assert next(batches).rows.tolist() == [0, 1]
    with pytest.raises(ValueError, match="JPEG"):
        next(batches)
    assert loader_threads() == []


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("reuse", [False, True])
def test_batches_do_not_depend_on_threads_or_on_reuse(num_threads: int, reuse: bool) -> None:
    def stream(**options: Any) -> list[tuple[bytes, bytes, bytes, int]]:
        loader = make_loader(captions_each=4, captions="sample", num_threads=options.pop("num_threads"))
        return [content(batch) for batch in loader.batches(0, 12, **options)]

    assert stream(num_threads=num_threads, reuse=reuse) == stream(num_threads=1)


def test_without_reuse_a_batch_stays_as_it_was_taken() -> None:
    batches = list(make_loader().batches(0, 20))
    assert all(batch.pixels[:, 0, 0, 0].tolist() == batch.rows.tolist() for batch in batches)


def test_with_reuse_a_few_arrays_serve_all_batches() -> None:
    addresses = {batch.pixels.ctypes.data for batch in make_loader().batches(0, 50, reuse=True)}
    assert len(addresses) <= 4


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
@pytest.mark.parametrize("position", [0, 8, 20])  # 20: over the end of an epoch
def test_the_shares_of_ranks_make_up_the_global_batch(num_ranks: int, position: int) -> None:
    table, spec = pair_table(22, 3), data_spec(Path("store"), captions="sample")
    whole = Loader(table, spec, 4, seed=7).batch(position)
    shares = [Loader(table, spec, 4, 7, rank, num_ranks).batch(position) for rank in range(num_ranks)]
    assert np.concatenate([share.pixels for share in shares]).tobytes() == whole.pixels.tobytes()
    assert [row for share in shares for row in share.tokens[:, 1].tolist()] == whole.tokens[:, 1].tolist()
    assert {share.end_position for share in shares} == {whole.end_position}


@pytest.mark.parametrize("case", range(40))
def test_wherever_it_resumes_any_number_of_ranks_and_threads_gives_the_same_global_batches(case: int) -> None:
    rng = np.random.default_rng(case)
    shuffle = str(rng.choice(["full", "blocks", "none"]))
    spec: dict[str, Any] = {"shuffle": shuffle, "captions": str(rng.choice(["first", "sample"]))}
    if shuffle == "blocks":
        spec["block_pairs"] = int(rng.integers(1, 9))
    table = pair_table(int(rng.integers(8, 60)), captions_each=int(rng.integers(1, 5)))
    batch_size = 4 * int(rng.integers(1, table.num_pairs // 4 + 1))
    seed, start, num_batches = int(rng.integers(1000)), int(rng.integers(300)), int(rng.integers(2, 9))
    resumed = int(rng.integers(num_batches))  # at any of them

    def stream(first: int, rank: int, num_ranks: int) -> list[Batch]:
        threads = int(rng.integers(1, 5))
        loader = Loader(table, data_spec(Path("store"), num_threads=threads, **spec), batch_size, seed, rank, num_ranks)
        return list(loader.batches(start + first * batch_size, num_batches - first))

    whole = stream(0, 0, 1)[resumed:]
    for num_ranks in (1, 2, 4):
        ranks = [stream(resumed, rank, num_ranks) for rank in range(num_ranks)]
        for expected, *shares in zip(whole, *ranks, strict=True):
            pixels, tokens, rows = (
                np.concatenate([getattr(share, name) for share in shares]) for name in ("pixels", "tokens", "rows")
            )
            found = Batch(pixels, tokens, rows, shares[0].end_position)
            assert content(found) == content(expected)


def test_arrays_that_are_handed_in_are_filled_and_handed_back_once_the_next_batch_is_taken() -> None:
    loader = make_loader()

    class Noted:
        def __init__(self) -> None:
            self.given_back: list[int] = []

        def take(self) -> Pixels:
            return loader.table.empty(3)

        def give_back(self, pixels: Pixels) -> None:
            self.given_back.append(int(pixels[0, 0, 0, 0]))

    noted = Noted()
    batches = loader.batches(0, 5, buffers=noted)
    firsts: list[int] = []
    for batch in batches:
        assert noted.given_back == firsts
        firsts.append(int(batch.pixels[0, 0, 0, 0]))
    assert noted.given_back == firsts == [int(loader.rows(position)[0]) for position in range(0, 15, 3)]


def test_a_batch_that_ranks_can_not_share_is_refused() -> None:
    with pytest.raises(RunError, match="batch_size 3 can't be shared by 2 ranks"):
        Loader(pair_table(10), data_spec(Path("store")), 3, 0, rank=0, num_ranks=2)


def test_trimming_cuts_only_what_is_padding_in_every_row() -> None:
    tokens = np.array([[START, 5, END, 0, 0, 0], [START, 5, 6, END, 0, 0]], np.uint16)
    assert trim_padding(tokens).tolist() == [[START, 5, END, 0], [START, 5, 6, END]]


def test_trimming_keeps_the_end_mark_of_a_row_without_padding() -> None:
    tokens = np.array([[START, END, 0], [START, 5, END]], np.uint16)
    assert trim_padding(tokens).tolist() == tokens.tolist()


def test_trimming_takes_a_word_with_the_id_of_padding_for_a_word() -> None:
    tokens = np.array([[START, 7, 0, END, 0, 0]], np.uint16)
    assert trim_padding(tokens).tolist() == [[START, 7, 0, END]]
