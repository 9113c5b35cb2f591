"""Where a study's trials are kept: Optuna's journal file, or a PostgreSQL database, and how a failing one is borne.

    with open_storage(uri, Path("mlruns/studies/quick")) as storage:
        storage.hold("quick")
        storage.patiently(lambda: storage.storage.get_all_studies())

A journal has one writer, so one that a killed writer left torn is mended when it is opened. A database may be away for
a while (restarted, unplugged): what is asked of it is asked again, and the study is held again, before it goes on.
"""

import contextlib
import datetime
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from clipexp.errors import StudyError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy import URL, Connection, Engine

JOURNAL_FILE = "optuna.journal"
CONNECT_TIMEOUT_S = 5
PATIENCE_S = 120.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
WRITING_S = 2.0  # a living writer of the journal holds its lock for milliseconds
SUPPORTED = "give postgresql://USER:PASSWORD@HOST/DATABASE, or leave it out for a journal file in the study's folder"

Result = TypeVar("Result")


class StudyStorage:
    """An open storage. Not for several threads at once.

    storage: Optuna's. uri: to be shown, without a password. notes: what was mended when it was opened, in sentences.
    """

    def __init__(
        self, storage: "BaseStorage", uri: str, place: "Path | URL", *, notes: tuple[str, ...], patience_s: float
    ) -> None:
        """Take over an open storage at a journal's path or a database's address."""
        self.storage = storage
        self.uri = uri
        self.notes = notes
        self._place = place
        self._patience_s = patience_s
        self._hold: _Hold | None = None

    def hold(self, name: str) -> None:
        """Hold a study until this is closed or the process dies. A journal file is held by its folder's lease instead.

        Raises:
            StudyError: another holds it, or the database does not answer.
        """
        if isinstance(self._place, Path):
            return
        hold = _Hold(self._place, name)
        self.patiently(hold.keep)
        self._hold = hold

    def keep_held(self) -> None:
        """Make sure that the study is still held, and hold it again where the database has forgotten.

        Raises:
            StudyError: another has taken it in the meantime, or the database does not answer.
        """
        if self._hold is not None:
            self.patiently(self._hold.keep)

    def patiently(self, action: Callable[[], Result]) -> Result:
        """Do it, and do it again while the storage is away.

        action: may be carried out more than once, also where the first time had its effect and only its answer was
            lost.

        Raises:
            StudyError: the storage was away for too long, or another holds the study by now.
        """
        until_s, pause_s = time.monotonic() + self._patience_s, FIRST_PAUSE_S
        is_back = True
        while True:
            try:
                if not is_back:
                    self._recover()
                return action()
            except Exception as error:
                if not _is_transient(error):
                    raise
                if time.monotonic() + pause_s > until_s:
                    raise StudyError(
                        f"the study's storage {self.uri} does not answer ({_reason(error)}), {self._patience_s:g} s "
                        "long; see that it runs, can be reached and has room, then give the same command again"
                    ) from error
            is_back = False
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _recover(self) -> None:
        if isinstance(self._place, Path):
            _mend(self._place)
        if self._hold is not None:
            self._hold.keep()

    def close(self) -> None:
        """Let the study and the database's connections go."""
        from optuna.storages import RDBStorage

        if self._hold is not None:
            self._hold.close()
            self._hold = None
        backend = getattr(self.storage, "_backend", None)
        if isinstance(backend, RDBStorage):
            backend.remove_session()
            backend.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_storage(
    uri: str | None, folder: Path, *, patience_s: float = PATIENCE_S, is_driver: bool = True
) -> StudyStorage:
    """Open a study's storage, which is made where there is none yet.

    uri: `postgresql://...`; None is a journal file in the folder. patience_s: how long it may be away later on.
    is_driver: whether we hold the study; whoever looks on must not mend what its driver may be writing.

    Raises:
        StudyError: not supported, does not answer (told within about 10 s), or damaged.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it tells is told by the study's own view
    if uri is None:
        return _open_journal(folder / JOURNAL_FILE, patience_s, is_driver=is_driver)
    return _open_database(_address(uri), patience_s)


def shown(uri: str) -> str:
    """A storage's address without its password. Raises StudyError if it is none."""
    return _address(uri).set(drivername="postgresql").render_as_string(hide_password=True)


def _open_journal(path: Path, patience_s: float, *, is_driver: bool) -> StudyStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    notes = tuple(note for note in (_unlock(path), _mend(path)) if note) if is_driver else ()
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
    except json.JSONDecodeError as error:
        raise StudyError(
            f"{path}:{_damaged_line(path)}: is no record of Optuna's journal; put back a copy of the file, or delete "
            "that line, which loses what it told"
        ) from error
    return StudyStorage(storage, str(path), path, notes=notes, patience_s=patience_s)


