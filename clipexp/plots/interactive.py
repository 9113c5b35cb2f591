"""Interactive figures: a run's own page, which needs no network, and charts for a report's page.

html = run_page("quickstart", curves)
charts = run_charts(curves, marks)  # for Plotly.newPlot(div, chart.data, chart.layout)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipexp.plots.looks import COLOURS, DASHES, MARKED
from clipexp.plots.marks import Mark
from clipexp.plots.thin import thin
from clipexp.track.curves import Curves, Series

# Each panel's title, its y axis's title, and its curves.
PANELS = (
    ("Loss", "nats", ("train/loss", "val/loss")),
    ("Recall@1", "share", ("val/text_to_image_recall_at_1", "val/image_to_text_recall_at_1")),
    ("Gradient norm", "", ("train/grad_norm",)),
    ("Learning rate", "", ("train/lr",)),
    ("Logit scale", "", ("train/logit_scale",)),
    ("Training rate", "samples/s", ("system/samples_per_s",)),
)
# Panels that only a mark on one of their curves brings up.
FURTHER = (
    ("Waiting for data", "share of the time", ("system/data_wait_frac",)),
    ("Memory in use", "share", ("system/memory_frac", "system/gpu_memory_frac")),
    ("Cosine of different items", "cosine", ("val/image_similarity", "val/text_similarity")),
)
FROM_ZERO = ("Loss", "Recall@1")
COLUMNS = 2
RECALL_PANEL = 1  # its curves rise to the top right, so its legend stands below
NUM_COLUMNS = 400  # of pixels that a long curve is thinned to
TOTAL_COLUMNS = 8000  # of all curves of a chart
RECALL = "val/text_to_image_recall_at_1"
CHART_PX = 300
LANE_PX, LABEL_GROUND = 18, "#FBE3B5"  # of marks' labels
MANY = 1000  # points, from which on a line is thin


@dataclass(frozen=True)
class Chart:
    """A plotly figure as plain values: its traces, and its layout."""

    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]

    @property
    def colour_by_name(self) -> dict[str, str]:
        """The traces' colours by their names, in order."""
        return {trace["meta"]: trace["line"]["color"] for trace in self.data}


def run_charts(curves: Curves, marks: Sequence[Mark] = ()) -> list[Chart]:
    """A chart for each kind of metric that a run has, with the marks on it."""
    charts = []
    marked = {mark.metric for mark in marks}
    for title, unit, prefixes in (*PANELS, *FURTHER):
        metrics = _metrics_of(curves, prefixes)
        if not metrics or ((title, unit, prefixes) in FURTHER and marked.isdisjoint(metrics)):
            continue
        data = [
            _trace(curves[metric], metric.replace("_recall_at_1", ""), COLOURS[idx], DASHES[idx])
            for idx, metric in enumerate(metrics)
        ]
        shapes, notes = _marked([mark for mark in marks if mark.metric in metrics])
        layout = _layout(
            f"{title} ({unit})" if unit else title, has_legend=len(metrics) > 1, from_zero=title in FROM_ZERO
        )
        charts.append(Chart(data, {**layout, "shapes": shapes, "annotations": notes}))
    return charts


