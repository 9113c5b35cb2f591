"""Prepared stores that several tests read; one that damages a store copies it first."""

import shutil
from pathlib import Path

import pytest

from clipexp.data.prepare import prepare
from clipexp.data.store import Store
from tests.data.made import CONTEXT_LENGTH, data_spec


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """1,200 scenes of 16 px, 100 of them for validation."""
    folder = tmp_path_factory.mktemp("scenes") / "store"
    spec = data_spec(folder, {"kind": "scenes-v1", "num_pairs": 1200}, split={"num_val": 100})
    return prepare(spec, CONTEXT_LENGTH)


@pytest.fixture(scope="session")
def few_scenes(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """60 scenes of 16 px, as `data_spec(store)` says."""
    return prepare(data_spec(tmp_path_factory.mktemp("few") / "store"), CONTEXT_LENGTH)


@pytest.fixture
def own_store(few_scenes: Store, tmp_path: Path) -> Store:
    """A copy to damage."""
    return Store(Path(shutil.copytree(few_scenes.folder, tmp_path / "store")))
