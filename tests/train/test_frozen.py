"""A frozen tower stays as it was drawn, the other learns, and resuming is as exact as ever."""

import pytest
import torch

from clipexp.errors import SpecError
from clipexp.events import StepEvent
from clipexp.spec.run import spec_hash
from clipexp.track import checkpoint_names
from clipexp.train import checkpoint
from clipexp.train.training import Training
from tests.train.conftest import BATCH, HASH, Runs


def weights(runs: Runs, folder: str) -> dict[str, torch.Tensor]:
    newest = checkpoint_names.newest(runs.checkpoints / folder)
    assert newest is not None
    return dict(checkpoint.load(newest, HASH).model)


@pytest.mark.parametrize(("frozen", "learning"), [("vision", "text"), ("text", "vision")])
@pytest.mark.parametrize("micro_batch", [None, 4])
def test_the_frozen_tower_stays_and_the_other_moves(
    runs: Runs, frozen: str, learning: str, micro_batch: int | None
) -> None:
    spec = runs.spec(optim={"frozen": frozen}, train={"micro_batch": micro_batch})
    drawn = Training(spec, runs.device).model.state_dict()
    events = list(runs.events(spec))
    assert any(isinstance(event, StepEvent) for event in events)
    trained = weights(runs, "run")
    moved = {name for name, tensor in trained.items() if not torch.equal(tensor, drawn[name])}
    assert not any(name.startswith(f"{frozen}.") for name in moved)
    assert {name for name in drawn if name.startswith(f"{learning}.")} <= moved
    assert "logit_scale" in moved


def test_a_stopped_run_with_a_frozen_tower_goes_on_to_the_same_bits(runs: Runs) -> None:
    spec = runs.spec(optim={"frozen": "vision"})
    list(runs.events(spec, folder="whole"))
    polled = iter(range(100))
    list(runs.events(spec, lambda: "interrupted" if next(polled) == 7 else None, "parts"))
    list(runs.events(spec, folder="parts"))
    whole, parts = weights(runs, "whole"), weights(runs, "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_spec_without_a_frozen_tower_keeps_its_hash(runs: Runs) -> None:
    spec = runs.spec()
    assert spec.optim.frozen is None
    assert "frozen" not in spec.optim.model_fields_set
    assert spec_hash(spec, "data") != spec_hash(runs.spec(optim={"frozen": "text"}), "data")
    assert spec_hash(spec, "data") == spec_hash(runs.spec(optim={"frozen": None}), "data")


def test_another_tower_is_refused(runs: Runs) -> None:
    with pytest.raises(SpecError, match=r"optim\.frozen"):
        runs.spec(optim={"frozen": "both"}, train={"batch_size": BATCH})
