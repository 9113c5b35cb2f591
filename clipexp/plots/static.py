"""Static figures as SVG: a run's curves, and several runs against one another.

    svg = run_figure(curves, chance_loss=6.93)

Colours are Okabe and Ito's, which readers with colour blindness tell apart (Wong 2011); markers differ as well.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clipexp.track.journal import Curves, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#767676"
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
        _line(loss, curves.get(loss_metric, ()), COLOURS[1], "frozen validation", marker="o")
        _finish(loss, "loss (nats)", loss_metric)
        _chance(loss, chance_loss, "chance")
        for way, colour, marker in (("text_to_image", COLOURS[2], "^"), ("image_to_text", COLOURS[3], "D")):
            series = curves.get(f"val/{way}_recall_at_1", ())
            _line(recall, series, colour, way.replace("_", " "), marker=marker, scale=100)
        recall.set_ylim(0, 100)
        _finish(recall, "recall@1 (%)", "retrieval, validation pairs")
        _line(optim, curves.get("train/grad_norm", ()), COLOURS[4], "gradient norm")
        _finish(optim, "gradient norm", "gradient norm and learning rate")
        rate = optim.twinx()
        rate.grid(visible=False)
        _line(rate, curves.get("train/lr", ()), COLOURS[5], "learning rate")
        rate.set_ylabel("learning rate")
        rate.set_ylim(bottom=0)
        rate.spines["right"].set_visible(True)
        lines = [*optim.get_lines(), *rate.get_lines()]
        optim.legend(lines, [str(line.get_label()) for line in lines])

    return _svg(draw, width=11, height=3.1)


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
        panels[-1].set_ylim(0, 100)
        _finish(panels[-1], "recall@1 (%)", "pictures found by caption", by_epoch=False)

    return _svg(draw, width=3.8 * (len(loss_metrics) + 1), height=3.2)


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
        axes.plot(
            across, [scale * p.value for p in series], color=colour, label=label, marker=marker, ms=size, alpha=alpha
        )


def _chance(axes: "Axes", value: float, label: str) -> None:
    axes.axhline(value, color=GREY, linewidth=0.8, linestyle="--")
    axes.annotate(label, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", color=GREY)


def _finish(axes: "Axes", ylabel: str, title: str, *, by_epoch: bool = True) -> None:
    axes.set_xlabel("epochs" if by_epoch else "samples seen (thousands)")
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_ylim(bottom=0)
    if axes.get_lines():
        axes.legend()


def _svg(draw: Any, width: float, height: float) -> str:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
