"""How often the comparison errs, and what it finds, on real replicates.

    python benchmarks/comparison.py [--quick] [--json FILE]    # a minute on one thread
    python benchmarks/comparison.py --curves                   # simulated: errors and finds by seeds and correlation

The replicates are those of `benchmarks/replicates.py`: five specs, 24 to 48 seeds each, the same seeds everywhere.

1. A/A: two groups of 5 other seeds of one spec, drawn at random without a seed in common. A winner is an error.
2. The same groups, one made better by two standard deviations over that spec's seeds: is it found, with its sign?
3. Two specs at the same 5 seeds, moved to one mean over all seeds: the true correlation, and no difference. Again
   a winner is an error, and again two standard deviations (the two specs' root mean square) are to be found.
4. Two specs as they are: does the verdict have the sign that all seeds together have?

Each is done with what a lab knows that has confirmed other settings before, 5 seeds each of the four other specs (three
where two are compared), and again with nothing but the seeds compared. Intervals of rates are Wilson's, over the draws;
draws from a few dozen runs overlap, so that rates are less certain than that.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from clipexp.comparison import Difference, Group, Prior, compare, direction_of, prior_of

REPLICATES = Path("benchmarks/data/replicates.json")
METRICS = ("val/loss", "val/text_to_image_recall_at_1")
NUM_SEEDS, SEED = 5, 2026


@dataclass(frozen=True)
class Lab:
    """All replicates in one metric: the last value by seed, by spec."""

    metric: str
    values: Mapping[str, Mapping[int, float]]

    @classmethod
    def read(cls, metric: str, replicates: Path = REPLICATES) -> "Lab":
        """From a file of replicates."""
        specs = json.loads(replicates.read_text())["specs"]
        last = {name: {run["seed"]: run["curves"][metric][-1] for run in spec["runs"]} for name, spec in specs.items()}
        return cls(metric, last)

    @property
    def better(self) -> int:
        """The sign of a better value."""
        return 1 if direction_of(self.metric) == "higher" else -1

    def group(self, name: str, seeds: Iterable[int], shift: float = 0.0) -> Group:
        """These seeds of a spec, moved by `shift`."""
        return Group.of_values(name, self.metric, {int(seed): self.values[name][int(seed)] + shift for seed in seeds})

    def shared(self, pair: tuple[str, str]) -> list[int]:
        """The seeds that two specs have."""
        return sorted(self.values[pair[0]].keys() & self.values[pair[1]].keys())

    def over(self, name: str, seeds: Iterable[int]) -> list[float]:
        """The values of these seeds."""
        return [self.values[name][seed] for seed in seeds]

    def past(self, without: tuple[str, ...], rng: np.random.Generator, *, has_prior: bool) -> Prior | None:
        """What five seeds each of the specs that are not compared tell."""
        names = [name for name in self.values if name not in without]
        draws = {name: rng.choice(sorted(self.values[name]), NUM_SEEDS, replace=False) for name in names}
        return prior_of(self.group(name, seeds) for name, seeds in draws.items()) if has_prior else None


@dataclass(frozen=True)
class Tally:
    """Of `num` comparisons: how many told a winner, the true one, and had the truth in their interval."""

    num: int
    told: int
    right: int
    covered: int

    @classmethod
    def of(cls, differences: Iterable[tuple[Difference, float]]) -> "Tally":
        """From differences with their truth, a's less b's."""
        num = told = right = covered = 0
        for found, truth in differences:
            low, high = found.interval or (math.nan, math.nan)
            num, covered = num + 1, covered + (low <= truth <= high)
            if found.verdict in ("better", "worse"):
                told, right = told + 1, right + (found.mean * truth > 0)
        return cls(num, told, right, covered)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.num + other.num, self.told + other.told, self.right + other.right, self.covered + other.covered
        )


def wilson(count: int, num: int) -> tuple[float, float]:
    """The 95% interval of a rate (Wilson 1927)."""
    z, rate = 1.96, count / num
    middle, half = rate + z * z / (2 * num), z * math.sqrt(rate * (1 - rate) / num + z * z / (4 * num * num))
    return max(0.0, (middle - half) / (1 + z * z / num)), (middle + half) / (1 + z * z / num)


def shown(count: int, num: int) -> str:
    """A rate with its interval."""
    low, high = wilson(count, num)
    return f"{count / num:6.1%} ({low:.1%} to {high:.1%})"


def sd_of(values: Iterable[float]) -> float:
    """The standard deviation over seeds."""
    return float(np.std(list(values), ddof=1))


def alike(lab: Lab, name: str, num: int, sds: float, *, has_prior: bool) -> Tally:
    """Groups of one spec without a seed in common, the first better by `sds` standard deviations."""
    rng, seeds = np.random.default_rng(SEED), sorted(lab.values[name])
    truth = lab.better * sds * sd_of(lab.values[name].values())

    def one() -> tuple[Difference, float]:
        chosen = rng.choice(seeds, 2 * NUM_SEEDS, replace=False)
        a, b = lab.group(name, chosen[:NUM_SEEDS], truth), lab.group(name, chosen[NUM_SEEDS:])
        return compare(a, b, prior=lab.past((name,), rng, has_prior=has_prior)), truth

    return Tally.of(one() for _ in range(num))


def brought_together(lab: Lab, pair: tuple[str, str], num: int, sds: float, *, has_prior: bool) -> Tally:
    """Two specs at equal seeds, brought to one mean, the first then better by `sds` standard deviations."""
    of_a, of_b = (lab.over(name, lab.shared(pair)) for name in pair)
    truth = lab.better * sds * math.sqrt((sd_of(of_a) ** 2 + sd_of(of_b) ** 2) / 2)
    return _at_equal_seeds(lab, pair, num, (truth, truth + float(np.mean(of_b) - np.mean(of_a))), has_prior=has_prior)


def as_they_are(lab: Lab, pair: tuple[str, str], num: int, *, has_prior: bool) -> Tally:
    """Two specs at equal seeds; the truth is the mean difference over all seeds that both have."""
    of_a, of_b = (lab.over(name, lab.shared(pair)) for name in pair)
    return _at_equal_seeds(lab, pair, num, (float(np.mean(of_a) - np.mean(of_b)), 0.0), has_prior=has_prior)


def _at_equal_seeds(
    lab: Lab, pair: tuple[str, str], num: int, truth_and_shift: tuple[float, float], *, has_prior: bool
) -> Tally:
    rng, seeds = np.random.default_rng(SEED), lab.shared(pair)
    truth, shift = truth_and_shift

    def one() -> tuple[Difference, float]:
        chosen = rng.choice(seeds, NUM_SEEDS, replace=False)
        a, b = lab.group(pair[0], chosen, shift), lab.group(pair[1], chosen)
        return compare(a, b, prior=lab.past(pair, rng, has_prior=has_prior)), truth

    return Tally.of(one() for _ in range(num))


def describe(lab: Lab) -> None:
    """Print what the replicates are like."""
    values = lab.values
    print(f"\n{lab.metric}: spread over seeds, and correlation between specs at equal seeds")
    for name, found in values.items():
        print(
            f"  {name:<12} {len(found)} seeds, mean {np.mean(list(found.values())):.4f}, sd {sd_of(found.values()):.4f}"
        )
    for pair in combinations(values, 2):
        shared = lab.shared(pair)
        of_a, of_b = (lab.over(name, shared) for name in pair)
        difference = np.subtract(of_a, of_b)
        error = difference.std(ddof=1) / math.sqrt(len(shared))
        r = np.corrcoef(of_a, of_b)[0, 1]
        words = f"correlation {r:+.2f}, difference {difference.mean():+.4f} +- {error:.4f} ({len(shared)} seeds)"
        print(f"  {pair[0]} and {pair[1]}: {words}")


def total(cases: Mapping[str, Tally], say: Callable[[Tally], str], words: str) -> Tally:
    """Print each case and all together, and give that."""
    print(f"  {words}")
    for name, tally in cases.items():
        print(f"    {name:<26} {say(tally)}, 95% interval holds the truth in {tally.covered / tally.num:.1%}")
    together = sum(cases.values(), Tally(0, 0, 0, 0))
    print(f"    {'all together':<26} {say(together)}, {together.covered / together.num:.1%} (of {together.num:,})")
    return together


def false_winners(tally: Tally) -> str:
    """The rate of winners."""
    return shown(tally.told, tally.num)


def found_rightly(tally: Tally) -> str:
    """The rate of winners with the true sign."""
    return shown(tally.right, tally.num)


def both_ways(tally: Tally) -> str:
    """Winners with the true and with the wrong sign."""
    return f"right {tally.right / tally.num:6.1%}, wrong {(tally.told - tally.right) / tally.num:5.1%}"


def measure(lab: Lab, num: int, *, has_prior: bool) -> dict[str, tuple[int, int]]:
    """Print all four measurements; gives of each rate how often it was so, and of how many."""
    pairs, few = list(combinations(lab.values, 2)), max(20, num // 4)
    knows = "with 5 seeds each of other specs" if has_prior else "with nothing but the seeds compared"
    print(f"\n{lab.metric}, {knows}; {NUM_SEEDS} seeds each, {num:,} draws a spec, {few:,} a pair of specs")

    def one_spec(sds: float) -> dict[str, Tally]:
        return {name: alike(lab, name, num, sds, has_prior=has_prior) for name in lab.values}

    def two_specs(sds: float) -> dict[str, Tally]:
        return {_named(pair): brought_together(lab, pair, few, sds, has_prior=has_prior) for pair in pairs}

    first = total(one_spec(0.0), false_winners, "1. the same spec, other seeds: a winner is told in")
    second = total(one_spec(2.0), found_rightly, "2. better by two standard deviations, other seeds: found in")
    third = total(
        two_specs(0.0), false_winners, "3. two specs without a difference, the same seeds: a winner is told in"
    )
    fourth = total(two_specs(2.0), found_rightly, "3. better by two standard deviations, the same seeds: found in")
    real = {_named(pair): as_they_are(lab, pair, few, has_prior=has_prior) for pair in pairs}
    total(real, both_ways, "4. two specs as they are, the same seeds: the verdict is")
    return {
        "aa_false_winner_rate": (first.told, first.num),
        "two_sd_found_rate": (second.right, second.num),
        "same_seeds_false_winner_rate": (third.told, third.num),
        "same_seeds_two_sd_found_rate": (fourth.right, fourth.num),
    }


def _named(pair: tuple[str, str]) -> str:
    return f"{pair[0]} / {pair[1]}"


def simulated(num_seeds: int, correlation: float, ratio: float, num: int, *, has_prior: bool) -> list[float]:
    """Rates of a winner where groups differ by 0, 1 and 2 standard deviations (their root mean square), normal noise.

    correlation: at equal seeds; NaN for other seeds. ratio: of the two standard deviations. A prior rests on four
    groups of five seeds that spread as the first. A shift moves an interval and nothing else, so one serves for three.
    """
    rng, seeds = np.random.default_rng(SEED), range(num_seeds)
    is_same, told, unit = not math.isnan(correlation), [0, 0, 0], math.sqrt((1 + ratio * ratio) / 2)
    r = correlation if is_same else 0.0
    for _ in range(num):
        a, own = rng.normal(size=(2, num_seeds))
        b = ratio * (r * a + math.sqrt(1 - r * r) * own)
        past = [Group.of_values("past", "val/loss", dict(enumerate(rng.normal(size=NUM_SEEDS)))) for _ in range(4)]
        group_a = Group.of_values("a", "val/loss", dict(zip(seeds, a, strict=True)))
        group_b = Group.of_values("b", "val/loss", dict(enumerate(b, 0 if is_same else num_seeds)))
        low, high = compare(group_a, group_b, prior=prior_of(past) if has_prior else None).interval or (0.0, 0.0)
        told = [count + (not low <= shift * unit <= high) for shift, count in enumerate(told)]
    return [count / num for count in told]


def curves(num: int) -> None:
    """Print how often a winner is told by seeds and correlation, in simulation."""
    print(f"a winner is told in, where groups differ by 0 / 1 / 2 standard deviations ({num:,} simulations each)")
    cases = [("other seeds", math.nan, 1.0), *((f"same seeds, {r:g}", r, 1.0) for r in (0.0, 0.5, 0.9))]
    cases += [("other seeds, sd 1 and 3", math.nan, 3.0), ("same seeds, 0, sd 1 and 3", 0.0, 3.0)]
    for has_prior in (False, True):
        print("with four other groups of 5 seeds" if has_prior else "with nothing but the seeds compared")
        for words, correlation, ratio in cases:
            cells = []
            for num_seeds in (2, 3, 5, 8, 12):
                rates = simulated(num_seeds, correlation, ratio, num, has_prior=has_prior)
                cells.append(f"{num_seeds}: " + " / ".join(f"{100 * rate:.1f}" for rate in rates))
            print(f"  {words:<26} " + "   ".join(cells), flush=True)


def main() -> None:
    """Print all rates, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="400 draws a spec rather than 1,000, the loss alone")
    parser.add_argument("--json", type=Path, help="also write the rates here")
    parser.add_argument("--curves", action="store_true", help="simulate, rather than draw from replicates")
    parser.add_argument("--replicates", type=Path, default=REPLICATES)
    options = parser.parse_args()
    if options.curves:
        curves(200 if options.quick else 2000)
        return
    num = 400 if options.quick else 1000
    rows = []
    for metric in METRICS[:1] if options.quick else METRICS:
        lab = Lab.read(metric, options.replicates)
        describe(lab)
        for has_prior in (True, False):
            suffix = ("" if metric == "val/loss" else "_recall") + ("" if has_prior else "_without_prior")
            for name, (count, of) in measure(lab, num, has_prior=has_prior).items():
                basis = f"{of:,} pairs of groups of {NUM_SEEDS} real replicates, {metric}, {len(lab.values)} specs"
                rows.append({"name": name + suffix, "value": round(count / of, 4), "unit": "share", "basis": basis})
    print("\n" + "\n".join(f"{row['name']}: {row['value']:.1%} ({row['basis']})" for row in rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
