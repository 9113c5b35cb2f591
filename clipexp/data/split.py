"""The split: which pairs train, which validate, and which can do neither.

    split_pairs([("content:a",), ("content:b",), ("content:a",)], num_val=1, seed=0)

Pairs that share a group key, directly or through others, form a component. A component goes to one side as a whole;
from a validation component only its first pair validates, so that every validation caption has one right picture.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

MAX_VAL_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """Row numbers: `train_idx` in the source's order, `val_idx` in a fixed shuffled order, `left_out_idx`."""

    train_idx: tuple[int, ...]
    val_idx: tuple[int, ...]
    left_out_idx: tuple[int, ...]


def split_pairs(group_keys: Sequence[Sequence[str]], num_val: int, seed: int) -> Split:
    """Draw whole components into validation until it has `num_val` pairs, or a fifth of the set.

    Args:
        group_keys: of each pair, the keys that tie it to others; at least one.
        num_val: how many components validate, at the most.
        seed: decides which.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while (above := parent.setdefault(key, key)) != key:
            parent[key] = parent[above]
            key = above
        return key

    for keys in group_keys:
        for other in keys[1:]:
            parent[root(other)] = root(keys[0])
    rows_by_root: dict[str, list[int]] = {}
    for row, keys in enumerate(group_keys):
        rows_by_root.setdefault(root(keys[0]), []).append(row)

    def rank(rows: list[int]) -> bytes:  # by content alone, so that it stays when pairs are added elsewhere
        name = min(key for row in rows for key in group_keys[row])
        return hashlib.sha256(f"{seed}/{name}".encode()).digest()

    budget_rows = int(len(group_keys) * MAX_VAL_SHARE)
    val: list[int] = []
    left_out: list[int] = []
    for rows in sorted(rows_by_root.values(), key=rank):
        if len(val) == num_val:
            break
        if len(val) + len(left_out) + len(rows) > budget_rows:
            continue
        val.append(rows[0])
        left_out.extend(rows[1:])
    taken = {*val, *left_out}
    train = tuple(row for row in range(len(group_keys)) if row not in taken)
    return Split(train, tuple(val), tuple(sorted(left_out)))
