"""Augmentation: a function of (seed, position), on uint8 batches."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clipexp.data.augment import augment, fit
from clipexp.data.order import Share
from clipexp.spec.data import DataSpec
from tests.data.made import data_spec


def spec_of(**changes: Any) -> DataSpec:
    return data_spec(Path("store"), **changes)


def cropped_at(pixels: Tensor, size_px: int | None = None, seed: int = 0, position: int = 0, **changes: Any) -> Tensor:
    spec = spec_of(augment="random_resized_crop", **changes)
    return augment(pixels, spec, size_px or pixels.shape[-1], seed, position)


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(0, 256, (4, 3, 12, 12), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_the_same_seed_and_position_give_the_same_crops(pixels: Tensor) -> None:
    first, second = (cropped_at(pixels, seed=3, position=64) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("seed", "position"), [(4, 64), (3, 65)])
def test_another_seed_or_position_gives_other_crops(pixels: Tensor, seed: int, position: int) -> None:
    first = cropped_at(pixels, seed=3, position=64)
    assert not torch.equal(first, cropped_at(pixels, seed=seed, position=position))


def test_the_global_random_state_has_no_say_and_stays(pixels: Tensor) -> None:
    torch.manual_seed(1)
    first = cropped_at(pixels, seed=3, position=64)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, cropped_at(pixels, seed=3, position=64))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_crops_keep_shape_and_dtype(pixels: Tensor) -> None:
    cropped = cropped_at(pixels, seed=0, position=0)
    assert (cropped.shape, cropped.dtype) == (pixels.shape, torch.uint8)


def test_none_is_the_identity(pixels: Tensor) -> None:
    assert augment(pixels, spec_of(), 12, seed=0, position=0) is pixels


def test_the_pictures_given_are_not_written_to(pixels: Tensor) -> None:
    before = pixels.clone()
    cropped_at(pixels, seed=0, position=0)
    assert torch.equal(pixels, before)


def test_pictures_of_a_batch_get_crops_of_their_own(pixels: Tensor) -> None:
    cropped = cropped_at(pixels[:1].expand(4, -1, -1, -1), seed=0, position=0)
    assert len({picture.numpy().tobytes() for picture in cropped}) == 4


def test_a_picture_of_one_colour_stays_as_it_is() -> None:
    plain = torch.full((8, 3, 12, 12), 255, dtype=torch.uint8)
    assert torch.equal(cropped_at(plain, seed=0, position=0), plain)


def test_a_crop_holds_half_to_all_of_the_area() -> None:
    # From 0 on the left to 200 on the right; a crop of side s spans 200 s, less half a pixel at either edge.
    ramp = torch.linspace(0, 200, 101).round().to(torch.uint8).expand(500, 3, 101, 101)
    cropped = cropped_at(ramp, seed=0, position=0)[:, 0, 50].int()
    side = (cropped[:, -1] - cropped[:, 0]) / 200
    assert 0.69 < side.min() < 0.72
    assert 0.98 < side.max() <= 1


def test_nothing_is_mirrored() -> None:
    ramp = torch.arange(0, 240, 20, dtype=torch.uint8).expand(100, 3, 12, 12)
    cropped = cropped_at(ramp, seed=0, position=0).int()
    assert (cropped.diff(dim=3) >= 0).all()


def test_a_crop_keeps_no_less_of_the_area_than_it_is_told_to() -> None:
    ramp = torch.linspace(0, 200, 101).round().to(torch.uint8).expand(500, 3, 101, 101)
    cropped = cropped_at(ramp, crop_min_area_frac=0.81)[:, 0, 50].int()
    side = (cropped[:, -1] - cropped[:, 0]) / 200
    assert 0.89 < side.min() < 0.92
    assert 0.98 < side.max() <= 1


def test_pictures_stored_larger_are_cropped_to_the_models_size() -> None:
    ramp = torch.linspace(0, 200, 48).round().to(torch.uint8).expand(8, 3, 48, 48)
    cropped = cropped_at(ramp, size_px=32)
    assert cropped.shape == (8, 3, 32, 32)
    assert (cropped.int().diff(dim=3) >= 0).all()


def test_pictures_stored_larger_are_scaled_without_augmentation() -> None:
    halves = torch.zeros(2, 3, 48, 48, dtype=torch.uint8)
    halves[..., 24:] = 200
    scaled = augment(halves, spec_of(), 24, seed=0, position=0)
    assert scaled.shape == (2, 3, 24, 24)
    assert set(scaled[..., :11].flatten().tolist()) == {0}
    assert set(scaled[..., 13:].flatten().tolist()) == {200}
    assert torch.equal(scaled, fit(halves, 24))


def test_scaling_down_averages_what_it_leaves_out() -> None:
    checks = (torch.arange(48)[:, None] + torch.arange(48)) % 2 * 255
    scaled = fit(checks.to(torch.uint8).expand(1, 3, 48, 48), 16).int()
    assert (scaled[..., 2:-2, 2:-2] - 128).abs().max() < 20  # a nearest neighbour would give 0 or 255


def test_colours_change_within_their_bounds_and_alike_for_a_seed_and_position(pixels: Tensor) -> None:
    plain = torch.full((500, 3, 4, 4), 100, dtype=torch.uint8)  # of one grey: contrast and saturation leave it as it is
    spec = spec_of(colour_jitter=0.2)
    first, again, other = (augment(plain, spec, 4, seed=0, position=p) for p in (0, 0, 500))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 80 <= first.min() < 82
    assert 118 < first.max() <= 120


def test_saturation_moves_colours_and_leaves_their_brightness() -> None:
    red = torch.zeros(200, 3, 4, 4)
    red[:, 0] = 180
    jittered = augment(red.to(torch.uint8), spec_of(colour_jitter=0.3), 4, seed=0, position=0).float()
    ratio = jittered[:, 1, 0, 0] / jittered[:, 0, 0, 0]
    assert ratio.max() > 0.05, "some are greyer"
    assert (jittered[:, 0] > jittered[:, 1]).all(), "none turns into another colour"


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
@pytest.mark.parametrize("size_px", [12, 8])
def test_the_shares_of_ranks_make_up_the_global_batch(num_ranks: int, size_px: int) -> None:
    pixels = torch.randint(0, 256, (16, 3, 12, 12), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    spec = spec_of(augment="random_resized_crop", colour_jitter=0.4)
    whole = augment(pixels, spec, size_px, seed=3, position=64)
    shares = [Share.of_rank(16, rank, num_ranks) for rank in range(num_ranks)]
    found = [augment(pixels[share.part], spec, size_px, 3, 64, share) for share in shares]
    assert torch.equal(torch.cat(found), whole)


def test_a_share_is_varied_otherwise_than_a_batch_of_its_own(pixels: Tensor) -> None:
    last = Share.of_rank(8, rank=1, num_ranks=2)
    spec = spec_of(augment="random_resized_crop")
    assert not torch.equal(augment(pixels, spec, 12, 0, 0, last), augment(pixels, spec, 12, 0, 0))


def test_crops_are_the_same_with_and_without_colours(pixels: Tensor) -> None:
    mask = (pixels > 127).to(torch.uint8) * 255
    crop = cropped_at(mask, seed=5)
    both = cropped_at(mask, seed=5, colour_jitter=1e-6)
    assert (crop.int() - both.int()).abs().max() <= 1
