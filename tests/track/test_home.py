"""The folders below `mlruns/`."""

import threading
from pathlib import Path

import pytest

from clipexp.errors import TrackingError
from clipexp.track.home import Home


def test_processes_that_make_the_folders_at_the_same_moment_dont_get_in_each_others_way(tmp_path: Path) -> None:
    errors: list[TrackingError] = []

    def make_often() -> None:
        try:
            for _ in range(200):
                Home(tmp_path / "mlruns").make()
        except TrackingError as error:
            errors.append(error)

    threads = [threading.Thread(target=make_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_folder_that_cant_be_made_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("a file stands in its place")
    with pytest.raises(TrackingError, match=r"can't write to .*mlruns.*make it writable"):
        Home(tmp_path / "mlruns").make()
