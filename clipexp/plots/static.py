"""Static figures as SVG: a run's curves with what was found on them, and several runs against one another.

svg = run_figure(curves, "val/loss", chance_loss=6.93, marks=[Mark("train/loss", (0, 50_000), None, "1")])
svg = comparison_figure({"a": curves, "b": others}, ["val/loss"])
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipexp.plots.axis import Axis, axis_around, axis_from_zero, log_axis
from clipexp.plots.forest import differences_figure
from clipexp.plots.looks import COLOURS, GREY, scientific, svg_of
from clipexp.plots.marks import Mark
from clipexp.plots.panel import Band, Curve, Level, Panel, draw_figure
from clipexp.plots.several import comparison_figure
from clipexp.track.curves import Curves, Series

__all__ = ["COLOURS", "GREY", "comparison_figure", "differences_figure", "run_figure", "scientific", "svg_of"]
LOSS_REACH = 2.0  # the loss's axis ends at so many times chance, whatever it rose to
LOG_REACH = 100.0  # gradient norms that exceed their median so many times have a logarithmic axis
MANY, NUM_MEANS = 1000, 100
RECALLS = {"val/text_to_image_recall_at_1": "text to image", "val/image_to_text_recall_at_1": "image to text"}
NORM, RATE = "train/grad_norm", "train/lr"
LOOKS = ({"colour": COLOURS[2], "marker": "^"}, {"colour": COLOURS[3], "marker": "D", "dash": "7 3"})
# Further panels, drawn where a mark is on one of their metrics: title, factor, metrics with their names.
FURTHER: tuple[tuple[str, float, Mapping[str, str]], ...] = (
    ("logit scale", 1, {"train/logit_scale": ""}),
    ("training rate (samples/s)", 1, {"system/samples_per_s": ""}),
    ("time spent waiting for data (%)", 100, {"system/data_wait_frac": ""}),
    ("memory in use (%)", 100, {"system/memory_frac": "of the machine", "system/gpu_memory_frac": "of the GPU"}),
    ("cosine of different items", 1, {"val/image_similarity": "pictures", "val/text_similarity": "captions"}),
)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Shown:
    """A panel, the metrics that it shows, and what their values are multiplied by."""

    panel: Panel
    metrics: frozenset[str]
    factor: float = 1.0


def run_figure(curves: Curves, loss_metric: str, chance_loss: float, marks: Sequence[Mark] = ()) -> str:
    """A run's loss, recall, and gradient norm with learning rate, side by side; returns SVG.

    Args:
        curves: the run's.
        loss_metric: the validation loss's name in them.
        chance_loss: in nats.
        marks: drawn on the panel that shows their metric, or on a further one. Where it has no points they are not.
    """
    curves = {metric: series for metric, series in curves.items() if len(series)}
    marks = [mark for mark in marks if mark.metric in curves]
    unit = "epochs"
    if not all(np.isfinite(series.epoch).all() for series in curves.values()):  # how long an epoch was is not known
        unit = "samples seen"
        curves = {metric: _over_samples(series) for metric, series in curves.items()}
    x = _x_axis(curves)
    shown = [_loss(curves, loss_metric, chance_loss, x), _recall(curves, x), _optim(curves, x)]
    there = frozenset[str]().union(*(each.metrics for each in shown))
    shown += _further(curves, [mark.metric for mark in marks if mark.metric not in there], x)
    panels = [_with_marks(each, [mark for mark in marks if mark.metric in each.metrics], curves) for each in shown]
    return draw_figure(panels, unit, "Loss, recall@1, gradient norm and learning rate of a run")


def _over_samples(series: Series) -> Series:
    """The same series with samples seen in place of epochs."""
    return Series(series.samples_seen, series.samples_seen, series.values, series.time_ms)


def _x_axis(curves: Curves) -> Axis:
    ends = [series.epoch[[0, -1]] for series in curves.values()]
    low, high = (float(np.min(ends)), float(np.max(ends))) if ends else (0.0, 1.0)
    return axis_around(0.0 if low < high / 4 else low, high)


def _loss(curves: Curves, loss_metric: str, chance_loss: float, x: Axis) -> _Shown:
    found: list[Curve] = []
    if series := curves.get("train/loss"):
        found += _noisy(series, "training batch", COLOURS[0])
    if series := curves.get(loss_metric):
        label = f"validation, blocks of {_block_size(curves, loss_metric):,}"
        found.append(Curve(series.epoch, series.values, label, COLOURS[1], marker="o"))
    top = max([chance_loss, *(_highest(curve.y) for curve in found)])
    y = axis_from_zero(min(top, LOSS_REACH * chance_loss))
    levels = (Level(chance_loss, f"chance, validation: {chance_loss:.2f}"),)
    panel = Panel("loss (nats)", tuple(found), x, y, levels=levels)
    return _Shown(panel, frozenset({"train/loss", loss_metric, "val/chance_loss"}))


def _recall(curves: Curves, x: Axis) -> _Shown:
    found = tuple(
        Curve(curves[metric].epoch, 100 * curves[metric].values, label, **looks)  # type: ignore[arg-type]
        for (metric, label), looks in zip(RECALLS.items(), LOOKS, strict=True)
        if metric in curves
    )
    chance = curves.get("val/chance_recall_at_1")
    levels = (Level(100 * chance[-1].value, "chance"),) if chance else ()
    panel = Panel("recall@1 (%)", found, x, recall_axis(found), levels=levels)
    return _Shown(panel, frozenset({*RECALLS, "val/chance_recall_at_1"}), factor=100)


def recall_axis(found: Sequence[Curve]) -> Axis:
    """In percent: no higher than the best needs, but to 5 % at least."""
    best = max((_highest(curve.y) for curve in found), default=0.0)
    return Axis(0.0, min(100.0, max(5.0, 1.15 * best)))


def _optim(curves: Curves, x: Axis) -> _Shown:
    found: list[Curve] = []
    norm, rate = curves.get(NORM), curves.get(RATE)
    y, right, title = axis_from_zero(0.0), None, "gradient norm"
    if norm:
        y = axis_from_zero(_highest(norm.values))
        above = norm.values[np.isfinite(norm.values) & (norm.values > 0)]
        if len(above) and above.max() > LOG_REACH * np.median(above):
            y, title = log_axis(above), "gradient norm (log)"
        found += _noisy(norm, "gradient norm (left)", COLOURS[1])
    if rate:
        right = axis_from_zero(_highest(rate.values))
        label = "learning rate (right)"
        found.append(Curve(rate.epoch, rate.values, label, COLOURS[0], dash="7 3", on_right=True))
        title += ", learning rate"
    return _Shown(Panel(title, tuple(found), x, y, right=right), frozenset({NORM, RATE}))


def _noisy(series: Series, label: str, colour: str) -> list[Curve]:
    """A series; one of very many points is drawn pale, with the means of its stretches over it."""
    if len(series) < MANY:
        return [Curve(series.epoch, series.values, label, colour, opacity=0.75, width=1.2)]
    ends = np.linspace(0, len(series), NUM_MEANS + 1).astype(np.int64)[:-1]
    counts = np.diff(np.append(ends, len(series)))
    across, mean = (np.add.reduceat(each, ends) / counts for each in (series.epoch, series.values))
    pale = Curve(series.epoch, series.values, f"{label}, its mean dark", colour, opacity=0.4, width=1)
    return [pale, Curve(across[np.isfinite(mean)], mean[np.isfinite(mean)], "", colour, width=1.8)]


def _further(curves: Curves, metrics: Sequence[str], x: Axis) -> list[_Shown]:
    """A panel for each kind of metric that has a mark and no panel yet; metrics that are not in the table go alone."""
    found: list[_Shown] = []
    for metric in dict.fromkeys(metrics):
        if any(metric in each.metrics for each in found):
            continue
        alone = (metric, 1.0, {metric: ""})
        title, factor, names = next((kind for kind in FURTHER if metric in kind[2]), alone)
        present = {name: label for name, label in names.items() if name in curves}
        drawn = tuple(
            Curve(
                curves[name].epoch, factor * curves[name].values, label, COLOURS[idx], dash=("", "7 3")[idx], width=1.3
            )
            for idx, (name, label) in enumerate(present.items())
        )
        low = min(_lowest(curve.y) for curve in drawn)
        top = max(_highest(curve.y) for curve in drawn)
        y = axis_from_zero(top) if low >= 0 else axis_around(low, top, room=0.08)
        found.append(_Shown(Panel(title, drawn, x, y), frozenset(present), factor))
    return found


def _with_marks(shown: _Shown, marks: Sequence[Mark], curves: Curves) -> Panel:
    """A panel with marks; its axis reaches up to their levels."""
    bands = tuple(_band(mark, curves[mark.metric], shown.factor) for mark in marks)
    panel = shown.panel
    tops = [band.y for band, mark in zip(bands, marks, strict=True) if band.y is not None and mark.metric != RATE]
    if tops and not panel.y.is_log and max(tops) > panel.y.high:
        panel = dataclasses.replace(panel, y=dataclasses.replace(panel.y, high=1.05 * max(tops)))
    return dataclasses.replace(panel, bands=bands)


def _band(mark: Mark, series: Series, factor: float) -> Band:
    """A mark where it lies along the curve; before the curve's first point, from the very start on."""
    samples, across = series.samples_seen.astype(np.float64), series.epoch
    if samples[0] > 0:
        samples, across = np.append(0.0, samples), np.append(0.0, across)
    low, high = np.interp(mark.window, samples, across)
    level = None if mark.value is None or not np.isfinite(mark.value) else factor * mark.value
    return Band(float(low), float(high), level, mark.label, on_right=mark.metric == RATE)


def _highest(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if len(finite) else 0.0


def _lowest(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.min()) if len(finite) else 0.0


def _block_size(curves: Curves, loss_metric: str) -> int:
    """How many pairs the validation's losses are over: as recorded, else as the metric's name says."""
    if recorded := curves.get("val/block_size"):
        return int(recorded[-1].value)
    suffix = loss_metric.rpartition("_block_")[2]
    return int(suffix) if suffix.isdigit() else 1024
