"""Runs in one file, carried between machines and databases: a plain tar, `bundle.json` first.

    missing = export_runs([header], Path("runs.tar"), "best")
    with unpacked(Path("runs.tar")) as content: print(content.headers, content.folder)

`bundle.json` names the version, the runs, and every file's length and checksum. Below RUN_ID/ lie `run.json` (the
header), `journal/`, `mlflow.json` (what MLflow knows beyond the header), `artifacts/` and `checkpoints/`. Files with
the same content stand there once.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal

from clipexp.cleaning import IMPORTING, STAGING
from clipexp.errors import CheckpointError, RunError, TrackingError
from clipexp.space import mb
from clipexp.track import lease
from clipexp.track.checkpoint_names import BEST, NUMBERED
from clipexp.track.delivery import published
from clipexp.track.header import HEADER_FILE, OUTBOX, RunHeader, read_header
from clipexp.track.home import home
from clipexp.track.journal import CONSOLE_FILE, COPY_FILE, EVENTS_FILE, damage
from clipexp.track.mlflow_store import first_line, open_store, tracking_uri
from clipexp.track.packed import CHECKSUM_FILE, PARQUET_FILE
from clipexp.track.summary import SUMMARY_FILE

if TYPE_CHECKING:
    from mlflow import MlflowClient

VERSION = 1
BUNDLE_FILE, MLFLOW_FILE = "bundle.json", "mlflow.json"
JOURNAL_FILES = (
    EVENTS_FILE,
    COPY_FILE,
    PARQUET_FILE,
    CHECKSUM_FILE,
    CONSOLE_FILE,
    SUMMARY_FILE,
    f"{SUMMARY_FILE}.copy",
)
MAX_INDEX_BYTES = 256 << 20
MEMBER = re.compile(
    r"[0-9A-Za-z_-]+/(run\.json|mlflow\.json"
    rf"|journal/({'|'.join(re.escape(name) for name in JOURNAL_FILES)})"
    r"|artifacts/.+|checkpoints/(best|samples-\d{12,})/[^/]+)",
    re.DOTALL,
)
Which = Literal["none", "best", "all"]


@dataclass(frozen=True)
class _Parcel:
    """A run's files by their names in a bundle, and what of the run is not among them."""

    files: Mapping[str, Path]
    missing: tuple[str, ...]


def export_runs(
    runs: Sequence[RunHeader], out: Path, checkpoints: Which = "none", tracking: str | None = None
) -> list[str]:
    """Write runs to a tar.

    Args:
        runs: their headers; each has its journal here.
        out: the file, which must not be there yet; it is there whole or not at all.
        checkpoints: `best` (or the newest where none is best), `all` that are whole, or none.
        tracking: MLflow's store, if it is not the one that the runs' headers name.

    Returns:
        What could not be taken along, a line each: where MLflow does not answer, its artifacts and later tags.

    Raises:
        RunError: a run is at work, `out` is there, there is no room, or a file changed meanwhile. Nothing is left then.
    """
    for header in runs:
        _require_rest(header)
    if out.exists():
        raise RunError(f"{out} is there already; name another file, or remove it")
    tmp = out.with_name(f"{out.name}.tmp")
    missing: list[str] = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            files: dict[str, Path] = {}
            for header in runs:
                parcel = _collect(header, header.folder, checkpoints, Path(scratch), _mlflow(header, tracking))
                files |= {f"{header.run_id}/{name}": path for name, path in parcel.files.items()}
                missing += parcel.missing
            index = {name: _fingerprint(path) for name, path in files.items()}
            _require_room(out.parent, sum({entry["sha256"]: entry["bytes"] for entry in index.values()}.values()))
            _write_tar(tmp, [header.run_id for header in runs], files, index)
        tmp.replace(out)
    except OSError as error:
        raise RunError(f"{out} can't be written ({first_line(error)}); nothing is left of it") from error
    finally:
        tmp.unlink(missing_ok=True)
    return missing


