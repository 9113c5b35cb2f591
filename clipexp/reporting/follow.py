"""A report that is written again while its runs go on, until all of them have ended.

follow(lambda: choose_runs(), lambda is_last: write_report(), say=click.echo)

Between two writings only the sizes of journals are looked at. A report is never left half written: Ctrl-C waits for the
writing that goes on, and then for a last one.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipexp.errors import ReportError, TrackingError
from clipexp.settle import settle
from clipexp.stops import Stops
from clipexp.track.home import home
from clipexp.track.journal import COPY_FILE, EVENTS_FILE, end_reason, last_samples_seen
from clipexp.track.lease import held_runs
from clipexp.track.packed import is_there

EVERY_S = 10.0
GLANCE_S = 0.2  # how soon Ctrl-C is heard
LOST = "lost"


@dataclass(frozen=True)
class Followed:
    """A run to follow. total_samples: where it is to end, as far as that is known."""

    run_id: str
    name: str
    total_samples: int | None = None

    @property
    def folder(self) -> Path:
        """Where its journal lies."""
        return home().journals / self.run_id


@dataclass(frozen=True)
class _Seen:
    """How a run stands: the size of its journal, and whether nothing more can come."""

    num_bytes: int
    is_over: bool


def follow(
    choose: Callable[[], Sequence[Followed]],
    write: Callable[[bool], Path],
    say: Callable[[str], None],
    every_s: float = EVERY_S,
) -> Path | None:
    """Write a report whenever the journals of its runs have grown; end when all runs have, or at Ctrl-C.

    Args:
        choose: the runs. As long as it raises TrackingError, they are waited for: a run may not have begun yet.
        write: writes the report and returns its path; called with whether this is the last time.
        say: takes a line for the person.
        every_s: how often the journals are looked at.

    Returns:
        The report's path; None where Ctrl-C came before there was a run to report on.

    Raises:
        ReportError: the report could not be written the last time. Before that such a failure is said, and tried again.
    """
    stops = Stops()
    with stops.on_signals():
        runs = _wait_for(choose, say, stops, every_s)
        if runs is None:
            return None
        seen: dict[str, _Seen] = {}
        while stops.reason() is None:
            for line in settle():
                say(line)
            now = _look(runs, seen, say)
            if all(state.is_over for state in now.values()):
                break
            if now != seen:
                _write_now(write, runs, say)
            seen = now
            _pause(every_s, stops)
        path = write(True)
        why = "all its runs have ended" if stops.reason() is None else "the runs were not waited for any longer"
        say(f"report: {path} ({why})")
        return path


def _wait_for(
    choose: Callable[[], Sequence[Followed]], say: Callable[[str], None], stops: Stops, every_s: float
) -> Sequence[Followed] | None:
    said = ""
    while stops.reason() is None:
        try:
            return choose()
        except TrackingError as error:
            if str(error) != said:
                said = str(error)
                say(f"{error}; waiting for it to begin, Ctrl-C ends this")
        _pause(every_s, stops)
    return None


def _look(runs: Sequence[Followed], before: dict[str, _Seen], say: Callable[[str], None]) -> dict[str, _Seen]:
    """How the runs stand now; what came of one is said when it is found to be over."""
    held = held_runs()
    now = {}
    for run in runs:
        known = before.get(run.run_id)
        num_bytes = _num_bytes(run.folder)
        is_held = run.run_id in held
        if known is not None and known.num_bytes == num_bytes and (known.is_over or is_held):
            now[run.run_id] = known
            continue
        now[run.run_id] = _Seen(num_bytes, is_over=not is_held)
        if known is None and is_held and num_bytes == 0:
            say(f"{run.name} has not begun yet")
        if not is_held and num_bytes == 0:
            say(f"{run.name} is not followed: nobody carries it out here, and its journal is not here either")
        elif not is_held and (known is not None or end_reason(run.folder) is None):
            say(_ending(run))
    return now


def _ending(run: Followed) -> str:
    """How a run ended that nobody carries out any more."""
    reason = end_reason(run.folder)
    if reason == LOST or reason is None:
        return f"{run.name} was lost at {_how_far(run)}: its process is gone and left no word"
    return f"{run.name} has ended ({reason}) at {_how_far(run)}"


def _how_far(run: Followed) -> str:
    total = f" of {run.total_samples:,}" if run.total_samples else ""
    return f"{max(0, last_samples_seen(run.folder)):,}{total} samples"


def _num_bytes(folder: Path) -> int:
    """The size of a journal, by its second copy, which stays when the first is packed; 0 where there is none."""
    paths = [folder / COPY_FILE, folder / EVENTS_FILE]
    found = next((path.stat().st_size for path in paths if path.is_file()), 0)
    return found or int(is_there(folder))


def _write_now(write: Callable[[bool], Path], runs: Sequence[Followed], say: Callable[[str], None]) -> None:
    try:
        path = write(False)
    except ReportError as error:
        say(f"{error}; trying again")
        return
    far = ", ".join(f"{run.name} {_how_far(run)}" for run in runs[:3]) + (", ..." if len(runs) > 3 else "")
    say(f"{time.strftime('%H:%M:%S')} {path}: {far}")


def _pause(seconds: float, stops: Stops) -> None:
    until = time.monotonic() + seconds
    while stops.reason() is None and time.monotonic() < until:
        time.sleep(min(GLANCE_S, max(0.0, until - time.monotonic())))
