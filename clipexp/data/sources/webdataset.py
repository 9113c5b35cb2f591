"""`webdataset`: a folder of tars holding `KEY.jpg` beside `KEY.json`, as text-to-image-2M has them.

    WebDataset("data/text-to-image-2M", spec.data.source).read(part)

Only regular files are read, straight from the tar: nothing is unpacked, so no name can climb out of a folder.
"""

import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from clipexp.data.sources import Drop, Pair, Part
from clipexp.errors import SourceError
from clipexp.spec.run import WebDatasetSource

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]*)", re.DOTALL)  # key and suffix; folders may hold dots: `./v1.0/000.jpg`


class WebDataset:
    """The source; see the module."""

    def __init__(self, folder: str, spec: WebDatasetSource) -> None:
        self.folder = Path(folder)
        self.caption_key = spec.caption_key
        self.licence = spec.licence
        self.attribution = spec.attribution

    def parts(self) -> Sequence[Part]:
        """The tars, by name. Raises SourceError if there are none."""
        if not self.folder.is_dir():
            raise SourceError(f"data.path {self.folder} is no folder; set it to the folder that holds the tars")
        tars = sorted(self.folder.glob("*.tar"))
        if not tars:
            raise SourceError(f"data.path {self.folder} has no *.tar; set it to the folder that holds them")
        return [Part(tar.name) for tar in tars]

    def read(self, part: Part) -> Iterator[Pair | Drop]:
        """The pairs of one tar. A sample is the members that share a key and follow one another."""
        stem = part.name.removesuffix(".tar")
        try:
            with tarfile.open(self.folder / part.name) as tar:
                for key, found in _samples(tar):
                    key = f"{stem}/{_text(key)}"
                    yield Drop(key, found) if isinstance(found, str) else self._pair(key, found)
                if not _ends_whole(tar):
                    yield Drop(part.name, "tar cut short or damaged (no mark of its end)")
        except (tarfile.ReadError, EOFError, zlib.error) as error:
            yield Drop(part.name, f"tar cut short or damaged ({error})")

    def _pair(self, key: str, members: dict[str, bytes]) -> Pair | Drop:
        image = next((members[suffix] for suffix in IMAGE_SUFFIXES if suffix in members), None)
        if image is None:
            return Drop(key, "no picture")
        if "json" not in members:
            return Drop(key, "no JSON")
        try:
            caption = json.loads(members["json"]).get(self.caption_key)
        except (ValueError, AttributeError, RecursionError):
            return Drop(key, "unreadable JSON")
        if not isinstance(caption, str) or not caption.strip():
            return Drop(key, f"no caption under {self.caption_key!r}")
        caption = " ".join(caption.split())
        if caption != _text(caption):
            return Drop(key, "caption is no Unicode")
        return Pair(key, image, (caption,), (f"caption:{caption.lower()}",))


def _samples(tar: tarfile.TarFile) -> Iterator[tuple[str, dict[str, bytes] | str]]:
    """Each sample's key, and its files by suffix or the reason why there are none."""
    key, members = "", dict[str, bytes]()
    for member in tar:
        named = NAME.fullmatch(member.name)
        if not member.isfile() or not named:
            yield member.name, "no key and suffix in its name" if member.isfile() else "no regular file"
            continue
        next_key, suffix = named[1], named[2].lower()
        if members and (next_key != key or suffix in members):  # a suffix that comes again begins another sample
            yield key, members
            members = {}
        key = next_key
        file = tar.extractfile(member)
        members[suffix] = file.read() if file else b""
    if members:
        yield key, members


def _ends_whole(tar: tarfile.TarFile) -> bool:
    """Whether reading stopped at a tar's end mark; `tarfile` stops without a word at a damaged header, too."""
    if tar.fileobj is None:
        return False
    tar.fileobj.seek(tar.offset)
    return tar.fileobj.read(tarfile.BLOCKSIZE) == tarfile.NUL * tarfile.BLOCKSIZE


def _text(name: str) -> str:
    """The name, with what is no Unicode (halves of surrogate pairs) spelt out: no file could hold it."""
    return name.encode(errors="backslashreplace").decode()
