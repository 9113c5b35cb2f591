"""Carry out one run: check everything, then train, and record what happens as it happens.

    execution = start(load_spec("experiments/quickstart.yaml"))
    for event in execution.events():
        ...

Whatever can be wrong beforehand (data, device, tracking, an earlier checkpoint) is found by `start`, before a run is
made. A spec that was interrupted goes on from its last checkpoint under the same run; one that is finished says so.
"""

import contextlib
import dataclasses
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from filelock import FileLock, Timeout

from clipexp.data.loader import Loader
from clipexp.data.manifest import Manifest, data_checksum, manifest_for
from clipexp.data.store import PairTable, Store
from clipexp.errors import RunError
from clipexp.evals.validation import FrozenValidation
from clipexp.events import EndEvent, Event, StepEvent, StopReason
from clipexp.model.clip import CLIP
from clipexp.plots.artifacts import log_examples, log_plots
from clipexp.spec.load import ResolvedRun
from clipexp.spec.run import RunSpec, num_steps, spec_hash
from clipexp.track import mlflow_run
from clipexp.track.home import home
from clipexp.track.journal import CONSOLE_FILE, SUMMARY_FILE, Journal, last_examples, points, write_header, write_json
from clipexp.track.mlflow_store import connect, first_line, tracking_uri
from clipexp.track.provenance import git_state, versions
from clipexp.track.recorder import Recorder
from clipexp.track.records import RunRecord, read_run, runs_of_spec
from clipexp.track.summary import RunSummary, cost_key
from clipexp.track.system import system_metrics
from clipexp.train import checkpoint
from clipexp.train.device import choose_device, describe_device, require_precision
from clipexp.train.loop import Evaluation, Hooks, train

