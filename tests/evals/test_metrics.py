"""Retrieval metrics on matrices small enough to read."""

import pytest
import torch

from clipexp.evals.metrics import (
    best_items,
    chance_recall_at_k,
    mean_similarity,
    median_rank,
    ranks,
    recall_at_k,
    strip_means,
)

# The own items stand on the diagonal: first, second and third of three.
ONE_TWO_THREE = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.7, 0.6, 0.3]])


def test_ranks_count_the_items_that_are_at_least_as_similar() -> None:
    assert ranks(ONE_TWO_THREE).tolist() == [1, 2, 3]


def test_a_perfect_similarity_finds_everything_first() -> None:
    assert recall_at_k(ranks(torch.eye(3)), 1) == 1


@pytest.mark.parametrize(("k", "recall"), [(1, 1 / 3), (2, 2 / 3), (3, 1)])
def test_recall_at_k_is_the_share_of_ranks_up_to_k(k: int, recall: float) -> None:
    assert recall_at_k(ranks(ONE_TWO_THREE), k) == pytest.approx(recall)


def test_ties_count_against_the_query() -> None:
    assert ranks(torch.tensor([[0.5, 0.5, 0.1], [0.0, 1.0, 1.0], [0.0, 0.1, 0.2]])).tolist() == [2, 2, 1]


def test_collapsed_embeddings_find_nothing() -> None:
    assert ranks(torch.ones(4, 4)).tolist() == [4, 4, 4, 4]
    assert recall_at_k(ranks(torch.ones(4, 4)), 3) == 0


def test_similarities_that_are_not_numbers_find_nothing() -> None:
    assert ranks(torch.full((3, 3), float("nan"))).tolist() == [3, 3, 3]
    assert ranks(torch.tensor([[1.0, float("nan")], [0.0, 1.0]])).tolist() == [2, 1]


@pytest.mark.parametrize(("found", "median"), [([1, 2, 9], 2), ([1, 2, 3, 9], 2), ([5], 5)])
def test_the_median_rank_is_the_lower_of_two(found: list[int], median: float) -> None:
    assert median_rank(torch.tensor(found)) == median


@pytest.mark.parametrize(("num_items", "k", "chance"), [(1024, 1, 1 / 1024), (100, 5, 0.05), (3, 10, 1)])
def test_chance_finds_k_of_the_items(num_items: int, k: int, chance: float) -> None:
    assert chance_recall_at_k(num_items, k) == chance


def test_guessing_reaches_chance() -> None:
    similarity = torch.rand(400, 400, generator=torch.Generator().manual_seed(0))
    assert recall_at_k(ranks(similarity), 40) == pytest.approx(chance_recall_at_k(400, 40), abs=0.05)


def test_best_items_come_in_order_with_their_scores() -> None:
    scores, items = best_items(ONE_TWO_THREE, 2)
    assert items.tolist() == [[0, 2], [0, 1], [0, 1]]
    assert scores[2].tolist() == pytest.approx([0.7, 0.6])


def test_best_items_are_all_items_where_there_are_fewer_than_k() -> None:
    assert best_items(ONE_TWO_THREE, 5)[1].shape == (3, 3)


def test_mean_similarity_is_one_of_collapsed_rows_and_zero_of_spread_ones() -> None:
    assert mean_similarity(torch.eye(4)) == 0
    assert mean_similarity(torch.ones(4, 1)) == pytest.approx(1)


def test_mean_similarity_is_that_of_the_matrix_without_its_diagonal() -> None:
    rows = torch.nn.functional.normalize(torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    similarity = rows @ rows.mT
    assert mean_similarity(rows) == pytest.approx((similarity.sum() - 7).item() / 42, abs=1e-6)


@pytest.mark.parametrize(("num", "wanted"), [(4, (0.5, 2.5)), (5, (0.5, 3.0)), (2, (0.5,)), (1, (0.0,)), (3, (1.0,))])
def test_strips_are_of_a_length_and_the_last_takes_the_rest(num: int, wanted: tuple[float, ...]) -> None:
    assert strip_means(torch.arange(num, dtype=torch.float32), 2) == wanted
