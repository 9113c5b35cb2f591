"""What happens in a run, as values: training yields them, the runner records them.

    for event in train.loop.train(...):
        recorder.record(event)

Every event carries `samples_seen`, the one time axis: batch sizes differ between runs, so steps can't be compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# Why a run stopped: at its end; by a study's pruner; at its time budget; by a signal; by an error; without a word
# (SIGKILL, power), which the next command finds out.
StopReason = Literal["finished", "pruned", "budget", "interrupted", "failed", "lost"]


@dataclass(frozen=True)
class StepEvent:
    """The training metrics of one logging window, under their names in MLflow (`train/loss`, ...)."""

    samples_seen: int
    epoch: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Example:
    """A validation caption and the pictures that it found, best first.

    `found_idx` and `target_idx` are rows of the frozen validation set; `scores` are cosine similarities.
    """

    caption: str
    target_idx: int
    found_idx: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class EvalEvent:
    """The metrics of one pass over the frozen validation set (`val/loss`, ...), and some of what was found.

    strips: the same metrics over each strip of 32 pairs that follow one another (negatives are the whole block's, as
    ever), so that it can be told how far a difference rests on which pairs happen to validate.
    """

    samples_seen: int
    epoch: float
    metrics: Mapping[str, float]
    examples: tuple[Example, ...] = ()
    strips: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointEvent:
    """A checkpoint was written to `path` (a folder), behind training; `samples_seen` is what it holds."""

    samples_seen: int
    path: str
    is_best: bool


@dataclass(frozen=True)
class FaultEvent:
    """Something went wrong inside training, such as a loss that is not finite; training stops behind it."""

    samples_seen: int
    message: str


@dataclass(frozen=True)
class PauseEvent:
    """The run waits for something outside it, such as room on the disk, and goes on by itself; it is not recorded."""

    samples_seen: int
    message: str


@dataclass(frozen=True)
class EndEvent:
    """The last event of an attempt at a run."""

    samples_seen: int
    reason: StopReason


Event = StepEvent | EvalEvent | CheckpointEvent | FaultEvent | PauseEvent | EndEvent
