"""Checkpoints: a folder a checkpoint, safetensors and JSON, nothing that runs code on loading.

    save(root / name_at(samples_seen), state, spec_hash)
    state = recover(root, spec_hash).state

A checkpoint is written beside its place (`NAME.tmp`), then renamed; what stands under its name is whole. `meta.json`
holds the version, the spec's hash and every file's length and checksum, its own among them, so that one cut short or
changed is told from a good one. Where one takes another's place, that one is `NAME.old` for an instant.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from clipexp.errors import CheckpointError
from clipexp.track.checkpoint_names import BEST, DAMAGED, OLD, TMP, numbered, samples_seen_at
from clipexp.train import tensor_file

VERSION = 2  # a later version keeps meta's own checksum, so that it is told from damage
META_FILE, MODEL_FILE, OPTIMIZER_FILE = "meta.json", "model.safetensors", "optimizer.safetensors"


class _DamagedError(CheckpointError):
    """A checkpoint is cut short or changed; the one before may do."""


@dataclass(frozen=True)
class TrainState:
    """All that decides a run's future.

    `model` and `optimizer` are tensors by name; `progress` is plain data: samples_seen, best validation loss, whether
    an evaluation is still due there. What is random is drawn from (seed, samples_seen), so no generator's state is
    kept.
    """

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    progress: Mapping[str, Any]

    @property
    def num_bytes(self) -> int:
        """What it takes on a disk, but for some headers."""
        return sum(tensor.nbytes for tensors in (self.model, self.optimizer) for tensor in tensors.values())


@dataclass(frozen=True)
class Recovered:
    """Where a run goes on: the newest whole checkpoint, or None, and a message for each one that was set aside."""

    state: TrainState | None
    folder: Path | None
    set_aside: tuple[str, ...]


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as tensors by name, `INDEX.FIELD`."""
    state = optimizer.state_dict()["state"]
    return {f"{idx}.{name}": tensor for idx, fields in state.items() for name, tensor in fields.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `flatten_optimizer`, into an optimizer over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        idx, field = name.split(".", 1)
        state.setdefault(int(idx), {})[field] = tensor.clone()  # else training would go on in the mapped file
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def save(
    folder: Path,
    state: TrainState,
    spec_hash: str,
    before_publish: Callable[[], None] = lambda: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Write a checkpoint so that it is there whole or not at all, after a power cut too.

    Args:
        folder: its place; one that stands there stays whole until it is replaced.
        state: tensors contiguous and on the CPU.
        spec_hash: the run's identity.
        before_publish: called when all is on the disk, right before it gets its name.
        is_cancelled: asked again and again while it is written.

    Raises:
        OSError: the disk is full or can't be written; what was half written is gone, all else untouched.
        CancelledWriteError: `is_cancelled` said so; as above.
    """
    tmp = folder.with_name(folder.name + TMP)
    try:
        _remove(tmp)
        tmp.mkdir(parents=True)
        files: dict[str, Any] = {}
        for name, tensors in ((MODEL_FILE, state.model), (OPTIMIZER_FILE, state.optimizer)):
            digest = tensor_file.write(tmp / name, tensors, is_cancelled)
            files[name] = {"bytes": (tmp / name).stat().st_size, "sha256": digest}
        meta = {"version": VERSION, "spec_hash": spec_hash, "progress": dict(state.progress), "files": files}
        (tmp / META_FILE).write_text(_meta_text(meta))
        _sync(tmp / META_FILE)
        _sync(tmp)
        before_publish()
        _publish(tmp, folder)
        _sync(folder.parent.parent)  # where the folder of all checkpoints may be new itself
    except BaseException:
        shutil.rmtree(tmp, ignore_errors=True)  # at once: it may be what fills the disk
        raise


def _publish(tmp: Path, folder: Path) -> None:
    """Give what is whole at `tmp` its name. A kill leaves one whole at NAME, or at NAME.old, which `recover` knows."""
    old = folder.with_name(folder.name + OLD)
    if folder.exists():  # a folder can't be renamed over another
        _remove(old)
        folder.rename(old)
    try:
        tmp.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    _sync(folder.parent)
    _remove(old)


def _remove(path: Path) -> None:
    """Remove a folder or file if it is there. Raises OSError if it can't be."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have a file, or a folder's list of names, stand on the disk itself."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def load(folder: Path, spec_hash: str) -> TrainState:
    """Read a checkpoint, every byte checked. Its tensors are mapped: they are read where they are first used.

    Raises:
        CheckpointError: it is cut short or damaged, of another version, or of another spec.
    """
    meta = read_meta(folder)
    if meta["spec_hash"] != spec_hash:
        raise CheckpointError(
            f"the checkpoint {folder} is of spec {meta['spec_hash']}, this run's is {spec_hash}; move it away"
        )
    try:
        with ThreadPoolExecutor() as pool:  # the files at once: hashing lets other threads run
            fingerprints = pool.map(lambda name: _fingerprint(folder / name), meta["files"])
            found_by_name = dict(zip(meta["files"], fingerprints, strict=True))
        for name, found in found_by_name.items():
            if found != meta["files"][name]:
                raise _DamagedError(f"{folder / name} is cut short or damaged")
        return TrainState(load_file(folder / MODEL_FILE), load_file(folder / OPTIMIZER_FILE), meta["progress"])
    except (OSError, SafetensorError) as error:
        raise _DamagedError(f"{folder} can't be read ({error})") from error


def read_meta(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of itself. Raises CheckpointError if it is damaged or of another version."""
    try:
        text = (folder / META_FILE).read_text()
        meta: dict[str, Any] = json.loads(text)
        version = meta["version"]
        meta.pop("sha256", None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _DamagedError(f"{folder} is no whole checkpoint ({META_FILE} can't be read)") from error
    if _meta_text(meta) != text:
        raise _DamagedError(f"{folder / META_FILE} is damaged")
    if version != VERSION:
        raise CheckpointError(f"{folder} is of version {version}, this clipexp reads {VERSION}; start the run anew")
    return meta


def final_digest(folder: Path) -> str:
    """The sha256 of the model's file: two runs that ended with the same bits have the same.

    Raises:
        CheckpointError: the checkpoint is damaged or of another version.
    """
    return str(read_meta(folder)["files"][MODEL_FILE]["sha256"])


def _meta_text(meta: Mapping[str, Any]) -> str:
    """What META_FILE holds: JSON, with a checksum of its own content."""
    digest = hashlib.sha256(json.dumps(meta).encode()).hexdigest()
    return json.dumps({**meta, "sha256": digest}, indent=1) + "\n"


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def prune(root: Path, keep_last: int) -> None:
    """Remove all but the newest `keep_last` checkpoints; the best and what was set aside stay."""
    for path in sorted(numbered(root), key=samples_seen_at)[:-keep_last]:
        half_gone = path.with_name(path.name + TMP)
        _remove(half_gone)
        path.rename(half_gone)  # a kill must not leave a part under a checkpoint's name
        shutil.rmtree(half_gone)


def keep_as_best(folder: Path) -> None:
    """Make a copy of a checkpoint under the name `best`, by hard links where the file system has them.

    Raises:
        OSError: the disk is full or can't be written; the best before it stays.
    """
    best, tmp = folder.parent / BEST, folder.parent / f"{BEST}{TMP}"
    try:
        _remove(tmp)
        tmp.mkdir()
        for file in folder.iterdir():
            try:
                os.link(file, tmp / file.name)
            except OSError:
                shutil.copyfile(file, tmp / file.name)
                _sync(tmp / file.name)
        _sync(tmp)
        _publish(tmp, best)
    except BaseException:
        shutil.rmtree(tmp, ignore_errors=True)
        raise


def recover(root: Path, spec_hash: str) -> Recovered:
    """Find where a run goes on after whatever happened: a kill at any instant, a power cut, a damaged disk.

    The newest whole checkpoint is taken, `best` after all numbered ones. Those that are damaged are renamed to
    `NAME.damaged`, never removed. A copy as `best` that a kill prevented is made.

    Raises:
        CheckpointError: there are checkpoints, but none is whole (nothing is renamed then); or the newest whole one is
            of another version or spec; or the folder can't be written.
    """
    try:
        _end_what_was_begun(root)
        candidates = sorted(numbered(root), key=samples_seen_at, reverse=True)
        candidates += [best for best in [root / BEST] if best.exists()]
        damage_by_folder: dict[Path, _DamagedError] = {}
        for folder in candidates:
            try:
                state = load(folder, spec_hash)
            except _DamagedError as error:
                damage_by_folder[folder] = error
                continue
            told = tuple(f"{why}; kept as {_set_aside(bad)}" for bad, why in damage_by_folder.items())
            if state.progress.get("is_best") and folder.name != BEST:
                _mend_best(folder)
            return Recovered(state, folder, told)
    except OSError as error:
        raise CheckpointError(
            f"can't tidy the checkpoints in {root} ({error}); mend that, then run it again"
        ) from error
    if damage_by_folder:
        raise CheckpointError(
            f"no checkpoint in {root} is whole; `clipexp run SPEC --from-start` begins another run and leaves them:\n"
            + "\n".join(str(error) for error in damage_by_folder.values())
        )
    return Recovered(None, None, ())


def _end_what_was_begun(root: Path) -> None:
    """Undo what a kill left half done."""
    for path in root.glob(f"*{TMP}"):
        _remove(path)
    for old in root.glob(f"*{OLD}"):
        name = old.with_name(old.name.removesuffix(OLD))
        if name.exists():
            _remove(old)
        else:
            old.rename(name)


def _set_aside(folder: Path) -> str:
    """Rename a damaged checkpoint, with a number where that name is taken; the new name."""
    target, number = folder.with_name(folder.name + DAMAGED), 1
    while target.exists():
        number += 1
        target = folder.with_name(f"{folder.name}{DAMAGED}-{number}")
    folder.rename(target)
    return target.name


def _mend_best(folder: Path) -> None:
    """Make the copy as `best` if a kill came before it was made."""
    try:
        is_there = final_digest(folder.parent / BEST) == final_digest(folder)
    except CheckpointError:
        is_there = False
    if not is_there:
        keep_as_best(folder)
