"""The SQLite file under MLflow's store: made whole, migrated with a backup, and moved together with its folder.

prepare_database(Path("mlruns/mlflow.db"))

All of it happens under a file lock beside the database, so that one process does the work and the others find it done.
What is half done has a name of its own (`.mlflow.db.making`) and is thrown away by the next process, so that one killed
at any moment leaves either the database as it was or the new one.

The journal is SQLite's default, a rollback journal, and not WAL: it works on network file systems and leaves one file
to copy. WAL is somewhat faster when eight processes log at once, but with either no write is refused: the longest wait
was 3 s, and MLflow waits for 20 s.
"""

import functools
import logging
import os
import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import click

from clipexp.errors import TrackingError
from clipexp.track.home import EXPERIMENT

LOCK_TIMEOUT_S = 120
BUSY_TIMEOUT_S = 30
# Has MLflow's page show runs of training, where it would show its pages for language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
UNVERSIONED = "unversioned"
# Where MLflow keeps paths of artifacts.
PATH_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)


def prepare_database(database: Path) -> None:
    """Have a database that the installed MLflow can use at `database`, and its artifacts' paths right.

    A missing one is made, with the experiment that holds all runs. One of an older MLflow is migrated; what it was is
    kept beside it as `NAME.before-REVISION`. One whose folder was moved or copied gets the paths of its own artifacts.

    Raises:
        TrackingError: the folder or the file can't be written, the file is no database, or is in use, is of a newer
            MLflow, or can't be migrated. The database is then as it was.
    """
    from filelock import FileLock, Timeout

    newest = _newest_revision()  # before the lock: importing MLflow takes seconds, which others should not wait for
    lock = database.with_name(f".{database.name}.lock")
    try:
        with FileLock(lock, timeout=LOCK_TIMEOUT_S), _no_scraps(database), _sqlite_errors(database):
            if not database.exists() or not database.stat().st_size:
                _make(database)
                return
            revision, location = _look(database)
            if revision != newest:
                _migrate(database, revision)
            _follow_move(database, location)
    except Timeout as error:
        raise TrackingError(
            f"another process has prepared {database} for {LOCK_TIMEOUT_S} s ({lock} is locked); end it, or try again"
        ) from error
    except OSError as error:
        raise TrackingError(
            f"can't write to {database.parent} ({error.strerror}); make it writable, or name another store with"
            " --tracking-uri"
        ) from error


def artifacts_location(database: Path) -> str:
    """Where a database's runs keep their files: a URI of the folder `artifacts` beside it."""
    return (database.parent / "artifacts").as_uri()


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Where MLflow is imported or asked: nobody sees its dependencies' warnings; errors are raised, not logged too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.CRITICAL)
        yield


def is_deleted(database: Path, run_id: str) -> bool:
    """Whether a run is deleted; asked without MLflow, which takes 2 s to import.

    Raises:
        TrackingError: the database is gone, does not know the run, or can't be read.
    """
    if not database.exists():
        raise unknown(run_id, f"{database} is gone")
    with _sqlite_errors(database), closing(_open(database)) as connection:
        row = connection.execute("select lifecycle_stage from runs where run_uuid = ?", (run_id,)).fetchone()
    if row is None:
        raise unknown(run_id, f"{database} does not know it")
    return bool(row[0] == "deleted")


def unknown(run_id: str, why: str) -> TrackingError:
    """A run that is here, but not in MLflow: was the database lost, or the run deleted for good?"""
    return TrackingError(
        f"run {run_id[:8]} is here, but {why}: put the database back, or take the run in again with"
        f" `clipexp runs import mlruns/journals/{run_id}`; to be rid of it, remove that folder"
    )


@functools.cache  # reading MLflow's migrations takes 15 ms, and they stay the same while a process lives
def _newest_revision() -> str:
    """The schema that the installed MLflow wants.

    MLflow's own check comes too late: it migrates a database that lacks a table in place, without a backup.
    """
    return str(_mlflow_db()._get_latest_schema_revision())


