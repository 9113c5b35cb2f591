"""MLflow's store: made once, reached or refused with a clear error.

client = connect(tracking_uri())
"""

import logging
import os
import socket
import sqlite3
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from clipexp.errors import TrackingError
from clipexp.track.home import EXPERIMENT, home

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_TIMEOUT_S = 3
LOCK_TIMEOUT_S = 120
SQLITE = "sqlite:///"
# Read by MLflow: no telemetry, no progress bars or links in the console, and no long retries at a server that is gone.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "GIT_PYTHON_REFRESH": "quiet",
}
# Has MLflow's page show runs of training, where it would show its pages for language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


def tracking_uri(given: str | None = None) -> str:
    """The store to use: as given, else MLFLOW_TRACKING_URI, else SQLite in `mlruns/`. SQLite paths become absolute."""
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or home().tracking_uri
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri


def connect(uri: str) -> "MlflowClient":
    """A client for a store that is there and answers; a local database is made where it is missing.

    Raises:
        TrackingError: nobody answers, or the store can't be opened or written.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if uri.startswith(("http://", "https://")):
        _require_answer(uri)
    elif uri.startswith(SQLITE):
        if uri == home().tracking_uri:
            home().make()
        _require_database(uri)
    return _client(uri)


def experiment_id(client: "MlflowClient", uri: str) -> str:
    """The experiment that holds all runs; made where it is missing. Artifacts lie beside a local database."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    location = (_database(uri).parent / "artifacts").as_uri() if uri.startswith(SQLITE) else None
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location, tags=EXPERIMENT_TAGS))
    except MlflowException:  # another process was quicker
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            raise
        return str(found.experiment_id)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def _client(uri: str) -> "MlflowClient":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own imports warn of its dependencies' futures
        import mlflow

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        try:
            client = mlflow.MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
        except Exception as error:  # whatever a store, its driver or its server raises, the remedy is the same
            raise TrackingError(
                f"the tracking store {uri} can't be used ({first_line(error)}); see --tracking-uri and"
                " MLFLOW_TRACKING_URI"
            ) from error
    return client


def _require_answer(uri: str) -> None:
    parsed = urlparse(uri)
    try:
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        socket.create_connection((parsed.hostname or "", port), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        raise TrackingError(
            f"nobody answers at the tracking URI {uri} ({error}); start the server, or leave --tracking-uri and"
            " MLFLOW_TRACKING_URI out to track in mlruns/"
        ) from error


def _database(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE)).resolve()


def _require_database(uri: str) -> None:
    """Make MLflow's tables once, under a lock: two processes that make them at once break the file."""
    from filelock import FileLock

    database = _database(uri)
    try:
        with FileLock(database.with_name(f".{database.name}.lock"), timeout=LOCK_TIMEOUT_S):
            if not _has_tables(database):
                experiment_id(_client(uri), uri)
    except OSError as error:
        raise TrackingError(
            f"can't write to {database.parent} ({error.strerror}); make it writable, or name another store with"
            " --tracking-uri"
        ) from error


def _has_tables(database: Path) -> bool:
    if not database.exists():
        return False
    try:
        connection = sqlite3.connect(database)
        try:
            found = connection.execute("select 1 from sqlite_master where name = 'alembic_version'").fetchone()
            connection.execute("begin immediate")
            connection.rollback()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise TrackingError(
            f"{database} can't be used ({error}); make it writable, or move it away to start a new one"
        ) from error
    return found is not None
