"""What is true of a run of the corpus: by intervention where it can be tried, else measured with a clear margin.

    truth = Truth(outcome_by_setup)
    expected, allowed, why = truth.of(setup)

Whether another rate, warmup or budget is better was tried: siblings of the run, which differ in that alone, were
trained. A gain in the final validation loss above a margin is expected to be told; one that is smaller than seeds make
is not there; between the two, and where no sibling was trained, the rule counts neither way. What a curve itself shows
(a collapse, an overfit) is held to two margins likewise. The margins are not those of the rules: they are set by what
would change a researcher's mind.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tests.findings.corpus_runs import Outcome, Setup
from tests.findings.corpus_visible import Verdict, chance, is_stuck, visible

# Nats of the final validation loss. What a rate three times as high brings differs between two seeds of a base by 0.10
# in the median over the 15 bases, so 0.25 is a clear gain for most; where seeds differ by more, so must a gain (see
# `uncertain`). Below 0.08 nobody would say that there is a gain.
CLEAR_GAIN, NO_GAIN = 0.25, 0.08
WARMUP_GAIN = 0.4  # the same for a longer warmup, whose want leaves a mark on the curve only where it costs more
GRAVE_GAIN = 0.5  # of a lower rate: "lr_too_high" says that the run is spoilt, not that it could be somewhat better
RELATIVE = (
    "lr_too_high",
    "lr_too_low",
    "room_for_higher_lr",
    "warmup_too_short",
    "warmup_too_long",
    "still_converging",
)
LONG_WARMUP = 0.3  # below, no warmup is called long
SHORT_WARMUP = 0.1  # from there on none is called short


def band(gain: float, clear: float = CLEAR_GAIN) -> Verdict:
    """The verdict on a gain in nats."""
    return "expected" if gain >= clear else "allowed" if gain >= NO_GAIN else "no"


class Truth:
    """Verdicts over a pool of runs."""

    def __init__(self, outcomes: Mapping[Setup, Outcome]) -> None:
        self.outcomes = outcomes
        self._families: dict[tuple[str, Setup], list[Setup]] = defaultdict(list)
        for setup in outcomes:
            for way in ("lr", "warmup", "budget"):
                self._families[way, _without(setup, way)].append(setup)

    def of(self, setup: Setup) -> tuple[dict[str, Verdict], str]:
        """The verdict on each rule that the run itself and its siblings tell of, and in words what the siblings did."""
        outcome = self.outcomes[setup]
        verdicts = visible(setup, outcome)
        told, notes = self._relative(setup, outcome)
        return {**verdicts, **told}, "; ".join(notes)

    def uncertain(self, setup: Setup, seed_spread: float) -> frozenset[str]:
        """What can't be told of the rate where gains differ by so much between seeds: what rests on less than that."""
        if seed_spread < CLEAR_GAIN:
            return frozenset()
        final = self.outcomes[setup].final_loss
        rates = {other.max_lr / setup.max_lr: loss for other, loss in self._siblings(setup, "lr")}
        lower = {ratio: loss for ratio, loss in rates.items() if 0.08 < ratio < 0.4}
        higher = {ratio: loss for ratio, loss in rates.items() if 2.5 < ratio < 13}
        sides = {"lr_too_high": lower, "room_for_higher_lr": higher}
        return frozenset(rule for rule, found in sides.items() if found and abs(_gain(final, found)) < seed_spread)

    def _siblings(self, setup: Setup, way: str) -> Iterator[tuple[Setup, float]]:
        for other in self._families[way, _without(setup, way)]:
            if other != setup:
                yield other, self.outcomes[other].final_loss

    def _relative(self, setup: Setup, outcome: Outcome) -> tuple[dict[str, Verdict], list[str]]:
        final = outcome.final_loss
        rates = {other.max_lr / setup.max_lr: loss for other, loss in self._siblings(setup, "lr")}
        warmups = {other.warmup_frac: loss for other, loss in self._siblings(setup, "warmup")}
        budgets = {other.steps / setup.steps: loss for other, loss in self._siblings(setup, "budget")}
        lower = {ratio: loss for ratio, loss in rates.items() if 0.08 < ratio < 0.4}
        higher = {ratio: loss for ratio, loss in rates.items() if 2.5 < ratio < 13}
        notes = [f"x{ratio:.2g} lr: {final - loss:+.2f}" for ratio, loss in sorted({**lower, **higher}.items())]
        notes += [f"warmup {frac:g}: {final - loss:+.2f}" for frac, loss in sorted(warmups.items())]
        notes += [f"x{ratio:.2g} budget: {final - loss:+.2f}" for ratio, loss in sorted(budgets.items()) if ratio > 1]
        gain = {"lower": _gain(final, lower), "higher": _gain(final, higher)}
        told: dict[str, Verdict] = {
            "lr_too_high": "allowed" if not lower else band(gain["lower"], GRAVE_GAIN),
            "room_for_higher_lr": "allowed" if not higher else band(gain["higher"]),
            "lr_too_low": _too_low(outcome, {ratio: loss for ratio, loss in higher.items() if ratio > 8}),
            "still_converging": _still(final, {ratio: loss for ratio, loss in budgets.items() if 1.9 < ratio < 2.1}),
            **self._warmup(setup, final, warmups),
        }
        if told["lr_too_low"] == "expected":
            told["room_for_higher_lr"] = "allowed"  # the same cure, said more strongly
        if (
            told["lr_too_high"] == "expected"
            and setup.warmup_frac < SHORT_WARMUP / 2
            and told["warmup_too_short"] == "no"
        ):
            told["warmup_too_short"] = "allowed"  # no curve tells a rate that no warmup can save from one that it can
        longer = [loss for frac, loss in warmups.items() if setup.warmup_frac < frac <= LONG_WARMUP]
        if told["warmup_too_short"] == "expected" and min(longer) < min(lower.values(), default=0.0) + CLEAR_GAIN:
            # the rate itself is not too high: warmed up to, it does as well as a lower one
            told["lr_too_high"] = "allowed" if told["lr_too_high"] == "expected" else told["lr_too_high"]
        if is_stuck(outcome) and told["still_converging"] == "allowed":
            told["still_converging"] = "no"  # what is at chance at the end, and was not tried further
        return told, [f"nats gained by a sibling: {', '.join(notes)}"] if notes else []

    def _warmup(self, setup: Setup, final: float, warmups: Mapping[float, float]) -> dict[str, Verdict]:
        own = setup.warmup_frac
        longer = {frac: loss for frac, loss in warmups.items() if own < frac <= LONG_WARMUP}
        shorter = {frac: loss for frac, loss in warmups.items() if frac <= own / 2}
        short: Verdict = "no"
        if own < SHORT_WARMUP:
            short = "allowed" if not longer else band(_gain(final, longer), WARMUP_GAIN)
        long: Verdict = "no"
        if own > LONG_WARMUP:
            long = "allowed" if not shorter else band(_gain(final, shorter))
        return {"warmup_too_short": short, "warmup_too_long": long}


def _without(setup: Setup, way: str) -> Setup:
    match way:
        case "lr":
            return replace(setup, max_lr=1.0)
        case "warmup":
            return replace(setup, warmup_frac=0.0)
        case "budget":
            return replace(setup, steps=1, num_evals=1)
        case _:
            raise ValueError(way)


def _gain(final: float, siblings: Mapping[float, float]) -> float:
    """By how much the best sibling ends lower; a run that broke off gains from any that did not."""
    best = min(siblings.values(), default=float("inf"))
    return final - best if best < float("inf") else 0.0


def _too_low(outcome: Outcome, tenfold: Mapping[float, float]) -> Verdict:
    """Expected where ten times the rate ends far lower, and the run came less than half as far from chance."""
    progress = max(0.0, chance(outcome) - outcome.final_loss)
    if not tenfold:
        return "no" if progress > 0.4 * chance(outcome) else "allowed"  # a run that has come far did move
    gain = _gain(outcome.final_loss, tenfold)
    if gain >= GRAVE_GAIN and progress < gain:
        return "expected"
    return "allowed" if gain >= CLEAR_GAIN else "no"


def _still(final: float, doubled: Mapping[float, float]) -> Verdict:
    return band(_gain(final, doubled)) if doubled else "allowed"
