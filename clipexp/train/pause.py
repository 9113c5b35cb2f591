"""Waiting for a disk on which a checkpoint can't be written.

    ended = yield from pause(writer, error, hooks.stop, samples_seen)

A full disk is somebody's to empty, and a run of days should be there still when that is done. So training stands still,
says so, and tries again with the same copy of its state.
"""

import shutil
from collections.abc import Callable, Generator
from pathlib import Path

from clipexp.errors import CheckpointError
from clipexp.events import PauseEvent, StopReason
from clipexp.patience import PAUSE_LIMIT_S, until_written
from clipexp.track import checkpoint_names
from clipexp.train.checkpoint_writer import CheckpointWriter, Written

BYTES_A_MB = 1e6
GOES_ON = "training goes on by itself; Ctrl-C stops, and the run can be resumed later"


def pause(
    writer: CheckpointWriter, error: OSError, stop: Callable[[], StopReason | None], samples_seen: int
) -> Generator[PauseEvent, None, Written | StopReason]:
    """Try again and again to write the checkpoint at hand.

    Args:
        writer: has just failed.
        error: how.
        stop: polled while it waits.
        samples_seen: where training stands.

    Yields:
        What is wrong and what to do.

    Returns:
        What was written in the end, or the reason to stop, which leaves the checkpoint unwritten.

    Raises:
        CheckpointError: it could not be written for 600 s.
    """
    written: list[Written] = []

    def attempt() -> OSError | None:
        writer.retry()
        writer.wait()
        outcome = writer.take()
        if isinstance(outcome, Written):
            written.append(outcome)
            return None
        return outcome

    def tell(problem: OSError) -> PauseEvent:
        return PauseEvent(samples_seen, f"PAUSED: {cannot_write(writer, problem, GOES_ON)}")

    try:
        reason = yield from until_written(attempt, error, stop, tell)
    except OSError as last:
        message = cannot_write(writer, last, "then run it again")
        raise CheckpointError(f"waited for {PAUSE_LIMIT_S / 60:.0f} minutes: {message}") from last
    if reason is not None:
        writer.give_up()
        return reason
    return written[-1]


def cannot_write(writer: CheckpointWriter, error: OSError, outlook: str) -> str:
    """What is wrong, what is safe, and the remedy."""
    newest = checkpoint_names.newest(writer.root)
    is_safe = (
        f"the newest good checkpoint is at {checkpoint_names.samples_seen_at(newest):,} samples"
        if newest
        else "there is no checkpoint yet"
    )
    return (
        f"can't write a checkpoint: it needs about {_mb(writer.num_bytes)}, {_free(writer.root)} ({error}); {is_safe}."
        f" Make room (see `clipexp runs gc --dry-run`); {outlook}"
    )


def _free(root: Path) -> str:
    there = next(path for path in (root, *root.absolute().parents) if path.is_dir())
    return f"{_mb(shutil.disk_usage(there).free)} are free at {there}"


def _mb(num_bytes: int) -> str:
    return f"{max(1, round(num_bytes / BYTES_A_MB)):,} MB" if num_bytes else "0 MB"
