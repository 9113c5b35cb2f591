"""A disk that fills: training waits, says so, and goes on to the same bits; nothing that stood is harmed.

The disk is real, and so is its limit: this process may not make files larger than so many bytes for a while.
"""

import itertools
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from clipexp import patience
from clipexp.errors import CheckpointError
from clipexp.events import CheckpointEvent, EndEvent, EvalEvent, Event, PauseEvent, StepEvent, StopReason
from clipexp.track import checkpoint_names
from clipexp.train import checkpoint
from tests.train.conftest import BATCH, HASH, Runs, never

TOTAL = 24 * BATCH
ROOM_BYTES = 30_000  # less than the model's file


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_EVERY_S", 0.0)


@contextmanager
def full_disk() -> Iterator[Callable[[], None]]:
    """No file may grow above ROOM_BYTES until the function that this yields is called."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def make_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, before[1]))
    try:
        yield make_room
    finally:
        make_room()


def kinds(events: list[Event]) -> list[tuple[type[Event], int]]:
    """All but checkpoints, which come when they are written."""
    return [(type(event), event.samples_seen) for event in events if not isinstance(event, CheckpointEvent)]


def to_first_checkpoint(events: Iterator[Event]) -> list[Event]:
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, CheckpointEvent):
            break
    return seen


def test_a_full_disk_pauses_training_which_goes_on_to_the_same_bits_when_there_is_room(runs: Runs) -> None:
    spec = runs.spec()
    whole = list(runs.events(spec, folder="whole"))
    events = runs.events(spec)
    seen = to_first_checkpoint(events)
    first = seen[-1]
    assert isinstance(first, CheckpointEvent)
    with full_disk() as make_room:
        for event in events:
            if isinstance(event, PauseEvent):
                assert not list((runs.checkpoints / "run").glob("*.tmp")), "what was half written takes no room"
                checkpoint.load(Path(first.path), HASH)
                make_room()
            else:
                seen.append(event)
    assert kinds(seen) == kinds(whole)
    ends = [runs.checkpoints / folder / checkpoint_names.name_at(TOTAL) for folder in ("whole", "run")]
    assert checkpoint.final_digest(ends[0]) == checkpoint.final_digest(ends[1])


def test_a_pause_is_told_with_what_is_needed_what_is_safe_and_the_remedy(runs: Runs) -> None:
    events = runs.events(runs.spec())
    to_first_checkpoint(events)
    with full_disk():
        told = next(event for event in events if isinstance(event, PauseEvent))
    assert "it needs about 1 MB" in told.message
    assert f"MB are free at {runs.checkpoints / 'run'} ([Errno 27] File too large)" in told.message
    assert f"the newest good checkpoint is at {5 * BATCH} samples" in told.message
    assert "`clipexp runs gc --dry-run`); training goes on by itself; Ctrl-C stops" in told.message
    events.close()  # type: ignore[attr-defined]


def test_before_the_first_checkpoint_a_pause_says_that_there_is_none(runs: Runs) -> None:
    with full_disk():
        events = runs.events(runs.spec())
        told = next(event for event in events if isinstance(event, PauseEvent))
        assert "there is no checkpoint yet" in told.message
        events.close()  # type: ignore[attr-defined]
    assert list((runs.checkpoints / "run").iterdir()) == []


def test_a_pause_is_told_again_from_time_to_time(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "REMIND_EVERY_S", 0.0)
    with full_disk():
        events = runs.events(runs.spec())
        told = list(itertools.islice((event for event in events if isinstance(event, PauseEvent)), 3))
        events.close()  # type: ignore[attr-defined]
    assert len({event.samples_seen for event in told}) == 1, "nothing is trained meanwhile"


def test_a_stop_while_paused_ends_the_run_at_its_last_good_checkpoint(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "RETRY_EVERY_S", 3600.0)  # the stop is seen long before the next try
    reasons: list[StopReason] = []
    spec = runs.spec(train={"keep_best": False})
    events = runs.events(spec, lambda: reasons[0] if reasons else None)
    to_first_checkpoint(events)
    rest = []
    with full_disk():
        for event in events:
            rest.append(event)
            if isinstance(event, PauseEvent):
                reasons.append("budget")
    assert isinstance(rest[-1], EndEvent)
    assert rest[-1].reason == "budget"
    assert rest[-1].samples_seen >= 10 * BATCH
    recovered = checkpoint.recover(runs.checkpoints / "run", HASH)
    assert recovered.folder == runs.checkpoints / "run" / checkpoint_names.name_at(5 * BATCH)
    assert not any(isinstance(event, CheckpointEvent) for event in rest)


def test_a_stop_on_a_full_disk_is_not_held_up_by_its_own_checkpoint(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "RETRY_EVERY_S", 3600.0)
    polls = itertools.count()
    with full_disk():
        events = list(runs.events(runs.spec(), lambda: "interrupted" if next(polls) == 3 else None))
    assert isinstance(events[-2], PauseEvent)
    assert events[-2].message.endswith("the run ends without it")
    assert events[-1] == EndEvent(3 * BATCH, "interrupted")


def test_a_run_that_finishes_on_a_full_disk_waits_for_its_last_checkpoint(runs: Runs) -> None:
    spec = runs.spec(train={"checkpoint_every_samples": TOTAL, "keep_best": False})
    with full_disk() as make_room:
        tail = []
        for event in runs.events(spec):
            tail.append(type(event))
            if isinstance(event, PauseEvent):
                assert event.samples_seen == TOTAL
                make_room()
    assert tail[-3:] == [PauseEvent, CheckpointEvent, EndEvent]


def test_after_ten_minutes_of_waiting_the_run_ends_with_the_remedy(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert patience.PAUSE_LIMIT_S == 600
    monkeypatch.setattr(patience, "PAUSE_LIMIT_S", 0.0)
    seen: list[Event] = []
    with full_disk(), pytest.raises(CheckpointError, match=r"File too large.*Make room.*then run it again"):
        seen.extend(runs.events(runs.spec()))
    assert isinstance(seen[-1], PauseEvent)


def test_a_folder_that_can_not_be_made_pauses_too(runs: Runs) -> None:
    blocked = runs.checkpoints / "run"
    blocked.write_text("a file where the folder should be")
    kinds_seen = []
    for event in runs.events(runs.spec(), never):
        kinds_seen.append(type(event))
        if isinstance(event, PauseEvent):
            blocked.unlink(missing_ok=True)
    assert {PauseEvent, StepEvent, EvalEvent, CheckpointEvent} < {*kinds_seen}
    assert kinds_seen[-1] is EndEvent


def test_a_journal_that_can_not_be_made_durable_pauses_before_the_checkpoint_has_its_name(runs: Runs) -> None:
    failures = iter([OSError(28, "No space left on device")])

    def sync() -> None:
        for error in failures:
            assert checkpoint_names.newest(runs.checkpoints / "run") is None
            raise error

    spec = runs.spec()
    events = list(runs.train(spec, replace(runs.hooks(spec), before_publish=sync)))
    assert [event.samples_seen >= 5 * BATCH for event in events if isinstance(event, PauseEvent)] == [True]
    assert events[-1] == EndEvent(TOTAL, "finished")
