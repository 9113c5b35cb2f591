"""Micro-batches: the whole batch's loss, gradient and weights within rounding, from parts held one after another."""

from typing import Any

import pytest
import torch

from clipexp.errors import SpecError
from clipexp.events import StepEvent
from clipexp.model.clip import CLIP
from clipexp.spec.cost import memory_bytes
from clipexp.spec.load import load_spec
from clipexp.spec.run import RunSpec, largest_divisor, spec_hash
from clipexp.track import checkpoint_names
from clipexp.train import checkpoint
from tests.train.conftest import BATCH, Runs

ALL_RANDOM = {"augment": "random_resized_crop", "captions": "sample"}
# AdamW's epsilon is raised to compare weights: with the usual 1e-6, one whose gradient is nothing but rounding moves by
# a whole learning rate, in a direction that the rounding decides.
EPS = 1e-3


def spec_with(runs: Runs, micro_batch: int | None) -> RunSpec:
    train = {"micro_batch": micro_batch, "log_every_samples": BATCH}
    return runs.spec(train=train, data=ALL_RANDOM, optim={"eps": EPS})


def outcome(runs: Runs, micro_batch: int | None) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """The metrics of each of 24 steps, and the weights at the end."""
    folder = f"micro-{micro_batch}"
    events = list(runs.events(spec_with(runs, micro_batch), folder=folder))
    steps = [dict(event.metrics) for event in events if isinstance(event, StepEvent)]
    newest = checkpoint_names.newest(runs.checkpoints / folder)
    assert newest is not None
    return steps, dict(checkpoint.load(newest, "0123456789ab").model)


@pytest.mark.parametrize("micro_batch", [1, 4, 8])
def test_24_steps_in_micro_batches_are_those_of_the_whole_batch(runs: Runs, micro_batch: int) -> None:
    """Crops and captions are drawn, so a part with other ones would show at once."""
    steps, weights = outcome(runs, micro_batch)
    whole_steps, whole_weights = outcome(runs, None)
    assert len(steps) == len(whole_steps) == 24
    for step, whole in zip(steps, whole_steps, strict=True):
        for metric in ("train/loss", "train/grad_norm", "train/lr", "train/logit_scale"):
            assert step[metric] == pytest.approx(whole[metric], rel=3e-5)  # rounding grows over steps
    for name, weight in weights.items():
        torch.testing.assert_close(weight, whole_weights[name], rtol=1e-5, atol=1e-5 * whole_weights[name].abs().max())


def test_a_micro_batch_of_the_whole_batch_has_its_bits(runs: Runs) -> None:
    _, weights = outcome(runs, BATCH)
    _, whole = outcome(runs, None)
    assert all(torch.equal(weights[name], whole[name]) for name in whole)


def test_no_part_ever_embeds_more_pairs_than_asked_for(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    forward = CLIP.forward

    def counted(model: CLIP, pixels: torch.Tensor, tokens: torch.Tensor) -> Any:
        if model.training:
            sizes.append(len(pixels))
        return forward(model, pixels, tokens)

    monkeypatch.setattr(CLIP, "forward", counted)
    next(event for event in runs.events(spec_with(runs, 4)) if isinstance(event, StepEvent))
    assert sizes == [4] * 8  # four parts, twice


def test_micro_batches_leave_the_identity_as_it_is(runs: Runs) -> None:
    assert spec_hash(spec_with(runs, 4), "0" * 64) == spec_hash(spec_with(runs, None), "0" * 64)


def test_a_micro_batch_that_does_not_divide_the_batch_is_refused_with_one_that_does() -> None:
    with pytest.raises(SpecError, match=r"train\.micro_batch must divide batch_size 128, but is 48; 32 does"):
        load_spec("experiments/quickstart.yaml", ["train.micro_batch=48"])


@pytest.mark.parametrize(("number", "limit", "divisor"), [(96, 50, 48), (96, 1, 1), (97, 50, 1), (8, 99, 8), (8, 4, 4)])
def test_the_largest_divisor_below_a_limit(number: int, limit: int, divisor: int) -> None:
    assert largest_divisor(number, limit) == divisor


def test_the_estimate_of_memory_falls_with_the_activations_but_not_below_the_batch_s_own() -> None:
    def estimate(*overrides: str) -> int:
        return memory_bytes(load_spec("experiments/quickstart.yaml", ["train.batch_size=1024", *overrides]).spec)

    whole = estimate()
    assert estimate("train.micro_batch=1024") == whole
    assert whole / 2 < estimate("train.micro_batch=512") < whole
    assert 4 * 1024**2 * 4 < estimate("train.micro_batch=1") < whole / 8
    crop = "data.augment=random_resized_crop"  # makes two copies of the whole batch, as floats
    assert estimate("train.micro_batch=1", crop) - estimate("train.micro_batch=1") > 1023 * 3 * 48**2 * 2 * 4 / 2