def _require_rest(header: RunHeader) -> None:
    held = lease.holder(header.spec_hash)
    if held is not None and held.run_id in ("", header.run_id) and lease.is_held(header.spec_hash):
        raise RunError(f"{held} is at work; stop it or wait, then export it")


def _mlflow(header: RunHeader, tracking: str | None) -> "MlflowClient | str":
    """The client of a run's store, or why it can't be asked for the run."""
    from mlflow.exceptions import MlflowException

    try:
        client = open_store(tracking_uri(tracking) if tracking else header.tracking_uri)
        client.get_run(header.run_id)
    except (TrackingError, MlflowException) as error:
        return first_line(error)
    return client


def _collect(header: RunHeader, folder: Path, which: Which, scratch: Path, mlflow: "MlflowClient | str") -> _Parcel:
    """Find a run's files, by the folder of its journal; what MLflow tells is written below `scratch`."""
    who = f"{header.name} (run {header.run_id[:8]})"
    own = scratch / header.run_id
    artifacts = own / "artifacts"
    artifacts.mkdir(parents=True)
    (own / HEADER_FILE).write_text(json.dumps(dataclasses.asdict(header)))
    files = {HEADER_FILE: own / HEADER_FILE}
    files |= {f"journal/{name}": folder / name for name in JOURNAL_FILES if (folder / name).is_file()}
    missing = []
    if lost := damage(folder).num_lost:
        missing.append(f"{who}: {lost} record(s) of its journal, which are damaged in both copies")
    if isinstance(mlflow, str):
        beside = folder.parent.parent / "artifacts" / header.run_id / "artifacts"
        what = (
            "tags and notes as MLflow has them"
            if beside.is_dir()
            else "artifacts, and tags and notes as MLflow has them"
        )
        missing.append(f"{who}: {what} ({mlflow})")
        if beside.is_dir():
            shutil.copytree(beside, artifacts, dirs_exist_ok=True)
    else:
        (own / MLFLOW_FILE).write_text(json.dumps(_ask(mlflow, header.run_id)))
        files[MLFLOW_FILE] = own / MLFLOW_FILE
        for entry in mlflow.list_artifacts(header.run_id):
            mlflow.download_artifacts(header.run_id, entry.path, str(artifacts))
    for waiting in published(folder / OUTBOX):
        shutil.copytree(waiting, artifacts / waiting.name, dirs_exist_ok=True)
    files |= {
        f"artifacts/{p.relative_to(artifacts).as_posix()}": p for p in sorted(artifacts.rglob("*")) if p.is_file()
    }
    if which != "none":
        root = folder.parent.parent / "checkpoints" / header.run_id
        for checkpoint in _chosen(root, which):
            if problem := _damage(checkpoint):
                missing.append(f"{who}: {problem}")
            else:
                files |= {f"checkpoints/{checkpoint.name}/{file.name}": file for file in sorted(checkpoint.iterdir())}
    return _Parcel(files, tuple(missing))


def _ask(client: "MlflowClient", run_id: str) -> dict[str, Any]:
    """What MLflow knows of a run beyond its header."""
    run = client.get_run(run_id)
    times = {"start_time": run.info.start_time, "end_time": run.info.end_time}
    about = {"name": run.info.run_name, "status": run.info.status, **times}
    return {**about, "tags": dict(run.data.tags), "params": dict(run.data.params)}


def _chosen(root: Path, which: Which) -> list[Path]:
    numbered = sorted(path for path in root.glob("samples-*") if NUMBERED.fullmatch(path.name))
    best = [path for path in [root / BEST] if path.is_dir()]
    return [*best, *numbered] if which == "all" else best or numbered[-1:]


