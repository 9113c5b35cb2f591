"""A contact sheet: pictures in a grid, each with its key and captions beneath, as a PNG.

png = contact_sheet([Cell(pixels, "0001", ("a cat",))], title="scenes", subtitle="1 of 60 pairs", foot="CC BY-SA")

Drawn by Pillow, which takes a caption for text and never for maths.
Pictures of up to 256 px stand pixel for pixel, small ones enlarged by a whole number.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from clipexp.data.sources import Pixels
from clipexp.plots.lettering import drawable, ending, font, wrapped
from clipexp.plots.looks import GREY, INK

AIM_PX, MAX_PX, MIN_CELL_PX, MIN_WIDTH_PX = 224, 256, 176, 640
MARGIN_PX, GAP_PX, TEXT_GAP_PX = 28, 20, 6
MAX_COLUMNS, MANY_COLUMNS, MANY = 6, 8, 48
KEY_PX, CAPTION_PX, TITLE_PX, SUBTITLE_PX, FOOT_PX = 11, 13, 20, 13, 11
MAX_LINES, MAX_CAPTIONS, MAX_FOOT_LINES = 4, 3, 4
FRAME = "#D8D8D8"


@dataclass(frozen=True)
class Cell:
    """A pair; pixels: uint8 (size, size, 3), 0-255, RGB."""

    pixels: Pixels
    key: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class _Line:
    """A line of text at its place below something; `height_px` with its share of the space."""

    text: str
    size_px: int
    colour: str
    height_px: int
    bold: bool = False


def contact_sheet(cells: Sequence[Cell], title: str, subtitle: str, foot: str, command: str = "") -> bytes:
    """Draw cells in rows, with a heading and a foot, as PNG.

    Args:
        cells: at least one; all pictures of one size.
        title, subtitle: above the grid.
        foot: below it, such as whose the pictures are.
        command: what makes the sheet again, kept in the file.
    """
    shown_px = shown_size(cells[0].pixels.shape[0])
    cell_px = max(shown_px, MIN_CELL_PX)
    columns = num_columns(len(cells))
    width = max(MIN_WIDTH_PX, 2 * MARGIN_PX + columns * (cell_px + GAP_PX) - GAP_PX)
    head = _paragraph(title, TITLE_PX, INK, width - 2 * MARGIN_PX, max_lines=2, bold=True)
    head += _paragraph(subtitle, SUBTITLE_PX, GREY, width - 2 * MARGIN_PX, max_lines=2)
    tail = _paragraph(foot, FOOT_PX, GREY, width - 2 * MARGIN_PX, MAX_FOOT_LINES)
    texts = [_below(cell, cell_px) for cell in cells]
    rows = [texts[start : start + columns] for start in range(0, len(texts), columns)]
    heights = [shown_px + TEXT_GAP_PX + max(map(_height, row)) + GAP_PX for row in rows]
    height = 2 * MARGIN_PX + _height(head) + GAP_PX + sum(heights) + _height(tail)
    canvas = Image.new("RGB", (width, height), "white")
    _write(canvas, head, (MARGIN_PX, MARGIN_PX), width - 2 * MARGIN_PX)
    top = MARGIN_PX + _height(head) + GAP_PX
    for number, row in enumerate(rows):
        for column, lines in enumerate(row):
            left = MARGIN_PX + column * (cell_px + GAP_PX)
            _place(canvas, cells[number * columns + column].pixels, shown_px, (left, top))
            _write(canvas, lines, (left, top + shown_px + TEXT_GAP_PX), cell_px)
        top += heights[number]
    _write(canvas, tail, (MARGIN_PX, top), width - 2 * MARGIN_PX)
    return _png(canvas, command)


def shown_size(size_px: int) -> int:
    """How large a stored picture is drawn."""
    return size_px * max(1, AIM_PX // size_px) if size_px <= MAX_PX else MAX_PX


def num_columns(num_cells: int) -> int:
    """Of the grid: 4 to 6 that leave the least of the last row empty; 8 where there are many cells."""
    if num_cells > MANY:
        return MANY_COLUMNS
    if num_cells <= MAX_COLUMNS:
        return num_cells
    return min((6, 5, 4), key=lambda columns: -num_cells % columns)


def _below(cell: Cell, width_px: int) -> list[_Line]:
    """A cell's key and captions as lines; of many captions the first."""
    key = ending(drawable(cell.key), font(KEY_PX).getlength, width_px)
    lines = _paragraph(key, KEY_PX, GREY, width_px, max_lines=1)
    for caption in cell.captions[:MAX_CAPTIONS]:
        lines += _paragraph(caption, CAPTION_PX, INK, width_px, MAX_LINES)
    if (num_more := len(cell.captions) - MAX_CAPTIONS) > 0:
        lines += _paragraph(f"and {num_more} more caption{'s' if num_more > 1 else ''}", KEY_PX, GREY, width_px, 1)
    return lines


def _paragraph(
    text: str, size_px: int, colour: str, width_px: int, max_lines: int, *, bold: bool = False
) -> list[_Line]:
    """Text in lines, with some space below the last."""
    found = wrapped(drawable(text), font(size_px, bold=bold).getlength, width_px, max_lines)
    line_px = round(1.32 * size_px)
    lines = [_Line(line, size_px, colour, line_px, bold) for line in found]
    return [*lines, _Line("", size_px, colour, TEXT_GAP_PX)] if lines else []


def _height(lines: Sequence[_Line]) -> int:
    return sum(line.height_px for line in lines)


def _write(canvas: Image.Image, lines: Sequence[_Line], corner: tuple[int, int], width_px: int) -> None:
    """Lines on a tile of their own, so that marks piled upon a letter don't reach into other cells."""
    if not lines:
        return
    tile = Image.new("RGB", (width_px, _height(lines)), "white")
    draw, top = ImageDraw.Draw(tile), 0
    for line in lines:
        draw.text((0, top), line.text, fill=line.colour, font=font(line.size_px, bold=line.bold))
        top += line.height_px
    canvas.paste(tile, corner)


def _place(canvas: Image.Image, pixels: Pixels, shown_px: int, corner: tuple[int, int]) -> None:
    """A picture with a thin frame around it, since its own background may be white."""
    picture = Image.fromarray(pixels)
    if picture.width != shown_px:
        is_whole = shown_px % picture.width == 0
        how = Image.Resampling.NEAREST if is_whole else Image.Resampling.LANCZOS
        picture = picture.resize((shown_px, shown_px), how)
    left, top = corner
    ImageDraw.Draw(canvas).rectangle((left - 1, top - 1, left + shown_px, top + shown_px), outline=FRAME)
    canvas.paste(picture, corner)


def _png(image: Image.Image, command: str) -> bytes:
    notes = PngInfo()
    if command:
        notes.add_itxt("Comment", f"made by: {command}")
    out = io.BytesIO()
    image.save(out, format="PNG", pnginfo=notes)
    return out.getvalue()
