"""Several runs against one another, as SVG: up to seven told apart by colour, marker and dash; of more, the best.

svg = comparison_figure(curves_by_run, ["val/loss"])
svg = comparison_figure(curves_by_run, ["val/loss"], group_by_run={"a seed=1": "a", "a seed=2": "a", ...})
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipexp.plots.axis import Axis, axis_around, axis_from_zero
from clipexp.plots.legend import Entry
from clipexp.plots.looks import COLOURS, DASHES, GREY, MARKERS, PALE
from clipexp.plots.panel import COLUMNS, Curve, Level, Panel, Ribbon, draw_figure
from clipexp.track.curves import Curves, Series

NUM_BEST = 5  # drawn in colours where there are more than there are colours
MAX_LINES = 60  # of the others; more are drawn as the range that they lie in
RANGE_PLACES = 60
TOTAL_COLUMNS = 5 * COLUMNS  # so that a figure of many long curves is no larger than one of few
RECALL = "val/text_to_image_recall_at_1"
LOSS_REACH = 2.0  # the loss's axis ends at so many times the median of where the runs' losses began
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Line:
    """What is told apart: a run, or the runs of a group; `look` is its number among the colours, None for grey."""

    label: str
    runs: tuple[Curves, ...]
    look: int | None = None

    @property
    def colour(self) -> str:
        return PALE if self.look is None else COLOURS[self.look]


def comparison_figure(
    curves_by_run: Mapping[str, Curves], loss_metrics: Sequence[str], group_by_run: Mapping[str, str] | None = None
) -> str:
    """Validation loss and recall of several runs over samples seen; returns SVG.

    Args:
        curves_by_run: by the runs' names.
        loss_metrics: runs whose losses go by different names (blocks of another size) stand in panels of their own.
        group_by_run: the group's name of each run that belongs to one. A group of several, such as the seeds of a spec,
            is drawn as thin lines with their mean and, one standard deviation to either side, its spread.
    """
    lines = _with_looks(_lines(curves_by_run, group_by_run or {}), loss_metrics)
    metrics = list(loss_metrics) or ["train/loss"]
    x = _x_axis(lines, [*metrics, RECALL])
    panels = [_panel(lines, metric, f"{metric} (nats)", x) for metric in metrics]
    panels.append(_panel(lines, RECALL, "recall@1, text to image (%)", x, factor=100))
    return draw_figure(panels, "samples seen", "Loss and recall@1 of several runs", legend=_legend(lines))


def _lines(curves_by_run: Mapping[str, Curves], group_by_run: Mapping[str, str]) -> list[_Line]:
    members: dict[str, list[Curves]] = {}
    for name, curves in curves_by_run.items():
        members.setdefault(group_by_run.get(name, name), []).append(curves)
    return [_Line(label, tuple(runs)) for label, runs in members.items()]


def _with_looks(lines: Sequence[_Line], loss_metrics: Sequence[str]) -> list[_Line]:
    """The lines in the order of drawing: all in colours, or the best in colours and before them the others in grey."""
    if len(lines) <= len(COLOURS):
        return [_Line(line.label, line.runs, idx) for idx, line in enumerate(lines)]
    ranked = sorted(lines, key=lambda line: _rank(line, loss_metrics))
    best = [_Line(line.label, line.runs, idx) for idx, line in enumerate(ranked[:NUM_BEST])]
    return [*ranked[NUM_BEST:], *best]


def _rank(line: _Line, loss_metrics: Sequence[str]) -> tuple[int, float]:
    """The first of the losses that it has, then the mean of the last values; NaN comes last."""
    for place, metric in enumerate(loss_metrics):
        last = [float(curves[metric].values[-1]) for curves in line.runs if len(curves.get(metric, ()))]
        if last and np.isfinite(last).all():
            return place, float(np.mean(last))
    return len(loss_metrics), 0.0


def _legend(lines: Sequence[_Line]) -> list[Entry]:
    entries = []
    for line in lines:
        if line.look is not None:
            seeds = f" (mean of {len(line.runs)} seeds, ±1 sd)" if len(line.runs) > 1 else ""
            entries.append(Entry(f"{line.label}{seeds}", line.colour, DASHES[line.look], MARKERS[line.look]))
    others = [line for line in lines if line.look is None]
    if others:
        spread = "" if len(others) <= MAX_LINES else ", all and the middle 80 %"
        entries.append(Entry(f"{len(others)} others{spread}", GREY))
    return entries


def _x_axis(lines: Sequence[_Line], metrics: Sequence[str]) -> Axis:
    found = [curves[metric] for line in lines for curves in line.runs for metric in metrics if metric in curves]
    ends = [float(end) for series in found if len(series) for end in series.samples_seen[[0, -1]]]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    return axis_around(0.0 if low < high / 4 else low, high)


def _panel(lines: Sequence[_Line], metric: str, title: str, x: Axis, factor: float = 1) -> Panel:
    having = [line for line in lines if any(len(curves.get(metric, ())) for curves in line.runs)]
    columns = max(TOTAL_COLUMNS // max(sum(len(line.runs) for line in having), 1), 20)
    grey = [line for line in having if line.look is None]
    curves: list[Curve] = []
    ribbons: list[Ribbon] = []
    if len(grey) > MAX_LINES:
        ribbons += _range(_series(grey, metric), factor)
    else:
        curves += [_thin_curve(series, PALE, factor, columns) for series in _series(grey, metric)]
    for line in having:
        if line.look is not None:
            own = _series([line], metric)
            mean = own[0]
            if len(own) > 1:
                curves += [_thin_curve(series, line.colour, factor, columns) for series in own]
                mean, spread = _mean(own, line.colour)
                ribbons.append(dataclasses.replace(spread, low=factor * spread.low, high=factor * spread.high))
            curves.append(_own_curve(mean, line.look, factor, columns))
    y = _recall_axis(curves) if metric == RECALL else _loss_axis(curves, ribbons)
    levels = _chances(having) if metric == RECALL else ()
    return Panel(title, tuple(curves), x, y, levels=levels, ribbons=tuple(ribbons), has_legend=False)


def _series(lines: Sequence[_Line], metric: str) -> list[Series]:
    return [curves[metric] for line in lines for curves in line.runs if len(curves.get(metric, ()))]


def _thin_curve(series: Series, colour: str, factor: float, columns: int) -> Curve:
    across = series.samples_seen.astype(np.float64)
    return Curve(across, factor * series.values, "", colour, opacity=0.6, width=0.8, columns=min(columns, COLUMNS))


def _own_curve(series: Series, look: int, factor: float, columns: int) -> Curve:
    across = series.samples_seen.astype(np.float64)
    return Curve(
        across,
        factor * series.values,
        "",
        COLOURS[look],
        marker=MARKERS[look],
        dash=DASHES[look],
        columns=min(columns, COLUMNS),
    )


def _mean(series: Sequence[Series], colour: str) -> tuple[Series, Ribbon]:
    """The mean of several series at the places that all of them have, and a standard deviation to either side."""
    places = series[0].samples_seen
    for other in series[1:]:
        places = np.intersect1d(places, other.samples_seen)
    values = np.array([each.values[np.searchsorted(each.samples_seen, places)] for each in series])
    mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1)
    ribbon = Ribbon(places.astype(np.float64), mean - deviation, mean + deviation, colour)
    return Series(places, places, mean, np.zeros(len(places))), ribbon


def _range(series: Sequence[Series], factor: float) -> list[Ribbon]:
    """Where 80 % of many series lie, and where all of them do, at places from the first to the last."""
    places = np.linspace(
        min(each.samples_seen[0] for each in series), max(each.samples_seen[-1] for each in series), RANGE_PLACES
    )
    values = np.array([np.interp(places, e.samples_seen, e.values, left=np.nan, right=np.nan) for e in series])
    values[~np.isfinite(values)] = np.nan
    there = ~np.isnan(values).all(axis=0)
    places, values = places[there], factor * values[:, there]
    low, tenth, ninetieth, high = np.nanquantile(values, [0, 0.1, 0.9, 1], axis=0) if len(places) else np.zeros((4, 0))
    return [Ribbon(places, low, high, GREY), Ribbon(places, tenth, ninetieth, GREY)]


def _loss_axis(curves: Sequence[Curve], ribbons: Sequence[Ribbon]) -> Axis:
    """From zero to the highest, but not for the sake of one that diverged."""
    tops = [float(finite.max()) for curve in curves if len(finite := curve.y[np.isfinite(curve.y)])]
    tops += [float(ribbon.high.max()) for ribbon in ribbons if len(ribbon.high)]
    starts = [float(finite[0]) for curve in curves if len(finite := curve.y[np.isfinite(curve.y)])]
    return axis_from_zero(min(max(tops), LOSS_REACH * float(np.median(starts))) if tops else 0.0)


def _recall_axis(curves: Sequence[Curve]) -> Axis:
    tops = [float(finite.max()) for curve in curves if len(finite := curve.y[np.isfinite(curve.y)])]
    return Axis(0.0, min(100.0, max(5.0, 1.15 * max(tops, default=0.0))))


def _chances(lines: Sequence[_Line]) -> tuple[Level, ...]:
    """The chance of each size of the validation set, with one entry in the legend."""
    known = [
        curves["val/chance_recall_at_1"] for line in lines for curves in line.runs if "val/chance_recall_at_1" in curves
    ]
    chances = sorted({float(series.values[-1]) for series in known if len(series)})
    return tuple(Level(100 * chance, "" if idx else "chance") for idx, chance in enumerate(chances))
