"""A worker: a process that carries out one run after another and tells the driver all that happens.

    python -m clipexp.study.worker FD    # the driver starts it, with its end of a socket as file FD

Every event waits for the driver's answer, go on or stop, so that a run is never a step past its pruning. A driver that
is gone means stop: the run ends with a checkpoint, as by Ctrl-C, and the next driver goes on from there.
"""

import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Mapping

from clipexp.errors import ClipexpError, DivergedError, MemoryExhaustedError, TrackingError
from clipexp.events import EndEvent, StopReason
from clipexp.launch import LaunchOptions
from clipexp.runner import Execution, start
from clipexp.spec.load import resolve
from clipexp.study.limits import MEMORY_LIMIT_VARIABLE, limit_memory
from clipexp.study.messages import ALIVE_EVERY_S, Channel, FailureKind, Message, event_message
from clipexp.track.lease import HeldError, is_held

LOOK_EVERY_S = 0.2
KIND_BY_ERROR: dict[type[Exception], FailureKind] = {  # the first that fits
    DivergedError: "diverged",
    MemoryExhaustedError: "out_of_memory",
    TrackingError: "untracked",
    ClipexpError: "refused",
}


class Line:
    """The driver's words, heard by a thread: jobs, answers, and a reason to stop, which stays until the next job."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.jobs: queue.Queue[Message | None] = queue.Queue()  # None: no further one comes
        self._execution: Execution | None = None
        self._stop: StopReason | None = None
        self._num_asked = 0
        self._answered = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, name="line", daemon=True).start()
        threading.Thread(target=self._live, name="alive", daemon=True).start()

    def _listen(self) -> None:
        while self.channel.is_open:
            for message in self.channel.receive():
                self._hear(message)
        self._ask_to_stop("interrupted")  # the driver is gone
        self.jobs.put(None)

    def _live(self) -> None:
        while self.channel.is_open:
            self.channel.send({"say": "alive"})
            time.sleep(ALIVE_EVERY_S)

    def _hear(self, message: Message) -> None:
        match message["do"]:
            case "run":
                with self._changed:
                    self._stop = None
                self.jobs.put(message)
            case "quit":
                self.jobs.put(None)
            case "stop":
                self._ask_to_stop(message["reason"])
        if "n" in message:
            with self._changed:
                self._answered = message["n"]
                self._changed.notify_all()

    def _ask_to_stop(self, reason: StopReason) -> None:
        with self._changed:
            self._stop = self._stop or reason
            if self._execution is not None:
                self._execution.ask_to_stop(self._stop)
            self._changed.notify_all()

    def watch(self, execution: Execution | None) -> None:
        """Have an execution told to stop; at once, where that was asked for before."""
        with self._changed:
            self._execution = execution
            if execution is not None and self._stop is not None:
                execution.ask_to_stop(self._stop)

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the job at hand is to stop, if it is."""
        return self._stop

    def next_number(self) -> int:
        """Of the next event, over all jobs of this process."""
        self._num_asked += 1
        return self._num_asked

    def ask(self, message: Message) -> None:
        """Send an event and wait for the answer, or until there is nobody to give one."""
        self.channel.send(message)
        with self._changed:
            self._changed.wait_for(lambda: self._answered >= message["n"] or not self.channel.is_open)


def carry_out(job: Message, line: Line) -> Message:
    """One job: a run to its end; returns what to tell of it."""
    samples_seen = 0
    try:
        execution = _take_up(job, line)
        if execution is None:
            return {"say": "done", "reason": line.stop_reason, "samples_seen": 0, "final": {}, "problems": []}
        reason: StopReason = "finished"
        line.watch(execution)
        line.channel.send(_started(execution))
        samples_seen = execution.launch.total_samples if execution.is_finished else execution.launch.resumed_at
        for event in execution.events():
            samples_seen = event.samples_seen
            if isinstance(event, EndEvent):
                reason = event.reason
            else:
                line.ask(event_message(event, line.next_number()))
    except Exception as error:  # noqa: BLE001 (whatever a trial dies of, the study is told and goes on)
        kind = next((kind for cause, kind in KIND_BY_ERROR.items() if isinstance(error, cause)), "bug")
        name = f"{type(error).__name__}: " if kind == "bug" else ""
        return {"say": "failed", "kind": kind, "message": f"{name}{error}", "samples_seen": samples_seen}
    finally:
        line.watch(None)
    return {
        "say": "done",
        "reason": reason,
        "samples_seen": samples_seen,
        "final": execution.final(),
        "problems": execution.problems,
    }


def _take_up(job: Message, line: Line) -> Execution | None:
    """The run, once nobody else carries it out: a worker before us may be ending it; None: a stop was asked for."""
    tags: Mapping[str, str] = job["tags"]
    while line.stop_reason is None:
        try:
            return start(resolve(job["spec"]), job["tracking"], LaunchOptions(tags=tags))
        except HeldError as error:
            line.channel.send({"say": "waiting", "message": f"waits for {error.holder or 'another process'}"})
            while is_held(error.spec_hash) and line.stop_reason is None:
                time.sleep(LOOK_EVERY_S)
    return None


def _started(execution: Execution) -> Message:
    launch = execution.launch
    return {
        "say": "started",
        "run_id": execution.run_id,
        "created_ms": execution.header.created_ms,
        "spec_hash": execution.header.spec_hash,
        "resumed_at": launch.resumed_at,
        "total_samples": launch.total_samples,
        "device": launch.ran_on,
        "notes": list(launch.notes),
    }


def main(file: int) -> None:
    """Carry out jobs until the driver says quit or is gone."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if limit := os.environ.get(MEMORY_LIMIT_VARIABLE):
        limit_memory(int(limit))
    line = Line(Channel(socket.socket(fileno=file)))
    line.channel.send({"say": "ready", "pid": os.getpid()})
    while (job := line.jobs.get()) is not None:
        line.channel.send(carry_out(job, line))


if __name__ == "__main__":
    main(int(sys.argv[1]))
