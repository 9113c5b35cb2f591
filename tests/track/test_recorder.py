"""The recorder: MLflow gets every point once, and its absence costs nothing but the delivery."""

import shutil
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from clipexp.events import StepEvent
from clipexp.track import recorder as recorder_module
from clipexp.track.home import home
from clipexp.track.journal import Journal, points
from clipexp.track.mlflow_store import connect, experiment_id
from clipexp.track.recorder import Recorder


@pytest.fixture
def client(workplace: Path, empty_mlruns: Path) -> MlflowClient:
    shutil.copytree(empty_mlruns, workplace / "mlruns")
    return connect(home().tracking_uri)


@pytest.fixture
def run_id(client: MlflowClient) -> str:
    return str(client.create_run(experiment_id(client, home().tracking_uri)).info.run_id)


def record(client: MlflowClient, run_id: str, start: int, steps: range) -> Recorder:
    with Journal(home().journals / run_id) as journal:
        journal.begin(start)
        with Recorder(client, run_id, journal) as recorder:
            for samples in steps:
                recorder.record(StepEvent(samples, 0.0, {"train/loss": 1 / samples}))
    return recorder


def test_mlflow_gets_every_point_with_samples_seen_as_its_step(client: MlflowClient, run_id: str) -> None:
    record(client, run_id, 0, range(10, 2600))
    history = client.get_metric_history(run_id, "train/loss")
    assert [(p.step, p.value) for p in history] == [(n, 1 / n) for n in range(10, 2600)]


def test_points_in_mlflow_have_the_journals_time(client: MlflowClient, run_id: str) -> None:
    record(client, run_id, 0, range(1, 4))
    in_journal = [p.time_ms for p in points(home().journals / run_id)["train/loss"]]
    assert [p.timestamp for p in client.get_metric_history(run_id, "train/loss")] == in_journal


def test_a_resumed_run_repeats_no_point_in_mlflow(client: MlflowClient, run_id: str) -> None:
    record(client, run_id, 0, range(1, 10))
    record(client, run_id, 5, range(6, 15))
    assert [p.step for p in client.get_metric_history(run_id, "train/loss")] == list(range(1, 15))


def test_what_a_killed_attempt_left_undelivered_is_delivered_by_the_next(client: MlflowClient, run_id: str) -> None:
    with Journal(home().journals / run_id) as journal:  # killed before its recorder delivered these
        journal.begin(0)
        for samples in (1, 2, 3):
            journal.append(StepEvent(samples, 0.0, {"train/loss": 1 / samples}))
    client.log_metric(run_id, "train/loss", 1 / 3, step=3)
    record(client, run_id, 3, range(4, 6))
    assert sorted(p.step for p in client.get_metric_history(run_id, "train/loss")) == [1, 2, 3, 4, 5]


def test_a_store_that_fails_stalls_no_step_and_is_owed_every_point(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(client, "log_batch", refuse)
    monkeypatch.setattr(recorder_module, "FINAL_TRIES_S", 0.1)
    start_s = time.perf_counter()
    recorder = record(client, run_id, 0, range(1, 101))
    assert time.perf_counter() - start_s < 5
    assert recorder.num_owed == 100
    assert recorder.last_error == "gone"
    assert len(points(home().journals / run_id)["train/loss"]) == 100
