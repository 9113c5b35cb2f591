"""Files that are mapped and must stay as they are while they are in use.

file = WatchedFile(path, file_facts(path), spans_of(batch))
...  # read from the map
file.require_unchanged()  # what was read was the file's
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipexp.data.manifest import PREPARE
from clipexp.data.map_guard import CAN_GUARD, MapGuard, Span
from clipexp.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class FileFacts:
    """What of a file differs once it was replaced, cut or written to; no program can set the ctime back."""

    num_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def file_facts(path: Path | str) -> FileFacts:
    """A file as it is now, in 2 us. Raises OSError."""
    stat = os.stat(path)
    return FileFacts(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


class WatchedFile:
    """See the module."""

    def __init__(self, path: Path, facts: FileFacts, maps: Sequence[Span]) -> None:
        """`facts`: as it was when it was verified. `maps`: where it is mapped, guarded from here on."""
        self._name = str(path)
        self._facts = facts
        self._guard = MapGuard(maps)

    def require_readable(self) -> None:
        """Before reading: that it won't end the process. A guarded map doesn't, so that nothing is to be asked.

        Raises:
            StoreError: it was changed.
        """
        if not CAN_GUARD:
            self.require_unchanged()

    def require_unchanged(self) -> None:
        """After reading: that it was read as it was.

        Raises:
            StoreError: it was changed, removed or could not be read.
        """
        try:
            facts = file_facts(self._name)
        except OSError as error:
            raise StoreError(
                f"{self._name} can't be read any more ({error.strerror}); put it back, and run it again"
            ) from error
        if facts != self._facts:
            raise StoreError(
                f"{self._name} was changed while it was in use; the run can't go on from it: put it back as"
                f" it was (`clipexp data inspect STORE --verify` tells), or remove the store and run: {PREPARE}"
            )
        if self._guard.is_broken:
            raise StoreError(f"{self._name} can't be read to its end: its disk fails; put the store on another one")


def spans_of(batch: "pa.RecordBatch") -> list[Span]:
    """Where a mapped batch lies in memory."""
    buffers = [buffer for column in batch.columns for buffer in column.buffers() if buffer is not None]
    return [(buffer.address, buffer.address + buffer.size) for buffer in buffers]
