"""Legends: rows of samples with their names, as wide as there is room.

rows = legend_rows([Entry("training", "#0072B2")], width=300)
parts = draw_legend(rows, left=0, top=0)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clipexp.plots import svg

ROW_PX, SMALL = 15, 10.5
SAMPLE_PX, GAP_PX = 24, 12
LABEL_PX = 300  # the longest name's


@dataclass(frozen=True)
class Entry:
    """A line's name and looks."""

    label: str
    colour: str
    dash: str = ""
    marker: str = ""
    is_line: bool = True


def legend_rows(entries: Sequence[Entry], width: float) -> list[list[Entry]]:
    """Entries in rows of a width, in their order."""
    rows: list[list[Entry]] = []
    left = width
    for entry in entries:
        taken = _width(entry)
        if not rows or taken > left:
            rows.append([])
            left = width
        rows[-1].append(entry)
        left -= taken + GAP_PX
    return rows


def draw_legend(rows: Sequence[Sequence[Entry]], left: float, top: float) -> list[str]:
    """The rows, one below the other."""
    parts = []
    for idx, row in enumerate(rows):
        x, middle = left, top + ROW_PX * idx + ROW_PX / 2
        for entry in row:
            if entry.is_line:
                parts.append(
                    svg.line(x, middle, x + SAMPLE_PX - 6, middle, colour=entry.colour, dash=entry.dash, width=1.8)
                )
            if entry.marker:
                place = x + (SAMPLE_PX - 6) / 2
                parts.append(svg.path(svg.marker(entry.marker, place, middle), fill=entry.colour))
            parts.append(svg.text(x + SAMPLE_PX - 2, middle + 3.5, _label(entry), size=SMALL))
            x += _width(entry) + GAP_PX
    return parts


def _label(entry: Entry) -> str:
    return svg.fitted(entry.label, LABEL_PX, SMALL)


def _width(entry: Entry) -> float:
    return SAMPLE_PX + svg.text_width(_label(entry), SMALL)