if TYPE_CHECKING:
    from mlflow import MlflowClient

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STATUS_BY_REASON: dict[StopReason, mlflow_run.Status] = {
    "finished": "FINISHED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}


@dataclass
class Execution:
    """A run that is ready to train, or was finished before (`is_finished`)."""

    spec: RunSpec
    spec_hash: str
    run_id: str
    client: "MlflowClient"
    tables: dict[str, PairTable]
    validation: FrozenValidation
    manifest: Manifest
    device: torch.device
    lock: FileLock
    total_samples: int
    resumed_at: int
    is_finished: bool
    undelivered: list[str] = field(default_factory=list)
    _stop_reason: StopReason | None = None

    @property
    def journal_folder(self) -> Path:
        """Where this run's journal lies."""
        return home().journals / self.run_id

    @property
    def name(self) -> str:
        """What the run is called; an earlier run of the same spec may have another name."""
        return str(self.client.get_run(self.run_id).info.run_name) if self.is_finished else self.spec.name

    def final(self) -> dict[str, float]:
        """Each metric's last value, by the journal."""
        return {metric: series[-1].value for metric, series in points(self.journal_folder).items()}

    def record(self) -> RunRecord:
        """The run as it stands recorded. Raises TrackingError if MLflow does not answer."""
        return read_run(self.client, self.run_id)

    def ask_to_stop(self, reason: StopReason) -> None:
        """Have training end at its next step, with a checkpoint."""
        self._stop_reason = reason

    def events(self) -> Iterator[Event]:
        """Train, recording and passing on every event; the run's status in MLflow ends true in every case.

        Ctrl-C, SIGTERM and SIGHUP end it at the next step with a checkpoint; a second Ctrl-C ends it at once.
        """
        if self.is_finished:
            return
        reason: StopReason = "failed"
        recorder = None
        try:
            with Journal(self.journal_folder) as journal:
                journal.begin(self.resumed_at)
                with Recorder(self.client, self.run_id, journal) as recorder, self._signals():
                    for event in self._train():
                        event = self._with_system(event)
                        recorder.record(event)
                        yield event
                        if isinstance(event, EndEvent):
                            reason = event.reason
        except (KeyboardInterrupt, GeneratorExit):
            reason = "interrupted"
            raise
        except BaseException:
            text = traceback.format_exc()
            self._deliver(lambda: mlflow_run.log_text(self.client, self.run_id, text, "error/traceback.txt"))
            raise
        finally:
            if recorder is not None and recorder.num_owed:
                self.undelivered.append(f"{recorder.num_owed} points ({recorder.last_error})")
            self._close(reason)

    def _train(self) -> Iterator[Event]:
        def evaluate(model: CLIP) -> Evaluation:
            metrics, examples = self.validation.run(model)
            return Evaluation(metrics[self.validation.loss_metric], metrics, examples)

        hooks = Hooks(evaluate, lambda: self._stop_reason, home().checkpoints / self.run_id, self.spec_hash)
        return train(self.spec, self.tables["train"], self.device, hooks)

    def _with_system(self, event: Event) -> Event:
        """Add the machine's state to a training event."""
        if isinstance(event, StepEvent):
            system = system_metrics()
            if self.device.type == "cuda":
                system["system/gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
            return dataclasses.replace(event, metrics={**event.metrics, **system})
        return event

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def on_signal(number: int, _: object) -> None:
            self.ask_to_stop("interrupted")
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

        try:
            before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
        except ValueError:  # not the main thread: whoever runs us there has the signals
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _close(self, reason: StopReason) -> None:
        """Leave a summary, artifacts and the true status; the lock last."""
        try:
            curves = points(self.journal_folder)
            summary = RunSummary.of(self.journal_folder, cost_key(self.spec), describe_device(self.device), reason)
            write_json(self.journal_folder / SUMMARY_FILE, summary.to_json())
            self._deliver(lambda: log_plots(self.client, self.run_id, self.spec.name, curves))
            self._deliver(self._log_examples)
            console_log = self.journal_folder / CONSOLE_FILE
            if console_log.exists():
                self._deliver(lambda: self.client.log_artifact(self.run_id, str(console_log), "console"))
            self._deliver(lambda: mlflow_run.end(self.client, self.run_id, STATUS_BY_REASON[reason]))
        finally:
            self.lock.release()

    def _deliver(self, action: Callable[[], None]) -> None:
        """Hand something to MLflow; where that fails the result stands, and `undelivered` says what is missing."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 (MLflow raises many kinds; each is kept and shown)
            self.undelivered.append(first_line(error))

    def _log_examples(self) -> None:
        examples = last_examples(self.journal_folder)
        rows = sorted({row for e in examples for row in (e.target_idx, *e.found_idx)})
        if rows:
            pictures = dict(zip(rows, self.tables["val"].pixels(np.array(rows)), strict=True))
            credit = f"{self.manifest.attribution} Licence: {self.manifest.licence}."
            log_examples(self.client, self.run_id, examples, pictures, credit.strip())


def start(resolved: ResolvedRun, tracking: str | None = None) -> Execution:
    """Check all that can be checked, then make the run or take up an interrupted one.

    Args:
        resolved: a validated spec.
        tracking: MLflow's URI; see `tracking_uri`.

    Raises:
        ClipexpError: data, device, tracking or an earlier checkpoint is not as it must be; no run was made.
    """
    spec = resolved.spec
    manifest = manifest_for(spec.data)
    checksum = data_checksum(spec.data, spec.model.context_length)
    store = Store(Path(spec.data.store))
    tables = {side: store.table(side, spec.data.tokenizer, spec.model.context_length) for side in ("train", "val")}
    Loader(tables["train"], spec.data, spec.train.batch_size, spec.seed)  # refuses a batch above the set
    device = choose_device(spec.train.device)
    require_precision(spec.train.precision, device)
    validation = FrozenValidation(tables["val"], spec, device)
    uri = tracking_uri(tracking)
    client = connect(uri)
    home().make()
    identity = mlflow_run.Identity(
        spec=spec,
        spec_hash=spec_hash(spec, checksum),
        store_checksum=manifest.checksum,
        num_train_pairs=manifest.num_train,
        total_samples=num_steps(spec, manifest.num_train) * spec.train.batch_size,
        device=describe_device(device),
        git=git_state(),
        versions=versions(),
    )
    lock = _lock(identity.spec_hash)
    try:
        run_id, is_finished, resumed_at = _take_up(client, uri, identity)
    except BaseException:
        lock.release()
        raise
    if is_finished:
        lock.release()
    return Execution(
        spec=spec,
        spec_hash=identity.spec_hash,
        run_id=run_id,
        client=client,
        tables=tables,
        validation=validation,
        manifest=manifest,
        device=device,
        lock=lock,
        total_samples=identity.total_samples,
        resumed_at=resumed_at,
        is_finished=is_finished,
    )


def run(resolved: ResolvedRun, tracking_uri: str | None = None) -> RunRecord:
    """Carry out a run to its end and return its record; one that was finished before is only read.

    Raises:
        ClipexpError: as `start`, or training diverged.
        KeyboardInterrupt: Ctrl-C ended it, with a checkpoint.
    """
    execution = start(resolved, tracking_uri)
    reason: StopReason = "finished"
    for event in execution.events():
        if isinstance(event, EndEvent):
            reason = event.reason
    if reason == "interrupted":
        raise KeyboardInterrupt
    return execution.record()


def _lock(spec_hash: str) -> FileLock:
    folder = home().root / "locks"
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / f"{spec_hash}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"spec {spec_hash} is being run by another process here; wait for it, or change the seed for a replicate"
        ) from error
    return lock


def _take_up(client: "MlflowClient", uri: str, identity: mlflow_run.Identity) -> tuple[str, bool, int]:
    """The run to carry out: its id, whether it is finished already, and where it goes on.

    The newest run of this spec that has a checkpoint goes on; otherwise one is made. We hold the spec's lock, so an
    earlier run that still says RUNNING was killed, and is set so.

    Raises:
        CheckpointError: there is a checkpoint to go on from, but it can't be used.
    """
    earlier = runs_of_spec(client, uri, identity.spec_hash)
    for run_id, status in earlier:
        if status == "FINISHED":
            return run_id, True, 0
    taken, resumed_at = None, 0
    for run_id, status in earlier:
        newest = checkpoint.newest(home().checkpoints / run_id)
        if taken is None and newest is not None:
            resumed_at = int(checkpoint.load(newest, identity.spec_hash).progress["samples_seen"])
            taken = run_id
        elif status == "RUNNING":
            mlflow_run.end(client, run_id, "KILLED")
    if taken is not None:
        mlflow_run.resume(client, taken, identity)
        return taken, False, resumed_at
    run_id = mlflow_run.create(client, uri, identity)
    write_header(home().journals / run_id, run_id, identity.spec_hash, uri)
    return run_id, False, 0
