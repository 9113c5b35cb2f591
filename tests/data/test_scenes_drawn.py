"""What `scenes` are made of: things that differ, colours that are plainly theirs, backgrounds that set both off."""

import colorsys
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from clipexp.data.sources import Pixels, drawings
from clipexp.data.sources.scenes import Scenes
from clipexp.data.sources.scenes.backgrounds import NUM_VARIANTS, PLAIN, backgrounds, deck, picture
from clipexp.data.sources.scenes.colours import COLOURS, tint
from clipexp.data.sources.scenes.stickers import Kept, sticker
from clipexp.data.sources.scenes.things import Thing, things
from clipexp.spec.sources import ScenesSource

SIZE_PX = 40


def drawn(thing: Thing, colour: str = "", size_px: int = SIZE_PX) -> Pixels:
    return np.asarray(sticker(thing.code, colour, size_px, 0.0, False))


def on_grey(image: Pixels) -> np.ndarray:  # type: ignore[type-arg]
    alpha = image[..., 3:] / 255
    return image[..., :3] * alpha + 128 * (1 - alpha)


def named(code: str) -> Thing:
    return next(thing for thing in things() if thing.one == code)


def test_there_are_hundreds_of_things_and_each_has_its_own_names_and_drawing() -> None:
    assert len(things()) == 482
    for field in ("code", "one", "several"):
        assert len({getattr(thing, field) for thing in things()}) == 482
    assert {thing.code for thing in things()} <= set(drawings.codes())


def test_every_thing_is_drawn_and_no_two_look_alike() -> None:
    pictures = np.stack([on_grey(drawn(thing)) for thing in things()])
    for thing in things():
        assert (drawn(thing)[..., 3] > 128).mean() > 0.1, thing.one
    flat = pictures.reshape(len(pictures), -1)
    squared = (flat**2).sum(1)
    apart = squared[:, None] + squared[None] - 2 * flat @ flat.T
    np.fill_diagonal(apart, np.inf)
    first, second = divmod(int(apart.argmin()), len(apart))
    root_mean_square = (apart.min() / flat.shape[1]) ** 0.5
    assert root_mean_square > 10, (things()[first].one, things()[second].one)


@pytest.mark.parametrize(
    ("one", "num", "adjectives", "words"),
    [
        ("cat", 1, "", "a cat"),
        ("cat", 1, "orange", "an orange cat"),
        ("octopus", 1, "", "an octopus"),
        ("unicorn", 1, "", "a unicorn"),
        ("mouse", 3, "small red", "three small red mice"),
        ("pair of jeans", 6, "", "six pairs of jeans"),
        ("sheep", 12, "", "twelve sheep"),
    ],
)
def test_things_are_named_in_plain_english(one: str, num: int, adjectives: str, words: str) -> None:
    assert named(one).phrase(num, adjectives) == words


def filled(image: Pixels) -> np.ndarray:  # type: ignore[type-arg]
    """Opaque pixels that are neither outline nor border."""
    pixels = image[image[..., 3] == 255][:, :3].astype(float)
    return pixels[(pixels.max(1) > 70) & (pixels.min(1) < 240)]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_tinted_thing_is_plainly_of_its_colour(colour: str) -> None:
    hue, _, _ = colorsys.rgb_to_hls(*(value / 255 for value in COLOURS[colour]))
    for thing in things():
        if not thing.is_tinted or colour in thing.own_colours:
            continue
        pixels = filled(np.asarray(tint(Image.fromarray(drawings.render(thing.code, 96)), colour)))
        assert len(pixels) > 200, thing.one
        mean_hue, _, mean_saturation = colorsys.rgb_to_hls(*(pixels.mean(0) / 255))
        if colour == "grey":
            assert mean_saturation < 0.15
        else:
            assert abs((mean_hue - hue + 0.5) % 1 - 0.5) < 0.04, thing.one
            assert np.ptp(pixels.mean(0)) > 0.45 * np.ptp(COLOURS[colour]), thing.one  # max - min: chroma


