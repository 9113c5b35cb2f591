"""Leases: who carries out which spec here. One that its holder left behind is stale, and tells of a lost run.

    with take(spec_hash, name, store) as lease:
        lease.name_run(run_id)

The kernel holds a lock on `mlruns/leases/HASH.lock` for the holder and drops it however the holder dies; beside it,
`HASH.json` says who that is. Where `mlruns/` is shared between machines whose kernels don't tell each other of locks,
the file's time stamp, renewed every 10 s, tells whether another machine's holder lives.
"""

import contextlib
import dataclasses
import datetime
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from clipexp.errors import RunError
from clipexp.track.home import home
from clipexp.track.kept import read_kept, remove_kept, write_kept

RENEW_EVERY_S, STALE_AFTER_S = 10, 60
GLANCE_S = 1  # others hold a lock for an instant while they look at it
SETTLE_S = 120  # or as long as they settle what a dead holder left


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    store: as a run's header names it. since: ISO 8601, UTC. launch: tells this process's runs in MLflow. run_id: ''
    until it is known. is_making: MLflow may have made a run whose id is not known here.
    """

    spec_hash: str
    name: str
    store: str
    machine: str
    pid: int
    since: str
    launch: str
    run_id: str = ""
    is_making: bool = False

    def __str__(self) -> str:
        run = f" (run {self.run_id[:8]})" if self.run_id else ""
        return f"{self.name}{run}, by process {self.pid} on {self.machine} since {self.since}"


class Lease:
    """A spec that this process holds."""

    def __init__(self, holder: Holder, lock: FileLock) -> None:
        """Take over a lock that is held, and say who holds it."""
        self.holder = holder
        self._lock = lock
        self._path = _path(holder.spec_hash)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        _write(holder)
        self._thread.start()

    def name_run(self, run_id: str) -> None:
        """Say which run it is."""
        self.holder = dataclasses.replace(self.holder, run_id=run_id, is_making=False)
        _write(self.holder)

    def say_making(self) -> None:
        """Say that MLflow is asked for a run now, so that it is looked for where we die before we know its id."""
        self.holder = dataclasses.replace(self.holder, is_making=True)
        _write(self.holder)

    def _renew(self) -> None:
        while not self._closing.wait(RENEW_EVERY_S):
            with contextlib.suppress(OSError):  # a folder gone read-only: the lock still holds
                os.utime(self._path)

    def leave_behind(self) -> None:
        """End without a word, so that the next command finds the lease stale and says the truth in our place."""
        self._closing.set()
        self._thread.join()
        self._lock.release()

    def release(self) -> None:
        """Give the spec back; the run's end is told."""
        with contextlib.suppress(OSError):  # a folder gone read-only: the next command finds the run's end told
            remove_kept(self._path)
        self.leave_behind()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


class HeldError(RunError):
    """Another process carries out this spec."""

    def __init__(self, holder: Holder | None, spec_hash: str) -> None:
        self.holder = holder
        self.spec_hash = spec_hash
        who = f"being run as {holder}" if holder else "held by another process here"
        super().__init__(
            f"spec {spec_hash} is {who}; --wait waits for it, --attach shows its output, --set seed=N runs another"
        )


def take(spec_hash: str, name: str, store: str) -> Lease:
    """Hold a spec. What an earlier holder left behind must be settled first.

    Raises:
        HeldError: another process holds it.
        RunError: an earlier holder's end is not told yet.
    """
    left = holder(spec_hash)
    lock = try_lock(spec_hash, SETTLE_S if left is not None and _is_dead(left) else GLANCE_S)
    found = holder(spec_hash)
    if lock is None or (found is not None and _lives_elsewhere(found)):
        if lock is not None:
            lock.release()
        raise HeldError(found, spec_hash)
    if found is not None:
        lock.release()
        raise RunError(f"what {found} left behind could not be settled (see above); mend that, then run it again")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    launch = secrets.token_hex(8)
    return Lease(Holder(spec_hash, name, store, machine(), os.getpid(), now, launch), lock)


def holder(spec_hash: str) -> Holder | None:
    """Who holds or held a spec, by the file; None where nobody does."""
    return _read(_path(spec_hash))


def is_held(spec_hash: str) -> bool:
    """Whether a living process holds a spec."""
    lock = try_lock(spec_hash)
    if lock is None:
        return True
    lock.release()
    found = holder(spec_hash)
    return found is not None and _lives_elsewhere(found)


def held_runs() -> set[str]:
    """Ids of the runs that living processes carry out."""
    held = [h for path in _folder().glob("*.json") if (h := _read(path)) is not None and is_held(h.spec_hash)]
    return {h.run_id for h in held if h.run_id}


def stale() -> Iterator[Holder]:
    """The holders that died without a word, each held while it is looked at; `forget` it once its end is told."""
    for path in sorted(_folder().glob("*.json")):
        left = _read(path)
        lock = try_lock(path.stem, GLANCE_S if left is not None and _is_dead(left) else 0)
        if lock is None:
            continue
        try:
            left = _read(path)
            if left is not None and not _lives_elsewhere(left):
                yield left
        finally:
            lock.release()


def forget(left: Holder) -> None:
    """Remove the lease of a holder that died."""
    remove_kept(_path(left.spec_hash))


def machine() -> str:
    """This machine's name."""
    return socket.gethostname()


def _lives_elsewhere(found: Holder) -> bool:
    """Whether a holder on another machine has renewed its lease of late, by the shared file system's own clock."""
    if found.machine == machine():
        return False
    path = _path(found.spec_hash)
    probe = path.with_suffix(".now")
    try:
        probe.write_text("")
        now_s = probe.stat().st_mtime
        probe.unlink()
        return now_s - path.stat().st_mtime < STALE_AFTER_S
    except OSError:
        return True  # can't tell: better to leave it alone


def _is_dead(found: Holder) -> bool:
    if found.machine != machine():
        return False
    try:
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # another user's process
    return False


def try_lock(spec_hash: str, timeout_s: float = 0) -> FileLock | None:
    """The kernel's lock on a spec, held; None where another process has it."""
    _folder().mkdir(parents=True, exist_ok=True)
    lock = FileLock(_folder() / f"{spec_hash}.lock")
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        return None
    return lock


def _folder() -> Path:
    return home().leases


def _path(spec_hash: str) -> Path:
    return _folder() / f"{spec_hash}.json"


def _write(found: Holder) -> None:
    write_kept(_path(found.spec_hash), dataclasses.asdict(found))


def _read(path: Path) -> Holder | None:
    content = read_kept(path)
    return Holder(**content) if content else None
