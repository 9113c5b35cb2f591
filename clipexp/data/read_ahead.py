"""Reading ahead on cold files: the disk is asked for the rows of the next batches while these are being copied.

A page that is not in memory stops a thread that copies from a map until it was read, one after the other. Asked for
ahead, thousands are read at once. What is in memory already needs no asking, which costs 2 us a row; so it ends when
several steps in a row read nothing from the disk, and begins again when copying had to wait for a page.
"""

import resource
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from clipexp.data.sources import Pixels
from clipexp.data.table import PairTable

QUIET_STEPS = 8
Rows = NDArray[np.integer]


class ReadAhead:
    """Follows a position through the steps of `starts`, and asks for those up to `distance` pairs before it.

    One thread calls `move_to`; any thread calls `watch`.
    """

    def __init__(self, table: PairTable, rows_from: Callable[[int], Rows], starts: range, distance: int) -> None:
        """`rows_from`: the rows of the step that starts at a position."""
        self._table = table
        self._rows_from = rows_from
        self._starts = iter(starts)
        self._next = next(self._starts, None)
        self._distance = distance
        self._num_quiet = 0
        self._asked: list[Future[None]] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    @property
    def is_asking(self) -> bool:
        """Whether the files seem cold."""
        return self._num_quiet < QUIET_STEPS

    def move_to(self, position: int) -> None:
        """Ask for what comes within the distance. Raises what went wrong in asking before."""
        while self._asked and self._asked[0].done():
            self._asked.pop(0).result()
        while self._next is not None and self._next <= position + self._distance:
            if self.is_asking:
                self._asked.append(self._pool.submit(self._ask, self._rows_from(self._next)))
            self._next = next(self._starts, None)

    def _ask(self, rows: Rows) -> None:
        before = _usage().ru_inblock
        self._table.read_ahead(rows)
        self._num_quiet = self._num_quiet + 1 if _usage().ru_inblock == before else 0

    def watch(self, gather: Callable[[Rows, Pixels], None], rows: Rows, out: Pixels) -> None:
        """Gather, and see whether that had to wait for the disk."""
        before = _usage().ru_majflt
        gather(rows, out)
        if _usage().ru_majflt != before:
            self._num_quiet = 0

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(cancel_futures=True)


def _usage() -> resource.struct_rusage:
    """Of this thread; where the system counts by process only (macOS), of that: asking then lasts longer, no more."""
    return resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF))
