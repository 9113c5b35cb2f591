"""What scenes stand on: plain colours, patterns, colours that fade into another, and landscapes.

    picture(backgrounds()[0], variant=0, size_px=224)  # RGB, 224x224

Each is an SVG in a square of 100 by 100, in softer colours than things are tinted in. Nothing in them can be counted as
a thing.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from clipexp.data.sources import drawings
from clipexp.data.sources.scenes.landscapes import LANDSCAPES
from clipexp.data.sources.scenes.stickers import Kept

NUM_VARIANTS = 3
KEPT_BYTES = 96 << 20

PLAIN = {
    "white": "#ffffff",
    "pink": "#fbd3e1",
    "red": "#e9756c",
    "orange": "#f9c58c",
    "yellow": "#fbeb9d",
    "green": "#bfe4b0",
    "turquoise": "#aee4df",
    "blue": "#b3d4f6",
    "purple": "#d8c8f1",
    "brown": "#c8a07c",
    "grey": "#c6cad0",
    "black": "#2a2c33",
}
_PATTERNED = ("pink", "red", "orange", "yellow", "green", "turquoise", "blue", "purple", "grey")
_FADING = (("blue", "pink"), ("yellow", "orange"), ("green", "blue"), ("purple", "turquoise"), ("pink", "yellow"))


@dataclass(frozen=True)
class Background:
    """A background: what it is called, such as `on a blue background`, the colours in it, and how it is drawn.

    draw: the inner SVG of a variant, 0 to NUM_VARIANTS - 1.
    """

    words: str
    colours: frozenset[str]
    draw: Callable[[int], str]


@functools.cache
def backgrounds() -> tuple[Background, ...]:
    """All of them, like ones beside each other."""
    plain = [Background(f"on {_a(name)} background", frozenset((name,)), _plain(code)) for name, code in PLAIN.items()]
    patterns = [
        Background(
            words.format(a=_a(name), name=name), frozenset((name, "white")), functools.partial(draw, PLAIN[name])
        )
        for words, draw in (
            ("on {name} and white stripes", _stripes),
            ("on {name} and white checks", _checks),
            ("on {a} background with white dots", _dots),
            ("on a white background with {name} dots", _dots_on_white),
        )
        for name in _PATTERNED
    ]
    fading = [
        Background(f"on {_a(a)} background that fades into {b}", frozenset((a, b)), _fading(PLAIN[a], PLAIN[b]))
        for one, other in _FADING
        for a, b in ((one, other), (other, one))
    ]
    places = [Background(words, frozenset(colours), draw) for words, colours, draw in LANDSCAPES]
    return (*plain, *patterns, *fading, *places)


@functools.cache
def deck() -> tuple[int, ...]:
    """Numbers of backgrounds, each as often as it is to be drawn: landscapes and plain ones more than patterns."""
    num_plain, num_places = len(PLAIN), len(LANDSCAPES)
    first_place = len(backgrounds()) - num_places
    weights = [2 if idx < num_plain else 6 if idx >= first_place else 1 for idx in range(len(backgrounds()))]
    return tuple(idx for idx, weight in enumerate(weights) for _ in range(weight))


_pictures = Kept(KEPT_BYTES)


def picture(background: Background, variant: int, size_px: int) -> Image.Image:
    """RGB, size_px by size_px; kept, so not to be written to."""
    return _pictures.get((background.words, variant, size_px), lambda: _rendered(background, variant, size_px))


def _rendered(background: Background, variant: int, size_px: int) -> Image.Image:
    inner = background.draw(variant)
    source = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{inner}</svg>'
    return drawings.rasterize(source, size_px).convert("RGB")


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _plain(code: str) -> Callable[[int], str]:
    return lambda _: f'<rect width="100" height="100" fill="{code}"/>'


def _fading(top: str, bottom: str) -> Callable[[int], str]:
    return lambda _: (
        f'<defs><linearGradient id="g" x2="0" y2="1"><stop offset="0.1" stop-color="{top}"/>'
        f'<stop offset="0.9" stop-color="{bottom}"/></linearGradient></defs>'
        '<rect width="100" height="100" fill="url(#g)"/>'
    )


def _on(ground: str, marks: str) -> str:
    return f'<rect width="100" height="100" fill="{ground}"/>{marks}'


def _stripes(code: str, variant: int) -> str:
    angle, step = (0, 90, 45)[variant], 12.5
    bars = "".join(f'<rect x="{x * step - 50}" y="-60" width="{step / 2}" height="220"/>' for x in range(17))
    return _on("#ffffff", f'<g fill="{code}" transform="rotate({angle} 50 50)">{bars}</g>')


def _checks(code: str, variant: int) -> str:
    num = (8, 10, 6)[variant]
    side = 100 / num
    cells = "".join(
        f'<rect x="{x * side}" y="{y * side}" width="{side}" height="{side}"/>'
        for y in range(num)
        for x in range(num)
        if (x + y) % 2
    )
    return _on("#ffffff", f'<g fill="{code}">{cells}</g>')


def _dots(code: str, variant: int, ground: str | None = None) -> str:
    num = (8, 10, 6)[variant]
    step = 100 / num
    dots = "".join(
        f'<circle cx="{(x + 0.5 * (y % 2)) * step:.2f}" cy="{(y + 0.5) * step:.2f}" r="{step * 0.22:.2f}"/>'
        for y in range(num)
        for x in range(num + 1)
    )
    return _on(ground or code, f'<g fill="{code if ground else "#ffffff"}">{dots}</g>')


def _dots_on_white(code: str, variant: int) -> str:
    return _dots(code, variant, ground="#ffffff")
