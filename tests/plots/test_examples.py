"""Examples: pictures kept on one sheet come back as they were, and the figure shows them all."""

import io

import numpy as np
from PIL import Image

from clipexp.events import Example
from clipexp.plots.examples import CELL_PX, MARGIN_PX, examples_figure, pack_pictures, unpack_pictures

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((24, 24, 3), colour, np.uint8)


def test_packed_pictures_come_back_under_their_rows() -> None:
    colours = {row: (row, 255 - row, 7) for row in (3, 200, 11, 5, 8, 9, 10, 12, 13)}
    sheet = pack_pictures({row: plain(colour) for row, colour in colours.items()})
    back = unpack_pictures(sheet, list(colours))
    assert {row: picture.getpixel((12, 12)) for row, picture in back.items()} == colours


def test_the_figure_shows_the_own_picture_then_what_was_found() -> None:
    sheet = pack_pictures({1: plain(RED), 2: plain(GREEN), 3: plain(BLUE)})
    png = examples_figure([Example("a caption", 1, (2, 1, 3), (0.9, 0.8, 0.7))], [1, 2, 3], sheet)
    middles = [MARGIN_PX + CELL_PX // 2, *(MARGIN_PX + 120 + CELL_PX // 2 + n * 104 for n in range(3))]
    line = Image.open(io.BytesIO(png)).convert("RGB")
    assert [line.getpixel((x, MARGIN_PX + 100)) for x in middles] == [RED, GREEN, RED, BLUE]


def test_a_caption_too_long_makes_the_figure_no_wider() -> None:
    sheet = pack_pictures({0: plain(RED)})
    sizes = {
        Image.open(io.BytesIO(examples_figure([Example(caption, 0, (0,), (1.0,))], [0], sheet))).size
        for caption in ("short", "long " * 500)
    }
    assert len(sizes) == 1
