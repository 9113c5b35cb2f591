"""The way of a batch to a device: none on the CPU, a copy from pinned memory on a stream of its own on CUDA.

lane = CudaLane(device)
sent = lane.send(batch)  # whose pixels lie in `lane.array(shape)`
sent.take().pixels
"""

import time
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from clipexp.data.loader import Batch
from clipexp.data.sources import Pixels


@dataclass(frozen=True)
class DeviceBatch:
    """A batch on the device, and the position behind it.

    pixels: uint8 (batch, 3, height, width), 0-255, RGB, channels last in memory. tokens: int64 (batch, length).
    """

    pixels: Tensor
    tokens: Tensor
    end_position: int


class Sent(Protocol):
    """A batch on its way to the device."""

    def wait(self) -> None:
        """Keep the host until it is there, and its arrays may be filled again."""

    def take(self) -> DeviceBatch:
        """The batch; what the device is given to do from now on waits until it is there."""


class Mark(Protocol):
    """A point in what the device was given to do."""

    def wait(self) -> None:
        """Keep the host until the device has come there."""

    def seconds_until(self, later: Self) -> float:
        """The device's time from here to there; it has come to both."""


class Lane(Protocol):
    """A way to a device. `num_ahead`: batches that are sent before they are asked for."""

    num_ahead: int

    def array(self, shape: tuple[int, ...]) -> Pixels:
        """Memory that it can send from."""

    def send(self, batch: Batch) -> Sent:
        """Begin to bring a batch there."""

    def mark(self) -> Mark:
        """Now, as the device will see it."""


class HostLane:
    """The CPU computes: nothing is copied, and time is the clock's."""

    num_ahead = 0

    def array(self, shape: tuple[int, ...]) -> Pixels:
        """Plain memory."""
        return np.empty(shape, np.uint8)

    def send(self, batch: Batch) -> "_OnHost":
        """It is there."""
        pixels = torch.from_numpy(batch.pixels).permute(0, 3, 1, 2)
        return _OnHost(DeviceBatch(pixels, torch.from_numpy(batch.tokens).long(), batch.end_position))

    def mark(self) -> "_Instant":
        """Now."""
        return _Instant(time.perf_counter())


@dataclass(frozen=True)
class _OnHost:
    batch: DeviceBatch

    def wait(self) -> None:
        pass

    def take(self) -> DeviceBatch:
        return self.batch


@dataclass(frozen=True)
class _Instant:
    at_s: float

    def wait(self) -> None:
        pass

    def seconds_until(self, later: "_Instant") -> float:
        return later.at_s - self.at_s


class CudaLane:
    """Copies from pinned memory, on a stream of its own."""

    num_ahead = 1

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def array(self, shape: tuple[int, ...]) -> Pixels:
        """Pinned memory, which lives as long as the array."""
        pixels: Pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
        return pixels

    def send(self, batch: Batch) -> "_OnTheWay":
        """Begin to copy it, behind the copies before."""
        tokens = torch.from_numpy(batch.tokens).long().pin_memory()  # torch keeps it until it was read
        with torch.cuda.stream(self._stream):
            pixels = torch.from_numpy(batch.pixels).to(self._device, non_blocking=True).permute(0, 3, 1, 2)
            there = DeviceBatch(pixels, tokens.to(self._device, non_blocking=True), batch.end_position)
            return _OnTheWay(there, self._stream.record_event())

    def mark(self) -> "_CudaMark":
        """Behind all that was given to the stream in use."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return _CudaMark(event)


@dataclass(frozen=True)
class _OnTheWay:
    batch: DeviceBatch
    arrived: torch.cuda.Event

    def wait(self) -> None:
        self.arrived.synchronize()

    def take(self) -> DeviceBatch:
        using = torch.cuda.current_stream(self.batch.pixels.device)
        using.wait_event(self.arrived)
        # Their memory is of the copying stream: it must not be given to a later batch while this stream still reads.
        self.batch.pixels.record_stream(using)
        self.batch.tokens.record_stream(using)
        return self.batch


@dataclass(frozen=True)
class _CudaMark:
    event: torch.cuda.Event

    def wait(self) -> None:
        self.event.synchronize()

    def seconds_until(self, later: "_CudaMark") -> float:
        return float(self.event.elapsed_time(later.event)) / 1000
