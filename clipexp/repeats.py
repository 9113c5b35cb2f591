"""Runs of one spec side by side: replicates under other seeds, and the same seed again to compare the bits.

[with_seed(resolved, seed) for seed in (1, 2)]
compare_bits(header, repeated).lines()
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clipexp.spec.load import ResolvedRun
from clipexp.track.curves import Curves
from clipexp.track.header import RunHeader, headers
from clipexp.track.journal import points
from clipexp.track.records import GROUP_TAG
from clipexp.track.summary import read_summary

NUM_SHOWN = 5


def with_seed(resolved: ResolvedRun, seed: int) -> ResolvedRun:
    """The same experiment under another seed; its name says which."""
    spec = resolved.spec
    return dataclasses.replace(
        resolved, spec=spec.model_copy(update={"seed": seed, "name": f"{spec.name}-seed-{seed}"})
    )


def group_of(header: RunHeader) -> list[RunHeader]:
    """The finished runs that differ from one in nothing but the seed, itself too, by seed; repeats are left out."""
    alike = [
        other
        for other in headers()
        if other.tags.get(GROUP_TAG) == header.tags[GROUP_TAG] and other.store == header.store and not other.repeat_of
    ]
    done = [h for h in alike if (summary := read_summary(h.folder)) is not None and summary.reason == "finished"]
    newest_by_seed = {int(h.params["seed"]): h for h in reversed(done)}  # one that was imported again counts once
    return [newest_by_seed[seed] for seed in sorted(newest_by_seed)]


def spread(finals: Sequence[Mapping[str, float]], metric: str) -> tuple[float, float | None]:
    """Mean and sample standard deviation of a metric's last values; None with a single run."""
    values = [final[metric] for final in finals]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class BitComparison:
    """Two runs of one spec and seed, held against each other.

    same_weights: None where one of the two left no checkpoint. differing: (metric, samples seen, value, value before).
    """

    same_weights: bool | None
    num_points: int
    num_unmatched: int
    differing: tuple[tuple[str, int, float, float], ...]

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return self.same_weights is not False and not self.differing

    def lines(self) -> list[str]:
        """As printed."""
        weights = {True: "the same bits", False: "DIFFERENT bits", None: "not compared: a checkpoint is gone"}
        lines = [f"weights   {weights[self.same_weights]}"]
        if self.differing:
            lines.append(f"curves    {len(self.differing):,} of {self.num_points:,} points DIFFER, the first of them:")
            lines += [f"  {m} at {at:,} samples: {a!r}, before {b!r}" for m, at, a, b in self.differing[:NUM_SHOWN]]
        else:
            lines.append(f"curves    the same bits in all {self.num_points:,} points")
        if self.num_unmatched:
            lines.append(f"          {self.num_unmatched:,} points have no counterpart (other cadences)")
        return lines


def compare_bits(run: RunHeader, repeated: RunHeader) -> BitComparison:
    """Hold a run against the one that it repeats: final weights, and every point but the machine's own state."""
    ours, theirs = (_values(points(header.folder)) for header in (run, repeated))
    both = sorted(ours.keys() & theirs.keys(), key=lambda place: (place[1], place[0]))
    # by their text, so that NaN equals NaN
    differing = tuple(
        (*place, ours[place], theirs[place]) for place in both if repr(ours[place]) != repr(theirs[place])
    )
    digests = [summary.weights_sha256 if (summary := read_summary(h.folder)) else "" for h in (run, repeated)]
    same_weights = digests[0] == digests[1] if all(digests) else None
    return BitComparison(same_weights, len(both), len(ours.keys() ^ theirs.keys()), differing)


def _values(curves: Curves) -> dict[tuple[str, int], float]:
    """Value by (metric, samples seen)."""
    return {
        (name, point.samples_seen): point.value
        for name, series in curves.items()
        if not name.startswith("system/")
        for point in series
    }
