"""How right findings are on labelled curves: precision and recall, by rule, with intervals.

score = scores_by_part(read_corpus(folder, RULES))["held-out"]
score.precision.share, score.precision.interval

A rule that speaks where it is expected is right; where it is allowed, as the consequence of another trouble, it counts
neither way; elsewhere it is wrong.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipexp.findings.corpus import PARTS, Labelled
from clipexp.findings.finding import Severity
from clipexp.findings.rules import RULES, find

Z_95 = 1.959964


@dataclass(frozen=True)
class Rate:
    """So many hits out of so many."""

    hits: int
    out_of: int

    @property
    def share(self) -> float:
        """NaN of none."""
        return self.hits / self.out_of if self.out_of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95%, Wilson's (1927): it holds for few and for shares near 1."""
        return wilson(self.hits, self.out_of)

    def to_json(self) -> dict[str, Any]:
        """Share and interval are null of none."""
        low, high = self.interval
        share = self.share if self.out_of else None
        return {"share": share, "low": low, "high": high, "hits": self.hits, "out_of": self.out_of}


def wilson(hits: int, out_of: int) -> tuple[float, float]:
    """The 95% interval of a share; from 0 to 1 where there is nothing. `(0, 0)` -> `(0, 1)`."""
    if not out_of:
        return 0.0, 1.0
    share, weight = hits / out_of, Z_95**2 / out_of
    middle = (share + weight / 2) / (1 + weight)
    reach = Z_95 * math.sqrt(share * (1 - share) / out_of + weight / (4 * out_of)) / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)


@dataclass(frozen=True)
class RuleScore:
    """One rule. missed, false: the curves where it kept still though expected, and where it was wrong to speak."""

    rule: str
    num_expected: int
    num_spoken: int
    hits: int
    missed: tuple[str, ...]
    false: tuple[str, ...]

    @property
    def precision(self) -> Rate:
        """Of what it said, consequences left out."""
        return Rate(self.hits, self.hits + len(self.false))

    @property
    def recall(self) -> Rate:
        """Of what was to be said."""
        return Rate(self.hits, self.num_expected)


@dataclass(frozen=True)
class Score:
    """All rules. healthy_false: (curve, rule) for what was wrongly said of healthy curves; problems: those among it."""

    num_curves: int
    num_healthy: int
    by_rule: Mapping[str, RuleScore]
    healthy_false: tuple[tuple[str, str], ...]
    healthy_problems: tuple[tuple[str, str], ...]

    @property
    def precision(self) -> Rate:
        """Over all rules together."""
        return _sum([score.precision for score in self.by_rule.values()])

    @property
    def recall(self) -> Rate:
        """Over all rules together."""
        return _sum([score.recall for score in self.by_rule.values()])

    def to_json(self) -> dict[str, Any]:
        """As `clipexp findings --curves FOLDER --json` prints it."""
        return {
            "precision": self.precision.share if self.precision.out_of else None,
            "recall": self.recall.share if self.recall.out_of else None,
            "precision_interval": list(self.precision.interval),
            "recall_interval": list(self.recall.interval),
            "num_curves": self.num_curves,
            "num_healthy": self.num_healthy,
            "by_rule": {rule: _rule_json(score) for rule, score in self.by_rule.items()},
            "healthy_false_positives": [list(pair) for pair in self.healthy_false],
            "healthy_problems": [list(pair) for pair in self.healthy_problems],
        }


def _rule_json(score: RuleScore) -> dict[str, Any]:
    return {
        "expected": score.num_expected,
        "spoken": score.num_spoken,
        "precision": score.precision.to_json(),
        "recall": score.recall.to_json(),
        "missed": list(score.missed),
        "false": list(score.false),
    }


def _sum(rates: Sequence[Rate]) -> Rate:
    return Rate(sum(rate.hits for rate in rates), sum(rate.out_of for rate in rates))


def score_of(
    labelled: Sequence[Labelled], spoken: Mapping[str, Collection[str]], severities: Mapping[str, Severity]
) -> Score:
    """The score of what was said.

    Args:
        labelled: the curves.
        spoken: the rules that spoke, by curve.
        severities: of each rule; those named here are scored.
    """
    healthy = [curve for curve in labelled if curve.is_healthy]
    healthy_false = [
        (curve.name, rule)
        for curve in healthy
        for rule in sorted(spoken[curve.name])
        if rule not in curve.expected | curve.allowed
    ]
    problems = [
        (curve.name, rule) for curve in healthy for rule in sorted(spoken[curve.name]) if severities[rule] == "problem"
    ]
    by_rule = {rule: _rule_score(rule, labelled, spoken) for rule in severities}
    return Score(len(labelled), len(healthy), by_rule, tuple(healthy_false), tuple(problems))


def scores_by_part(labelled: Sequence[Labelled]) -> dict[str, Score]:
    """The score of the rules on each part that is there, and on all curves under "all"."""
    spoken = {each.name: {finding.rule for finding in find(each.curves, each.facts)} for each in labelled}
    severities = {rule.id: rule.severity for rule in RULES.values()}
    parts = {part: [each for each in labelled if each.part == part] for part in PARTS}
    groups: dict[str, Sequence[Labelled]] = {part: members for part, members in parts.items() if members}
    return {name: score_of(members, spoken, severities) for name, members in {**groups, "all": labelled}.items()}


def _rule_score(rule: str, labelled: Sequence[Labelled], spoken: Mapping[str, Collection[str]]) -> RuleScore:
    said = [curve for curve in labelled if rule in spoken[curve.name]]
    expected = [curve for curve in labelled if rule in curve.expected]
    return RuleScore(
        rule,
        num_expected=len(expected),
        num_spoken=len(said),
        hits=sum(rule in curve.expected for curve in said),
        missed=tuple(curve.name for curve in expected if rule not in spoken[curve.name]),
        false=tuple(curve.name for curve in said if rule not in curve.expected | curve.allowed),
    )
