"""The figure of differences: a row each, zero in view, the verdict in words."""

import math
import xml.etree.ElementTree as ET

from clipexp.plots.forest import differences_figure

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [
    ("b − a", -0.2, -0.3, -0.1, "better"),
    ("c − a", 0.4, 0.2, 0.6, "worse"),
    ("d − a", 0.0, -0.1, 0.1, "not distinguishable: 4 more seeds would tell 0.05"),
]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_each_comparison_has_a_row_with_its_verdict_in_words() -> None:
    shown = texts(differences_figure(ROWS, "val/loss (nats)"))
    assert {label for label, *_ in ROWS} | {verdict for *_, verdict in ROWS} <= set(shown)
    assert "difference in val/loss (nats)" in shown


def test_verdicts_differ_in_colour_and_marker() -> None:
    root = ET.fromstring(differences_figure(ROWS, "val/loss"))
    markers = [path.attrib for path in root.iter(f"{SVG}path") if path.get("fill") != "none"]
    assert len({path["fill"] for path in markers}) == len({path["d"].split("m", 1)[1] for path in markers}) == 3


def test_zero_is_in_view_though_all_differences_are_above_it() -> None:
    shown = texts(differences_figure([("b − a", 5.0, 4.0, 6.0, "worse")], "val/loss"))
    assert "0" in shown
    assert "no difference" in shown


def test_single_seeds_have_no_interval() -> None:
    with_one = differences_figure([("b − a", 0.1, 0.0, 0.2, "x")], "val/loss")
    without = differences_figure([("b − a", 0.1, None, None, "x")], "val/loss")
    nothing = differences_figure([("b − a", math.nan, math.nan, math.nan, "x")], "val/loss")
    num_paths = [len(list(ET.fromstring(svg).iter(f"{SVG}path"))) for svg in (with_one, without, nothing)]
    assert num_paths[0] == num_paths[1] + 2
    assert "nan" not in nothing


def test_a_long_name_is_cut_and_its_markup_shown_as_it_is() -> None:
    shown = texts(differences_figure([("<b>" * 60, 0.1, 0.0, 0.2, "x")], "val/loss"))
    assert any(text.startswith("<b><b>") and text.endswith("…") for text in shown)
