"""Captions as anybody may have written them: cleaned, or told why they are none."""

from typing import Any

import pytest

from clipexp.data.sources import Drop, Pair
from clipexp.data.sources.captions import MAX_CHARS, pair_or_drops, usable_captions


def test_white_space_is_folded() -> None:
    assert usable_captions("  a\n cat\t") == (("a cat",), [])


def test_a_list_gives_several_and_each_but_once() -> None:
    assert usable_captions(["a", "b", " a "]) == (("a", "b"), [])


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ("", "caption is empty"),
        (" \n", "caption is empty"),
        (None, "caption is no text"),
        (7, "caption is no text"),
        (b"caf\xe9", "caption is no UTF-8"),
        ("half a pair \ud800", "caption is no Unicode"),
        ("x" * (MAX_CHARS + 1), "caption above 10,000 characters"),
    ],
)
def test_what_is_no_caption_is_told_why(found: Any, reason: str) -> None:
    assert usable_captions(found) == ((), [reason])
    assert list(pair_or_drops("k", b"", found, "f")) == [Drop("k", reason, "f")]


def test_bytes_in_utf8_are_text() -> None:
    assert usable_captions("café".encode()) == (("café",), [])


def test_one_unusable_caption_of_several_is_left_out_and_told() -> None:
    pair, drop = pair_or_drops("k", b"image", ["A cat", ""], "f")
    assert pair == Pair("k", b"image", ("A cat",), ("caption:a cat",), "f")
    assert drop == Drop("k", "one of its captions: caption is empty", "f")
