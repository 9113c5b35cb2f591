"""Pictures from files: what is read, how, and what is refused."""

import io
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from clipexp.data.picture import (
    Scale,
    Subsampling,
    UnreadablePictureError,
    decode_jpeg,
    decode_picture,
    encode_jpeg,
    picture_size,
)
from tests.data.made import encoded, picture

RED, BLUE, WHITE = [255, 0, 0], [0, 0, 255], [255, 255, 255]


def near(pixel: NDArray[np.uint8], colour: list[int]) -> bool:
    """Equal, as far as JPEG keeps it."""
    return bool(np.abs(pixel.astype(int) - colour).max() <= 6)


def photo(name: str) -> Image.Image:
    """One of scikit-learn's photographs, 640 x 427 pixels."""
    return Image.fromarray(load_sample_image(name))


def psnr_db(pixels: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    """10 log10(255^2 / mean squared error)."""
    return float(10 * np.log10(255**2 / np.square(pixels.astype(float) - wanted).mean()))


def red_over_blue() -> Image.Image:
    image = Image.new("RGB", (16, 16), "blue")
    image.paste("red", (0, 0, 16, 8))
    return image


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize(("scale", "least_db"), [("fine", 43), ("fast", 37)])
@pytest.mark.parametrize("size_px", [48, 128, 224])
def test_a_photograph_looks_as_after_pillows_full_decode(
    name: str, options: dict[str, Any], scale: Scale, least_db: float, size_px: int
) -> None:
    large = encoded(photo(name), quality=90, **options)
    by_pillow = Image.open(io.BytesIO(large)).resize((size_px, size_px), Image.Resampling.BICUBIC)
    assert psnr_db(decode_picture(large, size_px, scale=scale), np.asarray(by_pillow)) >= least_db


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(48, 16), (16, 48)])
def test_a_crop_keeps_the_middle_in_its_proportions(kind: str, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 2 - 8, size[1] // 2 - 8, size[0] // 2 + 8, size[1] // 2 + 8))
    cropped = decode_picture(encoded(image, kind, **({"subsampling": 0} if kind == "JPEG" else {})), 8, resize="crop")
    assert all(near(pixel, BLUE) for pixel in cropped.reshape(-1, 3))


def test_a_photograph_is_cropped_as_by_pillow() -> None:
    large = encoded(photo("china.jpg"), quality=90)
    by_pillow = Image.open(io.BytesIO(large)).crop((106, 0, 533, 427)).resize((96, 96), Image.Resampling.BICUBIC)
    assert psnr_db(decode_picture(large, 96, resize="crop"), np.asarray(by_pillow)) >= 43


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize(("orientation", "displayed"), [(1, (40, 10)), (3, (40, 10)), (6, (10, 40))])
def test_the_size_of_a_picture_is_that_displayed(kind: str, orientation: int, displayed: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "GIF":  # knows no EXIF
        assert picture_size(encoded(Image.new("RGB", (40, 10)), kind)) == (40, 10)
    else:
        assert picture_size(encoded(Image.new("RGB", (40, 10)), kind, exif=exif)) == displayed


def test_the_size_is_read_from_the_header_alone() -> None:
    for kind in ("PNG", "JPEG"):
        whole = encoded(photo("china.jpg"), kind)
        assert picture_size(whole[: len(whole) // 2]) == (640, 427)


def test_a_picture_smaller_than_wanted_is_enlarged() -> None:
    assert near(decode_picture(encoded(Image.new("RGB", (5, 3), "red")), 32)[16, 16], RED)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_of_any_shape_becomes_a_square_of_rgb(kind: str) -> None:
    pixels = decode_picture(encoded(Image.new("RGB", (40, 10), "red"), kind), 8)
    assert (pixels.shape, pixels.dtype) == ((8, 8, 3), np.uint8)
    assert near(pixels[4, 4], RED)


def test_a_picture_of_the_size_wanted_keeps_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert np.array_equal(decode_picture(encoded(Image.fromarray(pixels), "PNG"), 8), pixels)


def test_grey_becomes_equal_red_green_and_blue() -> None:
    assert decode_picture(encoded(Image.new("L", (8, 8), 100)), 8)[4, 4].tolist() == [100, 100, 100]


def test_grey_in_sixteen_bits_keeps_its_brightness() -> None:
    half = Image.fromarray(np.full((8, 8), 128 * 256, np.uint16))
    assert decode_picture(encoded(half, "PNG"), 8)[4, 4].tolist() == [128, 128, 128]


def test_cmyk_becomes_rgb() -> None:
    assert near(decode_picture(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0))), 8)[4, 4], RED)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode)
    options = {"transparency": image.getpixel((0, 0))} if mode == "P" else {}
    assert decode_picture(encoded(image, "PNG", **options), 8)[4, 4].tolist() == WHITE


def test_half_transparent_red_becomes_pink() -> None:
    half_red = encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG")
    assert decode_picture(half_red, 8)[4, 4].tolist() == [255, 127, 127]


