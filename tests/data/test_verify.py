"""No byte of a store changes unnoticed, and finding out reads every byte only once."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clipexp.data import store as store_module
from clipexp.data.manifest import MANIFEST_FILE, TOKENS_META, file_sha256, find_tokens, read_manifest, read_sealed
from clipexp.data.prepare import prepare
from clipexp.data.store import Store
from clipexp.errors import StoreError
from tests.data.made import CONTEXT_LENGTH, data_spec

SHARDS = {"train-00000.arrow", "val-00000.arrow"}
TOKENS = {"tokenizer.json", "train.npy", "val.npy"}
STEP_NS = 20_000_000  # above the step of the clock that this machine's file systems count changes by

Hashed = list[str]


def tokens_of(store: Store) -> Path:
    return store.tokens_folder(data_spec(store.folder).tokenizer, CONTEXT_LENGTH)


def find(store: Store, name: str) -> Path:
    return next(store.folder.rglob(name))


def verify_once(store: Store, stamp: Path) -> None:
    Store(store.folder).verify_once(stamp, tokens_of(store))


def flip(path: Path, bit_idx: int) -> None:
    """Turn over one bit in place, the length and the inode stay."""
    with path.open("r+b") as file:
        file.seek(bit_idx // 8)
        (byte,) = file.read(1)
        file.seek(bit_idx // 8)
        file.write(bytes([byte ^ 1 << bit_idx % 8]))


def is_refused(call: Callable[[], object], message: str) -> bool:
    try:
        call()
    except StoreError as error:
        return message in str(error) and "clipexp data prepare" in str(error)
    return False


def unnoticed(path: Path, call: Callable[[], object], message: str, num_flips: int) -> list[int]:
    """Which of some bits, spread over a file at random, may be turned over without `call` refusing the file."""
    num_bits = 8 * path.stat().st_size
    places = np.random.default_rng(0).choice(num_bits, min(num_flips, num_bits), replace=False).tolist()
    missed = []
    for place in places:
        flip(path, place)
        if not is_refused(call, message):
            missed.append(place)
        flip(path, place)
    return missed


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Hashed:
    """The names of the files that are read whole, as it happens."""
    names: Hashed = []

    def watched(path: Path) -> str:
        names.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(store_module, "file_sha256", watched)
    return names


@pytest.fixture
def settled(own_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copy that was last written to long enough ago."""
    monkeypatch.setattr(store_module, "SETTLED_NS", STEP_NS)
    time.sleep(2 * STEP_NS / 1e9)
    return own_store


@pytest.fixture
def stamp(tmp_path: Path) -> Path:
    return tmp_path / "state" / "verified.json"


def test_a_flipped_bit_of_the_manifest_is_refused_wherever_it_is(own_store: Store) -> None:
    path = own_store.folder / MANIFEST_FILE
    message = f"{path} is damaged"
    assert unnoticed(path, lambda: read_manifest(own_store.folder), message, num_flips=3000) == []
    assert unnoticed(path, lambda: Store(own_store.folder).verify(), message, num_flips=20) == []
    read_manifest(own_store.folder)


def test_a_flipped_bit_of_the_notes_on_tokens_is_refused_wherever_it_is(own_store: Store) -> None:
    path, spec = find(own_store, TOKENS_META), data_spec(own_store.folder)

    def found() -> Path | None:
        return find_tokens(own_store.folder, spec.tokenizer, CONTEXT_LENGTH)

    assert unnoticed(path, found, f"{path} is damaged", num_flips=3000) == []
    assert unnoticed(path, lambda: Store(own_store.folder).verify(), f"{path} is damaged", num_flips=20) == []
    assert found() == path.parent


@pytest.mark.parametrize("name", sorted(SHARDS | TOKENS))
def test_a_flipped_bit_does_not_verify_wherever_it_is(own_store: Store, name: str) -> None:
    path = find(own_store, name)
    message = f"{path} was changed since it was prepared; remove {path.parent} and run: clipexp data prepare"
    assert unnoticed(path, lambda: Store(own_store.folder).verify(), message, num_flips=60) == []
    Store(own_store.folder).verify()


@pytest.mark.parametrize("name", sorted(SHARDS | TOKENS))
def test_a_bit_flipped_between_two_starts_is_noticed_wherever_it_is(settled: Store, stamp: Path, name: str) -> None:
    verify_once(settled, stamp)
    path = find(settled, name)
    assert unnoticed(path, lambda: verify_once(settled, stamp), f"{path} was changed", num_flips=60) == []
    verify_once(settled, stamp)


