"""Augmentation: a function of (seed, position), on uint8 batches."""

import pytest
import torch
from torch import Tensor

from clipexp.data.augment import augment


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(0, 256, (4, 3, 12, 12), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_the_same_seed_and_position_give_the_same_crops(pixels: Tensor) -> None:
    first, second = (augment(pixels, "random_resized_crop", seed=3, position=64) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("seed", "position"), [(4, 64), (3, 65)])
def test_another_seed_or_position_gives_other_crops(pixels: Tensor, seed: int, position: int) -> None:
    first = augment(pixels, "random_resized_crop", seed=3, position=64)
    assert not torch.equal(first, augment(pixels, "random_resized_crop", seed, position))


def test_the_global_random_state_has_no_say_and_stays(pixels: Tensor) -> None:
    torch.manual_seed(1)
    first = augment(pixels, "random_resized_crop", seed=3, position=64)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, augment(pixels, "random_resized_crop", seed=3, position=64))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_crops_keep_shape_and_dtype(pixels: Tensor) -> None:
    cropped = augment(pixels, "random_resized_crop", seed=0, position=0)
    assert (cropped.shape, cropped.dtype) == (pixels.shape, torch.uint8)


def test_none_is_the_identity(pixels: Tensor) -> None:
    assert augment(pixels, "none", seed=0, position=0) is pixels


def test_the_pictures_given_are_not_written_to(pixels: Tensor) -> None:
    before = pixels.clone()
    augment(pixels, "random_resized_crop", seed=0, position=0)
    assert torch.equal(pixels, before)


def test_pictures_of_a_batch_get_crops_of_their_own(pixels: Tensor) -> None:
    cropped = augment(pixels[:1].expand(4, -1, -1, -1), "random_resized_crop", seed=0, position=0)
    assert len({picture.numpy().tobytes() for picture in cropped}) == 4


def test_a_picture_of_one_colour_stays_as_it_is() -> None:
    plain = torch.full((8, 3, 12, 12), 255, dtype=torch.uint8)
    assert torch.equal(augment(plain, "random_resized_crop", seed=0, position=0), plain)


def test_a_crop_holds_half_to_all_of_the_area() -> None:
    # From 0 on the left to 200 on the right; a crop of side s spans 200 s, less half a pixel at either edge.
    ramp = torch.linspace(0, 200, 101).round().to(torch.uint8).expand(500, 3, 101, 101)
    cropped = augment(ramp, "random_resized_crop", seed=0, position=0)[:, 0, 50].int()
    side = (cropped[:, -1] - cropped[:, 0]) / 200
    assert 0.69 < side.min() < 0.72
    assert 0.98 < side.max() <= 1


def test_nothing_is_mirrored() -> None:
    ramp = torch.arange(0, 240, 20, dtype=torch.uint8).expand(100, 3, 12, 12)
    cropped = augment(ramp, "random_resized_crop", seed=0, position=0).int()
    assert (cropped.diff(dim=3) >= 0).all()
