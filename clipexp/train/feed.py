"""The feed: a loader's batches on the device that computes, each copied there while the one before is computed with.

    with closing(Feed(loader, device, position=0, num_batches=100)) as batches:
        for batch in batches:
            batch.pixels, batch.tokens
    batches.waited_s()

The loader's threads fill a few arrays in turn, pinned ones for CUDA. From there a stream of its own copies; the
device's other work waits for the copy, the host does not. An array is filled again only once its copy has ended.

Who owns a batch: on CUDA its taker, for ever. On the CPU nothing is copied: its pixels are the taker's until the next
batch is taken or the feed is closed; its tokens for ever.
"""

from collections import deque
from collections.abc import Generator
from contextlib import closing
from typing import Self

import torch

from clipexp.data.loader import Loader
from clipexp.data.sources import Pixels
from clipexp.train.lane import CudaLane, DeviceBatch, HostLane, Lane, Mark, Sent


class Feed:
    """See the module. Iterates over so many batches from a position on; to be closed."""

    def __init__(
        self, loader: Loader, device: torch.device, position: int, num_batches: int, lane: Lane | None = None
    ) -> None:
        """`lane`: the way to the device; by default as the device is.

        Iterating raises StoreError where the store was changed, once the batches before have been handed out.
        """
        self._lane = lane or (CudaLane(device) if device.type == "cuda" else HostLane())
        self._batches = _sent_ahead(loader, self._lane, position, num_batches)
        self._waits: deque[tuple[Mark, Mark]] = deque()
        self._waited_s = 0.0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> DeviceBatch:
        # The host stays two steps ahead at the most: each holds a batch's memory on the device.
        while len(self._waits) > 1:
            self._waits[1][0].wait()
            self._count_oldest()
        before = self._lane.mark()
        batch = next(self._batches).take()
        self._waits.append((before, self._lane.mark()))
        return batch

    def waited_s(self) -> float:
        """How long the device had nothing to do but to wait for a batch, since this was last asked; waits for it."""
        if self._waits:
            self._waits[-1][1].wait()
        while self._waits:
            self._count_oldest()
        waited_s, self._waited_s = self._waited_s, 0.0
        return waited_s

    def _count_oldest(self) -> None:
        before, after = self._waits.popleft()
        self._waited_s += before.seconds_until(after)

    def close(self) -> None:
        """End the loader's threads, and let go of what is on its way."""
        self._batches.close()


class _Ring:
    """The loader's arrays: each is filled again once what was sent from it has arrived."""

    def __init__(self, lane: Lane, shape: tuple[int, ...]) -> None:
        self._lane = lane
        self._shape = shape
        self._free: deque[Pixels] = deque()
        self.sent_by_address: dict[int, Sent] = {}

    def take(self) -> Pixels:
        if not self._free:
            return self._lane.array(self._shape)
        pixels = self._free.popleft()
        self.sent_by_address.pop(pixels.ctypes.data).wait()
        return pixels

    def give_back(self, pixels: Pixels) -> None:
        self._free.append(pixels)


def _sent_ahead(loader: Loader, lane: Lane, position: int, num_batches: int) -> Generator[Sent, None, None]:
    """Batches in order, each sent `num_ahead` before it is asked for."""
    size_px = loader.table.image_size_px
    ring = _Ring(lane, (loader.share.num_pairs, size_px, size_px, 3))
    waiting: deque[Sent] = deque()
    try:
        with closing(loader.batches(position, num_batches, buffers=ring)) as batches:
            for batch in batches:
                waiting.append(lane.send(batch))
                ring.sent_by_address[batch.pixels.ctypes.data] = waiting[-1]
                if len(waiting) > lane.num_ahead:
                    yield waiting.popleft()
    except Exception:
        yield from waiting  # these are sound; what went wrong comes after them, where it stands
        raise
    finally:
        for sent in ring.sent_by_address.values():
            sent.wait()  # before the arrays go
    yield from waiting
