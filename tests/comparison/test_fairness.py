"""What makes a comparison unfair is named, one kind at a time, and what can't be compared gets no verdict."""

import pytest

from clipexp.comparison import Difference, Group, compare, groups_of
from tests.comparison.made import TOTAL, record, replicates

LOW, HIGH = [1.0, 1.1, 1.2], [3.0, 3.1, 3.2]


def compared(**of_b: object) -> Difference:
    a, b = groups_of([*replicates("a", LOW), *replicates("b", HIGH, **of_b)], "val/loss")
    return compare(a, b)


def test_groups_under_the_same_conditions_are_compared_without_a_word() -> None:
    assert (compared().verdict, compared().unfair, len(compared().sentences())) == ("better", (), 1)


@pytest.mark.parametrize(
    ("of_b", "what", "words"),
    [
        ({"total_samples": 4096, "samples_seen": 4096}, "samples seen", "a stands at 10,240 samples seen, b at 4,096"),
        (
            {"total_samples": 20_480, "samples_seen": 20_480},
            "schedule horizon",
            "over 10,240 samples, of b over 20,480",
        ),
        ({"git_commit": "beef"}, "code", "a ran at commit c0ffee, b at beef"),
        ({"git_dirty": "true"}, "code", "b at c0ffee with changed files"),
        ({"device": "cuda"}, "device", "a ran on cpu, b on cuda"),
        ({"shuffle": "none"}, "feeding", "a was fed shuffle full, b shuffle none"),
    ],
)
def test_a_difference_in_conditions_is_named_beside_the_verdict(of_b: dict[str, object], what: str, words: str) -> None:
    found = compared(**of_b)
    assert found.verdict == "better"
    assert words in next(reason.detail for reason in found.unfair if reason.what == what)
    assert any(f"Mind {what}: " in sentence for sentence in found.caveats())


@pytest.mark.parametrize("of_b", [{"store_checksum": "bbbb"}, {"pairs": 512.0}])
def test_other_validation_pairs_forbid_a_verdict(of_b: dict[str, object]) -> None:
    found = compared(**of_b)
    assert found.verdict == "not comparable"
    assert "evaluation set" in [reason.what for reason in found.unfair if reason.forbids_ranking]
    assert found.sentence().startswith("a can't be compared with b in val/loss: a was validated on 1,024 pairs")


def test_another_prepared_set_is_named_as_data_too() -> None:
    assert "data" in [reason.what for reason in compared(store_checksum="bbbb").unfair]


def test_a_value_from_the_midst_of_a_schedule_is_not_ranked() -> None:
    found = compared(samples_seen=4096, status="KILLED")
    assert found.verdict == "not comparable"
    assert found.unfair[0].detail.endswith("b stopped before the schedule's end")


def test_two_groups_that_stopped_at_the_same_place_are_compared() -> None:
    runs = [*replicates("a", LOW, samples_seen=4096), *replicates("b", HIGH, samples_seen=4096)]
    assert compare(*groups_of(runs, "val/loss")).verdict == "better"


def test_replicates_that_differ_among_themselves_are_named() -> None:
    mixed = [record("b", 1, 3.0), record("b", 2, 3.1, git_commit="beef"), record("b", 3, 3.2)]
    found = compare(*groups_of([*replicates("a", LOW), *mixed], "val/loss"))
    assert [reason.detail for reason in found.unfair] == ["a ran at commit c0ffee, b at beef and c0ffee"]


def test_what_is_not_known_is_not_called_unfair() -> None:
    assert compared(git_commit="", device="").unfair == ()


def test_different_metrics_are_not_compared() -> None:
    runs = replicates("a", LOW)
    [loss], [recall] = groups_of(runs, "val/loss"), groups_of(runs, "val/text_to_image_recall_at_1")
    assert compare(loss, recall).verdict == "not comparable"


def test_a_diverged_replicate_is_told() -> None:
    found = compare(
        Group.of_values("a", "val/loss", {1: 1.0, 2: 1.1, 3: 1.2}),
        Group.of_values("b", "val/loss", {1: 3.0, 2: 3.1, 3: 3.2, 4: float("nan")}),
    )
    assert found.verdict == "better"
    assert found.caveats()[0].startswith("Mind replicates: 1 of b's 4 came to no finite value (seed 4)")


def test_a_group_is_not_better_by_the_seeds_that_it_did_not_lose() -> None:
    found = compare(
        Group.of_values("a", "val/loss", {1: 1.0, 2: 1.1, 3: 1.2, 4: float("inf")}),
        Group.of_values("b", "val/loss", {1: 3.0, 2: 3.1, 3: 3.2, 4: 3.0}),
    )
    assert found.verdict == "not comparable"
    assert "lost more of them on the way" in found.sentence()


def test_a_group_without_any_value_is_not_compared() -> None:
    found = compare(Group.of_values("a", "val/loss", {1: float("nan")}), Group.of_values("b", "val/loss", {1: 1.0}))
    assert (found.verdict, found.interval) == ("not comparable", None)
    assert found.sentence() == "a can't be compared with b in val/loss: a came to no finite value."


def test_the_budget_of_the_records_is_the_one_that_is_named() -> None:
    assert f"{TOTAL:,}" in compared(total_samples=20_480, samples_seen=20_480).unfair[0].detail
