"""Static figures as SVG: a run's curves, and several runs against one another.

    svg = run_figure(curves, chance_loss=6.93)

Colours are Okabe and Ito's, which readers with colour blindness tell apart (Wong 2011); markers differ as well.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clipexp.track.curves import Curves, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#767676"
NORM_COLOUR, RATE_COLOUR = COLOURS[1], COLOURS[0]  # dark enough for the axes' text
HEADROOM = 1.08  # so that no marker at the top is cut off
STYLE: dict[str, Any] = {
    "svg.hashsalt": "clipexp",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def run_figure(curves: Curves, loss_metric: str, chance_loss: float) -> str:
    """A run's loss, recall, and gradient norm with learning rate, side by side; returns SVG."""

    def draw(figure: "Figure") -> None:
        loss, recall, optim = figure.subplots(1, 3)
        _line(loss, curves.get("train/loss", ()), COLOURS[0], "training batch", alpha=0.6)
        block = _block_size(curves, loss_metric)
        _line(loss, curves.get(loss_metric, ()), COLOURS[1], f"validation, blocks of {block:,}", marker="o")
        _chance(loss, chance_loss, "chance, validation")
        _finish(loss, "loss (nats)", "loss")
        for way, colour, marker in (("text_to_image", COLOURS[2], "^"), ("image_to_text", COLOURS[3], "D")):
            series = curves.get(f"val/{way}_recall_at_1", ())
            _line(recall, series, colour, way.replace("_", " "), marker=marker, scale=100)
        _finish_recall(recall, [curves], "recall@1")
        _line(optim, curves.get("train/grad_norm", ()), NORM_COLOUR, "gradient norm")
        _finish(optim, "gradient norm", "gradient norm and learning rate")
        rate = optim.twinx()
        rate.grid(visible=False)
        _line(rate, curves.get("train/lr", ()), RATE_COLOUR, "learning rate")
        rate.set_ylabel("learning rate")
        _set_top(rate)
        rate.yaxis.set_major_formatter(lambda value, _: scientific(value))
        rate.spines["right"].set_visible(True)
        for axes, colour in ((optim, NORM_COLOUR), (rate, RATE_COLOUR)):
            axes.yaxis.label.set_color(colour)
            axes.tick_params(axis="y", colors=colour)
        lines = [*optim.get_lines(), *rate.get_lines()]
        optim.legend(lines, [str(line.get_label()) for line in lines])

    return svg_of(draw, width=11, height=3.1)


def comparison_figure(curves_by_run: Mapping[str, Curves], loss_metrics: Sequence[str]) -> str:
    """Validation loss and recall of several runs over samples seen; returns SVG.

    Runs whose losses go by different names (blocks of another size) stand in panels of their own.
    """

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(1, len(loss_metrics) + 1, squeeze=False)[0]
        for run_idx, (name, curves) in enumerate(curves_by_run.items()):
            marker, colour = MARKERS[run_idx % len(MARKERS)], COLOURS[run_idx % len(COLOURS)]
            for panel, metric in zip(panels, loss_metrics, strict=False):
                if metric in curves:
                    _line(panel, curves[metric], colour, name, marker=marker, by_epoch=False)
            series = curves.get("val/text_to_image_recall_at_1", ())
            _line(panels[-1], series, colour, name, marker=marker, scale=100, by_epoch=False)
        for panel, metric in zip(panels, loss_metrics, strict=False):
            _finish(panel, "loss (nats)", metric, by_epoch=False)
        _finish_recall(panels[-1], list(curves_by_run.values()), "recall@1, text to image", by_epoch=False)

    return svg_of(draw, width=3.8 * (len(loss_metrics) + 1), height=3.2)


def _line(  # noqa: PLR0913 (a line's looks)
    axes: "Axes",
    series: Sequence[Point],
    colour: str,
    label: str,
    *,
    marker: str = "",
    scale: float = 1,
    alpha: float = 1,
    by_epoch: bool = True,
) -> None:
    if series:
        across = [p.epoch if by_epoch else p.samples_seen / 1000 for p in series]
        size = 3.5 if len(series) <= 40 else 0
        up = [scale * p.value for p in series]
        axes.plot(across, up, color=colour, label=label, marker=marker, ms=size, alpha=alpha)


def _chance(axes: "Axes", value: float, label: str) -> None:
    axes.axhline(value, color=GREY, linewidth=0.8, linestyle="--")
    axes.annotate(label, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", color=GREY)


def _finish(axes: "Axes", ylabel: str, title: str, *, by_epoch: bool = True) -> None:
    axes.set_xlabel("epochs" if by_epoch else "samples seen (thousands)")
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=9, loc="left")
    _set_top(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _finish_recall(axes: "Axes", runs: Sequence[Curves], title: str, *, by_epoch: bool = True) -> None:
    """A recall panel in percent: chance as a line, and the axis no higher than the best needs."""
    chances = {curves["val/chance_recall_at_1"][-1].value for curves in runs if curves.get("val/chance_recall_at_1")}
    best = _highest(axes)
    for number, chance in enumerate(sorted(chances)):
        label = "_chance" if number else "chance"  # one entry in the legend
        axes.axhline(100 * chance, color=GREY, linewidth=0.8, linestyle="--", label=label)
    _finish(axes, "recall@1 (%)", title, by_epoch=by_epoch)
    axes.set_ylim(0, min(100, max(5, 1.15 * best)))
    for line in axes.get_lines():
        line.set_clip_on(False)  # a marker at 100 % is drawn whole


def _highest(axes: "Axes") -> float:
    values = (float(value) for line in axes.get_lines() for value in np.ravel(np.asarray(line.get_ydata(), float)))
    return max((value for value in values if math.isfinite(value)), default=0.0)


def _set_top(axes: "Axes") -> None:
    """From zero to a little above the highest line."""
    axes.set_ylim(0, HEADROOM * _highest(axes) or 1)


def _block_size(curves: Curves, loss_metric: str) -> int:
    """How many pairs the validation's losses are over: as recorded, else as the metric's name says."""
    if recorded := curves.get("val/block_size"):
        return int(recorded[-1].value)
    suffix = loss_metric.rpartition("_block_")[2]
    return int(suffix) if suffix.isdigit() else 1024


def scientific(value: float) -> str:
    """A number for a tick: `3e-4`, `1.57e-3`."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def svg_of(draw: Any, width: float, height: float) -> str:
    """A figure of so many inches as SVG, the same bytes each time; `draw` is called with matplotlib's figure."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
