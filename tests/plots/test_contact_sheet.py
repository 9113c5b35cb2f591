"""Contact sheets and their lettering: grids, pictures that stand as they are, and text of any origin."""

import io

import numpy as np
import pytest
from PIL import Image

from clipexp.plots.contact_sheet import Cell, contact_sheet, num_columns, shown_size
from clipexp.plots.lettering import BOX, ELLIPSIS, drawable, ending, font, wrapped


def cell(size_px: int, value: int, *captions: str, key: str = "key") -> Cell:
    return Cell(np.full((size_px, size_px, 3), value, np.uint8), key, captions)


def drawn(*cells: Cell) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(contact_sheet(cells, "title", "subtitle", "foot"))))


def test_pictures_are_enlarged_by_whole_numbers_and_only_large_ones_scaled_down() -> None:
    sizes = {size: shown_size(size) for size in (8, 16, 48, 100, 130, 224, 256, 257, 512)}
    assert sizes == {8: 224, 16: 224, 48: 192, 100: 200, 130: 130, 224: 224, 256: 256, 257: 256, 512: 256}


def test_a_grid_leaves_little_of_its_last_row_empty() -> None:
    assert [num_columns(num) for num in (1, 4, 7, 8, 10, 12, 24, 25, 100)] == [1, 4, 4, 4, 5, 6, 6, 5, 8]


def test_every_picture_of_a_sheet_is_on_it() -> None:
    sheet = drawn(*(cell(224, 10 * number, "a caption") for number in range(10)))
    for number in range(10):
        assert (sheet == 10 * number).all(axis=2).sum() >= 224**2


def test_a_row_is_as_high_as_its_longest_caption() -> None:
    short, long = drawn(cell(224, 0, "short")), drawn(cell(224, 0, "many words " * 8))
    assert long.shape[0] > short.shape[0]


def test_a_caption_never_reaches_into_other_cells() -> None:
    piled = "a" + "\u0336\u0321\u033a\u0310" * 200
    plain, hostile = (drawn(cell(224, 9, caption), cell(224, 9, "x")) for caption in ("a", piled))
    second = (slice(0, plain.shape[0] - 75), slice(28 + 224 + 20, None))  # without the foot, which stands lower
    assert (plain[second] == 9).all(axis=2).sum() == 224**2
    np.testing.assert_array_equal(plain[second], hostile[second])
    assert not np.array_equal(plain[: second[0].stop, : second[1].start], hostile[: second[0].stop, : second[1].start])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand  spaces ", "two lines and spaces"),
        ("a\x00b\x1b[31m", f"a{BOX}b{BOX}[31m"),
        ("turned \u202eround", "turned round"),
        ("猫 is a cat", f"{BOX} is a cat"),
        ("שלום, é, ы", "שלום, é, ы"),
        ("$x^2$ <b> &amp;", "$x^2$ <b> &amp;"),
        ("", ""),
    ],
)
def test_text_is_made_fit_to_be_drawn(text: str, shown: str) -> None:
    assert drawable(text) == shown


def test_text_of_any_length_is_looked_at_only_as_far_as_it_may_be_shown() -> None:
    assert len(drawable("w" * 1_000_000)) == 2_001


def test_lines_break_at_spaces_and_long_words_anywhere() -> None:
    assert wrapped("one two three", len, 8, max_lines=3) == ["one two", "three"]
    assert wrapped("abcdefghij kl", len, 4, max_lines=9) == ["abcd", "efgh", "ij", "kl"]
    assert wrapped("", len, 4, max_lines=2) == []


def test_what_does_not_fit_is_cut_with_dots() -> None:
    assert wrapped("one two three four", len, 8, max_lines=2) == ["one two", f"three f{ELLIPSIS}"]
    lines = wrapped("W" * 500, font(13).getlength, 192, max_lines=4)
    assert len(lines) == 4
    assert max(map(font(13).getlength, lines)) <= 192


def test_a_name_is_cut_at_its_start() -> None:
    assert ending("folder/000123", len, 7) == f"{ELLIPSIS}000123"
    assert ending("000123", len, 7) == "000123"