def _damage(checkpoint: Path) -> str:
    """What is wrong with a checkpoint; '' if it is whole."""
    from clipexp.train.checkpoint import read_meta

    try:
        wanted = read_meta(checkpoint)["files"]
        damaged = [name for name, entry in wanted.items() if _fingerprint(checkpoint / name) != entry]
    except (CheckpointError, OSError) as error:
        return first_line(error)
    return f"{checkpoint / damaged[0]} is cut short or damaged" if damaged else ""


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def _require_room(folder: Path, num_bytes: int) -> None:
    lacking = num_bytes + (1 << 20) - shutil.disk_usage(folder).free
    if lacking > 0:
        raise RunError(
            f"{folder.resolve()} lacks {mb(lacking)} of room for {mb(num_bytes)}; make room, or go elsewhere"
        )


class _Hashing:
    """A file that hashes what is read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.sha256.update(block)
        return block


def _write_tar(tmp: Path, run_ids: Sequence[str], files: Mapping[str, Path], index: Mapping[str, Any]) -> None:
    """Write it, each content once. Raises RunError if a file is no longer what the index says."""
    about = {"version": VERSION, "made_by": f"clipexp {version('clipexp')}", "runs": list(run_ids), "files": index}
    head = json.dumps({**about, "sha256": _checksum(about)}, indent=1).encode()
    with tmp.open("wb") as raw, tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo(BUNDLE_FILE)
        info.size = len(head)
        tar.addfile(info, BytesIO(head))
        written: set[str] = set()
        for name, path in files.items():
            wanted = index[name]
            if wanted["sha256"] in written:
                continue
            written.add(wanted["sha256"])
            info = tarfile.TarInfo(name)
            info.size = wanted["bytes"]
            with path.open("rb") as file:
                source = _Hashing(file)
                tar.addfile(info, source)
            if source.sha256.hexdigest() != wanted["sha256"]:
                raise RunError(f"{path} was changed while it was exported; export it again")
        tar.close()
        raw.flush()
        os.fsync(raw.fileno())


def _checksum(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Unpacked:
    """Runs that wait to be taken in: `folder / RUN_ID` holds each one's files under their names in a bundle."""

    headers: tuple[RunHeader, ...]
    folder: Path
    missing: tuple[str, ...]


@contextlib.contextmanager
def unpacked(source: Path) -> Iterator[Unpacked]:
    """Unpack a bundle, or what lies in and beside a journal's folder (`mlruns/journals/RUN_ID`), all of it checked.

    Raises:
        RunError: it is damaged, of another version or no bundle; or there is no room.
    """
    if not source.exists():
        raise RunError(f"there is no {source}; give a file that `clipexp runs export` wrote, or a journal's folder")
    with _staging() as staging:
        run_ids, missing = _copy_in(source, staging) if source.is_dir() else (_unpack(source, staging), ())
        yield Unpacked(tuple(_header(staging / run_id, source) for run_id in run_ids), staging, missing)


