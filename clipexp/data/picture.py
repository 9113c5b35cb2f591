"""Pictures from files and back: decode to square RGB pixels, encode as JPEG.

decode_picture(path.read_bytes(), 224)  # uint8 (224, 224, 3)

JPEG in RGB or grey is decoded by libjpeg-turbo at a reduced scale and resized by torch, 3 times as fast as Pillow's
full decode. All else is left to Pillow, and so is the last word on a file that libjpeg-turbo finds fault with.
"""

import io
import math
import struct
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clipexp.data.sources import Pixels

Resize = Literal["squash", "crop"]
Scale = Literal["fine", "fast"]
Subsampling = Literal["444", "420"]
Extent = tuple[float, float]  # height and width, in pixels

JPEG_QUALITY = 95
MAX_PIXELS = 100_000_000
ABOVE_MAX = "picture above 100 megapixels"
JPEG_START = b"\xff\xd8\xff"
# What a file says its rotation with, be it in EXIF or in XMP.
ROTATION_MARKS = (b"Exif\0", b"eXIf", b"Raw profile type", b"Orientation")
ORIENTATION_TAG, QUARTER_TURNS = 0x0112, (5, 6, 7, 8)
# What Pillow raises on damaged files; those of the second row on damaged EXIF.
DAMAGED = (
    *(OSError, SyntaxError, ValueError),
    *(TypeError, LookupError, ArithmeticError, struct.error),
)


class UnreadablePictureError(ValueError):
    """Bytes that are no picture we take; the message is the reason to count."""


def decode_picture(encoded: bytes, size_px: int, resize: Resize = "squash", scale: Scale = "fine") -> Pixels:
    """Decode to a square; transparency becomes white, EXIF rotation is applied, of several frames the first is taken.

    Args:
        encoded: JPEG, PNG, WebP, or what else Pillow reads.
        size_px: height and width wanted.
        resize: squash: both sides to size_px; crop: the square in the middle, scaled.
        scale: JPEG is decoded at the least scale that leaves, fine: twice the size wanted; fast: the size wanted. Where
            that is more than half of the file's, in full, which is faster than most scales between.

    Returns:
        uint8 (size_px, size_px, 3), 0-255, RGB.

    Raises:
        UnreadablePictureError: empty, no picture, cut short, or larger than 100 megapixels.
    """
    least_px = size_px if scale == "fast" else 2 * size_px
    if (shape := _plain_jpeg_shape(encoded)) is not None:
        pixels = _decode_scaled(encoded, least_px if min(shape) >= 2 * least_px else max(shape))
        if pixels is not None:
            extent = scaled_extent(shape, (pixels.shape[0], pixels.shape[1]))
            return _resized(*(_middle(pixels, extent) if resize == "crop" else (pixels, extent)), size_px)
    with _opened(encoded) as image:
        if scale == "fast":
            image.draft("RGB", (least_px, least_px))
        image = _flat_rgb(ImageOps.exif_transpose(image))
        if resize == "crop":
            image = image.crop(_middle_box(*image.size))
        return np.asarray(image.resize((size_px, size_px), Image.Resampling.BICUBIC))


def picture_size(encoded: bytes) -> tuple[int, int]:
    """Width and height as displayed, by the file's header alone.

    Raises:
        UnreadablePictureError: empty, no picture, or larger than 100 megapixels.
    """
    if (shape := _plain_jpeg_shape(encoded)) is not None:
        return shape[1], shape[0]
    with _opened(encoded) as image:
        width_px, height_px = image.size
        # Pillow decodes a whole PNG to look for EXIF behind the pixels.
        turned = (image.format != "PNG" or _may_be_rotated(encoded)) and image.getexif().get(ORIENTATION_TAG)
        return (height_px, width_px) if turned in QUARTER_TURNS else (width_px, height_px)


def _may_be_rotated(encoded: bytes) -> bool:
    return any(mark in encoded for mark in ROTATION_MARKS)


