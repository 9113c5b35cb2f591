"""`openmoji`: the drawings themselves, captioned with their names and aliases.

    OpenMoji(image_size_px=64).read(Part("openmoji"))

Variants of one emoji (skin tones, genders, presentation) share its base code point, and so its group: they never stand
on both sides of the split; nor does a name or an alias that two emojis share. Preparing adds the pixels' hash as a
further group, since some drawings are identical.
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from clipexp.data.sources import Drop, Pair, Part, drawings

PARTS = 4
PRESENTATION = "\ufe0f"


class OpenMoji:
    """The source; see the module."""

    licence = drawings.LICENCE
    attribution = drawings.ATTRIBUTION

    def __init__(self, image_size_px: int) -> None:
        self.image_size_px = image_size_px

    def parts(self) -> Sequence[Part]:
        """Ranges of the sorted drawings."""
        bounds = np.linspace(0, len(drawings.codes()), PARTS + 1).astype(int)
        return [Part(f"openmoji-{i}", int(bounds[i]), int(bounds[i + 1])) for i in range(PARTS)]

    def fingerprint(self, part: Part) -> str:
        """Empty: the drawings come with a package, whose version the store names."""
        return ""

    def num_items(self) -> int:
        """Exactly so many."""
        return len(drawings.codes())

    def read(self, part: Part) -> Iterator[Pair | Drop]:
        """Render the drawings of one range, on white; one without a name in Unicode is dropped."""
        for code in drawings.codes()[part.start : part.stop]:
            captions = names(code)
            if not captions:
                yield Drop(code, "no name in Unicode", is_fault=False)
                continue
            canvas = np.full((self.image_size_px, self.image_size_px, 3), 255, np.uint8)
            drawings.paste(canvas, drawings.render(code, self.image_size_px), 0, 0)
            tied_by = (f"base:{base_code_point(code)}", *(f"caption:{caption}" for caption in captions))
            yield Pair(code, canvas, captions, tied_by)


def names(code: str) -> tuple[str, ...]:
    """The English name and aliases of a drawing, in words; empty if Unicode has no such emoji."""
    character = "".join(chr(int(point, 16)) for point in code.split("-"))
    words = [
        name.strip(":").replace("_", " ").replace("-", " ") for name in _names_by_plain().get(_plain(character), ())
    ]
    return tuple(dict.fromkeys(word.lower() for word in words))


@functools.cache
def _names_by_plain() -> dict[str, tuple[str, ...]]:
    """Names and aliases of all emoji, by their characters without marks of presentation."""
    from emoji import EMOJI_DATA

    return {_plain(key): (str(entry["en"]), *entry.get("alias", ())) for key, entry in EMOJI_DATA.items()}


def _plain(character: str) -> str:
    return character.replace(PRESENTATION, "")


def base_code_point(code: str) -> str:
    """The first code point, which all variants of an emoji share: `1F44B-1F3FB` -> `1F44B`."""
    return code.split("-", maxsplit=1)[0]
