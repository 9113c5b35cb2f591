"""Preparing that was cut off goes on: nothing is done twice, nothing is lost, and the bytes are the same."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from clipexp.data.prepare import packing, partial_folder, prepare
from clipexp.data.prepare.workers import Tally, Workers
from clipexp.data.store import Store
from clipexp.errors import StoreError
from clipexp.spec.data import DataSpec
from tests.data.made import CONTEXT_LENGTH, all_bytes, data_spec, samples, tars_spec, write_tar

MANY = {"kind": "scenes-v1", "num_pairs": 8 * 2048}  # eight parts
CHILD = """
import sys
from clipexp.data.prepare import prepare
from clipexp.spec.data import DataSpec
if __name__ == "__main__":
    prepare(DataSpec.model_validate_json(sys.argv[1]), 32)
"""


def until(is_so: Callable[[], bool], limit_s: float = 60) -> None:
    end_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end_s, "it never came to that"
        time.sleep(0.01)


def part_notes(spec: DataSpec) -> dict[str, tuple[int, int]]:
    """Of each finished part, what changes when it is read again."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in partial_folder(spec).glob("part-*.json")
    }


def break_off(stage: str, after: int) -> Callable[[str, int, int | None], None]:
    """A report of progress that breaks off when so much of a stage is done."""

    def report(what: str, done: int, _total: int | None) -> None:
        if what == stage and done >= after:
            raise RuntimeError(f"broken off while {what}")

    return report


def few_tars(tmp_path: Path, name: str = "store") -> DataSpec:
    for number in range(3):
        if not (tar := tmp_path / "tars" / f"{number}.tar").exists():
            write_tar(tar, samples(20 * number, 20))
    return tars_spec(tmp_path / name, tmp_path / "tars")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD_BYTES", 10 * 16 * 16 * 3)  # ten pictures


def test_a_killed_preparing_goes_on_with_the_parts_that_are_left(tmp_path: Path) -> None:
    spec = data_spec(tmp_path / "store", MANY)
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    child = subprocess.Popen(
        [sys.executable, str(script), spec.model_dump_json()], env={**os.environ, "PYTHONPATH": "."}
    )
    until(lambda: len(part_notes(spec)) >= 2)
    workers = psutil.Process(child.pid).children(recursive=True)
    child.send_signal(signal.SIGKILL)
    child.wait()
    until(lambda: not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers))
    before = part_notes(spec)
    assert 2 <= len(before) < 8
    assert not (tmp_path / "store").exists()

    found: dict[str, tuple[int, int]] = {}
    first_read: list[int] = []

    def report(what: str, done: int, _total: int | None) -> None:
        if what == "reading":
            first_read.append(done)
            found.update(part_notes(spec))

    store = prepare(spec, CONTEXT_LENGTH, report)
    assert {name: found[name] for name in before} == before
    assert first_read[0] >= 2048 * len(before)
    whole = prepare(data_spec(tmp_path / "whole", MANY), CONTEXT_LENGTH)
    assert all_bytes(store.folder) == all_bytes(whole.folder)
    assert not partial_folder(spec).exists()


@pytest.mark.usefixtures("small_shards")
def test_packing_that_was_cut_off_goes_on_with_the_shards_that_are_left(tmp_path: Path) -> None:
    spec = few_tars(tmp_path)
    with pytest.raises(RuntimeError):
        prepare(spec, CONTEXT_LENGTH, break_off("packing", after=30))
    partial = partial_folder(spec)
    before = {path.name: path.stat().st_mtime_ns for path in partial.glob("*.arrow")}
    assert before
    store = prepare(spec, CONTEXT_LENGTH, break_off("reading", after=61))
    assert {name: (store.folder / name).stat().st_mtime_ns for name in before} == before
    assert all_bytes(store.folder) == all_bytes(prepare(few_tars(tmp_path, "whole"), CONTEXT_LENGTH).folder)


@pytest.mark.usefixtures("small_shards")
def test_pictures_of_parts_go_as_soon_as_they_are_packed(tmp_path: Path) -> None:
    spec = few_tars(tmp_path)
    left = []

    def report(what: str, _done: int, _total: int | None) -> None:
        if what == "packing":
            left.append(len(list(partial_folder(spec).glob("*.pictures"))))

    prepare(spec, CONTEXT_LENGTH, report)
    assert left[0] == 3
    assert left[-1] <= 1


def test_a_part_whose_tar_changed_meanwhile_is_read_again(tmp_path: Path) -> None:
    spec = few_tars(tmp_path)
    with pytest.raises(RuntimeError):
        prepare(spec, CONTEXT_LENGTH, break_off("packing", after=0))
    before = part_notes(spec)
    write_tar(tmp_path / "tars" / "1.tar", samples(100, 21))
    store = prepare(spec, CONTEXT_LENGTH)
    assert len(before) == 3
    keys = {key for side in ("train", "val") for batch in store.batches(side) for key in batch["key"].to_pylist()}
    assert "1/0120" in keys
    assert "1/0020" not in keys


@pytest.mark.usefixtures("small_shards")
def test_shards_of_a_part_that_changed_meanwhile_are_packed_again(tmp_path: Path) -> None:
    spec = few_tars(tmp_path)
    with pytest.raises(RuntimeError):
        prepare(spec, CONTEXT_LENGTH, break_off("packing", after=60))
    write_tar(tmp_path / "tars" / "2.tar", [*samples(40, 19), *samples(200, 1)])
    with pytest.raises(StoreError, match="run it again"):  # the pictures that other shards need have gone by now
        prepare(spec, CONTEXT_LENGTH)
    store = prepare(spec, CONTEXT_LENGTH)
    assert all_bytes(store.folder) == all_bytes(prepare(few_tars(tmp_path, "whole"), CONTEXT_LENGTH).folder)


@pytest.mark.parametrize("suffix", ["pictures", "rows"])
def test_a_part_that_a_power_cut_emptied_is_read_again(tmp_path: Path, suffix: str) -> None:
    spec = few_tars(tmp_path)
    with pytest.raises(RuntimeError):
        prepare(spec, CONTEXT_LENGTH, break_off("packing", after=0))
    path = partial_folder(spec) / f"part-00001.{suffix}"
    path.write_bytes(bytes(path.stat().st_size))  # as long as it was, and nothing in it
    store = prepare(spec, CONTEXT_LENGTH)
    assert all_bytes(store.folder) == all_bytes(prepare(few_tars(tmp_path, "whole"), CONTEXT_LENGTH).folder)


def test_other_settings_start_from_the_beginning(tmp_path: Path) -> None:
    spec = few_tars(tmp_path)
    with pytest.raises(RuntimeError):
        prepare(spec, CONTEXT_LENGTH, break_off("packing", after=0))
    other = spec.model_copy(update={"resize": "crop"})
    assert partial_folder(other) != partial_folder(spec)
    assert Store(prepare(other, CONTEXT_LENGTH).folder).manifest.settings["resize"] == "crop"
    assert partial_folder(spec).exists()  # it may be gone on with


def kill_self(_job: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_a_clear_error() -> None:
    with Workers(1) as workers, pytest.raises(StoreError, match=r"a process that prepares was killed, .* memory"):
        list(workers.run(kill_self, [0], lambda _: None))


def test_what_was_done_before_counts_from_the_start() -> None:
    with Workers(1, Tally(7, 2)) as workers:
        assert workers.tally() == Tally(7, 2)
