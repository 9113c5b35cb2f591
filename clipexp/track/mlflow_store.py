"""MLflow's store: made once, reached or refused with a clear error.

client = connect(tracking_uri())
"""

import logging
import os
import socket
import sqlite3
import warnings
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from clipexp.errors import TrackingError
from clipexp.track.home import EXPERIMENT, Home, home

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_TIMEOUT_S = 3
LOCK_TIMEOUT_S = 120


def tracking_uri(given: str | None = None) -> str:
    """The store to use: as given, else MLFLOW_TRACKING_URI, else SQLite below `mlruns/`."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or home().tracking_uri


def connect(uri: str) -> "MlflowClient":
    """A client for a store that is there and answers; a local database is made where it is missing.

    Raises:
        TrackingError: nobody answers, or the database can't be opened or written.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    parsed = urlparse(uri)
    if parsed.scheme in ("http", "https"):
        _require_answer(uri, parsed.hostname or "", parsed.port or (443 if parsed.scheme == "https" else 80))
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    elif uri == home().tracking_uri:
        home().make()
        _require_database(home())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own imports warn of its dependencies' futures
        import mlflow
        from mlflow.exceptions import MlflowException

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        try:
            client = mlflow.MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
        except (MlflowException, OSError) as error:
            raise TrackingError(
                f"the tracking store {uri} can't be used ({first_line(error)}); see --tracking-uri and"
                " MLFLOW_TRACKING_URI"
            ) from error
    return client


def experiment_id(client: "MlflowClient", uri: str) -> str:
    """The experiment that holds all runs; made where it is missing, by one process alone."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    location = home().artifacts.resolve().as_uri() if uri == home().tracking_uri else None
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location))
    except MlflowException:  # another process was quicker
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            raise
        return str(found.experiment_id)


def _require_answer(uri: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise TrackingError(
            f"nobody answers at the tracking URI {uri} ({error}); start the server, or leave --tracking-uri and"
            " MLFLOW_TRACKING_URI out to track in mlruns/"
        ) from error


def _require_database(place: Home) -> None:
    """Make MLflow's tables once, under a lock: two processes that make them at once break the file."""
    from filelock import FileLock

    with FileLock(place.root / ".database.lock", timeout=LOCK_TIMEOUT_S):
        if _has_tables(place):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow

            logging.getLogger("alembic").setLevel(logging.WARNING)
            logging.getLogger("mlflow").setLevel(logging.ERROR)
            client = mlflow.MlflowClient(tracking_uri=place.tracking_uri)
            experiment_id(client, place.tracking_uri)


def _has_tables(place: Home) -> bool:
    if not place.database.exists():
        return False
    try:
        database = sqlite3.connect(place.database)
        try:
            found = database.execute("select 1 from sqlite_master where name = 'alembic_version'").fetchone()
            database.execute("begin immediate")
            database.rollback()
        finally:
            database.close()
    except sqlite3.Error as error:
        raise TrackingError(
            f"{place.database} can't be used ({error}); make it writable, or move it away to start a new one"
        ) from error
    return found is not None


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
