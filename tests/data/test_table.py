"""A table of pairs: the same pictures however many shards hold them, and a clear word where files change under it."""

import os
import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipexp.data.loader import Loader
from clipexp.data.prepare import prepare
from clipexp.data.store import Store
from clipexp.data.table import PairTable
from clipexp.errors import StoreError
from clipexp.spec.data import DataSpec
from tests.data.made import CONTEXT_LENGTH, data_spec


def table_of(spec: DataSpec) -> PairTable:
    return Store(Path(spec.store)).table("train", spec.tokenizer, CONTEXT_LENGTH)


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DataSpec:
    """A store of several shards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clipexp.data.prepare.packing.SHARD_BYTES", 15 * 16 * 16 * 3)
        made = data_spec(tmp_path_factory.mktemp("table") / request.param, encoding=request.param)
        prepare(made, CONTEXT_LENGTH)
    assert len(Store(Path(made.store)).manifest.shards) > 3
    return made


@pytest.fixture
def own(spec: DataSpec, tmp_path: Path) -> DataSpec:
    """The same store, to be spoilt."""
    shutil.copytree(spec.store, tmp_path / "store")
    return spec.model_copy(update={"store": str(tmp_path / "store")})


def test_rows_come_in_the_order_asked_for_from_whichever_shard(spec: DataSpec) -> None:
    table = table_of(spec)
    rows = np.random.default_rng(0).permutation(table.num_pairs)
    one_by_one = np.concatenate([table.pixels(np.array([row])) for row in rows])
    assert table.pixels(rows).tobytes() == one_by_one.tobytes()
    assert len(np.unique(one_by_one.reshape(len(rows), -1), axis=0)) > 40


def test_a_row_may_be_asked_for_twice(spec: DataSpec) -> None:
    first, second, third = table_of(spec).pixels(np.array([7, 3, 7]))
    assert (first == third).all()
    assert (first != second).any()


@pytest.mark.parametrize("rows", [[-1], [0, 10_000]])
def test_a_row_that_is_not_there_is_refused(spec: DataSpec, rows: list[int]) -> None:
    with pytest.raises(IndexError, match="of 5"):
        table_of(spec).pixels(np.array(rows))


def test_reading_ahead_leaves_the_pictures_as_they_are(spec: DataSpec) -> None:
    table = table_of(spec)
    rows = np.array([40, 3, 4, 5, 20])
    before = table.pixels(rows).tobytes()
    table.read_ahead(rows)
    assert table.pixels(rows).tobytes() == before


def test_opening_a_table_keeps_no_file_open(spec: DataSpec) -> None:
    before = len(os.listdir("/proc/self/fd"))
    tables = [table_of(spec) for _ in range(5)]
    assert len(os.listdir("/proc/self/fd")) == before + 5  # of each its tokens; its shards are mapped and closed
    assert tables[0].pixels(np.array([0])).any()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def rewrite(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(0, 0))


def replace(path: Path) -> None:
    shutil.copy2(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def rewrite_unseen(path: Path) -> None:
    """Other bytes of the same number, in place, and the time of writing set back."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(before.st_size // 2)
        file.write(b"something else")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def files_of(spec: DataSpec) -> list[Path]:
    """A shard, and the tokens."""
    folder = Store(Path(spec.store)).tokens_folder(spec.tokenizer, CONTEXT_LENGTH)
    return [Path(spec.store) / "train-00001.arrow", folder / "train.npy"]


@pytest.mark.parametrize("spoil", [cut, rewrite, rewrite_unseen, replace, Path.unlink])
@pytest.mark.parametrize("number", [0, 1], ids=["shard", "tokens"])
def test_a_file_that_changes_under_a_loader_stops_it(own: DataSpec, number: int, spoil: Callable[[Path], None]) -> None:
    batches = Loader(table_of(own), own, batch_size=40, seed=0).batches(0, 10_000)
    next(batches)
    file = files_of(own)[number]
    spoil(file)
    with pytest.raises(StoreError, match=rf"{file.name} (was changed while it was in use|can't be read any more)"):
        deque(batches, maxlen=0)


@pytest.mark.parametrize("spoil", [cut, rewrite_unseen])
def test_no_picture_or_token_is_handed_out_that_was_read_amid_the_change(
    own: DataSpec, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading begins on a sound file, which is spoilt before it ends."""
    fill = PairTable._fill

    def spoilt_amid(table: PairTable, *arguments: Any) -> None:
        spoil(files_of(own)[0])
        fill(table, *arguments)

    table = table_of(own)
    rows = np.arange(table.num_pairs)
    monkeypatch.setattr(PairTable, "_fill", spoilt_amid)
    with pytest.raises(StoreError, match=r"train-0000\d\.arrow was changed while it was in use"):
        table.gather(rows, table.empty(len(rows)))


def test_captions_of_a_file_that_was_changed_are_not_told(own: DataSpec) -> None:
    table = table_of(own)
    assert table.captions(0)
    rewrite_unseen(Path(own.store) / "train-00000.arrow")
    with pytest.raises(StoreError, match="was changed while it was in use"):
        table.captions(0)


def test_pages_that_the_disk_does_not_give_are_told_though_the_file_seems_unchanged(own: DataSpec) -> None:
    table = table_of(own)
    for file in table._files:
        file._guard.is_broken = True  # as the handler leaves it
    with pytest.raises(StoreError, match=r"train-00000\.arrow can't be read to its end: its disk fails"):
        table.pixels(np.array([0]))


def test_a_file_that_changes_between_its_verification_and_its_opening_is_not_trained_on(
    own: DataSpec, tmp_path: Path
) -> None:
    store = Store(Path(own.store))
    for _ in range(2):  # verified in full, and by the stamp of that
        store.verify_once(tmp_path / "stamp.json", store.tokens_folder(own.tokenizer, CONTEXT_LENGTH))
    rewrite_unseen(Path(own.store) / "train-00000.arrow")
    table = store.table("train", own.tokenizer, CONTEXT_LENGTH)
    with pytest.raises(StoreError, match=r"train-00000\.arrow was changed while it was in use"):
        table.pixels(np.array([0]))
