"""`scenes-v1`: pictures composed from OpenMoji drawings, with captions that say what, how many and where.

    ScenesV1(num_pairs=42_000, seed=0, image_size_px=48).read(part)

Frozen: the same seed gives the same scenes for ever (and the same bytes with the locked versions), so that figures
taken on it stay comparable. A scene's content (what, how many, where) is its group: the split keeps every content on
one side, so that validation asks for combinations that training never showed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clipexp.data.sources import Drop, Pair, Part, Pixels, drawings

PAIRS_A_PART = 2048

# (code of the drawing, one of it, several of it)
THINGS = (
    ("1F431", "a cat", "cats"),
    ("1F436", "a dog", "dogs"),
    ("1F438", "a frog", "frogs"),
    ("1F437", "a pig", "pigs"),
    ("1F98A", "a fox", "foxes"),
    ("1F43C", "a panda", "pandas"),
    ("1F427", "a penguin", "penguins"),
    ("1F41F", "a fish", "fish"),
    ("1F419", "an octopus", "octopuses"),
    ("1F98B", "a butterfly", "butterflies"),
    ("1F41D", "a bee", "bees"),
    ("1F41E", "a ladybird", "ladybirds"),
    ("1F40C", "a snail", "snails"),
    ("1F422", "a turtle", "turtles"),
    ("1F418", "an elephant", "elephants"),
    ("1F989", "an owl", "owls"),
    ("1F34E", "an apple", "apples"),
    ("1F34C", "a banana", "bananas"),
    ("1F347", "a bunch of grapes", "bunches of grapes"),
    ("1F34B", "a lemon", "lemons"),
    ("1F349", "a slice of watermelon", "slices of watermelon"),
    ("1F353", "a strawberry", "strawberries"),
    ("1F955", "a carrot", "carrots"),
    ("1F355", "a slice of pizza", "slices of pizza"),
    ("1F354", "a hamburger", "hamburgers"),
    ("1F369", "a doughnut", "doughnuts"),
    ("1F344", "a mushroom", "mushrooms"),
    ("1F333", "a tree", "trees"),
    ("1F335", "a cactus", "cactuses"),
    ("1F33B", "a sunflower", "sunflowers"),
    ("1F337", "a tulip", "tulips"),
    ("1F341", "a maple leaf", "maple leaves"),
    ("2600", "a sun", "suns"),
    ("1F319", "a moon", "moons"),
    ("2B50", "a star", "stars"),
    ("1F308", "a rainbow", "rainbows"),
    ("1F525", "a fire", "fires"),
    ("26C4", "a snowman", "snowmen"),
    ("1F697", "a car", "cars"),
    ("1F68C", "a bus", "buses"),
    ("1F6B2", "a bicycle", "bicycles"),
    ("1F680", "a rocket", "rockets"),
    ("26F5", "a sailboat", "sailboats"),
    ("1F3E0", "a house", "houses"),
    ("1F511", "a key", "keys"),
    ("1F302", "an umbrella", "umbrellas"),
    ("1F388", "a balloon", "balloons"),
    ("1F381", "a present", "presents"),
    ("26BD", "a football", "footballs"),
    ("1F3C0", "a basketball", "basketballs"),
    ("1F3B8", "a guitar", "guitars"),
    ("1F941", "a drum", "drums"),
    ("1F4D5", "a book", "books"),
    ("1F3A9", "a top hat", "top hats"),
    ("2764", "a heart", "hearts"),
    ("1F48E", "a gem", "gems"),
    ("1F514", "a bell", "bells"),
    ("1F451", "a crown", "crowns"),
    ("2693", "an anchor", "anchors"),
    ("1F916", "a robot", "robots"),
)
BACKGROUNDS = (
    ("white", (255, 255, 255)),
    ("grey", (176, 176, 176)),
    ("purple", (190, 160, 235)),
    ("blue", (130, 190, 250)),
    ("green", (150, 215, 140)),
    ("pink", (250, 185, 210)),
    ("yellow", (252, 235, 140)),
    ("brown", (180, 130, 90)),
)
Place = tuple[str, tuple[float, float]]  # words, and its middle as (down, right) shares of the picture
SOLO_PLACES: tuple[Place, ...] = tuple(
    (words, (down, right))
    for down, row in ((0.25, "top"), (0.5, "middle"), (0.75, "bottom"))
    for right, words in (
        ((0.25, f"at the {row} left"), (0.5, f"at the {row}"), (0.75, f"at the {row} right"))
        if row != "middle"
        else ((0.25, "on the left"), (0.5, "in the middle"), (0.75, "on the right"))
    )
)
PAIR_PLACES: tuple[tuple[Place, Place], ...] = (
    (("on the left", (0.5, 0.25)), ("on the right", (0.5, 0.75))),
    (("at the top", (0.25, 0.5)), ("at the bottom", (0.75, 0.5))),
)
# For one, two and three of a thing: the size of each and how far it stands from the middle, as shares of the picture.
ARRANGEMENTS = (
    (0.46, ((0.0, 0.0),)),
    (0.36, ((-0.11, -0.12), (0.11, 0.12))),
    (0.30, ((-0.12, 0.0), (0.11, -0.13), (0.11, 0.13))),
)
SOLO_SHARE = 0.25
JITTER = 0.03


@dataclass(frozen=True)
class Group:
    """Some of one thing in one place."""

    thing_idx: int
    num: int
    words: str
    middle: tuple[float, float]

    def phrase(self) -> str:
        """Such as `two cats on the left`."""
        _, one, several = THINGS[self.thing_idx]
        return f"{one if self.num == 1 else ('two', 'three')[self.num - 2] + ' ' + several} {self.words}"


class ScenesV1:
    """The source; see the module."""

    licence = drawings.LICENCE
    attribution = drawings.ATTRIBUTION

    def __init__(self, num_pairs: int, seed: int, image_size_px: int) -> None:
        self.num_pairs = num_pairs
        self.seed = seed
        self.image_size_px = image_size_px

    def parts(self) -> Sequence[Part]:
        """Ranges of scene indices."""
        starts = range(0, self.num_pairs, PAIRS_A_PART)
        return [Part(f"scenes-{s:08d}", s, min(s + PAIRS_A_PART, self.num_pairs)) for s in starts]

    def fingerprint(self, part: Part) -> str:
        """Empty: the drawings come with a package, whose version the store names."""
        return ""

    def num_items(self) -> int:
        """Exactly so many."""
        return self.num_pairs

    def read(self, part: Part) -> Iterator[Pair | Drop]:
        """Compose the scenes of one range."""
        for idx in range(part.start, part.stop):
            yield self.scene(idx)

    def scene(self, idx: int) -> Pair:
        """Scene number `idx`, a function of (seed, idx) alone."""
        rng = np.random.default_rng([self.seed, idx])
        colour, rgb = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
        if rng.random() < SOLO_SHARE:
            places: Sequence[Place] = (SOLO_PLACES[rng.integers(len(SOLO_PLACES))],)
        else:
            places = PAIR_PLACES[rng.integers(len(PAIR_PLACES))]
        things = rng.choice(len(THINGS), size=len(places), replace=False)
        groups = [
            Group(int(thing), int(rng.integers(1, 4)), words, middle)
            for thing, (words, middle) in zip(things, places, strict=True)
        ]
        phrases = [group.phrase() for group in groups]
        captions = (
            f"{' and '.join(phrases)}, on a {colour} background",
            f"a {colour} picture with {' and '.join(reversed(phrases))}",
        )
        content = " and ".join(phrases)
        return Pair(f"{idx:08d}", self._draw(groups, rgb, rng), captions, (f"content:{content}",))

    def _draw(self, groups: Sequence[Group], rgb: tuple[int, int, int], rng: np.random.Generator) -> Pixels:
        size = self.image_size_px
        canvas = np.empty((size, size, 3), np.uint8)
        canvas[:] = rgb
        for group in groups:
            share, offsets = ARRANGEMENTS[group.num - 1]
            drawing_px = round(size * share)
            drawing = drawings.render(THINGS[group.thing_idx][0], drawing_px)
            for offset in offsets:
                corner = [
                    round(size * (group.middle[axis] + offset[axis] + rng.uniform(-JITTER, JITTER)) - drawing_px / 2)
                    for axis in (0, 1)
                ]
                top_px, left_px = (min(max(at, 0), size - drawing_px) for at in corner)  # nothing is cut off
                drawings.paste(canvas, drawing, top_px, left_px)
        return canvas
