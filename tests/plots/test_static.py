"""A run's static figure: the same input gives the same bytes, it says what it shows, and it stays light."""

import math
import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from clipexp.plots.marks import Mark
from clipexp.plots.static import run_figure
from clipexp.track.curves import Curves, Point, Series

SVG = "{http://www.w3.org/2000/svg}"
MAX_BYTES = 150_000


def series(*values: float) -> Series:
    return Series.of(Point(100 * n, n / 2, value, 0) for n, value in enumerate(values))


def curves(loss: float) -> Curves:
    return {
        "train/loss": series(loss, 1.0),
        "train/grad_norm": series(2.0, 1.0),
        "train/lr": series(0.0, 1e-3),
        "val/loss": series(6.9, loss),
        "val/text_to_image_recall_at_1": series(0.0, 0.5),
    }


def long_curves(num_points: int) -> Curves:
    random = np.random.default_rng(0)
    samples = 1000 * np.arange(1, num_points + 1)

    def noisy(middle: float) -> Series:
        values = middle + random.normal(0, 0.1, num_points)
        return Series(samples, samples / 50_000, values, np.zeros(num_points))

    metrics = ("train/loss", "train/grad_norm", "train/lr", "val/loss", "val/text_to_image_recall_at_1")
    return {metric: noisy(5.0) for metric in (*metrics, "train/logit_scale", "system/samples_per_s")}


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def num_panels(svg: str) -> int:
    return sum(text in ("epochs", "samples seen") for text in texts(svg))


def test_the_same_curves_give_the_same_bytes() -> None:
    assert run_figure(curves(3.0), "val/loss", 6.93) == run_figure(curves(3.0), "val/loss", 6.93)


def test_another_value_gives_another_figure() -> None:
    assert run_figure(curves(3.0), "val/loss", 6.93) != run_figure(curves(2.0), "val/loss", 6.93)


def test_the_loss_panel_says_how_large_the_validation_blocks_are() -> None:
    small = {**curves(3.0), "val/loss_block_40": curves(3.0)["val/loss"]}
    recorded = {**curves(3.0), "val/block_size": series(512.0)}
    assert "validation, blocks of 1,024" in texts(run_figure(curves(3.0), "val/loss", 6.93))
    assert "validation, blocks of 512" in texts(run_figure(recorded, "val/loss", 6.24))
    assert "validation, blocks of 40" in texts(run_figure(small, "val/loss_block_40", 3.69))


@pytest.mark.parametrize(("best", "top_tick"), [(0.0, "5"), (0.2, "20"), (1.0, "100")])
def test_the_recall_axis_is_no_higher_than_the_best_needs(best: float, top_tick: str) -> None:
    found = {"val/text_to_image_recall_at_1": series(0.0, best), "val/chance_recall_at_1": series(0.01)}
    shown = texts(run_figure(found, "val/loss", 6.93))
    recall = shown[shown.index("recall@1 (%)") : shown.index("gradient norm")]
    ticks = [text for text in recall if text.replace(".", "").isdigit()]
    assert max(ticks[: ticks.index(top_tick) + 1], key=float) == top_tick
    assert all(float(tick) <= float(top_tick) for tick in ticks)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_leaves_a_gap_and_is_told(value: float) -> None:
    gap = {**curves(3.0), "train/loss": series(3.0, 2.9, value, 2.7, 2.6)}
    svg = run_figure(gap, "val/loss", 6.93)
    assert "not a finite number" in texts(svg)
    assert "not a finite number" not in texts(run_figure(curves(3.0), "val/loss", 6.93))
    line = next(path.get("d", "") for path in ET.fromstring(svg).iter(f"{SVG}path") if path.get("opacity") == "0.75")
    assert (line.count("M"), line.count("L")) == (2, 2)  # two stretches of two points
    assert "nan" not in svg
    assert "inf" not in svg


def test_curves_of_nothing_but_nan_are_drawn_empty() -> None:
    nothing = {metric: series(math.nan, math.nan) for metric in curves(1.0)}
    assert "not a finite number" in texts(run_figure(nothing, "val/loss", 6.93))


@pytest.mark.parametrize("found", [{}, {"train/loss": Series((), (), (), ())}, {"train/loss": series(1.0)}])
def test_a_run_with_next_to_no_points_has_a_figure(found: Curves) -> None:
    assert num_panels(run_figure(found, "val/loss", 6.93)) == 3


def test_a_mark_stands_on_the_panel_of_its_metric_with_its_label() -> None:
    plain = run_figure(curves(3.0), "val/loss", 6.93)
    marked = run_figure(curves(3.0), "val/loss", 6.93, [Mark("train/grad_norm", (50, 100), 1.5, "4 still high")])
    assert num_panels(marked) == num_panels(plain) == 3
    assert "4 still high" in texts(marked)
    assert texts(marked).index("4 still high") > texts(marked).index("recall@1 (%)")


