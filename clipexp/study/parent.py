"""The study's own run in MLflow, above its trials' runs: what came out so far, delivered behind the driver's back.

    parent = ParentRun(uri, run_id)
    parent.tell(points, tags)
    parent.finish("finished", folder)

MLflow being slow or away never holds the driver up: a thread delivers, and tries again. All of it follows from Optuna's
study, time stamps included, so that telling everything again, as the next launch does, changes nothing.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipexp.events import StopReason
from clipexp.track import mlflow_run
from clipexp.track.mlflow_store import connect, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRY_AGAIN_S = 5.0
FINAL_TRIES_S = 20.0
BATCH = 1000  # metrics that MLflow takes at once


@dataclass(frozen=True)
class ParentPoint:
    """A metric of the study; `trial` is MLflow's step."""

    metric: str
    trial: int
    value: float
    time_ms: int


class ParentRun:
    """Delivers in a thread. `trouble`: what MLflow said when it last refused; '' while it takes what it is sent."""

    def __init__(self, uri: str, run_id: str) -> None:
        self.run_id = run_id
        self.trouble = ""
        self._uri = uri
        self._client: MlflowClient | None = None
        self._points: list[ParentPoint] = []
        self._tags: dict[str, str] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="parent run", daemon=True)
        self._thread.start()

    def tell(self, points: Sequence[ParentPoint], tags: Mapping[str, str]) -> None:
        """Have points and tags delivered; returns at once."""
        with self._lock:
            self._points += points
            self._tags |= tags
        self._wake.set()

    def _deliver(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(TRY_AGAIN_S)
            self._wake.clear()
            self._send()

    def _send(self) -> None:
        from mlflow.entities import Metric, RunTag

        with self._lock:
            points, tags = self._points[:BATCH], dict(self._tags)
        if not points and not tags:
            return
        try:
            self._client = self._client or connect(self._uri)
            self._client.log_batch(
                self.run_id,
                metrics=[Metric(p.metric, p.value, p.time_ms, p.trial) for p in points],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
        except Exception as error:  # noqa: BLE001 (MLflow raises many kinds; it is told, and tried again)
            self.trouble = first_line(error)
            return
        self.trouble = ""
        with self._lock:
            self._points = self._points[len(points) :]
            self._tags = {key: value for key, value in self._tags.items() if tags.get(key) != value}
            if self._points:
                self._wake.set()

    def finish(self, reason: StopReason, time_ms: int, artifacts: Path | None) -> str:
        """Deliver the rest, the artifacts and the end; returns what is wrong, '' if nothing is."""
        self._closing.set()
        self._wake.set()
        self._thread.join(FINAL_TRIES_S)
        if self._thread.is_alive():
            return f"OWED to MLflow: the study's own run ({self._uri} does not answer); the same command delivers it"
        while (self._points or self._tags) and not self.trouble:
            self._send()
        try:
            client = self._client or connect(self._uri)
            if artifacts is not None:
                client.log_artifacts(self.run_id, str(artifacts), "report")
            mlflow_run.end(client, self.run_id, reason, time_ms)
        except Exception as error:  # noqa: BLE001 (MLflow raises many kinds; it is told)
            self.trouble = first_line(error)
        return (
            f"OWED to MLflow: the study's own run ({self.trouble}); the same command delivers it"
            if self.trouble
            else ""
        )
