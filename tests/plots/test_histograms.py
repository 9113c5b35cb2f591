"""Histograms of a prepared set: bars that hold every value, and figures that stand any text."""

import io

import numpy as np
import pytest
from PIL import Image

from clipexp.plots.histograms import Panel, TokensCurve, bars_of, colours_panel, histograms, tokens_panel, values_panel

COUNTS = np.full((3, 256), 7)


def size_of(panels: list[Panel], num_by_reason: dict[str, int]) -> tuple[int, int]:
    return Image.open(io.BytesIO(histograms("$title$ \u732b", panels, num_by_reason))).size


def test_each_whole_number_has_a_bar_of_its_own_where_there_are_few() -> None:
    bars = bars_of(np.array([1, 1, 2, 4]), is_whole=True)
    assert bars.edges.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert bars.frac.tolist() == [0.5, 0.25, 0, 0.25]
    assert bars.tail is None


def test_a_long_tail_stands_in_the_last_bar() -> None:
    values = np.array([*range(10), *range(10)] * 50 + [10_000])
    bars = bars_of(values, is_whole=True)
    assert bars.edges[-1] < 20
    assert bars.tail == 9
    assert bars.frac[-1] == pytest.approx(101 / 1001)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("values", [[3], [5, 5, 5], [0, 1e6], list(range(1000)), [0.25, 0.5]])
def test_bars_hold_all_values_whatever_they_are(values: list[float], is_whole: bool) -> None:
    bars = bars_of(np.array(values), is_whole=is_whole)
    assert bars.frac.sum() == pytest.approx(1)
    assert len(bars.frac) <= 48
    assert len(bars.edges) == len(bars.frac) + 1


def test_a_figure_grows_by_rows_of_panels_and_by_reasons() -> None:
    panels = [values_panel("lengths", np.arange(50), "characters"), colours_panel("colour", COUNTS)]
    width, height = size_of(panels, {})
    assert size_of(panels * 2, {})[0] == width
    assert size_of(panels * 2, {})[1] > height
    assert size_of(panels, {f"reason {number}": 1 for number in range(5)})[1] > height


def test_reasons_of_any_text_and_number_are_drawn() -> None:
    reasons = {f"$\\frac{{{number}}}{{0}}$ <b> \u732b \u05e9 {'x' * number * 9}": number + 1 for number in range(40)}
    limit = size_of([colours_panel("colour", COUNTS)], {f"reason {number}": 1 for number in range(12)})
    assert size_of([colours_panel("colour", COUNTS)], reasons) == limit


def test_several_tokenizers_stand_in_one_panel() -> None:
    curves = [TokensCurve(f"${length}$", np.arange(3, 60), length) for length in (16, 32, 77)]
    one, three = (histograms("tokens", [tokens_panel("tokens", some)], {}) for some in (curves[:1], curves))
    assert one != three
