"""A mapped file that is cut while it is read: no end without a word. Each in a process of its own, which might die."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clipexp.data.map_guard import CAN_GUARD

pytestmark = pytest.mark.skipif(not CAN_GUARD, reason="maps are guarded on Linux alone")

# Ten pages of ones, mapped; `read` as a thread of the loader does, in one call without the interpreter's lock.
BEGIN = """
import gc, mmap, os, sys
import numpy as np
from clipexp.data.map_guard import MapGuard
path, page = sys.argv[1], mmap.PAGESIZE
with open(path, "wb") as out:
    out.write(bytes([1]) * (10 * page))
def mapped():
    return np.memmap(path, np.uint8, "r").reshape(10, page)
def guard_of(array):
    return MapGuard([(array.ctypes.data, array.ctypes.data + array.nbytes)])
def read(array):
    return np.take(array, np.arange(10), axis=0, mode="clip").any(axis=1).tolist()
def cut():
    os.truncate(path, 3 * page)
"""


def carried_out(folder: Path, program: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", BEGIN + program, str(folder / "file")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def output_of(folder: Path, program: str) -> str:
    child = carried_out(folder, program)
    assert child.returncode == 0, child.stderr
    return child.stdout


def test_a_guarded_map_gives_zeros_behind_the_cut_and_says_so(tmp_path: Path) -> None:
    program = "array = mapped(); guard = guard_of(array); print(guard.is_broken); cut(); print(*read(array)); "
    words = output_of(tmp_path, program + "print(guard.is_broken)").split()
    assert words == ["False", *["True"] * 3, *["False"] * 7, "True"]


def test_what_is_not_cut_is_left_as_it_is(tmp_path: Path) -> None:
    program = "array = mapped(); guard = guard_of(array); print(all(read(array)), guard.is_broken)"
    assert output_of(tmp_path, program) == "True False\n"


def test_only_the_guard_of_the_file_that_was_cut_is_marked(tmp_path: Path) -> None:
    program = """
array = mapped(); guard = guard_of(array)
path += "2"
with open(path, "wb") as out:
    out.write(bytes([1]) * (10 * page))
other = mapped(); others = guard_of(other)
cut(); read(other); read(array); print(guard.is_broken, others.is_broken)
"""
    assert output_of(tmp_path, program) == "False True\n"


def test_threads_may_meet_the_cut_at_once(tmp_path: Path) -> None:
    program = """
from concurrent.futures import ThreadPoolExecutor
array = mapped(); guard = guard_of(array); cut()
with ThreadPoolExecutor(8) as pool:
    print(sum(sum(found) for found in pool.map(lambda _: read(array), range(200))), guard.is_broken)
"""
    assert output_of(tmp_path, program) == "600 True\n"


@pytest.mark.parametrize(
    "program",
    ["other = mapped(); guard = guard_of(np.zeros(10))", "other = mapped(); guard = guard_of(other); del guard"],
    ids=["never guarded", "no longer guarded"],
)
def test_a_map_that_is_not_guarded_ends_the_process_as_it_always_did(tmp_path: Path, program: str) -> None:
    child = carried_out(tmp_path, f"{program}; gc.collect(); cut(); read(other); print('went on')")
    assert (child.returncode, child.stdout) == (-signal.SIGBUS, "")


def test_who_was_asked_before_is_asked_for_maps_that_are_not_guarded(tmp_path: Path) -> None:
    program = "import faulthandler; faulthandler.enable(); other = mapped(); guard = guard_of(np.zeros(10)); cut(); "
    child = carried_out(tmp_path, program + "read(other)")
    assert child.returncode == -signal.SIGBUS
    assert "Fatal Python error: Bus error" in child.stderr
