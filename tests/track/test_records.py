"""The read side: runs found by what a person would type."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from clipexp.errors import TrackingError
from clipexp.track.home import home
from clipexp.track.mlflow_store import connect, experiment_id
from clipexp.track.records import SPEC_HASH_TAG, Note, add_note, find_run, list_runs, read_run


@pytest.fixture
def store(workplace: Path, empty_mlruns: Path) -> MlflowClient:
    shutil.copytree(empty_mlruns, workplace / "mlruns")
    return connect(home().tracking_uri)


def make(client: MlflowClient, name: str, spec_hash: str = "", start_time: int = 0) -> str:
    run = client.create_run(
        experiment_id(client, home().tracking_uri), start_time, {SPEC_HASH_TAG: spec_hash}, run_name=name
    )
    return str(run.info.run_id)


def test_a_run_is_found_by_id_by_its_start_by_name_and_by_spec_hash(store: MlflowClient) -> None:
    run_id = make(store, "one", "abc123")
    make(store, "other")
    assert {find_run(store, reference) for reference in (run_id, run_id[:8], "one", "abc123")} == {run_id}


def test_of_two_runs_of_one_name_the_newest_is_meant(store: MlflowClient) -> None:
    make(store, "same", start_time=1000)
    newest = make(store, "same", start_time=2000)
    assert find_run(store, "same") == newest


def test_of_two_runs_of_one_name_the_finished_one_is_meant(store: MlflowClient) -> None:
    finished = make(store, "same", start_time=1000)
    store.set_terminated(finished, "FINISHED")
    make(store, "same", start_time=2000)
    assert find_run(store, "same") == finished


def test_an_unknown_run_is_an_error_that_names_the_known_ones(store: MlflowClient) -> None:
    make(store, "one")
    with pytest.raises(TrackingError, match=r"there is no run two; runs here: one"):
        find_run(store, "two")


def test_more_runs_than_a_page_are_all_listed_newest_first(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipexp.track.records.PAGE", 2)
    for number in range(5):
        make(store, f"run{number}", start_time=1000 + number)
    assert [record.name for record in list_runs(store)] == ["run4", "run3", "run2", "run1", "run0"]


def test_notes_are_kept_in_order(store: MlflowClient) -> None:
    run_id = make(store, "one")
    notes = (Note("2026-01-01", "first"), Note("2026-01-02", "second, with “quotes”"))
    for note in notes:
        add_note(store, run_id, note)
    assert read_run(store, run_id).notes == notes


def test_without_a_journal_curves_come_from_mlflow_each_point_once(store: MlflowClient) -> None:
    run_id = make(store, "elsewhere")
    store.set_tag(run_id, "clipexp.num_train_pairs", "100")
    for step, value in ((50, 3.0), (100, 2.0), (100, 2.0)):
        store.log_metric(run_id, "train/loss", value, step=step)
    curve = read_run(store, run_id).curves["train/loss"]
    assert [(p.samples_seen, p.epoch, p.value) for p in curve] == [(50, 0.5, 3.0), (100, 1.0, 2.0)]
