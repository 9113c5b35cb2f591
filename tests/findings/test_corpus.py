"""The labelled corpus is what it is said to be: large enough, split by recipe, and with known labels."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.findings.corpus_labels import PROBLEMS
from tests.findings.corpus_runs import Outcome, Setup
from tests.findings.corpus_shapes import Shape, as_outcome, drawn
from tests.findings.corpus_tables import MemoryTable, damaged, in_order
from tests.findings.corpus_truth import Truth
from tests.findings.corpus_visible import visible
from tests.findings.make_corpus import RECIPES
from tests.findings.recipes_synthetic import SYNTHETIC

CORPUS = Path(__file__).parent / "corpus"
RULES = frozenset(
    {
        "vanished_gradients",
        "exploding_gradients",
        "room_for_higher_lr",
        "lr_too_high",
        "lr_too_low",
        "warmup_too_short",
        "warmup_too_long",
        "loss_periodicity",
        "still_converging",
        "saturated_early",
        "overfitting",
        "noisy_end",
        "loss_spikes",
        "non_finite",
        "logit_scale_clamped",
        "logit_scale_falling",
        "embedding_collapse",
        "stuck_at_chance",
        "data_starvation",
        "throughput_falling",
        "memory_near_limit",
        "small_evaluation",
    }
)
LABELS = json.loads((CORPUS / "labels.json").read_text())["curves"]


def expecting(rule: str, part: str) -> int:
    return sum(rule in label["expected"] and label["part"] == part for label in LABELS)


def test_there_are_300_curves_most_of_them_real_and_80_healthy():
    assert len(LABELS) >= 300
    assert sum(label["source"] == "real" for label in LABELS) > len(LABELS) / 2
    healthy = [label for label in LABELS if label["is_healthy"]]
    assert len(healthy) >= 80
    assert sum(label["source"] == "real" for label in healthy) > len(healthy) / 2


def test_no_recipe_has_curves_in_both_parts():
    parts_by_recipe = Counter(recipe for recipe, _ in {(label["recipe"], label["part"]) for label in LABELS})
    assert max(parts_by_recipe.values()) == 1


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_is_expected_of_6_curves_to_tune_on_and_10_to_score_on(rule):
    assert expecting(rule, "tune") >= 6
    assert expecting(rule, "held-out") >= 10


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_is_expected_under_two_recipes_of_each_part(rule):
    for part in ("tune", "held-out"):
        assert len({label["recipe"] for label in LABELS if rule in label["expected"] and label["part"] == part}) >= 2


def test_labels_name_known_rules_and_say_nothing_twice():
    for label in LABELS:
        assert set(label["expected"]) | set(label["allowed"]) <= RULES, label["curve"]
        assert not set(label["expected"]) & set(label["allowed"]), label["curve"]
        assert label["why"] or label["is_healthy"], label["curve"]


def test_no_problem_is_true_of_a_healthy_curve():
    for label in LABELS:
        if label["is_healthy"]:
            assert not (set(label["expected"]) | set(label["allowed"])) & PROBLEMS, label["curve"]


def test_the_curves_and_the_labels_are_of_the_same_runs_and_each_has_a_training_loss():
    table = pq.read_table(CORPUS / "curves.parquet", columns=["curve", "metric"])
    found = set(zip(table["curve"].to_pylist(), table["metric"].to_pylist(), strict=True))
    names = [label["curve"] for label in LABELS]
    assert len(set(names)) == len(names)
    assert {curve for curve, _ in found} == set(names)
    assert all((name, "train/loss") in found for name in names)


def test_the_corpus_is_below_4_mb():
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) < 4_000_000


def test_every_recipe_says_in_a_line_what_it_is():
    recipes = [*RECIPES, *SYNTHETIC]
    assert len({recipe.name for recipe in recipes}) == len(recipes)
    assert all(recipe.text and "\n" not in recipe.text for recipe in recipes)


def outcome(val: list[float], faults: tuple[str, ...] = ()) -> Outcome:
    """A run with the given validation losses, and a training loss that falls from 3 to 1."""
    train = np.linspace(3, 1, 40).tolist()
    steps = list(range(40))
    return Outcome(
        {
            "val/loss": (list(range(len(val))), val),
            "val/chance_loss": ([0], [math.log(1024)]),
            "val/image_similarity": ([0, 1, 2], [0.5, 0.1, 0.1]),
            "val/text_similarity": ([0, 1, 2], [0.5, 0.1, 0.1]),
            "train/loss": (steps, train),
            "train/grad_norm": (steps, [1.0] * 40),
            "train/logit_scale": (steps, [15.0] * 40),
            "system/samples_per_s": (steps, [1000.0] * 40),
            "system/data_wait_frac": (steps, [0.01] * 40),
        },
        {},
        list(faults),
        1000,
        1280,
    )


GOOD, POOR = [6.9, 4, 3, 2.5, 2.2, 2.0], [6.9, 6.5, 6.2, 6.0, 5.9, 5.8]


def test_a_rate_is_too_high_where_a_third_of_it_ends_half_a_nat_lower():
    slow, fast = Setup(max_lr=1e-3), Setup(max_lr=3e-3)
    truth = Truth({slow: outcome(GOOD), fast: outcome(POOR)})
    verdicts, why = truth.of(fast)
    assert verdicts["lr_too_high"] == "expected"
    assert "x0.33 lr: +3.80" in why
    assert truth.of(slow)[0]["room_for_higher_lr"] == "no"


def test_a_rate_is_too_low_where_ten_times_as_much_comes_more_than_twice_as_far():
    slow, fast = Setup(max_lr=1e-4), Setup(max_lr=1e-3)
    verdicts, _ = Truth({slow: outcome(POOR), fast: outcome(GOOD)}).of(slow)
    assert verdicts["lr_too_low"] == "expected"
    assert verdicts["room_for_higher_lr"] == "allowed"


def test_what_was_not_tried_counts_neither_way():
    verdicts, why = Truth({Setup(): outcome(POOR)}).of(Setup())
    assert {verdicts[rule] for rule in ("lr_too_high", "room_for_higher_lr", "still_converging")} == {"allowed"}
    assert why == ""


def test_a_run_that_broke_off_loses_to_any_that_did_not():
    slow, fast = Setup(max_lr=1e-3), Setup(max_lr=1e-2)
    verdicts, _ = Truth({slow: outcome(POOR), fast: outcome(GOOD, ("not finite",))}).of(fast)
    assert verdicts["lr_too_high"] == verdicts["non_finite"] == "expected"


def test_a_validation_loss_that_rises_while_training_goes_on_is_overfitting():
    assert visible(Setup(num_val=1024), outcome([6.9, 4, 3, 2.5, 3, 3.5]))["overfitting"] == "expected"
    assert visible(Setup(num_val=1024), outcome(GOOD))["overfitting"] == "no"


def test_a_plain_drawn_run_shows_no_problem():
    shape = Shape()
    points = drawn(shape, np.random.default_rng(0))
    verdicts = visible(Setup(num_val=1024, batch_size=shape.batch_size), as_outcome(shape, points))
    assert not {rule for rule in PROBLEMS if verdicts.get(rule, "no") != "no"}


def small_table() -> MemoryTable:
    pixels = np.zeros((6, 2, 2, 3), np.uint8)
    pixels[:, :, :, 0] = np.array([3, 1, 2, 3, 1, 2]).reshape(6, 1, 1)
    tokens = np.array([[1, number, number + 10, 99, 0] for number in range(2, 8)], np.uint16)
    return MemoryTable(pixels, tokens)


def test_shards_are_sorted_each_for_itself():
    assert in_order(small_table(), "shards_by_colour:3").all_pixels[:, 0, 0, 0].tolist() == [1, 2, 3, 1, 2, 3]
    assert in_order(small_table(), "by_colour").all_pixels[:, 0, 0, 0].tolist() == [1, 1, 2, 2, 3, 3]


def test_captions_are_cut_between_their_marks():
    assert damaged(small_table(), "coarse:2", 0).all_tokens[0].tolist() == [1, 2, 99, 0, 0]
    assert damaged(small_table(), "tail:1", 0).all_tokens[0].tolist() == [1, 12, 99, 0, 0]


def test_data_goes_bad_from_the_row_given():
    bad = damaged(small_table(), "bad_from:2", 1).all_tokens
    assert bad[:2].tolist() == small_table().all_tokens[:2].tolist()
    assert sorted(bad[2:].tolist()) == sorted(small_table().all_tokens[2:].tolist())
    assert bad[2:].tolist() != small_table().all_tokens[2:].tolist()