@pytest.mark.parametrize(("orientation", "upper", "left"), [(1, RED, None), (3, BLUE, None), (6, None, BLUE)])
def test_exif_rotation_is_applied(orientation: int, upper: list[int] | None, left: list[int] | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation  # 3: half a turn; 6: a quarter clockwise, so that what was below comes to the left
    pixels = decode_picture(encoded(red_over_blue(), exif=exif), 16)
    assert near(pixels[1, 8], upper) if upper else near(pixels[8, 1], left or [])


def test_of_a_film_the_first_frame_is_taken() -> None:
    film = encoded(Image.new("RGB", (8, 8), "red"), "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert decode_picture(film, 8)[4, 4].tolist() == RED


def test_a_jpeg_read_at_a_reduced_scale_looks_the_same() -> None:
    shades = np.linspace(0, 255, 512).astype(np.uint8)
    large = Image.fromarray(np.broadcast_to(shades[None, :, None], (512, 512, 3)).copy())
    jpeg, png = (decode_picture(encoded(large, kind), 32).astype(int) for kind in ("JPEG", "PNG"))
    assert np.abs(jpeg - png).max() <= 3


@pytest.mark.parametrize("num_missing", [20, 100, 2000])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:4:4"}])
def test_a_jpeg_that_misses_its_last_bytes_is_refused_and_never_half_grey(
    options: dict[str, Any], num_missing: int
) -> None:
    whole = encoded(photo("china.jpg"), **options)
    with pytest.raises(UnreadablePictureError, match="unreadable picture"):
        decode_picture(whole[:-num_missing], 64)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_file_cut_short_is_refused(kind: str, share: float) -> None:
    whole = encoded(Image.open(io.BytesIO(picture(0))), kind)
    with pytest.raises(UnreadablePictureError, match="unreadable picture"):
        decode_picture(whole[: int(len(whole) * share)], 8)


@pytest.mark.parametrize("read", [lambda encoded: decode_picture(encoded, 8), picture_size])
def test_an_empty_file_is_refused_as_such(read: Callable[[bytes], object]) -> None:
    with pytest.raises(UnreadablePictureError, match="empty picture file"):
        read(b"")


@pytest.mark.parametrize("read", [lambda encoded: decode_picture(encoded, 8), picture_size])
def test_a_jpeg_above_100_megapixels_is_refused_before_it_is_decoded(read: Callable[[bytes], object]) -> None:
    bomb = bytearray(encoded(Image.new("RGB", (8, 8))))
    at = bomb.index(b"\xff\xc0") + 5
    bomb[at : at + 4] = (65_000).to_bytes(2, "big") * 2  # height and width
    with pytest.raises(UnreadablePictureError, match="above 100 megapixels"):
        read(bytes(bomb))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about EXIF that it can do without
def test_a_damaged_jpeg_that_pillow_refuses_is_refused() -> None:
    rng = np.random.default_rng(0)
    whole = encoded(photo("flower.jpg").resize((64, 64)))
    num_refused = 0
    for at in rng.integers(0, len(whole), 300):
        damaged = whole[:at] + bytes([whole[at] ^ int(rng.integers(1, 256))]) + whole[at + 1 :]
        try:
            Image.open(io.BytesIO(damaged)).convert("RGB")
        except (OSError, SyntaxError, ValueError):
            num_refused += 1
            with pytest.raises(UnreadablePictureError):
                decode_picture(damaged, 64)
    assert num_refused > 10


def test_a_text_is_refused() -> None:
    with pytest.raises(UnreadablePictureError):
        decode_picture(b"<html>404</html>", 8)


def test_a_picture_above_100_megapixels_is_refused_before_it_is_decoded() -> None:
    header = bytearray(encoded(Image.new("1", (8, 8)), "PNG"))
    header[16:24] = (10_001).to_bytes(4, "big") + (10_000).to_bytes(4, "big")  # width and height
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    with pytest.raises(UnreadablePictureError, match="above 100 megapixels"):
        decode_picture(bytes(header), 8)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about EXIF that it can do without
def test_damage_anywhere_in_a_file_is_refused_or_read_but_never_a_crash() -> None:
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    num_refused = 0
    for kind in ("JPEG", "PNG", "WEBP"):
        whole = encoded(Image.open(io.BytesIO(picture(0))), kind, exif=exif)
        tiff_at = max(whole.find(b"MM\0*"), whole.find(b"II*\0"))
        for at in [*rng.integers(0, len(whole), 100), *(tiff_at + rng.integers(0, 40, 300))]:
            damaged = bytearray(whole)
            damaged[at] ^= int(rng.integers(1, 256))
            try:
                assert decode_picture(bytes(damaged), 8).shape == (8, 8, 3)
            except UnreadablePictureError:
                num_refused += 1
    assert 100 < num_refused < 1200


def test_jpeg_keeps_the_colour_of_single_pixels_in_a_smooth_picture() -> None:
    shades = np.linspace(0, 255, 32).astype(np.uint8)
    smooth = np.stack(np.broadcast_arrays(shades[:, None], shades[None, :], np.uint8(90)), axis=-1)
    assert np.abs(decode_jpeg(encode_jpeg(smooth)).astype(int) - smooth).max() <= 8


@pytest.mark.parametrize(("quality", "subsampling"), [(60, "444"), (95, "420")])
def test_jpeg_of_lower_quality_or_coarser_colour_is_smaller(quality: int, subsampling: Subsampling) -> None:
    pixels = np.asarray(photo("flower.jpg"))
    smaller = encode_jpeg(pixels, quality, subsampling)
    assert len(smaller) < len(encode_jpeg(pixels))
    assert psnr_db(decode_jpeg(smaller), pixels) > 30
