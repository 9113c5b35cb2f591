"""Landscapes behind scenes, as inner SVG in a square of 100 by 100.

    words, colours, draw = LANDSCAPES[0]
    draw(variant)  # 0, 1 or 2

Without sun, clouds, trees or houses: those are things, and would be counted.
"""

from collections.abc import Callable

import numpy as np

Landscape = tuple[str, tuple[str, ...], Callable[[int], str]]  # words, colours in it, how it is drawn


def _fade(name: str, *stops: str) -> str:
    """A gradient from top to bottom, to be filled with `url(#name)`."""
    inner = "".join(f'<stop offset="{i / (len(stops) - 1):.3f}" stop-color="{code}"/>' for i, code in enumerate(stops))
    return f'<linearGradient id="{name}" x2="0" y2="1">{inner}</linearGradient>'


def _sky(*stops: str) -> str:
    return f'<defs>{_fade("sky", *stops)}</defs><rect width="100" height="100" fill="url(#sky)"/>'


def _ground(top: float, swing: float, fill: str, phase: float) -> str:
    """A wavy ground from `top` down; it swings up and down by `swing`."""
    at = np.linspace(-2, 102, 27)
    line = top + swing * np.sin(at / 100 * 2 * np.pi + phase) + swing * 0.4 * np.sin(at / 100 * 5 * np.pi + 2 * phase)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(at, line, strict=True))
    return f'<polygon points="-2,102 {points} 102,102" fill="{fill}"/>'


def _specks(seed: int, num: int, box: tuple[float, float, float, float], radius: float, fill: str) -> str:
    """Specks anywhere in a box of (left, top, right, bottom)."""
    rng = np.random.default_rng(seed)
    left, top, right, bottom = box
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius * r:.2f}"/>'
        for x, y, r in rng.uniform((left, top, 0.6), (right, bottom, 1.4), (num, 3))
    )
    return f'<g fill="{fill}">{dots}</g>'


def _meadow(variant: int) -> str:
    blades = _specks(variant, 70, (0, 62, 100, 100), 0.6, "#8ccb6d")
    return (
        _sky("#a9d8fb", "#e2f4ff")
        + _ground(52, 4, "#b9e29a", 1.3 * variant)
        + _ground(60, 3, "#a3d681", 2 + variant)
        + blades
    )


def _beach(variant: int) -> str:
    sea = '<rect y="42" width="100" height="30" fill="#7cc7ea"/><rect y="42" width="100" height="9" fill="#68b9e2"/>'
    foam = _ground(66, 1.4, "#ffffff", 2.0 * variant)
    sand = _ground(68, 1.4, "#f3dfab", 2.0 * variant)
    return _sky("#bfe5fb", "#eefaff") + sea + foam + sand + _specks(variant, 60, (0, 72, 100, 100), 0.45, "#dfc385")


def _sea(variant: int) -> str:
    waves = "".join(
        _ground(40 + 11 * row, 1.5, code, variant * 1.1 + row * 1.9)
        for row, code in enumerate(("#8fd0ef", "#7bc3e8", "#68b5e0", "#58a7d7", "#4b99cc", "#418dc2"))
    )
    return _sky("#d2edfc", "#f3fbff") + waves


def _desert(variant: int) -> str:
    dunes = (("#f6d79b", 50, 5.0), ("#f0c67f", 64, 6.0), ("#e8b567", 80, 5.0))
    return _sky("#fbe7c6", "#fff6e2") + "".join(
        _ground(top, swing, code, variant * 1.7 + top) for code, top, swing in dunes
    )


def _snow(variant: int) -> str:
    hills = _ground(56, 4, "#f1f7fc", variant * 1.2) + _ground(72, 4, "#ffffff", 2.2 + variant)
    return _sky("#b7cfe4", "#dbe9f4") + hills + _specks(variant + 9, 90, (0, 0, 100, 100), 0.65, "#ffffff")


