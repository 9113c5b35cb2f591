"""A prepared set that is changed under `clipexp run`: the run fails and says why, and never trains on other bytes."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from clipexp import runner
from clipexp.data.prepare import prepare
from clipexp.errors import ClipexpError, StoreError
from clipexp.events import CheckpointEvent, EndEvent, Event, StepEvent
from clipexp.spec.load import resolve
from clipexp.track.home import home
from clipexp.track.journal import EVENTS_FILE, end_reason, faults
from tests.e2e.conftest import client
from tests.small import small_content

COMMAND = (sys.executable, "-c", "from clipexp.cli import entry; entry()", "run", "small.yaml")
ENDLESS = 100_000_000  # samples
PATIENCE_S = 90.0


def overwrite(store: Path) -> None:
    """Other bytes of the same number in place, the time of writing set back."""
    shard = store / "train-00000.arrow"
    before = shard.stat()
    with shard.open("r+b") as file:
        file.seek(before.st_size // 4)
        file.write(os.urandom(before.st_size // 2))
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut(store: Path) -> None:
    os.truncate(store / "train-00000.arrow", 4096)


def cut_tokens(store: Path) -> None:
    (tokens,) = store.glob("tokens-*/train.npy")
    os.truncate(tokens, 128)


def cut_validation(store: Path) -> None:
    os.truncate(store / "val-00000.arrow", 4096)


def remove(store: Path) -> None:
    shutil.rmtree(store)


def put_another_in_its_place(store: Path) -> None:
    content = small_content(store.with_name("another"))
    content["data"]["source"]["seed"] = 1
    other = resolve(content).spec
    prepare(other.data, other.model.context_length)
    store.rename(store.with_name("before"))
    store.with_name("another").rename(store)


@pytest.fixture
def store(fresh: Path, small_store: Path) -> Path:
    """To be spoilt."""
    return Path(shutil.copytree(small_store, fresh / "store"))


def endless(store: Path) -> dict[str, Any]:
    return small_content(store, budget={"samples": ENDLESS})


def train_and_spoil(execution: runner.Execution, at_first: type[Event], spoil: Callable[[], None]) -> None:
    is_sound = True
    for event in execution.events():
        if isinstance(event, at_first) and is_sound:
            spoil()
            is_sound = False


def recorded_end(run_id: str) -> tuple[str, str, list[str]]:
    """Status and reason in MLflow, and the journal's faults."""
    run = client().get_run(run_id)
    return run.info.status, run.data.tags["clipexp.stop_reason"], list(faults(home().journals / run_id))


@pytest.mark.parametrize(
    ("spoil", "file"),
    [
        (overwrite, "train-00000.arrow"),
        (cut, "train-00000.arrow"),
        (cut_tokens, "train.npy"),
        (cut_validation, "val-00000.arrow"),
        (remove, ""),  # any of its files
        (put_another_in_its_place, ""),
    ],
)
def test_a_run_whose_set_is_changed_fails_and_says_why(store: Path, spoil: Callable[[Path], None], file: str) -> None:
    execution = runner.start(resolve(endless(store)))
    with pytest.raises(StoreError, match=rf"{file} (was changed while it was in use|can't be read any more)") as caught:
        train_and_spoil(execution, StepEvent, lambda: spoil(store))
    assert recorded_end(execution.run_id) == ("FAILED", "failed", [str(caught.value)])
    artifacts = [file.path for file in client().list_artifacts(execution.run_id, "error")]
    assert artifacts == ["error/traceback.txt"]
    with pytest.raises(ClipexpError):
        runner.start(resolve(endless(store)))


def test_a_run_goes_on_once_its_set_is_as_it_was(store: Path) -> None:
    shutil.copytree(store, store.with_name("kept"))
    spec = resolve(small_content(store, budget={"samples": 640}))
    execution = runner.start(spec)
    with pytest.raises(StoreError, match="was changed while it was in use"):
        train_and_spoil(execution, CheckpointEvent, lambda: overwrite(store))
    shutil.rmtree(store)
    store.with_name("kept").rename(store)
    again = runner.start(spec)
    assert again.run_id == execution.run_id
    assert again.launch.resumed_at > 0
    assert list(again.events())[-1] == EndEvent(640, "finished")


def test_a_command_whose_set_is_cut_ends_with_the_reason_and_no_crash(store: Path) -> None:
    Path("small.yaml").write_text(yaml.safe_dump(endless(store)))
    child = subprocess.Popen(COMMAND, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        until_s = time.monotonic() + PATIENCE_S
        while not any("StepEvent" in log.read_text() for log in home().journals.glob(f"*/{EVENTS_FILE}")):
            assert time.monotonic() < until_s, "nothing was trained"
            time.sleep(0.02)
        cut(store)
        output, _ = child.communicate(timeout=PATIENCE_S)
    finally:
        child.kill()
    assert child.returncode == 2, output
    assert "train-00000.arrow was changed while it was in use" in output
    assert "Traceback" not in output
    (folder,) = home().journals.iterdir()
    assert end_reason(folder) == "failed"
