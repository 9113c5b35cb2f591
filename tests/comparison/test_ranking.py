"""More than two groups: places, the correction for many comparisons, and what gets no place."""

import pytest

from clipexp.comparison import Group, groups_of, rank
from clipexp.comparison.ranking import corrected
from tests.comparison.made import record, replicates

LOW, MIDDLE, HIGH = [1.0, 1.1, 1.2], [2.0, 2.1, 2.2], [3.0, 3.1, 3.2]


def places(groups: list[Group]) -> dict[str, int | None]:
    return {standing.name: standing.place for standing in rank(groups).standings}


def made(**values: list[float]) -> list[Group]:
    return [Group.of_values(name, "val/loss", dict(enumerate(found, 1))) for name, found in values.items()]


def test_clear_groups_stand_in_order() -> None:
    found = rank(made(c=HIGH, a=LOW, b=MIDDLE))
    assert [(standing.name, standing.place) for standing in found.standings] == [("a", 1), ("b", 2), ("c", 3)]
    assert found.sentences() == ("a is best in val/loss, of 3 groups.",)


def test_groups_that_are_alike_share_a_place() -> None:
    groups = made(a=LOW, b=[1.2, 1.0, 1.1], c=HIGH)
    assert places(groups) == {"a": 1, "b": 1, "c": 3}
    assert rank(groups).sentences() == ("a and b are not told to be worse than any in val/loss, of 3 groups.",)


def test_without_a_winner_that_is_said() -> None:
    assert rank(made(a=LOW, b=[1.2, 1.0, 1.1])).sentences() == (
        "No group is told to be better than another in val/loss, of 2 groups.",
    )


def test_holms_correction_counts_the_smallest_most() -> None:
    assert corrected([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert corrected([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert corrected([]) == []


def test_a_difference_that_only_alone_would_be_told_says_so() -> None:
    near = made(a=[1.0, 2.0, 3.0, 4.0], b=[2.5, 4.5, 4.5, 5.6])
    [alone] = rank(near).differences
    crowd = made(**{f"c{idx}": [1.0 + idx / 50, 3.0, 4.4, 2.0 + idx / 50] for idx in range(6)})
    among = rank([*near, *crowd]).differences[0]
    assert (alone.verdict, alone.num_comparisons, among.num_comparisons) == ("better", 1, 28)
    assert among.verdict == "not distinguishable"
    assert "corrected for 28 comparisons; alone it would be told" in among.sentence()


def test_what_cannot_be_compared_with_most_gets_no_place_but_a_reason() -> None:
    runs = [*replicates("a", LOW, store_checksum="bbbb"), *replicates("b", MIDDLE), *replicates("c", HIGH)]
    found = rank(groups_of(runs, "val/loss"))
    assert [(standing.name, standing.place) for standing in found.standings] == [("b", 1), ("c", 2), ("a", None)]
    assert found.sentences()[1].startswith(
        "a isn't ranked: a was validated on 1,024 pairs in blocks of 1,024 of set bbbb"
    )
    assert all(d.verdict == "not comparable" for d in found.differences if "a" in (d.a, d.b))
    assert found.differences[2].num_comparisons == 1


def test_single_seeds_get_no_place() -> None:
    found = rank(groups_of([record("a", 1, 1.0), record("b", 1, 2.0)], "val/loss"))
    assert [standing.place for standing in found.standings] == [None, None]
    assert "with a single seed no spread is known" in found.sentences()[0]


def test_groups_beside_a_pair_tell_of_the_spread() -> None:
    found = rank(made(a=LOW, b=MIDDLE, c=HIGH))
    assert all(
        difference.interval_kind.endswith("with the spread of 1 other group") for difference in found.differences
    )


def test_one_group_is_no_ranking() -> None:
    with pytest.raises(ValueError, match="two groups at least"):
        rank(made(a=LOW))
