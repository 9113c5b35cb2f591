"""Stopped inside an evaluation, or killed between any two events: each point once, and the bits of an unbroken run."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from clipexp.events import CheckpointEvent, EndEvent, EvalEvent, Event, StepEvent
from clipexp.model.clip import CLIP
from clipexp.spec.run import RunSpec
from clipexp.track import checkpoint_names
from clipexp.train import checkpoint
from clipexp.train.loop import Evaluation, Hooks
from tests.train.conftest import BATCH, HASH, Runs

TOTAL = 24 * BATCH
FROM_START = -1
Point = tuple[type[Event], int, str, float]


def points(events: list[Event]) -> list[Point]:
    """Every value that is recorded, but for how fast the machine was."""
    return [
        (type(event), event.samples_seen, name, value)
        for event in events
        if isinstance(event, StepEvent | EvalEvent)
        for name, value in event.metrics.items()
        if not name.startswith("system/")
    ]


@dataclass
class Attempts:
    """Carries out one run in several attempts, and keeps a record of it as a journal does."""

    runs: Runs
    spec: RunSpec
    live: list[Event] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.runs.checkpoints / "run"

    def begin(self, hooks: Hooks) -> Iterator[Event]:
        """A new attempt, which supersedes what lies behind the checkpoint that it goes on from."""
        state = checkpoint.recover(self.root, HASH).state
        start = state.progress["samples_seen"] if state is not None else FROM_START
        self.live = [event for event in self.live if event.samples_seen <= start]
        for event in self.runs.train(self.spec, hooks):
            self.live.append(event)
            yield event

    def cut_short(self, number: int) -> list[Event]:
        """An attempt that is stopped inside its evaluation of that number."""
        hooks = self.runs.hooks(self.spec)
        asked = 0

        def evaluate(model: CLIP) -> Evaluation | None:
            nonlocal asked
            asked += 1
            return None if asked > number else hooks.evaluate(model)

        stop = replace(hooks, evaluate=evaluate, stop=lambda: "budget" if asked > number else None)
        return list(self.begin(stop))

    def killed_after(self, num_events: int, *, is_recorded: bool = True) -> bool:
        """An attempt that is gone after so many events, the last recorded or not; whether it came so far."""
        events = self.begin(self.runs.hooks(self.spec))
        for number, _ in enumerate(events, start=1):
            if number == num_events:
                if not is_recorded:
                    self.live.pop()
                events.close()  # type: ignore[attr-defined]
                return True
        return False

    def finish(self) -> list[Event]:
        return list(self.begin(self.runs.hooks(self.spec)))


@dataclass(frozen=True)
class Whole:
    points: Counter[Point]
    digest: str
    best_digest: str

    def equals(self, attempts: Attempts) -> bool:
        best, end = attempts.root / checkpoint_names.BEST, attempts.root / checkpoint_names.name_at(TOTAL)
        assert Counter(points(attempts.live)) == self.points  # each point once, and its value
        return (checkpoint.final_digest(end), checkpoint.final_digest(best)) == (self.digest, self.best_digest)


def made_spec(runs: Runs) -> RunSpec:
    return runs.spec(data={"augment": "random_resized_crop", "captions": "sample"})


@pytest.fixture(scope="module")
def whole(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    attempts = Attempts(runs := Runs(small_store, tmp_path_factory.mktemp("whole")), made_spec(runs))
    events = attempts.finish()
    ends = [
        checkpoint.final_digest(attempts.root / name)
        for name in (checkpoint_names.name_at(TOTAL), checkpoint_names.BEST)
    ]
    return Whole(Counter(points(events)), *ends)


@pytest.fixture
def attempts(runs: Runs) -> Attempts:
    return Attempts(runs, made_spec(runs))


@pytest.mark.parametrize(("number", "step"), [(0, 0), (1, 8), (2, 16), (3, 24)])
def test_stopped_inside_an_evaluation_a_run_goes_on_with_it_to_the_same_bits(
    attempts: Attempts, whole: Whole, number: int, step: int
) -> None:
    first = attempts.cut_short(number)
    assert first[-1] == EndEvent(step * BATCH, "budget")
    assert sum(isinstance(event, EvalEvent) for event in first) == number
    newest = checkpoint_names.newest(attempts.root)
    assert newest == attempts.root / checkpoint_names.name_at(step * BATCH)
    assert checkpoint.read_meta(newest)["progress"]["evaluation_due"] is True
    second = attempts.finish()
    assert isinstance(second[0], EvalEvent)
    assert second[0].samples_seen == step * BATCH
    assert whole.equals(attempts)


def test_stopped_inside_every_evaluation_and_in_each_of_them_twice_a_run_ends_the_same(
    attempts: Attempts, whole: Whole
) -> None:
    for _ in range(4):
        attempts.cut_short(0)
        newest = checkpoint_names.newest(attempts.root)
        attempts.cut_short(0)
        assert checkpoint_names.newest(attempts.root) == newest
        attempts.cut_short(1)
    attempts.finish()
    assert whole.equals(attempts)


def test_a_due_evaluation_that_is_best_is_saved_as_the_best(attempts: Attempts) -> None:
    attempts.cut_short(1)
    events = attempts.begin(attempts.runs.hooks(attempts.spec))
    saved = next(event for event in events if isinstance(event, CheckpointEvent))
    events.close()  # type: ignore[attr-defined]
    assert (saved.samples_seen, saved.is_best) == (8 * BATCH, True)
    assert checkpoint.read_meta(attempts.root / checkpoint_names.BEST)["progress"]["evaluation_due"] is False


def test_an_evaluation_that_was_due_is_not_done_again_once_the_checkpoint_behind_it_stands(attempts: Attempts) -> None:
    attempts.cut_short(0)
    events = attempts.begin(attempts.runs.hooks(attempts.spec))
    assert next(event.samples_seen for event in events if isinstance(event, CheckpointEvent)) == 0
    events.close()  # type: ignore[attr-defined]
    assert next(event.samples_seen for event in attempts.finish() if isinstance(event, EvalEvent)) == 8 * BATCH


@pytest.mark.parametrize("is_recorded", [True, False], ids=["behind its record", "before its record"])
def test_killed_at_any_event_a_run_records_each_point_once_and_ends_the_same(
    small_store: Path, tmp_path: Path, whole: Whole, is_recorded: bool
) -> None:
    for num_events in range(1, 100):
        runs = Runs(small_store, tmp_path / str(num_events))
        attempts = Attempts(runs, made_spec(runs))
        came_so_far = attempts.killed_after(num_events, is_recorded=is_recorded)
        attempts.finish()
        assert whole.equals(attempts), num_events
        if not came_so_far:
            break
    assert num_events > 15


@pytest.mark.parametrize("num_events", [2, 3, 5, 8])
def test_killed_again_and_again_a_run_still_comes_to_the_same_end(
    attempts: Attempts, whole: Whole, num_events: int
) -> None:
    for _ in range(30):
        if not attempts.killed_after(num_events):
            break
    attempts.finish()
    assert whole.equals(attempts)
