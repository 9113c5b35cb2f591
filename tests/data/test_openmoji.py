"""`openmoji`: drawings by their names, and no drawing's twin on the other side of the split."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from clipexp.data.prepare import prepare
from clipexp.data.sources import drawings
from clipexp.data.sources.openmoji import OpenMoji, base_code_point, names
from clipexp.data.store import Store
from clipexp.errors import SourceError
from tests.data.made import CONTEXT_LENGTH, data_spec


@pytest.fixture(scope="module")
def emoji(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """All drawings at 16 px."""
    folder = tmp_path_factory.mktemp("openmoji") / "store"
    return prepare(data_spec(folder, {"kind": "openmoji"}, split={"num_val": 1000}), CONTEXT_LENGTH)


def sides_by(emoji: Store, column: str) -> dict[str, set[str]]:
    """The sides on which each base code point, or each picture, stands."""
    found = defaultdict(set)
    for shard in emoji.manifest.shards:
        for value in pa.ipc.open_file(emoji.folder / shard.file).read_all()[column].to_pylist():
            found[base_code_point(value) if column == "key" else value].add(shard.side)
    return found


def test_captions_are_name_and_aliases_in_words() -> None:
    assert names("1F431") == ("cat face", "cat")
    assert names("1F44B-1F3FB")[0] == "waving hand light skin tone"


def test_a_name_is_found_with_and_without_the_mark_of_presentation() -> None:
    assert names("2764") == names("2764-FE0F") != ()


def test_no_caption_of_a_drawing_comes_twice() -> None:
    assert all(len(set(names(code))) == len(names(code)) for code in drawings.codes())


def test_variants_share_their_base_code_point() -> None:
    assert base_code_point("1F44B-1F3FB") == base_code_point("1F44B") == "1F44B"


def test_no_base_code_point_stands_on_both_sides(emoji: Store) -> None:
    sides = sides_by(emoji, "key")
    assert {"train"} in sides.values()
    assert {"val"} in sides.values()
    assert {"train", "val"} not in sides.values()


def test_no_picture_stands_on_both_sides(emoji: Store) -> None:
    assert {"train", "val"} not in sides_by(emoji, "image").values()


def test_identical_drawings_are_there_to_be_kept_together(emoji: Store) -> None:
    assert len(sides_by(emoji, "image")) < emoji.manifest.num_train + emoji.manifest.num_val


def test_drawings_without_a_name_in_unicode_are_dropped_and_counted(emoji: Store) -> None:
    nameless = [code for code in drawings.codes() if not names(code)]
    assert nameless
    assert emoji.manifest.num_dropped_by_reason == {"no name in Unicode": len(nameless)}
    assert set(emoji.manifest.dropped_examples_by_reason["no name in Unicode"]) <= set(nameless)


def test_every_drawing_is_accounted_for(emoji: Store) -> None:
    manifest = emoji.manifest
    num_dropped = sum(manifest.num_dropped_by_reason.values())
    assert manifest.num_train + manifest.num_val + manifest.num_left_out + num_dropped == len(drawings.codes())


def test_parts_cover_every_drawing_once() -> None:
    covered = [idx for part in OpenMoji(16).parts() for idx in range(part.start, part.stop)]
    assert covered == list(range(len(drawings.codes())))


def test_the_licence_and_who_drew_stand_in_the_store(emoji: Store) -> None:
    notice = (emoji.folder / "LICENCE.txt").read_text()
    assert "CC BY-SA 4.0" in notice
    assert "OpenMoji" in notice
    assert emoji.manifest.licence == "CC BY-SA 4.0"


def test_a_drawing_that_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(SourceError, match="no drawing FFFFF"):
        drawings.render("FFFFF", 16)


def test_a_drawing_laid_over_an_edge_is_cut_off_there() -> None:
    canvas = np.zeros((4, 4, 3), np.uint8)
    drawings.paste(canvas, np.full((2, 2, 4), 255, np.uint8), top_px=-1, left_px=3)
    drawings.paste(canvas, np.full((2, 2, 4), 255, np.uint8), top_px=9, left_px=0)
    assert np.argwhere(canvas[..., 0]).tolist() == [[0, 3]]


def test_half_transparent_white_over_black_is_grey() -> None:
    canvas = np.zeros((1, 1, 3), np.uint8)
    drawings.paste(canvas, np.array([[[255, 255, 255, 128]]], np.uint8), 0, 0)
    assert canvas.tolist() == [[[128, 128, 128]]]
