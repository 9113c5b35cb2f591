"""The journal: an append-only file a run, the authority for what happened.

    with Journal(home().journals / run_id) as journal:
        journal.append(StepEvent(...))
    points(home().journals / run_id)["train/loss"]

Each line of `events.jsonl` is an event with its attempt and time. A run that goes on from a checkpoint begins a new
attempt there; what an earlier attempt wrote behind that place is superseded, so that a curve has every point once.
"""

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from clipexp.events import Event, Example
from clipexp.track.home import home

EVENTS_FILE, HEADER_FILE, SUMMARY_FILE, CONSOLE_FILE = "events.jsonl", "run.json", "summary.json", "console.log"
HOME_STORE = "mlruns"  # for the store beside the journals, wherever the checkout lies


@dataclass(frozen=True)
class Point:
    """One value of a metric. `time_ms`: Unix time of the record, the same wherever it is delivered."""

    samples_seen: int
    epoch: float
    value: float
    time_ms: int


Curves = Mapping[str, tuple[Point, ...]]


class Journal:
    """The open journal of a running run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.attempt = 1 + max((record["attempt"] for record in _records(folder)), default=0)
        self._file = (folder / EVENTS_FILE).open("a", buffering=1)
        if self.attempt > 1:
            self._file.write("\n")  # ends a line that a kill cut short

    def begin(self, samples_seen: int) -> None:
        """Say where this attempt starts."""
        self._write({"event": "Begin", "samples_seen": samples_seen}, _now_ms())

    def append(self, event: Event) -> int:
        """Write an event; returns its Unix time in ms."""
        time_ms = _now_ms()
        self._write({"event": type(event).__name__, **dataclasses.asdict(event)}, time_ms)
        return time_ms

    def _write(self, record: Mapping[str, Any], time_ms: int) -> None:
        self._file.write(json.dumps({"attempt": self.attempt, "time_ms": time_ms, **record}) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a small JSON file beside its place, then rename it."""
    tmp = path.with_suffix(".tmp")
    tmp.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    tmp.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read it back; empty where it is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_header(folder: Path, run_id: str, spec_hash: str, tracking_uri: str) -> None:
    """Say which run a journal is of, and where it is tracked."""
    folder.mkdir(parents=True, exist_ok=True)
    store = HOME_STORE if tracking_uri == home().tracking_uri else tracking_uri
    write_json(folder / HEADER_FILE, {"run_id": run_id, "spec_hash": spec_hash, "tracking_uri": store})


def journals_of_spec(spec_hash: str, tracking_uri: str) -> list[str]:
    """Ids of the runs of a spec that have their journal here and are tracked in that store, newest first."""
    store = HOME_STORE if tracking_uri == home().tracking_uri else tracking_uri
    found = []
    for header in sorted(home().journals.glob(f"*/{HEADER_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True):
        content = read_json(header)
        if (content.get("spec_hash"), content.get("tracking_uri")) == (spec_hash, store):
            found.append(str(content["run_id"]))
    return found


def active_seconds(folder: Path) -> float:
    """How long a run was at work, pauses between its attempts left out."""
    times_by_attempt: dict[int, list[int]] = {}
    for record in _records(folder):
        times_by_attempt.setdefault(record["attempt"], []).append(record["time_ms"])
    return sum(max(times) - min(times) for times in times_by_attempt.values()) / 1000


def last_examples(folder: Path) -> tuple[Example, ...]:
    """The examples of the last validation."""
    evals = [record for record in live_records(folder) if record["event"] == "EvalEvent"]
    return tuple(
        Example(e["caption"], e["target_idx"], tuple(e["found_idx"]), tuple(e["scores"]))
        for e in (evals[-1]["examples"] if evals else ())
    )


def points(folder: Path) -> dict[str, tuple[Point, ...]]:
    """All metrics of a journal, each point once, in order of samples seen."""
    found: dict[str, dict[int, Point]] = {}
    for record in live_records(folder):
        for name, value in record.get("metrics", {}).items():
            at = record["samples_seen"]
            found.setdefault(name, {})[at] = Point(at, record["epoch"], value, record["time_ms"])
    return {name: tuple(by_samples[at] for at in sorted(by_samples)) for name, by_samples in found.items()}


def live_records(folder: Path) -> list[dict[str, Any]]:
    """The records that no later attempt superseded."""
    records = list(_records(folder))
    start_by_attempt = {r["attempt"]: r["samples_seen"] for r in records if r["event"] == "Begin"}

    def superseded(record: Mapping[str, Any]) -> bool:
        return any(
            attempt > record["attempt"] and record["samples_seen"] > start
            for attempt, start in start_by_attempt.items()
        )

    return [record for record in records if not superseded(record)]


def num_unreadable_lines(folder: Path) -> int:
    """Lines of a journal that are no record, such as one that a kill cut short."""
    lines = [line for line in _lines(folder) if line.strip()]
    return len(lines) - len(list(_records(folder)))


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    for line in _lines(folder):
        try:
            record = json.loads(line)
        except ValueError:
            continue  # counted by num_unreadable_lines
        if isinstance(record, dict) and "attempt" in record:
            yield record


def _lines(folder: Path) -> list[str]:
    path = folder / EVENTS_FILE
    return path.read_text(errors="replace").splitlines() if path.is_file() else []


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
