"""Every failure that a user can cause or mend.

- `ClipexpError`: the root; the command line prints it without a traceback and exits with 2.
    - `SpecError`: a spec that can't be read or does not validate; holds every problem found.
    - `SourceError`: the files that pairs come from are missing or unusable.
    - `StoreError`: a prepared set is missing, cut short or changed.
    - `CheckpointError`: a checkpoint is cut short, of another version or of another spec.
    - `TrackingError`: MLflow's store can't be reached or written.
    - `RunError`: a run can't start or go on (wrong device, already running).
        - `DivergedError`: its loss, gradient or weights are not finite.
        - `MemoryExhaustedError`: its device has too little memory.
    - `StudyError`: a study can't start or go on (name in use with another space, storage that does not answer, held
      by another).
    - `ReportError`: a report can't be written from what was named.

Anything else that reaches the user is a bug and keeps its traceback.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class ClipexpError(Exception):
    """What went wrong, where, and the remedy, in one message."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a spec: `where` is `file:line` or the flag it came from."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class SpecError(ClipexpError):
    """All mistakes of a spec at once, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class SourceError(ClipexpError):
    """The files that pairs come from are missing or unusable."""


class StoreError(ClipexpError):
    """A prepared set is missing, cut short or changed."""


class CheckpointError(ClipexpError):
    """A checkpoint is cut short, of another version or of another spec."""


class TrackingError(ClipexpError):
    """MLflow's store can't be reached or written."""


class RunError(ClipexpError):
    """A run can't start or go on."""


class DivergedError(RunError):
    """Training gave numbers that are not finite; `samples_seen` says where that was found."""

    def __init__(self, message: str, samples_seen: int) -> None:
        self.samples_seen = samples_seen
        super().__init__(message, samples_seen)

    def __str__(self) -> str:
        return str(self.args[0])


class MemoryExhaustedError(RunError):
    """The device has too little memory for a step; `micro_batch` is None where the whole batch was held at once."""

    def __init__(self, message: str, batch_size: int, micro_batch: int | None) -> None:
        self.batch_size, self.micro_batch = batch_size, micro_batch
        super().__init__(message, batch_size, micro_batch)

    def __str__(self) -> str:
        return str(self.args[0])


class StudyError(ClipexpError):
    """A study can't start or go on."""


class ReportError(ClipexpError):
    """A report can't be written from what was named."""
