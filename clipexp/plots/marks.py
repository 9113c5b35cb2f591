"""What a figure shows besides its curves: where on a curve something was found.

mark = Mark("train/grad_norm", window=(120_000, 160_000), value=2.0, label="1")
svg = run_figure(curves, "val/loss", 6.93, [mark])
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """A place on a curve that a text speaks of.

    metric: the curve. window: from and to, in samples seen. value: a level to draw over the window, in the metric's own
    unit; None where there is none. label: short, as the text calls it, such as its number; it stands above the panel.
    """

    metric: str
    window: tuple[int, int]
    value: float | None
    label: str
