"""Axes for a study's figures: a scale a setting, and the part of the objective's axis that is worth showing.

scale = Scale(dim, "optim.max_lr", evidence.trials)
axes.scatter([scale.at(trial.values["optim.max_lr"])], [trial.value])
scale.dress(axes.xaxis)
"""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipexp.plots.static import COLOURS, GREY, scientific
from clipexp.spec.study import ChoiceDim, Dim, IntDim, PowerOfTwoDim, Value
from clipexp.study.evidence import StudyEvidence, TrialRow
from clipexp.study.insight import is_log, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

MANY = 80  # trials from which on markers are small
REACH = 4.0  # the axis ends so many times as far from the best as three quarters of the trials lie
ROOM = 0.06  # beyond the outermost points, as a share of the axis
LABEL_CHARS = 14
MAX_TICKS = 6
STAR: dict[str, Any] = {"marker": "*", "color": COLOURS[1], "s": 130, "edgecolor": "black", "linewidth": 0.6}


def show(value: Value) -> str:
    """A setting's value as people write it: small numbers in scientific notation, nested ones as JSON."""
    if isinstance(value, bool | str) or value is None:
        return json.dumps(value) if not isinstance(value, str) else value
    if isinstance(value, list | dict):
        return json.dumps(value)
    if value != 0 and abs(value) < 0.01:
        return scientific(value)
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


