"""A panel: curves over one axis, with what is marked on them; and figures of several panels, as SVG.

panel = Panel("loss (nats)", (Curve(x, y, "training", COLOURS[0]),), x_axis, axis_from_zero(6.9))
svg = draw_figure([panel], "epochs", "Loss of a run")

Nothing is written over the curves: legend and marks' labels stand above the axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipexp.plots import svg
from clipexp.plots.axis import Axis
from clipexp.plots.legend import ROW_PX, SMALL, Entry, draw_legend, legend_rows
from clipexp.plots.looks import GREY, INK, MARKED
from clipexp.plots.thin import Thinned, thin

WIDTH_PX, WIDE_PX, PLOT_PX = 316, 440, 168  # of a panel among three, of a panel among two
LEFT_PX, RIGHT_PX, TITLE_PX, FOOT_PX, EDGE_PX = 46, 12, 20, 38, 6
RIGHT_AXIS_PX = 46
COLUMNS = 500  # of the pixels that a long curve is thinned to: two a pixel, for those who zoom
MAX_MARKERS = 40  # a curve of more points has some of them marked
NUM_MARKED = 12
GRID = "#E5E5E5"
MIN_BAND_PX = 3.0
BEYOND = Entry("beyond the axis", INK, marker="^", is_line=False)
NO_NUMBER = Entry("not a finite number", INK, marker="X", is_line=False)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A line: x and y float64 (points,), y not always finite. on_right: whether it belongs to the right axis.

    columns: to how many columns of points it is thinned.
    """

    x: Floats
    y: Floats
    label: str
    colour: str
    marker: str = ""
    dash: str = ""
    opacity: float = 1.0
    width: float = 1.6
    on_right: bool = False
    columns: int = COLUMNS


@dataclass(frozen=True)
class Ribbon:
    """A range around a curve: x, low, high float64 (points,)."""

    x: Floats
    low: Floats
    high: Floats
    colour: str


@dataclass(frozen=True)
class Level:
    """A level across the panel, such as chance."""

    y: float
    label: str


@dataclass(frozen=True)
class Band:
    """A stretch of the x axis that is marked, with a level over it (on the right axis or the left) or None."""

    low: float
    high: float
    y: float | None
    label: str
    on_right: bool = False


@dataclass(frozen=True)
class Panel:
    """Curves over one axis; with a `right` axis for some of them."""

    title: str
    curves: tuple[Curve, ...]
    x: Axis
    y: Axis
    right: Axis | None = None
    levels: tuple[Level, ...] = ()
    ribbons: tuple[Ribbon, ...] = ()
    bands: tuple[Band, ...] = ()
    has_legend: bool = True


@dataclass(frozen=True)
class _Place:
    """Where a panel's axes lie, in pixels."""

    left: float
    top: float
    width: float
    height: float

    def xs(self, axis: Axis, values: Floats | float) -> Floats:
        return self.left + self.width * np.clip(axis.share(values), 0, 1)

    def ys(self, axis: Axis, values: Floats | float) -> Floats:
        return self.top + self.height * (1 - np.clip(axis.share(values), 0, 1))


def draw_figure(
    panels: Sequence[Panel], x_label: str, title: str, *, columns: int = 3, legend: Sequence[Entry] = ()
) -> str:
    """Panels side by side, so many a row, below a legend that holds for all of them; returns SVG."""
    columns = min(columns, len(panels))
    panel_px = WIDTH_PX if columns > 2 else WIDE_PX
    width = columns * panel_px + 2 * EDGE_PX
    common = legend_rows(legend, width - 2 * EDGE_PX)
    parts = draw_legend(common, EDGE_PX + 4, EDGE_PX)
    top = EDGE_PX + ROW_PX * len(common) + (4 if common else 0)
    for start in range(0, len(panels), columns):
        row = panels[start : start + columns]
        legends = [legend_rows(_entries(panel), panel_px - 20) for panel in row]
        lanes = [_lanes(panel, panel_px) for panel in row]
        head = TITLE_PX + ROW_PX * (max(map(len, legends)) + max(max(lane, default=-1) + 1 for lane in lanes)) + 4
        for idx, (panel, rows, lane) in enumerate(zip(row, legends, lanes, strict=True)):
            left = EDGE_PX + idx * panel_px
            parts.append(svg.text(left + 10, top + 14, panel.title, size=12, bold=True))
            parts += draw_legend(rows, left + 10, top + TITLE_PX)
            parts += _draw_panel(panel, _place(panel, left, top + head, panel_px), lane)
            below = top + head + PLOT_PX
            parts.append(svg.text(left + panel_px / 2, below + 32, x_label, size=SMALL, anchor="middle"))
        top += head + PLOT_PX + FOOT_PX
    return svg.document(width, top + EDGE_PX, parts, title)


