"""What a scene shows, and which combinations are held out.

    content = draw_content(seed=0, test="", idx=7)
    content.combinations("counts")  # ("2 cat", "3 dog")

A content of the training and validation pairs holds no combination that `is_held_out`. One of a test set holds at
least one of the set's own kind, and none of the others.
"""

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipexp.data.sources.scenes.arrangement import RING_NUMS, sizes_for
from clipexp.data.sources.scenes.backgrounds import Background, backgrounds, deck
from clipexp.data.sources.scenes.colours import COLOURS
from clipexp.data.sources.scenes.dice import Dice
from clipexp.data.sources.scenes.layouts import LAYOUTS, Cell, Layout
from clipexp.data.sources.scenes.things import Thing, things

KINDS = ("attributes", "counts", "relations")
HELD_OUT_SHARE = 0.08
SAME_THING_SHARE = 0.12
TINTED_SHARE = 0.6
# How often a layout, and a number of things, is tried.
_LAYOUT_WEIGHTS = {
    "middle": 10,
    **dict.fromkeys(("on the left", "on the right", "at the top", "at the bottom"), 2),
    **{name: 2 for name in LAYOUTS if name.startswith(("top ", "bottom "))},
    **dict.fromkeys(("left", "right", "above", "below"), 11),
    "surrounded": 9,
    **dict.fromkeys(("row", "column", "two above", "two below"), 5),
}
_NUM_WEIGHTS = (8, 5, 4, 3, 2, 2)
_LAYOUT_NAMES = tuple(name for name, weight in _LAYOUT_WEIGHTS.items() for _ in range(weight))
_NUMS = tuple(num for num, weight in enumerate(_NUM_WEIGHTS, start=1) for _ in range(weight))
_SIZE_NAMES = ("", "", "", "small", "large", "large")


@dataclass(frozen=True)
class Group:
    """Some of one thing. colour and size: empty where the caption names none."""

    thing: Thing
    num: int
    colour: str
    size: str

    def phrase(self) -> str:
        """Such as `two small red cats`."""
        return self.thing.phrase(self.num, f"{self.size} {self.colour}".strip())


@dataclass(frozen=True)
class Content:
    """What stands where on what."""

    layout_name: str
    groups: tuple[Group, ...]
    background: Background

    @property
    def layout(self) -> Layout:
        """How the groups stand."""
        return LAYOUTS[self.layout_name]

    def combinations(self, kind: str) -> tuple[str, ...]:
        """Its combinations of one of KINDS: `red cat`, `2 cat` (in a group or in all), `cat left of dog`."""
        if kind == "attributes":
            return tuple(f"{group.colour} {group.thing.one}" for group in self.groups if group.colour)
        if kind == "counts":
            groups = [(group.num, group.thing) for group in self.groups]
            totals = [(num, thing) for thing, num in self.num_by_thing().items()]
            return tuple(f"{num} {thing.one}" for num, thing in dict.fromkeys(groups + totals) if num > 1)
        names = [group.thing.one for group in self.groups]
        return tuple(f"{names[a]} {relation} {names[b]}" for a, relation, b in self.layout.relations)

    def num_by_thing(self) -> dict[Thing, int]:
        """How many there are of each thing."""
        nums: dict[Thing, int] = {}
        for group in self.groups:
            nums[group.thing] = nums.get(group.thing, 0) + group.num
        return nums

    def key(self) -> str:
        """The same for contents that show the same on whatever background, however they are said."""
        placed = sorted(zip(self.layout.cells, (group.phrase() for group in self.groups), strict=True), key=_by_place)
        places = "ring" if self.layout_name == "surrounded" else _shape(self.layout_name)
        return f"{places}: {'; '.join(phrase for _, phrase in placed)}"


def _by_place(placed: tuple[Cell, str]) -> tuple[bool, float, float]:
    return placed[0].is_ring, placed[0].top, placed[0].left


def _shape(layout_name: str) -> str:
    """One name for the two ways around of a pair."""
    return {"right": "left", "below": "above"}.get(layout_name, layout_name)


def is_held_out(seed: int, combination: str) -> bool:
    """Whether training must never show a combination; by its hash, so that each is decided by itself."""
    digest = hashlib.blake2b(f"{seed}/{combination}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < HELD_OUT_SHARE * 2**64


def leading(seed: int, idx: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The background and the first thing of training scenes: what sorted scenes are sorted by, for many at once."""
    mixed = _mixed(idx.astype(np.uint64) + (_mixed(np.array([seed], np.uint64)) << np.uint64(1)))
    again = _mixed(mixed)
    return (
        np.array(deck())[(mixed % np.uint64(len(deck()))).astype(np.int64)],
        (again % np.uint64(len(things()))).astype(np.int64),
    )


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Steele 2014, the finalizer of SplitMix64; wraps around at 64 bits."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def draw_content(seed: int, test: str, idx: int, dice: Dice) -> Content:
    """The content of one scene.

    Args:
        seed: the source's.
        test: one of KINDS for a scene of that test set; empty: for training and validation.
        idx: the scene's number in its set.
        dice: what else is random.
    """
    if not test:
        background_idx, thing_idx = (int(of[0]) for of in leading(seed, np.array([idx])))
    while True:
        if test:
            background_idx, thing_idx = dice.pick(deck()), dice.pick(range(len(things())))
        content = _any_content(backgrounds()[background_idx], things()[thing_idx], dice)
        held_out = {kind for kind in KINDS if any(is_held_out(seed, combo) for combo in content.combinations(kind))}
        if held_out == ({test} if test else set()):
            return content


def _any_content(background: Background, first: Thing, dice: Dice) -> Content:
    name = dice.pick(_LAYOUT_NAMES)
    cells = LAYOUTS[name].cells
    chosen = [first]
    while len(chosen) < len(cells):
        other = first if dice.share() < SAME_THING_SHARE else dice.pick(things())
        if other not in chosen or (other is first and len(cells) == 2 and len(_tints(first, background)) > 1):
            chosen.append(other)
    is_same = len(set(chosen)) < len(chosen)
    groups: list[Group] = []
    for thing, cell in zip(chosen, cells, strict=True):
        taken = {group.colour for group in groups} if is_same else set()
        groups.append(_group(thing, cell, [c for c in _tints(thing, background) if c not in taken], is_same, dice))
    return Content(name, tuple(groups), background)


def _group(thing: Thing, cell: Cell, tints: list[str], is_always_tinted: bool, dice: Dice) -> Group:
    num = dice.pick(_nums(cell))
    colour = dice.pick(tints) if tints and (is_always_tinted or dice.share() < TINTED_SHARE) else ""
    fitting = sizes_for(cell, num)
    size = dice.pick(_SIZE_NAMES)
    return Group(thing, num, colour, size if size in fitting else fitting[-1])


@functools.cache
def _nums(cell: Cell) -> tuple[int, ...]:
    """How many things may stand in a cell, each number as often as it is to be drawn."""
    return RING_NUMS if cell.is_ring else tuple(num for num in _NUMS if sizes_for(cell, num))


@functools.cache
def _tints(thing: Thing, background: Background) -> tuple[str, ...]:
    """The colours that a thing may be tinted in there: another than its own, and none that the background has."""
    if not thing.is_tinted:
        return ()
    return tuple(colour for colour in COLOURS if colour not in thing.own_colours | background.colours)
