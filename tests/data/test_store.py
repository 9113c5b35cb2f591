"""A store, read: by us, and by whoever has an Arrow reader."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from clipexp.data.prepare import prepare
from clipexp.data.store import Store
from clipexp.data.table import PairTable
from clipexp.errors import StoreError
from clipexp.spec.data import TrainedTokenizerSpec
from tests.data.made import CONTEXT_LENGTH, data_spec, pair_table

TOKENIZER = TrainedTokenizerSpec(kind="trained", vocab_size=300)


def train_table(store: Store) -> PairTable:
    return store.table("train", TOKENIZER, CONTEXT_LENGTH)


def psnr_db(mean_squared_error: float) -> float:
    return float(10 * np.log10(255**2 / mean_squared_error))


def test_shards_open_with_plain_pyarrow(few_scenes: Store) -> None:
    columns = pa.ipc.open_file(few_scenes.folder / "train-00000.arrow").read_all()
    assert columns.column_names == ["key", "image", "captions"]
    assert len(columns) == few_scenes.manifest.num_train
    pixels = np.frombuffer(columns["image"][3].as_py(), np.uint8).reshape(1, 16, 16, 3)
    assert np.array_equal(pixels, train_table(few_scenes).pixels(np.array([3])))
    assert tuple(columns["captions"][3].as_py()) == train_table(few_scenes).captions(3)


def test_pixels_come_in_the_order_asked_for_and_as_often() -> None:
    pixels = pair_table(10).pixels(np.array([7, 0, 7, 3]))
    assert pixels.shape == (4, 4, 4, 3)
    assert pixels[:, 0, 0, 0].tolist() == [7, 0, 7, 3]


def test_pixels_are_a_copy_to_do_with_as_one_likes(few_scenes: Store) -> None:
    table = train_table(few_scenes)
    before = table.pixels(np.array([0]))
    table.pixels(np.array([0]))[:] = 0
    assert before.any()
    assert np.array_equal(table.pixels(np.array([0])), before)


def test_each_caption_has_tokens_of_its_own(few_scenes: Store) -> None:
    table, rows = train_table(few_scenes), np.array([4, 1])
    tokenizer = few_scenes.tokenizer(TOKENIZER, CONTEXT_LENGTH)
    assert table.num_captions(rows).tolist() == [2, 2]
    for caption_idx in (0, 1):
        expected = tokenizer.encode([table.captions(row)[caption_idx] for row in rows])
        assert np.array_equal(table.tokens(rows, caption_idx), expected)


def test_one_caption_can_be_picked_for_each_row() -> None:
    tokens = pair_table(10, captions_each=3).tokens(np.array([5, 9]), np.array([2, 0]))
    assert tokens[:, 1].tolist() == [10 * 5 + 2 + 1, 10 * 9 + 0 + 1]


def test_all_captions_stand_in_the_order_of_the_rows(few_scenes: Store) -> None:
    table = train_table(few_scenes)
    assert [tuple(row) for row in few_scenes.all_captions("train")] == [
        table.captions(i) for i in range(table.num_pairs)
    ]


def test_pictures_kept_as_jpeg_have_a_psnr_above_40_db(tmp_path: Path) -> None:
    jpeg, raw = (
        train_table(prepare(data_spec(tmp_path / kind, encoding=kind, image_size_px=48), CONTEXT_LENGTH)).pixels(
            np.arange(52)
        )
        for kind in ("jpeg", "raw")
    )
    squared_error = np.square(jpeg.astype(float) - raw)
    assert 40 < psnr_db(squared_error.mean()) < 60
    assert psnr_db(squared_error.mean(axis=(1, 2, 3)).max()) > 38  # the worst picture: fine lines all over


def test_a_shard_of_the_right_length_that_is_no_arrow_file_is_refused(own_store: Store) -> None:
    shard = own_store.folder / "train-00000.arrow"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(StoreError, match=r"train-00000\.arrow is damaged"):
        train_table(own_store)


def test_a_tokenizer_that_was_not_prepared_is_refused_with_the_remedy(few_scenes: Store) -> None:
    with pytest.raises(StoreError, match=r"not tokenized with data\.tokenizer trained at context_length 9; add that"):
        few_scenes.table("train", TOKENIZER, context_length=9)
    with pytest.raises(StoreError, match="holds no tokenizer trained; add it"):
        few_scenes.tokenizer(TOKENIZER, context_length=9)


def test_tokens_cut_short_are_refused(own_store: Store) -> None:
    (path,) = own_store.folder.glob("tokens-*/train.npy")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match="is not tokenized"):
        train_table(own_store)


def test_tokens_cut_short_are_made_anew_by_preparing_again(own_store: Store) -> None:
    (path,) = own_store.folder.glob("tokens-*/train.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    prepare(data_spec(own_store.folder), CONTEXT_LENGTH)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_damaged_notes_on_tokens_are_refused_with_the_remedy(own_store: Store, content: str) -> None:
    (path,) = own_store.folder.glob("tokens-*/meta.json")
    path.write_text(content)
    with pytest.raises(StoreError, match=r"meta\.json is damaged .*; remove .*tokens-"):
        train_table(own_store)


def test_rows_are_numbered_through_all_shards(
    few_scenes: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipexp.data.prepare.packing.SHARD_BYTES", 10 * 16 * 16 * 3)  # ten pictures
    store = prepare(data_spec(tmp_path / "store"), CONTEXT_LENGTH)
    num_rows = [shard.num_rows for shard in store.manifest.shards]
    assert num_rows == [10, 10, 10, 10, 10, 2, 8]  # 52 train, 8 validate
    rows = np.array([51, 0, 9, 10, 49, 50])
    table, whole = train_table(store), train_table(few_scenes)
    assert table.num_pairs == 52
    assert np.array_equal(table.pixels(rows), whole.pixels(rows))
    assert [table.captions(row) for row in rows] == [whole.captions(row) for row in rows]


def test_notes_on_tokens_say_what_made_them(few_scenes: Store) -> None:
    (path,) = few_scenes.folder.glob("tokens-*/meta.json")
    assert json.loads(path.read_text())["spec"] == {"kind": "trained", "vocab_size": 300, "context_length": 32}


def test_tokens_lie_where_earlier_versions_put_them(few_scenes: Store) -> None:
    # runs' identities rest on the name: a hash of the tokenizer's and of the spec
    tokenizer = few_scenes.tokenizer(TOKENIZER, CONTEXT_LENGTH)
    named_by = f'{tokenizer.hash} {{"kind": "trained", "vocab_size": 300}}'
    name = f"tokens-{hashlib.sha256(named_by.encode()).hexdigest()[:12]}"
    assert few_scenes.tokens_folder(TOKENIZER, CONTEXT_LENGTH).name == name
