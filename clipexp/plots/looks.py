"""How figures look: colours, markers and numbers, the same in all of them.

    axes.plot(x, y, color=COLOURS[0], marker=MARKERS[0])
    svg = svg_of(draw, width=8, height=3)  # a study's figures, by matplotlib

Colours are Okabe and Ito's, which readers with colour blindness tell apart (Wong 2011); markers and dashes differ as
well.
"""

import io
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("", "7 3", "2 2", "8 2 2 2", "12 3", "4 2 1 2", "5 5")
GREY, PALE, INK = "#767676", "#C4C4C4", "#333333"
MARKED = "#E69F00"  # of bands over what was found
STYLE: dict[str, Any] = {
    "svg.hashsalt": "clipexp",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def scientific(value: float) -> str:
    """A number for a tick: `3e-4`, `1.57e-3`."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def svg_of(draw: Any, width: float, height: float) -> str:
    """A figure of so many inches as SVG, the same bytes each time; `draw` is called with matplotlib's figure."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
