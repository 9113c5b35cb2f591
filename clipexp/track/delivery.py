"""Delivery: what stands in a run's journal and outbox goes to MLflow, once, however often one is cut off.

    delivery = Delivery(client, header)
    while delivery.send_some(): ...

At each step of a metric MLflow gets the first record that the journal has of it, with the record's own time stamp. That
rule depends on the journal alone, so what was sent twice is the same point to MLflow, which keeps one. (An attempt that
repeats what a kill cut off gives the same values again: resuming is exact.) `delivered.json` says how far it got; where
that is lost, everything is sent again.
"""

import contextlib
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipexp.events import EndEvent, StopReason
from clipexp.track import mlflow_run
from clipexp.track.header import RunHeader, headers
from clipexp.track.journal import EVENTS_FILE, Tail, records
from clipexp.track.kept import read_kept, write_kept
from clipexp.track.lease import held_runs, try_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

DELIVERED_FILE, FINDINGS_FILE = "delivered.json", "findings.json"
METRICS_A_CALL = 100  # some 10 ms of Python, for which training's thread may have to wait
_Value = tuple[str, float, int, int]  # key, value, Unix time in ms, samples seen


@dataclass(frozen=True)
class Owed:
    """What MLflow has not got of a run."""

    num_points: int
    num_folders: int
    status: bool

    def __bool__(self) -> bool:
        return bool(self.num_points or self.num_folders or self.status)

    def __str__(self) -> str:
        words = [f"{self.num_points:,} points"] if self.num_points else []
        words += [f"{self.num_folders} folders of artifacts"] if self.num_folders else []
        words += ["its status"] if self.status else []
        return ", ".join(words) or "nothing"


class Delivery:
    """Brings one run in MLflow up to its journal.

    Args:
        client: MLflow's.
        header: the run's.
        sync: called between reading and sending, so that MLflow never knows more than a disk that lost its power.
    """

    def __init__(self, client: "MlflowClient", header: RunHeader, sync: Callable[[], None] = lambda: None) -> None:
        self.header = header
        self._client = client
        self._sync = sync
        self._done = read_kept(header.folder / DELIVERED_FILE)
        self._steps_by_key: dict[str, set[int]] = {}
        self._waiting: deque[tuple[int, list[_Value]]] = deque()  # by number of the record
        self._end: tuple[StopReason, int] | None = None
        self._attempt = 0
        self._tail: Tail | None = None

    def send_all(self, pause_s: float = 0.0) -> None:
        """Send what there is, with a pause between calls. Raises whatever MLflow raises; call it again then."""
        while self.send_some():
            time.sleep(pause_s)

    def send_some_alone(self) -> bool:
        """As `send_some`, if nobody carries the run out or starts to; else nothing, and False."""
        lock = try_lock(self.header.spec_hash)
        if lock is None:
            return False
        try:
            return self.send_some()
        finally:
            lock.release()

    def send_some(self) -> bool:
        """Send the next part; whether there may be more.

        Raises:
            Exception: whatever MLflow raises where it is gone or refuses; the part is sent again by the next call.
        """
        self._read_new()
        run_id = self.header.run_id
        if self._done.get("attempt") != self._attempt:
            mlflow_run.describe(self._client, self.header)
            if self._end is None:
                mlflow_run.go_on(self._client, run_id)
            self._note(attempt=self._attempt, reason="")
        elif self._waiting:
            self._send_values()
        elif folder := next(published(self.header.outbox), None):
            sent = folder.stat().st_ino
            self._client.log_artifacts(run_id, str(folder), folder.name)
            if folder.stat().st_ino == sent:  # else a newer one took its place meanwhile
                shutil.rmtree(folder)
        elif self._end is not None and self._done.get("reason") != self._end[0]:
            kept = read_kept(self.header.folder / FINDINGS_FILE)
            if kept:
                mlflow_run.tell_findings(self._client, run_id, kept["findings"])
            mlflow_run.end(self._client, run_id, *self._end)
            self._note(reason=self._end[0])
        else:
            return False
        return True

    def _read_new(self) -> None:
        folder = self.header.folder
        if self._tail is None:
            before = records(folder)
            self._tail = Tail(folder, before[-1]["n"] if before else 0)
        else:
            before = []
        for record in (*before, *self._tail.new()):
            self._take(record)
        self._sync()

    def _take(self, record: Mapping[str, Any]) -> None:
        """Note what a record says; its values wait if they are the journal's first at their step and were not sent."""
        self._attempt = record["attempt"]
        self._end = (record["reason"], record["time_ms"]) if record["event"] == EndEvent.__name__ else None
        step = record["samples_seen"]
        first = []
        for key, value in record.get("metrics", {}).items():
            steps = self._steps_by_key.setdefault(key, set())
            if step not in steps:
                steps.add(step)
                first.append((key, value, record["time_ms"], step))
        if first and record["n"] > self._done.get("number", 0):
            self._waiting.append((record["n"], first))

    def _send_values(self) -> None:
        from mlflow.entities import Metric

        metrics: list[Metric] = []
        sent = []
        for number, values in self._waiting:
            if metrics and len(metrics) + len(values) > METRICS_A_CALL:
                break
            metrics += [Metric(*value) for value in values]
            sent.append(number)
        self._client.log_batch(self.header.run_id, metrics=metrics)
        for _ in sent:
            self._waiting.popleft()
        self._note(number=sent[-1])

    def _note(self, **changed: int | str) -> None:
        self._done |= changed
        with contextlib.suppress(OSError):  # a full disk: what is not noted is sent again, and is the same
            write_kept(self.header.folder / DELIVERED_FILE, self._done, durable=False)


