"""The study's own run, delivered to a real MLflow, and to one that is away."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from clipexp.study import parent as module
from clipexp.study.parent import ParentPoint, ParentRun
from clipexp.track import mlflow_run
from clipexp.track.home import home
from clipexp.track.mlflow_store import connect

POINTS = [ParentPoint("study/val/loss", number, 3.0 - number / 10, 1_700_000_000_000 + number) for number in range(7)]
TAGS = {"clipexp.best_trial": "6"}


def rows(table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect("mlruns/mlflow.db", timeout=30)) as database:
        return sorted(database.execute(f"select * from {table}").fetchall(), key=str)


def make_run() -> str:
    return mlflow_run.create(connect(home().tracking_uri), home().tracking_uri, "quick", "0123456789abcdef")


def wait_until(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until_s, "it did not come true"
        time.sleep(0.05)


def test_points_arrive_with_their_times_and_telling_all_again_changes_nothing(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 3)  # more points than are sent at once
    run_id, client = make_run(), connect(home().tracking_uri)
    (fresh / "report").mkdir()
    (fresh / "report" / "report.md").write_text("# quick")
    kept = []
    for _ in range(2):
        parent = ParentRun(home().tracking_uri, run_id)
        parent.tell(POINTS[:2], {})
        parent.tell(POINTS[2:], TAGS)
        assert parent.finish("finished", 1_700_000_000_999, fresh / "report") == ""
        history = client.get_metric_history(run_id, "study/val/loss")
        assert [ParentPoint(p.key, p.step, p.value, p.timestamp) for p in history] == POINTS
        run = client.get_run(run_id)
        assert run.data.tags["clipexp.best_trial"] == "6"
        assert (run.info.status, run.info.end_time) == ("FINISHED", 1_700_000_000_999)
        assert [item.path for item in client.list_artifacts(run_id, "report")] == ["report/report.md"]
        kept.append((rows("metrics"), rows("latest_metrics"), rows("tags")))
    assert kept[0] == kept[1]


def test_points_arrive_while_the_study_goes_on(fresh: Path) -> None:
    run_id, client = make_run(), connect(home().tracking_uri)
    parent = ParentRun(home().tracking_uri, run_id)
    parent.tell(POINTS, TAGS)
    wait_until(lambda: len(client.get_metric_history(run_id, "study/val/loss")) == len(POINTS))
    assert client.get_run(run_id).info.status == "RUNNING"
    assert parent.finish("interrupted", 1_700_000_000_999, None) == ""
    assert client.get_run(run_id).info.status == "KILLED"


def test_an_mlflow_that_is_away_is_told_and_holds_nobody_up(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRY_AGAIN_S", 0.1)
    parent = ParentRun("sqlite:////nowhere/mlflow.db", "0" * 32)
    began_s = time.monotonic()
    parent.tell(POINTS, TAGS)
    assert time.monotonic() - began_s < 0.5
    wait_until(lambda: bool(parent.trouble))
    problem = parent.finish("finished", 0, None)
    assert problem.startswith("OWED to MLflow: the study's own run (")
    assert problem.endswith("the same command delivers it")


def test_one_that_hangs_is_given_up_after_a_while(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FINAL_TRIES_S", 0.3)
    is_closing = False

    def hang(_: str) -> None:
        wait_until(lambda: is_closing)
        raise OSError("it never answered")

    monkeypatch.setattr(module, "connect", hang)
    parent = ParentRun("http://127.0.0.1:9", "0" * 32)
    parent.tell(POINTS, TAGS)
    began_s = time.monotonic()
    problem = parent.finish("finished", 0, None)
    assert time.monotonic() - began_s < 5
    assert "does not answer" in problem
    is_closing = True
    parent._thread.join(10)
    assert not parent._thread.is_alive()


def test_what_mlflow_refused_is_delivered_when_it_is_back(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRY_AGAIN_S", 0.1)
    run_id, client = make_run(), connect(home().tracking_uri)
    is_back = False

    def connect_if_back(uri: str) -> object:
        if not is_back:
            raise OSError("connection refused")
        return connect(uri)

    monkeypatch.setattr(module, "connect", connect_if_back)
    parent = ParentRun(home().tracking_uri, run_id)
    parent.tell(POINTS, TAGS)
    wait_until(lambda: parent.trouble == "connection refused")
    is_back = True
    wait_until(lambda: not parent.trouble)
    assert parent.finish("finished", 0, None) == ""
    assert len(client.get_metric_history(run_id, "study/val/loss")) == len(POINTS)
