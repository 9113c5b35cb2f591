"""Static figures of a study as SVG, in the look of a run's.

    svg = history_figure(evidence)
    for name, figure in FIGURES.items(): figure.draw(evidence)  # None where there is nothing to show

One trial keeps its look in all of them: the best is a star, baselines are diamonds, pruned ones grey. Where some trials
are far worse than the rest, the axis of the objective ends before them and they stand as triangles at its end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipexp.plots.static import COLOURS, GREY, svg_of
from clipexp.study.drawing import (
    MANY,
    STAR,
    Scale,
    best_so_far,
    colours_of,
    extend,
    fill,
    linear_ticks,
    marker_size,
    objective_label,
    scatter,
    upright,
    window,
)
from clipexp.study.evidence import StudyEvidence, TrialRow
from clipexp.study.insight import MIN_FOR_CONTOUR, best_trial, importances, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = COLOURS[0], COLOURS[1], COLOURS[2]
PALE = "#BDBDBD"
PANELS_A_ROW, PANEL_WIDTH, PANEL_HEIGHT = 4, 2.9, 2.6


@dataclass(frozen=True)
class StudyFigure:
    """A figure's alternative text, and what draws it: None where there is nothing to show."""

    alt: str
    draw: Callable[[StudyEvidence], str | None]


def history_figure(evidence: StudyEvidence) -> str | None:
    """The objective of each trial in order, and the best so far; pruned and infeasible trials marked."""
    shown = window(evidence, [trial.value for trial in ranked(evidence)])
    if shown is None:
        return None

    def draw(figure: "Figure") -> None:
        axes = _panel(figure)
        size = marker_size(evidence)
        plain = [t for t in evidence.trials if t.value is not None and not t.baseline]
        scatter(axes, [(t.number, t.value) for t in plain], shown, color=BLUE, s=size, label="finished")
        bases = [t for t in evidence.trials if t.value is not None and t.baseline]
        looks = {"color": GREEN, "marker": "D", "s": 1.3 * size, "label": "baseline"}
        scatter(axes, [(t.number, t.value) for t in bases], shown, **looks)
        stopped = [(t.number, t.curve[-1][1]) for t in evidence.trials if t.state == "pruned" and t.curve]
        scatter(axes, stopped, shown, color=PALE, s=size, label="pruned")
        spoilt = [t.number for t in evidence.trials if t.state in ("infeasible", "failed")]
        if spoilt:
            tops = [0.97] * len(spoilt)
            where = axes.get_xaxis_transform()
            axes.scatter(spoilt, tops, marker="x", color=GREY, s=size, transform=where, label="infeasible")
        best_so_far(axes, evidence)
        best = ranked(evidence)[0]
        axes.scatter([best.number], [best.value or 0.0], label=f"best, trial {best.label}", **STAR, zorder=6)
        shown.set_on(axes, top=0.14)
        axes.set_xlim(-0.7, max(t.number for t in evidence.trials) + 0.7)
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel("trial")
        axes.set_ylabel(objective_label(evidence))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return svg_of(draw, width=8.5, height=3.2)


def importances_figure(evidence: StudyEvidence) -> str | None:
    """Each setting's share in the objective's variation, as bars."""
    found = importances(evidence)
    if found is None:
        return None

    def draw(figure: "Figure") -> None:
        axes = _panel(figure)
        columns = evidence.columns()
        names = [columns[path] for path in reversed(list(found.share_by_path))]
        shares = list(reversed(list(found.share_by_path.values())))
        bars = axes.barh(names, shares, color=BLUE, height=0.6)
        axes.bar_label(bars, [f"{share:.0%}" for share in shares], padding=3)
        axes.set_xlim(0, 1.1 * max(shares))
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"importance ({found.method}, {found.num_trials} finished trials)")

    return svg_of(draw, width=6, height=0.9 + 0.34 * len(found.share_by_path))


