"""A run in a real local MLflow store that was only made, and its header."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from clipexp.track import mlflow_run
from clipexp.track.header import RunHeader, store_name, write_header
from clipexp.track.home import home
from clipexp.track.mlflow_store import connect


@pytest.fixture
def client(workplace: Path, empty_mlruns: Path) -> MlflowClient:
    shutil.copytree(empty_mlruns, workplace / "mlruns")
    client = connect(home().tracking_uri)
    home().make()
    return client


def make_header(client: MlflowClient, name: str = "made") -> RunHeader:
    header = RunHeader(
        run_id=mlflow_run.create(client, home().tracking_uri, name, "launch"),
        spec_hash="0123456789ab",
        store=store_name(home().tracking_uri),
        name=name,
        spec={},
        params={"optim.max_lr": "0.001"},
        tags={"clipexp.group": "g"},
        dataset={"name": "d", "digest": "1", "source_type": "local", "source": "{}", "profile": "{}"},
        cost_key="",
        device="cpu",
        created_ms=1,
        launch="launch",
    )
    write_header(header)
    return header


@pytest.fixture
def header(client: MlflowClient) -> RunHeader:
    return make_header(client)
