"""Interactive figures: loss and recall are drawn from zero, long curves are thinned, names are shown as they are."""

import json
import math

import numpy as np

from clipexp.plots.interactive import comparison_charts, json_for_script, run_charts, run_page
from clipexp.plots.marks import Mark
from clipexp.track.curves import Curves, Point, Series

CURVES: Curves = {"train/loss": Series.of([Point(100, 0.5, 3.0, 0), Point(200, 1.0, 2.5, 0)])}


def test_loss_and_recall_are_drawn_from_zero() -> None:
    page = run_page("a", CURVES)
    # The end of the page is the figure; what stands before is plotly's code.
    assert page[-20_000:].count('"rangemode":"tozero"') == 2


def test_a_long_curve_is_thinned_and_keeps_its_spike() -> None:
    values = np.zeros(10_000)
    values[1234] = 9.0
    samples = np.arange(10_000)
    (chart,) = run_charts({"train/loss": Series(samples, samples, values, samples)})
    assert len(chart.data[0]["x"]) < 1000
    assert chart.data[0]["y"][chart.data[0]["x"].index(1234)] == 9.0


def test_values_that_are_no_numbers_are_gaps() -> None:
    points = [Point(n, n, value, 0) for n, value in enumerate([3.0, math.nan, math.inf, 2.0, 1.0])]
    (chart,) = run_charts({"train/loss": Series.of(points)})
    assert chart.data[0]["y"] == [3.0, None, 2.0, 1.0]


def test_a_mark_is_a_band_over_its_window_with_its_label() -> None:
    (chart,) = run_charts(CURVES, [Mark("train/loss", (100, 150), 2.7, "1 <b>")])
    assert sorted((shape["type"], shape["x0"], shape["x1"]) for shape in chart.layout["shapes"]) == [
        ("line", 100, 150),
        ("rect", 100, 150),
    ]
    assert chart.layout["annotations"][0]["text"] == "<b>1 &lt;b&gt;</b>"


def test_marks_on_one_window_share_a_band_and_no_label_covers_another() -> None:
    windows = {"1": (100, 150), "2": (100, 150), "3": (100, 200)}
    (chart,) = run_charts(CURVES, [Mark("train/loss", window, None, label) for label, window in windows.items()])
    labels = chart.layout["annotations"]
    assert [label["text"] for label in labels] == ["<b>1, 2</b>", "<b>3</b>"]
    assert len({label["yshift"] for label in labels}) == len(chart.layout["shapes"]) == 2


def test_a_run_has_one_colour_in_all_charts_of_a_comparison() -> None:
    both = {"val/loss": CURVES["train/loss"], "val/text_to_image_recall_at_1": CURVES["train/loss"]}
    only = {"val/text_to_image_recall_at_1": CURVES["train/loss"]}
    loss, recall = comparison_charts({"a": only, "b": both}, ["val/loss"])
    assert loss.colour_by_name["b"] == recall.colour_by_name["b"] != recall.colour_by_name["a"]


def test_seeds_of_a_group_have_its_colour_and_dashes_of_their_own() -> None:
    runs = {name: {"val/loss": CURVES["train/loss"]} for name in ("a 0", "a 1", "b 0")}
    (chart,) = comparison_charts(runs, ["val/loss"], {"a 0": "a", "a 1": "a", "b 0": "b"})
    colours = chart.colour_by_name
    assert colours["a 0"] == colours["a 1"] != colours["b 0"]
    assert chart.data[0]["line"]["dash"] != chart.data[1]["line"]["dash"]


def test_a_name_of_markup_is_no_markup_for_plotly() -> None:
    (chart,) = comparison_charts({"<i>&x": {"val/loss": CURVES["train/loss"]}}, ["val/loss"])
    assert chart.data[0]["name"] == "&lt;i&gt;&amp;x"
    assert list(chart.colour_by_name) == ["<i>&x"]


def test_json_for_a_script_can_not_end_it() -> None:
    value = ["</script><!--", "\u2028"]
    text = json_for_script(value)
    assert "<" not in text
    assert json.loads(text) == value
