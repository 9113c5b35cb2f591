"""A report's files: written whole, and what an earlier version left removed."""

from pathlib import Path

import pytest

from clipexp.errors import ReportError
from clipexp.reporting.files import write_files


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_files_of_an_earlier_version_go_where_the_report_owns_the_folder(tmp_path: Path) -> None:
    write_files(tmp_path, {"report.md": b"1", "figures/a.svg": b"2", "data/x/spec.yaml": b"3", "best.yaml": b"4"})
    (tmp_path / "mine.txt").write_text("kept")
    write_files(tmp_path, {"report.md": b"5", "figures/b.svg": b"6"}, owned=("figures", "data", "best.yaml"))
    assert names(tmp_path) == {"report.md", "figures/b.svg", "mine.txt"}
    assert not (tmp_path / "data" / "x").exists()
    assert (tmp_path / "report.md").read_bytes() == b"5"


def test_a_file_that_is_as_it_should_be_is_not_written_again(tmp_path: Path) -> None:
    write_files(tmp_path, {"report.md": b"1"})
    before = (tmp_path / "report.md").stat().st_mtime_ns
    write_files(tmp_path, {"report.md": b"1"})
    assert (tmp_path / "report.md").stat().st_mtime_ns == before


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("a file")
    with pytest.raises(ReportError, match="can't write the report"):
        write_files(tmp_path / "made", {"report.md": b""})
