"""Reaching MLflow's store, or saying clearly why not."""

import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from clipexp.errors import TrackingError
from clipexp.track.home import home
from clipexp.track.mlflow_store import connect, tracking_uri


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


@pytest.mark.slow
def test_four_processes_that_make_the_database_at_once_all_work(workplace: Path) -> None:
    code = "from clipexp.track.home import home; from clipexp.track.mlflow_store import connect, experiment_id;"
    code += " uri = home().tracking_uri; print(experiment_id(connect(uri), uri))"
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(4)]
    outputs = [child.communicate(timeout=300)[0].decode().strip() for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert len(set(outputs)) == 1
    with sqlite3.connect(home().database) as database:
        assert database.execute("select count(*) from experiments where name = 'clipexp'").fetchone() == (1,)
