"""A working directory with one finished run, made once."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

import clipexp
from clipexp.spec.load import resolve
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
