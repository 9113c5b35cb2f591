"""The run that another goes on from (`continue_from`): found here, checked, and made into a state to begin with.

parent = find_parent(spec, store="mlruns", store_checksum=manifest.checksum, num_train_pairs=manifest.num_train)
train(spec, table, device, hooks, parent.state)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clipexp.errors import CheckpointError, RunError
from clipexp.spec.base import flatten, result_fields
from clipexp.spec.run import ContinueSpec, RunSpec, total_samples
from clipexp.track.checkpoint_names import BEST, name_at
from clipexp.track.header import RunHeader, headers_of_spec
from clipexp.track.home import home
from clipexp.track.records import STORE_CHECKSUM_TAG
from clipexp.train import checkpoint
from clipexp.train.checkpoint import TrainState
from clipexp.train.schedule import learning_rate_at
from clipexp.train.training import from_parent


@dataclass(frozen=True)
class Parent:
    """A run that is gone on from, and the state to begin with."""

    run_id: str
    state: TrainState


def find_parent(spec: RunSpec, store: str, store_checksum: str, num_train_pairs: int) -> Parent | None:
    """The run that a spec goes on from, every byte of its checkpoint checked; None for a spec that goes on from none.

    Args:
        spec: the run to begin.
        store: of MLflow, as headers name it.
        store_checksum: of the prepared set.
        num_train_pairs: in it.

    Raises:
        RunError: that run is not here, or had another model or other data.
        CheckpointError: its checkpoint is gone, damaged, or holds other weights.
    """
    wanted = spec.continue_from
    if wanted is None:
        return None
    there = [h for repeats in (False, True) for h in headers_of_spec(wanted.spec_hash, store, repeats=repeats)]
    if not there:
        raise RunError(
            f"continue_from: no run of spec {wanted.spec_hash} is here; carry it out first, or take it in with"
            " `clipexp runs import`"
        )
    header, folder = _choose(there, wanted)
    parent_spec = RunSpec.model_validate(dict(header.spec))
    _require_alike(spec, parent_spec, header, store_checksum)
    state = checkpoint.load(folder, wanted.spec_hash)
    total = total_samples(parent_spec, num_train_pairs)
    lr = learning_rate_at(parent_spec, wanted.samples_seen, total, state.progress.get("parent_lr"))
    return Parent(header.run_id, from_parent(state, lr))


def _choose(there: list[RunHeader], wanted: ContinueSpec) -> tuple[RunHeader, Path]:
    """The checkpoint that is meant, among those of all runs of the spec."""
    found = [place for header in there for place in _checkpoints_at(header, wanted.samples_seen)]
    for header, folder in found:
        if checkpoint.final_digest(folder) == wanted.weights_sha256:
            return header, folder
    where = f"{wanted.samples_seen:,} samples"
    ids = ", ".join(header.run_id[:8] for header in there)
    if not found:
        raise CheckpointError(
            f"continue_from: run {ids} of spec {wanted.spec_hash} has no whole checkpoint at {where} any more; where"
            " that was its end, `clipexp run ITS_SPEC --again` makes it anew"
        )
    header, folder = found[0]
    raise CheckpointError(
        f"continue_from: {folder} holds other weights than weights_sha256 says ({wanted.weights_sha256[:12]}...); set"
        f" it to {checkpoint.final_digest(folder)} to go on from these"
    )


def _checkpoints_at(header: RunHeader, samples_seen: int) -> Iterator[tuple[RunHeader, Path]]:
    root = home().checkpoints / header.run_id
    for folder in (root / name_at(samples_seen), root / BEST):
        try:
            if folder.exists() and checkpoint.read_meta(folder)["progress"]["samples_seen"] == samples_seen:
                yield header, folder
        except CheckpointError:
            continue  # damaged: another one may do, and where none does, the error says that none is whole


def _require_alike(spec: RunSpec, parent: RunSpec, header: RunHeader, store_checksum: str) -> None:
    """See that the weights fit, and mean the same tokens and pictures."""
    ours, theirs = (flatten({"model": result_fields(s.model), "data": result_fields(s.data)}) for s in (spec, parent))
    for path in sorted(ours.keys() | theirs.keys()):
        if ours.get(path) != theirs.get(path):
            raise RunError(
                f"continue_from: {path} is {ours.get(path)}, but was {theirs.get(path)} in run {header.run_id[:8]}; a"
                " run goes on with the same model and data"
            )
    if header.tags[STORE_CHECKSUM_TAG] != store_checksum:
        raise RunError(
            f"continue_from: {spec.data.store} is not the set that run {header.run_id[:8]} was trained on; prepare that"
            " one again"
        )