def test_a_mark_covers_its_window_and_no_more() -> None:
    svg = run_figure(curves(3.0), "val/loss", 6.93, [Mark("train/loss", (50, 100), None, "1")])
    plain = run_figure(curves(3.0), "val/loss", 6.93)
    band = next(box for box in ET.fromstring(svg).iter(f"{SVG}rect") if box.get("opacity") == "0.2")
    assert not any(box.get("opacity") == "0.2" for box in ET.fromstring(plain).iter(f"{SVG}rect"))
    left, width = float(band.get("x", "")), float(band.get("width", ""))
    axes = 316 - 46 - 12  # pixels of the panel's axes, from 0 to 100 samples
    assert left == pytest.approx(6 + 46 + axes / 2, abs=0.2)
    assert width == pytest.approx(axes / 2, abs=0.2)


def test_a_marks_label_stands_above_the_axes_and_covers_no_other() -> None:
    marks = [Mark("train/loss", (0, 100), None, label) for label in ("1", "2", "3")]
    svg = ET.fromstring(run_figure(curves(3.0), "val/loss", 6.93, marks))
    labels = [
        element for element in svg.iter(f"{SVG}text") if element.text in ("1", "2", "3") and element.get("font-weight")
    ]
    top = float(next(box for box in svg.iter(f"{SVG}rect") if box.get("opacity") == "0.2").get("y", ""))
    heights = [float(label.get("y", "")) for label in labels]
    assert len(set(heights)) == 3
    assert max(heights) < top


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("train/logit_scale", "logit scale"),
        ("system/samples_per_s", "training rate (samples/s)"),
        ("system/data_wait_frac", "time spent waiting for data (%)"),
        ("system/gpu_memory_frac", "memory in use (%)"),
        ("val/text_similarity", "cosine of different items"),
        ("val/num_pairs", "val/num_pairs"),
    ],
)
def test_a_mark_on_a_metric_without_a_panel_brings_one(metric: str, title: str) -> None:
    found = {**curves(3.0), metric: series(0.5, 0.9)}
    assert title not in texts(run_figure(found, "val/loss", 6.93))
    svg = run_figure(found, "val/loss", 6.93, [Mark(metric, (0, 100), 0.8, "1"), Mark(metric, (0, 50), None, "2")])
    assert num_panels(svg) == 4
    assert title in texts(svg)


def test_a_mark_on_a_metric_that_was_not_recorded_is_left_out() -> None:
    plain = run_figure(curves(3.0), "val/loss", 6.93)
    assert run_figure(curves(3.0), "val/loss", 6.93, [Mark("train/logit_scale", (0, 100), None, "1")]) == plain


def test_an_exploding_norm_has_a_logarithmic_axis() -> None:
    calm = run_figure({"train/grad_norm": series(1.0, 2.0, 3.0)}, "val/loss", 6.93)
    wild = run_figure({"train/grad_norm": series(1.0, 2.0, 3.0, 1e6)}, "val/loss", 6.93)
    assert "gradient norm" in texts(calm)
    assert "gradient norm (log)" in texts(wild)


def test_a_loss_that_diverges_leaves_the_rest_readable() -> None:
    svg = run_figure({"train/loss": series(6.9, 5.0, 1e9), "val/loss": series(6.9, 6.0)}, "val/loss", 6.93)
    assert "beyond the axis" in texts(svg)
    assert "10" in texts(svg)


def test_epochs_that_are_not_known_are_no_axis() -> None:
    unknown = {
        metric: Series(each.samples_seen, [math.nan] * len(each), each.values, each.time_ms)
        for metric, each in curves(3.0).items()
    }
    shown = texts(run_figure(unknown, "val/loss", 6.93, [Mark("train/loss", (0, 100), None, "1")]))
    assert "samples seen" in shown
    assert "epochs" not in shown


def test_a_figure_of_long_curves_is_light_and_quick() -> None:
    found = long_curves(10_000)
    marks = [Mark(metric, (1_000_000, 2_000_000), None, "1") for metric in found]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        svg = run_figure(found, "val/loss", 6.93, marks)
        times.append(time.perf_counter() - start)
    assert len(svg.encode()) < MAX_BYTES
    assert min(times) < 0.15


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", "a & b", "\x00\x1b[31m", '"quoted"'])
def test_a_label_of_markup_is_shown_as_it_is(label: str) -> None:
    svg = run_figure(curves(3.0), "val/loss", 6.93, [Mark("train/loss", (0, 100), None, label)])
    shown = label.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert shown in texts(svg)
