"""Static figures: the same input gives the same bytes, and they say what they show."""

from clipexp.plots.static import comparison_figure, run_figure
from clipexp.track.journal import Curves, Point


def curves(loss: float) -> Curves:
    def series(*values: float) -> tuple[Point, ...]:
        return tuple(Point(100 * n, n / 2, value, 0) for n, value in enumerate(values))

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
