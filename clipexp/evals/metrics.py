"""Retrieval metrics, computed from a similarity matrix alone.

recall_at_k(ranks(torch.eye(3)), k=1)  # 1.0
"""

import torch
from torch import Tensor


def ranks(similarity: Tensor) -> Tensor:
    """The rank of each query's own item, 1 for the best.

    Ties count against the query, and so does what is not a number: embeddings that have all collapsed into one find
    nothing.

    Args:
        similarity: (queries, items); item i belongs to query i.

    Returns:
        int64 (queries,).
    """
    own = similarity.diagonal().unsqueeze(1)  # (queries, 1)
    return similarity.shape[1] - (similarity < own).sum(dim=1)


def recall_at_k(ranks: Tensor, k: int) -> float:
    """The share of queries whose own item is among the first k. ranks: int64 (queries,)."""
    return (ranks <= k).double().mean().item()


def median_rank(ranks: Tensor) -> float:
    """The median rank, the lower one of two. ranks: int64 (queries,)."""
    return float(ranks.median())


def chance_recall_at_k(num_items: int, k: int) -> float:
    """What guessing reaches among `num_items`."""
    return min(k / num_items, 1.0)


def best_items(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k most similar items of each query, best first: scores and indices, (queries, min(k, items)) each."""
    return torch.topk(similarity, min(k, similarity.shape[1]), dim=1)
