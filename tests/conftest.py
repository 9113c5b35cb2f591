"""What several folders of tests share: a small real store, specs on it, and a tracked run."""

import os
import shutil
from pathlib import Path

import pytest

from clipexp.data.prepare import prepare
from clipexp.spec.load import ResolvedRun, resolve
from tests.small import small_content

os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "scenes"
    spec = resolve(small_content(folder)).spec
    prepare(spec.data, spec.model.context_length)
    return folder


@pytest.fixture
def small_run(small_store: Path) -> ResolvedRun:
    return resolve(small_content(small_store))


@pytest.fixture(scope="session")
def empty_mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database, to copy: making one takes seconds."""
    from clipexp.track.mlflow_store import connect

    folder = tmp_path_factory.mktemp("empty")
    before = Path.cwd()
    os.chdir(folder)
    try:
        from clipexp.track.home import home

        connect(home().tracking_uri)
    finally:
        os.chdir(before)
    return folder / "mlruns"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fresh(workplace: Path, empty_mlruns: Path) -> Path:
    """An empty working directory whose database is made already."""
    shutil.copytree(empty_mlruns, workplace / "mlruns")
    return workplace
