"""The table of faults: what each does to a run, and what must come of it.

KINDS["kill at a point"].act(case, KINDS["kill at a point"].draw(rng))
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.faults import disk, kills, rot, server
from tests.faults.case import Case

Params = dict[str, Any]
SAME = "restarted, it ends with every point once, true states and the same bits"


@dataclass(frozen=True)
class Kind:
    """A kind of fault. weight: how often it is drawn beside the others."""

    does: str
    must: str
    draw: Callable[[random.Random], Params]
    act: Callable[[Case, Params], None]
    weight: int = 1


def _at_start(rng: random.Random) -> Params:
    return kills.draw_point(rng, "empty")


def _in_migration(rng: random.Random) -> Params:
    return kills.draw_point(rng, "old")


KINDS: Mapping[str, Kind] = {
    "kill at a point": Kind("SIGKILL at a named point", SAME, kills.draw_point, kills.kill_at_point, 12),
    "kill at a restart": Kind(
        "SIGKILL in mid-run, then at a named point of the next start",
        SAME,
        kills.draw_restart,
        kills.kill_at_restart,
        4,
    ),
    "kill at the first start": Kind("SIGKILL while the database is made", SAME, _at_start, kills.kill_at_start),
    "kill in a migration": Kind(
        "SIGKILL while an older MLflow's database is migrated", SAME, _in_migration, kills.kill_in_migration
    ),
    "kills in a row": Kind("two to four SIGKILLs on one run", SAME, kills.draw_row, kills.kill_in_a_row, 4),
    "kill at any time": Kind("SIGKILL at a random moment", SAME, kills.draw_time, kills.kill_at_any_time, 3),
    "SIGTERM": Kind("SIGTERM at a random moment", f"exit code 130; {SAME}", kills.draw_time, kills.sigterm, 2),
    "SIGINT": Kind("SIGINT at a random moment", f"exit code 130; {SAME}", kills.draw_time, kills.sigint, 2),
    "two SIGINTs": Kind(
        "two SIGINTs, up to 0.8 s apart", f"it ends at once; {SAME}", kills.draw_time, kills.two_sigints, 2
    ),
    "clock jump": Kind(
        "the wall clock is set by an hour or a day",
        f"durations stay sane; {SAME}",
        kills.draw_jump,
        kills.clock_jump,
        2,
    ),
    "server away": Kind(
        "MLflow's server refuses or hangs for seconds, or to the end",
        f"what is owed is told; {SAME}",
        server.draw_away,
        server.away,
        4,
    ),
    "server away at a start": Kind(
        "MLflow's server refuses or hangs at a start",
        f"a run goes on; a first start is an error; {SAME}",
        server.draw_away_at_start,
        server.away_at_start,
        3,
    ),
    "server cut off": Kind("answers of MLflow's server are cut in the middle", SAME, server.draw_cut, server.cut, 3),
    "file size limit": Kind(
        "no file may grow any more, until room is made",
        f"it pauses, says so and goes on; {SAME}",
        disk.draw_limit,
        disk.limit,
        4,
    ),
    "disk full": Kind(
        "a small disk is filled, then emptied", f"it pauses, says so and goes on; {SAME}", disk.draw_full, disk.full, 3
    ),
    "read-only at a start": Kind(
        "mlruns/ is read-only at a start",
        f"a clear error, nothing made; {SAME}",
        disk.draw_read_only,
        disk.read_only,
        1,
    ),
    "locked folder": Kind("a folder can't be written for a while in mid-run", SAME, disk.draw_locked, disk.locked, 2),
    "checkpoint damaged": Kind(
        "the newest checkpoint is cut or a bit flipped",
        f"told and set aside; {SAME}",
        rot.draw_checkpoint,
        rot.rot_checkpoint,
        5,
    ),
    "all checkpoints damaged": Kind(
        "every checkpoint is cut or a bit flipped",
        f"a clear error, --from-start mends it; {SAME}",
        rot.draw_checkpoint,
        rot.rot_all_checkpoints,
        2,
    ),
    "journal damaged": Kind(
        "a copy of the journal, or both, are cut or a bit flipped",
        f"mended, or told; {SAME}",
        rot.draw_journal,
        rot.rot_journal,
        4,
    ),
    "header damaged": Kind(
        "a copy of run.json, or both, are cut or a bit flipped",
        f"mended, or another run is made; {SAME}",
        rot.draw_kept,
        rot.rot_header,
        2,
    ),
    "delivery note damaged": Kind(
        "delivered.json is cut or a bit flipped", SAME, rot.draw_delivered, rot.rot_delivered, 2
    ),
    "finished run damaged": Kind(
        "a file of a finished run is cut or a bit flipped", SAME, rot.draw_finished, rot.rot_finished, 3
    ),
    "prepared set damaged": Kind(
        "a file of the prepared set is cut or a bit flipped",
        f"a clear error, restoring mends it; {SAME}",
        rot.draw_store,
        rot.rot_store,
        2,
    ),
}
