"""What a comparison came to, as frozen records that say themselves in plain words.

difference = compare(run2, run1)      # see clipexp.comparison.comparing
difference.verdict                    # "not distinguishable"
print(*difference.sentences())
"""

import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["better", "worse", "not distinguishable", "not comparable"]
Direction = Literal["lower", "higher"]
CONFIDENCE, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Unfairness:
    """Something in which two groups differ beside what is compared, or that keeps a number from counting.

    what: samples seen, schedule horizon, evaluation set, code, data, feeding, device, metric or replicates.
    forbids_ranking: whether the values are not of one kind, so that neither can be called better.
    """

    what: str
    detail: str
    forbids_ranking: bool


@dataclass(frozen=True)
class Difference:
    """Group a against group b in one metric.

    mean: a's mean less b's; NaN where one has no finite value. interval: 95%, of `mean` over further seeds; None where
    one has a single seed. interval_kind: how it was found. seed_sd: one run's standard deviation over seeds, as it was
    taken; None where nothing tells it. num_a, num_b: the seeds that count; num_pairs: that both have. is_paired:
    whether seeds were compared one by one. chance: how likely so large a difference is where there is none (p), after
    the correction for `num_comparisons`. more_seeds: how many further seeds each would tell a difference of `tells` in
    80% of cases; None where a winner is told, or nothing is known of the spread.

    evaluation_interval: 95%, of `mean` for these very runs over other validation pairs. evaluation_is_too_small:
    whether that holds 0; then pairs_needed says how many pairs would tell `mean` from 0 in 80% of cases.
    """

    a: str
    b: str
    metric: str
    mean: float
    interval: tuple[float, float] | None
    interval_kind: str
    seed_sd: float | None
    num_a: int
    num_b: int
    num_pairs: int
    is_paired: bool
    verdict: Verdict
    chance: float | None = None
    num_comparisons: int = 1
    more_seeds: int | None = None
    tells: float | None = None
    evaluation_interval: tuple[float, float] | None = None
    evaluation_is_too_small: bool = False
    pairs_needed: int | None = None
    unfair: tuple[Unfairness, ...] = ()

    def sentence(self) -> str:
        """The verdict, with the numbers that it rests on."""
        shown = self._shown
        if self.verdict == "not comparable":
            reasons = [found.detail for found in self.unfair if found.forbids_ranking]
            return f"{self.a} can't be compared with {self.b} in {self.metric}: {'; '.join(reasons)}."
        if self.interval is None:
            head = f"{self.a} and {self.b} can't be told apart by a single seed: {self.metric} differs by"
            return f"{head} {shown(self.mean)} ({self._seeds()}).{self._more()}"
        interval = f"95% interval {shown(self.interval[0])} to {shown(self.interval[1])}"
        numbers = f"({shown(self.mean)}, {interval}, {self._seeds()}{self._correction()})"
        if self.verdict == "not distinguishable":
            return f"{self.a} is not distinguishable from {self.b} in {self.metric} {numbers}.{self._more()}"
        return f"{self.a} is {self.verdict} than {self.b} in {self.metric} {numbers}."

    def caveats(self) -> tuple[str, ...]:
        """What else a reader must know, a sentence each: what is unfair, and what rests on which pairs validate."""
        unfair = [f"Mind {found.what}: {found.detail}." for found in self.unfair if not found.forbids_ranking]
        if self.evaluation_interval is None or self.verdict == "not comparable":
            return tuple(unfair)
        low, high = (self._shown(end) for end in self.evaluation_interval)
        interval = f"over other validation pairs the 95% interval is {low} to {high}"
        if self.evaluation_is_too_small and self.verdict in ("better", "worse"):
            unfair.append(f"The validation is too small for this difference: {interval}{self._pairs()}.")
        elif self.interval is None:
            unfair.append(f"For these very runs, {interval}; other seeds of the same specs may differ more.")
        return tuple(unfair)

    def sentences(self) -> tuple[str, ...]:
        """The verdict's sentence, and the caveats."""
        return (self.sentence(), *self.caveats())

    def _shown(self, value: float) -> str:
        """With a sign, and as many decimals as show the interval to two digits."""
        if not math.isfinite(value):
            return "no number"
        return f"{value:+.{self._decimals()}f}"

    def _decimals(self) -> int:
        low, high = self.interval or self.evaluation_interval or (0.0, 2 * self.mean)
        width = (high - low) / 2 or abs(self.mean)
        return max(0, 1 - math.floor(math.log10(width))) if width > 0 and math.isfinite(width) else 2

    def _seeds(self) -> str:
        if self.is_paired and self.num_pairs == self.num_a == self.num_b:
            return f"the same {self.num_pairs} seeds"
        if self.num_a == self.num_b:
            return f"{self.num_a} {'seed' if self.num_a == 1 else 'seeds'} each"
        return f"{self.num_a} and {self.num_b} seeds"

    def _correction(self) -> str:
        if self.num_comparisons == 1 or self.interval is None:
            return ""
        alone = self.verdict == "not distinguishable" and not self.interval[0] <= 0 <= self.interval[1]
        told = "; alone it would be told" if alone else ""
        return f", corrected for {self.num_comparisons} comparisons{told}"

    def _more(self) -> str:
        if self.more_seeds is None or self.tells is None:
            return (
                ""
                if self.num_a > 1 and self.num_b > 1
                else " How far seeds spread is not known; run two each at least."
            )
        seeds = "1 more seed" if self.more_seeds == 1 else f"{self.more_seeds} more seeds"
        return f" {seeds} each would tell a difference of {self._shown(self.tells).removeprefix('+')}."

    def _pairs(self) -> str:
        return "" if self.pairs_needed is None else f"; {self.pairs_needed:,} pairs would tell it"


@dataclass(frozen=True)
class Standing:
    """A group's place: 1 plus the number of groups that are told to be better. None: it isn't ranked, and `why_not`."""

    name: str
    place: int | None
    num_seeds: int
    mean: float | None
    sd: float | None
    why_not: str = ""


@dataclass(frozen=True)
class Ranking:
    """Several groups in one metric: standings, the best first, and every pair's difference.

    Verdicts are corrected over all pairs (Holm 1979): where all groups are alike, any winner at all is called in 5% of
    rankings at most. Intervals are those of each pair on its own.
    """

    metric: str
    direction: Direction
    standings: tuple[Standing, ...]
    differences: tuple[Difference, ...]

    def sentences(self) -> tuple[str, ...]:
        """Who is best, or that none is told to be; then what isn't ranked, and why."""
        ranked = [standing for standing in self.standings if standing.place is not None]
        unranked = [standing for standing in self.standings if standing.place is None]
        why = [f"{standing.name} isn't ranked: {standing.why_not}." for standing in unranked]
        return (*([self._best(ranked)] if len(ranked) > 1 else []), *why)

    def _best(self, ranked: list[Standing]) -> str:
        over = f" in {self.metric}, of {len(ranked)} groups"
        first = [standing.name for standing in ranked if standing.place == 1]
        if len(first) == len(ranked):
            return f"No group is told to be better than another{over}."
        if len(first) > 1:
            return f"{_listed(first)} are not told to be worse than any{over}."
        best = first[0]
        if all(self._beats(best, standing.name) for standing in ranked if standing.name != best):
            return f"{best} is best{over}."
        return f"{best} is the only one not told to be worse than another{over}; it is not told apart from all."

    def _beats(self, best: str, other: str) -> bool:
        wins = {(d.a, d.b) for d in self.differences if d.verdict == "better"}
        losses = {(d.b, d.a) for d in self.differences if d.verdict == "worse"}
        return (best, other) in wins | losses


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
