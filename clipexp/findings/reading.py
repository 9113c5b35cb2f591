"""A run's curves as rules read them: finite, in order, each place once, with what follows from the facts.

reading = Reading(curves, facts)
reading.line("train/loss")     # None where there is nothing to read
reading.val_loss.metric        # "val/loss", or "val/loss_block_256"
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clipexp.findings.finding import RunFacts
from clipexp.track.curves import Curves

VAL_LOSS = "val/loss"
LARGEST = float(np.finfo(np.float32).max)  # training knows no number above
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Line:
    """The finite points of a metric. samples: int64 (points,), rising; values: float64 (points,). Never empty."""

    metric: str
    samples: IntArray
    values: FloatArray

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def window(self) -> tuple[int, int]:
        """From and to, in samples seen."""
        return int(self.samples[0]), int(self.samples[-1])

    @property
    def last(self) -> float:
        """The last value."""
        return float(self.values[-1])

    def between(self, start: float, stop: float) -> Self | None:
        """The points with `start < samples <= stop`; None where there are none."""
        begin, end = np.searchsorted(self.samples, [start, stop], side="right")
        return type(self)(self.metric, self.samples[begin:end], self.values[begin:end]) if end > begin else None

    def thinned(self, num_points: int) -> Self:
        """At most so many points: means of neighbours."""
        if len(self) <= num_points:
            return self
        edges = np.linspace(0, len(self), num_points + 1).astype(np.int64)
        sizes = np.diff(edges)
        samples = np.add.reduceat(self.samples, edges[:-1]) // sizes
        return type(self)(self.metric, samples, np.add.reduceat(self.values, edges[:-1]) / sizes)


class Reading:
    """One run. Of what is not recorded or not known, everything is None."""

    def __init__(self, curves: Curves, facts: RunFacts) -> None:
        self.curves = curves
        self.facts = facts
        self._lines: dict[str, Line | None] = {}

    def line(self, metric: str) -> Line | None:
        """A metric's finite points."""
        if metric not in self._lines:
            self._lines[metric] = self._read(metric)
        return self._lines[metric]

    def _read(self, metric: str) -> Line | None:
        if (series := self.curves.get(metric)) is None:
            return None
        samples = np.asarray(series.samples_seen, np.int64)
        values = np.asarray(series.values, np.float64)
        if not (np.diff(samples) > 0).all():
            samples, places = np.unique(samples[::-1], return_index=True)  # of two at one place the later counts
            values = values[::-1][places]
        is_finite = np.abs(values) <= LARGEST
        if not is_finite.any():
            return None
        return Line(metric, samples[is_finite], values[is_finite])

    def first_bad(self, metric: str) -> int | None:
        """Samples seen at a metric's first value that is not finite."""
        series = self.curves.get(metric)
        if series is None:
            return None
        is_bad = ~(np.abs(series.values) <= LARGEST)
        return int(series.samples_seen[is_bad].min()) if is_bad.any() else None

    @cached_property
    def train_loss(self) -> Line | None:
        """Mean training losses of the logging windows."""
        return self.line("train/loss")

    @cached_property
    def val_loss(self) -> Line | None:
        """The validation loss, whatever its block."""
        names = [name for name in self.curves if name == VAL_LOSS or name.startswith(f"{VAL_LOSS}_block_")]
        lines = [line for name in sorted(names) if (line := self.line(name)) is not None]
        return max(lines, key=len, default=None)

    @cached_property
    def trained_val_loss(self) -> Line | None:
        """The same without the untrained model's."""
        line = self.val_loss
        return None if line is None else line.between(self.start, math.inf)

    @property
    def start(self) -> int:
        """Samples seen where the run began."""
        return self.facts.start_samples

    @cached_property
    def end(self) -> int:
        """Samples seen at the last point of any metric."""
        lasts = [int(series.samples_seen.max()) for series in self.curves.values() if len(series)]
        return max([self.start, *lasts])

    @cached_property
    def horizon(self) -> int:
        """Where the budget ends; where that is not known, where the curves do."""
        return max(self.facts.total_samples or 0, self.end)

    @property
    def is_whole(self) -> bool:
        """Whether the run reached the end of its budget, within a fiftieth: rules on the end need one."""
        return self.end - self.start >= 0.98 * (self.horizon - self.start) > 0

    def at(self, share: float) -> float:
        """Samples seen at a share of what the run has done."""
        return self.start + share * (self.end - self.start)

    def part(self, line: Line | None, start: float, stop: float = 1.0) -> Line | None:
        """A line between two shares of what the run has done."""
        return None if line is None else line.between(self.at(start), self.at(stop))

    @cached_property
    def train_chance(self) -> float | None:
        """The training loss of a model that knows nothing: ln(batch)."""
        batch = self.facts.batch_size
        return math.log(batch) if batch is not None and batch > 1 else None

    @property
    def train_start(self) -> float | None:
        """The training loss that a run comes from: at chance, or the first recorded; None where it is not above 0."""
        first = float(self.train_loss.values[0]) if self.train_loss is not None else 0.0
        return self.train_chance or (first if first > 0 else None)

    @cached_property
    def val_chance(self) -> float | None:
        """The validation loss of a model that knows nothing: ln(block)."""
        line = self.line("val/chance_loss")
        if line is not None and line.last > 0:
            return line.last
        block = self.val_loss.metric.removeprefix(f"{VAL_LOSS}_block_") if self.val_loss else ""
        if block == VAL_LOSS:
            return math.log(1024)
        return math.log(int(block)) if block.isdecimal() and int(block) > 1 else None
