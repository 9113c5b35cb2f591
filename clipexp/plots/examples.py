"""Captions with the pictures that they found: kept as one small sheet of pictures, drawn as a figure.

sheet = pack_pictures(pixels_by_row)           # kept with the run
png = examples_figure(examples, rows, sheet)   # drawn for a report
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from clipexp.events import Example

Pixels = NDArray[np.uint8]
SHEET_COLUMNS = 8
CELL_PX, GAP_PX, CAPTION_PX, MARGIN_PX = 96, 8, 22, 12
HIT, MISS = "#009E73", "#808080"
NUM_FOUND = 5


def pack_pictures(pixels_by_row: Mapping[int, Pixels]) -> bytes:
    """Pictures in one PNG, in the order of the mapping, 8 a line; all are uint8 (size, size, 3)."""
    pictures = list(pixels_by_row.values())
    size = pictures[0].shape[0]
    lines = -(-len(pictures) // SHEET_COLUMNS)
    sheet = np.full((lines * size, SHEET_COLUMNS * size, 3), 255, np.uint8)
    for place, picture in enumerate(pictures):
        line, column = divmod(place, SHEET_COLUMNS)
        sheet[line * size : (line + 1) * size, column * size : (column + 1) * size] = picture
    return _png(Image.fromarray(sheet))


def unpack_pictures(sheet: bytes, rows: Sequence[int]) -> dict[int, Image.Image]:
    """The inverse of `pack_pictures`, for the row numbers in their order."""
    image = Image.open(io.BytesIO(sheet)).convert("RGB")
    size = image.width // SHEET_COLUMNS
    boxes = (divmod(place, SHEET_COLUMNS) for place in range(len(rows)))
    corners = [(column * size, line * size) for line, column in boxes]
    return {row: image.crop((x, y, x + size, y + size)) for row, (x, y) in zip(rows, corners, strict=True)}


def examples_figure(examples: Sequence[Example], rows: Sequence[int], sheet: bytes) -> bytes:
    """A line for each caption: its own picture, then the five it found, a green frame around its own; PNG."""
    pictures = unpack_pictures(sheet, rows)
    font = ImageFont.load_default(13)
    width = MARGIN_PX * 2 + (NUM_FOUND + 1) * (CELL_PX + GAP_PX) + 2 * GAP_PX
    line_px = CAPTION_PX + CELL_PX + 2 * GAP_PX
    canvas = Image.new("RGB", (width, MARGIN_PX * 2 + CAPTION_PX + line_px * len(examples)), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN_PX, MARGIN_PX), "the caption's own", fill="#444444", font=font)
    draw.text((MARGIN_PX + CELL_PX + 3 * GAP_PX, MARGIN_PX), "found, best first", fill="#444444", font=font)
    for line, example in enumerate(examples):
        top = MARGIN_PX + CAPTION_PX + line * line_px
        draw.text((MARGIN_PX, top), _fit(example.caption, font, width - 2 * MARGIN_PX), fill="black", font=font)
        top += CAPTION_PX
        _place(canvas, pictures[example.target_idx], MARGIN_PX, top, "#444444")
        for place, row in enumerate(example.found_idx):
            left = MARGIN_PX + (place + 1) * (CELL_PX + GAP_PX) + 2 * GAP_PX
            _place(canvas, pictures[row], left, top, HIT if row == example.target_idx else MISS)
    return _png(canvas)


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> str:
    """A text cut to a width, with dots where something was cut off."""
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "...") > width_px:
        text = text[:-1]
    return text + "..."


def _place(canvas: Image.Image, picture: Image.Image, left: int, top: int, frame: str) -> None:
    frame_px = 3
    box = (left - frame_px, top - frame_px, left + CELL_PX + frame_px - 1, top + CELL_PX + frame_px - 1)
    ImageDraw.Draw(canvas).rectangle(box, outline=frame, width=frame_px)
    canvas.paste(picture.resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS), (left, top))


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return out.getvalue()
