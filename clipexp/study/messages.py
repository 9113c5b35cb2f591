"""What the driver and a worker say to each other: a JSON object a line, over a socket.

    channel = Channel(socket)
    channel.send({"say": "alive"})
    for message in channel.receive(): ...

A worker says (`say`): `ready` (it has imported everything), `alive` (every 5 s), `waiting` (somebody else carries the
run out), `started` (it is taken up), `event` (what happened in it, numbered `n`), `done` and `failed` (how the job
ended). The driver says (`do`): `run` (a job), `go` (the answer to event `n`), `stop` (with a reason; as the answer to
an event or at any time), `quit`.
"""

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from clipexp.events import CheckpointEvent, EndEvent, EvalEvent, Event, FaultEvent, PauseEvent, StepEvent

ALIVE_EVERY_S = 5.0
CHUNK_BYTES = 1 << 16
Message = Mapping[str, Any]

# How a job fails: its loss is not finite; no memory; MLflow did not make its run; it or its data can't be as asked for;
# a bug, or anything else.
FailureKind = Literal["diverged", "out_of_memory", "untracked", "refused", "bug"]


class Channel:
    """One end of the line. Sending may be done from several threads; a peer that is gone shows when receiving."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.is_open = True
        self._rest = b""
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Say something; nothing happens if the peer is gone."""
        try:
            with self._lock:
                self.connection.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        except OSError:
            self.is_open = False

    def receive(self) -> Iterator[Message]:
        """What has arrived, waiting for something; `is_open` is False once the peer is gone."""
        try:
            chunk = self.connection.recv(CHUNK_BYTES)
        except OSError:
            chunk = b""
        if not chunk:
            self.is_open = False
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)

    def close(self) -> None:
        """Hang up."""
        self.is_open = False
        self.connection.close()


def event_message(event: Event, number: int) -> Message:
    """An event as a message; pictures' examples stay with the run."""
    message: dict[str, Any] = {"say": "event", "n": number, "samples_seen": event.samples_seen}
    match event:
        case StepEvent():
            return {**message, "kind": "step", "metrics": dict(event.metrics)}
        case EvalEvent():
            return {**message, "kind": "eval", "metrics": dict(event.metrics)}
        case CheckpointEvent():
            return {**message, "kind": "checkpoint"}
        case FaultEvent():
            return {**message, "kind": "fault", "message": event.message}
        case PauseEvent():
            return {**message, "kind": "pause", "message": event.message}
        case EndEvent():
            return {**message, "kind": "end", "reason": event.reason}
