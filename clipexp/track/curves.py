"""Curves: what was recorded of each metric over samples seen, as points for people and as arrays for many of them.

series = curves["val/loss"]
series[-1].value                     # a point
series.values, series.samples_seen   # arrays, of which nothing is copied
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Point:
    """One value of a metric. `time_ms`: Unix time of the record, the same wherever it is delivered."""

    samples_seen: int
    epoch: float
    value: float
    time_ms: int


class Series(Sequence[Point]):
    """A metric's points in order of samples seen, each place once.

    samples_seen, time_ms: int64 (points,); epoch, values: float64 (points,).
    """

    __slots__ = ("epoch", "samples_seen", "time_ms", "values")

    def __init__(self, samples_seen: ArrayLike, epoch: ArrayLike, values: ArrayLike, time_ms: ArrayLike) -> None:
        self.samples_seen: NDArray[np.int64] = np.asarray(samples_seen, np.int64)
        self.epoch: NDArray[np.float64] = np.asarray(epoch, np.float64)
        self.values: NDArray[np.float64] = np.asarray(values, np.float64)
        self.time_ms: NDArray[np.int64] = np.asarray(time_ms, np.int64)

    @classmethod
    def of(cls, points: Iterable[Point]) -> Self:
        """Points in any order; of two at one place the later given counts: what was logged twice is there once."""
        by_samples = {point.samples_seen: point for point in points}
        ordered = [by_samples[samples] for samples in sorted(by_samples)]
        return cls(
            [p.samples_seen for p in ordered],
            [p.epoch for p in ordered],
            [p.value for p in ordered],
            [p.time_ms for p in ordered],
        )

    def __len__(self) -> int:
        return len(self.samples_seen)

    @overload
    def __getitem__(self, place: int) -> Point: ...
    @overload
    def __getitem__(self, place: slice) -> Self: ...
    def __getitem__(self, place: int | slice) -> Point | Self:
        columns = (self.samples_seen, self.epoch, self.values, self.time_ms)
        if isinstance(place, slice):
            return type(self)(*(column[place] for column in columns))
        samples, epoch, value, time_ms = (column[place].item() for column in columns)
        return Point(samples, epoch, value, time_ms)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence) and not isinstance(other, str):
            return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Series.of({list(self)!r})"


Curves = Mapping[str, Series]
