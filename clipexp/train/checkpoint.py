"""Checkpoints: a folder a checkpoint, safetensors and JSON, nothing that runs code on loading.

    save(folder, state, spec_hash)
    state = load(newest(root), spec_hash)

A checkpoint is written beside its place, then renamed; what stands under its name is whole. `meta.json` holds the
version, the spec's hash and every file's length and checksum, its own among them, so that one cut short or changed is
told from a good one.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from clipexp.errors import CheckpointError

VERSION = 1
META_FILE, MODEL_FILE, OPTIMIZER_FILE = "meta.json", "model.safetensors", "optimizer.safetensors"
BEST = "best"


@dataclass(frozen=True)
class TrainState:
    """All that decides a run's future.

    `model` and `optimizer` are tensors by name; `progress` is plain data: samples_seen, step, best validation loss.
    What is random is drawn from (seed, samples_seen), so no generator's state is kept.
    """

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    progress: Mapping[str, Any]


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as tensors by name, `INDEX.FIELD`."""
    state = optimizer.state_dict()["state"]
    return {f"{idx}.{name}": tensor for idx, fields in state.items() for name, tensor in fields.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `flatten_optimizer`, into an optimizer over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        idx, field = name.split(".", 1)
        state.setdefault(int(idx), {})[field] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def save(folder: Path, state: TrainState, spec_hash: str) -> None:
    """Write a checkpoint so that it is there whole or not at all.

    Raises:
        CheckpointError: the disk is full or can't be written; earlier checkpoints are untouched.
    """
    tmp = folder.with_name(f"{folder.name}.tmp")
    try:
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir(parents=True)
        save_file({name: t.detach().contiguous() for name, t in state.model.items()}, tmp / MODEL_FILE)
        save_file({name: t.detach().contiguous() for name, t in state.optimizer.items()}, tmp / OPTIMIZER_FILE)
        files = {name: _fingerprint(tmp / name) for name in (MODEL_FILE, OPTIMIZER_FILE)}
        meta = {"version": VERSION, "spec_hash": spec_hash, "progress": dict(state.progress), "files": files}
        (tmp / META_FILE).write_text(_meta_text(meta))
        for name in (*files, META_FILE):
            with (tmp / name).open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        tmp.replace(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(tmp, ignore_errors=True)
        raise CheckpointError(f"can't write the checkpoint {folder} ({error}); make room, then run it again") from error


def load(folder: Path, spec_hash: str) -> TrainState:
    """Read a checkpoint, every byte checked.

    Raises:
        CheckpointError: it is cut short or damaged, of another version, or of another spec.
    """
    remedy = f"remove {folder} to go on from the one before, or start anew"
    meta = read_meta(folder)
    if meta["spec_hash"] != spec_hash:
        raise CheckpointError(
            f"the checkpoint {folder} is of spec {meta['spec_hash']}, this run's is {spec_hash}; move it away"
        )
    for name, fingerprint in meta["files"].items():
        path = folder / name
        if not path.is_file() or _fingerprint(path) != fingerprint:
            raise CheckpointError(f"{path} is cut short or damaged; {remedy}")
    return TrainState(load_file(folder / MODEL_FILE), load_file(folder / OPTIMIZER_FILE), meta["progress"])


def read_meta(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of itself. Raises CheckpointError if it is damaged or of another version."""
    try:
        text = (folder / META_FILE).read_text()
        meta: dict[str, Any] = json.loads(text)
        version = meta["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} is no whole checkpoint ({META_FILE} can't be read); remove it") from error
    if version != VERSION:
        raise CheckpointError(f"{folder} is of version {version}, this clipexp reads {VERSION}; start the run anew")
    meta.pop("sha256", None)
    if _meta_text(meta) != text:
        raise CheckpointError(f"{folder / META_FILE} is damaged; remove {folder} to go on from the one before")
    return meta


def _meta_text(meta: Mapping[str, Any]) -> str:
    """What META_FILE holds: JSON, with a checksum of its own content."""
    digest = hashlib.sha256(json.dumps(meta).encode()).hexdigest()
    return json.dumps({**meta, "sha256": digest}, indent=1) + "\n"


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def name_at(samples_seen: int) -> str:
    """The folder name of a checkpoint: sorts by samples seen."""
    return f"samples-{samples_seen:012d}"


def newest(root: Path) -> Path | None:
    """The checkpoint with the most samples seen, if there is one."""
    return max(_numbered(root), default=None)


def _numbered(root: Path) -> list[Path]:
    return [path for path in root.glob("samples-*") if not path.name.endswith(".tmp")]


def prune(root: Path, keep_last: int) -> None:
    """Remove all but the newest `keep_last` checkpoints; the best stands apart and stays."""
    for path in sorted(_numbered(root))[:-keep_last]:
        shutil.rmtree(path)


def keep_as_best(folder: Path) -> None:
    """Make a copy of a checkpoint under the name `best`, by hard links where the file system has them.

    Raises:
        CheckpointError: the disk is full or can't be written.
    """
    best, tmp = folder.parent / BEST, folder.parent / f"{BEST}.tmp"
    try:
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir()
        for file in folder.iterdir():
            try:
                os.link(file, tmp / file.name)
            except OSError:
                shutil.copyfile(file, tmp / file.name)
        shutil.rmtree(best, ignore_errors=True)
        tmp.replace(best)
    except OSError as error:
        shutil.rmtree(tmp, ignore_errors=True)
        raise CheckpointError(f"can't write the checkpoint {best} ({error}); make room, then run it again") from error