def slices_figure(evidence: StudyEvidence) -> str | None:
    """The objective over each setting by itself, a panel a setting; later trials are darker."""
    rows = ranked(evidence)
    shown = window(evidence, [trial.value for trial in rows])
    if shown is None:
        return None
    dims = evidence.spec.search
    num_rows = -(-len(dims) // PANELS_A_ROW)
    num_columns = min(len(dims), PANELS_A_ROW)

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(num_rows, num_columns, squeeze=False, sharey=True).ravel()
        for panel, (path, dim) in zip(panels, dims.items(), strict=False):
            panel.set_axisbelow(True)
            scale = Scale(dim, path, evidence.trials)
            drawn = [trial for trial in reversed(rows) if path in trial.values]
            order = sorted(drawn, key=lambda trial: trial.number)
            points = [(scale.at(trial.values[path]), trial.value) for trial in order]
            looks = {"cmap": "Blues", "vmin": -0.6 * evidence.trials[-1].number - 1, "vmax": evidence.trials[-1].number}
            edge = {"edgecolor": BLUE, "linewidth": 0.4, "s": marker_size(evidence)}
            scatter(panel, points, shown, c=[trial.number for trial in order], **looks, **edge)
            bases = [(scale.at(t.values[path]), t.value) for t in order if t.baseline]
            scatter(panel, bases, shown, color=GREEN, marker="D", s=1.3 * marker_size(evidence))
            if path in rows[0].values:
                panel.scatter([scale.at(rows[0].values[path])], [rows[0].value], **STAR, zorder=6)
            scale.dress(panel.xaxis, is_narrow=True)
            panel.set_xlim(*scale.limits)
            panel.set_xlabel(evidence.columns()[path])
        for panel in panels[len(dims) :]:
            panel.remove()
        shown.set_on(panels[0])
        for panel in panels[::num_columns]:
            panel.set_ylabel(objective_label(evidence))

    return svg_of(draw, width=PANEL_WIDTH * num_columns + 0.4, height=PANEL_HEIGHT * num_rows)


def contour_figure(evidence: StudyEvidence) -> str | None:
    """The two most important settings (or the first two), coloured by the objective; filled in from 16 trials on."""
    rows = ranked(evidence)
    shown = window(evidence, [trial.value for trial in rows])
    found = importances(evidence)
    paths = list(found.share_by_path if found else evidence.spec.search)[:2]
    rows = [trial for trial in rows if all(path in trial.values for path in paths)]
    if shown is None or len(paths) < 2 or not rows:
        return None
    across, up = (Scale(evidence.spec.search[path], path, evidence.trials) for path in paths)

    def draw(figure: "Figure") -> None:
        axes = _panel(figure)
        x = [across.at(trial.values[paths[0]]) for trial in rows]
        y = [up.at(trial.values[paths[1]]) for trial in rows]
        values = [shown.inside(trial.value or 0.0) for trial in rows]
        looks = colours_of(evidence, shown)
        if len(rows) >= MIN_FOR_CONTOUR and not (across.names or up.names):
            fill(axes, list(zip(x, y, strict=True)), values, **looks)
        points = axes.scatter(x, y, c=values, s=1.6 * marker_size(evidence), edgecolor="white", linewidth=0.7, **looks)
        axes.scatter(x[:1], y[:1], **(STAR | {"edgecolor": "white"}), zorder=6)
        for scale, axis in ((across, axes.xaxis), (up, axes.yaxis)):
            scale.dress(axis)
        axes.set_xlim(*across.limits)
        axes.set_ylim(*up.limits)
        axes.set_xlabel(evidence.columns()[paths[0]])
        axes.set_ylabel(evidence.columns()[paths[1]])
        figure.colorbar(points, ax=axes, label=objective_label(evidence), extend=extend(evidence, shown))

    return svg_of(draw, width=5.6, height=3.7)


def parallel_figure(evidence: StudyEvidence) -> str | None:
    """A line a trial through all its settings to its objective; the better, the darker and the more in front."""
    rows = [trial for trial in ranked(evidence) if all(path in trial.values for path in evidence.spec.search)]
    shown = window(evidence, [trial.value for trial in rows])
    if shown is None:
        return None
    scales = {path: Scale(dim, path, evidence.trials) for path, dim in evidence.spec.search.items()}

    def draw(figure: "Figure") -> None:
        import matplotlib as mpl

        axes = _panel(figure)
        colour = mpl.colormaps[colours_of(evidence, shown)["cmap"]]
        alpha = 0.65 if len(rows) < MANY else 0.35
        for rank, trial in reversed(list(enumerate(rows))):
            at = [_share(scale, scale.at(trial.values[path])) for path, scale in scales.items()]
            share = shown.share(trial.value or 0.0)
            looks: dict[str, Any] = {"color": ORANGE, "linewidth": 2.2}
            looks = looks if rank == 0 else {"color": colour(share), "alpha": alpha}
            axes.plot(range(len(at) + 1), [*at, _inset(share)], **looks)
        columns = [evidence.columns()[path] for path in scales]
        axes.set_xticks(range(len(columns) + 1), [*columns, objective_label(evidence)])
        axes.set_xlim(0, len(columns) + 0.02)
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(axis="x", length=0, pad=8)
        for number, scale in enumerate(scales.values()):
            upright(axes, number, [(_share(scale, place), label) for place, label in scale.ticks()])
        ticks = linear_ticks(shown.low, shown.high)
        upright(axes, len(columns), [(_inset(shown.share(value)), f"{value:g}") for value in ticks])
        axes.plot([], [], color=ORANGE, linewidth=2.2, label=f"best, trial {rows[0].label}")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)

    return svg_of(draw, width=max(5.5, 1.9 * (len(scales) + 1)), height=3.4)


