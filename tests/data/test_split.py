"""The split: whole components on one side, one of each validates, every row is accounted for."""

import hashlib
import random
from collections.abc import Sequence

import numpy as np
import pytest

from clipexp.data.split import NO_TEST, Groups, Split, split_pairs

Keys = Sequence[tuple[str, ...]]


def singles(num: int) -> list[tuple[str, ...]]:
    return [(f"key {i}",) for i in range(num)]


def split(keys: Keys, num_val: int, seed: int = 0, test: Sequence[int] | None = None) -> Split:
    return split_pairs(Groups.of(keys), num_val, seed, None if test is None else np.array(test, np.int8))


def one_by_one(keys: Keys, num_val: int, seed: int) -> tuple[list[int], list[int], list[int]]:
    """The same rule without arrays: train, val and left out."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while (above := parent.setdefault(key, key)) != key:
            key = above
        return key

    for row in keys:
        for key in row:
            parent[root(key)] = root(row[0])
    rows_by_root: dict[str, list[int]] = {}
    for number, row in enumerate(keys):
        rows_by_root.setdefault(root(row[0]), []).append(number)

    def rank(rows: list[int]) -> bytes:
        return hashlib.sha256(f"{seed}/{min(key for row in rows for key in keys[row])}".encode()).digest()

    val: list[int] = []
    left_out: list[int] = []
    for rows in sorted(rows_by_root.values(), key=rank):
        if len(val) < num_val and len(val) + len(left_out) + len(rows) <= int(len(keys) * 0.2):
            val.append(rows[0])
            left_out += rows[1:]
    return [row for row in range(len(keys)) if row not in {*val, *left_out}], val, sorted(left_out)


@pytest.mark.parametrize("seed", range(40))
def test_arrays_split_as_one_by_one_does(seed: int) -> None:
    draw = random.Random(seed)
    num_rows, num_keys = draw.randint(1, 200), draw.randint(1, 300)
    keys = [tuple(f"k{draw.randint(0, num_keys)}" for _ in range(draw.randint(1, 3))) for _ in range(num_rows)]
    num_val = draw.randint(1, 30)
    found = split(keys, num_val, seed)
    in_turn = (found.train_idx.tolist(), found.val_idx.tolist(), found.left_out_idx.tolist())
    assert in_turn == one_by_one(keys, num_val, seed)


def test_every_row_trains_validates_or_is_left_out_and_only_once() -> None:
    found = split([(f"key {i % 30}",) for i in range(100)], num_val=5)
    assert sorted([*found.train_idx, *found.val_idx, *found.left_out_idx]) == list(range(100))


def test_no_key_stands_on_both_sides() -> None:
    keys = [(f"a{i % 40}", f"b{i % 24}") for i in range(200)] + [(f"c{i % 90}",) for i in range(200)]
    found = split(keys, num_val=50)
    held_out = {key for row in [*found.val_idx, *found.left_out_idx] for key in keys[row]}
    assert len(found.val_idx)
    assert not held_out & {key for row in found.train_idx for key in keys[row]}


def test_of_a_component_only_the_first_row_validates() -> None:
    # rows 0, 1 and 2 hang together through b and c; at this size only they and the single row 3 can be drawn
    found = split([("a", "b"), ("b", "c"), ("c",), ("d",), *[("rest",)] * 16], num_val=20)
    assert set(found.val_idx) == {0, 3}
    assert found.left_out_idx.tolist() == [1, 2]


def test_validation_gets_as_many_as_it_asks_for() -> None:
    found = split(singles(100), num_val=7)
    assert (len(found.train_idx), len(found.val_idx), len(found.left_out_idx)) == (93, 7, 0)


def test_validation_takes_no_more_than_a_fifth() -> None:
    found = split(singles(100), num_val=1000)
    assert (len(found.train_idx), len(found.val_idx)) == (80, 20)


def test_a_component_above_a_fifth_trains() -> None:
    found = split([("big",)] * 9 + [("small",)], num_val=5)
    assert found.val_idx.tolist() == [9]
    assert found.train_idx.tolist() == list(range(9))


def test_training_rows_keep_the_order_of_the_source() -> None:
    train = split(singles(100), num_val=20).train_idx
    assert list(train) == sorted(train)


def test_another_seed_draws_other_pairs() -> None:
    first, second = (split(singles(100), num_val=20, seed=seed).val_idx.tolist() for seed in (0, 1))
    assert set(first) != set(second)
    assert first == split(singles(100), num_val=20).val_idx.tolist()


def test_a_pair_that_is_added_takes_at_most_one_place_in_validation() -> None:
    before, after = (split(singles(num), num_val=10).val_idx for num in (100, 101))
    assert len(set(before) & set(after)) >= 9


def test_a_set_too_small_to_spare_a_pair_has_no_validation() -> None:
    assert split(singles(4), num_val=1).val_idx.tolist() == []


def test_no_rows_are_no_sides() -> None:
    found = split([], num_val=1)
    assert [len(rows) for rows in (found.train_idx, found.val_idx, found.left_out_idx)] == [0, 0, 0]


def test_test_pairs_stand_in_their_own_set_and_the_split_draws_from_the_rest() -> None:
    found = split(singles(100), num_val=1000, test=[NO_TEST] * 80 + [0] * 15 + [1] * 5)
    assert [rows.tolist() for rows in found.test_idx] == [list(range(80, 95)), list(range(95, 100))]
    assert (len(found.train_idx), len(found.val_idx)) == (64, 16)  # a fifth of the 80


def test_what_shares_content_with_a_test_pair_neither_trains_nor_validates() -> None:
    keys = [("a",), ("b",), ("a", "c"), *singles(20), ("c",)]
    found = split(keys, num_val=4, test=[NO_TEST] * (len(keys) - 1) + [0])
    assert [rows.tolist() for rows in found.test_idx] == [[len(keys) - 1]]
    assert found.left_out_idx.tolist() == [0, 2]


def test_of_test_pairs_that_share_content_the_first_stays() -> None:
    found = split([("a",), ("a",), *singles(10)], num_val=1, test=[0, 0] + [NO_TEST] * 10)
    assert [rows.tolist() for rows in found.test_idx] == [[0]]
    assert found.left_out_idx.tolist() == [1]
