"""`folder`: pictures in a tree, with captions in `.txt` files beside them or in one table.

    Folder("data/photos", spec.data.source).read(part)

A line of a `.txt` is a caption. Hidden files and folders are no part of the set. Paths in a table are relative to the
folder; those that climb out of it, or are absolute, are dropped.
"""

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from clipexp.data.sources import Drop, Pair, Part, tables, tars
from clipexp.data.sources.captions import pair_or_drops, printable
from clipexp.data.sources.webdataset import climbs_out
from clipexp.errors import SourceError
from clipexp.spec.sources import FolderSource

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
ITEMS_A_PART, MAX_PARTS = 4096, 64  # a part of a table begins by skipping the rows before it
OUTSIDE = "no path within the folder"


class Folder:
    """The source; see the module."""

    def __init__(self, folder: str, spec: FolderSource) -> None:
        self.folder = Path(folder)
        self.table = None if spec.table is None else self.folder / spec.table
        self.image_column = spec.image_column
        self.caption_columns = spec.caption_columns
        self.licence = spec.licence
        self.attribution = spec.attribution
        self.num_listed: int | None = None

    def parts(self) -> Sequence[Part]:
        """Ranges of the sorted files, or of the table's rows. Raises SourceError where either is missing or wrong."""
        if not self.folder.is_dir():
            raise SourceError(f"data.path {self.folder} is no folder; set it to the folder that holds the pictures")
        if self.table is not None:
            tables.require_columns(self.table, (self.image_column, *self.caption_columns))
            self.num_listed = tables.count_rows(self.table)
            return ranges("rows", self.num_listed)
        _listed.cache_clear()
        self.num_listed = len(_listed(self.folder))
        if not self.num_listed:
            raise SourceError(
                f"data.path {self.folder} has no {', '.join(SUFFIXES)}; set it to the folder that holds the pictures"
            )
        return ranges("files", self.num_listed)

    def read(self, part: Part) -> Iterator[Pair | Drop]:
        """The pairs of one range."""
        if self.table is not None:
            yield from self._read_rows(self.table, part)
            return
        names = self._names()
        for name in names[part.start : part.stop]:
            yield from self._beside(name)

    def fingerprint(self, part: Part) -> str:
        """The sizes and times of the range's files, and of the table."""
        found = hashlib.sha256()
        if self.table is None:
            names = list(self._names()[part.start : part.stop])
            names += [f"{name.rpartition('.')[0]}.txt" for name in names]
        else:
            paths = (self._path(row) for row in tables.rows(self.table, part.start, part.stop))
            names = [path for path, problem in paths if not problem]
            found.update(tars.fingerprint(self.table).encode())
        for name in names:
            found.update(f"{printable(name)}\0{tars.fingerprint(self.folder / name)}\0".encode())
        return found.hexdigest()[:32]

    def num_items(self) -> int | None:
        """The rows of the table, or the files."""
        try:
            return tables.count_rows(self.table) if self.table is not None else len(_listed(self.folder)) or None
        except SourceError:
            return None

    def _names(self) -> tuple[str, ...]:
        names = _listed(self.folder)
        if self.num_listed not in (None, len(names)):
            raise SourceError(f"{self.folder} changed while it was read; run it again when nothing writes to it")
        return names

    def _beside(self, name: str) -> Iterator[Pair | Drop]:
        stem, _, suffix = name.rpartition(".")
        key, origin = printable(stem), printable(name)
        if suffix.lower() == "txt":
            yield Drop(key, "no picture beside the .txt", origin)
            return
        try:
            content = (self.folder / f"{stem}.txt").read_bytes()
        except FileNotFoundError:
            yield Drop(key, "no .txt beside the picture", origin)
            return
        except OSError:
            yield Drop(key, "unreadable .txt", origin)
            return
        lines = [line for line in content.splitlines() if line.strip()]
        yield from self._items(key, name, lines or "", origin)

    def _read_rows(self, table: Path, part: Part) -> Iterator[Pair | Drop]:
        for number, row in enumerate(tables.rows(table, part.start, part.stop), start=part.start):
            origin = f"{table.name}, row {number}"
            path, problem = self._path(row)
            if problem or isinstance(row, str):
                yield Drop(printable(path) or f"row-{number:08d}", problem, origin)
                continue
            values = [row.get(column) for column in self.caption_columns]
            texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
            yield from self._items(printable(path), path, texts, origin)

    def _path(self, row: tables.Row | str) -> tuple[str, str]:
        """The picture's path in a row, and what is wrong with it; empty where nothing is."""
        if isinstance(row, str):
            return "", row
        path = row.get(self.image_column)
        if not isinstance(path, str) or not path.strip() or "\0" in path:
            return "", OUTSIDE
        inside = Path(os.path.realpath(self.folder / path)).is_relative_to(os.path.realpath(self.folder))
        return path, "" if inside and not climbs_out(path) else OUTSIDE

    def _items(self, key: str, name: str, found: object, origin: str) -> Iterator[Pair | Drop]:
        path = self.folder / name
        try:
            if path.stat().st_size > tars.MAX_MEMBER_BYTES:
                yield Drop(key, f"picture of more than {tars.MAX_MEMBER_BYTES >> 20} MiB", origin)
                return
            image = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            yield Drop(key, "no such picture", origin)
        except (OSError, UnicodeError):
            yield Drop(key, "unreadable picture file", origin)
        else:
            yield from pair_or_drops(key, image, found, origin)


@functools.lru_cache(maxsize=2)  # a process reads many parts of one folder
def _listed(folder: Path) -> tuple[str, ...]:
    """The paths of all pictures below a folder, and of each `.txt` that has none beside it; sorted."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = [name for name in files if not name.startswith(".")]
        pictures = [name for name in shown if Path(name).suffix.lower() in SUFFIXES]
        stems = {name.rpartition(".")[0] for name in pictures}
        alone = [name for name in shown if name.endswith(".txt") and name.removesuffix(".txt") not in stems]
        found += [os.path.relpath(os.path.join(place, name), folder) for name in (*pictures, *alone)]
    return tuple(sorted(found))


def ranges(what: str, num_items: int) -> list[Part]:
    """Items cut into parts, no more than `MAX_PARTS`."""
    step = max(ITEMS_A_PART, -(-num_items // MAX_PARTS))
    starts = range(0, num_items, step)
    return [Part(f"{what}-{start:08d}", start, min(start + step, num_items)) for start in starts]
