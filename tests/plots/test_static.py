"""Static figures: the same input gives the same bytes, and they say what they show."""

import pytest
from matplotlib.figure import Figure

from clipexp.plots.static import _finish_recall, comparison_figure, run_figure
from clipexp.track.curves import Curves, Point, Series


def curves(loss: float) -> Curves:
    def series(*values: float) -> tuple[Point, ...]:
        return Series.of(Point(100 * n, n / 2, value, 0) for n, value in enumerate(values))

    return {
        "train/loss": series(loss, 1.0),
        "val/loss": series(6.9, loss),
        "val/text_to_image_recall_at_1": series(0.0, 0.5),
    }


def test_the_same_curves_give_the_same_bytes() -> None:
    assert run_figure(curves(3.0), "val/loss", 6.93) == run_figure(curves(3.0), "val/loss", 6.93)


def test_another_value_gives_another_figure() -> None:
    assert run_figure(curves(3.0), "val/loss", 6.93) != run_figure(curves(2.0), "val/loss", 6.93)


def test_runs_with_losses_of_two_kinds_stand_in_panels_of_their_own() -> None:
    small = {"val/loss_block_40" if name == "val/loss" else name: series for name, series in curves(2.0).items()}
    one = comparison_figure({"a": curves(3.0), "b": curves(2.0)}, ["val/loss"])
    two = comparison_figure({"a": curves(3.0), "b": small}, ["val/loss", "val/loss_block_40"])
    assert (one.count('id="axes_'), two.count('id="axes_')) == (2, 3)


def test_the_loss_panel_says_how_large_the_validation_blocks_are() -> None:
    small = {**curves(3.0), "val/loss_block_40": curves(3.0)["val/loss"]}
    recorded = {**curves(3.0), "val/block_size": Series.of([Point(0, 0.0, 512.0, 0)])}
    assert "validation, blocks of 1,024 " in run_figure(curves(3.0), "val/loss", 6.93)
    assert "validation, blocks of 512 " in run_figure(recorded, "val/loss", 6.24)
    assert "validation, blocks of 40 " in run_figure(small, "val/loss_block_40", 3.69)


@pytest.mark.parametrize(("best", "top"), [(0.0, 5), (0.2, 23), (1.0, 100)])
def test_the_recall_axis_is_no_higher_than_the_best_needs(best: float, top: float) -> None:
    axes = Figure().subplots()
    axes.plot([0, 1], [0, 100 * best])
    _finish_recall(axes, [{"val/chance_recall_at_1": Series.of([Point(0, 0.0, 0.01, 0)])}], "recall@1")
    assert axes.get_ylim() == pytest.approx((0, top))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["chance"]


def test_a_run_whose_loss_is_no_number_is_drawn() -> None:
    assert "<svg" in run_figure(curves(float("nan")), "val/loss", 6.93)
