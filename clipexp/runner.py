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

from clipexp.data.manifest import Manifest, manifest_for
from clipexp.data.store import PairTable, Store
from clipexp.errors import RunError
from clipexp.evals.validation import FrozenValidation
from clipexp.events import EndEvent, EvalEvent, Event, Example, StepEvent, StopReason
from clipexp.model.clip import CLIP
from clipexp.plots.artifacts import log_examples, log_plots
from clipexp.spec.load import ResolvedRun
from clipexp.spec.run import RunSpec, num_steps, spec_hash
from clipexp.track import mlflow_run
from clipexp.track.home import home
from clipexp.track.journal import (
    CONSOLE_FILE,
    HEADER_FILE,
    SUMMARY_FILE,
    Journal,
    points,
    read_json,
    write_json,
)
from clipexp.track.mlflow_store import connect, first_line, tracking_uri
from clipexp.track.provenance import git_state, versions
from clipexp.track.recorder import Recorder
from clipexp.track.records import RunRecord, read_run
from clipexp.track.summary import RunSummary, cost_key
from clipexp.track.system import system_metrics
from clipexp.train import checkpoint
from clipexp.train.device import choose_device, describe_device, require_precision
from clipexp.train.loop import Evaluation, Hooks, train

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
    manifest: Manifest
    device: torch.device
    lock: FileLock
    total_samples: int
    resumed_at: int
    is_finished: bool
    undelivered: list[str] = field(default_factory=list)
    _examples: tuple[Example, ...] = ()
    _stop_reason: StopReason | None = None

    @property
    def journal_folder(self) -> Path:
        """Where this run's journal lies."""
        return home().journals / self.run_id

    def record(self) -> RunRecord:
        """The run as it stands recorded."""
        return read_run(self.client, self.run_id)

    def ask_to_stop(self, reason: StopReason) -> None:
        """Have training end at its next step, with a checkpoint."""
        self._stop_reason = reason

    def events(self) -> Iterator[Event]:
        """Train, recording and passing on every event; the run's status in MLflow ends true in every case.

        Ctrl-C and SIGTERM end it at the next step with a checkpoint; a second Ctrl-C ends it at once.
        """
        if self.is_finished:
            return
        reason: StopReason = "failed"
        recorder = None
        try:
            with Journal(self.journal_folder) as journal, Recorder(self.client, self.run_id, journal) as recorder:
                journal.begin(self.resumed_at)
                with self._signals():
                    for event in self._train():
                        event = self._noted(event)
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
        validation = FrozenValidation(self.tables["val"], self.spec, self.device)

        def evaluate(model: CLIP) -> Evaluation:
            metrics, examples = validation.run(model)
            return Evaluation(metrics[validation.loss_metric], metrics, examples)

        hooks = Hooks(evaluate, lambda: self._stop_reason, home().checkpoints / self.spec_hash, self.spec_hash)
        return train(self.spec, self.tables["train"], self.device, hooks)

    def _noted(self, event: Event) -> Event:
        """Keep what the end needs; add the machine's state to a training event."""
        if isinstance(event, EvalEvent):
            self._examples = event.examples
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
            before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
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
            summary = RunSummary.of(curves, cost_key(self.spec), describe_device(self.device), reason)
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
        rows = sorted({row for e in self._examples for row in (e.target_idx, *e.found_idx)})
        if rows:
            pictures = dict(zip(rows, self.tables["val"].pixels(np.array(rows)), strict=True))
            log_examples(self.client, self.run_id, self._examples, pictures, self.manifest.attribution)


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
    store = Store(Path(spec.data.store))
    context = spec.model.context_length
    tables = {side: store.table(side, spec.data.tokenizer, context) for side in ("train", "val")}
    if spec.train.batch_size > manifest.num_train:
        raise RunError(
            f"train.batch_size {spec.train.batch_size:,} is above the {manifest.num_train:,} training pairs of"
            f" {spec.data.store}; lower it, or prepare a larger set"
        )
    device = choose_device(spec.train.device)
    require_precision(spec.train.precision, device)
    uri = tracking_uri(tracking)
    home().make()
    client = connect(uri)
    identity = mlflow_run.Identity(
        spec,
        spec_hash(spec, manifest.checksum),
        manifest.checksum,
        manifest.num_train,
        describe_device(device),
        git_state(),
        versions(),
    )
    lock = _lock(identity.spec_hash)
    try:
        run_id, is_finished, resumed_at = _take_up(client, uri, identity.spec_hash)
        if run_id is None:
            run_id = mlflow_run.create(client, uri, identity)
            header = {"run_id": run_id, "spec_hash": identity.spec_hash, "name": spec.name, "tracking_uri": uri}
            (home().journals / run_id).mkdir(parents=True, exist_ok=True)
            write_json(home().journals / run_id / HEADER_FILE, header)
        elif not is_finished:
            mlflow_run.resume(client, run_id)
    except BaseException:
        lock.release()
        raise
    if is_finished:
        lock.release()
    total = num_steps(spec, manifest.num_train) * spec.train.batch_size
    return Execution(
        spec, identity.spec_hash, run_id, client, tables, manifest, device, lock, total, resumed_at, is_finished
    )


def run(resolved: ResolvedRun, tracking_uri: str | None = None) -> RunRecord:
    """Carry out a run to its end and return its record; one that was finished before is only read.

    Raises:
        ClipexpError: as `start`, or training diverged.
    """
    execution = start(resolved, tracking_uri)
    for _ in execution.events():
        pass
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


def _take_up(client: "MlflowClient", uri: str, wanted_hash: str) -> tuple[str | None, bool, int]:
    """An earlier run of this spec: its id, whether it is finished, and where it goes on.

    A checkpoint that can't be used is an error; an earlier run that left none is left as it is.
    """
    from mlflow.exceptions import MlflowException

    interrupted: str | None = None
    for header in sorted(home().journals.glob(f"*/{HEADER_FILE}"), key=lambda path: path.stat().st_mtime):
        content = read_json(header)
        if content.get("spec_hash") != wanted_hash or content.get("tracking_uri") != uri:
            continue
        try:
            found = client.get_run(content["run_id"])
        except MlflowException:
            continue  # deleted for good in MLflow
        if found.info.lifecycle_stage != "active":
            continue
        if found.info.status == "FINISHED":
            return content["run_id"], True, 0
        interrupted = content["run_id"]
    newest = checkpoint.newest(home().checkpoints / wanted_hash)
    if interrupted is None or newest is None:
        return None, False, 0
    state = checkpoint.load(newest, wanted_hash)
    return interrupted, False, int(state.progress["samples_seen"])
