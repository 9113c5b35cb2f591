"""Before a run: check all that can be checked, hold the spec, and take up its run or make one.

    launch = prepare_launch(load_spec("experiments/quickstart.yaml"))
    launch.is_finished, launch.resumed_at

Whatever can be wrong beforehand (data, device, tracking, room on the disk, a damaged checkpoint) is found here, before
a run is made. A spec whose run was cut off goes on under the same run; one that is finished says so.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from clipexp.data.loader import Loader
from clipexp.data.manifest import Manifest, data_checksum, manifest_for
from clipexp.data.store import Report, Store
from clipexp.data.table import PairTable
from clipexp.errors import RunError
from clipexp.evals.validation import FrozenValidation
from clipexp.settle import settle
from clipexp.space import require_room
from clipexp.spec.load import ResolvedRun
from clipexp.spec.run import RunSpec, spec_hash, total_samples
from clipexp.spec.yaml_lines import dump
from clipexp.track import mlflow_run
from clipexp.track.delivery import publishing
from clipexp.track.header import RunHeader, headers_of_spec, store_name, write_header
from clipexp.track.home import home
from clipexp.track.journal import damage, end_reason, last_number
from clipexp.track.lease import Lease, take
from clipexp.track.mlflow_store import connect, is_deleted, tracking_uri
from clipexp.track.provenance import git_state, versions
from clipexp.track.records import CONTINUES_TAG, IMPORTED_FROM_TAG, REPEAT_TAG, RESUMED_ON_TAG
from clipexp.track.summary import cost_key
from clipexp.train import checkpoint
from clipexp.train.checkpoint import TrainState
from clipexp.train.device import choose_device, describe_device, make_deterministic, require_precision
from clipexp.train.parent import Parent, find_parent

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class LaunchOptions:
    """How a run is launched, beside its spec.

    again: run a finished spec once more, to compare the bits. from_start: leave an unfinished run as it is and begin
    another. tags: further ones for the run in MLflow, also for one that is taken up. report: called with the bytes of
    the prepared set that are checked and those to be, where any have to be.
    """

    again: bool = False
    from_start: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    report: Report = lambda *_: None


AS_USUAL = LaunchOptions()


@dataclass(frozen=True)
class Inputs:
    """What a run reads: the prepared set's two sides, its manifest, and the frozen validation on it."""

    manifest: Manifest
    train: PairTable
    validation: FrozenValidation


@dataclass(frozen=True)
class Launch:
    """A run that is ready to go on, or was finished before.

    lease: held until the run has ended; None if it is finished. state: what it goes on from. parent: the id of the run
    whose checkpoint that is, if it is not its own. notes: what the person should know before it does.
    """

    spec: RunSpec
    uri: str
    inputs: Inputs
    device: torch.device
    total_samples: int
    ran_on: str
    header: RunHeader
    lease: Lease | None
    state: TrainState | None = None
    parent: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.lease is None

    @property
    def num_records(self) -> int:
        """How many records the journal had when the checkpoint was taken."""
        return int(self.state.progress["num_records"]) if self.state and not self.parent else 0

    def connect(self) -> "MlflowClient":
        """MLflow's client. Raises TrackingError where the store is away."""
        return connect(self.uri)

    @property
    def resumed_at(self) -> int:
        """Samples seen at the checkpoint that it goes on from, its own or its parent's; 0 from the start."""
        return int(self.state.progress["samples_seen"]) if self.state else 0


def prepare_launch(resolved: ResolvedRun, tracking: str | None = None, options: LaunchOptions = AS_USUAL) -> Launch:
    """Check everything, then take up the spec's run, or make one.

    Args:
        resolved: a validated spec.
        tracking: MLflow's URI; see `tracking_uri`.
        options: see there.

    Raises:
        HeldError: another process carries out this spec.
        ClipexpError: data, device, tracking, an earlier checkpoint or the run that this one goes on from is not as it
            must be; no run was made.
    """
    try:
        return _prepare(resolved.spec, tracking_uri(tracking), options)
    except OSError as error:  # a disk that is full or read-only, wherever it is met
        raise RunError(f"the run can't start ({error}); make room or make it writable, then run it again") from error