def _plain_jpeg_shape(encoded: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG in RGB or grey that says nothing of a rotation; None: leave it to Pillow."""
    import simplejpeg

    if not encoded.startswith(JPEG_START) or _may_be_rotated(encoded):
        return None
    try:
        height_px, width_px, colours, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:  # a subsampling that only Pillow reads, or damage, which Pillow tells
        return None
    if height_px * width_px > MAX_PIXELS:
        raise UnreadablePictureError(ABOVE_MAX)
    return None if colours in ("CMYK", "YCCK") else (height_px, width_px)


def _decode_scaled(encoded: bytes, least_px: int) -> "Pixels | None":
    """A plain JPEG at the least scale that leaves both sides `least_px`; None: damaged, as it seems."""
    import simplejpeg

    try:
        pixels = simplejpeg.decode_jpeg(encoded, colorspace="RGB", min_height=least_px, min_width=least_px)
    except ValueError:  # some of which Pillow lets pass
        return None
    return np.asarray(pixels)


def scaled_extent(full: tuple[int, int], scaled: tuple[int, int]) -> Extent:
    """How far the picture reaches into the pixels of a reduced scale.

    libjpeg scales by eighths and rounds up: of 427 rows, 3/8 are 160.125, of which it makes 161. Taken for 161, the
    picture would be drawn 0.5% too small, which costs up to 15 dB.

    Args:
        full: height and width in the file.
        scaled: height and width as decoded.
    """
    eighths = min(n for n in range(1, 9) if (-(-full[0] * n // 8), -(-full[1] * n // 8)) == scaled)
    return full[0] * eighths / 8, full[1] * eighths / 8


def _resized(pixels: Pixels, extent: Extent, size_px: int) -> Pixels:
    """Antialiased bicubic, as Pillow's but in wide registers: uint8 (height, width, 3) -> (size_px, size_px, 3)."""
    import torch
    from torch.nn import functional as F

    if extent == (size_px, size_px):
        return np.ascontiguousarray(pixels[:size_px, :size_px])
    channels_last = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)  # (1, 3, height, width)
    if extent == pixels.shape[:2]:
        resized = F.interpolate(channels_last, (size_px, size_px), mode="bicubic", antialias=True)
    else:  # the sizes that come out are rounded down, to size_px: less than a pixel reaches beyond the extent
        factors = (size_px / extent[0], size_px / extent[1])
        resized = F.interpolate(channels_last, scale_factor=factors, mode="bicubic", antialias=True)
    return np.ascontiguousarray(resized.squeeze(0).permute(1, 2, 0).numpy())


def _middle_box(width_px: int, height_px: int) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge of the largest square in the middle."""
    side = min(width_px, height_px)
    left, upper = (width_px - side) // 2, (height_px - side) // 2
    return left, upper, left + side, upper + side


def _middle(pixels: Pixels, extent: Extent) -> tuple[Pixels, Extent]:
    """The largest square in the middle of a picture of some extent, from a whole pixel on, and its own extent."""
    side = min(extent)
    upper, left = (int((length - side) / 2) for length in extent)
    num = math.ceil(side)
    return pixels[upper : upper + num, left : left + num], (side, side)


@contextmanager
def _opened(encoded: bytes) -> Generator[Image.Image, None, None]:
    """The picture in Pillow, within limits; whatever it raises here becomes the reason to count."""
    if not encoded:
        raise UnreadablePictureError("empty picture file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we have our own limit
            image: Image.Image = Image.open(io.BytesIO(encoded))
        if image.width * image.height > MAX_PIXELS:
            raise UnreadablePictureError(ABOVE_MAX)
        yield image
    except UnreadablePictureError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadablePictureError(ABOVE_MAX) from error
    except DAMAGED as error:
        raise UnreadablePictureError("unreadable picture") from error


def _flat_rgb(image: Image.Image) -> Image.Image:
    """In RGB, on white."""
    if image.mode.startswith("I;16"):  # grey in 16 bits, which `convert` would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")


def encode_jpeg(pixels: Pixels, quality: int = JPEG_QUALITY, subsampling: Subsampling = "444") -> bytes:
    """pixels: uint8 (height, width, 3), RGB -> JPEG; subsampling 444 keeps colour at full resolution, 420 at half."""
    import simplejpeg

    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality, colorsubsampling=subsampling))


def decode_jpeg(encoded: bytes | memoryview) -> Pixels:
    """JPEG -> uint8 (height, width, 3), RGB; frees the GIL."""
    import simplejpeg

    return np.asarray(simplejpeg.decode_jpeg(encoded, colorspace="RGB"))


def decode_jpeg_into(encoded: bytes | NDArray[np.uint8], out: Pixels) -> None:
    """JPEG -> `out`: uint8 (height, width, 3), contiguous; frees the GIL. Raises ValueError for any other size."""
    import simplejpeg

    shape = simplejpeg.decode_jpeg(encoded, colorspace="RGB", buffer=out).shape
    if shape != out.shape:
        raise ValueError(f"a JPEG of {shape[1]} x {shape[0]} pixels where {out.shape[1]} x {out.shape[0]} are stored")
