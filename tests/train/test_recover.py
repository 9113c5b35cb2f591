"""Recovering: a damaged checkpoint costs some steps, never the run, and nothing is ever thrown away."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from clipexp.errors import CheckpointError
from clipexp.events import EndEvent
from clipexp.spec.run import RunSpec
from clipexp.track import checkpoint_names
from clipexp.track.checkpoint_names import BEST
from clipexp.train import checkpoint
from clipexp.train.checkpoint import META_FILE, MODEL_FILE, OPTIMIZER_FILE, TrainState, recover, save
from tests.train.conftest import BATCH, HASH, Runs

NEWEST, BEFORE = checkpoint_names.name_at(10 * BATCH), checkpoint_names.name_at(5 * BATCH)
TOTAL = 24 * BATCH
FILES = [META_FILE, MODEL_FILE, OPTIMIZER_FILE]


@pytest.fixture
def spec(runs: Runs) -> RunSpec:
    return runs.spec(data={"augment": "random_resized_crop", "captions": "sample"}, train={"keep_best": False})


@pytest.fixture(scope="module")
def ended(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a run that nothing happened to; beside it lie those after steps 5 and 10."""
    runs = Runs(small_store, tmp_path_factory.mktemp("whole"))
    spec = runs.spec(
        data={"augment": "random_resized_crop", "captions": "sample"}, train={"keep_best": False, "keep_last": 99}
    )
    list(runs.events(spec))
    return runs.checkpoints / "run" / checkpoint_names.name_at(TOTAL)


@pytest.fixture
def root(runs: Runs, ended: Path) -> Path:
    """A run that was killed behind step 10."""
    for name in (BEFORE, NEWEST):
        shutil.copytree(ended.parent / name, runs.checkpoints / "run" / name)
    return runs.checkpoints / "run"


def state(samples_seen: int, *, is_best: bool = False) -> TrainState:
    tensors = {"weight": torch.full((3,), float(samples_seen))}
    return TrainState(tensors, {}, {"samples_seen": samples_seen, "is_best": is_best})


def made(root: Path, *samples_seen: int) -> Path:
    for samples in samples_seen:
        save(root / checkpoint_names.name_at(samples), state(samples), HASH)
    return root


def damage(folder: Path) -> None:
    (folder / MODEL_FILE).write_bytes(b"")


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def cuts() -> Iterator[tuple[str, float]]:
    """Twenty lengths over all files."""
    for name, num in ((META_FILE, 6), (MODEL_FILE, 7), (OPTIMIZER_FILE, 7)):
        yield from ((name, number / num) for number in range(num))


@pytest.mark.parametrize(("name", "share"), cuts())
def test_a_newest_checkpoint_cut_short_anywhere_costs_the_steps_since_the_one_before(
    runs: Runs, spec: RunSpec, root: Path, ended: Path, name: str, share: float
) -> None:
    content = (root / NEWEST / name).read_bytes()
    (root / NEWEST / name).write_bytes(content[: int(len(content) * share)])
    recovered = recover(root, HASH)
    assert recovered.folder == root / BEFORE
    assert len(recovered.set_aside) == 1
    assert f"kept as {NEWEST}.damaged" in recovered.set_aside[0]
    *_, end = runs.events(spec)
    assert end == EndEvent(TOTAL, "finished")
    assert checkpoint.final_digest(root / ended.name) == checkpoint.final_digest(ended)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_flipped_bit_anywhere_costs_the_steps_since_the_one_before(
    runs: Runs, spec: RunSpec, root: Path, ended: Path, name: str, share: float
) -> None:
    content = bytearray((root / NEWEST / name).read_bytes())
    content[int(len(content) * share)] ^= 1
    (root / NEWEST / name).write_bytes(content)
    assert recover(root, HASH).folder == root / BEFORE
    *_, end = runs.events(spec)
    assert end == EndEvent(TOTAL, "finished")
    assert checkpoint.final_digest(root / ended.name) == checkpoint.final_digest(ended)


