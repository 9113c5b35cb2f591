"""A worker's line to its driver, through a real socket, and what a job that does not come to its end tells."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from clipexp.errors import CheckpointError, DivergedError, MemoryExhaustedError, TrackingError
from clipexp.study import worker
from clipexp.study.messages import Channel, Message
from clipexp.study.worker import Line, carry_out
from clipexp.track.lease import HeldError

PATIENCE_S = 10.0


@dataclass
class Execution:
    """Stands for a run: keeps why it was asked to stop."""

    asked: list[str] = field(default_factory=list)

    def ask_to_stop(self, reason: str) -> None:
        self.asked.append(reason)


@dataclass
class Ends:
    """The driver's end of the line, and the worker's."""

    driver: Channel
    line: Line
    heard: list[Message] = field(default_factory=list)

    def hear(self, say: str) -> Message:
        """What the worker says next of a kind."""
        while True:
            for message in self.driver.receive():
                self.heard.append(message)
            for message in self.heard:
                if message["say"] == say:
                    self.heard.remove(message)
                    return message


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_S)
    found = Ends(Channel(ours), Line(Channel(theirs)))
    yield found
    found.driver.close()
    found.line.jobs.get(timeout=PATIENCE_S)  # the line has noticed
    found.line.channel.close()


def asking(line: Line, number: int) -> threading.Thread:
    thread = threading.Thread(target=line.ask, args=({"say": "event", "n": number},))
    thread.start()
    return thread


def test_an_event_waits_for_its_own_answer(ends: Ends) -> None:
    thread = asking(ends.line, 2)
    assert ends.hear("event")["n"] == 2
    ends.driver.send({"do": "go", "n": 1})
    thread.join(0.2)
    assert thread.is_alive()
    ends.driver.send({"do": "go", "n": 2})
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert ends.line.stop_reason is None


def test_a_stop_as_an_answer_reaches_the_run_before_it_goes_on(ends: Ends) -> None:
    execution = Execution()
    ends.line.watch(execution)  # type: ignore[arg-type]
    ends.driver.send({"do": "stop", "reason": "pruned", "n": 1})
    ends.line.ask({"say": "event", "n": 1})
    assert execution.asked == ["pruned"]


def test_a_stop_that_comes_before_the_run_is_taken_up_is_told_it_at_once_and_the_first_reason_stays(ends: Ends) -> None:
    ends.driver.send({"do": "stop", "reason": "interrupted"})
    ends.driver.send({"do": "stop", "reason": "budget", "n": 1})
    ends.line.ask({"say": "event", "n": 1})
    execution = Execution()
    ends.line.watch(execution)  # type: ignore[arg-type]
    assert execution.asked == ["interrupted"]
    assert ends.line.stop_reason == "interrupted"


def test_a_job_that_is_to_stop_before_it_began_begins_nothing(ends: Ends) -> None:
    ends.driver.send({"do": "stop", "reason": "interrupted", "n": 1})
    ends.line.ask({"say": "event", "n": 1})
    told = carry_out({"spec": {}, "tags": {}, "tracking": ""}, ends.line)
    assert (told["say"], told["reason"], told["samples_seen"]) == ("done", "interrupted", 0)


def test_the_next_job_begins_without_the_last_ones_reason(ends: Ends) -> None:
    ends.driver.send({"do": "stop", "reason": "pruned"})
    ends.driver.send({"do": "run", "job": "trial 1"})
    job = ends.line.jobs.get(timeout=PATIENCE_S)
    assert job is not None
    assert job["job"] == "trial 1"
    assert ends.line.stop_reason is None


def test_a_driver_that_is_gone_means_stop_and_no_further_job(ends: Ends) -> None:
    execution = Execution()
    ends.line.watch(execution)  # type: ignore[arg-type]
    thread = asking(ends.line, 1)
    ends.hear("event")
    ends.driver.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert ends.line.jobs.get(timeout=PATIENCE_S) is None
    assert execution.asked == ["interrupted"]
    ends.line.jobs.put(None)  # as the fixture waits for it


def test_quit_ends_the_jobs(ends: Ends) -> None:
    ends.driver.send({"do": "run", "job": "trial 1"})
    ends.driver.send({"do": "quit"})
    assert ends.line.jobs.get(timeout=PATIENCE_S) is not None
    assert ends.line.jobs.get(timeout=PATIENCE_S) is None
    assert ends.line.stop_reason is None


def test_a_worker_says_that_it_lives(ends: Ends) -> None:
    assert ends.hear("alive") == {"say": "alive"}


def test_numbers_go_on_over_jobs(ends: Ends) -> None:
    assert [ends.line.next_number() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (DivergedError("the loss is not finite at 96 samples", 96), "diverged", "the loss is not finite at 96 samples"),
        (MemoryExhaustedError("out of memory", 64, None), "out_of_memory", "out of memory"),
        (TrackingError("MLflow is away"), "untracked", "MLflow is away"),
        (CheckpointError("the disk is full"), "refused", "the disk is full"),
        (ValueError("a bug"), "bug", "ValueError: a bug"),
    ],
)
def test_how_a_job_fails_is_told_by_its_kind(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, small_run: Any, error: Exception, kind: str, message: str
) -> None:
    def start(*_: Any) -> None:
        raise error

    monkeypatch.setattr(worker, "start", start)
    job = {"spec": small_run.spec.model_dump(mode="json"), "tags": {}, "tracking": ""}
    assert carry_out(job, ends.line) == {"say": "failed", "kind": kind, "message": message, "samples_seen": 0}


def test_a_run_that_another_worker_is_ending_is_waited_for(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, small_run: Any
) -> None:
    held = iter([True, True, False])
    attempts = []

    def start(*_: Any) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise HeldError(None, "0123456789ab")
        raise ValueError("it was free")

    monkeypatch.setattr(worker, "start", start)
    monkeypatch.setattr(worker, "is_held", lambda _: next(held))
    monkeypatch.setattr(worker, "LOOK_EVERY_S", 0.01)
    job = {"spec": small_run.spec.model_dump(mode="json"), "tags": {}, "tracking": ""}
    told = carry_out(job, ends.line)
    assert ends.hear("waiting")["message"] == "waits for another process"
    assert next(held, None) is None
    assert (len(attempts), told["message"]) == (2, "ValueError: it was free")


def test_a_stop_ends_the_waiting_for_another_worker(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, small_run: Any
) -> None:
    def start(*_: Any) -> None:
        raise HeldError(None, "0123456789ab")

    monkeypatch.setattr(worker, "start", start)
    monkeypatch.setattr(worker, "is_held", lambda _: True)
    job = {"spec": small_run.spec.model_dump(mode="json"), "tags": {}, "tracking": ""}
    told: list[Message] = []
    thread = threading.Thread(target=lambda: told.append(carry_out(job, ends.line)))
    thread.start()
    ends.hear("waiting")
    ends.driver.send({"do": "stop", "reason": "interrupted"})
    thread.join(PATIENCE_S)
    assert [(message["say"], message["reason"]) for message in told] == [("done", "interrupted")]
