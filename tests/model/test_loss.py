"""InfoNCE against what can be calculated by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from clipexp.model.loss import info_nce

SCALE_1 = torch.tensor(0.0)  # exp(0) = 1


def random_pairs(num: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    emb = torch.randn(2, num, 4, generator=generator, dtype=dtype)
    images, texts = F.normalize(emb, dim=-1)
    return images, texts


def test_two_orthogonal_pairs_cost_ln_of_1_plus_1_over_e() -> None:
    # Each row's logits are (1, 0): -ln(e / (e + 1)) = ln(1 + 1/e) = 0.3133.
    assert info_nce(torch.eye(2), torch.eye(2), SCALE_1).item() == pytest.approx(math.log(1 + 1 / math.e))


def test_a_swapped_pair_costs_ln_of_1_plus_e() -> None:
    assert info_nce(torch.eye(2), torch.eye(2).flip(0), SCALE_1).item() == pytest.approx(math.log(1 + math.e))


def test_the_temperature_multiplies_the_logits() -> None:
    loss = info_nce(torch.eye(2), torch.eye(2), torch.tensor(math.log(10)))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-10)), rel=1e-3)


@pytest.mark.parametrize("num", [2, 7, 1024])
def test_equal_embeddings_cost_ln_of_the_batch(num: int) -> None:
    same = F.normalize(torch.ones(num, 4), dim=-1)
    assert info_nce(same, same, torch.tensor(4.0)).item() == pytest.approx(math.log(num), rel=1e-5)


def test_the_loss_is_the_mean_of_two_plain_cross_entropies() -> None:
    images, texts = random_pairs(6)
    logits = [[math.exp(0.5) * float(i @ t) for t in texts] for i in images]

    def cross_entropy(rows: list[list[float]]) -> float:
        return sum(math.log(sum(map(math.exp, row))) - row[i] for i, row in enumerate(rows)) / len(rows)

    by_hand = (cross_entropy(logits) + cross_entropy([list(column) for column in zip(*logits, strict=True)])) / 2
    assert info_nce(images, texts, torch.tensor(0.5)).item() == pytest.approx(by_hand, rel=1e-5)


def test_images_and_captions_can_change_places() -> None:
    images, texts = random_pairs(6)
    torch.testing.assert_close(info_nce(images, texts, SCALE_1), info_nce(texts, images, SCALE_1))


def test_the_order_of_pairs_does_not_matter() -> None:
    images, texts = random_pairs(6)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(info_nce(images[order], texts[order], SCALE_1), info_nce(images, texts, SCALE_1))


def test_gradients_are_those_of_finite_differences() -> None:
    images, texts = random_pairs(4, torch.double)
    scale = torch.tensor(1.0, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(info_nce, (images.requires_grad_(), texts.requires_grad_(), scale))