def _place(panel: Panel, left: float, top: float, width: float) -> _Place:
    right = RIGHT_AXIS_PX if panel.right else RIGHT_PX
    return _Place(left + LEFT_PX, top, width - LEFT_PX - right, PLOT_PX)


def _entries(panel: Panel) -> list[Entry]:
    """What a panel's legend holds; what only some figures have is told in any case."""
    entries = [
        Entry(curve.label, curve.colour, curve.dash, curve.marker)
        for curve in panel.curves
        if panel.has_legend and curve.label
    ]
    entries += [Entry(level.label, GREY, "4 3") for level in panel.levels if level.label]
    if any(_is_beyond(panel, curve).any() for curve in panel.curves):
        entries.append(BEYOND)
    if not all(np.isfinite(curve.y).all() for curve in panel.curves):
        entries.append(NO_NUMBER)
    return entries


def _axis(panel: Panel, *, on_right: bool) -> Axis:
    return panel.right if on_right and panel.right else panel.y


def _is_beyond(panel: Panel, curve: Curve) -> NDArray[np.bool_]:
    axis = _axis(panel, on_right=curve.on_right)
    return np.isfinite(curve.y) & (curve.y > axis.high)


def _lanes(panel: Panel, width: float) -> list[int]:
    """In which row above the axes each band's label stands, so that none covers another."""
    place = _place(panel, 0, 0, width)
    ends: list[float] = []
    lanes = []
    for band in panel.bands:
        left, right = _label_span(panel, place, band)
        lane = next((idx for idx, end in enumerate(ends) if end < left), len(ends))
        ends[lane : lane + 1] = [right + 3]
        lanes.append(lane)
    return lanes


def _label_span(panel: Panel, place: _Place, band: Band) -> tuple[float, float]:
    """From where to where a band's label reaches: over its middle, and within the panel."""
    width = min(svg.text_width(band.label, SMALL) + 8, place.width)
    middle = float(np.mean(place.xs(panel.x, np.array([band.low, band.high]))))
    left = min(max(middle - width / 2, place.left), place.left + place.width - width)
    return left, left + width


def _draw_panel(panel: Panel, place: _Place, lanes: Sequence[int]) -> list[str]:
    parts = [
        part for band, lane in zip(panel.bands, lanes, strict=True) for part in _draw_band(panel, place, band, lane)
    ]
    parts += _draw_grid(panel, place)
    parts += [_draw_ribbon(panel, place, ribbon) for ribbon in panel.ribbons]
    for level in panel.levels:
        height = float(place.ys(panel.y, level.y))
        looks = {"colour": GREY, "dash": "4 3"}
        parts.append(svg.line(place.left, height, place.left + place.width, height, **looks))
    for curve in panel.curves:
        parts += _draw_curve(panel, place, curve)
    for band in panel.bands:
        if band.y is not None:
            ends = place.xs(panel.x, np.array([band.low, band.high]))
            height = float(place.ys(_axis(panel, on_right=band.on_right), band.y))
            low, high = float(ends[0]), max(float(ends[1]), float(ends[0]) + MIN_BAND_PX)
            parts.append(svg.line(low, height, high, height, colour="#000000", dash="3 2", width=1.4))
    return parts


def _draw_band(panel: Panel, place: _Place, band: Band, lane: int) -> list[str]:
    low, high = (float(end) for end in place.xs(panel.x, np.array([band.low, band.high])))
    if high - low < MIN_BAND_PX:
        low = min(low, place.left + place.width - MIN_BAND_PX)
        high = low + MIN_BAND_PX
    left, right = _label_span(panel, place, band)
    below = place.top - 3 - ROW_PX * lane
    middle = min(max((low + high) / 2, left + 4), right - 4)
    edges = f"M{svg.number(low)} {svg.number(place.top)}v{PLOT_PX}M{svg.number(high)} {svg.number(place.top)}v{PLOT_PX}"
    label = svg.fitted(band.label, right - left - 6, SMALL)
    return [
        svg.box(low, place.top, high - low, place.height, MARKED, opacity=0.2),
        svg.path(edges, colour=MARKED, width=0.8),
        svg.line(middle, place.top, middle, below, colour=MARKED, width=1.2),
        svg.box(left, below - ROW_PX + 2, right - left, ROW_PX - 2, "#FBE3B5"),
        svg.text((left + right) / 2, below - 3, label, size=SMALL, anchor="middle", colour="#000000", bold=True),
    ]


