"""Text of any origin in pictures: made fit to be drawn, and broken into lines.

lines = wrapped(drawable(caption), font(13).getlength, width_px=192, max_lines=4)
"""

import functools
from collections.abc import Callable
from pathlib import Path

from PIL import ImageFont

BOX = "\u25a1"  # for what the font can't show
ELLIPSIS = "\u2026"
MAX_CHARS = 2_000  # of a text that are looked at; more than any place for it holds
# Characters that show nothing themselves: joiners and selectors of a glyph's form, and those that turn the direction
# of all that follows.
SILENT = frozenset(map(chr, (0x00AD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF)))
SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))


@functools.cache
def font_file(*, bold: bool = False) -> Path:
    """DejaVu Sans, which matplotlib brings: Latin, Greek, Cyrillic, Arabic, Hebrew and many signs."""
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts" / "ttf" / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")


@functools.cache
def font(size_px: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font at a size."""
    return ImageFont.truetype(str(font_file(bold=bold)), size_px)


@functools.cache
def _known() -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(str(font_file())).get_charmap()))


def drawable(text: str) -> str:
    """White space folded, what draws nothing left out, and a box for each character that the font lacks."""
    folded = " ".join(text[:MAX_CHARS].split()) + (ELLIPSIS if len(text) > MAX_CHARS else "")
    shown = (char for char in folded if char not in SILENT and char not in SELECTORS)
    return "".join(char if char in _known() and char.isprintable() else BOX for char in shown)


def wrapped(text: str, measure: Callable[[str], float], width_px: float, max_lines: int) -> list[str]:
    """Text in lines of a width; words that are longer are broken, and what is beyond the last line is cut with dots.

    Args:
        text: as `drawable` gives it.
        measure: how wide a text is.
        width_px: of a line.
        max_lines: at least 1.
    """
    lines: list[str] = []
    rest = text
    while rest and len(lines) < max_lines:
        num = _num_fitting(rest, measure, width_px)
        if num < len(rest) and len(lines) == max_lines - 1:
            num = max(1, _num_fitting(rest, lambda part: measure(part + ELLIPSIS), width_px))
            return [*lines, rest[:num].rstrip() + ELLIPSIS]
        at_space = rest.rfind(" ", 0, num + 1) if num < len(rest) else -1
        num = at_space if at_space > 0 else max(1, num)
        lines.append(rest[:num].rstrip())
        rest = rest[num:].lstrip()
    return lines


def ending(text: str, measure: Callable[[str], float], width_px: float) -> str:
    """A name cut to a width at its start, since names in a folder differ in their ends."""
    if measure(text) <= width_px:
        return text
    backwards = text[::-1]
    num = _num_fitting(backwards, lambda part: measure(ELLIPSIS + part[::-1]), width_px)
    return ELLIPSIS + backwards[:num][::-1]


def _num_fitting(text: str, measure: Callable[[str], float], width_px: float) -> int:
    """How many characters from the start on fit, by halving."""
    low, high = 0, min(len(text), int(width_px))  # no character is narrower than a pixel
    while low < high:
        middle = (low + high + 1) // 2
        if measure(text[:middle]) <= width_px:
            low = middle
        else:
            high = middle - 1
    return low