def published(outbox: Path) -> Iterator[Path]:
    """The folders of artifacts that wait, whole ones; each has the name of the artifact folder that it becomes."""
    yield from sorted(path for path in outbox.glob("*") if path.is_dir() and not path.name.startswith("."))


@contextlib.contextmanager
def publishing(header: RunHeader, name: str) -> Iterator[Path]:
    """A folder to fill, which then waits as the artifact folder NAME, whole; nothing is left of it on an error."""
    tmp, place = header.outbox / f".{name}.tmp", header.outbox / name
    shutil.rmtree(tmp, ignore_errors=True)
    tmp.mkdir(parents=True)
    try:
        yield tmp
        shutil.rmtree(place, ignore_errors=True)
        tmp.replace(place)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def owing(client: "MlflowClient", store: str, without: str = "") -> Iterator[Delivery]:
    """Deliveries of the runs in a store that owe something and that nobody carries out, but for one run."""
    held = held_runs()
    for header in headers():
        if header.store == store and header.run_id not in (*held, without) and owed(header):
            yield Delivery(client, header)


def owed(header: RunHeader) -> Owed:
    """What MLflow has not got of a run, by what is noted here."""
    done = read_kept(header.folder / DELIVERED_FILE)
    num_folders = len(list(published(header.outbox)))
    if done.get("reason") == "finished" and not num_folders and not (header.folder / EVENTS_FILE).exists():
        return Owed(0, 0, False)  # it is packed, and will not change
    found = records(header.folder)
    steps_by_key: dict[str, set[int]] = {}
    num_points = 0
    for record in found:
        for key in record.get("metrics", {}):
            steps = steps_by_key.setdefault(key, set())
            num_points += record["samples_seen"] not in steps and record["n"] > done.get("number", 0)
            steps.add(record["samples_seen"])
    reason = found[-1].get("reason", "") if found else ""
    has_status = done.get("reason", "") == reason and (not found or done.get("attempt") == found[-1]["attempt"])
    return Owed(num_points, num_folders, not has_status)


def delivered_number(folder: Path) -> int:
    """The number of the last record of which MLflow has the points."""
    return int(read_kept(folder / DELIVERED_FILE).get("number", 0))
