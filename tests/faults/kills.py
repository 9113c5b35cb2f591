"""Faults that end the process, ask it to stop, or set its clock.

kill_at_point(case, {"point": "before old checkpoints are pruned", "strike": {...}})
"""

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.faults.case import KILLED, STOPPED, Case
from tests.faults.forked import REPOSITORY
from tests.faults.points import POINTS, names

Params = dict[str, Any]
DIED_BY_SIGTERM, ABORTED, DIED_BY_SIGINT = -15, 1, -2
MAX_IN_A_ROW = 4
HOUR_S, DAY_S = 3600, 86400
MAKE_OLD = "import sys, pathlib; from tests.track import test_database as t; t.make_old(pathlib.Path(sys.argv[1]))"
_lock = threading.Lock()
MID_RUN = ("after a step", "within a checkpoint's file", "before points are sent", "before an evaluation")


def draw_point(rng: random.Random, scene: Any = "run") -> Params:
    """A named point and its call."""
    name = rng.choice(names(scene))
    return {"point": name, "strike": POINTS[name].strike(rng)}


def kill_at_point(case: Case, params: Params) -> None:
    """SIGKILL at a named point of a run."""
    case.with_database()
    _killed(case, params)


def kill_at_start(case: Case, params: Params) -> None:
    """SIGKILL while the database is made."""
    _killed(case, params)


def kill_in_migration(case: Case, params: Params) -> None:
    """SIGKILL while an older MLflow's database is migrated: its runs are there afterwards."""
    old = old_database(case.scene.folder / "old")
    case.with_database()
    shutil.copyfile(old, case.mlruns / "mlflow.db")
    _killed(case, params)
    case.expect(case.run(words=("runs",)), (0,), ("old run",))


def old_database(folder: Path) -> Path:
    """The database of an older MLflow, made once."""
    with _lock:
        database = folder / "mlflow.db"
        if not database.exists():
            folder.mkdir(exist_ok=True)
            making = folder / "making.db"
            subprocess.run(
                [sys.executable, "-c", MAKE_OLD, str(making)], cwd=REPOSITORY, check=True, capture_output=True
            )
            making.rename(database)
        return database


def _killed(case: Case, params: Params) -> None:
    child = case.run([params["strike"]])
    case.has_happened = case.num_happened() == 1
    case.expect(child, (KILLED,) if case.has_happened else (0,))


def draw_restart(rng: random.Random) -> Params:
    """A kill in mid-run, then a named point of the next start."""
    return {"first": draw_mid(rng), **draw_point(rng, "restart")}


def draw_mid(rng: random.Random) -> Params:
    """A named point at which a run stands in front of its journal and has not ended."""
    name = rng.choice(MID_RUN)
    return {"point": name, "strike": POINTS[name].strike(rng)}


def kill_at_restart(case: Case, params: Params) -> None:
    """SIGKILL in mid-run, then at a named point of the start that finds this out."""
    case.with_database()
    _killed(case, params["first"])
    child = case.run([params["strike"]])
    case.has_happened = case.num_happened() == 2
    case.expect(child, (KILLED,) if case.has_happened else (0,))


def draw_row(rng: random.Random) -> Params:
    """Named points of several starts."""
    rest = [draw_point(rng, rng.choice(("run", "restart"))) for _ in range(rng.randint(1, MAX_IN_A_ROW - 1))]
    return {"kills": [draw_mid(rng), *rest]}


def kill_in_a_row(case: Case, params: Params) -> None:
    """Several SIGKILLs on one run; those behind the first may come too late to happen."""
    case.with_database()
    for number, kill in enumerate(params["kills"]):
        before = case.num_happened()
        child = case.run([kill["strike"]])
        happened = case.num_happened() > before
        if not number:
            case.has_happened = happened
        case.expect(child, (KILLED,) if happened else (0,))
    case.words.append(f"{case.num_happened()} of {len(params['kills'])} kills came")


def draw_time(rng: random.Random) -> Params:
    """A moment as a share of an undisturbed run's duration."""
    return {"share": round(rng.uniform(0.02, 0.85), 3), "gap_s": round(rng.uniform(0.0, 0.8), 3)}


def at_random_time(case: Case, params: Params, number: int, codes: tuple[int, ...]) -> None:
    """A signal at some moment; where the command was quicker, once more in half the time."""
    for share in (params["share"], params["share"] / 2):
        shutil.rmtree(case.mlruns, ignore_errors=True)
        case.with_database()
        child = case.start()
        time.sleep(share * case.scene.reference.duration_s)
        case.has_happened = not child.is_over()
        child.signal(number)
        if params.get("twice"):
            time.sleep(params["gap_s"])
            child.signal(number)
        case.wait(child)
        case.expect(child, (*codes, 0))
        case.words.append(f"ended with {child.code}")
        if case.has_happened:
            return


def kill_at_any_time(case: Case, params: Params) -> None:
    """SIGKILL at a random moment."""
    at_random_time(case, params, signal.SIGKILL, (KILLED,))


def sigterm(case: Case, params: Params) -> None:
    """SIGTERM at a random moment: a checkpoint and exit code 130; before the run is made, it just ends."""
    at_random_time(case, params, signal.SIGTERM, (STOPPED, DIED_BY_SIGTERM))


def sigint(case: Case, params: Params) -> None:
    """SIGINT at a random moment: a checkpoint and exit code 130; before the run is made, it aborts."""
    at_random_time(case, params, signal.SIGINT, (STOPPED, ABORTED))


def two_sigints(case: Case, params: Params) -> None:
    """Two SIGINTs: it ends at once, perhaps without a checkpoint."""
    at_random_time(case, {**params, "twice": True}, signal.SIGINT, (STOPPED, ABORTED, DIED_BY_SIGINT))


def draw_jump(rng: random.Random) -> Params:
    """How far the clock jumps, and when; perhaps back again."""
    by_s = rng.choice((-DAY_S, DAY_S, -HOUR_S, HOUR_S))
    n = rng.randint(1, 29)
    found: Params = {"by_s": by_s, "n": n}
    if rng.random() < 0.5:
        found["kill"] = draw_mid(rng)
    if n < 25 and rng.random() < 0.5:
        found["back_n"] = n + rng.randint(1, 4)
    return found


def clock_jump(case: Case, params: Params) -> None:
    """The wall clock is set in mid-run, perhaps back again, perhaps followed by a kill and a start at the true time."""
    case.with_database()
    step = "clipexp.train.training:Training.step"
    strikes = [{"do": "jump", "at": step, "when": "after", "n": params["n"], "by_s": params["by_s"]}]
    if "back_n" in params:
        strikes.append({"do": "jump", "at": step, "when": "after", "n": params["back_n"], "by_s": -params["by_s"]})
    if "kill" in params:
        strikes.append(params["kill"]["strike"])
    child = case.run(strikes)
    case.has_happened = case.num_happened() >= 1
    case.expect(child, (0, KILLED) if "kill" in params else (0,))
