"""Processes that read and pack: they end with their parent, stop when told, and count what they did.

    with Workers(2, max_drop_frac=0.05) as workers:
        for number, result in workers.run(read_part, jobs, tick=lambda tally: report(tally.num_items)):
            ...

In a worker: `tell(num_items=32, num_faults=1)`.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any, Self, TypeVar

from clipexp.errors import StoreError

Job = TypeVar("Job")
Result = TypeVar("Result")
TICK_S = 0.5


@dataclass(frozen=True)
class Tally:
    """What all processes did together: items of the source, and those of them that are unusable; shards apart."""

    num_items: int
    num_faults: int


class StoppedError(Exception):
    """The parent wants no more of it. It stays between workers and pool, and no user sees it."""


@dataclass
class _Shared:
    """What a worker shares with its parent."""

    counts: Any  # of multiprocessing: two whole numbers and their lock
    stop: Event


_shared: _Shared | None = None  # of this process, if it is a worker


class Workers:
    """Some processes; see the module."""

    def __init__(self, num: int, already: Tally = Tally(0, 0)) -> None:
        """num: of processes. already: what was done before and is not to be done again."""
        context = multiprocessing.get_context("spawn")
        self._shared = _Shared(context.Array("q", [already.num_items, already.num_faults]), context.Event())
        # one for all and OpenMP's own threads beside would be more than there are cores
        self._pool = ProcessPoolExecutor(num, context, _begin, (self._shared,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shared.stop.set()
        self._pool.shutdown(cancel_futures=True)

    def tally(self) -> Tally:
        """What is done so far."""
        with self._shared.counts.get_lock():
            return Tally(*self._shared.counts)

    def run(
        self, do: Callable[[Job], Result], jobs: Sequence[Job], tick: Callable[[Tally], None]
    ) -> Iterator[tuple[int, Result]]:
        """Carry out jobs; gives the number of each with its result, as they come in.

        Args:
            do: a module's function.
            jobs: picklable.
            tick: called some times a second.

        Raises:
            StoreError: a process was killed.
            Exception: what `do` raised.
        """
        # A Ctrl-C in the terminal reaches all processes: only ours acts on it, and tells them.
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            number_by_future: dict[Future[Result], int] = {self._pool.submit(do, job): i for i, job in enumerate(jobs)}
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        pending = set(number_by_future)
        while pending:
            done, pending = wait(pending, TICK_S, FIRST_COMPLETED)
            tick(self.tally())
            for future in sorted(done, key=number_by_future.__getitem__):
                try:
                    yield number_by_future[future], future.result()
                except BrokenProcessPool as error:
                    raise StoreError(
                        "a process that prepares was killed, most often for want of memory; see the system's log"
                    ) from error


def tell(num_items: int, num_faults: int) -> Tally:
    """Count what was done in this worker since the last call.

    Returns:
        What all have done by now.

    Raises:
        StoppedError: this worker is to stop.
    """
    if _shared is None:
        return Tally(num_items, num_faults)
    if _shared.stop.is_set():
        raise StoppedError
    with _shared.counts.get_lock():
        _shared.counts[0] += num_items
        _shared.counts[1] += num_faults
        return Tally(*_shared.counts)


def _begin(shared: _Shared) -> None:
    global _shared  # noqa: PLW0603 (a pool's initializer has no other place)
    _shared = shared
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: each process has a core of its own
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    """A parent that was killed tells nobody; what it left must not write where the next one works."""
    parent.join()
    os._exit(1)
