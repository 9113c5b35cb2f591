"""The writing thread: training does not wait for it, and it leaves nothing half done."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clipexp.events import CheckpointEvent, EndEvent, Event, StepEvent
from clipexp.track import checkpoint_names
from clipexp.train import checkpoint, tensor_file
from clipexp.train.checkpoint import TrainState
from clipexp.train.checkpoint_writer import CheckpointWriter, Written
from tests.train.conftest import BATCH, HASH, Runs

WAIT_S = 60  # for what takes no time, if it comes at all


class Gate:
    """Stands before every write of a file; a disk as slow as one likes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_open, self.reached = threading.Event(), threading.Event()
        write = tensor_file.write

        def gated(*arguments: object) -> str:
            self.reached.set()
            while not self.is_open.wait(0.01):
                if arguments[2]():  # type: ignore[operator]
                    raise tensor_file.CancelledWriteError
            return write(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(tensor_file, "write", gated)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.is_open.set()


def state(samples_seen: int, weight: torch.Tensor) -> TrainState:
    return TrainState({"weight": weight}, {}, {"samples_seen": samples_seen, "is_best": False})


def writer(root: Path) -> CheckpointWriter:
    return CheckpointWriter(root, HASH, keep_last=2, before_publish=lambda: None)


def test_steps_go_on_while_a_checkpoint_is_written(runs: Runs, gate: Gate) -> None:
    """The first is begun at step 5 and comes through only when step 9 was logged; the next is due at step 10."""
    spec = runs.spec(train={"eval_every_samples": 24 * BATCH})
    seen: list[Event] = []
    for event in runs.events(spec):
        seen.append(event)
        if isinstance(event, StepEvent) and event.samples_seen == 9 * BATCH:
            assert gate.reached.is_set()
            assert checkpoint_names.newest(runs.checkpoints / "run") is None
            gate.is_open.set()
    order = [(type(event), event.samples_seen // BATCH) for event in seen]
    assert order.index((CheckpointEvent, 5)) > order.index((StepEvent, 9))
    assert seen[-1] == EndEvent(24 * BATCH, "finished")


def test_what_is_written_is_the_state_at_the_time_of_asking(tmp_path: Path, gate: Gate) -> None:
    weight = torch.ones(3)
    with writer(tmp_path) as behind:
        behind.begin(state(1, weight))
        weight.fill_(2)  # training goes on
        gate.is_open.set()
    kept = checkpoint.load(tmp_path / checkpoint_names.name_at(1), HASH).model["weight"]
    assert kept.tolist() == [1, 1, 1]


def test_a_write_is_taken_once_and_then_the_writer_is_free(tmp_path: Path) -> None:
    with writer(tmp_path) as behind:
        behind.begin(state(1, torch.ones(3)))
        behind.wait()
        assert behind.is_busy
        assert behind.take() == Written(tmp_path / checkpoint_names.name_at(1), 1, is_best=False)
        assert behind.take() is None
        assert not behind.is_busy


def leave(root: Path, gate: Gate, error: BaseException) -> None:
    """Have a write begin, then leave by that error."""
    with writer(root) as behind:
        behind.begin(state(1, torch.ones(3)))
        assert gate.reached.wait(WAIT_S)
        if isinstance(error, Exception):
            gate.is_open.set()
        raise error


def test_leaving_at_once_breaks_a_write_off_and_removes_its_half(tmp_path: Path, gate: Gate) -> None:
    with pytest.raises(KeyboardInterrupt):
        leave(tmp_path, gate, KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []
    assert "checkpoint" not in {thread.name for thread in threading.enumerate()}


def test_an_error_in_training_lets_a_write_come_to_its_end(tmp_path: Path, gate: Gate) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        leave(tmp_path, gate, RuntimeError("a bug"))
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint_names.name_at(1)]


def test_a_bug_in_the_thread_is_raised_where_it_is_seen(tmp_path: Path) -> None:
    def bug() -> None:
        raise ZeroDivisionError("a bug")

    with CheckpointWriter(tmp_path, HASH, keep_last=2, before_publish=bug) as behind:
        behind.begin(state(1, torch.ones(3)))
        behind.wait()
        with pytest.raises(ZeroDivisionError):
            behind.take()


def test_closing_the_loop_breaks_a_write_off(runs: Runs, gate: Gate) -> None:
    events = runs.events(runs.spec())
    while not gate.reached.is_set():
        next(events)
    events.close()  # type: ignore[attr-defined]
    assert list((runs.checkpoints / "run").iterdir()) == []


def test_a_checkpoint_says_on_what_it_was_made(runs: Runs) -> None:
    spec = runs.spec(train={"budget": {"samples": BATCH}})
    list(runs.train(spec, replace(runs.hooks(spec), annotate=lambda: {"ran_on": "a CPU, 1 thread"})))
    meta = checkpoint.read_meta(runs.checkpoints / "run" / checkpoint_names.name_at(BATCH))
    assert meta["progress"]["ran_on"] == "a CPU, 1 thread"