def comparison_charts(
    curves_by_run: Mapping[str, Curves], loss_metrics: Sequence[str], group_by_run: Mapping[str, str] | None = None
) -> list[Chart]:
    """The validation losses of several runs and their recall, a chart a metric; one name has one look in all.

    Args:
        curves_by_run: by the runs' names.
        loss_metrics: the names that their validation losses go by.
        group_by_run: runs of one group, such as the seeds of a spec, have one colour.
    """
    looks = _looks(list(curves_by_run), group_by_run or {})
    charts = []
    for metric in [*(loss_metrics or ["train/loss"]), RECALL]:
        having = [name for name, curves in curves_by_run.items() if len(curves.get(metric, ()))]
        columns = max(min(TOTAL_COLUMNS // max(len(having), 1), NUM_COLUMNS), 20)
        data = [_trace(curves_by_run[name][metric], name, *looks[name], columns) for name in having]
        title = "Recall@1, text to image (share)" if metric == RECALL else f"{metric} (nats)"
        if data:
            charts.append(Chart(data, _layout(title, has_legend=False, from_zero=True)))
    return charts


def _looks(names: Sequence[str], group_by_run: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """A colour and a dash for each run: the colour by its group, so that no two of few have the same of both."""
    groups = list(dict.fromkeys(group_by_run.get(name, name) for name in names))
    looks = {}
    for name in names:
        group = group_by_run.get(name, name)
        colour = groups.index(group)
        member = [other for other in names if group_by_run.get(other, other) == group].index(name)
        dash = colour + colour // len(COLOURS) + member
        looks[name] = (COLOURS[colour % len(COLOURS)], DASHES[dash % len(DASHES)])
    return looks


def _metrics_of(curves: Curves, prefixes: Sequence[str]) -> list[str]:
    return [
        metric
        for prefix in prefixes
        for metric in sorted(curves)
        if len(curves[metric]) and (metric == prefix or metric.startswith(f"{prefix}_block_"))
    ]


def _trace(series: Series, name: str, colour: str, dash: str, columns: int = NUM_COLUMNS) -> dict[str, Any]:
    """A curve as plotly's trace; null, a gap, where values are not finite."""
    thinned = thin(series.samples_seen.astype(np.float64), series.values, columns)
    breaks = np.flatnonzero(thinned.starts)[1:]
    across = np.insert(thinned.x, breaks, thinned.x[breaks]).astype(np.int64).tolist()
    values: list[float | None] = [float(f"{value:.6g}") for value in np.insert(thinned.y, breaks, 0.0).tolist()]
    for count, place in enumerate(breaks.tolist()):
        values[place + count] = None
    return {
        "type": "scatter",
        "name": plain(name),
        "meta": name,
        "x": across,
        "y": values,
        "mode": "lines+markers" if len(series) <= 60 else "lines",
        "line": {"color": colour, "dash": _plotly_dash(dash), "width": 1.8 if len(series) < MANY else 1},
        "opacity": 1 if len(series) < MANY else 0.75,
        "marker": {"size": 5},
        "hovertemplate": "%{y:.4g} at %{x:,} samples",
        "connectgaps": False,
    }


def _plotly_dash(dash: str) -> str:
    return ",".join(f"{length}px" for length in dash.split()) or "solid"


def _marked(marks: Sequence[Mark]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Marks as plotly's shapes and annotations; those on one window share a band and stand beside each other."""
    labels_by_window: dict[tuple[int, int], list[str]] = {}
    shapes: list[dict[str, Any]] = []
    for mark in marks:
        low, high = (int(end) for end in mark.window)
        labels_by_window.setdefault((low, high), []).append(mark.label)
        if mark.value is not None and np.isfinite(mark.value):
            level = {"type": "line", "x0": low, "x1": high, "y0": mark.value, "y1": mark.value}
            shapes.append({**level, "line": {"color": MARKED, "width": 2, "dash": "dot"}})
    notes = []
    for lane, ((low, high), labels) in enumerate(labels_by_window.items()):
        band = {"type": "rect", "x0": low, "x1": high, "y0": 0, "y1": 1, "yref": "paper", "layer": "below"}
        shapes.append({**band, "fillcolor": MARKED, "opacity": 0.22, "line": {"color": MARKED, "width": 1}})
        place = {"x": (low + high) / 2, "y": 1, "yref": "paper", "yanchor": "top", "yshift": -LANE_PX * (lane % 4)}
        text = f"<b>{plain(', '.join(labels))}</b>"
        notes.append({"text": text, **place, "showarrow": False, "bgcolor": LABEL_GROUND, "font": {"color": "#000000"}})
    return shapes, notes


def _layout(title: str, *, has_legend: bool, from_zero: bool) -> dict[str, Any]:
    return {
        "title": {"text": title, "x": 0.02, "y": 0.97, "yanchor": "top", "font": {"size": 14}},
        "height": CHART_PX,
        "margin": {"l": 55, "r": 15, "t": 52, "b": 45},
        "xaxis": {"title": {"text": "samples seen"}, "automargin": True},
        "yaxis": {"rangemode": "tozero" if from_zero else "normal", "automargin": True},
        "showlegend": has_legend,
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom", "font": {"size": 11}},
        "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }


def json_for_script(value: Any) -> str:
    """JSON that can stand inside a `<script>` element: nothing in it ends the element or opens a comment."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def run_page(name: str, curves: Curves) -> str:
    """All of a run's curves on a page that can be zoomed and hovered over; plotly's code is part of it."""
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    rows = -(-len(PANELS) // COLUMNS)
    titles = [title for title, _, _ in PANELS]
    figure = make_subplots(rows, COLUMNS, subplot_titles=titles, vertical_spacing=0.08)
    for panel_idx, (panel, unit, prefixes) in enumerate(PANELS):
        row, column = divmod(panel_idx, COLUMNS)
        metrics = _metrics_of(curves, prefixes)
        for line_idx, metric in enumerate(metrics):
            label = metric.replace("_recall_at_1", "")
            trace = _trace(curves[metric], label, COLOURS[line_idx], DASHES[line_idx])
            legend = {"legend": _legend(panel_idx), "showlegend": len(metrics) > 1}
            figure.add_trace(Scatter(**trace, **legend), row=row + 1, col=column + 1)
        if row == rows - 1:
            figure.update_xaxes(title_text="samples seen", row=row + 1, col=column + 1)
        mode = "tozero" if panel in FROM_ZERO else "normal"
        figure.update_yaxes(title_text=unit, rangemode=mode, row=row + 1, col=column + 1)
        axes = figure.get_subplot(row + 1, column + 1)
        rises = panel_idx == RECALL_PANEL
        place = {
            "x": axes.xaxis.domain[1],
            "xanchor": "right",
            "y": axes.yaxis.domain[0 if rises else 1],
            "yanchor": "bottom" if rises else "top",
            "bgcolor": "rgba(255,255,255,0.7)",
        }
        figure.update_layout({_legend(panel_idx): place})
    title = {"text": plain(name), "x": 0.02, "y": 0.985}
    figure.update_layout(title=title, height=330 * rows, template="plotly_white", margin={"t": 80, "r": 40})
    return str(figure.to_html(include_plotlyjs=True, full_html=True, div_id="clipexp"))


def plain(text: str) -> str:
    """A text that plotly shows as it is: it reads some HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _legend(panel_idx: int) -> str:
    return f"legend{panel_idx + 1}" if panel_idx else "legend"
