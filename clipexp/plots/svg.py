"""The few SVG elements that figures of curves are made of, as text.

    parts = [line(0, 0, 100, 0, colour="#333333"), text(0, 12, "0")]
    svg = document(320, 200, parts, title="Loss")

Written by hand rather than by a plotting library, because a report may hold a thousand of them: one takes some
milliseconds, is light, and is the same on every machine.
"""

import html
import re

import numpy as np
from numpy.typing import NDArray

FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
Floats = NDArray[np.float64]
CHAR_WIDTH = 0.6  # of the font's size, on average, rather too much
# What XML can't hold, escaped or not.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(width: float, height: float, parts: list[str], title: str) -> str:
    """A picture of so many pixels; `title` is what it is called by those who can't see it."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(width)}" height="{number(height)}"'
        f' viewBox="0 0 {number(width)} {number(height)}" role="img" font-family="{FONT}">'
    )
    ground = f'<rect width="{number(width)}" height="{number(height)}" fill="#ffffff"/>'
    return "\n".join([head, f"<title>{escaped(title)}</title>", ground, *parts, "</svg>"]) + "\n"


def escaped(content: str) -> str:
    """A text that XML shows as it is."""
    return html.escape(_ILLEGAL.sub("\ufffd", content))


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    rounded = f"{value:.1f}".removesuffix(".0")
    return "0" if rounded == "-0" else rounded


def text_width(content: str, size: float) -> float:
    """About how many pixels a text takes."""
    return CHAR_WIDTH * size * len(content)


def fitted(content: str, width: float, size: float) -> str:
    """A text cut to a width, with a dot where something was cut off."""
    room = max(int(width / (CHAR_WIDTH * size)), 1)
    return content if len(content) <= room else f"{content[: room - 1]}…"


def text(  # noqa: PLR0913 (a text's looks)
    x: float,
    y: float,
    content: str,
    *,
    size: float = 11,
    anchor: str = "start",
    colour: str = "#333333",
    bold: bool = False,
) -> str:
    """A text whose start, middle or end stands at x, and its base line at y."""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{number(x)}" y="{number(y)}" font-size="{number(size)}" fill="{colour}"{place}{weight}>'
        f"{escaped(content)}</text>"
    )


def path(
    places: str,
    *,
    colour: str = "none",
    width: float = 1,
    dash: str = "",
    fill: str = "none",
    opacity: float = 1,
) -> str:
    """A path of SVG's own words."""
    looks = f' stroke="{colour}" stroke-width="{number(width)}"' if colour != "none" else ""
    looks += ' stroke-linejoin="round" stroke-linecap="round"' if colour != "none" and not dash else ""
    looks += f' stroke-dasharray="{dash}"' if dash else ""
    looks += f' opacity="{opacity:g}"' if opacity < 1 else ""
    return f'<path d="{places}" fill="{fill}"{looks}/>'


def line_path(xs: Floats, ys: Floats, starts: NDArray[np.bool_], **looks: object) -> str:
    """A line through places, which begins anew where `starts` says; all are (points,)."""
    words = zip(np.where(starts, "M", "L").tolist(), xs.tolist(), ys.tolist(), strict=True)
    return path("".join(f"{word}{x:.1f} {y:.1f}" for word, x, y in words), **looks)  # type: ignore[arg-type]


def line(x1: float, y1: float, x2: float, y2: float, **looks: object) -> str:
    """A straight line, with a path's looks."""
    return path(f"M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}", **looks)  # type: ignore[arg-type]


def box(x: float, y: float, width: float, height: float, fill: str, opacity: float = 1) -> str:
    """A filled rectangle."""
    seen = f' opacity="{opacity:g}"' if opacity < 1 else ""
    place = f'x="{number(x)}" y="{number(y)}" width="{number(max(width, 0))}" height="{number(max(height, 0))}"'
    return f'<rect {place} fill="{fill}"{seen}/>'


def marker(kind: str, x: float, y: float, r: float = 3) -> str:
    """A marker's outline around a place, to be filled: o, s, ^, D, v, P or X, as matplotlib calls them."""
    at = f"M{number(x)} {number(y)}"
    d, f = number(2 * r), number(r)
    shapes = {
        "o": f"m-{f} 0a{f} {f} 0 1 0 {d} 0a{f} {f} 0 1 0-{d} 0z",
        "s": f"m-{f}-{f}h{d}v{d}h-{d}z",
        "^": f"m0-{f}l{f} {d}h-{d}z",
        "v": f"m0 {f}l{f}-{d}h-{d}z",
        "D": f"m0-{f}l{f} {f}l-{f} {f}l-{f}-{f}z",
        "P": "m-1-3h2v2h2v2h-2v2h-2v-2h-2v-2h2z",
        "X": "m-3-2l1-1l2 2l2-2l1 1l-2 2l2 2l-1 1l-2-2l-2 2l-1-1l2-2z",
    }
    return at + shapes[kind]
