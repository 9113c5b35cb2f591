"""MLflow's store: made once, reached or refused with a clear error.

client = connect(tracking_uri())
"""

import os
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from clipexp.errors import TrackingError
from clipexp.track.database import EXPERIMENT_TAGS, artifacts_location, prepare_database, quiet_mlflow, unknown
from clipexp.track.database import is_deleted as database_says_deleted
from clipexp.track.home import EXPERIMENT, home

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_TIMEOUT_S = 3
GLANCE_TIMEOUT_S = 2
SQLITE = "sqlite:///"
HTTP = ("http://", "https://")
# Read by MLflow: no telemetry, no progress bars or links in the console, and no call that waits longer than 10 s for a
# server. No retries: they would double the wait, and a run or a point that had arrived would be made a second time.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "GIT_PYTHON_REFRESH": "quiet",
}
# What MLflow's HTTP client says at length.
MEANING_BY_SIGN = {"Connection refused": "nobody answers", "Read timed out": "it does not answer in time"}
NOT_THE_REASON = "(raised as a result of"  # how SQLAlchemy begins, before it comes to the point


def tracking_uri(given: str | None = None) -> str:
    """The store to use: as given, else MLFLOW_TRACKING_URI, else SQLite in `mlruns/`. SQLite paths become absolute."""
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or home().tracking_uri
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri


def connect(uri: str) -> "MlflowClient":
    """A client for a store that is there and answers; a local database is made where it is missing.

    Raises:
        TrackingError: nobody answers, or the store can't be opened or written.
    """
    _settle()
    if uri.startswith(HTTP):
        require_answer(uri)
    elif uri.startswith(SQLITE):
        if uri == home().tracking_uri:
            home().make()
        prepare_database(_database(uri))
    return _client(uri)


def open_store(uri: str) -> "MlflowClient":
    """As `connect`, but a local database that is missing is not made. Raises TrackingError."""
    if uri.startswith(SQLITE) and not _database(uri).exists():
        raise TrackingError(f"the database {_database(uri)} is gone")
    return connect(uri)


def is_deleted(uri: str, run_id: str) -> bool:
    """Whether a person deleted a run in MLflow; a server that is away can't tell, and then it counts as there.

    Raises:
        TrackingError: MLflow does not know the run, or a local database can't be read.
    """
    if uri.startswith(SQLITE):
        return database_says_deleted(_database(uri), run_id)
    if not _answers_at_once(uri):
        return False
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        return bool(connect(uri).get_run(run_id).info.lifecycle_stage == "deleted")
    except TrackingError:
        return False
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise unknown(run_id, f"{uri} does not know it") from error
        return False


def _answers_at_once(uri: str) -> bool:
    """Whether a server is there and well, by its own word for that; other stores say nothing, and count as there."""
    if not uri.startswith(("http://", "https://")):
        return True
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=GLANCE_TIMEOUT_S).close()  # noqa: S310 (http alone)
    except urllib.error.HTTPError:
        return True  # it answers, if with a refusal
    except OSError:
        return False
    return True


def experiment_id(client: "MlflowClient", uri: str) -> str:
    """The experiment that holds all runs; made where it is missing. Artifacts lie beside a local database."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    location = artifacts_location(_database(uri)) if uri.startswith(SQLITE) else None
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location, tags=EXPERIMENT_TAGS))
    except MlflowException:  # another process was quicker
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            raise
        return str(found.experiment_id)


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says what is wrong, or its type where it has none."""
    for sign, meaning in MEANING_BY_SIGN.items():
        if sign in str(error):
            return meaning
    lines = [line for line in str(error).strip().splitlines() if not line.startswith(NOT_THE_REASON)]
    return lines[0][:200] if lines else type(error).__name__


def _settle() -> None:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def _client(uri: str) -> "MlflowClient":
    with quiet_mlflow():
        import mlflow

        try:
            client = mlflow.MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
        except Exception as error:  # whatever a store, its driver or its server raises, the remedy is the same
            raise TrackingError(
                f"the tracking store {uri} can't be used ({first_line(error)}); see --tracking-uri and"
                " MLFLOW_TRACKING_URI"
            ) from error
    return client


def require_answer(uri: str) -> None:
    """See that somebody listens where a server should be. Raises TrackingError."""
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