def curves_figure(evidence: StudyEvidence) -> str | None:
    """The objective of each trial over samples seen: pruned ones grey, baselines named, the best in front."""
    last = [value for trial in evidence.trials for _, value in trial.curve[1:] or trial.curve]
    shown = window(evidence, last)
    if shown is None:
        return None
    best = best_trial(evidence)
    named = {trial.number: idx for idx, trial in enumerate(t for t in evidence.trials if t.baseline and t.curve)}
    faint = 0.7 if len(evidence.trials) < MANY else 0.35

    def draw(figure: "Figure") -> None:
        axes = _panel(figure)
        labels: set[str] = set()
        for trial in sorted(evidence.trials, key=lambda trial: _front(trial, best)):
            if not trial.curve:
                continue
            looks, label = _line_looks(trial, best, named.get(trial.number), faint)
            thousands = [samples / 1000 for samples, _ in trial.curve]
            marker = "o" if len(trial.curve) < 3 else ""
            once = label if label not in labels else f"_{label}"
            labels.add(label)
            axes.plot(thousands, [v for _, v in trial.curve], marker=marker, ms=3, label=once, **looks)
        axes.set_xlim(left=0)
        shown.set_on(axes)
        axes.set_xlabel("samples seen (thousands)")
        axes.set_ylabel(objective_label(evidence))
        handles, names = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], names[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return svg_of(draw, width=8.5, height=3.2)


def _front(trial: TrialRow, best: TrialRow | None) -> int:
    """What is drawn later stands in front."""
    if best is not None and trial.number == best.number:
        return 3
    return 2 if trial.baseline else 1 if trial.state == "finished" else 0


def _line_looks(
    trial: TrialRow, best: TrialRow | None, base_idx: int | None, alpha: float
) -> tuple[dict[str, Any], str]:
    if best is not None and trial.number == best.number:
        return {"color": ORANGE, "linewidth": 2.2}, f"best, trial {trial.label}"
    if base_idx is not None:
        dashes = ("--", "-.", ":")[base_idx % 3]
        return {"color": (GREEN, *COLOURS[3:6])[base_idx % 4], "linewidth": 1.8, "linestyle": dashes}, str(
            trial.baseline
        )
    if trial.state == "finished":
        return {"color": BLUE, "linewidth": 0.9, "alpha": alpha}, "finished"
    return {"color": PALE, "linewidth": 0.9, "alpha": alpha}, "pruned" if trial.state == "pruned" else "not finished"


def _panel(figure: "Figure") -> "Axes":
    """The only panel of a figure, its grid behind all else."""
    axes = figure.subplots()
    axes.set_axisbelow(True)
    return axes


def _share(scale: Scale, at: float) -> float:
    low, high = scale.limits
    return (at - low) / (high - low)


def _inset(share: float) -> float:
    """A share of the objective's axis, with room at both ends."""
    return 0.05 + 0.9 * share


FIGURES = {
    "history": StudyFigure("The objective of each trial in order, with the best so far", history_figure),
    "importances": StudyFigure("How much of the objective's variation each setting explains", importances_figure),
    "slices": StudyFigure("The objective over each setting by itself; later trials are darker", slices_figure),
    "contour": StudyFigure("The objective over the two most important settings", contour_figure),
    "parallel": StudyFigure("Each trial's settings and objective as a line; the better, the darker", parallel_figure),
    "curves": StudyFigure("The objective of each trial over samples seen", curves_figure),
}
