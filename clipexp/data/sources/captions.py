r"""Captions of every source: which texts serve as one, and why others don't.

usable_captions(["  A red\n cat ", ""])  # (("A red cat",), ["caption is empty"])
"""

from collections.abc import Iterator

from clipexp.data.sources import Drop, Pair

MAX_CHARS = 10_000


def usable_captions(found: object) -> tuple[tuple[str, ...], list[str]]:
    """What of a source's value serves as captions.

    Args:
        found: text, UTF-8 bytes, a list of them, or anything else.

    Returns:
        The captions, whitespace folded, each but once; and for every value that is none the reason.
    """
    read = [_read(value) for value in (found if isinstance(found, list | tuple) else [found])]
    texts = tuple(dict.fromkeys(text for text, reason in read if not reason))
    return texts, [reason for _, reason in read if reason]


def pair_or_drops(key: str, image: bytes, found: object, origin: str) -> Iterator[Pair | Drop]:
    """The pair, tied to others of the same words in any case, and a Drop for each value left out; or one Drop."""
    texts, reasons = usable_captions(found)
    if not texts:
        yield Drop(key, reasons[0] if reasons else "no caption", origin)
        return
    tied_by = dict.fromkeys(f"caption:{text.lower()}" for text in texts)
    yield Pair(key, image, texts, tuple(tied_by), origin)
    for reason in reasons:
        yield Drop(key, f"one of its captions: {reason}", origin)


def printable(name: str) -> str:
    """The name, with what is no Unicode (halves of surrogate pairs) spelt out: no file could hold it."""
    return name.encode(errors="backslashreplace").decode()


def _read(value: object) -> tuple[str, str]:
    """A value's text, and why it doesn't serve; empty where it does."""
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8-sig")
        except UnicodeDecodeError:
            return "", "caption is no UTF-8"
    if not isinstance(value, str):
        return "", "caption is no text"
    text = " ".join(value.split())
    if not text:
        return "", "caption is empty"
    if text != printable(text):
        return "", "caption is no Unicode"
    return (text, "") if len(text) <= MAX_CHARS else ("", f"caption above {MAX_CHARS:,} characters")