def _night(variant: int) -> str:
    stars = _specks(variant + 20, 80, (0, 0, 100, 72), 0.4, "#fdf6d0")
    return _sky("#1b2350", "#3a4684") + stars + _ground(80, 3, "#1d2b3c", 1.9 * variant)


def _sunset(variant: int) -> str:
    hills = _ground(70, 4, "#9b5d8f", variant * 1.5) + _ground(84, 4, "#6f4479", 2 + variant)
    return _sky("#6f74b8", "#c98ab6", "#f6a98c", "#fdd58f", "#fde3a7") + hills


def _under_water(variant: int) -> str:
    rays = "".join(
        f'<polygon points="{x},-2 {x + 9},-2 {x + 2 - 14},102 {x - 26},102" fill="#ffffff" opacity="0.13"/>'
        for x in range(12 + 7 * variant, 130, 27)
    )
    bubbles = _specks(variant + 40, 26, (0, 0, 100, 90), 0.9, "#d9f4fb")
    return _sky("#86dcea", "#4ab3d6", "#2f83b6") + rays + bubbles + _ground(91, 1.5, "#d9c793", variant * 2.1)


def _hills(variant: int) -> str:
    ridges = (("#c3d3ea", 44, 6.0), ("#a6bedd", 58, 6.0), ("#88a7cd", 72, 5.0), ("#6f91bb", 87, 4.0))
    return _sky("#f4ece6", "#e6eef8") + "".join(
        _ground(top, swing, code, variant * 1.3 + 2.4 * row) for row, (code, top, swing) in enumerate(ridges)
    )


def _space(variant: int) -> str:
    clouds = (
        f'<defs><radialGradient id="n"><stop offset="0" stop-color="#b04fa8" stop-opacity="0.75"/>'
        f'<stop offset="1" stop-color="#b04fa8" stop-opacity="0"/></radialGradient></defs>'
        f'<ellipse cx="{28 + 22 * variant}" cy="36" rx="52" ry="34" fill="url(#n)"/>'
        f'<ellipse cx="{76 - 25 * variant}" cy="78" rx="44" ry="28" fill="url(#n)"/>'
    )
    return _sky("#2a1c4d", "#3a2462") + clouds + _specks(variant + 60, 110, (0, 0, 100, 100), 0.38, "#f4e9ff")


def _rain(variant: int) -> str:
    rng = np.random.default_rng(variant + 80)
    drops = "".join(f'<path d="M{x * 110:.1f},{y * 106 - 4:.1f}l-1.6,6"/>' for x, y in rng.random((85, 2)))
    return _sky("#8d9bab", "#b9c4cf") + f'<g stroke="#dfe9f2" stroke-width="0.7">{drops}</g>'


def _room(variant: int) -> str:
    wall = "".join(f'<rect x="{x}" width="4" height="64" fill="#efdcc0"/>' for x in range(2 + 3 * variant, 100, 12))
    boards = "".join(f'<rect y="{y}" width="100" height="0.7" fill="#a87b50"/>' for y in (74, 82, 91))
    return (
        '<rect width="100" height="64" fill="#f6e8d2"/>'
        f'{wall}<rect y="62" width="100" height="4" fill="#fffaf1"/>'
        f'<rect y="66" width="100" height="34" fill="#c69a6b"/>{boards}'
    )


LANDSCAPES: tuple[Landscape, ...] = (
    ("in a meadow", ("green", "blue"), _meadow),
    ("at the beach", ("blue", "yellow"), _beach),
    ("at sea", ("blue",), _sea),
    ("in the desert", ("yellow", "orange"), _desert),
    ("in the snow", ("white", "grey", "blue"), _snow),
    ("at night", ("blue", "black"), _night),
    ("at sunset", ("purple", "pink", "orange", "yellow"), _sunset),
    ("under water", ("blue", "turquoise"), _under_water),
    ("in front of blue hills", ("blue",), _hills),
    ("in space", ("purple", "black"), _space),
    ("in the rain", ("grey",), _rain),
    ("in a room", ("brown", "yellow"), _room),
)
