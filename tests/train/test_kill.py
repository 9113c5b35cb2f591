"""SIGKILL at every single file operation: what is found afterwards is whole, and is the older or the newer state.

A forked child ends itself by SIGKILL at its n-th file operation, which Python's audit hook tells of, for every n.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from clipexp.track import checkpoint_names
from clipexp.track.checkpoint_names import BEST
from clipexp.train import checkpoint
from clipexp.train.checkpoint import TrainState, recover, save
from tests.train.conftest import HASH

FILE_OPERATIONS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.listdir", "os.scandir"}


def state(samples_seen: int, value: float, *, is_best: bool = True) -> TrainState:
    tensors = {"weight": torch.full((3,), value)}
    progress = {"samples_seen": samples_seen, "is_best": is_best, "value": value}
    return TrainState(tensors, tensors, progress)


def killed_at(number: int, action: Callable[[], object]) -> bool:
    """Do it in a child that is killed at that operation; whether it came so far."""
    child = os.fork()
    if child == 0:
        count = 0

        def hook(name: str, _: object) -> None:
            nonlocal count
            if name in FILE_OPERATIONS:
                count += 1
                if count > number:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def value_of(folder: Path) -> float:
    loaded = checkpoint.load(folder, HASH)
    assert loaded.model["weight"][0].item() == loaded.progress["value"]
    return float(loaded.progress["value"])


def write_next(root: Path, samples_seen: int) -> None:
    """What the writing thread does for a checkpoint that is the best."""
    folder = root / checkpoint_names.name_at(samples_seen)
    save(folder, state(samples_seen, 2.0), HASH)
    checkpoint.keep_as_best(folder)
    checkpoint.prune(root, keep_last=1)


def before(root: Path) -> None:
    """A checkpoint of value 1, which is the best."""
    save(root / checkpoint_names.name_at(10), state(10, 1.0), HASH)
    checkpoint.keep_as_best(root / checkpoint_names.name_at(10))


@pytest.mark.parametrize("samples_seen", [20, 10], ids=["a later one", "one in the same place"])
def test_killed_while_writing_a_run_finds_the_older_or_the_newer_checkpoint_and_a_whole_best(
    tmp_path: Path, samples_seen: int
) -> None:
    found = []
    for number in range(1000):
        root = tmp_path / str(number)
        before(root)
        if not killed_at(number, lambda root=root: write_next(root, samples_seen)):  # type: ignore[misc]
            break
        recovered = recover(root, HASH)
        assert recovered.folder is not None
        assert recovered.set_aside == ()
        found.append(value_of(recovered.folder))
        assert value_of(root / BEST) == found[-1]
        assert all(path.suffix == "" for path in root.iterdir()), "nothing is left lying about"
        assert all(value_of(path) for path in root.iterdir()), "none has a part missing"
    assert found == sorted(found)
    assert {1.0, 2.0} == {*found}
    assert len(found) > 20


def test_killed_while_recovering_a_run_recovers_the_next_time(tmp_path: Path) -> None:
    for number in range(1000):
        root = tmp_path / str(number)
        before(root)
        save(root / checkpoint_names.name_at(20), state(20, 2.0), HASH)  # its copy as best was not made
        save(root / checkpoint_names.name_at(30), state(30, 3.0), HASH)
        (root / checkpoint_names.name_at(30) / checkpoint.MODEL_FILE).write_bytes(b"")
        (root / checkpoint_names.name_at(10)).rename(root / f"{checkpoint_names.name_at(10)}.old")
        (root / f"{checkpoint_names.name_at(40)}.tmp").mkdir()
        was_killed = killed_at(number, lambda root=root: recover(root, HASH))  # type: ignore[misc]
        recovered = recover(root, HASH)
        assert recovered.folder == root / checkpoint_names.name_at(20)
        assert value_of(root / BEST) == 2
        assert value_of(root / checkpoint_names.name_at(10)) == 1
        assert (root / f"{checkpoint_names.name_at(30)}.damaged").exists()
        if not was_killed:
            break
    assert number > 10
