"""Faults that change bytes on the disk: cut files and flipped bits, in whatever a run reads again.

rot_checkpoint(case, {"file": "model.safetensors", "cut": 7, "kill": {...}})
"""

import random
import shutil
from pathlib import Path
from typing import Any

from tests.faults.case import KILLED, USER_ERROR, Case
from tests.faults.points import POINTS
from tests.faults.scene import write_spec

Params = dict[str, Any]
NUM_LENGTHS = 20
CHECKPOINT_FILES = ("model.safetensors", "optimizer.safetensors", "meta.json")
KEPT = ("run.json", "run.json.copy")
LATE = "before a checkpoint is saved"  # where at least two whole ones stand
UNREAD = {"LICENCE.txt"}  # what no run reads decides nothing


def _harm(rng: random.Random) -> Params:
    """Cut it at one of 20 lengths, or flip a bit."""
    if rng.random() < 0.5:
        return {"cut": rng.randrange(NUM_LENGTHS)}
    return {"flip": round(rng.random(), 6), "bit": rng.randrange(8)}


def harm(path: Path, params: Params) -> None:
    """Damage a file as told."""
    content = bytearray(path.read_bytes())
    if "cut" in params:
        content = content[: len(content) * params["cut"] // NUM_LENGTHS]
    else:
        content[int(len(content) * params["flip"])] ^= 1 << params["bit"]
    with path.open("r+b") as file:  # in place, as a disk would: a hard link shows it too
        file.truncate(len(content))
        file.write(content)


def _late(rng: random.Random) -> Params:
    strike = POINTS[LATE].strike(rng) | {"n": rng.randint(4, 9)}
    return {"kill": strike}


def _killed(case: Case, params: Params) -> None:
    case.with_database()
    child = case.run([params["kill"]])
    case.has_happened = case.num_happened() == 1
    case.expect(child, (KILLED,))


def draw_checkpoint(rng: random.Random) -> Params:
    """A file of the newest checkpoint, and its damage."""
    return {"file": rng.choice(CHECKPOINT_FILES), **_harm(rng), **_late(rng)}


def rot_checkpoint(case: Case, params: Params) -> None:
    """The newest checkpoint is damaged behind a kill: told, set aside, and the one before is taken."""
    _killed(case, params)
    harm(sorted(case.checkpoints.glob("samples-*"))[-1] / params["file"], params)
    child = case.run()
    case.expect(child, (0,), ("damaged",))
    case.is_wrong_load = "damaged" not in child.output()


def rot_all_checkpoints(case: Case, params: Params) -> None:
    """All checkpoints are damaged: a clear error that names --from-start, which gives the same bits."""
    _killed(case, params)
    done: set[int] = set()
    for folder in [*case.checkpoints.glob("samples-*"), *case.checkpoints.glob("best")]:
        path = folder / params["file"]
        if path.stat().st_ino not in done:
            done.add(path.stat().st_ino)
            harm(path, params)
    child = case.run()
    case.expect(child, (USER_ERROR,), ("--from-start",))
    case.is_wrong_load = child.code == 0
    case.expect(case.run(words=("run", "run.yaml", "--from-start")), (0,))


def draw_journal(rng: random.Random) -> Params:
    """One of the journal's copies or both, cut or with flipped bits."""
    which = rng.choice(("events.jsonl", "events.copy.jsonl", "both"))
    return {"file": which, **_harm(rng), **_late(rng)}


def rot_journal(case: Case, params: Params) -> None:
    """One copy is damaged behind a kill: nothing is lost. Both at one place: what is lost is told."""
    _killed(case, params)
    files = ("events.jsonl", "events.copy.jsonl") if params["file"] == "both" else (params["file"],)
    for name in files:
        harm(case.journal / name, params)
    child = case.run()
    case.expect(child, (0,))
    case.allows_loss = params["file"] == "both" and "LOST" in child.output()


def draw_kept(rng: random.Random) -> Params:
    """One of a header's copies, or both."""
    return {"files": rng.choice(((KEPT[0],), (KEPT[1],), KEPT)), **_harm(rng), **_late(rng)}


def rot_header(case: Case, params: Params) -> None:
    """The run's header is damaged behind a kill: mended from its copy; where both are, another run is made."""
    _killed(case, params)
    journal = case.journal
    for name in params["files"]:
        harm(journal / name, params)


def rot_delivered(case: Case, params: Params) -> None:
    """The note on what was delivered is damaged: all is sent again, and nothing is doubled."""
    _killed(case, params)
    path = case.journal / "delivered.json"
    case.has_happened = path.exists()
    if path.exists():
        harm(path, params)


def draw_delivered(rng: random.Random) -> Params:
    """A kill late enough, and the damage."""
    return {**_harm(rng), **_late(rng)}


def draw_finished(rng: random.Random) -> Params:
    """A file of a finished run."""
    names = ("events.parquet", "events.sha256", "events.copy.jsonl", "summary.json", "summary.json.copy", "run.json")
    return {"file": rng.choice((*names, "run.json.copy", "delivered.json")), **_harm(rng)}


def rot_finished(case: Case, params: Params) -> None:
    """A file of a finished run is damaged: it is as finished as before, with every point."""
    case.with_database()
    case.expect(case.run(), (0,))
    harm(case.journal / params["file"], params)
    case.may_owe = params["file"] == "delivered.json"  # then all is sent again
    case.expect(case.run(), (0,), ("finished already",))
    case.expect(case.run(words=("runs", "points", case.journal.name[:8])), (0,))


def draw_store(rng: random.Random) -> Params:
    """A file of the prepared set, by its place in the list of all."""
    return {"file_idx": rng.randrange(1000), **_harm(rng), **_late(rng)}


def rot_store(case: Case, params: Params) -> None:
    """A file of the prepared set is damaged behind a kill: a clear error; once it is whole, the same bits."""
    store = case.folder / "store"
    shutil.copytree(case.scene.store, store)
    write_spec(case.folder, store, case.name)
    _killed(case, params)
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.name not in UNREAD)
    path = files[params["file_idx"] % len(files)]
    whole = path.read_bytes()
    harm(path, params)
    case.words.append(f"{path.relative_to(store)} damaged")
    child = case.run()
    case.expect(child, (USER_ERROR,), ("clipexp data prepare",))
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(whole)
