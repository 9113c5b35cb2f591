"""Waiting for a disk that can't be written: somebody will empty it, and a run of days should be there still then.

reason = yield from until_written(attempt, error, stop, tell)
"""

import time
from collections.abc import Callable, Generator

from clipexp.events import PauseEvent, StopReason

RETRY_EVERY_S = 5.0
REMIND_EVERY_S = 60.0
PAUSE_LIMIT_S = 600.0
POLL_EVERY_S = 0.1


def until_written(
    attempt: Callable[[], OSError | None],
    error: OSError,
    stop: Callable[[], StopReason | None],
    tell: Callable[[OSError], PauseEvent],
) -> Generator[PauseEvent, None, StopReason | None]:
    """Try again every 5 s.

    Args:
        attempt: tries to write; what went wrong, or None.
        error: what went wrong at first.
        stop: polled every 0.1 s, but for the time of a try.
        tell: makes what is told at once, and about each minute.

    Returns:
        None once it is written, or the reason to stop, which leaves it unwritten.

    Raises:
        OSError: it could not be written for 600 s.
    """
    began_s = time.monotonic()
    told_s = float("-inf")
    problem: OSError | None = error
    while problem is not None:
        if time.monotonic() - told_s >= REMIND_EVERY_S:
            told_s = time.monotonic()
            yield tell(problem)
        if (reason := _stop_within(RETRY_EVERY_S, stop)) is not None:
            return reason
        if time.monotonic() - began_s >= PAUSE_LIMIT_S:
            raise problem
        problem = attempt()
    return None


def _stop_within(duration_s: float, stop: Callable[[], StopReason | None]) -> StopReason | None:
    end_s = time.monotonic() + duration_s
    while True:
        if (reason := stop()) is not None or time.monotonic() >= end_s:
            return reason
        time.sleep(min(POLL_EVERY_S, duration_s))
