"""A working directory with one finished run, made once; and ways to disturb runs."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

import clipexp
from clipexp import runner
from clipexp.events import StepEvent, StopReason
from clipexp.spec.load import ResolvedRun, resolve
from clipexp.track.home import home
from clipexp.track.journal import Journal
from clipexp.track.mlflow_store import connect
from clipexp.track.records import RunRecord
from tests.small import small_content


@dataclass(frozen=True)
class Finished:
    """A working directory and the run that was finished in it."""

    folder: Path
    record: RunRecord


@pytest.fixture(scope="session")
def _finished_once(tmp_path_factory: pytest.TempPathFactory, small_store: Path, empty_mlruns: Path) -> Finished:
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(empty_mlruns, folder / "mlruns")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return Finished(folder, clipexp.run(resolve({**small_content(small_store), "hypothesis": "it learns"})))


@pytest.fixture
def finished(_finished_once: Finished, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """The same, as the working directory."""
    monkeypatch.chdir(_finished_once.folder)
    return _finished_once


@pytest.fixture
def short(small_store: Path) -> ResolvedRun:
    """Four steps."""
    return resolve(small_content(small_store, budget={"samples": 128}))


def client() -> MlflowClient:
    """MLflow's, of the working directory."""
    return connect(home().tracking_uri)


def stop_at_first_step(execution: runner.Execution, reason: StopReason) -> None:
    for event in execution.events():
        if isinstance(event, StepEvent):
            execution.ask_to_stop(reason)


def die_after(execution: runner.Execution, num_steps: int) -> None:
    """Leave a run as SIGKILL leaves it: no end in the journal, the lease behind."""
    launch = execution.launch
    assert launch.lease is not None
    with Journal(execution.header.folder) as journal:
        journal.begin(0)
        for number in range(num_steps):
            journal.append(StepEvent(number, 0.0, {"train/loss": 1.0}))
    launch.lease.leave_behind()