def test_a_line_end_of_another_system_is_a_changed_byte(own_store: Store) -> None:
    path = own_store.folder / MANIFEST_FILE
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(StoreError, match="its content does not fit its checksum"):
        read_manifest(own_store.folder)


def test_tokens_that_no_run_uses_are_verified_with_the_store_and_not_with_the_run(
    settled: Store, stamp: Path, hashed: Hashed
) -> None:
    prepare(data_spec(settled.folder), 9)
    (other,) = {path.parent for path in settled.folder.glob("tokens-*/val.npy")} - {tokens_of(settled)}
    flip(other / "val.npy", 1000)
    hashed.clear()
    verify_once(settled, stamp)
    assert sorted(hashed) == sorted(SHARDS | TOKENS)
    with pytest.raises(StoreError, match=f"{other}/val.npy was changed since it was prepared; remove {other} and run"):
        Store(settled.folder).verify()


def test_a_removed_file_is_refused_with_the_remedy(own_store: Store) -> None:
    find(own_store, "tokenizer.json").unlink()
    with pytest.raises(StoreError, match=r"tokenizer\.json can't be read \(No such file.*\); make it readable, or rem"):
        own_store.verify()


def test_a_second_start_reads_no_shard(settled: Store, stamp: Path, hashed: Hashed) -> None:
    verify_once(settled, stamp)
    assert sorted(hashed) == sorted(SHARDS | TOKENS)
    verify_once(settled, stamp)
    assert len(hashed) == len(SHARDS | TOKENS)


@pytest.mark.parametrize("name", sorted(SHARDS | TOKENS))
def test_a_write_is_noticed_though_length_and_mtime_are_as_before(
    settled: Store, stamp: Path, hashed: Hashed, name: str
) -> None:
    verify_once(settled, stamp)
    path = find(settled, name)
    before = path.stat()
    flip(path, 8 * 100)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    hashed.clear()
    with pytest.raises(StoreError, match="was changed since it was prepared"):
        verify_once(settled, stamp)
    assert hashed == [name]


def test_only_what_was_written_to_is_read_again(settled: Store, stamp: Path, hashed: Hashed) -> None:
    verify_once(settled, stamp)
    path = settled.folder / "val-00000.arrow"
    path.write_bytes(path.read_bytes())
    hashed.clear()
    reported: list[tuple[int, int]] = []
    settled.verify_once(stamp, tokens_of(settled), lambda *progress: reported.append(progress))
    num_bytes = path.stat().st_size
    assert hashed == ["val-00000.arrow"]
    assert reported == [(0, num_bytes), (num_bytes, num_bytes)]


def test_a_file_in_anothers_place_is_read_again(settled: Store, stamp: Path, hashed: Hashed) -> None:
    verify_once(settled, stamp)
    path = settled.folder / "val-00000.arrow"
    shutil.copy2(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)
    hashed.clear()
    verify_once(settled, stamp)
    assert hashed == ["val-00000.arrow"]


def test_a_copied_store_is_verified_anew(settled: Store, stamp: Path, tmp_path: Path, hashed: Hashed) -> None:
    verify_once(settled, stamp)
    copied = Store(Path(shutil.copytree(settled.folder, tmp_path / "copy")))
    hashed.clear()
    verify_once(copied, stamp)
    assert sorted(hashed) == sorted(SHARDS | TOKENS)


def test_a_moved_store_is_verified_anew(settled: Store, stamp: Path, tmp_path: Path, hashed: Hashed) -> None:
    verify_once(settled, stamp)
    moved = Store(settled.folder.rename(tmp_path / "moved"))
    hashed.clear()
    verify_once(moved, stamp)
    assert sorted(hashed) == sorted(SHARDS | TOKENS)


def test_a_store_by_another_way_to_it_is_the_same(settled: Store, stamp: Path, tmp_path: Path, hashed: Hashed) -> None:
    verify_once(settled, stamp)
    (tmp_path / "link").symlink_to(settled.folder)
    hashed.clear()
    verify_once(Store(tmp_path / "link"), stamp)
    assert hashed == []


def test_a_store_written_just_now_is_read_once_more(own_store: Store, stamp: Path, hashed: Hashed) -> None:
    # a second write within one step of the file system's clock would leave the ctime as it is
    verify_once(own_store, stamp)
    hashed.clear()
    verify_once(own_store, stamp)
    assert sorted(hashed) == sorted(SHARDS | TOKENS)


