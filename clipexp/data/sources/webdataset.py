"""`webdataset`: a folder of tars holding `KEY.jpg` beside `KEY.json` or `KEY.txt`.

    WebDataset("data/text-to-image-2M", spec.data.source).read(part)

A sample is the members that share a key and follow one another. Only regular files are read, straight from the tar:
nothing is unpacked, so no name can climb out of a folder; names that would are dropped.
"""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from clipexp.data.sources import Drop, Pair, Part, tars
from clipexp.data.sources.captions import pair_or_drops, printable
from clipexp.errors import SourceError
from clipexp.spec.sources import WebDatasetSource

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]*)", re.DOTALL)  # key and suffix; folders may hold dots: `./v1.0/000.jpg`
NUM_PROBED_MEMBERS = 400


@dataclass(frozen=True)
class SampleReader:
    """How a tar's members become pairs: which one is the picture, and which holds the caption."""

    image_suffixes: tuple[str, ...] = IMAGE_SUFFIXES
    caption_suffix: str | None = None
    caption_key: str = "prompt"

    def read(self, file: IO[bytes], tar_name: str) -> Iterator[Pair | Drop]:
        """The items of one open tar. Raises tars.CutShortError after the last that is whole."""
        stem = tar_name.removesuffix(".tar")
        for key, found in self._samples(file):
            key = f"{stem}/{printable(key)}"
            if isinstance(found, str):
                yield Drop(key, found, tar_name)
            else:
                yield from self._items(key, found, tar_name)

    def wants(self, name: str) -> bool:
        """Whether a member serves, by its name."""
        named = NAME.fullmatch(name)
        return named is not None and named[2].lower() in (*self.image_suffixes, self.caption_suffix or "json")

    def _samples(self, file: IO[bytes]) -> Iterator[tuple[str, dict[str, bytes] | str]]:
        """Each sample's key, and its files by suffix or the reason why there are none."""
        key, members = None, dict[str, bytes]()
        try:
            for entry in tars.entries(file, lambda name: self.wants(name) and not climbs_out(name)):
                if entry.kind == tars.FOLDER:
                    continue
                named = NAME.fullmatch(entry.name)
                problem = _problem(entry, named, self.wants(entry.name))
                if problem or not named:
                    yield entry.name, problem
                    continue
                next_key, suffix = named[1], named[2].lower()
                if key is not None and (next_key != key or suffix in members):  # one that comes again begins another
                    yield key, members
                    members = {}
                key = next_key
                members[suffix] = entry.content or b""
        except tars.CutShortError:
            if key is not None:
                yield key, members
            raise
        if key is not None:
            yield key, members

    def _items(self, key: str, members: dict[str, bytes], origin: str) -> Iterator[Pair | Drop]:
        image = next((members[suffix] for suffix in self.image_suffixes if suffix in members), None)
        found = self._captions(members)
        if image is None:
            yield Drop(key, "no picture", origin)
        elif isinstance(found, str):
            yield Drop(key, found, origin)
        else:
            yield from pair_or_drops(key, image, found, origin)

    def _captions(self, members: dict[str, bytes]) -> list[object] | str:
        """What is given as captions, or why there is none."""
        if self.caption_suffix is not None:
            return [members[self.caption_suffix]] if self.caption_suffix in members else f"no .{self.caption_suffix}"
        if "json" not in members:
            return "no JSON"
        try:
            found = json.loads(members["json"]).get(self.caption_key)
        except (ValueError, AttributeError, RecursionError):
            return "unreadable JSON"
        texts = found if isinstance(found, list) else [found]
        is_there = any(isinstance(text, str) and text.strip() for text in texts)
        return texts if is_there else f"no caption under {self.caption_key!r}"


class WebDataset:
    """The source; see the module."""

    def __init__(self, folder: str, spec: WebDatasetSource) -> None:
        self.folder = Path(folder)
        self.reader = SampleReader(
            tuple(map(plain_suffix, spec.image_suffixes or IMAGE_SUFFIXES)),
            plain_suffix(spec.caption_suffix) if spec.caption_suffix else None,
            spec.caption_key,
        )
        self.licence = spec.licence
        self.attribution = spec.attribution

    def parts(self) -> Sequence[Part]:
        """The tars, by name. Raises SourceError if there are none."""
        return [Part(tar.name) for tar in find_tars(self.folder)]

    def read(self, part: Part) -> Iterator[Pair | Drop]:
        """The pairs of one tar."""
        yield from read_tar(self.folder / part.name, self.reader)

    def fingerprint(self, part: Part) -> str:
        """Size and time of the tar."""
        return tars.fingerprint(self.folder / part.name)

    def num_items(self) -> int | None:
        """By the tars' sizes, at the bytes a sample of the first members."""
        return items_in_tars(sorted(self.folder.glob("*.tar")))


def find_tars(folder: Path, pattern: str = "*.tar") -> list[Path]:
    """The tars of a folder, by name. Raises SourceError if there are none."""
    if not folder.is_dir():
        raise SourceError(f"data.path {folder} is no folder; set it to the folder that holds the tars")
    found = sorted(folder.glob(pattern))
    if not found:
        raise SourceError(f"data.path {folder} has no {pattern}; set it to the folder that holds them")
    return found


def read_tar(path: Path, reader: SampleReader) -> Iterator[Pair | Drop]:
    """The items of one tar; one that is cut short gives what is whole, and a Drop. Raises SourceError if it can't."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise SourceError(f"can't read {path} ({error.strerror}); see that data.path is right") from error
    with file:
        try:
            yield from reader.read(file, path.name)
        except tars.CutShortError as error:
            yield Drop(path.name, f"tar cut short or damaged ({error})", path.name)
        except OSError as error:
            raise SourceError(f"can't read {path} to its end ({error.strerror or error})") from error


def items_in_tars(paths: Sequence[Path]) -> int | None:
    """About how many samples tars hold, by the first members of the first; None where that can't be read."""
    try:
        with paths[0].open("rb") as file:
            members = list(itertools.islice(tars.entries(file, lambda _: False), NUM_PROBED_MEMBERS))
        num_bytes = sum(path.stat().st_size for path in paths)
    except (IndexError, OSError, tars.CutShortError):
        return None
    keys = {named[1] for member in members if (named := NAME.fullmatch(member.name))}
    return round(num_bytes * len(keys) / members[-1].end) if keys else None


def plain_suffix(suffix: str) -> str:
    """As names are compared: `.JPG` -> `jpg`."""
    return suffix.lower().removeprefix(".")


def climbs_out(name: str) -> bool:
    """Whether a name is absolute, or would lead out of the folder that it were unpacked to."""
    return name.startswith("/") or ".." in name.split("/")


def _problem(entry: tars.Entry, named: re.Match[str] | None, is_wanted: bool) -> str:
    """Why an entry is no member of a sample; empty where it is one."""
    if entry.kind != tars.REGULAR:
        return "no regular file"
    if climbs_out(entry.name):
        return "name climbs out of the tar"
    if not named:
        return "no key and suffix in its name"
    if is_wanted and entry.content is None:
        return f"member of more than {tars.MAX_MEMBER_BYTES >> 20} MiB"
    return ""
