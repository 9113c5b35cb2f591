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


def mean_similarity(embeddings: Tensor) -> float:
    """The mean cosine similarity between two different rows: 1 where all have collapsed into one, 0 where they spread.

    The squared norm of the rows' sum holds each pair twice and each row with itself once, so no matrix is needed.

    Args:
        embeddings: (rows, embed_dim), unit norm, two rows at least.
    """
    num = embeddings.shape[0]
    total = embeddings.double().sum(dim=0).square().sum().item()
    return (total - num) / (num * (num - 1))


def strip_means(values: Tensor, length: int) -> tuple[float, ...]:
    """The mean of each `length` values that follow one another; a shorter rest joins the last. values: (items,)."""
    num_strips = max(1, len(values) // length)
    starts = [number * length for number in range(num_strips)]
    parts = [values[start:stop] for start, stop in zip(starts, [*starts[1:], len(values)], strict=True)]
    return tuple(round(part.double().mean().item(), 6) for part in parts)
