"""What can go from `mlruns/`: found first, then removed so that a kill leaves nothing half under its own name.

    with alone():
        found = find()
        problems = remove(found.items)

What a living process holds stays, and so does all that an unfinished run needs to go on. Half-made databases are not
among what is found: every command that opens the database removes those, under its lock.
"""

import contextlib
import dataclasses
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from clipexp.errors import RunError, TrackingError
from clipexp.space import mb
from clipexp.track import lease
from clipexp.track.checkpoint_names import DAMAGED, NUMBERED, OLD, TMP
from clipexp.track.header import RunHeader, headers, uri_of
from clipexp.track.home import EXPERIMENT, home
from clipexp.track.journal import end_reason, records
from clipexp.track.lease import held_runs, holder
from clipexp.track.mlflow_store import first_line, open_store, tracking_uri

if TYPE_CHECKING:
    pass

LEFTOVER = re.compile(r"(?:best|samples-\d{12,})(\.tmp|\.old|\.damaged(?:-\d+)?)")
WHY_LEFT = {
    TMP: "half written or half removed",
    OLD: "another took its place",
    DAMAGED: "damaged; the run went on from another",
}
TRASH, STAGING = ".trash", "importing"
IMPORTING = "importing"  # held like a spec while runs are imported through the folder STAGING
OLD_AFTER_S = 600  # what is younger may be in the making by a process that holds nothing yet
_Inode = tuple[int, int]


@dataclass(frozen=True)
class Item:
    """A file or folder that can go.

    spec_hash: of its run, to be held while it goes; '' where no run has it. num_bytes: what its removal frees.
    """

    path: Path
    kind: str
    reason: str
    spec_hash: str = ""
    num_bytes: int = 0

    def to_json(self) -> dict[str, str | int]:
        """The object of `clipexp runs gc --json`."""
        return {"path": str(self.path), "kind": self.kind, "reason": self.reason, "bytes": self.num_bytes}


@dataclass(frozen=True)
class Found:
    """What can go, and what a person should know about what stays."""

    items: tuple[Item, ...]
    notes: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        """What is free once all of it is gone."""
        return sum(item.num_bytes for item in self.items)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Only one process cleans at a time. Raises RunError if another does."""
    if not home().root.exists():
        yield
        return
    lock = FileLock(home().root / ".cleaning.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(f"another `clipexp runs gc` cleans {home().root.resolve()}; wait for it") from error
    try:
        yield
    finally:
        lock.release()


def find() -> Found:
    """Look for what can go; nothing is changed. A store that doesn't answer is told, and nothing goes on its word."""
    known = list(headers())  # first of all: MLflow, asked later, knows every run that has a header
    held = {path.stem for path in home().leases.glob("*.json")}
    at_work = [header for header in known if header.spec_hash in held]
    notes = [f"{h.name} (run {h.run_id[:8]}): its spec is at work, so it stays as it is" for h in at_work]
    free = [header for header in known if header.spec_hash not in held]
    busy_ids = held_runs() | {header.run_id for header in at_work}
    nameless = [folder for folder in _nameless_journals(known) if folder.name not in busy_ids]
    orphans = [folder for folder in _orphans() if folder.name not in busy_ids]
    stores = _Stores()
    items: list[Item] = []
    for header in free:
        if reason := stores.why_gone({uri_of(header.store)}, header.run_id, header.created_ms):
            items += _all_of(header, reason)
        else:
            items += _checkpoints_of(header)
            items += _journal_leftovers(header)
    uris = {tracking_uri(), home().tracking_uri, *(uri_of(header.store) for header in known)}
    for folder in orphans:
        if reason := stores.why_gone(uris, folder.name, int(folder.stat().st_mtime * 1000)):
            items.append(Item(folder, "orphaned checkpoints", f"it has no journal, and it is {reason}"))
    items += _empty_journals(nameless)
    items += _leftovers_of_commands()
    return Found(tuple(_with_bytes(items)), (*notes, *stores.notes(), *_damaged_journals(nameless), *_backups()))


def _all_of(header: RunHeader, reason: str) -> Iterator[Item]:
    """Checkpoints before the journal: without a journal, fewer would know what they are."""
    for top, what in ((home().checkpoints, "checkpoints"), (home().journals, "journal")):
        path = top / header.run_id
        if path.is_dir() and not path.is_symlink():
            yield Item(path, f"deleted run's {what}", f"{header.name} is {reason}", header.spec_hash)