def _unlock(path: Path) -> str | None:
    """Remove the lock of a writer that was killed, for which Optuna would wait 30 s."""
    lock = path.with_name(path.name + ".lock")
    until_s = time.monotonic() + WRITING_S
    while lock.is_symlink():
        if time.monotonic() > until_s:
            lock.unlink(missing_ok=True)
            return f"{lock} was left by a process that was killed; it is removed"
        time.sleep(0.05)
    return None


def _mend(path: Path) -> str | None:
    """Cut off a last record that was written in part only: Optuna would write the next one behind it, on its line."""
    if not path.exists():
        return None
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    last = content.rfind(b"\n", 0, max(end - 1, 0)) + 1
    try:
        json.loads(content[last:end] or b"{}")
    except ValueError:
        end = last
    if end == len(content):
        return None
    with path.open("rb+") as file:
        file.truncate(end)
        os.fsync(file.fileno())
    return f"{path} ended in a record that was written in part; its {len(content) - end} bytes are cut off"


def _damaged_line(path: Path) -> int:
    """The number of the first line that is no JSON, from 1."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                json.loads(line)
            except ValueError:
                return number
    return 0


def _address(uri: str) -> "URL":
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):  # their messages may show a password
        raise StudyError(f"the study's storage is no address; {SUPPORTED}") from None
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise StudyError(f"a study's storage can't be {url.drivername}; {SUPPORTED}")
    return url.set(drivername="postgresql+psycopg")


def _open_database(url: "URL", patience_s: float) -> StudyStorage:
    from optuna.storages import RDBStorage, get_storage
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    name = url.set(drivername="postgresql").render_as_string(hide_password=True)
    # Optuna takes braces for a template
    address = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    try:
        # one after the other: tables that two processes create at once break the second
        with _connection(url) as making:
            making.execute(text("SET lock_timeout = '60s'"))
            making.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _key("the tables of Optuna")})
            backend = RDBStorage(address, {"connect_args": _connect_args()})
    except SQLAlchemyError as error:
        raise StudyError(
            f"the study's storage {name} does not answer: {_reason(error)}; see that the server runs, can be reached "
            "from here, and has that database and user"
        ) from error
    except RuntimeError as error:  # Optuna's word for another version of its tables
        raise StudyError(f"the study's storage {name} was made by another version of Optuna: {error}") from error
    return StudyStorage(get_storage(backend), name, url, notes=(), patience_s=patience_s)


class _Hold:
    """PostgreSQL's lock on a study's name, kept by a connection of its own, and so dropped however its holder dies."""

    def __init__(self, url: "URL", name: str) -> None:
        self._url = url
        self._name = name
        self._stack = contextlib.ExitStack()
        self._connection: Connection | None = None

    def keep(self) -> None:
        """Take the lock; once more does no harm."""
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        try:
            if self._connection is None:
                self._connection = self._stack.enter_context(_connection(self._url))
                for setting, value in (("idle", 30), ("interval", 10), ("count", 3)):
                    # so that the server notices within a minute where our machine has vanished
                    self._connection.execute(text(f"SET tcp_keepalives_{setting} = {value}"))
            key = {"key": _key(f"study {self._name}")}
            if not self._connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar_one():
                raise StudyError(
                    f"study {self._name} is carried out by {self._holder()}; wait for it, stop it, or give another "
                    "study's name with --as"
                )
        except (SQLAlchemyError, StudyError):
            self.close()
            raise

    def _holder(self) -> str:
        from sqlalchemy import text

        found = (
            self._connection
            and self._connection.execute(
                text(
                    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) "
                    "WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) | objid::bigint = :key "
                    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                ),
                {"key": _key(f"study {self._name}")},
            ).scalar_one_or_none()
        )
        return str(found).removeprefix("clipexp: ") if found else "another process"

    def close(self) -> None:
        self._connection = None
        self._stack.close()


@contextlib.contextmanager
def _connection(url: "URL") -> "Iterator[Connection]":
    """A connection of its own, outside of transactions."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _engine(url: "URL") -> "Engine":
    from sqlalchemy import NullPool, create_engine

    return create_engine(url, poolclass=NullPool, connect_args=_connect_args(), isolation_level="AUTOCOMMIT")


def _connect_args() -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes")
    me = f"process {os.getpid()} on {socket.gethostname()[:20]} since {now[:16]} UTC"
    return {
        "application_name": f"clipexp: {me}",  # at most 63 bytes are kept
        "connect_timeout": CONNECT_TIMEOUT_S,
        # a server that vanished without a word is noticed after about half a minute
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
        "tcp_user_timeout": 30_000,
    }


def _key(name: str) -> int:
    """A name as PostgreSQL's locks take it: 64 bits with a sign."""
    return int.from_bytes(hashlib.sha256(f"clipexp: {name}".encode()).digest()[:8], signed=True)


def _is_transient(error: BaseException) -> bool:
    """Whether it is about a storage that is away or full, not about what was asked of it."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, DBAPIError):
        return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    return isinstance(error, OSError)


def _reason(error: BaseException) -> str:
    """What went wrong, in one line of the driver's own words."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
