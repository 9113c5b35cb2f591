"""How much of what was searched the trials looked at, and which of them could not run.

found = coverage(evidence)
found.num_cells_tried, found.num_cells   # of pairs of quarters of two settings
infeasible(evidence)                     # reasons with their counts, and the settings they share
"""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from clipexp.spec.study import ChoiceDim, Dim, IntDim, PowerOfTwoDim
from clipexp.study.evidence import StudyEvidence, TrialRow
from clipexp.study.insight import NumericDim, is_log, place

NUM_PARTS = 4  # a setting's range in quarters: what 16 trials can visit each of
COVERED = 0.5  # of the pairs of quarters; a random search of 16 trials visits 64% of 16
WIDE = 1 / 3  # of a range without a trial; the widest gap of 16 random trials is a fifth on average


@dataclass(frozen=True)
class Gap:
    """The widest stretch of a setting's range without a trial; `share`: of the range, on its own scale."""

    path: str
    low: float
    high: float
    share: float


@dataclass(frozen=True)
class Coverage:
    """What was looked at. gaps: a setting each, the widest first; untried: values of choices without a trial."""

    num_trials: int
    num_cells: int
    num_cells_tried: int
    gaps: tuple[Gap, ...]
    untried: tuple[tuple[str, str], ...]

    @property
    def is_covered(self) -> bool:
        """Whether half of the pairs of parts were tried, and no range has a third without a trial."""
        is_wide = any(gap.share > WIDE for gap in self.gaps)
        return not self.untried and not is_wide and self.num_cells_tried >= COVERED * self.num_cells


def coverage(evidence: StudyEvidence) -> Coverage | None:
    """How the trials spread over the space, pruned and infeasible ones too; None where there is none."""
    trials = [trial for trial in evidence.trials if all(path in trial.values for path in evidence.spec.search)]
    if not trials:
        return None
    search = evidence.spec.search
    parts = {path: [_part(dim, trial.values[path]) for trial in trials] for path, dim in search.items()}
    num_cells = num_tried = 0
    for first, second in itertools.combinations(search, 2) if len(search) > 1 else [(next(iter(search)),) * 2]:
        both = {*zip(parts[first], parts[second], strict=True)}
        num_tried += sum(None not in cell for cell in both)
        num_cells += _num_parts(search[first]) * (1 if first == second else _num_parts(search[second]))
    gaps = [_widest_gap(path, dim, trials) for path, dim in search.items() if not isinstance(dim, ChoiceDim)]
    choices = {path: dim for path, dim in search.items() if isinstance(dim, ChoiceDim)}
    untried = tuple(
        (path, value if isinstance(value, str) else json.dumps(value))
        for path, dim in choices.items()
        for value in dim.values
        if all(trial.values[path] != value for trial in trials)
    )
    widest_first = sorted(gaps, key=lambda gap: -gap.share)
    return Coverage(len(trials), num_cells, num_tried, tuple(widest_first), untried)


def _num_parts(dim: Dim) -> int:
    if isinstance(dim, ChoiceDim):
        return len(dim.values)
    if isinstance(dim, PowerOfTwoDim):
        return min(NUM_PARTS, round(math.log2(dim.high / dim.low)) + 1)
    return min(NUM_PARTS, dim.high - dim.low + 1) if isinstance(dim, IntDim) else NUM_PARTS


def _part(dim: Dim, value: object) -> int | None:
    """Which part of a dimension a value lies in; None of one beyond it, as a baseline's may."""
    if isinstance(dim, ChoiceDim):
        return dim.values.index(value) if value in dim.values else None
    share = _share(dim, value)
    return None if share is None else min(int(share * _num_parts(dim)), _num_parts(dim) - 1)


def _share(dim: NumericDim, value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or (is_log(dim) and value <= 0):
        return None
    share = place(dim, value)
    return share if 0 <= share <= 1 else None


def _widest_gap(path: str, dim: NumericDim, trials: Sequence[TrialRow]) -> Gap:
    """Between two tried values that follow one another, or from an end; neighbours on a grid leave no gap."""
    shares = sorted({share for trial in trials if (share := _share(dim, trial.values[path])) is not None})
    edges = [0.0, *shares, 1.0]
    low, high = max(itertools.pairwise(edges), key=lambda pair: pair[1] - pair[0])
    step = 1 / max(1, _num_steps(dim))
    share = high - low if high - low > step * 1.01 else 0.0
    return Gap(path, _value_at(dim, low), _value_at(dim, high), share)


def _num_steps(dim: NumericDim) -> float:
    """How many steps a dimension that is a grid has; without end for one that is not."""
    if isinstance(dim, PowerOfTwoDim):
        return math.log2(dim.high / dim.low)
    return dim.high - dim.low if isinstance(dim, IntDim) and not is_log(dim) else math.inf


def _value_at(dim: NumericDim, share: float) -> float:
    low, high = dim.low, dim.high
    return low * (high / low) ** share if is_log(dim) else low + share * (high - low)


def infeasible(evidence: StudyEvidence) -> dict[str, int]:
    """How many trials could not run, by reason, the most frequent first."""
    reasons = [trial.reason or "no reason given" for trial in evidence.trials if trial.state == "infeasible"]
    return dict(sorted(((r, reasons.count(r)) for r in dict.fromkeys(reasons)), key=lambda item: -item[1]))
