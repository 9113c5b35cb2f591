"""Resuming is exact: stopped or killed anywhere, a run ends with the bits and the curve of one that was left alone."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from clipexp.events import CheckpointEvent, EndEvent, EvalEvent, Event, StepEvent, StopReason
from clipexp.spec.run import RunSpec
from clipexp.track import checkpoint_names
from clipexp.train import checkpoint
from clipexp.train.loop import Evaluation
from tests.train.conftest import BATCH, Runs

TOTAL = 24 * BATCH
ALL_RANDOM = {"augment": "random_resized_crop", "captions": "sample"}
Curve = dict[tuple[int, str], float]


def curve(events: list[Event]) -> Curve:
    """Value by (samples seen, metric), but for how fast the machine was."""
    measured = [event for event in events if isinstance(event, StepEvent | EvalEvent)]
    return {
        (event.samples_seen, name): value
        for event in measured
        for name, value in event.metrics.items()
        if not name.startswith("system/")
    }


def weights(runs: Runs) -> dict[str, Tensor]:
    """The last checkpoint's tensors, the optimizer's too."""
    end = runs.checkpoints / "run" / checkpoint_names.name_at(TOTAL)
    optimizer = {f"optimizer.{name}": t for name, t in load_file(end / checkpoint.OPTIMIZER_FILE).items()}
    return load_file(end / checkpoint.MODEL_FILE) | optimizer


@dataclass(frozen=True)
class Whole:
    """What an uninterrupted run leaves."""

    curve: Curve
    weights: dict[str, Tensor]

    def after(self, samples_seen: int) -> Curve:
        return {place: value for place, value in self.curve.items() if place[0] > samples_seen}

    def differs_from(self, runs: Runs) -> list[str]:
        """Names of the tensors in which another run ended otherwise."""
        other = weights(runs)
        assert other.keys() == self.weights.keys()
        return [name for name, tensor in self.weights.items() if not torch.equal(tensor, other[name])]


@pytest.fixture
def spec(runs: Runs) -> RunSpec:
    """Everything random is on: order, crops, captions."""
    return runs.spec(data=ALL_RANDOM)


@pytest.fixture(scope="module")
def whole(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A run that nobody stopped."""
    runs = Runs(small_store, tmp_path_factory.mktemp("whole"))
    events = list(runs.events(runs.spec(data=ALL_RANDOM)))
    return Whole(curve(events), weights(runs))


def stop_after(num_steps: int) -> Callable[[], StopReason | None]:
    polls = itertools.count()
    return lambda: "interrupted" if next(polls) == num_steps else None


def until(events: Iterator[Event], samples_seen: int) -> list[Event]:
    """Events up to a checkpoint, then the process is gone: nothing more is written."""
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, CheckpointEvent) and event.samples_seen == samples_seen:
            break
    events.close()  # type: ignore[attr-defined]
    return seen


@pytest.mark.parametrize("stop_at", [0, 1, 3, 7, 8, 23])
def test_a_stopped_run_goes_on_to_the_same_bits_and_the_same_curve(
    runs: Runs, spec: RunSpec, whole: Whole, stop_at: int
) -> None:
    first = list(runs.events(spec, stop_after(stop_at)))
    second = list(runs.events(spec))
    assert first[-1] == EndEvent(stop_at * BATCH, "interrupted")
    assert min(place for place, _ in curve(second)) > stop_at * BATCH
    assert curve(first) | curve(second) == whole.curve
    assert len(curve(first)) + len(curve(second)) == len(whole.curve)  # no point twice
    assert whole.differs_from(runs) == []


def test_a_run_stopped_at_every_step_ends_the_same(runs: Runs, spec: RunSpec, whole: Whole) -> None:
    points: Curve = {}
    for _ in range(25):
        points |= curve(list(runs.events(spec, stop_after(1))))
    assert points == whole.curve
    assert whole.differs_from(runs) == []


@pytest.mark.parametrize("last_step", [5, 10, 20])
def test_a_run_killed_past_a_checkpoint_repeats_the_lost_part_exactly(
    runs: Runs, spec: RunSpec, whole: Whole, last_step: int
) -> None:
    until(runs.events(spec), last_step * BATCH)
    second = list(runs.events(spec))
    assert curve(second) == whole.after(last_step * BATCH)
    assert whole.differs_from(runs) == []


def test_an_older_checkpoint_leads_to_the_same_end(runs: Runs, whole: Whole) -> None:
    spec = runs.spec(data=ALL_RANDOM, train={"keep_last": 9, "keep_best": False})
    list(runs.events(spec))
    for step in (15, 20, 24):
        shutil.rmtree(runs.checkpoints / "run" / checkpoint_names.name_at(step * BATCH))
    assert curve(list(runs.events(spec))) == whole.after(10 * BATCH)
    assert whole.differs_from(runs) == []


def test_a_finished_run_has_nothing_left_to_do(runs: Runs, spec: RunSpec) -> None:
    list(runs.events(spec))
    assert list(runs.events(spec)) == [EndEvent(TOTAL, "finished")]


def test_stopping_on_a_checkpoint_keeps_it_as_it_is(runs: Runs, spec: RunSpec) -> None:
    until(runs.events(spec), 5 * BATCH)
    found = checkpoint_names.newest(runs.checkpoints / "run")
    assert found is not None
    files = {path.name: path.stat().st_ino for path in found.iterdir()}
    assert isinstance(list(runs.events(spec, stop_after(0)))[-1], EndEvent)
    assert {path.name: path.stat().st_ino for path in found.iterdir()} == files  # no instant without one


def test_a_resumed_run_still_knows_the_best_loss(runs: Runs, spec: RunSpec) -> None:
    loss_at_eval = iter([3.0, 1.0, 2.0, 1.5])  # at steps 0, 8, 16 and 24

    def attempt(stop: Callable[[], StopReason | None]) -> list[int]:
        hooks = replace(runs.hooks(spec, stop), evaluate=lambda _: Evaluation(next(loss_at_eval), {}, ()))
        events = runs.train(spec, hooks)
        return [event.samples_seen // BATCH for event in events if isinstance(event, CheckpointEvent) and event.is_best]

    assert attempt(stop_after(10)) == [8]
    assert attempt(stop_after(99)) == []
    best = checkpoint.read_meta(runs.checkpoints / "run" / checkpoint_names.BEST)
    assert best["progress"]["samples_seen"] == 8 * BATCH


def test_a_kill_between_a_checkpoint_and_its_copy_as_best_loses_no_best(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = runs.spec(train={"keep_last": 9})

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt(folder.name)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "keep_as_best", killed)
        with pytest.raises(KeyboardInterrupt) as caught:
            list(runs.events(spec))
    runs.events(spec)
    best = checkpoint.read_meta(runs.checkpoints / "run" / checkpoint_names.BEST)
    assert checkpoint_names.name_at(best["progress"]["samples_seen"]) == str(caught.value)


def test_resuming_with_another_number_of_threads_ends_within_a_hundred_thousandth(
    runs: Runs, spec: RunSpec, whole: Whole
) -> None:
    """Sums are then added in another order. Measured: the final validation loss moves by 7e-8 of itself at the most.

    That was over six seeds of this run; over 200 steps it was 1.2e-7.
    """
    list(runs.events(spec, stop_after(12)))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        ended = curve(list(runs.events(spec)))
    finally:
        torch.set_num_threads(threads)
    name = next(name for place, name in whole.curve if name.startswith("val/loss"))
    assert ended[TOTAL, name] == pytest.approx(whole.curve[TOTAL, name], rel=1e-5)
