"""Verdicts and intervals on numbers that can be checked by hand."""

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from clipexp.comparison import Group, Replicate, compare, direction_of, prior_of
from clipexp.comparison.noise import MOST_WEIGHT, PAIRED_TAIL, PRIOR_TAIL

A, B = [2.30, 2.41, 2.35, 2.28, 2.44], [2.25, 2.36, 2.28, 2.31, 2.44]


def group(name: str, values: list[float], first_seed: int = 1, metric: str = "val/loss") -> Group:
    return Group.of_values(name, metric, dict(enumerate(values, first_seed)))


def with_strips(name: str, strips_by_seed: list[list[float]], num_pairs: int = 1024) -> Group:
    found = [
        Replicate(f"{name}{seed}", seed, statistics.fmean(s), tuple(s)) for seed, s in enumerate(strips_by_seed, 1)
    ]
    return Group(name, "val/loss", tuple(found), num_pairs=num_pairs)


def test_other_seeds_are_compared_by_the_two_sample_t_test() -> None:
    found, expected = compare(group("a", A), group("b", B, 11)), stats.ttest_ind(A, B)
    assert not found.is_paired
    assert found.chance == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()))


def test_groups_of_unequal_size_are_compared_by_the_two_sample_t_test() -> None:
    found = compare(group("a", A), group("b", B[:3], 11))
    assert found.chance == pytest.approx(stats.ttest_ind(A, B[:3]).pvalue)
    assert "5 and 3 seeds" in found.sentence()


def test_the_same_seeds_are_compared_one_by_one() -> None:
    moved = [value - 0.05 for value in A]  # far less than the spread over seeds, but the same for each
    assert compare(group("a", moved), group("b", A)).verdict == "better"
    assert compare(group("a", moved), group("b", A, 11)).verdict == "not distinguishable"


def test_without_correlation_the_same_seeds_give_nearly_the_interval_of_others() -> None:
    a, b = [1.0, -1.0, 0.0, 1.0, -1.0], [1.0, 1.0, 0.0, -1.0, -1.0]
    paired, other = compare(group("a", a), group("b", b)), compare(group("a", a), group("b", b, 11))
    assert paired.interval
    assert other.interval
    assert 0.9 < paired.interval[1] / other.interval[1] < 1.1


@pytest.mark.parametrize(("values", "verdict"), [([1.0, 1.1, 1.2], "better"), ([5.0, 5.1, 5.2], "worse")])
def test_a_lower_loss_is_better_and_a_higher_recall_is(values: list[float], verdict: str) -> None:
    flipped = {"better": "worse", "worse": "better"}[verdict]
    middle = [3.0, 3.1, 3.2]
    assert compare(group("a", values), group("b", middle)).verdict == verdict
    recall = "val/text_to_image_recall_at_1"
    assert compare(group("a", values, metric=recall), group("b", middle, metric=recall)).verdict == flipped
    assert compare(group("a", values), group("b", middle), "higher").verdict == flipped


def test_exchanging_the_groups_exchanges_the_signs_alone() -> None:
    one, other = compare(group("a", A), group("b", B)), compare(group("b", B), group("a", A))
    assert one.interval
    assert other.interval
    assert (one.mean, one.interval[0], one.chance) == pytest.approx((-other.mean, -other.interval[1], other.chance))


@pytest.mark.parametrize("first_seed", [1, 11])
def test_a_winner_is_told_exactly_where_the_interval_leaves_0_out(first_seed: int) -> None:
    for shift in np.linspace(0, 0.3, 31):
        found = compare(group("a", A), group("b", [value + shift for value in B], first_seed), prior=None)
        assert found.interval is not None
        assert (found.verdict != "not distinguishable") == (not found.interval[0] <= 0 <= found.interval[1])


def test_the_sentence_says_how_many_more_seeds_would_tell() -> None:
    found = compare(group("run2", A), group("run1", B))
    assert found.sentence() == (
        "run2 is not distinguishable from run1 in val/loss (+0.028, 95% interval -0.054 to +0.110, the same 5 seeds). "
        f"{found.more_seeds} more seeds each would tell a difference of {found.tells:.3f}."
    )


def test_the_seeds_that_are_said_do_tell_the_difference_that_is_said() -> None:
    a, b = [0.0, 1.0, 2.0, 3.0], [1.5, 2.5, 3.5, 4.5]
    found = compare(group("a", a), group("b", b, 11))
    assert found.verdict == "not distinguishable"
    assert found.more_seeds
    assert found.tells
    assert found.seed_sd
    assert found.tells <= 1.5
    num, rng = 4 + found.more_seeds, np.random.default_rng(5)
    draws = rng.normal(size=(2, 4000, num)) * found.seed_sd
    chances = stats.ttest_ind(draws[0] + found.tells, draws[1], axis=1).pvalue
    assert 0.77 < (chances < 0.05).mean() < 0.83


def test_a_difference_of_nothing_asks_for_20_more_seeds_at_most() -> None:
    found = compare(group("a", [1.0, 2.0, 3.0]), group("b", [3.0, 2.0, 1.0]))
    assert (found.mean, found.more_seeds) == (0.0, 20)


def test_single_seeds_get_no_verdict() -> None:
    found = compare(group("a", [1.0]), group("b", [9.0]))
    assert (found.verdict, found.interval, found.more_seeds) == ("not distinguishable", None, None)
    assert found.sentence().endswith("How far seeds spread is not known; run two each at least.")