@contextlib.contextmanager
def _staging() -> Iterator[Path]:
    """An empty folder beside the journals, for one process at a time."""
    lock = lease.try_lock(IMPORTING)
    if lock is None:
        raise RunError("another process imports runs here; wait for it")
    staging = home().root / STAGING
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        yield staging
    except OSError as error:
        raise RunError(f"runs can't be taken in to {home().root.resolve()} ({first_line(error)})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        lock.release()


def _copy_in(folder: Path, staging: Path) -> tuple[list[str], tuple[str, ...]]:
    """What lies in and beside a journal's folder; its MLflow is not asked."""
    header = read_header(folder)
    if header is None:
        raise RunError(f"{folder} is no run's journal, or its {HEADER_FILE} is damaged in both copies")
    _require_rest(header)
    parcel = _collect(header, folder.resolve(), "all", staging / "collected", "a folder does not hold them")
    for name, path in parcel.files.items():
        _same(path, staging / header.run_id / name)
    return [header.run_id], parcel.missing


def _same(path: Path, target: Path) -> None:
    """Give content another name: as a link where nobody will write to it, that is in checkpoints."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.parent.parent.name == "checkpoints" and path.parent.parent.parent.name != "artifacts":
        with contextlib.suppress(OSError):  # another file system, or one without links
            os.link(path, target)
            return
    shutil.copyfile(path, target)


def _unpack(source: Path, staging: Path) -> list[str]:
    """Unpack a bundle, every name and byte checked; the ids of its runs."""
    try:
        with source.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            index = _read_index(tar, source)
            files: dict[str, dict[str, Any]] = index["files"]
            _require_room(staging, sum(entry["bytes"] for entry in files.values()))
            place_by_sha: dict[str, Path] = {}
            while (info := tar.next()) is not None:
                is_plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
                if not is_plain or info.name not in files or (staging / info.name).exists():
                    raise RunError(
                        f"{source} holds {info.name!r}, which has no place in a bundle; nothing was taken in"
                    )
                found = _extract(tar, info, staging / info.name)
                if found != files[info.name]:
                    raise RunError(f"{source} is damaged: {info.name} is not as it was; nothing was taken in")
                place_by_sha.setdefault(found["sha256"], staging / info.name)
    except (tarfile.TarError, EOFError, FileNotFoundError) as error:
        raise RunError(f"{source} is no bundle of runs, or cut short ({first_line(error)})") from error
    for name, entry in files.items():
        if not (staging / name).exists():
            if entry["sha256"] not in place_by_sha:
                raise RunError(f"{source} is cut short: it lacks {name}; nothing was taken in")
            _same(place_by_sha[entry["sha256"]], staging / name)
    return list(index["runs"])


def _read_index(tar: tarfile.TarFile, source: Path) -> dict[str, Any]:
    """What `bundle.json` says, checked: its version, its own checksum, and that every name has its place."""
    info = tar.next()
    file = tar.extractfile(info) if info and info.name == BUNDLE_FILE and info.size <= MAX_INDEX_BYTES else None
    try:
        about: dict[str, Any] = json.loads(file.read()) if file else {}
        checksum = about.pop("sha256")
    except (ValueError, KeyError, AttributeError) as error:
        raise RunError(f"{source} is no bundle of runs: it does not begin with {BUNDLE_FILE}") from error
    if about.get("version") != VERSION:
        made_by = about.get("made_by", "an unknown program")
        raise RunError(
            f"{source} was made by {made_by}, as version {about.get('version')}; this clipexp reads version {VERSION}:"
            " export it again with the same clipexp as here"
        )
    if checksum != _checksum(about):
        raise RunError(f"{source} is damaged: {BUNDLE_FILE} is not as it was; nothing was taken in")
    for name in about["files"]:
        parts = PurePosixPath(name).parts
        is_clean = "/".join(parts) == name and ".." not in parts and "\\" not in name and "\0" not in name
        if not is_clean or not MEMBER.fullmatch(name) or parts[0] not in about["runs"]:
            raise RunError(f"{source} holds {name!r}, which has no place in a bundle; nothing was taken in")
    return about


def _extract(tar: tarfile.TarFile, info: tarfile.TarInfo, target: Path) -> dict[str, Any]:
    target.parent.mkdir(parents=True, exist_ok=True)
    file = tar.extractfile(info)
    with target.open("xb") as out:
        source = _Hashing(file if file else BytesIO())
        shutil.copyfileobj(source, out, 1 << 20)
        return {"bytes": out.tell(), "sha256": source.sha256.hexdigest()}


def _header(staged: Path, source: Path) -> RunHeader:
    """A run's header as it was written, by whatever version."""
    try:
        content: dict[str, Any] = json.loads((staged / HEADER_FILE).read_text())
        header = RunHeader(**content)
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"{source}: the {HEADER_FILE} of run {staged.name} is not of this clipexp ({first_line(error)}); export it"
            " again with the same clipexp as here"
        ) from error
    if header.run_id != staged.name:
        raise RunError(f"{source}: {staged.name}/{HEADER_FILE} is of another run, {header.run_id}")
    return header
