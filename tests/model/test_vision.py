"""The image tower."""

import itertools

import pytest
import torch
from torch import Tensor

from clipexp.model.vision import VisionTransformer
from clipexp.spec.run import ModelSpec

PATCHES = list(itertools.product(range(2), range(2)))


@pytest.fixture
def tower(model_spec: ModelSpec) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(model_spec)


def grey(num: int = 1) -> Tensor:
    return torch.full((num, 3, 24, 24), 128, dtype=torch.uint8)


def test_a_batch_gives_an_embedding_a_picture(tower: VisionTransformer) -> None:
    assert tower(grey(3)).shape == (3, 8)


@pytest.mark.parametrize(("row", "column"), PATCHES)
def test_every_patch_reaches_the_embedding(tower: VisionTransformer, row: int, column: int) -> None:
    pixels = grey()
    pixels[..., 12 * row : 12 * row + 12, 12 * column : 12 * column + 12] = 255
    assert (tower(pixels) - tower(grey())).abs().max() > 1e-3


def test_where_a_patch_stands_matters(tower: VisionTransformer) -> None:
    pictures = grey(4)
    for picture, (row, column) in zip(pictures, PATCHES, strict=True):
        picture[:, 12 * row : 12 * row + 12, 12 * column : 12 * column + 12] = 255
    distances = torch.pdist(tower(pictures))
    assert distances.min() > 1e-3


def test_a_picture_does_not_change_its_neighbours_in_the_batch(tower: VisionTransformer) -> None:
    pictures = grey(3)
    pictures[1] = 255
    torch.testing.assert_close(tower(pictures)[[0, 2]], tower(grey(2)))


def test_the_embedding_is_read_at_the_class_token(tower: VisionTransformer) -> None:
    for name, weight in tower.transformer.named_parameters():
        if name.endswith("proj.weight"):  # blocks that pass their input through: no token hears of another
            torch.nn.init.zeros_(weight)
    assert torch.equal(tower(grey()), tower(grey() + 100))


def test_pixels_are_normalised_by_the_channels_means_and_deviations(tower: VisionTransformer) -> None:
    seen: list[Tensor] = []
    tower.patch_embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tower(grey())
    # (128 / 255 - 0.48145466) / 0.26862954 = 0.0763, and so on.
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([0.0763, 0.1689, 0.3399], abs=1e-4)
    assert set(tower.state_dict()).isdisjoint({"mean", "std"})  # constants, not weights


def test_every_weight_gets_a_gradient(tower: VisionTransformer) -> None:
    tower(torch.randint(0, 256, (4, 3, 24, 24), dtype=torch.uint8)).square().sum().backward()
    assert [name for name, weight in tower.named_parameters() if weight.grad is None] == []
