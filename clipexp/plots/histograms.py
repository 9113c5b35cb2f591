"""Histograms of a prepared set: caption lengths, tokens, brightness, colours, JPEG bytes, and what was dropped; PNG.

    png = histograms(title, [lengths_panel(sample.caption_chars, "characters a caption")], {"unreadable picture": 3})

Each panel says what its shares are of. Values far out in a long tail stand together in the last bar, which says so.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipexp.plots.lettering import drawable
from clipexp.plots.looks import COLOURS, GREY, INK, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

BLUE, ORANGE = COLOURS[0], COLOURS[1]
CHANNELS = {"red": COLOURS[1], "green": COLOURS[2], "blue": COLOURS[0]}
PANELS_A_ROW, PANEL_INCHES, DPI = 3, (4.0, 2.6), 150
MAX_BARS, MAX_REASONS, MAX_REASON_CHARS = 48, 12, 70
TAIL, TAIL_FACTOR = 0.99, 1.5  # a tail begins there, if the rest reaches that much further
NUM_COLOUR_BINS, LEAST_SHARE = 64, 0.8e-3
Values = NDArray[np.generic]


@dataclass(frozen=True)
class Panel:
    """A panel of the figure: what stands above it, and what draws it."""

    title: str
    draw: Callable[["Axes"], None]


@dataclass(frozen=True)
class TokensCurve:
    """One tokenizer: what it is called, int64 (captions,), how long captions are in it, uncut, and where it cuts."""

    name: str
    lengths: NDArray[np.int64]
    context_length: int


@dataclass(frozen=True)
class Bars:
    """Values gathered into bars.

    edges: (bars + 1,). frac: (bars,), of all values. tail: where the last bar begins, if it holds all beyond.
    """

    edges: NDArray[np.float64]
    frac: NDArray[np.float64]
    tail: float | None


def bars_of(values: Values, *, is_whole: bool, low: float | None = None, high: float | None = None) -> Bars:
    """Gather values into at most 48 bars of one width.

    Args:
        values: one at least.
        is_whole: they are whole numbers, so each bar holds as many of them.
        low, high: the ends; by default those of the values, but for a long tail.
    """
    found = values.astype(np.float64)
    low = float(found.min()) if low is None else low
    tail_from = float(np.quantile(found, TAIL))
    has_tail = high is None and found.max() - low > TAIL_FACTOR * (tail_from - low) and tail_from > low
    high = high if high is not None else tail_from if has_tail else float(found.max())
    if is_whole:
        width = max(1, int(np.ceil((high - low + 1) / MAX_BARS)))
        edges = np.arange(low - 0.5, high + width, width)
    else:
        edges = np.linspace(low, high if high > low else low + 1, MAX_BARS + 1)
    counts, _ = np.histogram(np.clip(found, edges[0], edges[-1]), edges)
    tail = float(np.ceil(edges[-2])) if found.max() > edges[-1] else None
    return Bars(edges, counts / len(found), tail)


def values_panel(
    title: str,
    values: Values,
    unit: str,
    *,
    is_whole: bool = True,
    ends: tuple[float | None, float | None] = (None, None),
) -> Panel:
    """One kind of value as bars, with its median.

    Args:
        title: above it.
        values: one at least.
        unit: what they are, below the axis.
        is_whole: they are whole numbers.
        ends: of the axis; by default those of the values.
    """

    def draw(axes: "Axes") -> None:
        bars = bars_of(values, is_whole=is_whole, low=ends[0], high=ends[1])
        axes.bar(bars.edges[:-1], bars.frac, np.diff(bars.edges), align="edge", color=BLUE, edgecolor="white", lw=0.4)
        median = float(np.median(values.astype(np.float64)))
        axes.axvline(median, color=ORANGE, lw=1.4)
        _note(axes, f"median {median:,.1f}".removesuffix(".0"))
        _dress(axes, unit, bars, is_whole=is_whole)

    return Panel(title, draw)


def tokens_panel(title: str, curves: Sequence[TokensCurve]) -> Panel:
    """Tokens a caption, a line for each of some tokenizers, with the context length at which it cuts."""

    def draw(axes: "Axes") -> None:
        is_alone = len(curves) == 1
        bars = bars_of(np.concatenate([curve.lengths for curve in curves]), is_whole=True)
        for colour, curve in zip(COLOURS, curves, strict=False):
            counts, _ = np.histogram(np.clip(curve.lengths, bars.edges[0], bars.edges[-1]), bars.edges)
            looks = {"fill": True, "edgecolor": "white", "lw": 0.4} if is_alone else {"lw": 1.4}
            axes.stairs(counts / len(curve.lengths), bars.edges, color=colour, **looks)
            line: dict[str, Any] = {
                "color": ORANGE if is_alone else colour,
                "lw": 1.4,
                "ls": "-" if is_alone else (0, (4, 2)),
            }
            told = f"cut at {curve.context_length}: {_share((curve.lengths > curve.context_length).mean())}"
            axes.axvline(curve.context_length + 0.5, label=f"{drawable(curve.name)}, {told}", **line)
            if is_alone:
                _note(axes, told)
        _dress(axes, "tokens, start and end included", bars, is_whole=True)
        if not is_alone:
            axes.legend(loc="upper right", fontsize=8, handlelength=1.6, frameon=True, edgecolor="none")

    return Panel(title, draw)


def colours_panel(title: str, counts_by_value: NDArray[np.int64]) -> Panel:
    """How often red, green and blue take their values: int64 (3, 256). Their means stand above it.

    On a log scale, since plain areas stick out.
    """

    def draw(axes: "Axes") -> None:
        edges = np.linspace(0, 256, NUM_COLOUR_BINS + 1)
        for (name, colour), counts in zip(CHANNELS.items(), counts_by_value, strict=True):
            frac = counts.reshape(NUM_COLOUR_BINS, -1).sum(axis=1) / counts.sum()
            mean = counts @ np.arange(256) / counts.sum()
            axes.stairs(frac, edges, color=colour, lw=1.3, label=f"{name} {mean:.0f}", baseline=None)
        axes.set_yscale("log")
        axes.set_ylim(bottom=min(LEAST_SHARE, axes.get_ylim()[0]))  # else a flat histogram has a single tick
        axes.set_xlim(0, 256)
        axes.set_xticks([0, 64, 128, 192, 255])
        axes.set_xlabel("value of a pixel, 0-255; means above")
        above: dict[str, Any] = {
            "loc": "lower right",
            "bbox_to_anchor": (1.0, 0.985),
            "ncol": 3,
            "borderpad": 0.2,
            "columnspacing": 1.0,
        }
        axes.legend(fontsize=8, handlelength=1.0, borderaxespad=0.0, **above)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")

    return Panel(title, draw)


def histograms(
    title: str, panels: Sequence[Panel], num_dropped_by_reason: Mapping[str, int], command: str = ""
) -> bytes:
    """Panels three a row, and bars of what was dropped below, as PNG.

    Args:
        title: of the figure.
        panels: in order.
        num_dropped_by_reason: the most frequent are shown; none: no bars.
        command: what makes the figure again, kept in the file.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    num_bars = min(len(num_dropped_by_reason), MAX_REASONS)
    inches = [PANEL_INCHES[1] * -(-len(panels) // PANELS_A_ROW)] + ([0.9 + 0.27 * num_bars] if num_bars else [])
    looks: dict[str, Any] = {**STYLE, "text.parse_math": False, "axes.titlesize": 10, "axes.titleweight": "bold"}
    looks |= {"axes.titlelocation": "left", "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY}
    looks |= {"xtick.color": INK, "ytick.color": INK, "axes.axisbelow": True}
    with mpl.rc_context(looks):  # type: ignore[arg-type]
        figure = Figure(figsize=(PANELS_A_ROW * PANEL_INCHES[0], 0.5 + sum(inches)), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[union-attr,call-arg]
        figure.suptitle(drawable(title), x=0.012, ha="left", fontsize=12, fontweight="bold")
        # Figures of their own, so that long names of reasons don't narrow the panels above.
        parts = figure.subfigures(len(inches), 1, squeeze=False, height_ratios=inches)[:, 0]
        _draw_panels(parts[0], panels)
        if num_bars:
            _draw_dropped(parts[1].subplots(), num_dropped_by_reason)
        return _png(figure, command)


def _draw_panels(figure: "SubFigure", panels: Sequence[Panel]) -> None:
    """Three a row; the last one takes what is left of its row."""
    grid = figure.add_gridspec(-(-len(panels) // PANELS_A_ROW), PANELS_A_ROW)
    for number, panel in enumerate(panels):
        row, column = divmod(number, PANELS_A_ROW)
        end = PANELS_A_ROW if panel is panels[-1] else column + 1
        axes = figure.add_subplot(grid[row, column:end])
        panel.draw(axes)
        axes.set_title(panel.title)


def _draw_dropped(axes: "Axes", num_by_reason: Mapping[str, int]) -> None:
    ranked = sorted(num_by_reason.items(), key=lambda pair: -pair[1])
    shown, rest = ranked[:MAX_REASONS], ranked[MAX_REASONS:]
    if rest:
        shown = [*shown[:-1], (f"{len(rest) + 1} other reasons", sum(num for _, num in [shown[-1], *rest]))]
    places = range(len(shown))[::-1]
    bars = axes.barh(places, [num for _, num in shown], color=ORANGE, height=0.62)
    axes.bar_label(bars, [f"{num:,}" for _, num in shown], padding=4)
    axes.set_yticks(list(places), [_short(reason) for reason, _ in shown])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1.08 * max(num for _, num in shown))
    axes.xaxis.set_major_formatter(lambda num, _: f"{num:,.0f}")
    axes.locator_params(axis="x", integer=True)
    axes.set_title(f"dropped, by reason ({sum(num_by_reason.values()):,} in all)")
    axes.set_xlabel("items of the source")


def _short(text: str) -> str:
    found = drawable(text)
    return found if len(found) <= MAX_REASON_CHARS else found[: MAX_REASON_CHARS - 1] + "\u2026"


def _note(axes: "Axes", text: str) -> None:
    """What the orange line says, above its panel, where no bar is in its way."""
    axes.set_title(text, loc="right", fontsize=9, fontweight="normal", color=ORANGE)


def _share(frac: float) -> str:
    """A share for a person, which is 0 where it is."""
    return f"{frac:.1%}" if frac == 0 or frac >= 0.001 else "below 0.1%"


def _dress(axes: "Axes", unit: str, bars: Bars, *, is_whole: bool) -> None:
    beyond = f" (last bar: all from {bars.tail:,.0f} on)" if bars.tail is not None else ""
    axes.set_xlabel(f"{unit}{beyond}")
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.locator_params(axis="y", nbins=5)
    axes.locator_params(axis="x", nbins=6, integer=is_whole)
    axes.grid(visible=False, axis="x")


def _png(figure: "Figure", command: str) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Comment": f"made by: {command}"} if command else {})
    return out.getvalue()
