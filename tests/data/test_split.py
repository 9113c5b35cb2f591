"""The split: whole components on one side, one of each validates, every row is accounted for."""

from clipexp.data.split import split_pairs


def singles(num: int) -> list[tuple[str, ...]]:
    return [(f"key {i}",) for i in range(num)]


def test_every_row_trains_validates_or_is_left_out_and_only_once() -> None:
    split = split_pairs([(f"key {i % 30}",) for i in range(100)], num_val=5, seed=0)
    assert sorted(split.train_idx + split.val_idx + split.left_out_idx) == list(range(100))


def test_no_key_stands_on_both_sides() -> None:
    keys = [(f"a{i % 40}", f"b{i % 24}") for i in range(200)] + [(f"c{i % 90}",) for i in range(200)]
    split = split_pairs(keys, num_val=50, seed=0)
    held_out = {key for row in split.val_idx + split.left_out_idx for key in keys[row]}
    assert split.val_idx
    assert not held_out & {key for row in split.train_idx for key in keys[row]}


def test_of_a_component_only_the_first_row_validates() -> None:
    # rows 0, 1 and 2 hang together through b and c; at this size only they and the single row 3 can be drawn
    split = split_pairs([("a", "b"), ("b", "c"), ("c",), ("d",), *[("rest",)] * 16], num_val=20, seed=0)
    assert set(split.val_idx) == {0, 3}
    assert split.left_out_idx == (1, 2)


def test_validation_gets_as_many_as_it_asks_for() -> None:
    split = split_pairs(singles(100), num_val=7, seed=0)
    assert (len(split.train_idx), len(split.val_idx), len(split.left_out_idx)) == (93, 7, 0)


def test_validation_takes_no_more_than_a_fifth() -> None:
    split = split_pairs(singles(100), num_val=1000, seed=0)
    assert (len(split.train_idx), len(split.val_idx)) == (80, 20)


def test_a_component_above_a_fifth_trains() -> None:
    split = split_pairs([("big",)] * 9 + [("small",)], num_val=5, seed=0)
    assert split.val_idx == (9,)
    assert split.train_idx == tuple(range(9))


def test_training_rows_keep_the_order_of_the_source() -> None:
    train = split_pairs(singles(100), num_val=20, seed=0).train_idx
    assert list(train) == sorted(train)


def test_another_seed_draws_other_pairs() -> None:
    first, second = (split_pairs(singles(100), num_val=20, seed=seed).val_idx for seed in (0, 1))
    assert set(first) != set(second)
    assert first == split_pairs(singles(100), num_val=20, seed=0).val_idx


def test_a_pair_that_is_added_takes_at_most_one_place_in_validation() -> None:
    before = split_pairs(singles(100), num_val=10, seed=0).val_idx
    after = split_pairs(singles(101), num_val=10, seed=0).val_idx
    assert len(set(before) & set(after)) >= 9


def test_a_set_too_small_to_spare_a_pair_has_no_validation() -> None:
    assert split_pairs(singles(4), num_val=1, seed=0).val_idx == ()
