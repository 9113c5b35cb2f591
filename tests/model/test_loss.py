"""InfoNCE against what can be calculated by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from clipexp.model.loss import backward, info_nce

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


@pytest.mark.parametrize("micro_batch", [1, 2, 6, 12])
def test_parts_give_the_gradients_of_the_whole_batch_in_double_precision_to_the_last_digits(micro_batch: int) -> None:
    generator = torch.Generator().manual_seed(1)
    pixels, tokens = torch.randn(2, 12, 5, generator=generator, dtype=torch.float64)
    grads = []
    for parts in (None, micro_batch):
        weight = torch.linspace(-1, 1, 20, dtype=torch.float64).reshape(5, 4).requires_grad_()
        scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

        def embed(a: Tensor, b: Tensor, weight: Tensor = weight) -> tuple[Tensor, Tensor]:
            return F.normalize(a @ weight, dim=-1), F.normalize((b @ weight).tanh(), dim=-1)

        loss = backward(embed, (pixels, tokens), scale, parts)
        assert weight.grad is not None
        assert scale.grad is not None
        grads.append((loss, weight.grad, scale.grad))
    for whole, in_parts in zip(*grads, strict=True):
        torch.testing.assert_close(in_parts, whole, rtol=1e-12, atol=1e-14)


def test_gradients_add_to_those_that_are_there() -> None:
    images, texts = random_pairs(4)
    sums = []
    for parts in (None, 2):
        scale = torch.tensor(0.5, requires_grad=True)
        weight = torch.ones(4, requires_grad=True)
        for _ in range(2):
            backward(lambda a, b, w=weight: (a * w, b * w), (images, texts), scale, parts)  # type: ignore[misc]
        assert scale.grad is not None
        assert weight.grad is not None
        sums.append(torch.cat([scale.grad[None], weight.grad]))
    torch.testing.assert_close(sums[1], sums[0], rtol=1e-5, atol=1e-7)
