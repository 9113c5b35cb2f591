"""Interactive figures as one HTML page each, which needs no network.

html = run_page("quickstart", curves)
"""

from clipexp.plots.static import COLOURS
from clipexp.track.curves import Curves

# Each panel's title, its y axis's title, and its curves.
PANELS = (
    ("Loss", "nats", ("train/loss", "val/loss")),
    ("Recall@1", "share", ("val/text_to_image_recall_at_1", "val/image_to_text_recall_at_1")),
    ("Gradient norm", "norm", ("train/grad_norm",)),
    ("Learning rate", "learning rate", ("train/lr",)),
    ("Logit scale", "scale", ("train/logit_scale",)),
    ("Training rate", "samples/s", ("system/samples_per_s",)),
)
FROM_ZERO = ("Loss", "Recall@1")
COLUMNS = 2
RECALL_PANEL = 1  # its curves rise to the top right, so its legend stands below


def run_page(name: str, curves: Curves) -> str:
    """All of a run's curves on a page that can be zoomed and hovered over; plotly's code is part of it."""
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    rows = -(-len(PANELS) // COLUMNS)
    titles = [title for title, _, _ in PANELS]
    figure = make_subplots(rows, COLUMNS, subplot_titles=titles, vertical_spacing=0.08)
    for panel_idx, (panel, unit, prefixes) in enumerate(PANELS):
        row, column = divmod(panel_idx, COLUMNS)
        metrics = [metric for prefix in prefixes for metric in sorted(curves) if _belongs(metric, prefix)]
        for line_idx, metric in enumerate(metrics):
            series = curves[metric]
            figure.add_trace(
                Scatter(
                    x=[point.samples_seen for point in series],
                    y=[point.value for point in series],
                    name=metric.replace("_recall_at_1", ""),
                    mode="lines+markers" if len(series) <= 60 else "lines",
                    line={"color": COLOURS[line_idx]},
                    legend=_legend(panel_idx),
                    showlegend=len(metrics) > 1,
                ),
                row=row + 1,
                col=column + 1,
            )
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
    title = {"text": name, "x": 0.02, "y": 0.985}
    figure.update_layout(title=title, height=330 * rows, template="plotly_white", margin={"t": 80, "r": 40})
    return str(figure.to_html(include_plotlyjs=True, full_html=True, div_id="clipexp"))


def _legend(panel_idx: int) -> str:
    return f"legend{panel_idx + 1}" if panel_idx else "legend"


def _belongs(metric: str, prefix: str) -> bool:
    return metric == prefix or metric.startswith(f"{prefix}_block_")
