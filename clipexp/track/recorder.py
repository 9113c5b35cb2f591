"""The recorder: each event goes to the journal at once, and to MLflow from a thread behind it.

    with Recorder(lambda: connect(uri), header, journal) as recorder:
        recorder.record(event)
        recorder.finish()

The thread reads what it sends from the journal, so that nothing waits in memory: MLflow may be slow, gone for hours, or
gone for good. While its own run owes nothing, it delivers what earlier runs owe.
"""

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from clipexp.events import Event
from clipexp.track.delivery import Delivery, owing
from clipexp.track.header import RunHeader
from clipexp.track.journal import Journal
from clipexp.track.mlflow_store import first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

FLUSH_EVERY_S, LONGEST_WAIT_S = 5.0, 30.0
PAUSE_BETWEEN_CALLS_S = 0.05  # has training's thread wait for Python's lock a fifth of the time at most
SHARE_OF_OTHERS_S = 1.0
FINAL_TRIES_S = 20.0


class Recorder:
    """Records one attempt at a run.

    Args:
        connect: gives MLflow's client; the thread calls it, and again as long as it raises.
        header: the run's.
        journal: the run's, open.
    """

    def __init__(self, connect: Callable[[], "MlflowClient"], header: RunHeader, journal: Journal) -> None:
        self.journal = journal
        self.trouble = ""  # what MLflow said last; empty while it takes what it is sent
        self._connect = connect
        self._header = header
        self._own: Delivery | None = None
        self._others: Iterator[Delivery] = iter(())
        self._other: Delivery | None = None
        self._closing = threading.Event()
        self._give_up_s = float("inf")
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)

    def record(self, event: Event) -> None:
        """Write to the journal. Raises OSError where the disk is full; the event may be recorded again then."""
        self.journal.append(event)

    def finish(self, patience_s: float = FINAL_TRIES_S, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Deliver the rest, for some seconds at the most, or until hurried; what is left is owed."""
        self._give_up_s = time.monotonic() + patience_s
        self._closing.set()
        while self._thread.is_alive() and time.monotonic() < self._give_up_s and not is_hurried():
            self._thread.join(0.1)  # a call that hangs is left behind: the thread is a daemon
        self._give_up_s = time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.finish(0)

    def _run(self) -> None:
        wait_s = FLUSH_EVERY_S
        while not self._closing.wait(wait_s):
            wait_s = FLUSH_EVERY_S if self._deliver(PAUSE_BETWEEN_CALLS_S) else min(2 * wait_s, LONGEST_WAIT_S)
            self._deliver_others(PAUSE_BETWEEN_CALLS_S, time.monotonic() + SHARE_OF_OTHERS_S)
        while not self._deliver(0) and time.monotonic() < self._give_up_s:
            time.sleep(0.5)
        self._deliver_others(0, self._give_up_s)

    def _deliver(self, pause_s: float) -> bool:
        """Send all there is; whether MLflow took it."""
        try:
            if self._own is None:
                client = self._connect()
                self._own = Delivery(client, self._header, self.journal.sync)
                self._others = owing(client, self._header.store, without=self._header.run_id)
            self._own.send_all(pause_s)
        except Exception as error:  # noqa: BLE001 (whatever MLflow raises, training goes on; what is owed is told)
            self.trouble = first_line(error)
            return False
        self.trouble = ""
        return True

    def _deliver_others(self, pause_s: float, until_s: float) -> None:
        """What earlier runs owe, as long as MLflow takes ours."""
        while not self.trouble and time.monotonic() < until_s:
            try:
                self._other = self._other or next(self._others, None)
                if self._other is None:
                    return
                is_ours = self._other.header.spec_hash == self._header.spec_hash  # whose lease we hold
                if not (self._other.send_some() if is_ours else self._other.send_some_alone()):
                    self._other = None
            except Exception:  # noqa: BLE001 (that run stays owed: `clipexp sync` says why)
                self._other = None
            time.sleep(pause_s)
