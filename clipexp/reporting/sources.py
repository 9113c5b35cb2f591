"""Where a number in a report is from, as a value, and as the line that a report keeps of it.

    source = Source("last", ("val/loss", "run 1a2b3c4d"))
    Proof("0.974", source, "24,576", ".3f").line()   # "0.974 = last(val/loss, run 1a2b3c4d) at 24,576 [.3f]"
    Proof.parse("0.974 = last(val/loss, run 1a2b3c4d) at 24,576 [.3f]")

What each way computes is in `evaluation`; how a value is shown follows from the form in brackets alone.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

LONGEST_SHOWN = 40
_LINE = re.compile(r"(?P<shown>.*?) = (?P<way>[a-z_]+)\((?P<args>.*)\)(?: at (?P<at>[^\[\]]*))? \[(?P<form>[^\[\]]*)\]")
_PLAIN_ARG = re.compile(r"[\w./@:+*#-][\w ./@:+*#-]*")
_NUMBER_FORM = re.compile(r"[+]?,?(\.\d)?[defg%]")
# A number with its sign, or a piece of code; no part of a word such as recall@10, fp32 or loss_block_40.
_NUMBER = re.compile(r"`[^`]*\d[^`]*`|`[^`]*`|(?<![\w@#])[-+−]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?%?")
_TARGET = re.compile(r"\]\([^)]*\)")
_TAG = re.compile(r"</?[a-z]+>")
_ITEM = re.compile(r"^\d+\. ", re.MULTILINE)
_ENTITY = re.compile(r"&#\d+;")
_SPECIAL = re.compile(r"[&<>|*`~\\\[\]]|(?<!\w)_|_(?!\w)")
Value = float | int | str | None


@dataclass(frozen=True)
class Source:
    """A way of computing, and what of; `way` is one of `evaluation`'s."""

    way: str
    args: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.way}({', '.join(_arg(arg) for arg in self.args)})"


@dataclass(frozen=True)
class Found:
    """What a source comes to. place: where in the data, such as the samples seen there, or the runs."""

    value: Value
    place: str = ""


@dataclass(frozen=True)
class Proof:
    """A number as it is shown, and where it is from. shown: the start of it, where that is long."""

    shown: str
    source: Source
    place: str
    form: str

    @classmethod
    def of(cls, source: Source, found: Found, form: str) -> Self:
        """The proof of what a source came to."""
        return cls(excerpt(show(found.value, form)), source, found.place, form)

    def line(self) -> str:
        """As it stands in a report's comment."""
        place = f" at {self.place}" if self.place else ""
        return f"{self.shown} = {self.source}{place} [{self.form}]"

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """The inverse; None where it is no such line."""
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        args = _parse_args(found["args"])
        if args is None:
            return None
        return cls(found["shown"], Source(found["way"], args), found["at"] or "", found["form"])


def _arg(arg: str) -> str:
    return arg if _PLAIN_ARG.fullmatch(arg) else json.dumps(arg).replace(">", "\\u003e")


def _parse_args(text: str) -> tuple[str, ...] | None:
    decoder, args, place = json.JSONDecoder(), [], 0
    while place < len(text):
        if text[place] == '"':
            try:
                arg, end = decoder.raw_decode(text, place)
            except ValueError:
                return None
        else:
            comma = text.find(", ", place)
            end = len(text) if comma < 0 else comma
            arg = text[place:end]
        args.append(str(arg))
        if end < len(text) and not text.startswith(", ", end):
            return None
        place = end + 2
    return tuple(args)


def excerpt(shown: str) -> str:
    """What a proof keeps of a text: its start, without what would end the comment or be taken for its own signs."""
    text = " ".join(shown.split()).replace("=", "&#61;").replace(">", "&#62;")
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1].rstrip() + "…"


def show(value: Value, form: str) -> str:  # noqa: PLR0911 (a table of forms)
    """A value as it is shown.

    Args:
        value: a number or a text; None and "" become a dash.
        form: `text`, `verbatim` (markdown already), `code`, `sci` (3e-4), `percent` (5%), `short` (three digits), or a
            number's format such as `.3f`, `,d`, `.1%`.
    """
    if value is None or value == "":
        return "–"
    if form == "code":
        return f"`{' '.join(str(value).replace('`', chr(39)).split())}`"
    if form == "verbatim":
        return str(value)
    if form == "text" or isinstance(value, str):
        return escape(str(value))
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinite" if value > 0 else "minus infinite"
    if form == "sci":
        return scientific(float(value))
    if form == "percent":
        return f"{100 * value:.3g}%"
    if form == "short":
        return f"{value:,.0f}" if abs(value) >= 1000 else scientific(value) if abs(value) < 0.01 else f"{value:.3g}"
    if not _NUMBER_FORM.fullmatch(form):
        raise ValueError(f"{form!r} is no form of a number")
    return format(round(value) if form.endswith("d") else value, form)


def scientific(number: float) -> str:
    """`0.0003` -> `3e-4`, `0.2` -> `0.2`, `1024` -> `1,024`."""
    if number != 0 and abs(number) < 0.01:
        mantissa, exponent = f"{number:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{int(number):,}" if float(number).is_integer() else f"{number:g}"


def escape(text: str) -> str:
    """A text that markdown and HTML show as it is, on one line."""
    return " ".join(_SPECIAL.sub(lambda found: f"&#{ord(found[0])};", text).split())


def numbers_in(text: str) -> Iterator[tuple[int, str]]:
    """The numbers that a reader sees in markdown, with their places: code that has a digit counts as one.

    Addresses of links, HTML's tags, a list's own numbers, and characters written as their number are passed over.
    """
    for sign in (_TARGET, _TAG, _ENTITY, _ITEM):
        text = sign.sub(lambda found: " " * len(found[0]), text)
    for found in _NUMBER.finditer(text):
        if any(letter.isdigit() for letter in found[0]):
            yield found.start(), found[0]