def test_a_version_number_changed_by_damage_is_damage_and_no_other_version(root: Path) -> None:
    meta = root / NEWEST / META_FILE
    meta.write_text(meta.read_text().replace('"version": 2', '"version": 3'))
    assert recover(root, HASH).folder == root / BEFORE


def test_without_checkpoints_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert recover(tmp_path / "missing", HASH) == checkpoint.Recovered(None, None, ())


def test_the_best_is_taken_when_all_numbered_ones_are_damaged(tmp_path: Path) -> None:
    root = made(tmp_path, 10)
    shutil.copytree(root / checkpoint_names.name_at(10), root / BEST)
    damage(root / checkpoint_names.name_at(10))
    recovered = recover(root, HASH)
    assert recovered.folder == root / BEST
    assert recovered.state is not None
    assert recovered.state.progress["samples_seen"] == 10
    assert names(root) == {BEST, f"{checkpoint_names.name_at(10)}.damaged"}


def test_damaged_checkpoints_of_one_name_are_all_kept(tmp_path: Path) -> None:
    for suffix in ("", "-2", "-3"):
        damage(made(tmp_path, 10, 20) / checkpoint_names.name_at(20))
        recover(tmp_path, HASH)
        assert f"{checkpoint_names.name_at(20)}.damaged{suffix}" in names(tmp_path)


def test_what_was_set_aside_is_neither_newest_nor_pruned(tmp_path: Path) -> None:
    damage(made(tmp_path, 10, 20) / checkpoint_names.name_at(20))
    recover(tmp_path, HASH)
    checkpoint.prune(made(tmp_path, 15), keep_last=1)
    assert checkpoint_names.newest(tmp_path) == tmp_path / checkpoint_names.name_at(15)
    assert names(tmp_path) == {checkpoint_names.name_at(15), f"{checkpoint_names.name_at(20)}.damaged"}


def test_if_none_is_whole_nothing_is_renamed_and_from_start_is_named(tmp_path: Path) -> None:
    root = made(tmp_path, 10, 20)
    shutil.copytree(root / checkpoint_names.name_at(10), root / BEST)
    before = names(root)
    for name in before:
        damage(root / name)
    with pytest.raises(
        CheckpointError, match=r"no checkpoint in .* is whole; `clipexp run SPEC --from-start`"
    ) as caught:
        recover(root, HASH)
    assert all(name in str(caught.value) for name in before)
    assert names(root) == before


@pytest.mark.parametrize("damaged_too", [False, True])
def test_another_specs_checkpoint_is_refused_and_nothing_is_renamed(tmp_path: Path, damaged_too: bool) -> None:
    root = made(tmp_path, 10, 20)
    if damaged_too:
        damage(root / checkpoint_names.name_at(20))
    with pytest.raises(CheckpointError, match=rf"is of spec {HASH}, this run's is ffffffffffff"):
        recover(root, "ffffffffffff")
    assert names(root) == {checkpoint_names.name_at(10), checkpoint_names.name_at(20)}


def test_a_best_that_was_not_copied_is_copied(tmp_path: Path) -> None:
    made(tmp_path, 10)
    checkpoint.keep_as_best(tmp_path / checkpoint_names.name_at(10))
    save(tmp_path / checkpoint_names.name_at(20), state(20, is_best=True), HASH)
    recover(tmp_path, HASH)
    assert checkpoint.read_meta(tmp_path / BEST)["progress"]["samples_seen"] == 20


def test_a_best_that_is_there_is_left_alone(tmp_path: Path) -> None:
    save(tmp_path / checkpoint_names.name_at(20), state(20, is_best=True), HASH)
    checkpoint.keep_as_best(tmp_path / checkpoint_names.name_at(20))
    before = (tmp_path / BEST).stat().st_ino
    recover(tmp_path, HASH)
    assert (tmp_path / BEST).stat().st_ino == before
