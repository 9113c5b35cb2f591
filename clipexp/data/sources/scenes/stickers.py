"""Drawings as stickers: cut out along their edge, with a white border that sets them off from any background.

    sticker("1F431", "red", side_px=60, angle=0.1, is_mirrored=False)  # 60x60 RGBA

A drawing is rendered once for each of a few sizes, and the next larger one is scaled and turned in one step. What is
rendered is kept, up to a bound of bytes for each process.
"""

import functools
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from PIL import Image, ImageFilter

from clipexp.data.sources import drawings
from clipexp.data.sources.scenes.colours import tint

KEPT_BYTES = 80 << 20
BORDER_FRAC = 0.035  # of the drawing's longer side
_PROBE_PX = 144
_LEVELS_PX = tuple(round(8 * 2 ** (step / 2)) for step in range(14))  # 8 to 724


class Kept:
    """Images by key, the least recently used forgotten when they take more than `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._images: OrderedDict[Hashable, tuple[Image.Image, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Image.Image]) -> Image.Image:
        """The image of that key, made if it is not there."""
        if (kept := self._images.get(key)) is not None:
            self._images.move_to_end(key)
            return kept[0]
        image = make()
        size = image.width * image.height * len(image.getbands())
        self._images[key] = (image, size)
        self.num_bytes += size
        while self.num_bytes > self.max_bytes and len(self._images) > 1:
            _, (_, forgotten) = self._images.popitem(last=False)
            self.num_bytes -= forgotten
        return image


@dataclass(frozen=True)
class _Extent:
    """What part of a drawing's square is drawn on, in shares of its side."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def longer(self) -> float:
        return max(self.right - self.left, self.bottom - self.top)


_masters = Kept(KEPT_BYTES)
_borders = Kept(KEPT_BYTES)


def sticker(code: str, colour: str, side_px: int, angle: float, is_mirrored: bool) -> Image.Image:
    """Draw one thing.

    Args:
        code: the drawing's name.
        colour: one of COLOURS; empty: its own.
        side_px: the square that it fills as far as its shape allows, border included.
        angle: how far it is turned, in radians.
        is_mirrored: left and right exchanged, before it is turned.

    Returns:
        RGBA with straight alpha, side_px by side_px.
    """
    level_px = next((px for px in _LEVELS_PX if px >= side_px * 0.92), _LEVELS_PX[-1])
    drawing = _masters.get((code, level_px), lambda: _master(code, level_px))
    cut = _borders.get((code, level_px), lambda: _border(drawing, level_px)).copy()
    cut.alpha_composite(tint(drawing, colour) if colour else drawing)
    cos, sin = math.cos(angle), math.sin(angle)
    width, height = cut.size
    turned = max(width * abs(cos) + height * abs(sin), width * abs(sin) + height * abs(cos))
    scale = turned / side_px  # a pixel of the result covers so many of the master
    across = -scale if is_mirrored else scale
    middle = side_px / 2
    a, b, d, e = across * cos, across * sin, -scale * sin, scale * cos
    offsets = (width / 2 - (a + b) * middle, height / 2 - (d + e) * middle)
    matrix = (a, b, offsets[0], d, e, offsets[1])
    return cut.transform((side_px, side_px), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def _border(drawing: Image.Image, level_px: int) -> Image.Image:
    """White where the drawing is, and somewhat beyond."""
    blurred = drawing.getchannel("A").filter(ImageFilter.GaussianBlur(level_px * BORDER_FRAC * 0.8))
    border = Image.new("RGBA", drawing.size, (255, 255, 255, 0))
    border.putalpha(blurred.point([min(255, value * 5) for value in range(256)]))
    return border


def _master(code: str, level_px: int) -> Image.Image:
    """The drawing without the empty margin, its longer side level_px with room for the border all around."""
    extent = _extent(code)
    room_px = max(1, round(level_px * BORDER_FRAC * 1.4))
    full_px = max(4, round((level_px - 2 * room_px) / extent.longer))
    full = drawings.rasterize(drawings.svg(code), full_px)
    box = (
        math.floor(extent.left * full_px) - room_px,
        math.floor(extent.top * full_px) - room_px,
        math.ceil(extent.right * full_px) + room_px,
        math.ceil(extent.bottom * full_px) + room_px,
    )
    return full.crop(box)


@functools.lru_cache(maxsize=1024)
def _extent(code: str) -> _Extent:
    left, top, right, bottom = drawings.rasterize(drawings.svg(code), _PROBE_PX).getchannel("A").getbbox() or (
        0,
        0,
        1,
        1,
    )
    return _Extent(left / _PROBE_PX, top / _PROBE_PX, right / _PROBE_PX, bottom / _PROBE_PX)