def _mlflow_db() -> Any:
    """MLflow's module on databases, which has no types."""
    with quiet_mlflow():
        from mlflow.store.db import utils
    return utils


def _knows(revision: str) -> bool:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_mlflow_db()._get_alembic_config(""))
    return any(known.revision == revision for known in script.walk_revisions())


def _scrap(database: Path, use: str) -> Path:
    """The name of a file that is not done yet."""
    return database.with_name(f".{database.name}.{use}")


@contextmanager
def _no_scraps(database: Path) -> Iterator[None]:
    """Delete half-done files: what a killed process left, and in the end what we left."""

    def delete() -> None:
        for use in ("making", "migrating", "keeping"):
            for suffix in ("", "-journal", "-wal", "-shm"):
                _scrap(database, use + suffix).unlink(missing_ok=True)

    delete()
    try:
        yield
    finally:
        delete()


@contextmanager
def _sqlite_errors(database: Path) -> Iterator[None]:
    """Say SQLite's errors as a TrackingError with its remedy."""
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the kind; the rest says more about it.
        busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
        remedy = (
            "another process uses it; end that (MLflow's UI, a run), or try again"
            if busy
            else "make it writable, or move it away to start a new one"
        )
        raise TrackingError(f"{database} can't be used ({error}); {remedy}") from error