def test_a_file_written_while_it_is_verified_is_read_again(
    settled: Store, stamp: Path, hashed: Hashed, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = store_module.file_sha256

    def write_behind(path: Path) -> str:
        digest = watched(path)
        if path.name == "val-00000.arrow":
            flip(path, 0)
        return digest

    monkeypatch.setattr(store_module, "file_sha256", write_behind)
    verify_once(settled, stamp)
    hashed.clear()
    with pytest.raises(StoreError, match=r"val-00000\.arrow was changed"):
        verify_once(settled, stamp)
    assert hashed == ["val-00000.arrow"]


def test_a_stamp_with_a_flipped_bit_counts_as_none(settled: Store, stamp: Path, hashed: Hashed) -> None:
    verify_once(settled, stamp)
    whole = stamp.read_bytes()
    for place in np.random.default_rng(0).choice(8 * len(whole), 30, replace=False).tolist():
        flip(stamp, place)
        hashed.clear()
        verify_once(settled, stamp)
        assert sorted(hashed) == sorted(SHARDS | TOKENS)
        assert stamp.read_bytes() == whole


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"store": 1, "facts_by_name": {"a": 1}}']
)
def test_a_stamp_of_anything_else_counts_as_none(settled: Store, stamp: Path, content: bytes) -> None:
    stamp.parent.mkdir()
    stamp.write_bytes(content)
    verify_once(settled, stamp)
    assert read_sealed(stamp)["store"] == settled.folder.resolve().as_uri()


def test_a_damaged_store_gets_no_stamp(settled: Store, stamp: Path) -> None:
    flip(settled.folder / "train-00000.arrow", 0)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"train-00000\.arrow was changed"):
            verify_once(settled, stamp)
    assert not stamp.exists()


def test_a_stamp_that_cannot_be_written_costs_only_the_next_start(
    settled: Store, tmp_path: Path, hashed: Hashed
) -> None:
    (tmp_path / "file").write_text("mine")
    for stamp in (tmp_path / "file" / "stamp", Path("/proc/locked/stamp"), tmp_path):  # below a file; read-only; taken
        for _ in range(2):
            hashed.clear()
            verify_once(settled, stamp)
            assert sorted(hashed) == sorted(SHARDS | TOKENS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "store"]
    assert list(tmp_path.parent.glob("*.tmp")) == []


def test_processes_that_verify_at_once_all_pass_and_leave_one_good_stamp(
    settled: Store, stamp: Path, hashed: Hashed
) -> None:
    script = (
        "import sys; from pathlib import Path; from clipexp.data import store as m; m.SETTLED_NS = 20_000_000;"
        " folder, stamp, tokens = map(Path, sys.argv[1:]); m.Store(folder).verify_once(stamp, tokens)"
    )
    command = [sys.executable, "-c", script, str(settled.folder), str(stamp), str(tokens_of(settled))]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert list(stamp.parent.iterdir()) == [stamp]
    verify_once(settled, stamp)
    assert hashed == []


def test_runs_with_other_tokens_share_what_was_read_of_the_shards(settled: Store, stamp: Path, hashed: Hashed) -> None:
    store = prepare(data_spec(settled.folder), 9)
    time.sleep(2 * STEP_NS / 1e9)
    folders = [tokens_of(settled), store.tokens_folder(data_spec(settled.folder).tokenizer, 9)]
    store.verify_once(stamp, folders[0])
    hashed.clear()
    store.verify_once(stamp, folders[1])
    assert sorted(hashed) == sorted(TOKENS)
    hashed.clear()
    for folder in folders:
        store.verify_once(stamp, folder)
    assert hashed == []


def test_progress_is_reported_in_bytes(few_scenes: Store) -> None:
    reported: list[tuple[int, int]] = []
    few_scenes.verify(lambda *progress: reported.append(progress))
    files = [path for name in SHARDS | TOKENS for path in few_scenes.folder.rglob(name)]
    total = sum(path.stat().st_size for path in files)
    assert [done for done, _ in reported] == sorted({done for done, _ in reported})
    assert (reported[0], reported[-1], len(reported)) == ((0, total), (total, total), 1 + len(files))


def test_a_store_prepared_anew_under_a_reader_is_refused(own_store: Store) -> None:
    assert own_store.manifest.num_val == 8
    shutil.rmtree(own_store.folder)
    prepare(data_spec(own_store.folder, split={"num_val": 9}), CONTEXT_LENGTH)
    with pytest.raises(StoreError, match="was prepared anew while it was in use; start again"):
        own_store.verify()
