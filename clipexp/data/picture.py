"""Pictures from files and back: decode to square RGB pixels, encode as JPEG.

decode_square(path.read_bytes(), 224)  # uint8 (224, 224, 3)
"""

import io
import struct
import warnings

import numpy as np
from PIL import Image, ImageOps

from clipexp.data.sources import Pixels

JPEG_QUALITY = 95
MAX_PIXELS = 100_000_000
# What Pillow raises on damaged files; those of the second row on damaged EXIF.
DAMAGED = (
    *(OSError, SyntaxError, ValueError, Image.DecompressionBombError),
    *(TypeError, LookupError, ArithmeticError, struct.error),
)


class UnreadablePictureError(ValueError):
    """Bytes that are no picture we take; the message is the reason to count."""


def decode_square(encoded: bytes, size_px: int) -> Pixels:
    """Decode and squash to a square; transparency becomes white, EXIF rotation is applied, first frame of several.

    Returns:
        uint8 (size_px, size_px, 3), 0-255, RGB.

    Raises:
        UnreadablePictureError: no picture, cut short, or larger than 100 megapixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we have our own limit
            image: Image.Image = Image.open(io.BytesIO(encoded))
        if image.width * image.height > MAX_PIXELS:
            raise UnreadablePictureError("picture above 100 megapixels")
        image.draft("RGB", (2 * size_px, 2 * size_px))  # JPEG: decode at a reduced scale where that is enough
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):  # grey in 16 bits, which `convert` would clip at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        image = image.convert("RGB").resize((size_px, size_px), Image.Resampling.BICUBIC)
    except DAMAGED as error:
        if isinstance(error, UnreadablePictureError):
            raise
        raise UnreadablePictureError("unreadable picture") from error
    return np.asarray(image)


def encode_jpeg(pixels: Pixels) -> bytes:
    """pixels: uint8 (height, width, 3), RGB -> JPEG at quality 95 with full colour resolution."""
    import simplejpeg

    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=JPEG_QUALITY, colorsubsampling="444"))


def decode_jpeg(encoded: bytes | memoryview) -> Pixels:
    """JPEG -> uint8 (height, width, 3), RGB; frees the GIL."""
    import simplejpeg

    return np.asarray(simplejpeg.decode_jpeg(encoded, colorspace="RGB"))