def _checkpoints_of(header: RunHeader) -> Iterator[Item]:
    """Numbered ones behind a finished run's newest, and leftovers."""
    root = home().checkpoints / header.run_id
    if root.is_symlink() or not root.is_dir():
        return
    numbered = sorted((p for p in root.iterdir() if NUMBERED.fullmatch(p.name)), key=lambda p: int(p.name[8:]))
    if len(numbered) > 1 and end_reason(header.folder) == "finished":
        for path in numbered[:-1]:
            yield Item(path, "old checkpoint", f"{header.name} is finished; its newest stays", header.spec_hash)
    for path in sorted(root.iterdir()):
        if match := LEFTOVER.fullmatch(path.name):
            suffix = match[1].partition("-")[0]
            # without the one under its name, NAME.old is the only one there is, and `recover` renames it back
            if suffix != ".old" or path.with_suffix("").exists():
                yield Item(path, "checkpoint's leftover", f"{header.name}: {WHY_LEFT[suffix]}", header.spec_hash)


def _journal_leftovers(header: RunHeader) -> Iterator[Item]:
    for path in sorted([*header.folder.glob("*.tmp"), *header.outbox.glob(".*.tmp")]):
        if _is_old(path):
            yield Item(path, "journal's leftover", f"{header.name}: half written", header.spec_hash)


def _nameless_journals(known: Iterable[RunHeader]) -> list[Path]:
    named = {header.run_id for header in known}
    found = [path for path in home().journals.glob("*") if path.is_dir() and not path.is_symlink()]
    return sorted(path for path in found if path.name not in (*named, TRASH))


def _has_events(folder: Path) -> bool:
    return bool(records(folder)) or any(path.stat().st_size for path in folder.glob("events.*"))


def _empty_journals(nameless: Iterable[Path]) -> Iterator[Item]:
    for folder in nameless:
        if not _has_events(folder) and _is_old(folder):
            yield Item(folder, "empty journal", "a launch died before it could say what it is")


def _damaged_journals(nameless: Iterable[Path]) -> Iterator[str]:
    for folder in nameless:
        if _has_events(folder):
            yield f"{folder} has events, but no header that can be read: it stays; remove it by hand if nobody needs it"


def _orphans() -> list[Path]:
    found = [path for path in home().checkpoints.glob("*") if path.is_dir() and not path.is_symlink()]
    return sorted(path for path in found if path.name != TRASH and not (home().journals / path.name).exists())


def _leftovers_of_commands() -> Iterator[Item]:
    for top in (home().checkpoints, home().journals, home().root):
        for path in sorted((top / TRASH).glob("*")):
            yield Item(path, "leftover", "an earlier cleaning was cut off")
    for folder in (home().root, home().leases, home().verified):
        for path in sorted(folder.glob("*.tmp")):
            if _is_old(path):
                yield Item(path, "leftover", "half written")
    staging = home().root / STAGING
    if staging.exists() and not lease.is_held(IMPORTING):
        yield Item(staging, "leftover", "an import was cut off; import the file again", IMPORTING)


def _backups() -> Iterator[str]:
    for path in sorted(home().root.glob(f"{home().database.name}.before-*")):
        yield f"{path} ({mb(path.stat().st_size)}) is a backup of the database; remove it by hand if nobody needs it"


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > OLD_AFTER_S


@dataclass(frozen=True)
class _Store:
    """What a store says: its runs' stages (active, deleted) by id, and when its experiment was made (Unix, ms)."""

    stage_by_id: Mapping[str, str]
    made_ms: int