def test_any_two_colours_are_far_apart() -> None:
    for one, other in combinations(COLOURS, 2):
        assert np.linalg.norm(np.subtract(COLOURS[one], COLOURS[other])) > 55, (one, other)


def test_a_tint_shows_against_the_thing_as_it_is() -> None:
    for thing in things():
        if thing.is_tinted:
            own = on_grey(drawn(thing))
            for colour in COLOURS.keys() - thing.own_colours:
                changed = np.abs(on_grey(drawn(thing, colour)) - own).max(-1)
                assert (changed > 24).mean() > 0.03, (colour, thing.one)


def test_a_colour_is_never_that_of_the_background() -> None:
    source = Scenes(ScenesSource(kind="scenes"), 32)
    for idx in range(1500):
        content = source.scene(idx).content
        assert not {group.colour for group in content.groups} & content.background.colours


def test_every_thing_keeps_a_light_border_on_a_dark_ground() -> None:
    black = next(background for background in backgrounds() if background.colours == {"black"})
    for thing in things()[::7]:
        canvas = picture(black, 0, 64).copy()
        drawing = sticker(thing.code, "", 64, 0.0, False)
        canvas.paste(drawing, (0, 0), drawing)
        assert (np.asarray(canvas).min(-1) > 150).mean() > 0.01, thing.one


def test_backgrounds_differ_in_words_and_look_and_fill_the_picture() -> None:
    assert len({background.words for background in backgrounds()}) == len(backgrounds()) == 70
    pictures = [np.asarray(picture(background, 0, 48)).astype(int) for background in backgrounds()]
    for one, other in combinations(pictures, 2):
        assert np.abs(one - other).mean() > 1.5
    for background in backgrounds():
        for variant in range(NUM_VARIANTS):
            assert picture(background, variant, 33).size == (33, 33)


def test_a_plain_background_is_one_colour_alone() -> None:
    for background, code in zip(backgrounds(), PLAIN.values(), strict=False):
        values = np.unique(np.asarray(picture(background, 1, 32)).reshape(-1, 3), axis=0)
        assert values.tolist() == [[int(code[i : i + 2], 16) for i in (1, 3, 5)]]


def test_every_background_is_in_the_deck() -> None:
    assert set(deck()) == set(range(len(backgrounds())))


def test_a_turned_thing_stays_in_its_square_and_whole() -> None:
    upright = drawn(named("cat"), size_px=60)
    for angle in (-0.2, 0.2):
        turned = np.asarray(sticker(named("cat").code, "", 60, angle, False))
        edge = np.concatenate([turned[0], turned[-1], turned[:, 0], turned[:, -1]])[:, 3]
        assert edge.max() < 120
        assert 0.6 < (turned[..., 3] > 128).sum() / (upright[..., 3] > 128).sum() <= 1.05


def test_a_mirrored_thing_is_the_same_from_right_to_left() -> None:
    plain = drawn(named("snail"), size_px=60).astype(int)
    mirrored = np.asarray(sticker(named("snail").code, "", 60, 0.0, True)).astype(int)
    assert np.abs(plain[:, ::-1] - mirrored)[..., 3].mean() < 2
    assert np.abs(plain - mirrored)[..., 3].mean() > 20


def test_what_is_kept_stays_within_its_bound() -> None:
    kept, made = Kept(max_bytes=3 * 400), []

    def make(number: int) -> Image.Image:
        made.append(number)
        return Image.new("RGBA", (10, 10))

    for number in (0, 1, 2, 0, 3, 0, 1):
        kept.get(number, lambda number=number: make(number))  # type: ignore[misc]
    assert made == [0, 1, 2, 3, 1]  # 1 was forgotten, being the one not asked for the longest
    assert kept.num_bytes == 1200
