"""The interactive page: loss and recall are drawn from zero."""

from clipexp.plots.interactive import run_page
from clipexp.track.curves import Point, Series


def test_loss_and_recall_are_drawn_from_zero() -> None:
    curves = {"train/loss": Series.of([Point(100, 0.5, 3.0, 0), Point(200, 1.0, 2.5, 0)])}
    page = run_page("a", curves)
    # The end of the page is the figure; what stands before is plotly's code.
    assert page[-20_000:].count('"rangemode":"tozero"') == 2
