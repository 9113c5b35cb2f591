"""Preparing from bad input: what is dropped is counted and listed, and too much of it is a stop."""

import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipexp.data.prepare import partial_folder, prepare, room
from clipexp.data.prepare.drops import LEFT_OUT, require_few_faults
from clipexp.data.prepare.filters import wanted
from clipexp.data.sources import Drop, Pair
from clipexp.data.store import Store
from clipexp.errors import SourceError, StoreError
from clipexp.spec.data import FilterSpec
from tests.data.made import CONTEXT_LENGTH, Members, data_spec, encoded, picture, sample, samples, tars_spec, write_tar

Usage = namedtuple("Usage", "total used free")


def pair(width_px: int = 40, height_px: int = 30, captions: tuple[str, ...] = ("a red cat",)) -> Pair:
    return Pair("k", encoded(Image.new("RGB", (width_px, height_px))), captions, (), "0.tar")


def dropped(store: Store) -> list[dict[str, object]]:
    return [json.loads(line) for line in (store.folder / "dropped.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("filters", "width_px", "reason"),
    [
        ({"min_side_px": 31}, 40, "filters.min_side_px: a side below 31 px"),
        ({"max_aspect": 1.3}, 40, "filters.max_aspect: longer than 1.3 times its width"),
        ({"max_aspect": 2}, 14, "filters.max_aspect: longer than 2 times its width"),
        ({"min_caption_chars": 10}, 40, "filters.min_caption_chars: fewer than 10 characters"),
        ({"max_caption_chars": 8}, 40, "filters.max_caption_chars: more than 8 characters"),
    ],
)
def test_a_filter_leaves_out_under_its_own_name(filters: dict[str, float], width_px: int, reason: str) -> None:
    found, drops = wanted(pair(width_px), FilterSpec.model_validate(filters))
    assert found is None
    assert drops == [Drop("k", reason, "0.tar", is_fault=False)]


def test_what_just_meets_the_filters_passes() -> None:
    filters = FilterSpec(min_side_px=30, max_aspect=40 / 30, min_caption_chars=9, max_caption_chars=9)
    assert wanted(pair(), filters) == (pair(), [])


def test_of_several_captions_only_the_unwanted_go() -> None:
    found, drops = wanted(pair(captions=("a cat", "a red cat on a mat")), FilterSpec(min_caption_chars=6))
    assert found is not None
    assert found.captions == ("a red cat on a mat",)
    assert [drop.reason for drop in drops] == [
        "one of its captions: filters.min_caption_chars: fewer than 6 characters"
    ]


def test_filters_count_in_the_manifest_and_are_no_faults(tmp_path: Path) -> None:
    small = [("small.jpg", encoded(Image.new("RGB", (8, 8)))), ("small.json", b'{"prompt": "small"}')]
    write_tar(tmp_path / "tars" / "0.tar", [*samples(0, 10), *small])
    spec = tars_spec(tmp_path / "store", tmp_path / "tars", filters={"min_side_px": 16}, max_drop_frac=0)
    manifest = prepare(spec, CONTEXT_LENGTH).manifest
    assert manifest.num_dropped_by_reason == {"filters.min_side_px: a side below 16 px": 1}
    assert manifest.num_train + manifest.num_val == 10


@pytest.mark.parametrize("duplicates", ["keep", "drop"])
def test_the_same_picture_trains_once_where_the_filter_asks_so(tmp_path: Path, duplicates: str) -> None:
    twins = [member for i in range(3) for member in sample(f"twin{i}", 5, f"twin {i}")]  # sample 5 is in the first tar
    write_tar(tmp_path / "tars" / "0.tar", samples(0, 30))
    write_tar(tmp_path / "tars" / "1.tar", twins)
    spec = tars_spec(tmp_path / "store", tmp_path / "tars", filters={"duplicates": duplicates})
    store = prepare(spec, CONTEXT_LENGTH)
    manifest = store.manifest
    assert manifest.num_train + manifest.num_val + manifest.num_left_out == {"keep": 33, "drop": 30}[duplicates]
    if duplicates == "drop":
        assert manifest.num_dropped_by_reason == {"filters.duplicates: the same picture as an earlier one": 3}
        assert [line["key"] for line in dropped(store)] == ["1/twin0", "1/twin1", "1/twin2"]


def test_everything_dropped_is_listed_with_its_reason_and_origin(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "tars" / "0.tar", [*samples(0, 60), *sample("again", 1000, "caption 3"), ("x.jpg", picture(1))]
    )
    spec = tars_spec(tmp_path / "store", tmp_path / "tars", split={"num_val": 12})
    store = prepare(spec, CONTEXT_LENGTH)
    lines = dropped(store)
    assert lines[0] == {"key": "0/x", "reason": "no JSON", "origin": "0.tar", "is_fault": True}
    assert len(lines) == sum(store.manifest.num_dropped_by_reason.values()) + store.manifest.num_left_out
    assert {line["reason"] for line in lines[1:]} <= {LEFT_OUT}
    assert set(store.manifest.files) == {"dropped.jsonl"}


def test_a_list_of_the_dropped_that_was_changed_is_told(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars" / "0.tar", [*samples(0, 30), ("x.jpg", picture(1))])
    store = prepare(tars_spec(tmp_path / "store", tmp_path / "tars"), CONTEXT_LENGTH)
    path = store.folder / "dropped.jsonl"
    path.write_bytes(path.read_bytes().replace(b"0/x", b"0/y"))
    with pytest.raises(StoreError, match=r"dropped\.jsonl was changed"):
        Store(store.folder).verify()


def broken(num: int) -> Members:
    """Pairs whose pictures are cut short."""
    return [
        member
        for i in range(num)
        for member in [(f"bad{i:04d}.jpg", picture(i)[:200]), (f"bad{i:04d}.json", b'{"prompt": "x"}')]
    ]


def test_too_much_that_is_unusable_is_a_stop_that_says_what_was_found(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars" / "0.tar", [*samples(0, 36), *broken(4)])
    with pytest.raises(SourceError) as caught:
        prepare(tars_spec(tmp_path / "store", tmp_path / "tars"), CONTEXT_LENGTH)
    assert str(caught.value) == (
        "4 of 40 items read are unusable, above data.max_drop_frac 0.05: 4 x unreadable picture (such as 0/bad0000 in"
        " 0.tar). Mend the source, or raise data.max_drop_frac"
    )
    assert not (tmp_path / "store").exists()


def test_a_stop_for_too_much_can_be_overruled_without_reading_again(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars" / "0.tar", [*samples(0, 36), *broken(4)])
    spec = tars_spec(tmp_path / "store", tmp_path / "tars")
    with pytest.raises(SourceError):
        prepare(spec, CONTEXT_LENGTH)
    first: list[int] = []
    willing = spec.model_copy(update={"max_drop_frac": 0.1})
    manifest = prepare(willing, CONTEXT_LENGTH, lambda what, done, _: first.append(done) if what == "reading" else None)
    assert manifest.manifest.num_dropped_by_reason == {"unreadable picture": 4}
    assert first[0] == 40


def test_a_source_that_is_all_wrong_stops_early(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars" / "0.tar", broken(2000))
    with pytest.raises(SourceError, match="items read are unusable") as caught:
        prepare(tars_spec(tmp_path / "store", tmp_path / "tars"), CONTEXT_LENGTH)
    num_read = int(str(caught.value).split(" of ")[1].split(" ")[0].replace(",", ""))
    assert 200 <= num_read < 300
    assert list(tmp_path.iterdir()) == [tmp_path / "tars"]


def test_a_share_counts_only_from_200_items_on_while_there_are_more_to_come() -> None:
    drops = [Drop(f"{i}", "cut") for i in range(20)]
    require_few_faults(199, 20, 0.05, drops, is_all=False)
    with pytest.raises(SourceError):
        require_few_faults(200, 20, 0.05, drops, is_all=False)
    with pytest.raises(SourceError):
        require_few_faults(199, 20, 0.05, drops, is_all=True)


def test_a_share_just_at_the_limit_passes() -> None:
    require_few_faults(200, 10, 0.05, [Drop("", "cut")] * 10, is_all=True)


def test_a_disk_without_room_is_told_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 10_000))
    with pytest.raises(
        StoreError, match=r"will take about .* MB more, and .* has 0\.0 MB free: make room, set data\.s"
    ):
        prepare(data_spec(tmp_path / "store"), CONTEXT_LENGTH)
    assert list(tmp_path.iterdir()) == []


def test_what_a_store_will_take_is_close_to_what_it_takes(tmp_path: Path) -> None:
    spec = data_spec(tmp_path / "store", {"kind": "scenes-v1", "num_pairs": 300}, image_size_px=64)
    store = prepare(spec, CONTEXT_LENGTH)
    taken = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
    assert 0.95 < room.estimated_bytes(spec, 300, CONTEXT_LENGTH) / taken < 1.3


def test_a_disk_that_fills_is_a_clear_error_and_what_was_read_stays(tmp_path: Path) -> None:
    for number in range(3):
        write_tar(tmp_path / "tars" / f"{number}.tar", samples(20 * number, 20))
    spec = tars_spec(tmp_path / "store", tmp_path / "tars")
    partial = partial_folder(spec)
    partial.mkdir()
    full = partial / "part-00002.pictures"
    full.symlink_to("/dev/full")  # whoever writes there is told that the disk is full
    with pytest.raises(StoreError, match=r"the disk of .* is full \(.* free\): make room, or set data\.store"):
        prepare(spec, CONTEXT_LENGTH)
    assert {path.name for path in partial.glob("part-*.json")} & {"part-00000.json", "part-00001.json"}
    full.unlink()
    assert prepare(spec, CONTEXT_LENGTH).manifest.num_train == 52


def test_an_animated_picture_gives_its_first_frame_and_a_bomb_is_dropped(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    odd = [
        ("moving.png", moving),
        ("moving.json", b'{"prompt": "moving"}'),
        ("bomb.png", bomb),
        ("bomb.json", b'{"prompt": "b"}'),
    ]
    write_tar(tmp_path / "tars" / "0.tar", [*odd, *samples(0, 40)])
    spec = tars_spec(tmp_path / "store", tmp_path / "tars")
    store = prepare(spec, CONTEXT_LENGTH)
    assert store.manifest.num_dropped_by_reason == {"picture above 100 megapixels": 1}
    found = {}
    for side in ("train", "val"):
        for row, captions in enumerate(store.all_captions(side)):
            found[captions[0]] = store.table(side, spec.tokenizer, CONTEXT_LENGTH).pixels(np.array([row]))[0]
    assert found["moving"][8, 8].tolist() == [250, 0, 0]


def test_work_that_found_too_few_pairs_leaves_no_folder(tmp_path: Path) -> None:
    spec = data_spec(tmp_path / "store", {"kind": "scenes-v1", "num_pairs": 4})
    with pytest.raises(SourceError):
        prepare(spec, CONTEXT_LENGTH)
    assert not partial_folder(spec).exists()
