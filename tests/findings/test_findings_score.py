"""The score: counts by hand, Wilson's interval, and what the rules reach on the corpus."""

from pathlib import Path

import pytest

from clipexp.findings.corpus import Labelled, read_corpus
from clipexp.findings.finding import RunFacts, Severity
from clipexp.findings.rules import RULES
from clipexp.findings.score import Score, score_of, scores_by_part, wilson

CORPUS = Path(__file__).parent / "corpus"
SEVERITIES: dict[str, Severity] = {"a": "problem", "b": "note"}


def labelled(name: str, expected: str = "", allowed: str = "", *, healthy: bool = False) -> Labelled:
    return Labelled(name, {}, RunFacts(), frozenset(expected), frozenset(allowed), healthy)


def test_right_allowed_and_wrong_are_told_apart() -> None:
    curves = [labelled("1", "a"), labelled("2", "a"), labelled("3", "", "a"), labelled("4", healthy=True)]
    score = score_of(curves, {"1": {"a"}, "2": set(), "3": {"a"}, "4": {"a", "b"}}, SEVERITIES)
    own = score.by_rule["a"]
    assert (own.num_expected, own.num_spoken, own.hits) == (2, 3, 1)
    assert (own.missed, own.false) == (("2",), ("4",))
    assert own.precision.share == 1 / 2
    assert own.recall.share == 1 / 2
    assert score.precision.share == 1 / 3
    assert score.recall.share == 1 / 2
    assert score.healthy_false == (("4", "a"), ("4", "b"))
    assert score.healthy_problems == (("4", "a"),)


def test_nothing_said_of_nothing_is_no_number_in_json() -> None:
    score = score_of([labelled("1")], {"1": set()}, SEVERITIES)
    told = score.to_json()
    assert told["precision"] is None
    assert told["by_rule"]["a"]["recall"] == {"share": None, "low": 0.0, "high": 1.0, "hits": 0, "out_of": 0}


@pytest.mark.parametrize(
    ("hits", "out_of", "low", "high"),
    [(0, 0, 0.0, 1.0), (10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (81, 100, 0.7222, 0.8749)],
)
def test_wilsons_interval(hits: int, out_of: int, low: float, high: float) -> None:
    assert wilson(hits, out_of) == pytest.approx((low, high), abs=1e-4)


@pytest.fixture(scope="module")
def by_part() -> dict[str, Score]:
    return scores_by_part(read_corpus(CORPUS, RULES))


def test_findings_on_the_held_out_half_are_right_in_95_and_complete_in_90_percent(by_part: dict[str, Score]) -> None:
    score = by_part["held-out"]
    assert score.precision.share >= 0.95
    assert score.recall.share >= 0.90


@pytest.mark.parametrize("part", ["tune", "held-out"])
def test_no_problem_is_found_on_a_healthy_curve(by_part: dict[str, Score], part: str) -> None:
    assert by_part[part].num_healthy >= 30
    assert by_part[part].healthy_problems == ()


def test_every_rule_is_right_at_times_on_the_held_out_half(by_part: dict[str, Score]) -> None:
    for rule, own in by_part["held-out"].by_rule.items():
        assert own.num_expected >= 10, rule
        assert own.recall.share >= 0.7, rule
        assert own.precision.share >= 0.6, rule
