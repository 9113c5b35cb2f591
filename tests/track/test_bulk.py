"""Many runs at once: the bulk readers say what the single ones say."""

import dataclasses
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from clipexp.errors import TrackingError
from clipexp.events import EndEvent, EvalEvent, Event, FaultEvent, StepEvent
from clipexp.track.bulk import artifact_folders, curves_from_database, read_journal, read_journals
from clipexp.track.home import home
from clipexp.track.journal import Journal, last_strips, pack, points
from clipexp.track.mlflow_store import connect, experiment_id
from clipexp.track.records import find_run, list_runs, read_run, read_runs


@pytest.fixture
def store(workplace: Path, empty_mlruns: Path) -> MlflowClient:
    shutil.copytree(empty_mlruns, workplace / "mlruns")
    return connect(home().tracking_uri)


def write(folder: Path, attempts: list[tuple[int, list[Event]]]) -> Path:
    for start, events in attempts:
        with Journal(folder) as journal:
            journal.begin(start)
            for event in events:
                journal.append(event)
    return folder


def step(samples: int, loss: float) -> StepEvent:
    return StepEvent(samples, samples / 100, {"train/loss": loss})


def evaluation(samples: int, loss: float, strips: tuple[float, ...] = ()) -> EvalEvent:
    return EvalEvent(samples, samples / 100, {"val/loss": loss}, (), {"val/loss": strips} if strips else {})


RESUMED: list[tuple[int, list[Event]]] = [
    (-1, [step(10, 5.0), evaluation(10, 4.0, (4.0, 4.1)), step(20, math.nan), FaultEvent(20, "the loss is NaN")]),
    (10, [step(20, 3.0), evaluation(20, 2.0, (2.0, 2.1)), evaluation(30, 1.5), EndEvent(30, "finished")]),
]


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_journal_tells_its_points_strips_and_faults_as_far_as_no_attempt_superseded_them(
    tmp_path: Path, is_packed: bool
) -> None:
    folder = write(tmp_path / "run", RESUMED)
    if is_packed:
        pack(folder)
    told = read_journal(folder)
    assert told is not None
    assert told.curves == points(folder)
    assert told.curves["train/loss"].values.tolist() == [5.0, 3.0]
    assert (told.strips_at, dict(told.strips)) == last_strips(folder) == (20, {"val/loss": (2.0, 2.1)})
    assert told.faults == ()
    assert told.samples_seen == 30


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_fault_at_the_end_of_the_last_attempt_stands(tmp_path: Path, is_packed: bool) -> None:
    folder = write(tmp_path / "run", RESUMED[:1])
    if is_packed:
        pack(folder)
    told = read_journal(folder)
    assert told is not None
    assert told.faults == ("the loss is NaN",)


def test_runs_without_a_journal_are_left_out(store: MlflowClient) -> None:
    (home().journals / ("b" * 32)).mkdir(parents=True)
    assert list(read_journals(["b" * 32, "c" * 32])) == []


def logged(client: MlflowClient, name: str, values: list[tuple[int, float, int]]) -> str:
    """A run with points of one metric: step, value, time stamp."""
    run = client.create_run(experiment_id(client, home().tracking_uri), run_name=name)
    client.set_tag(run.info.run_id, "clipexp.num_train_pairs", "100")
    for samples, value, time_ms in values:
        client.log_metric(run.info.run_id, "train/loss", value, timestamp=time_ms, step=samples)
    return str(run.info.run_id)


def test_from_mlflow_many_runs_are_read_as_one_is(store: MlflowClient) -> None:
    points_logged = [(10, 3.0, 5), (20, 2.0, 9), (20, 7.0, 6), (20, 2.0, 9), (5, math.nan, 7), (30, math.inf, 8)]
    ids = [logged(store, name, points_logged[: 3 + place]) for place, name in enumerate(("a", "b", "c", "d"))]
    full = {run.record.run_id: run.record for run in read_runs(store, list_runs(store))}
    assert set(full) == set(ids)
    for run_id in ids:
        assert repr(full[run_id].curves) == repr(read_run(store, run_id).curves)  # NaN equals itself as a text alone


def test_of_two_values_at_one_step_the_one_with_the_later_time_stamp_counts_once(store: MlflowClient) -> None:
    run_id = logged(store, "a", [(10, 3.0, 9), (10, 4.0, 5), (20, math.nan, 6), (30, -math.inf, 7)])
    curves = curves_from_database(home().database.resolve(), {run_id: 100.0})[run_id]
    assert curves["train/loss"].samples_seen.tolist() == [10, 20, 30]
    assert np.array_equal(curves["train/loss"].values, [3.0, math.nan, -math.inf], equal_nan=True)
    assert curves["train/loss"].epoch.tolist() == [0.1, 0.2, 0.3]


def test_a_run_with_a_journal_is_read_from_it_and_one_without_from_mlflow(store: MlflowClient) -> None:
    there, elsewhere = (logged(store, name, [(10, 3.0, 1)]) for name in ("a", "b"))
    write(home().journals / there, RESUMED)
    by_name = {run.record.name: run for run in read_runs(store, list_runs(store))}
    assert by_name["a"].record.final == {"train/loss": 3.0, "val/loss": 1.5}
    assert by_name["a"].told.strips_at == 20
    assert by_name["b"].record.curves["train/loss"].values.tolist() == [3.0]
    assert by_name["b"].told.samples_seen == 10
    assert elsewhere != there


def test_more_runs_than_one_query_takes_are_all_read(store: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipexp.track.bulk.RUNS_A_QUERY", 2)
    ids = [logged(store, f"run{number}", [(10, float(number), 1)]) for number in range(5)]
    found = curves_from_database(home().database.resolve(), dict.fromkeys(ids, 100.0))
    assert [found[run_id]["train/loss"].values.tolist() for run_id in ids] == [[float(n)] for n in range(5)]


def test_a_deleted_run_is_told_with_how_to_bring_it_back(store: MlflowClient) -> None:
    run_id = logged(store, "gone", [])
    store.delete_run(run_id)
    for reference in ("gone", run_id[:8]):
        with pytest.raises(TrackingError, match=f"run {run_id} \\(gone\\) was deleted in MLflow; bring it back with"):
            find_run(store, reference)


def test_artifact_folders_are_those_that_mlflow_names(store: MlflowClient) -> None:
    run_id = logged(store, "a", [])
    store.log_text(run_id, "x", "spec/resolved.yaml")
    folders = artifact_folders(home().database.resolve(), [run_id, "0" * 32])
    assert list(folders) == [run_id]
    assert (folders[run_id] / "spec" / "resolved.yaml").read_text() == "x"


def test_a_database_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("no database")
    for read in (lambda path: curves_from_database(path, {"a": 1.0}), lambda path: artifact_folders(path, ["a"])):
        with pytest.raises(TrackingError, match="can't be read"):
            read(tmp_path / "x.db")


def test_records_without_curves_keep_what_mlflow_says_they_came_to(store: MlflowClient) -> None:
    logged(store, "a", [(10, 3.0, 1)])
    [record] = list_runs(store)
    assert dataclasses.asdict(record)["final"] == {"train/loss": 3.0}
    assert record.curves == {}
