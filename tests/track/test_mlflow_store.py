"""Reaching MLflow's store, or saying clearly why not."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from clipexp.errors import TrackingError
from clipexp.track.home import home
from clipexp.track.mlflow_store import SETTINGS, connect, first_line, is_deleted, tracking_uri

LOG_A_RUN = """
from mlflow.entities import Metric
from clipexp.track.home import home
from clipexp.track.mlflow_store import connect, experiment_id
uri = home().tracking_uri
client = connect(uri)
print(experiment_id(client, uri))
run_id = client.create_run(experiment_id(client, uri)).info.run_id
for step in range(20):
    client.log_batch(run_id, [Metric(f"metric_{i}", 0.5, 0, step) for i in range(20)])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_flag_beats_the_environment_which_beats_mlruns(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri() == f"sqlite:///{workplace / 'mlruns' / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    assert tracking_uri() == "http://localhost:1"
    assert tracking_uri("sqlite:///x.db") == f"sqlite:///{workplace / 'x.db'}"


def test_a_server_that_nobody_runs_is_refused_at_once(workplace: Path) -> None:
    with pytest.raises(TrackingError, match=r"nobody answers at the tracking URI http://127.0.0.1:\d+"):
        connect(f"http://127.0.0.1:{free_port()}")
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("uri", ["http://127.0.0.1:99999", "postgresql://nobody@127.0.0.1/x", "sqlite:///bad.db"])
def test_a_store_that_can_not_be_used_is_one_clear_error(workplace: Path, uri: str) -> None:
    (workplace / "bad.db").write_bytes(b"not a database" * 100)
    with pytest.raises(TrackingError, match=r"nobody answers|can't be used"):
        connect(tracking_uri(uri))


def test_an_unknown_kind_of_store_is_refused(workplace: Path) -> None:
    with pytest.raises(TrackingError, match="can't be used"):
        connect("carrier-pigeon://loft")


def test_a_database_that_is_none_is_refused_and_left_as_it_is(workplace: Path) -> None:
    home().make()
    home().database.write_bytes(b"not a database" * 100)
    with pytest.raises(TrackingError, match=r"mlflow\.db can't be used"):
        connect(home().tracking_uri)
    assert home().database.read_bytes() == b"not a database" * 100


def test_a_file_in_place_of_mlruns_is_refused(workplace: Path) -> None:
    (workplace / "mlruns").write_text("")
    with pytest.raises(TrackingError, match="can't write to"):
        connect(home().tracking_uri)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The URI of a server that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_each_call_to_a_silent_server_ends_after_one_timeout(
    silent_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.entities import Metric

    client = MlflowClient(silent_server)
    assert (SETTINGS["MLFLOW_HTTP_REQUEST_TIMEOUT"], SETTINGS["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) == ("10", "0")
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    start_s = time.monotonic()
    with pytest.raises(Exception, match="Read timed out"):
        client.log_batch("0" * 32, metrics=[Metric("loss", 1.0, 0, 0)])
    with pytest.raises(TrackingError, match=rf"{silent_server} can't be used \(it does not answer in time\)"):
        connect(silent_server)
    assert 2 <= time.monotonic() - start_s < 5


def test_a_deleted_run_is_told_from_one_that_is_there_and_from_one_that_mlflow_lost(
    workplace: Path, empty_mlruns: Path
) -> None:
    shutil.copytree(empty_mlruns, workplace / "mlruns")
    uri = home().tracking_uri
    client = connect(uri)
    there, deleted = (client.create_run("1").info.run_id for _ in range(2))
    client.delete_run(deleted)
    assert [is_deleted(uri, run_id) for run_id in (there, deleted)] == [False, True]
    with pytest.raises(TrackingError, match="does not know it: put the database back, or take the run in again"):
        is_deleted(uri, "0" * 32)


def test_a_server_that_is_away_can_not_say_that_a_run_is_deleted(workplace: Path) -> None:
    assert not is_deleted(f"http://127.0.0.1:{free_port()}", "0" * 32)


def test_the_line_of_an_error_is_the_one_that_says_what_is_wrong() -> None:
    message = (
        "(raised as a result of Query-invoked autoflush; consider ...)\n(sqlite3.OperationalError) disk is full\nmore"
    )
    assert first_line(ValueError(message)) == "(sqlite3.OperationalError) disk is full"
    assert first_line(ValueError("")) == "ValueError"
    assert first_line(OSError("HTTPConnectionPool(...): Max retries (Connection refused)")) == "nobody answers"


def test_a_database_that_is_gone_says_nothing_of_its_runs(workplace: Path) -> None:
    with pytest.raises(TrackingError, match=r"is gone: put the database back, .*import mlruns/journals/0000"):
        is_deleted(home().tracking_uri, "0" * 32)


@pytest.mark.slow
def test_eight_processes_that_start_at_once_make_one_database_and_all_log_to_it(workplace: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", LOG_A_RUN], stdout=subprocess.PIPE) for _ in range(8)]
    outputs = [child.communicate(timeout=300)[0].decode().strip() for child in children]
    assert [child.returncode for child in children] == [0] * 8
    assert len(set(outputs)) == 1
    with closing(sqlite3.connect(home().database)) as database:
        assert database.execute("select count(*) from experiments where name = 'clipexp'").fetchone() == (1,)
        assert database.execute("select count(*) from runs").fetchone() == (8,)
        assert database.execute("select count(*) from metrics").fetchone() == (8 * 20 * 20,)
