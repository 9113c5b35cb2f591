"""`scenes`: pictures composed from hundreds of OpenMoji drawings, with captions that say what is where.

    Scenes(ScenesSource(kind="scenes", num_pairs=100_000), image_size_px=224).read(part)

A scene is a function of (seed, number) alone. Combinations of colour and thing, of number and thing, and of two things
and how they stand, that a hash picks, are never shown in training and validation; each kind has a test set, which
shows one of them in every picture. What a scene shows is its group: the split keeps it on one side.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipexp.data.sources import Drop, Pair, Part, drawings
from clipexp.data.sources.scenes.arrangement import Box, arrange
from clipexp.data.sources.scenes.backgrounds import NUM_VARIANTS, picture
from clipexp.data.sources.scenes.captions import captions
from clipexp.data.sources.scenes.content import KINDS, Content, draw_content, leading
from clipexp.data.sources.scenes.dice import Dice
from clipexp.data.sources.scenes.stickers import sticker
from clipexp.spec.sources import ScenesSource

PAIRS_A_PART = 1024
MAX_ANGLE = 0.2  # radians, to either side
_PREFIX = "scenes"


@dataclass(frozen=True)
class Placed:
    """One thing in the picture: of which group, in which box, turned by how many radians, mirrored or not."""

    group_idx: int
    box: Box
    angle: float
    is_mirrored: bool


@dataclass(frozen=True)
class Scene:
    """All that a picture and its captions are made from."""

    content: Content
    placed: tuple[Placed, ...]
    background_variant: int


class Scenes:
    """The source; see the module."""

    licence = drawings.LICENCE
    attribution = drawings.ATTRIBUTION

    def __init__(self, spec: ScenesSource, image_size_px: int) -> None:
        self.spec = spec
        self.image_size_px = image_size_px

    def parts(self) -> Sequence[Part]:
        """Ranges of scenes: those that train and validate, then each test set's."""
        parts = _ranges(_PREFIX, self.spec.num_pairs)
        for kind in KINDS:
            parts += _ranges(f"test-{kind}", self.spec.num_test)
        return parts

    def fingerprint(self, part: Part) -> str:
        """Empty: the drawings come with a package, whose version the store names."""
        return ""

    def num_items(self) -> int:
        """Exactly so many."""
        return self.spec.num_pairs + len(KINDS) * self.spec.num_test

    def read(self, part: Part) -> Iterator[Pair | Drop]:
        """Compose the scenes of one range."""
        test = part.name.rpartition("-")[0].removeprefix(_PREFIX).removeprefix("test-")
        numbers = range(part.start, part.stop) if test else _numbers(self.spec)[part.start : part.stop].tolist()
        for idx in numbers:
            yield self.pair(idx, test)

    def pair(self, idx: int, test: str = "") -> Pair:
        """Scene number `idx` of a test set, one of KINDS; empty: of the training and validation pairs."""
        scene = self.scene(idx, test)
        pixels = np.array(draw(scene, self.image_size_px))
        side = f"test-{test}" if test else ""
        key = f"{side}-{idx:08d}" if test else f"{idx:08d}"
        return Pair(key, pixels, captions(scene.content), (f"content:{scene.content.key()}",), test=side)

    def scene(self, idx: int, test: str = "") -> Scene:
        """What `pair` shows and says."""
        dice = Dice([self.spec.seed, KINDS.index(test) + 1 if test else 0, idx])
        content = draw_content(self.spec.seed, test, idx, dice)
        placed = tuple(
            Placed(group_idx, box, dice.between(-MAX_ANGLE, MAX_ANGLE), dice.share() < 0.5)
            for group_idx, (group, cell) in enumerate(zip(content.groups, content.layout.cells, strict=True))
            for box in arrange(cell, group.num, group.size, dice)
        )
        return Scene(content, placed, dice.pick(range(NUM_VARIANTS)))


@functools.lru_cache(maxsize=1)
def _numbers(spec: ScenesSource) -> NDArray[np.int64]:
    """The numbers of the training and validation scenes in the order in which they are written."""
    numbers = np.arange(spec.num_pairs)
    if spec.order == "random":
        return numbers
    background_idx, thing_idx = leading(spec.seed, numbers)
    return np.lexsort((numbers, thing_idx, background_idx))


def draw(scene: Scene, size_px: int) -> Image.Image:
    """The picture of a scene, RGB, size_px by size_px."""
    canvas = picture(scene.content.background, scene.background_variant, size_px).copy()
    for placed in scene.placed:
        group = scene.content.groups[placed.group_idx]
        top_px, left_px, side_px = pixel_box(placed.box, size_px)
        drawn = sticker(group.thing.code, group.colour, side_px, placed.angle, placed.is_mirrored)
        canvas.paste(drawn, (left_px, top_px), drawn)
    return canvas


def pixel_box(box: Box, size_px: int) -> tuple[int, int, int]:
    """Its top, left and side in whole pixels, never reaching into a pixel outside of the box."""
    top_px, left_px = -int(-box.top * size_px // 1), -int(-box.left * size_px // 1)
    end_px = min(int((box.top + box.side) * size_px) - top_px, int((box.left + box.side) * size_px) - left_px)
    return top_px, left_px, max(1, end_px)


def _ranges(prefix: str, num: int) -> list[Part]:
    starts = range(0, num, PAIRS_A_PART)
    return [Part(f"{prefix}-{start:08d}", start, min(start + PAIRS_A_PART, num)) for start in starts]