class _Stores:
    """What MLflow's stores say of runs; each is asked once."""

    def __init__(self) -> None:
        self._stores: dict[str, _Store | TrackingError] = {}
        self._kept: dict[str, list[str]] = {}  # ids by why they stay

    def why_gone(self, uris: Iterable[str], run_id: str, made_ms: int) -> str:
        """How the stores say that a run is gone; '' where one has it, or where one can't say."""
        words = []
        for uri in sorted(uris):
            if uri not in self._stores:
                self._stores[uri] = _ask(uri)
            store = self._stores[uri]
            if isinstance(store, TrackingError):
                self._keep(run_id, f"nothing is removed on the word of {uri}, which does not answer: {store}")
                return ""
            stage = store.stage_by_id.get(run_id, "gone")
            if stage == "active":
                return ""
            if stage == "gone" and self._may_be_lost(uri, store, run_id, made_ms):
                return ""
            words.append("deleted in MLflow" if stage == "deleted" else "unknown to MLflow")
        return words[0] if words else ""

    def _may_be_lost(self, uri: str, store: _Store, run_id: str, made_ms: int) -> bool:
        """Whether the database rather than the run may be what went: made anew, or an older one put back."""
        remedy = "`clipexp runs import mlruns/journals/RUN_ID` takes such a run into MLflow again"
        if made_ms < store.made_ms:
            self._keep(run_id, f"{uri} does not know it, but is younger than it; {remedy}")
        elif (home().artifacts / run_id).exists():
            self._keep(run_id, f"{uri} does not know it, but its artifacts are here; {remedy}")
        else:
            return False
        return True

    def _keep(self, run_id: str, why: str) -> None:
        self._kept.setdefault(why, []).append(run_id[:8])

    def notes(self) -> Iterator[str]:
        """What could not be told, a line a reason."""
        for why, ids in self._kept.items():
            yield f"STAYS: {len(ids)} run(s) ({', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''}): {why}"


def _ask(uri: str) -> "_Store | TrackingError":
    from mlflow.entities import ViewType
    from mlflow.exceptions import MlflowException

    try:
        client = open_store(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return TrackingError(f"it has no experiment {EXPERIMENT}")
        found: dict[str, str] = {}
        token = None
        while True:
            page = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL, page_token=token)
            found |= {run.info.run_id: run.info.lifecycle_stage for run in page}
            if not (token := page.token):
                return _Store(found, experiment.creation_time or 0)
    except TrackingError as error:
        return error
    except MlflowException as error:
        return TrackingError(first_line(error))


def _with_bytes(items: Sequence[Item]) -> Iterator[Item]:
    """A file under several names counts once, and only where the last of its names goes."""
    names: Counter[_Inode] = Counter(key for item in items for key, _, _ in _files(item.path))
    counted: set[_Inode] = set()
    for item in items:
        num_bytes = 0
        for key, size, num_links in _files(item.path):
            if key not in counted and names[key] >= num_links:
                counted.add(key)
                num_bytes += size
        yield dataclasses.replace(item, num_bytes=num_bytes)


def _files(path: Path) -> Iterator[tuple[_Inode, int, int]]:
    """Inode, bytes and number of names of a file, or of each file below a folder."""
    for file in [path] if path.is_file() else path.rglob("*"):
        stat = file.lstat()
        if not file.is_dir():
            yield (stat.st_dev, stat.st_ino), stat.st_size, stat.st_nlink


def remove(items: Iterable[Item]) -> list[str]:
    """Remove what was found; returns what could not be removed and why, a line each. The rest is gone.

    A run's spec is held while its files are renamed into the trash, so that no process takes the run up meanwhile.
    """
    problems: list[str] = []
    for spec_hash, group in groupby(items, key=lambda item: item.spec_hash):
        trashed: list[Path] = []
        with _hold(spec_hash) as is_free:
            for item in group:
                try:
                    if is_free:
                        trashed += _to_trash(item.path)
                    else:
                        problems.append(f"{item.path}: its run has just begun to work; left as it is")
                except OSError as error:
                    problems.append(f"{item.path}: {error.strerror or error}")
        for path in trashed:
            try:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            except OSError as error:
                problems.append(f"{path}: {error.strerror or error}")
    for top in (home().checkpoints, home().journals, home().root):
        with contextlib.suppress(OSError):  # there is none, or something in it could not be removed: that is told
            (top / TRASH).rmdir()
    return problems


@contextlib.contextmanager
def _hold(spec_hash: str) -> Iterator[bool]:
    """Hold a spec without saying so; whether it could be had, and nobody on another machine or dead has it."""
    if not spec_hash:
        yield True
        return
    lock = lease.try_lock(spec_hash)
    try:
        yield lock is not None and holder(spec_hash) is None
    finally:
        if lock is not None:
            lock.release()


def _to_trash(path: Path) -> Iterator[Path]:
    """Rename something so that nobody takes it for whole; its new place. Nothing where it is gone already."""
    if path.parent.name == TRASH:
        yield path
        return
    top = next(top for top in (home().checkpoints, home().journals, home().root) if path.is_relative_to(top))
    place = top / TRASH / f"{secrets.token_hex(4)}-{path.name}"
    place.parent.mkdir(exist_ok=True)
    try:
        path.rename(place)
    except FileNotFoundError:
        return
    yield place
