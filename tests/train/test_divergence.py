"""Training that goes wrong says so, and leaves no checkpoint that could only go wrong again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clipexp.errors import DivergedError
from clipexp.events import Event, FaultEvent, StopReason
from clipexp.model.clip import CLIP
from clipexp.train import checkpoint
from clipexp.train.loop import Evaluation, Hooks
from tests.train.conftest import Runs


def until_error(events: Iterator[Event]) -> tuple[list[Event], DivergedError]:
    seen: list[Event] = []
    with pytest.raises(DivergedError) as caught:
        seen.extend(events)
    return seen, caught.value


def all_finite(folder: Path) -> bool:
    states = [checkpoint.load(path, "0123456789ab") for path in folder.glob("*")]
    return all(t.isfinite().all() for state in states for t in (*state.model.values(), *state.optimizer.values()))


class Poison:
    """Hooks that put a NaN into the weights: before the first step, or at the poll of a given step."""

    def __init__(self, hooks: Hooks, at_step: int, reason: StopReason | None) -> None:
        self.at_step, self.reason, self.num_polls = at_step, reason, 0
        self._evaluate = hooks.evaluate
        self.hooks = replace(hooks, evaluate=self.evaluate, stop=self.stop)

    def evaluate(self, model: CLIP) -> Evaluation | None:
        self.model = model
        return self._evaluate(model)

    def stop(self) -> StopReason | None:
        self.num_polls += 1
        if self.num_polls <= self.at_step:
            return None
        torch.nn.init.constant_(self.model.text.pos_embed, float("nan"))
        return self.reason


def test_a_learning_rate_of_a_million_ends_in_a_fault_and_its_remedy(runs: Runs) -> None:
    events, error = until_error(runs.events(runs.spec(optim={"max_lr": 1e6})))
    assert isinstance(events[-1], FaultEvent)
    assert "not finite at" in events[-1].message
    assert "lower optim.max_lr (now 1000000.0)" in str(error)
    assert error.samples_seen == events[-1].samples_seen
    assert all_finite(runs.checkpoints / "run")


@pytest.mark.parametrize("at_step", [0, 1, 4, 7])
def test_weights_that_turn_nan_are_never_kept(runs: Runs, at_step: int) -> None:
    spec = runs.spec(train={"checkpoint_every_samples": 16})
    poison = Poison(runs.hooks(spec), at_step, None)
    events, _ = until_error(runs.train(spec, poison.hooks))
    assert events[-1] == FaultEvent(
        16 * (at_step + 1), f"the training loss is not finite at {16 * (at_step + 1)} samples"
    )
    assert all_finite(runs.checkpoints / "run")


def test_a_stop_after_divergence_keeps_no_checkpoint(runs: Runs) -> None:
    spec = runs.spec()
    poison = Poison(runs.hooks(spec), 2, "interrupted")
    events, _ = until_error(runs.train(spec, poison.hooks))
    assert isinstance(events[-1], FaultEvent)
    assert "weights" in events[-1].message  # both losses so far were finite
    assert not (runs.checkpoints / "run").exists()
