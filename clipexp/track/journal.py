"""The journal: an append-only file a run, the authority for what happened.

    with Journal(home().journals / run_id) as journal:
        journal.begin(0)
        journal.append(StepEvent(...))
    points(home().journals / run_id)["train/loss"]

Each line of `events.jsonl` is an event with its number, attempt, time and checksum, and stands in `events.copy.jsonl`
too, since a curve can't be made again. A run that goes on from a checkpoint begins a new attempt there; what an earlier
attempt wrote behind that place is superseded, so that a curve has every point once. A finished journal is packed into
`events.parquet` (see `packed`).
"""

import dataclasses
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from clipexp.events import EndEvent, Event, Example, FaultEvent, StopReason
from clipexp.track import packed

if TYPE_CHECKING:
    from clipexp.track.curves import Series

EVENTS_FILE, COPY_FILE, CONSOLE_FILE = "events.jsonl", "events.copy.jsonl", "console.log"
FROM_START = -1  # begins an attempt that supersedes every record before it
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Damage:
    """What is wrong in a journal: lines that the other copy made good, and records that both copies lost."""

    num_mended: int
    num_lost: int


class Journal:
    """The open journal of a running run."""

    def __init__(self, folder: Path, *, of_last_attempt: bool = False, min_number: int = 0) -> None:
        """Open it for a new attempt, or to say how the last one ended.

        `min_number`: how many records are known to have been written, should the journal itself have lost its end.
        Their numbers are not given again, so that `damage` counts them. Raises OSError where it can't be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        before = records(folder)
        self.attempt = max((record["attempt"] for record in before), default=0) + (not of_last_attempt)
        self.last_time_ms = max((record["time_ms"] for record in before), default=_now_ms())
        self.number = max((record["n"] for record in before), default=0)  # of the last record
        self.number = max(self.number, min_number)
        self._start_s = time.monotonic()
        self._unwritten: Event | None = None
        self.has_ended = False  # whether this attempt's end is written
        self._files = [_open_for_lines(folder / name) for name in (COPY_FILE, EVENTS_FILE)]
        self._rests = [b""] * len(self._files)

    def begin(self, samples_seen: int) -> None:
        """Say where this attempt starts; FROM_START supersedes all that is there. Raises OSError, as `append`."""
        self._take({"event": "Begin", "samples_seen": samples_seen})
        self._write_rest()

    def append(self, event: Event, time_ms: int | None = None) -> None:
        """Write an event that happened now, or at a Unix time.

        Raises:
            OSError: the disk is full or can't be written. Appended again, the very same event is the same record, of
                which the rest is written; any other waits until it is.
        """
        if event is not self._unwritten:
            self._write_rest()
            self._take({"event": type(event).__name__, **dataclasses.asdict(event)}, time_ms)
            self._unwritten = event
        self._write_rest()
        self._unwritten = None
        self.has_ended = isinstance(event, EndEvent)

    def sync(self) -> None:
        """Have all that was written stand on the disk itself, power cut or not."""
        for file in self._files:
            os.fsync(file)

    def _take(self, content: Record, time_ms: int | None = None) -> None:
        self.number += 1
        stamp = {
            "n": self.number,
            "attempt": self.attempt,
            "time_ms": _now_ms() if time_ms is None else time_ms,
            # by the monotonic clock, since the wall clock may be set while a run goes on
            "elapsed_s": round(time.monotonic() - self._start_s, 3),
        }
        self._rests = [_line({**stamp, **content})] * len(self._files)

    def _write_rest(self) -> None:
        """Write what is not written yet, the second copy first: who reads along reads what is certain."""
        for idx, file in enumerate(self._files):
            while self._rests[idx]:
                self._rests[idx] = _write_part(file, self._rests[idx])

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _open_for_lines(path: Path) -> int:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    if os.fstat(file).st_size:
        os.write(file, b"\n")  # ends a line that a kill cut short
    return file


def _write_part(file: int, content: bytes) -> bytes:
    """Write; returns what is left: a disk that is nearly full takes a part, and tells what is wrong at the next."""
    return content[os.write(file, content) :]


def _line(record: Record) -> bytes:
    body = json.dumps(record)
    return f'{body[:-1]}, "crc": "{zlib.crc32(body.encode()):08x}"}}\n'.encode()


def _parse(line: bytes) -> dict[str, Any] | None:
    body, mark, checksum = line.rpartition(b', "crc": "')
    if not mark or checksum != b'%08x"}' % zlib.crc32(body + b"}"):
        return None
    record: dict[str, Any] = json.loads(body + b"}")
    return record


def _read_lines(path: Path) -> tuple[dict[int, dict[str, Any]], int]:
    """Records by number, and how many lines are none."""
    lines = [line for line in path.read_bytes().split(b"\n") if line] if path.is_file() else []
    parsed = [_parse(line) for line in lines]
    return {record["n"]: record for record in parsed if record is not None}, parsed.count(None)


def records(folder: Path) -> list[dict[str, Any]]:
    """All records in order, superseded ones too."""
    return _read(folder)[0]


def last_number(folder: Path) -> int:
    """The number of the last record; 0 where there is none."""
    found = records(folder)
    return int(found[-1]["n"]) if found else 0


def damage(folder: Path) -> Damage:
    """How far a journal is damaged. A line that a kill cut short was never a record, and counts in neither."""
    return _read(folder)[1]


def _read(folder: Path) -> tuple[list[dict[str, Any]], Damage]:
    lines, num_bad = _read_lines(folder / EVENTS_FILE)
    by_number = (packed.read(folder) or {}) | lines
    num_mended = 0
    is_shorter = not packed.is_there(folder) and _num_bytes(folder / EVENTS_FILE) < _num_bytes(folder / COPY_FILE)
    if num_bad or is_shorter or not by_number or len(by_number) < max(by_number):
        copies, _ = _read_lines(folder / COPY_FILE)
        num_mended = len(copies.keys() - by_number.keys())
        by_number |= copies
    num_lost = max(by_number, default=0) - len(by_number)
    return [by_number[n] for n in sorted(by_number)], Damage(num_mended, num_lost)


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def pack(folder: Path) -> None:
    """Pack a journal that nobody writes to any more into Parquet; its second copy stays as it is."""
    if (folder / EVENTS_FILE).exists():
        packed.write(folder, records(folder))
        (folder / EVENTS_FILE).unlink()


def live_records(folder: Path) -> list[dict[str, Any]]:
    """The records that no later attempt superseded."""
    found = records(folder)
    is_live = _live_test(found)
    return [record for record in found if is_live(record)]


def _live_test(found: list[dict[str, Any]]) -> Callable[[Record], bool]:
    """Whether a record stands: it lies at or before the place where every later attempt began."""
    starts = {r["attempt"]: FROM_START for r in found}
    starts |= {r["attempt"]: r["samples_seen"] for r in found if r["event"] == "Begin"}
    last = _last_by_attempt(starts)
    return lambda record: record["samples_seen"] <= last[record["attempt"]]


def _last_by_attempt(starts: Mapping[int, int]) -> dict[int, float]:
    """Up to where the records of each attempt stand, from where each began."""
    found: dict[int, float] = {}
    last = float("inf")
    for attempt in sorted(starts, reverse=True):
        found[attempt] = last
        last = min(last, starts[attempt])
    return found


def points(folder: Path) -> "dict[str, Series]":
    """All metrics of a journal, each point once, in order of samples seen."""
    from clipexp.track.curves import Point, Series

    if not (folder / EVENTS_FILE).exists():
        packed_series = packed.read_series(folder, _last_by_attempt)
        if packed_series is not None:
            return packed_series
    found: dict[str, list[Point]] = {}
    for record in live_records(folder):
        for name, value in record.get("metrics", {}).items():
            point = Point(record["samples_seen"], record["epoch"], value, record["time_ms"])
            found.setdefault(name, []).append(point)
    return {name: Series.of(series) for name, series in found.items()}


def end_reason(folder: Path) -> StopReason | None:
    """Why the last attempt ended; None while it goes on, or where it was killed and nobody has found out yet."""
    found = records(folder)
    reason: StopReason | None = found[-1]["reason"] if found and found[-1]["event"] == EndEvent.__name__ else None
    return reason


def last_samples_seen(folder: Path) -> int:
    """How far the last attempt came."""
    return max((record["samples_seen"] for record in live_records(folder)), default=0)


def active_seconds(folder: Path) -> float:
    """How long a run was at work, pauses between its attempts left out."""
    elapsed_by_attempt: dict[int, float] = {}
    for record in records(folder):
        attempt = record["attempt"]
        elapsed_by_attempt[attempt] = max(elapsed_by_attempt.get(attempt, 0.0), record["elapsed_s"])
    return sum(elapsed_by_attempt.values())


def last_examples(folder: Path) -> tuple[Example, ...]:
    """The examples of the last validation."""
    evals = [record for record in live_records(folder) if record["event"] == "EvalEvent"]
    return tuple(
        Example(e["caption"], e["target_idx"], tuple(e["found_idx"]), tuple(e["scores"]))
        for e in (evals[-1]["examples"] if evals else ())
    )


def faults(folder: Path) -> tuple[str, ...]:
    """What went wrong inside training, oldest first, of what stands."""
    return tuple(record["message"] for record in live_records(folder) if record["event"] == FaultEvent.__name__)


def last_strips(folder: Path) -> tuple[int, dict[str, tuple[float, ...]]]:
    """The strips of the last validation that has them (see EvalEvent), and the samples seen there; 0 where none has."""
    for record in reversed(live_records(folder)):
        if record.get("strips"):
            return record["samples_seen"], {metric: tuple(values) for metric, values in record["strips"].items()}
    return 0, {}


class Tail:
    """Reads what is appended to a journal while it is written.

    for record in Tail(folder, after=records(folder)[-1]["n"]).new(): ...
    """

    def __init__(self, folder: Path, after: int) -> None:
        self._path = folder / EVENTS_FILE
        self._offset = 0
        self._last = after

    def new(self) -> Iterator[dict[str, Any]]:
        """The whole records that were appended since the last call."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.split(b"\n"):
            record = _parse(line) if line else None
            if record is not None and record["n"] > self._last:
                self._last = record["n"]
                yield record
