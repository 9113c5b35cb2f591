"""Faults of the disk: full, limited, or not to be written.

fill(case, {"num_bytes": 20000, "n": 9, "hold_s": 0.5, "stop": False})
"""

import contextlib
import errno
import os
import random
import resource
import signal
import subprocess
import time
from typing import Any

from tests.faults.case import KILLED, STOPPED, USER_ERROR, Case
from tests.faults.forked import Child
from tests.faults.kills import draw_mid
from tests.faults.scene import BATCH_SIZE

Params = dict[str, Any]
PAUSES = ("can't write", "PAUSED", "can't be written")
PAUSE_WITHIN_S = 60.0
TMPFS_MB = 64
MAX_FILLS = 100  # each fails only where a run wrote in the microseconds between two calls
STEP = "clipexp.train.training:Training.step"


def draw_limit(rng: random.Random) -> Params:
    """From which step on files may not grow beyond how many bytes."""
    num_bytes = rng.choice((0, 1_000, 8_000, 60_000, 250_000))
    return {"num_bytes": num_bytes, "n": rng.randint(2, 26), **_hold(rng)}


def _hold(rng: random.Random) -> Params:
    return {"hold_s": round(rng.uniform(0, 1.5), 2), "stop": rng.random() < 0.3}


def limit(case: Case, params: Params) -> None:
    """No file may grow, until room is made from outside; or it is stopped in its pause."""
    case.with_database()
    strike = {"do": "fill", "at": STEP, "when": "after", "n": params["n"], "num_bytes": params["num_bytes"]}
    child = case.start([strike])

    def make_room() -> None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    _pause(case, child, params, make_room)


def _pause(case: Case, child: Child, params: Params, make_room: Any) -> None:
    """Wait for a pause, hold it, then stop the run or make room."""
    case.has_happened = child.wait_for(PAUSES, PAUSE_WITHIN_S)
    time.sleep(params["hold_s"])
    if params["stop"]:
        child.signal(signal.SIGTERM)
        case.wait(child)
        make_room()
        case.expect(child, (STOPPED, USER_ERROR) if case.has_happened else (0, STOPPED))
    else:
        make_room()
        case.wait(child)
        case.expect(child, (0,))
    case.may_owe = True
    case.words.append(f"ended with {child.code}")


def mount(case: Case) -> bool:
    """A small file system of its own under `mlruns/`; whether this machine lets us."""
    case.mlruns.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MB}m", "tmpfs", str(case.mlruns)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        case.words.append("SKIPPED: this machine does not let us mount a tmpfs")
        case.has_happened = False
        return False
    case.undo.append(lambda: subprocess.run(["umount", "-l", str(case.mlruns)], check=False))
    case.with_database()
    return True


def draw_full(rng: random.Random) -> Params:
    """At which step the disk fills, and how many bytes are left."""
    return {"n": rng.randint(2, 24), "spare_bytes": rng.choice((0, 0, 4096, 40_000, 300_000)), **_hold(rng)}


def full(case: Case, params: Params) -> None:
    """The disk is filled by somebody else in mid-run, and emptied again."""
    if not mount(case):
        return
    child = case.start()
    case.wait_until(child, params["n"] * BATCH_SIZE)
    ballast = case.mlruns / "ballast"
    with ballast.open("wb") as file:
        _fill(file.fileno(), params["spare_bytes"])
    _pause(case, child, params, lambda: ballast.unlink(missing_ok=True))


def _fill(file: int, spare_bytes: int) -> None:
    """Take all but a few bytes of a file's disk, to which others are writing meanwhile."""
    for _ in range(MAX_FILLS):
        stat = os.fstatvfs(file)
        try:
            os.posix_fallocate(file, 0, max(4096, stat.f_bavail * stat.f_frsize - spare_bytes))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        else:
            return
    raise OSError(f"the disk could not be filled in {MAX_FILLS} tries")


def draw_read_only(rng: random.Random) -> Params:
    """Before the first start, or behind a kill."""
    return {"kill": draw_mid(rng)} if rng.random() < 0.6 else {}


def read_only(case: Case, params: Params) -> None:
    """`mlruns/` is read-only at a start: a clear error, and nothing is made or changed."""
    if not mount(case):
        return
    if params:
        case.expect(case.run([params["kill"]["strike"]]), (KILLED,))
    before = _listing(case)
    _remount(case, "ro")
    case.undo.append(lambda: _remount(case, "rw"))
    case.expect(case.run(), (USER_ERROR,), ("can't write to",))
    _remount(case, "rw")
    if _listing(case) != before:
        case.problems.append("something was changed on a read-only disk")


def _remount(case: Case, way: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{way}", str(case.mlruns)], check=True, capture_output=True)


def _listing(case: Case) -> list[tuple[str, int]]:
    files = (path for path in case.mlruns.rglob("*") if path.is_file())
    return sorted((str(path), path.stat().st_size) for path in files if not path.name.endswith(".lock"))


def draw_locked(rng: random.Random) -> Params:
    """Which folder can't be written for a while, from which step on."""
    return {"folder": rng.choice(("checkpoints", "journals", "leases")), "n": rng.randint(2, 20), **_hold(rng)}


def locked(case: Case, params: Params) -> None:
    """A folder can't be written for a while in mid-run; a mount with open files can't be made read-only."""
    case.with_database()
    child = case.start()
    case.wait_until(child, params["n"] * BATCH_SIZE)
    folder = case.mlruns / params["folder"]
    if params["folder"] != "leases":
        folder /= case.journal.name
    folder.mkdir(exist_ok=True)

    def unlock() -> None:
        subprocess.run(["chattr", "-i", str(folder)], check=False, capture_output=True)

    case.undo.append(unlock)
    if subprocess.run(["chattr", "+i", str(folder)], check=False, capture_output=True).returncode:
        case.words.append("SKIPPED: this file system has no immutable folders")
        case.has_happened = False
    elif params["folder"] == "checkpoints":
        _pause(case, child, params, unlock)
        return
    time.sleep(params["hold_s"])
    unlock()
    case.wait(child)
    case.expect(child, (0,))
