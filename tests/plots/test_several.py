"""Figures of several runs: each told apart by more than its colour, many of them light, groups with their spread."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from clipexp.plots.static import comparison_figure
from clipexp.track.curves import Curves, Series

SVG = "{http://www.w3.org/2000/svg}"
MAX_BYTES = 150_000


def run(loss: float, num_points: int = 11) -> Curves:
    samples = 100 * np.arange(num_points)

    def series(first: float, last: float) -> Series:
        return Series(samples, samples / 500, np.linspace(first, last, num_points), np.zeros(num_points))

    return {
        "val/loss": series(6.9, loss),
        "val/text_to_image_recall_at_1": series(0.0, 1 / loss),
        "val/chance_recall_at_1": series(0.001, 0.001),
    }


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def paths(svg: str) -> list[dict[str, str]]:
    return [element.attrib for element in ET.fromstring(svg).iter(f"{SVG}path")]


def test_the_same_runs_give_the_same_bytes() -> None:
    runs = {"a": run(3.0), "b": run(2.0)}
    assert comparison_figure(runs, ["val/loss"]) == comparison_figure(runs, ["val/loss"])


def test_runs_with_losses_of_two_kinds_stand_in_panels_of_their_own() -> None:
    small = {"val/loss_block_40" if name == "val/loss" else name: series for name, series in run(2.0).items()}
    one = texts(comparison_figure({"a": run(3.0), "b": run(2.0)}, ["val/loss"]))
    two = texts(comparison_figure({"a": run(3.0), "b": small}, ["val/loss", "val/loss_block_40"]))
    assert (one.count("samples seen"), two.count("samples seen")) == (2, 3)


def test_runs_differ_in_colour_and_dash() -> None:
    svg = comparison_figure({f"run {n}": run(2.0 + n / 10) for n in range(7)}, ["val/loss"])
    looks = {
        (path.get("stroke"), path.get("stroke-dasharray"))
        for path in paths(svg)
        if "stroke-linejoin" in path or path.get("stroke-dasharray")
    }
    coloured = {
        look
        for look in looks
        if look[0] in {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"}
    }
    assert len({colour for colour, _ in coloured}) == 7
    assert len({dash for _, dash in coloured}) == 7


def test_of_many_runs_the_best_have_names_and_the_others_are_counted() -> None:
    runs = {f"run {n}": run(2.0 + n / 10) for n in range(30)}
    shown = texts(comparison_figure(runs, ["val/loss"]))
    assert [text for text in shown if text.startswith("run ")] == [f"run {n}" for n in range(5)]
    assert "25 others" in shown


def test_a_run_that_diverged_is_not_among_the_best_and_does_not_flatten_the_rest() -> None:
    runs = {f"run {n}": run(2.0 + n / 10) for n in range(8)} | {"lost": run(math.nan), "burst": run(1e6)}
    shown = texts(comparison_figure(runs, ["val/loss"]))
    assert "lost" not in shown
    assert "burst" not in shown
    assert "beyond the axis" in shown
    assert "10" in shown


@pytest.mark.parametrize(("num_runs", "num_points"), [(7, 10_000), (60, 10_000), (1000, 20)])
def test_a_figure_of_many_runs_is_light(num_runs: int, num_points: int) -> None:
    random = np.random.default_rng(0)
    runs = {f"run {n}": run(2 + random.random(), num_points) for n in range(num_runs)}
    for curves in runs.values():
        curves["val/loss"].values[:] += random.normal(0, 0.1, num_points)
    assert len(comparison_figure(runs, ["val/loss"]).encode()) < MAX_BYTES


def test_a_groups_seeds_are_one_name_with_their_spread() -> None:
    runs = {
        f"{name} seed {seed}": run(loss + seed / 10) for name, loss in (("a", 2.0), ("b", 3.0)) for seed in range(3)
    }
    groups = {name: name.split()[0] for name in runs}
    svg = comparison_figure(runs, ["val/loss"], groups)
    assert "a (mean of 3 seeds, ±1 sd)" in texts(svg)
    assert sum(path.get("opacity") == "0.18" for path in paths(svg)) == 4  # two groups in two panels
    assert sum(path.get("opacity") == "0.6" and path.get("fill") == "none" for path in paths(svg)) == 12


def test_seeds_without_a_common_place_have_no_mean_but_are_drawn() -> None:
    other = run(2.0)
    moved = {metric: Series(s.samples_seen + 7, s.epoch, s.values, s.time_ms) for metric, s in other.items()}
    svg = comparison_figure({"a 1": other, "a 2": moved}, ["val/loss"], {"a 1": "a", "a 2": "a"})
    assert sum(path.get("opacity") == "0.6" and path.get("fill") == "none" for path in paths(svg)) == 4


def test_runs_without_validation_are_compared_by_their_training_loss() -> None:
    runs = {name: {"train/loss": run(2.0)["val/loss"]} for name in "ab"}
    assert "train/loss (nats)" in texts(comparison_figure(runs, []))
