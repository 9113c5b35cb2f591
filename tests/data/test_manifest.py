"""The manifest: read back as written, and refused where it or its shards are not whole."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from clipexp.data.manifest import (
    MANIFEST_FILE,
    Shard,
    manifest_for,
    read_manifest,
    read_sealed,
    sealed_json,
    shards_checksum,
    store_settings,
)
from clipexp.data.store import Store
from clipexp.errors import StoreError
from tests.data.made import data_spec, tars_spec


def change(store: Store, **changes: Any) -> None:
    path = store.folder / MANIFEST_FILE
    path.write_text(sealed_json({**read_sealed(path), **changes}))


def test_a_manifest_is_read_as_it_was_written(few_scenes: Store) -> None:
    path = few_scenes.folder / MANIFEST_FILE
    assert read_manifest(few_scenes.folder).to_json() == path.read_text()


def test_a_missing_store_is_an_error_that_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no prepared set at .*nowhere; prepare it with: clipexp data prepare"):
        read_manifest(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"version": 2}', sealed_json({"version": 2}), '{"version": 2, "shards": [{}]}'],
)
def test_a_damaged_manifest_is_an_error_that_says_so(own_store: Store, content: str) -> None:
    (own_store.folder / MANIFEST_FILE).write_text(content)
    with pytest.raises(StoreError, match=r"manifest\.json is damaged .* clipexp data prepare"):
        read_manifest(own_store.folder)


def test_bytes_that_are_no_text_are_a_damaged_manifest(own_store: Store) -> None:
    (own_store.folder / MANIFEST_FILE).write_bytes(b"\xff\x00\xfe")
    with pytest.raises(StoreError, match="is damaged"):
        read_manifest(own_store.folder)


@pytest.mark.parametrize("num_kept", [0, 1, 100, 500])
def test_a_manifest_cut_short_is_a_damaged_one(own_store: Store, num_kept: int) -> None:
    path = own_store.folder / MANIFEST_FILE
    path.write_text(path.read_text()[:num_kept])
    with pytest.raises(StoreError, match="is damaged"):
        read_manifest(own_store.folder)


def test_another_version_is_refused_with_both_numbers(own_store: Store) -> None:
    change(own_store, version=99)
    with pytest.raises(StoreError, match=r"is of version 99, this clipexp reads 2; remove .* and prepare it with"):
        read_manifest(own_store.folder)


def test_the_first_version_which_had_no_checksum_of_its_own_is_refused_with_both_numbers(own_store: Store) -> None:
    path = own_store.folder / MANIFEST_FILE
    path.write_text(json.dumps({**read_sealed(path), "version": 1}))
    with pytest.raises(StoreError, match=r"is of version 1, this clipexp reads 2; remove .* and prepare it with"):
        read_manifest(own_store.folder)


def test_a_shard_cut_short_is_refused_with_both_lengths(own_store: Store) -> None:
    shard = own_store.folder / "train-00000.arrow"
    num_bytes = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(StoreError, match=rf"train-00000\.arrow has 1,000 bytes, the manifest says {num_bytes:,}"):
        read_manifest(own_store.folder)


def test_a_missing_shard_is_refused(own_store: Store) -> None:
    (own_store.folder / "val-00000.arrow").unlink()
    with pytest.raises(StoreError, match=r"val-00000\.arrow has 0 bytes"):
        read_manifest(own_store.folder)


def test_a_store_of_other_settings_is_refused_with_what_differs(few_scenes: Store) -> None:
    spec = data_spec(few_scenes.folder, image_size_px=24, split={"num_val": 9})
    with pytest.raises(StoreError) as caught:
        manifest_for(spec)
    assert "image_size_px is 16, the spec says 24" in str(caught.value)
    assert "'num_val': 8" in str(caught.value)
    assert "'num_val': 9" in str(caught.value)
    assert "encoding" not in str(caught.value)


def test_how_pairs_are_fed_does_not_decide_a_store(few_scenes: Store) -> None:
    spec = data_spec(few_scenes.folder, shuffle="none", captions="sample", tokenizer={"kind": "clip"})
    assert manifest_for(spec) == few_scenes.manifest


def test_where_files_lie_is_no_setting() -> None:
    here, there = (tars_spec(Path(place), Path(place) / "tars") for place in ("here", "there"))
    assert store_settings(here) == store_settings(there)


def test_the_checksum_follows_every_shard_and_their_order() -> None:
    first, second = (Shard(f"train-{i}.arrow", "train", 1, 1, str(i) * 64) for i in (0, 1))
    changed = dataclasses.replace(second, sha256="2" * 64)
    checksums = {shards_checksum(shards) for shards in ((first, second), (second, first), (first, changed), (first,))}
    assert len(checksums) == 4


def test_the_checksum_of_known_shards_stays_what_it_is() -> None:
    # runs' identities rest on it: sha256sum over the two lines, without a line end behind the last
    shards = tuple(Shard(f"train-{i}.arrow", "train", 1, 1, str(i) * 64) for i in (0, 1))
    assert shards_checksum(shards) == "8d8b17f6634b4ea7"