def _open(database: Path) -> sqlite3.Connection:
    """A connection on which transactions begin and end where we say."""
    return sqlite3.connect(database, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def _make(database: Path) -> None:
    """Make an empty database under another name, and rename it when it is whole.

    Raises:
        TrackingError: MLflow can't make it, for example because the disk is full.
    """
    making = _scrap(database, "making")
    try:
        with quiet_mlflow():
            _make_tables(making, artifacts_location(database))
    except Exception as error:  # whatever MLflow, its driver or the disk raises, the remedy is the same
        raise TrackingError(
            f"{database} can't be made ({_first_line(error)}); make room for it, or name another store with"
            " --tracking-uri"
        ) from error
    for suffix in ("-journal", "-wal", "-shm"):  # SQLite would take them for the new file's own
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    making.replace(database)


def _make_tables(making: Path, location: str) -> None:
    from mlflow.entities import ExperimentTag
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store_type: Any = SqlAlchemyStore  # it has no types
    store = store_type(f"sqlite:///{making}", location)
    try:
        tags = [ExperimentTag(key, value) for key, value in EXPERIMENT_TAGS.items()]
        store.create_experiment(EXPERIMENT, artifact_location=location, tags=tags)
    finally:
        store.engine.dispose()  # MLflow keeps it by name, and would write to the renamed file


def _look(database: Path) -> tuple[str | None, str | None]:
    """The schema's revision and the experiment's artifact location, where there are any.

    Raises:
        sqlite3.Error: it is no database, or can't be written.
    """
    with closing(_open(database)) as connection:
        connection.execute("begin immediate")
        tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        revision = location = None
        if "alembic_version" in tables:
            revision = connection.execute("select version_num from alembic_version").fetchone()
        if "experiments" in tables:
            query = "select artifact_location from experiments where name = ?"
            location = connection.execute(query, (EXPERIMENT,)).fetchone()
        connection.execute("rollback")
    return revision and revision[0], location and location[0]


def _migrate(database: Path, revision: str | None) -> None:
    """Migrate a copy, keep the old database beside, and write the copy's content over the old one's.

    The content is written in one transaction, which a crash undoes. Renaming the copy would be as safe for us, but a
    process that has the old file open would go on writing to a file that no longer has a name. For the same reason
    the old file stays locked from the copy to the end: what another process wants to write meanwhile has to wait.

    Raises:
        TrackingError: it is of a newer MLflow, or a migration failed. The database is then as it was.
        sqlite3.Error: another process has it open for long, or the disk is full.
    """
    if revision is not None and not _knows(revision):
        raise TrackingError(
            f"{database} is of a newer MLflow than the one installed (its schema is {revision}); update MLflow (pip"
            " install -U mlflow), or name another store with --tracking-uri"
        )
    copy, keeping = _scrap(database, "migrating"), _scrap(database, "keeping")
    with closing(_open(database)) as original:
        original.execute("pragma locking_mode = exclusive")
        original.execute("begin exclusive")
        original.execute("commit")  # in this mode the lock stays
        with closing(_open(keeping)) as kept:
            original.backup(kept)
        shutil.copyfile(keeping, copy)
        _upgrade(copy, database, revision)
        backup = _free_name(database, revision or UNVERSIONED)
        keeping.replace(backup)
        with closing(_open(copy)) as migrated:
            migrated.backup(original)
    click.echo(f"{database} was of an older MLflow: migrated; what it was is kept as {backup.name}", err=True)


def _upgrade(copy: Path, database: Path, revision: str | None) -> None:
    """Bring `copy` to MLflow's newest schema. Raises TrackingError, about `database`, if that fails."""
    utils = _mlflow_db()
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{copy}")
    try:
        with quiet_mlflow():
            # A database without a revision is another program's, or one that an MLflow was killed on.
            upgrade = utils._initialize_tables if revision is None else utils._upgrade_db
            upgrade(engine)
    except Exception as error:  # whatever a migration stumbles on, the remedy is the same
        raise TrackingError(
            f"{database} is of an older MLflow and can't be migrated ({_first_line(error)}); it is as it was:"
            " open it with the MLflow that made it, or move it away to start a new one"
        ) from error
    finally:
        engine.dispose()


def _free_name(database: Path, revision: str) -> Path:
    """A backup's name that no earlier backup has."""
    backup, number = database.with_name(f"{database.name}.before-{revision}"), 1
    while backup.exists():
        number += 1
        backup = database.with_name(f"{database.name}.before-{revision}.{number}")
    return backup


def _follow_move(database: Path, location: str | None) -> None:
    """Rewrite the paths below the artifacts' old folder if the database lies elsewhere than when it was made.

    Raises:
        sqlite3.Error: the database can't be written.
    """
    here = database.parent / "artifacts"
    there = _local_path(location)
    if there is None or there == here or not _came_along(there, here):
        return

    def moved(value: str | None) -> str | None:
        path = _local_path(value)
        if value is None or path is None or not path.is_relative_to(there):
            return value
        new = here / path.relative_to(there)
        # MLflow unquotes plain paths too, so that one with a % has to be a URI.
        return new.as_uri() if value.startswith("file:") or "%" in str(new) else str(new)

    with closing(_open(database)) as connection:
        connection.create_function("moved", 1, moved, deterministic=True)
        connection.execute("begin immediate")
        num_moved = 0
        for table, column in PATH_COLUMNS:
            words = f"update {table} set {column} = moved({column}) where {column} is not moved({column})"  # noqa: S608
            words += " and key = 'mlflow.artifactLocation'" if table == "trace_tags" else ""
            num_rows = connection.execute(words).rowcount
            num_moved += num_rows if table == "runs" else 0
        connection.execute("commit")
    if num_moved:
        click.echo(f"{database} was in {there.parent}: its {num_moved} runs' artifacts are now in {here}", err=True)


def _local_path(location: str | None) -> Path | None:
    """The absolute path that a location names, as a path or as a `file:` URI; None for anything else."""
    if location is None:
        return None
    path = Path(url2pathname(urlsplit(location).path) if location.startswith("file:/") else location)
    return path if path.is_absolute() else None


def _came_along(there: Path, here: Path) -> bool:
    """Whether a database's artifacts were moved or copied with it, from `there` to `here`.

    A folder of another name was chosen by a person and stays. So does one that holds files where there are none beside
    the database: somebody copied the database alone.
    """
    if there.name != here.name or _is_same(there, here):
        return False
    return _holds_files(here) or not _holds_files(there)


def _is_same(there: Path, here: Path) -> bool:
    try:
        return os.path.samefile(there, here)
    except OSError:  # one of them is not there, or not for us
        return False


def _holds_files(folder: Path) -> bool:
    try:
        return any(not name.startswith(".") for name in os.listdir(folder))
    except OSError:  # not there, or not for us to read
        return False


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
