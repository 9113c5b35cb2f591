"""The feed: the loader's batches on the device, from arrays that are not filled again before they were copied."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from clipexp.data.loader import NUM_PREFETCHED, Batch, Loader
from clipexp.data.picture import encode_jpeg
from clipexp.data.sources import Pixels
from clipexp.data.table import PairTable
from clipexp.train.feed import Feed
from clipexp.train.lane import DeviceBatch
from tests.data.made import END, data_spec, pair_table

CPU = torch.device("cpu")


@dataclass
class Late:
    """A batch that is copied at the last moment: when the host waits for it, or the device needs it."""

    batch: Batch
    log: list[str]
    there: DeviceBatch | None = None

    def wait(self) -> None:
        if self.there is None:
            time.sleep(0.003)  # for the loader's threads to spoil it, were they let
            self.log.append(f"copied {self.batch.end_position}")
            pixels = torch.from_numpy(self.batch.pixels.copy()).permute(0, 3, 1, 2)
            tokens = torch.from_numpy(self.batch.tokens).long()
            self.there = DeviceBatch(pixels, tokens, self.batch.end_position)

    def take(self) -> DeviceBatch:
        self.wait()
        assert self.there is not None
        self.log.append(f"taken {self.batch.end_position}")
        return self.there


@dataclass
class Tick:
    """A mark whose time is given beforehand."""

    name: str
    at_s: float
    log: list[str]

    def wait(self) -> None:
        self.log.append(f"waited for {self.name}")

    def seconds_until(self, later: "Tick") -> float:
        return later.at_s - self.at_s


@dataclass
class LateLane:
    """A device that does all as late as it may, and writes down what it is told."""

    num_ahead: int = 1
    times_s: Iterator[float] = field(default_factory=lambda: iter([0.0] * 1000))
    log: list[str] = field(default_factory=list)
    arrays: list[Pixels] = field(default_factory=list)
    num_marks: int = 0

    def array(self, shape: tuple[int, ...]) -> Pixels:
        self.arrays.append(np.empty(shape, np.uint8))
        return self.arrays[-1]

    def send(self, batch: Batch) -> Late:
        self.log.append(f"sent {batch.end_position}")
        assert any(batch.pixels is array for array in self.arrays)
        return Late(batch, self.log)

    def mark(self) -> Tick:
        step, is_after = divmod(self.num_marks, 2)
        self.num_marks += 1
        return Tick(f"{'start' if is_after else 'end before'} {step}", next(self.times_s), self.log)


def make_loader(**spec: Any) -> Loader:
    return Loader(pair_table(10, 4), data_spec(Path("store"), captions="sample", **spec), 3, seed=0)


def content(batch: DeviceBatch | Batch) -> tuple[bytes, list[list[int]], int]:
    pixels = batch.pixels if isinstance(batch, Batch) else batch.pixels.permute(0, 2, 3, 1).numpy()
    return pixels.tobytes(), batch.tokens.tolist(), batch.end_position


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(("loader", "read-ahead"))]


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("num_ahead", [None, 0, 1, 2])
def test_the_feed_gives_the_loaders_batches(num_threads: int, num_ahead: int | None) -> None:
    lane = LateLane(num_ahead) if num_ahead is not None else None
    with closing(Feed(make_loader(num_threads=num_threads), CPU, 6, 30, lane)) as feed:
        found = [content(batch) for batch in feed]
    assert found == [content(batch) for batch in make_loader().batches(6, 30)]


def test_a_batch_that_was_copied_is_its_takers_for_ever() -> None:
    with closing(Feed(make_loader(), CPU, 0, 30, LateLane())) as feed:
        kept = list(feed)
    assert [content(batch) for batch in kept] == [content(batch) for batch in make_loader().batches(0, 30)]


def test_on_the_cpu_nothing_is_copied_and_a_few_arrays_serve_all() -> None:
    with closing(Feed(make_loader(), CPU, 0, 50)) as feed:
        addresses = {batch.pixels.data_ptr() for batch in feed}
    assert len(addresses) == NUM_PREFETCHED + 1


def test_few_arrays_serve_all_batches_of_a_copying_device() -> None:
    lane = LateLane()
    with closing(Feed(make_loader(), CPU, 0, 50, lane)) as feed:
        assert sum(1 for _ in feed) == 50
    assert len(lane.arrays) == NUM_PREFETCHED + 1


def test_a_batch_is_sent_while_the_one_before_is_computed_with() -> None:
    lane = LateLane()
    with closing(Feed(make_loader(), CPU, 0, 5, lane)) as feed:
        for batch in feed:
            lane.log.append(f"computed {batch.end_position}")
    for position in (6, 9, 12, 15):
        assert lane.log.index(f"sent {position}") < lane.log.index(f"computed {position - 3}")


def test_the_host_is_never_more_than_two_steps_ahead_of_the_device() -> None:
    lane = LateLane()
    with closing(Feed(make_loader(), CPU, 0, 6, lane)) as feed:
        assert sum(1 for _ in feed) == 6
    for step in (1, 2, 3, 4):  # the device has ended the step before it, and has this one left, when the next is taken
        ended = lane.log.index(f"waited for end before {step}")
        assert lane.log.index(f"taken {3 * step + 3}") < ended < lane.log.index(f"taken {3 * step + 6}")


def test_waiting_is_the_time_between_a_steps_end_and_the_next_ones_start() -> None:
    times_s = [0.0, 2.0, 3.0, 3.5, 5.0, 5.25, 7.0, 7.0]  # end before, start, end before, start, ...
    with closing(Feed(make_loader(), CPU, 0, 4, LateLane(times_s=iter(times_s)))) as feed:
        next(feed), next(feed)
        assert feed.waited_s() == 2.5
        next(feed)
        assert feed.waited_s() == 0.25
        next(feed)
        assert feed.waited_s() == 0
        assert feed.waited_s() == 0


def test_waiting_on_the_cpu_is_that_for_the_loader() -> None:
    loader = make_loader(num_threads=1)
    is_let_go = threading.Event()
    gather = loader.table.gather

    def held_back(rows: Any, out: Pixels) -> None:
        is_let_go.wait(10)
        gather(rows, out)

    loader.table.gather = held_back  # type: ignore[method-assign]
    with closing(Feed(loader, CPU, 0, 3)) as feed:
        threading.Timer(0.2, is_let_go.set).start()
        next(feed)
        assert 0.1 < feed.waited_s() < 5
        next(feed)
        assert feed.waited_s() < 0.1


def test_the_threads_end_with_the_last_batch_and_with_the_feed() -> None:
    feed = Feed(make_loader(), CPU, 0, 5, LateLane())
    assert sum(1 for _ in feed) == 5
    assert loader_threads() == []
    feed = Feed(make_loader(), CPU, 0, 1_000_000, LateLane())
    next(feed)
    assert loader_threads() != []
    feed.close()
    assert loader_threads() == []


def test_a_feed_that_is_closed_early_waits_for_what_is_being_copied() -> None:
    lane = LateLane()
    feed = Feed(make_loader(), CPU, 0, 100, lane)
    next(feed)
    feed.close()
    sent = {line.split()[1] for line in lane.log if line.startswith("sent")}
    assert sent == {line.split()[1] for line in lane.log if line.startswith("copied")} == {"3", "6"}


def test_no_batch_wanted_is_none_given() -> None:
    with closing(Feed(make_loader(), CPU, 0, 0, LateLane())) as feed:
        assert list(feed) == []
        assert feed.waited_s() == 0


@pytest.mark.parametrize("num_ahead", [None, 1, 2])
def test_what_goes_wrong_in_a_thread_comes_after_the_batches_before_it(num_ahead: int | None) -> None:
    sound = encode_jpeg(np.zeros((4, 4, 3), np.uint8))
    images = pa.array([sound] * 6 + [b"no JPEG"] + [sound] * 3, pa.large_binary())
    batch = pa.record_batch({"image": images, "captions": pa.array([["a"]] * 10)})
    table = PairTable([batch], np.full((10, 4), END, np.uint16), image_size_px=4)
    loader = Loader(table, data_spec(Path("store"), shuffle="none"), 2, seed=0)
    lane = LateLane(num_ahead) if num_ahead is not None else None
    with closing(Feed(loader, CPU, 0, 5, lane)) as feed:
        assert [next(feed).end_position for _ in range(3)] == [2, 4, 6]
        with pytest.raises(ValueError, match="JPEG"):
            next(feed)
    assert loader_threads() == []
