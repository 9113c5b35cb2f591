"""The recorder: each event goes to the journal at once, and to MLflow from a thread behind it.

    with Recorder(client, run_id, journal) as recorder:
        recorder.record(event)

A slow or dead MLflow neither slows nor ends training: points wait in memory, are tried again, and at the end what could
not be delivered is counted. The journal holds every point in any case.
"""

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from clipexp.events import EvalEvent, Event, StepEvent
from clipexp.track.journal import Journal, points
from clipexp.track.mlflow_store import first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

FLUSH_EVERY_S = 2.0
METRICS_A_CALL = 1000
FINAL_TRIES_S = 20.0


class Recorder:
    """Records one attempt at a run."""

    def __init__(self, client: "MlflowClient", run_id: str, journal: Journal) -> None:
        self.client = client
        self.run_id = run_id
        self.journal = journal
        self.last_error = ""
        self._pending: list[Metric] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._steps_before_by_key: dict[str, set[int]] = {}  # what earlier attempts delivered
        self._thread = threading.Thread(target=self._deliver_until_closed, name="mlflow", daemon=True)

    def record(self, event: Event) -> None:
        """Write to the journal, and queue the metrics for MLflow; their step is samples seen."""
        time_ms = self.journal.append(event)
        if isinstance(event, StepEvent | EvalEvent):
            metrics = [_metric(key, value, time_ms, event.samples_seen) for key, value in event.metrics.items()]
            with self._lock:
                self._pending += metrics

    @property
    def num_owed(self) -> int:
        """Points that MLflow has not got yet."""
        with self._lock:
            return len(self._pending)

    def __enter__(self) -> Self:
        """Start to deliver: first what earlier attempts left in the journal and MLflow has not got."""
        if self.journal.attempt > 1:
            self._pending = [
                _metric(key, point.value, point.time_ms, point.samples_seen)
                for key, series in points(self.journal.folder).items()
                for point in series
            ]
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Deliver the rest, trying for 20 s at the most."""
        self._closing.set()
        self._thread.join()
        give_up = time.monotonic() + FINAL_TRIES_S
        while self.num_owed and not self._deliver() and time.monotonic() < give_up:
            time.sleep(0.5)

    def _deliver_until_closed(self) -> None:
        while not self._closing.wait(FLUSH_EVERY_S):
            self._deliver()

    def _deliver(self) -> bool:
        """Send what is queued, in order; whether all went through."""
        while True:
            with self._lock:
                chunk = self._pending[:METRICS_A_CALL]
            if not chunk:
                return True
            try:
                self.client.log_batch(self.run_id, metrics=[m for m in chunk if not self._is_there(m)])
            except Exception as error:  # noqa: BLE001 (whatever MLflow raises, training goes on; num_owed tells)
                self.last_error = first_line(error)
                return False
            with self._lock:
                del self._pending[: len(chunk)]

    def _is_there(self, metric: "Metric") -> bool:
        """Whether an earlier attempt delivered this point: a run that goes on repeats what lay past its checkpoint."""
        if self.journal.attempt == 1:
            return False
        key = metric.key
        if key not in self._steps_before_by_key:
            history = self.client.get_metric_history(self.run_id, key)
            self._steps_before_by_key[key] = {point.step for point in history}
        return metric.step in self._steps_before_by_key[key]


def _metric(key: str, value: float, time_ms: int, samples_seen: int) -> "Metric":
    from mlflow.entities import Metric

    return Metric(key, value, time_ms, samples_seen)
