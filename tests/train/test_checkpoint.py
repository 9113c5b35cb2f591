"""Checkpoints: whole or not there, and told from damaged ones."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from clipexp.errors import CheckpointError
from clipexp.track import checkpoint_names
from clipexp.train import checkpoint, tensor_file
from clipexp.train.checkpoint import META_FILE, MODEL_FILE, OPTIMIZER_FILE, TrainState, load, save

HASH = "0123456789ab"
FILES = [META_FILE, MODEL_FILE, OPTIMIZER_FILE]


def state(value: float = 1.0) -> TrainState:
    model = {"weight": torch.full((3, 4), value), "logit_scale": torch.tensor(2.6593)}
    optimizer = {"0.exp_avg": torch.arange(12.0).view(3, 4), "0.step": torch.tensor(7.0)}
    window = {"loss": 0.1 + 0.2, "grad_norm": 1e-7, "num_steps": 2}
    return TrainState(model, optimizer, {"samples_seen": 112, "best_loss": float("inf"), "window": window})


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run" / checkpoint_names.name_at(112)
    save(path, state(), HASH)
    return path


def test_a_checkpoint_comes_back_bit_for_bit(folder: Path) -> None:
    loaded = load(folder, HASH)
    assert same(dict(loaded.model), dict(state().model))
    assert same(dict(loaded.optimizer), dict(state().optimizer))
    assert loaded.progress == state().progress


def test_an_optimizer_without_state_is_kept_too(tmp_path: Path) -> None:
    save(tmp_path / "c", TrainState(state().model, {}, {"samples_seen": 0}), HASH)
    assert load(tmp_path / "c", HASH).optimizer == {}


def test_files_are_safetensors_and_json_so_that_loading_runs_no_code(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert isinstance(json.loads((folder / META_FILE).read_text()), dict)
    for name in (MODEL_FILE, OPTIMIZER_FILE):
        content = (folder / name).read_bytes()
        header_bytes = int.from_bytes(content[:8], "little")  # the format: a length, a JSON header, the numbers
        assert isinstance(json.loads(content[8 : 8 + header_bytes]), dict)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_refused(folder: Path, name: str, share: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"damaged|no whole checkpoint|can't be read"):
        load(folder, HASH)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=r"damaged|no whole checkpoint|can't be read"):
        load(folder, HASH)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_refused_wherever_it_is(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (folder / name).write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load(folder, HASH)
    (folder / name).write_bytes(content)
    assert load(folder, HASH).progress == state().progress


def test_another_specs_checkpoint_is_refused_by_name(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"is of spec {HASH}, this run's is ffffffffffff"):
        load(folder, "ffffffffffff")


def test_another_versions_checkpoint_is_refused_by_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "VERSION", checkpoint.VERSION + 1)
    with pytest.raises(CheckpointError, match="is of version 2, this clipexp reads 3; start the run anew"):
        load(folder, HASH)


@pytest.mark.parametrize("failing_call", [1, 2])
def test_a_write_that_fails_leaves_the_one_before_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    calls = 0

    def full_disk(path: Path, *_: object) -> str:
        nonlocal calls
        calls += 1
        path.write_bytes(b"half a file")
        if calls == failing_call:
            raise OSError(28, "No space left on device")
        return ""

    monkeypatch.setattr(tensor_file, "write", full_disk)
    for target in (folder, folder.with_name(checkpoint_names.name_at(224))):
        calls = 0
        with pytest.raises(OSError, match="No space left on device"):
            save(target, state(2.0), HASH)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert same(dict(load(folder, HASH).model), dict(state().model))


def test_a_write_that_is_no_longer_wanted_leaves_nothing(folder: Path) -> None:
    later = folder.with_name(checkpoint_names.name_at(224))
    with pytest.raises(tensor_file.CancelledWriteError):
        save(later, state(2.0), HASH, is_cancelled=lambda: True)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_all_but_the_name_is_there_when_the_checkpoint_is_about_to_be_published(tmp_path: Path) -> None:
    seen: list[str] = []
    folder = tmp_path / checkpoint_names.name_at(112)
    save(folder, state(), HASH, lambda: seen.extend(path.name for path in tmp_path.iterdir()))
    assert seen == [f"{folder.name}.tmp"]


def test_equal_weights_have_equal_digests_whatever_the_optimizer_holds(folder: Path) -> None:
    other = folder.with_name(checkpoint_names.name_at(224))
    save(other, TrainState(state().model, {}, {"samples_seen": 224}), HASH)
    assert checkpoint.final_digest(folder) == checkpoint.final_digest(other)
    save(other, state(2.0), HASH)
    assert checkpoint.final_digest(folder) != checkpoint.final_digest(other)


@pytest.mark.parametrize("dtype", list(tensor_file.NAME_BY_DTYPE), ids=str)
def test_every_kind_of_number_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"b": torch.ones(3, dtype=torch.uint8), "a": (torch.arange(5) * 3).to(dtype), "c": torch.tensor(2.5)}
    digest = tensor_file.write(tmp_path / "file", tensors, lambda: False)
    assert same(load_file(tmp_path / "file"), tensors)
    assert digest == hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()


def test_a_file_of_many_pieces_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_file, "PIECE_BYTES", 100)
    tensors = {"weight": torch.arange(1000.0)}
    tensor_file.write(tmp_path / "file", tensors, lambda: False)
    assert same(load_file(tmp_path / "file"), tensors)


def test_what_a_killed_write_left_behind_is_neither_found_nor_in_the_way(folder: Path) -> None:
    later = folder.with_name(checkpoint_names.name_at(224))
    left = later.with_name(f"{later.name}.tmp")
    left.mkdir()
    (left / MODEL_FILE).write_text("half a file")
    assert checkpoint_names.newest(folder.parent) == folder
    save(later, state(2.0), HASH)
    assert checkpoint_names.newest(folder.parent) == later
    assert not left.exists()


def test_writing_again_replaces_what_was_there(folder: Path) -> None:
    save(folder, state(2.0), HASH)
    assert load(folder, HASH).model["weight"][0, 0].item() == 2


def test_newest_has_seen_the_most_samples(tmp_path: Path) -> None:
    for samples in (900, 10_000, 20):
        (tmp_path / checkpoint_names.name_at(samples)).mkdir()
    assert checkpoint_names.newest(tmp_path) == tmp_path / checkpoint_names.name_at(10_000)


def test_there_is_no_newest_where_there_is_none(tmp_path: Path) -> None:
    assert checkpoint_names.newest(tmp_path / "missing") is None
    (tmp_path / checkpoint_names.BEST).mkdir()
    assert checkpoint_names.newest(tmp_path) is None


@pytest.mark.parametrize(("keep_last", "left"), [(1, [30]), (2, [20, 30]), (9, [10, 20, 30])])
def test_prune_keeps_the_newest_and_the_best(tmp_path: Path, keep_last: int, left: list[int]) -> None:
    for name in [checkpoint_names.name_at(samples) for samples in (10, 20, 30)] + [checkpoint_names.BEST]:
        (tmp_path / name).mkdir()
    checkpoint.prune(tmp_path, keep_last)
    names = [checkpoint_names.BEST, *(checkpoint_names.name_at(samples) for samples in left)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_the_best_outlives_the_checkpoint_it_was_taken_from(folder: Path) -> None:
    checkpoint.keep_as_best(folder)
    save(folder.with_name(checkpoint_names.name_at(224)), state(2.0), HASH)
    checkpoint.prune(folder.parent, keep_last=1)
    assert not folder.exists()
    assert same(dict(load(folder.parent / checkpoint_names.BEST, HASH).model), dict(state().model))


def test_whatever_lies_in_the_best_copys_way_is_removed(folder: Path) -> None:
    (folder.parent / f"{checkpoint_names.BEST}.tmp").write_text("a file where the folder should be")
    checkpoint.keep_as_best(folder)
    assert same(dict(load(folder.parent / checkpoint_names.BEST, HASH).model), dict(state().model))


def test_a_better_checkpoint_takes_the_place_of_the_best(folder: Path) -> None:
    checkpoint.keep_as_best(folder)
    later = folder.with_name(checkpoint_names.name_at(224))
    save(later, state(2.0), HASH)
    checkpoint.keep_as_best(later)
    assert load(folder.parent / checkpoint_names.BEST, HASH).model["weight"][0, 0].item() == 2