def _prepare(spec: RunSpec, uri: str, options: LaunchOptions) -> Launch:
    device = choose_device(spec.train.device)
    require_precision(spec.train.precision, device)
    if spec.train.deterministic:
        make_deterministic(device)
    inputs = _inputs(spec, device, options.report)
    identity = _identity(spec, inputs, device)
    home().make()
    notes = settle(about_to_run=identity.spec_hash)
    lease = take(identity.spec_hash, spec.name, store_name(uri))
    about = (spec, uri, inputs, device, identity.total_samples, identity.ran_on)
    is_new = False
    try:
        # MLflow is asked no more than must be: a run that is here goes on while its server is away, and at once.
        header = _take_up(uri, identity.spec_hash, options.again)
        if header is not None and end_reason(header.folder) == "finished":
            lease.release()
            return Launch(*about, header, None, notes=tuple(notes))
        if options.from_start:
            header = None  # its points are in MLflow already, under its id: what begins anew is another run
        if header is not None:
            lease.name_run(header.run_id)
        require_room(spec, home().checkpoints / header.run_id if header else None)
        state = _recover(header, identity.ran_on, notes) if header else None
        parent = None
        if state is None:
            parent = find_parent(spec, store_name(uri), identity.store_checksum, identity.num_train_pairs)
        if header is None:
            client = connect(uri)
            is_new = True
            header = _make(client, uri, identity, lease, options.again, _further_tags(options, parent))
        else:
            header = _go_on(header, identity, _further_tags(options, parent))
    except BaseException:
        if is_new:
            lease.leave_behind()  # the next command says of the run, known here or not, that it was lost
        else:
            lease.release()
        raise
    if parent is not None:
        return Launch(*about, header, lease, parent.state, parent.run_id, tuple(notes))
    return Launch(*about, header, lease, state, notes=tuple(notes))


def _further_tags(options: LaunchOptions, parent: Parent | None) -> dict[str, str]:
    return {**options.tags, **({CONTINUES_TAG: parent.run_id} if parent else {})}


def _inputs(spec: RunSpec, device: torch.device, report: Report) -> Inputs:
    manifest = manifest_for(spec.data)
    store = Store(Path(spec.data.store))
    context_length = spec.model.context_length
    place = hashlib.sha256(str(store.folder.resolve()).encode()).hexdigest()[:16]
    tokens = store.tokens_folder(spec.data.tokenizer, context_length)
    store.verify_once(home().verified / f"{place}.json", tokens, report)
    train, val = (store.table(side, spec.data.tokenizer, context_length) for side in ("train", "val"))
    Loader(train, spec.data, spec.train.batch_size, spec.seed)  # refuses a batch above the set
    return Inputs(manifest, train, FrozenValidation(val, spec, device))


def _identity(spec: RunSpec, inputs: Inputs, device: torch.device) -> mlflow_run.Identity:
    checksum = data_checksum(spec.data, spec.model.context_length)
    return mlflow_run.Identity(
        spec=spec,
        spec_hash=spec_hash(spec, checksum),
        data_checksum=checksum,
        store_checksum=inputs.manifest.checksum,
        num_train_pairs=inputs.manifest.num_train,
        shard_pairs=max(shard.num_rows for shard in inputs.manifest.shards if shard.side == "train"),
        total_samples=total_samples(spec, inputs.manifest.num_train),
        device=describe_device(device),
        git=git_state(),
        versions=versions(),
    )