class Scale:
    """Where a setting's values stand along an axis, in its own scale; baselines beyond its ends have room.

    limits: the axis's ends. names: of choices, in their order; empty where it has numbers.
    """

    def __init__(self, dim: Dim, path: str, trials: Sequence[TrialRow]) -> None:
        self._dim = dim
        used = [trial.values[path] for trial in trials if path in trial.values]
        self.names: list[str] = []
        if isinstance(dim, ChoiceDim):
            self.names = list(dict.fromkeys(show(value) for value in [*dim.values, *used]))
            self.limits = (-0.5, len(self.names) - 0.5)
            return
        places = [self.at(value) for value in (dim.low, dim.high, *used)]
        room = ROOM * (max(places) - min(places))
        self._ends = (min(places), max(places))
        self.limits = (min(places) - room, max(places) + room)

    def at(self, value: Value) -> float:
        """Where a value stands."""
        if self.names:
            return float(self.names.index(show(value)))
        if not isinstance(value, int | float):
            return math.nan
        if not is_log(self._dim):
            return float(value)
        return math.log2(value) if isinstance(self._dim, PowerOfTwoDim) else math.log10(value)

    def ticks(self) -> list[tuple[float, str]]:
        """Places along the axis, with what is written there."""
        if self.names:
            return [(float(idx), _cut(name)) for idx, name in enumerate(self.names)]
        low, high = self._ends
        if isinstance(self._dim, PowerOfTwoDim):
            powers = range(math.ceil(low), math.floor(high) + 1)
            every = -(-len(powers) // MAX_TICKS)
            return [(float(power), f"{2**power:,}") for power in powers[::every]]
        if is_log(self._dim):
            return [(math.log10(value), show(value)) for value in _log_ticks(10**low, 10**high)]
        return [(value, f"{value:,g}") for value in linear_ticks(low, high, is_whole=isinstance(self._dim, IntDim))]

    def dress(self, axis: "Axis", *, is_narrow: bool = False) -> None:
        """Write the ticks on an axis, aslant where names are too long for a narrow panel."""
        places = self.ticks()
        axis.set_ticks([place for place, _ in places], [label for _, label in places])
        if is_narrow and sum(len(name) for name in self.names) > 2 * LABEL_CHARS:
            axis.set_tick_params(rotation=25)


def _cut(text: str) -> str:
    return text if len(text) <= LABEL_CHARS else f"{text[: LABEL_CHARS - 1]}…"


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two ends: 1, 2 and 5 of each power of ten, or fewer where that would be too many."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for firsts in ((1, 2, 5), (1, 3), (1,)):
        values = [float(f"{first}e{power}") for power in powers for first in firsts]
        ticks = [value for value in values if 0.999 * low <= value <= 1.001 * high]
        if len(ticks) <= MAX_TICKS:
            return ticks
    return ticks[:: -(-len(ticks) // MAX_TICKS)]


def linear_ticks(low: float, high: float, *, is_whole: bool = False) -> list[float]:
    """Round numbers between two ends."""
    from matplotlib.ticker import MaxNLocator

    room = 1e-9 * (high - low)
    values = MaxNLocator(5, integer=is_whole).tick_values(low, high)
    return [float(value) for value in values if low - room <= value <= high + room]


@dataclass(frozen=True)
class Window:
    """The part of the objective's axis that is shown, from `low` to `high`."""

    low: float
    high: float

    def inside(self, value: float) -> float:
        """The value, or the end that it lies beyond."""
        return min(max(value, self.low), self.high)

    def share(self, value: float) -> float:
        """Where a value stands: 0 at the low end, 1 at the high one."""
        return (self.inside(value) - self.low) / (self.high - self.low)

    def set_on(self, axes: "Axes", top: float = ROOM) -> None:
        """Make it an axes' y axis; `top`: the room above, as a share."""
        height = self.high - self.low
        axes.set_ylim(self.low - ROOM * height, self.high + top * height)


def window(evidence: StudyEvidence, values: Sequence[float | None]) -> Window | None:
    """What to show of the objective: from the best to the worst, or less where some are far worse than the rest.

    Baselines are always in it.
    """
    finite = sorted(value for value in values if value is not None and math.isfinite(value))
    if not finite:
        return None
    best, worst = (finite[0], finite[-1]) if evidence.is_minimized else (finite[-1], finite[0])
    quarters = statistics.quantiles(finite, n=4) if len(finite) > 3 else [worst] * 3
    end = best + REACH * ((quarters[2] if evidence.is_minimized else quarters[0]) - best)
    bases = [trial.value for trial in evidence.trials if trial.baseline and trial.value is not None]
    end = max(end, *bases, best) if evidence.is_minimized else min(end, *bases, best)
    if end != best and abs(worst - best) > 1.5 * abs(end - best):
        worst = end
    low, high = sorted((best, worst))
    if low == high:
        room = abs(low) * ROOM or 1.0
        low, high = low - room, high + room
    return Window(low, high)


def scatter(axes: "Axes", points: Sequence[tuple[float, float | None]], shown: Window, **looks: Any) -> None:
    """Points, and as triangles at the end of the axis those beyond it."""
    given = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
    colours = looks.pop("c", None)
    beyond = [y != shown.inside(y) for _, y in given]
    marker = looks.pop("marker", "o")
    for is_beyond in (False, True):
        chosen = [idx for idx, out in enumerate(beyond) if out == is_beyond]
        if not chosen:
            continue
        up = given[chosen[0]][1] > shown.high
        own = {**looks, "marker": ("^" if up else "v") if is_beyond else marker}
        if is_beyond and "label" in own:
            own["label"] = f"{own['label']}, off the axis"
        if colours is not None:
            own["c"] = [colours[idx] for idx in chosen]
        axes.scatter([given[idx][0] for idx in chosen], [shown.inside(given[idx][1]) for idx in chosen], **own)


def best_so_far(axes: "Axes", evidence: StudyEvidence) -> None:
    """The best objective among the trials up to each, as steps."""
    better = min if evidence.is_minimized else max
    steps: list[tuple[int, float]] = []
    for trial in evidence.trials:
        if trial.value is not None:
            steps.append((trial.number, better(trial.value, steps[-1][1]) if steps else trial.value))
    steps.append((evidence.trials[-1].number, steps[-1][1]))
    axes.step([x for x, _ in steps], [y for _, y in steps], where="post", color=COLOURS[1], lw=1.2, label="best so far")


def fill(axes: "Axes", points: Sequence[tuple[float, float]], values: Sequence[float], **looks: Any) -> None:
    """Filled contours between points, linear between neighbours; nothing where they stand on one line."""
    import numpy as np
    from matplotlib.tri import Triangulation

    by_point: dict[tuple[float, float], list[float]] = {}
    for point, value in zip(points, values, strict=True):
        by_point.setdefault(point, []).append(value)
    at = np.array(list(by_point))
    mean = [statistics.fmean(group) for group in by_point.values()]
    spread = np.ptp(at, axis=0)
    if len(at) < 3 or not spread.all() or np.linalg.matrix_rank((at - at[0]) / spread, tol=1e-6) < 2:
        return
    unit = (at - at.min(axis=0)) / spread  # near is near along both axes
    triangles = Triangulation(unit[:, 0], unit[:, 1]).triangles
    levels = np.linspace(looks["vmin"], looks["vmax"], 13)
    axes.tricontourf(Triangulation(at[:, 0], at[:, 1], triangles), mean, levels=levels, extend="both", **looks)


def upright(axes: "Axes", x: float, ticks: Sequence[tuple[float, str]]) -> None:
    """A vertical axis inside a panel from 0 to 1, its ticks at their shares with their labels."""
    axes.axvline(x, color=GREY, linewidth=0.9, zorder=3)
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
    looks: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8, "bbox": box, "zorder": 4}
    for share, label in ticks:
        axes.plot([x - 0.012, x + 0.012], [share, share], color=GREY, linewidth=0.9, zorder=3, clip_on=False)
        axes.annotate(label, (x, share), (4, 0), **looks)


def marker_size(evidence: StudyEvidence) -> float:
    """Points squared: smaller where there are many trials."""
    return 28 if len(evidence.trials) < MANY else 12


def objective_label(evidence: StudyEvidence) -> str:
    """What the objective's axis is called."""
    metric = evidence.spec.objective.metric
    return f"{metric} (nats)" if metric.startswith("val/loss") else metric


def colours_of(evidence: StudyEvidence, shown: Window) -> dict[str, Any]:
    """The colour scale of the objective: the better, the darker."""
    return {"cmap": "viridis" if evidence.is_minimized else "viridis_r", "vmin": shown.low, "vmax": shown.high}


def extend(evidence: StudyEvidence, shown: Window) -> str:
    """Whether values lie beyond the colour scale, in matplotlib's words."""
    values = [trial.value for trial in ranked(evidence) if trial.value is not None]
    beyond = (any(value < shown.low for value in values), any(value > shown.high for value in values))
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[beyond]
