"""The text tower."""

import pytest
import torch
from torch import Tensor

from clipexp.model.text import TextTransformer
from clipexp.spec.run import ModelSpec

START, END = 8, 9  # of a vocabulary of ten; 0 pads
CAT = [START, 1, 2, END, 0, 0, 0, 0]


@pytest.fixture
def tower(model_spec: ModelSpec) -> TextTransformer:
    torch.manual_seed(0)
    return TextTransformer(model_spec, vocab_size=10)


def embed(tower: TextTransformer, *rows: list[int]) -> Tensor:
    with torch.no_grad():
        embedding: Tensor = tower(torch.tensor(rows))
    return embedding


def test_a_batch_gives_an_embedding_a_caption(tower: TextTransformer) -> None:
    assert embed(tower, CAT, CAT, CAT).shape == (3, 8)


def test_what_stands_behind_the_end_mark_changes_nothing(tower: TextTransformer) -> None:
    torch.testing.assert_close(embed(tower, [*CAT[:4], 5, 6, 7, 8]), embed(tower, CAT))


@pytest.mark.parametrize("length", [4, 5, 7])
def test_a_caption_without_its_padding_columns_embeds_the_same(tower: TextTransformer, length: int) -> None:
    torch.testing.assert_close(embed(tower, CAT[:length]), embed(tower, CAT))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_token_before_the_end_mark_reaches_the_embedding(tower: TextTransformer, place: int) -> None:
    changed = list(CAT)
    changed[place] = 5
    assert (embed(tower, changed) - embed(tower, CAT)).abs().max() > 1e-3


def test_the_order_of_words_matters(tower: TextTransformer) -> None:
    assert (embed(tower, [START, 2, 1, END]) - embed(tower, [START, 1, 2, END])).abs().max() > 1e-3


def test_rows_of_different_lengths_are_each_read_at_their_own_end_mark(tower: TextTransformer) -> None:
    together = embed(tower, CAT, [START, 3, END, 0, 0, 0, 0, 0])
    torch.testing.assert_close(together[1:], embed(tower, [START, 3, END]))
    torch.testing.assert_close(together[:1], embed(tower, CAT[:4]))


def test_every_weight_gets_a_gradient(tower: TextTransformer) -> None:
    tower(torch.tensor([CAT])).square().sum().backward()
    assert [name for name, weight in tower.named_parameters() if weight.grad is None] == []
