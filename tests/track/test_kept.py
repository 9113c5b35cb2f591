"""Small files that could not be made again."""

from pathlib import Path

import pytest

from clipexp.track.kept import read_kept, remove_kept, write_kept

CONTENT = {"device": "x", "n": [1, 2.5], "name": "é"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    write_kept(path, CONTENT)
    return path


@pytest.mark.parametrize("suffix", ["", ".copy"])
def test_a_flipped_bit_anywhere_in_one_copy_changes_nothing(file: Path, suffix: str) -> None:
    damaged_file = file.with_name(file.name + suffix)
    content = damaged_file.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        damaged_file.write_bytes(damaged)
        assert read_kept(file) == CONTENT


def test_with_both_copies_damaged_nothing_is_made_up(file: Path) -> None:
    for path in (file, file.with_name("run.json.copy")):
        path.write_bytes(path.read_bytes().replace(b"2.5", b"2.7"))
    assert read_kept(file) == {}


def test_a_missing_copy_is_no_harm_and_removing_takes_both(file: Path) -> None:
    file.unlink()
    assert read_kept(file) == CONTENT
    remove_kept(file)
    assert read_kept(file) == {}
