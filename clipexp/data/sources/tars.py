r"""What is in a tar: its entries in order, read straight from it, nothing unpacked.

    with open("data_000000.tar", "rb") as file:
        for entry in entries(file, wanted=lambda name: name.endswith(".jpg")):
            entry.name, entry.content

`tarfile` makes an object of some 20 fields of every member, which costs more than reading a small picture does. So the
plain cases (ustar, pax names and sizes, GNU's long names) are read here, and at the first other thing `tarfile` takes
over from that very place: sparse files, damaged headers, compressed tars, cut ends.
"""

import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

BLOCK = tarfile.BLOCKSIZE
MAX_MEMBER_BYTES = 512 << 20  # what one picture may take in memory
MAX_NAME_BYTES = 1 << 20
DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)
REGULAR, FOLDER, OTHER = "regular", "folder", "other"
_KINDS = {b"0": REGULAR, b"\0": REGULAR, b"7": REGULAR, b"5": FOLDER} | dict.fromkeys(
    (b"1", b"2", b"3", b"4", b"6"), OTHER
)
_ABOUT_NEXT = (b"x", b"L", b"K")
_PAX_PLAIN = {"path", "size", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "linkpath"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. content: its bytes, where it is a regular file, wanted, and not too large. end: where it ends."""

    name: str
    kind: str
    size: int
    content: bytes | None
    end: int


class CutShortError(Exception):
    """The tar doesn't end as one should; the message says how."""


class _NotPlainError(Exception):
    """`tarfile` has to look at this place."""


def entries(file: IO[bytes], wanted: Callable[[str], bool]) -> Iterator[Entry]:
    """All entries of a tar.

    Args:
        file: the tar, seekable, at its start; compressed ones serve too.
        wanted: whether an entry's content is to be read, by its name.

    Raises:
        CutShortError: after the last entry that is whole, where the tar is cut short or damaged.
    """
    size = file.seek(0, os.SEEK_END)
    at = file.seek(0)
    try:
        while (entry := _next_plain(file, at, size, wanted)) is not None:
            at = -(-entry.end // BLOCK) * BLOCK
            yield entry
    except _NotPlainError:
        file.seek(at)
        yield from _entries_by_tarfile(file, wanted)


def _next_plain(file: IO[bytes], at: int, size: int, wanted: Callable[[str], bool]) -> Entry | None:
    """The entry whose header stands at an offset, where the file is; None at the mark of the end."""
    header = file.read(BLOCK)
    if header == bytes(BLOCK) and at:
        return None
    told = dict[str, bytes]()
    while (kind := header[156:157]) in _ABOUT_NEXT:
        told |= _told(file, kind, _checked(header))
        header = file.read(BLOCK)
    num_bytes = _checked(header)
    sort, name = _KINDS.get(kind), told["path"] if "path" in told else _name(header)
    if "size" in told:
        num_bytes = _number(told["size"])
    if sort is None or (kind == b"\0" and name.endswith(b"/")) or (num_bytes and sort != REGULAR):
        raise _NotPlainError
    return _entry_at(file, _text(name), sort, num_bytes, wanted if sort == REGULAR else lambda _: False, size)


def _entry_at(file: IO[bytes], name: str, sort: str, num_bytes: int, wanted: Callable[[str], bool], size: int) -> Entry:
    end = file.tell() + num_bytes
    next_at = -(-end // BLOCK) * BLOCK
    if next_at > size:
        raise _NotPlainError
    name = name.rstrip("/")
    content = _exactly(file, num_bytes) if num_bytes <= MAX_MEMBER_BYTES and wanted(name) else None
    file.seek(next_at)
    return Entry(name, sort, num_bytes, content, end)


def _told(file: IO[bytes], kind: bytes, num_bytes: int) -> dict[str, bytes]:
    """What an extended header says of the entry behind it."""
    if num_bytes > MAX_NAME_BYTES:
        raise _NotPlainError
    content = _exactly(file, -(-num_bytes // BLOCK) * BLOCK)[:num_bytes]
    if kind == b"x":
        return _pax(content)
    return {"path": content.split(b"\0", 1)[0]} if kind == b"L" else {}


def _checked(header: bytes) -> int:
    """The size that a header tells, whose checksum is right."""
    if len(header) != BLOCK or sum(header) - sum(header[148:156]) + 256 != _octal(header[148:156]):
        raise _NotPlainError
    return _octal(header[124:136])


def _octal(field: bytes) -> int:
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise _NotPlainError
    return int(digits, 8)


def _number(digits: bytes) -> int:
    if not digits.isdigit():
        raise _NotPlainError
    return int(digits)


def _name(header: bytes) -> bytes:
    name, prefix = (header[a:b].split(b"\0", 1)[0] for a, b in ((0, 100), (345, 500)))
    return prefix + b"/" + name if prefix else name


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _pax(content: bytes) -> dict[str, bytes]:
    """The records `LENGTH KEY=VALUE` of an extended header."""
    found = {}
    while content:
        digits, blank, _ = content.partition(b" ")
        length = _number(digits)
        key, equals, value = content[len(digits) + 1 : length - 1].partition(b"=")
        if not (blank and equals and length <= len(content) and content[length - 1 : length] == b"\n"):
            raise _NotPlainError
        if key.decode("latin-1") not in _PAX_PLAIN or b"\0" in value:
            raise _NotPlainError
        found[key.decode("latin-1")] = value
        content = content[length:]
    return found


def _exactly(file: IO[bytes], num_bytes: int) -> bytes:
    content = file.read(num_bytes)
    if len(content) != num_bytes:
        raise _NotPlainError
    return content


def _entries_by_tarfile(file: IO[bytes], wanted: Callable[[str], bool]) -> Iterator[Entry]:
    try:
        with tarfile.open(fileobj=file) if file.tell() == 0 else tarfile.TarFile(fileobj=file) as tar:
            for member in tar:
                yield _entry(tar, member, wanted)
                tar.members = []  # type: ignore[attr-defined]  # it keeps every member, a GB at millions
            if not _ends_whole(tar):
                raise CutShortError("no mark of its end")
    except DAMAGE as error:
        raise CutShortError(str(error)) from error


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo, wanted: Callable[[str], bool]) -> Entry:
    kind = REGULAR if member.isfile() else FOLDER if member.isdir() else OTHER
    content = None
    if kind == REGULAR and wanted(member.name) and member.size <= MAX_MEMBER_BYTES:
        opened = tar.extractfile(member)
        content = opened.read() if opened else b""
    return Entry(member.name, kind, member.size, content, member.offset_data + member.size)


def _ends_whole(tar: tarfile.TarFile) -> bool:
    """Whether reading stopped at a tar's end mark; `tarfile` stops without a word at a damaged header, too."""
    if tar.fileobj is None:
        return False
    tar.fileobj.seek(tar.offset)
    return tar.fileobj.read(BLOCK) == bytes(BLOCK)


def fingerprint(path: Path) -> str:
    """Size and time of a file; empty where it is missing."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_size}-{stat.st_mtime_ns}"
