"""Differences with their intervals as a forest plot: a line a comparison, and zero in the middle of it all.

svg = differences_figure([("b - a", -0.12, -0.19, -0.05, "better")], "val/loss")
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from clipexp.plots import svg
from clipexp.plots.axis import Axis, axis_around
from clipexp.plots.legend import SMALL
from clipexp.plots.looks import COLOURS, GREY, INK

BETTER, WORSE = "better", "worse"
# A verdict's colour and marker: neither is needed to read it, since it stands beside in words.
LOOKS = {BETTER: (COLOURS[2], "D"), WORSE: (COLOURS[1], "s")}
OTHERWISE = (GREY, "o")
ROW_PX, PLOT_PX, EDGE_PX, TOP_PX, FOOT_PX = 24, 380, 10, 30, 44
MAX_LABEL_PX, MAX_VERDICT_PX = 320, 330


class Difference(NamedTuple):
    """A row: a difference and its 95 % interval, NaN or None where there is none, and what follows from it in words."""

    label: str
    mean: float
    low: float | None
    high: float | None
    verdict: str


def differences_figure(rows: Sequence[tuple[str, float, float | None, float | None, str]], metric: str) -> str:
    """Differences in a metric with their intervals; returns SVG.

    Args:
        rows: label, mean difference, the interval's ends or None, and the verdict in words, which begins with better or
            worse where there is one.
        metric: what is compared, with its unit, as it is to stand below the axis.
    """
    given = [Difference(*row) for row in rows]
    axis = _axis(given)
    left = EDGE_PX + min(max((svg.text_width(row.label, 11) for row in given), default=0), MAX_LABEL_PX) + 12
    told = min(max((svg.text_width(row.verdict, 11) for row in given), default=0), MAX_VERDICT_PX)
    bottom = TOP_PX + ROW_PX * len(given)
    parts = _frame(axis, left, bottom, metric)
    for idx, row in enumerate(given):
        parts += _row(row, axis, left, TOP_PX + ROW_PX * (idx + 0.5))
    width = left + PLOT_PX + 14 + told + EDGE_PX
    return svg.document(width, bottom + FOOT_PX, parts, f"Differences in {metric} with 95 % intervals")


def _axis(rows: Sequence[Difference]) -> Axis:
    """Around zero and all that is known."""
    ends = [end for row in rows for end in (row.mean, row.low, row.high) if end is not None and math.isfinite(end)]
    return axis_around(min([0.0, *ends]), max([0.0, *ends]), room=0.08)


def _frame(axis: Axis, left: float, bottom: float, metric: str) -> list[str]:
    parts = []
    for value, label in axis.ticks():
        x = left + PLOT_PX * float(axis.share(value))
        parts.append(svg.line(x, TOP_PX, x, bottom, colour="#E5E5E5", width=0.7))
        parts.append(svg.text(x, bottom + 15, label, size=SMALL, anchor="middle"))
    zero = left + PLOT_PX * float(axis.share(0.0))
    parts.append(svg.line(left, bottom, left + PLOT_PX, bottom, colour=INK, width=0.9))
    parts.append(svg.line(zero, TOP_PX - 6, zero, bottom, colour=INK, width=1.1))
    parts.append(svg.text(zero, TOP_PX - 10, "no difference", size=SMALL, anchor="middle"))
    parts.append(svg.text(left + PLOT_PX / 2, bottom + 33, f"difference in {metric}", size=SMALL, anchor="middle"))
    return parts


def _row(row: Difference, axis: Axis, left: float, middle: float) -> list[str]:
    colour, kind = next((looks for word, looks in LOOKS.items() if row.verdict.startswith(word)), OTHERWISE)
    label = svg.fitted(row.label, MAX_LABEL_PX, 11)
    parts = [svg.text(left - 10, middle + 4, label, anchor="end")]
    if row.low is not None and row.high is not None and math.isfinite(row.low) and math.isfinite(row.high):
        low, high = (left + PLOT_PX * float(axis.share(end)) for end in (row.low, row.high))
        caps = "".join(f"M{svg.number(x)} {svg.number(middle - 4)}v8" for x in (low, high))
        parts.append(svg.line(low, middle, high, middle, colour=colour, width=2))
        parts.append(svg.path(caps, colour=colour, width=1.4))
    if math.isfinite(row.mean):
        x = left + PLOT_PX * float(axis.share(row.mean))
        parts.append(svg.path(svg.marker(kind, x, middle, 4), fill=colour))
    verdict = svg.fitted(row.verdict, MAX_VERDICT_PX, 11)
    return [*parts, svg.text(left + PLOT_PX + 14, middle + 4, verdict)]