def _draw_grid(panel: Panel, place: _Place) -> list[str]:
    """Grid, axes and what is written at their ticks."""
    right, bottom = place.left + place.width, place.top + place.height
    parts = []
    grid = ""
    for value, label in panel.y.ticks():
        height = float(place.ys(panel.y, value))
        grid += f"M{svg.number(place.left)} {svg.number(height)}h{svg.number(place.width)}"
        parts.append(svg.text(place.left - 5, height + 3.5, label, size=SMALL, anchor="end"))
    for value, label in panel.x.ticks():
        across = float(place.xs(panel.x, value))
        grid += f"M{svg.number(across)} {svg.number(place.top)}v{svg.number(place.height)}"
        parts.append(svg.text(across, bottom + 14, label, size=SMALL, anchor="middle"))
    for value, label in panel.right.ticks() if panel.right else []:
        height = float(place.ys(panel.right or panel.y, value))
        parts.append(svg.text(right + 5, height + 3.5, label, size=SMALL))
    frame = f"M{svg.number(place.left)} {svg.number(place.top)}V{svg.number(bottom)}H{svg.number(right)}"
    frame += f"V{svg.number(place.top)}" if panel.right else ""
    return [svg.path(grid, colour=GRID, width=0.7), svg.path(frame, colour=INK, width=0.9), *parts]


def _draw_ribbon(panel: Panel, place: _Place, ribbon: Ribbon) -> str:
    across = place.xs(panel.x, ribbon.x)
    there = zip(across, place.ys(panel.y, ribbon.high), strict=True)
    back = zip(across[::-1], place.ys(panel.y, ribbon.low)[::-1], strict=True)
    places = "L".join(f"{svg.number(x)} {svg.number(y)}" for x, y in [*there, *back])
    return svg.path(f"M{places}z", fill=ribbon.colour, opacity=0.18)


def _draw_curve(panel: Panel, place: _Place, curve: Curve) -> list[str]:
    axis = _axis(panel, on_right=curve.on_right)
    thinned = thin(curve.x, curve.y, curve.columns)
    xs, ys = place.xs(panel.x, thinned.x), place.ys(axis, thinned.y)
    looks = {"colour": curve.colour, "width": curve.width, "dash": curve.dash, "opacity": curve.opacity}
    parts = [svg.line_path(xs, ys, thinned.starts, **looks)] if len(xs) else []
    parts += _draw_markers(curve, thinned, xs, ys)
    beyond = xs[thinned.y > axis.high]
    if len(beyond):
        places = "".join(svg.marker("^", x, place.top + 4) for x in _spaced(beyond))
        parts.append(svg.path(places, fill=curve.colour))
    if len(thinned.gaps):
        bottom = place.top + place.height
        crosses = "".join(svg.marker("X", x, bottom) for x in _spaced(place.xs(panel.x, thinned.gaps)))
        parts.append(svg.path(crosses, fill="#000000"))
    return parts


def _draw_markers(curve: Curve, thinned: Thinned, xs: Floats, ys: Floats) -> list[str]:
    """Markers on a curve's points, or on some of many; and dots where a point has no neighbour to be joined with."""
    alone = thinned.starts & np.append(thinned.starts[1:], True)
    kind, chosen = "o", np.flatnonzero(alone)
    radius = 1.5
    if curve.marker:
        every = 1 if len(xs) <= MAX_MARKERS else -(-len(xs) // NUM_MARKED)
        kind, chosen, radius = curve.marker, np.arange(0, len(xs), every), 2.8
    places = "".join(svg.marker(kind, xs[idx], ys[idx], radius) for idx in chosen)
    return [svg.path(places, fill=curve.colour, opacity=max(curve.opacity, 0.6))] if places else []


def _spaced(xs: Floats) -> list[float]:
    """Places of which none is nearer than some pixels to the one before."""
    found: list[float] = []
    for x in xs:
        if not found or x - found[-1] >= 6:
            found.append(float(x))
    return found
