"""The split: which pairs train, which validate, which are tested on, and which can do none of it.

    groups = Groups.of([("content:a",), ("content:b",), ("content:a",)])
    split_pairs(groups, num_val=1, seed=0)

Pairs that share a group key, directly or through others, form a component. A component goes to one side as a whole;
from a validation component only its first pair validates, so that every validation caption has one right picture.
All of it is done on arrays: two million pairs take seconds and some hundred megabytes.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from clipexp.spec.data import MAX_VAL_SHARE

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.int64]
NO_TEST = -1
NAMES_AT_ONCE = 65_536
DIGEST_BYTES = 32


@dataclass(frozen=True)
class Groups:
    """What ties pairs together, a row each.

    key_ids: uint64, the group keys of all rows, hashed (two keys in a billion pairs of them may be taken for one,
    which ties two strangers together and does no harm). starts: int64 (rows + 1,), where each row's begin. names: each
    row's least key in full, which ranks its component.
    """

    key_ids: NDArray[np.uint64]
    starts: Rows
    names: "pa.ChunkedArray"

    @classmethod
    def of(cls, keys: Sequence[Sequence[str]]) -> Self:
        """From the keys themselves, one at least a row."""
        import pyarrow as pa

        ids = np.array([key_id(key) for row in keys for key in row], np.uint64)
        starts = np.cumsum([0, *(len(row) for row in keys)], dtype=np.int64)
        return cls(ids, starts, pa.chunked_array([[min(row) for row in keys]], pa.string()))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: Rows) -> "Groups":
        """Only some rows, in their order here."""
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        chosen = np.repeat(self.starts[:-1][rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return Groups(self.key_ids[chosen], starts, self.names.take(rows))

    def components(self) -> Rows:
        """int64 (rows,): each row's component, numbered by their first rows."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        num_rows = len(self)
        unique, key = np.unique(self.key_ids, return_inverse=True)
        row = np.repeat(np.arange(num_rows), np.diff(self.starts))
        num_nodes = num_rows + len(unique)  # rows and keys; an edge where a row has a key
        edges = coo_array((np.ones(len(row), np.int8), (row, num_rows + key)), shape=(num_nodes, num_nodes))
        labels = connected_components(edges, directed=False)[1][:num_rows]
        _, first, component = np.unique(labels, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[component].astype(np.int64)


def key_id(key: str) -> int:
    """64 bits of a group key, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Split:
    """Row numbers, in the source's order; `val_idx` in a fixed shuffled order.

    test_idx: of each test set. left_out_idx: of pairs that share content with what is held out.
    """

    train_idx: Rows
    val_idx: Rows
    test_idx: tuple[Rows, ...]
    left_out_idx: Rows


def split_pairs(groups: Groups, num_val: int, seed: int, test: NDArray[np.int8] | None = None) -> Split:
    """Draw whole components into validation until it has `num_val` pairs, or a fifth of what is no test pair.

    Args:
        groups: what ties pairs together.
        num_val: how many components validate, at the most.
        seed: decides which.
        test: each row's test set, from 0; NO_TEST: it trains or validates. What shares a component with a test pair
            does neither. None: there are no test sets.
    """
    num_rows = len(groups)
    test = np.full(num_rows, NO_TEST, np.int8) if test is None else test
    component = groups.components()
    sizes = np.bincount(component)
    order = np.argsort(component, kind="stable")  # rows, component by component, each in the source's order
    starts = np.cumsum(sizes) - sizes
    is_tested = np.zeros(len(sizes), bool)
    is_tested[component[test != NO_TEST]] = True

    budget_rows = int(np.count_nonzero(test == NO_TEST) * MAX_VAL_SHARE)
    val: list[int] = []
    num_taken = 0
    is_held_out = is_tested.copy()
    for number in _drawn(groups, component, sizes, seed):
        if len(val) == num_val:
            break
        if is_tested[number] or num_taken + sizes[number] > budget_rows:
            continue
        val.append(int(order[starts[number]]))
        num_taken += int(sizes[number])
        is_held_out[number] = True
    num_tests = int(test.max(initial=NO_TEST)) + 1
    test_idx = tuple(_firsts(np.flatnonzero(test == number), component) for number in range(num_tests))
    is_left_out = is_held_out[component]
    for chosen in (np.array(val, np.int64), *test_idx):
        is_left_out[chosen] = False
    return Split(
        np.flatnonzero(~is_held_out[component]), np.array(val, np.int64), test_idx, np.flatnonzero(is_left_out)
    )


def _firsts(rows: Rows, component: Rows) -> Rows:
    """Of rows in order, the first of each component."""
    return np.sort(rows[np.unique(component[rows], return_index=True)[1]])


def _drawn(groups: Groups, component: Rows, sizes: Rows, seed: int) -> Rows:
    """The components in the order of the draw: by their least keys alone, which stay when pairs are added elsewhere."""
    digests = bytearray(DIGEST_BYTES * len(sizes))
    least: dict[int, str] = {}  # of components of several rows; the rest is ranked at once, which saves memory

    def rank(number: int, name: str) -> None:
        start = DIGEST_BYTES * number
        digests[start : start + DIGEST_BYTES] = hashlib.sha256(f"{seed}/{name}".encode()).digest()

    is_single = (sizes == 1).tolist()
    for number, name in zip(component.tolist(), _names(groups), strict=True):
        if is_single[number]:
            rank(number, name)
        elif number not in least or name < least[number]:
            least[number] = name
    for number, name in least.items():
        rank(number, name)
    return np.lexsort(np.frombuffer(digests, ">u8").reshape(-1, DIGEST_BYTES // 8).T[::-1])


def _names(groups: Groups) -> Iterator[str]:
    pieces = range(0, len(groups), NAMES_AT_ONCE)
    return chain.from_iterable(groups.names.slice(start, NAMES_AT_ONCE).to_pylist() for start in pieces)