def test_single_seeds_learn_from_other_groups_how_many_more_it_takes() -> None:
    prior = prior_of([group("other", [1.0, 2.0, 3.0, 4.0, 5.0])])
    found = compare(group("a", [1.0]), group("b", [2.0]), prior=prior)
    assert (found.verdict, found.interval, found.more_seeds) == ("not distinguishable", None, 20)


def test_single_seeds_have_an_interval_over_validation_pairs_on_these_very_runs() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(4.0, 0.2, 32)
    a, b = with_strips("a", [list(base - 0.1)]), with_strips("b", [list(base)])
    found = compare(a, b)
    assert found.evaluation_interval == pytest.approx((-0.1, -0.1))
    assert found.verdict == "not distinguishable"
    assert found.caveats()[0].startswith("For these very runs, over other validation pairs the 95% interval is -0.100")


def test_a_difference_that_rests_on_few_pairs_is_told() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1.0, 32)
    noise += 0.2 - noise.mean()  # sd of about 1 over 32 strips: an error of 0.18
    a = with_strips("a", [list(4.0 + noise), list(4.01 + noise), list(3.99 + noise)])
    b = with_strips("b", [[4.0] * 32, [4.011] * 32, [3.989] * 32])
    found = compare(a, b)
    assert (found.verdict, found.evaluation_is_too_small) == ("worse", True)
    error = float(noise.std(ddof=1)) / math.sqrt(32)
    assert found.pairs_needed == pytest.approx(1024 * (2.8016 * error / 0.2) ** 2, rel=1e-3)
    assert "The validation is too small for this difference" in found.caveats()[0]


def test_seeds_that_only_one_group_has_are_told_not_to_count() -> None:
    found = compare(group("a", A), group("b", B[:3]))
    assert (found.is_paired, found.num_a, found.num_b) == (True, 3, 3)
    assert found.mean == pytest.approx(statistics.fmean(A[:3]) - statistics.fmean(B[:3]))
    assert "only the 3 seeds that both have count, of a's 5" in found.caveats()[0]


def test_too_few_shared_seeds_are_not_worth_the_others() -> None:
    found = compare(group("a", A), group("b", B, 5))
    assert (found.is_paired, found.num_pairs, found.num_a, found.num_b) == (False, 1, 5, 5)


def test_more_seeds_are_counted_from_those_that_count_however_few_are_shared() -> None:
    apart, touching = (compare(group("a", A), group("b", B, first_seed)) for first_seed in (11, 5))
    assert (apart.more_seeds, apart.tells) == (touching.more_seeds, touching.tells)


def test_values_without_any_spread_differ_if_they_differ() -> None:
    same, other = group("a", [1.0, 1.0, 1.0]), group("b", [2.0, 2.0, 2.0])
    assert (compare(same, other).verdict, compare(same, other).interval) == ("better", (-1.0, -1.0))
    assert compare(same, group("c", [1.0, 1.0, 1.0])).verdict == "not distinguishable"
    assert compare(same, group("c", [2.0, 2.0, 2.0], 11)).verdict == "better"


def test_a_prior_of_four_equal_groups_has_their_variance_and_its_highest_weight() -> None:
    many = [float(value) for value in np.random.default_rng(0).normal(5, 1, 400)]
    prior = prior_of([group(str(idx), many) for idx in range(40)])
    assert prior is not None
    assert prior.weight == pytest.approx(MOST_WEIGHT, rel=0.05)
    # Under an uncertain spread the harmonic middle counts: exp(digamma(x)) / x of the geometric, at x = weight / 2.
    assert prior.scatter == pytest.approx(0.688 * statistics.variance(many), rel=0.02)


def test_a_prior_counts_the_less_the_fewer_groups_it_rests_on() -> None:
    weights = [prior.weight for num in (1, 2, 4) if (prior := prior_of([group("x", A)] * num))]
    assert weights == sorted(weights)
    assert 1 < weights[0] < weights[2] < MOST_WEIGHT


def test_a_prior_counts_the_less_the_more_groups_differ() -> None:
    near = prior_of([group("x", A), group("y", A)])
    far = prior_of([group("x", A), group("y", [100 * value for value in A])])
    assert near
    assert far
    assert far.weight < near.weight / 2


def test_groups_of_one_seed_are_no_prior() -> None:
    assert prior_of([group("x", [1.0]), group("y", [2.0, 2.0])]) is None


def test_a_recalls_prior_is_in_proportion_to_the_recall() -> None:
    prior = prior_of([group("x", [0.1, 0.2, 0.3], metric="val/text_to_image_recall_at_1")])
    assert prior
    assert prior.variance([0.8]) == pytest.approx(16 * prior.variance([0.2]))


def test_a_prior_near_the_groups_own_spread_narrows_the_interval() -> None:
    prior = prior_of([group("x", A), group("y", B), group("z", A)])
    alone, helped = (compare(group("a", A), group("b", B, 11), prior=p) for p in (None, prior))
    assert alone.interval
    assert helped.interval
    assert helped.interval[1] - helped.interval[0] < alone.interval[1] - alone.interval[0]
    assert helped.interval_kind.endswith("with the spread of 3 other groups")


def test_corrected_tails_are_below_the_plain_ones() -> None:
    assert 0.8 < PAIRED_TAIL < PRIOR_TAIL < 1


def test_metrics_know_their_direction() -> None:
    assert [
        direction_of(name) for name in ("val/loss", "val/image_to_text_recall_at_5", "val/image_to_text_median_rank")
    ] == [
        "lower",
        "higher",
        "lower",
    ]
