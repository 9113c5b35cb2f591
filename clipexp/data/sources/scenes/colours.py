"""The colours that things are tinted in.

    tint(drawing, "red")  # the same drawing in shades of red, its outlines black

A drawing's brightness is kept, and its hues are replaced by one: black stays black, white becomes the colour's lightest
shade.
"""

import functools

import numpy as np
from PIL import Image

COLOURS = {
    "red": (228, 44, 44),
    "orange": (247, 136, 28),
    "yellow": (252, 216, 36),
    "green": (62, 168, 66),
    "turquoise": (44, 198, 186),
    "blue": (50, 104, 226),
    "purple": (142, 74, 200),
    "pink": (252, 128, 186),
    "brown": (140, 88, 50),
    "grey": (142, 144, 150),
}
# Brightness 0-255 -> (share of the colour in black, share of white in that).
_RAMP = ((0, 0.0, 0.0), (30, 0.12, 0.0), (62, 0.74, 0.0), (150, 0.96, 0.0), (215, 1.0, 0.16), (255, 1.0, 0.42))


def tint(drawing: Image.Image, colour: str) -> Image.Image:
    """Recolour an RGBA drawing; its alpha stays."""
    shades = drawing.convert("L")
    shades.putpalette(_palette(colour))
    tinted = shades.convert("RGBA")
    tinted.putalpha(drawing.getchannel("A"))
    return tinted


@functools.cache
def _palette(colour: str) -> bytes:
    """What each brightness becomes: 256 times red, green and blue."""
    at = np.arange(256)
    knots = [knot for knot, _, _ in _RAMP]
    shade = np.interp(at, knots, [share for _, share, _ in _RAMP])[:, None]
    white = np.interp(at, knots, [share for _, _, share in _RAMP])[:, None]
    return bytes(np.rint(np.array(COLOURS[colour]) * shade * (1 - white) + 255 * white).astype(np.uint8))