def _take_up(uri: str, spec_hash: str, again: bool) -> RunHeader | None:
    """The newest run of the spec that MLflow has not deleted; of those that repeat it, one that is not finished.

    Raises:
        TrackingError: MLflow's database does not know the run.
    """
    here = list(headers_of_spec(spec_hash, store_name(uri), repeats=again))
    taken_in = {header.tags.get(IMPORTED_FROM_TAG) for header in here}
    for header in here:
        if header.run_id in taken_in or (again and end_reason(header.folder) == "finished"):
            continue
        if not is_deleted(uri, header.run_id):
            return header
    return None


def _make(
    client: "MlflowClient",
    uri: str,
    identity: mlflow_run.Identity,
    lease: Lease,
    again: bool,
    further_tags: Mapping[str, str],
) -> RunHeader:
    spec = identity.spec
    repeated = first_finished(identity.spec_hash, lease.holder.store) if again else None
    name = f"{spec.name}-again" if again else spec.name
    lease.say_making()
    tags = {**identity.tags(), **further_tags, **({REPEAT_TAG: repeated.run_id} if repeated else {})}
    header = RunHeader(
        run_id=mlflow_run.create(client, uri, name, lease.holder.launch),
        spec_hash=identity.spec_hash,
        store=lease.holder.store,
        name=name,
        spec=spec.model_dump(mode="json"),
        params=identity.params(),
        tags=tags,
        dataset=identity.dataset(),
        cost_key=cost_key(spec),
        device=identity.device,
        created_ms=time.time_ns() // 1_000_000,
        launch=lease.holder.launch,
        repeat_of=repeated.run_id if repeated else "",
    )
    with publishing(header, "spec") as folder:
        (folder / "resolved.yaml").write_text(dump(header.spec))
    _publish_code(header, identity.git.diff)
    write_header(header)  # last: with it, the run is here with all that it has
    lease.name_run(header.run_id)
    return header


def _go_on(header: RunHeader, identity: mlflow_run.Identity, further_tags: Mapping[str, str]) -> RunHeader:
    """The header of a run that is taken up: where its set lies now, and on what code and machine it goes on."""
    on = {"device": identity.device, "git_commit": identity.git.commit, "torch": identity.versions.get("torch", "")}
    spec = identity.spec.model_dump(mode="json")
    tags = {**header.tags, **further_tags, RESUMED_ON_TAG: json.dumps(on)}
    renewed = dataclasses.replace(header, spec=spec, tags=tags, device=identity.device)
    _publish_code(renewed, identity.git.diff)
    write_header(renewed)
    return renewed


def _publish_code(header: RunHeader, diff: str) -> None:
    if diff:
        with publishing(header, "code") as folder:
            (folder / "uncommitted.diff").write_text(diff)


def first_finished(spec_hash: str, store: str) -> RunHeader:
    """The run that a repeat is held against. Raises RunError if there is none."""
    for header in headers_of_spec(spec_hash, store):
        if end_reason(header.folder) == "finished":
            return header
    raise RunError(f"--again repeats a finished run, and spec {spec_hash} has none here; run it once without --again")


def _recover(header: RunHeader, ran_on: str, notes: list[str]) -> TrainState | None:
    """The checkpoint to go on from; what the person should know is added to `notes`."""
    found = checkpoint.recover(home().checkpoints / header.run_id, header.spec_hash)
    notes += found.set_aside
    state = found.state
    if state is not None and state.progress["ran_on"] != ran_on:
        notes.append(
            f"it was begun on {state.progress['ran_on']} and goes on on {ran_on}: the result is the same within"
            " rounding, not to the bit"
        )
    harm = damage(header.folder)
    if state is not None and (num_cut := state.progress["num_records"] - last_number(header.folder)) > 0:
        notes.append(
            f"the last {num_cut} record(s) of its journal are LOST: {header.folder} was cut short, both copies"
        )
    if harm.num_mended:
        notes.append(f"{harm.num_mended} damaged record(s) of its journal were mended from its second copy")
    if harm.num_lost:
        notes.append(f"{harm.num_lost} record(s) of its journal are LOST: both copies in {header.folder} are damaged")
    return state
