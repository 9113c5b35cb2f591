"""Tars read straight: the same entries as `tarfile` gives, whoever wrote them, and an error where one is cut short."""

import io
import tarfile
from pathlib import Path

import pytest

from clipexp.data.sources import tars

LONG = "folder/" * 30 + "picture.jpg"
NAMES = ["0.jpg", "x" * 100 + ".jpg", "a/" * 60 + "b.jpg", LONG, "ä.jpg", "sp ace.json", "\udcff.jpg", "./v1.0/0.jpg"]
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}
KINDS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]


def written(path: Path, kind: str, mtime: float = 0) -> Path:
    with tarfile.open(path, "w", format=FORMATS[kind], errors="surrogateescape") as tar:
        for number, name in enumerate(NAMES):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 300 * number, mtime
            try:
                tar.addfile(info, io.BytesIO(bytes([number]) * info.size))
            except ValueError:
                assert kind == "ustar"  # its names end at 255 characters
        for kind_of_entry in KINDS:
            info = tarfile.TarInfo("other" if kind_of_entry != tarfile.DIRTYPE else "folder/")
            info.type, info.linkname = kind_of_entry, LONG if kind != "ustar" else "0.jpg"
            tar.addfile(info)
    return path


def read(path: Path) -> list[tuple[str, str, bytes | None]]:
    with path.open("rb") as file:
        return [(entry.name, entry.kind, entry.content) for entry in tars.entries(file, lambda _: True)]


def read_by_tarfile(path: Path) -> list[tuple[str, str, bytes | None]]:
    found: list[tuple[str, str, bytes | None]] = []
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            kind = tars.REGULAR if member.isfile() else tars.FOLDER if member.isdir() else tars.OTHER
            found.append((member.name, kind, file.read() if file else None))
    return found


@pytest.mark.parametrize("mtime", [0, 1.5])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_reads_as_tarfile_reads_it(tmp_path: Path, kind: str, mtime: float) -> None:
    path = written(tmp_path / "0.tar", kind, mtime)
    assert len(read(path)) > len(KINDS)
    assert read(path) == read_by_tarfile(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_plain_formats_need_no_tarfile(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "0.tar", kind)
    expected = read_by_tarfile(path)
    monkeypatch.delattr(tars, "_entries_by_tarfile")
    num = NAMES.index("\udcff.jpg")  # pax marks its header as one of no charset, which is left to tarfile
    with path.open("rb") as file:
        found = tars.entries(file, lambda _: True)
        plain = [next(found).name for _ in range(num)] if kind != "ustar" else [entry.name for entry in found]
    assert plain == [name for name, _, _ in expected[: len(plain)]]


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_compressed_tars_are_read_too(tmp_path: Path, compression: str) -> None:
    with tarfile.open(tmp_path / "0.tar", f"w:{compression}") as tar:
        info = tarfile.TarInfo("0.jpg")
        info.size = 1000
        tar.addfile(info, io.BytesIO(bytes(1000)))
    assert read(tmp_path / "0.tar") == [("0.jpg", tars.REGULAR, bytes(1000))]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_tar_cut_or_damaged_anywhere_is_told_and_never_read_otherwise(tmp_path: Path, kind: str) -> None:
    whole = written(tmp_path / "whole.tar", kind)
    content, expected = whole.read_bytes(), read(whole)
    with tarfile.open(whole) as tar:
        end = max(member.offset_data + -(-member.size // 512) * 512 for member in tar)
    for at in range(0, end, 128):
        cut = tmp_path / "cut.tar"
        cut.write_bytes(content[:at])
        found = []
        with cut.open("rb") as file, pytest.raises(tars.CutShortError):
            found += [found.append((e.name, e.kind, e.content)) for e in tars.entries(file, lambda _: True)]
        assert found == expected[: len(found)]


def test_a_member_above_the_limit_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "MAX_MEMBER_BYTES", 1000)
    path = written(tmp_path / "0.tar", "pax")
    sizes = {len(content) for _, _, content in read(path) if content is not None}
    assert max(sizes) == 900
    assert ("./v1.0/0.jpg", tars.REGULAR, None) in read(path)
