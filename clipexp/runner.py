"""Carry out one run: train, and record what happens as it happens.

    execution = start(load_spec("experiments/quickstart.yaml"))
    for event in execution.events():
        ...

However it ends (its end, a signal, a budget, an error), a true reason stands in its journal and its status in MLflow;
where the process is killed, the next command says so in its place (see `settle`).
"""

import dataclasses
import traceback
from collections.abc import Iterator

import torch

from clipexp.closing import close_out, pack_if_finished
from clipexp.errors import RunError
from clipexp.events import EndEvent, Event, PauseEvent, StepEvent, StopReason
from clipexp.launch import AS_USUAL, Launch, LaunchOptions, prepare_launch
from clipexp.model.clip import CLIP
from clipexp.patience import until_written
from clipexp.spec.load import ResolvedRun
from clipexp.stops import Stops
from clipexp.track.delivery import Delivery, delivered_number, owed, publishing
from clipexp.track.header import RunHeader
from clipexp.track.home import home
from clipexp.track.journal import FROM_START, Journal, last_samples_seen, points
from clipexp.track.mlflow_store import first_line
from clipexp.track.recorder import FINAL_TRIES_S, Recorder
from clipexp.track.records import RunRecord, read_run
from clipexp.track.system import system_metrics
from clipexp.train.loop import Evaluation, Hooks, train

STOPPED_TRIES_S = 5.0  # for the last delivery of a run that was stopped: whoever stopped it waits


class Execution:
    """A run that is ready to train, or was finished before (`is_finished`).

    problems: what could not be done or delivered, a line each, once the run has ended.
    """

    def __init__(self, launch: Launch, stops: Stops) -> None:
        self.launch = launch
        self.stops = stops
        self.problems: list[str] = []
        self._recorder: Recorder | None = None

    @property
    def header(self) -> RunHeader:
        """What the run is."""
        return self.launch.header

    @property
    def run_id(self) -> str:
        """The run's id in MLflow."""
        return self.header.run_id

    @property
    def is_finished(self) -> bool:
        """Whether it was finished before."""
        return self.launch.is_finished

    @property
    def trouble(self) -> str:
        """What MLflow said when it last refused; empty while it takes what it is sent."""
        return self._recorder.trouble if self._recorder else ""

    def final(self) -> dict[str, float]:
        """Each metric's last value, by the journal."""
        return {metric: series[-1].value for metric, series in points(self.header.folder).items()}

    def record(self) -> RunRecord:
        """The run as it stands recorded. Raises TrackingError if MLflow does not answer."""
        return read_run(self.launch.connect(), self.run_id)

    def deliver_owed(self) -> str:
        """Bring MLflow up to a run that was finished before; returns a line for the person, '' if nothing was owed."""
        debt = owed(self.header)
        if not debt:
            return ""
        try:
            Delivery(self.launch.connect(), self.header).send_all()
        except Exception as error:  # noqa: BLE001 (MLflow raises many kinds; the result stands)
            return f"OWED to MLflow: {owed(self.header)} ({first_line(error)}); `clipexp sync` delivers it"
        return f"delivered to MLflow what it was owed: {debt}"

    def ask_to_stop(self, reason: StopReason) -> None:
        """Have training end at its next step, with a checkpoint."""
        self.stops.ask(reason)

    def events(self) -> Iterator[Event]:
        """Train, recording and passing on every event.

        Ctrl-C, SIGTERM and SIGHUP end it at the next step with a checkpoint; a second Ctrl-C ends it at once.

        Raises:
            DivergedError, MemoryExhaustedError: training gave numbers that are not finite, or found no memory.
            RunError: the disk stayed full.
            CheckpointError: the disk stayed full.
            KeyboardInterrupt: a second Ctrl-C.
        """
        lease = self.launch.lease
        if lease is None:
            return
        try:
            with self.stops.on_signals():
                yield from self._attempt()
        finally:
            lease.leave_behind()  # unless it was released: the next command then tells the end

    def _attempt(self) -> Iterator[Event]:
        reason: StopReason = "failed"
        connect = self.launch.connect
        with self._open_journal() as journal, Recorder(connect, self.header, journal) as self._recorder:
            try:
                self.stops.may_raise = True
                for event in self._train(journal):
                    event = self._with_system(event)
                    yield from self._record(self._recorder, event)
                    yield event
            except (KeyboardInterrupt, GeneratorExit):
                reason = "interrupted"
                raise
            except BaseException:
                self._keep_traceback()
                raise
            finally:
                self.stops.may_raise = False
                self._close(journal, self._recorder, reason)

    def _open_journal(self) -> Journal:
        state = self.launch.state
        num_known = max(self.launch.num_records, delivered_number(self.header.folder))
        try:
            journal = Journal(self.header.folder, min_number=num_known)
            journal.begin(self.launch.resumed_at if state else FROM_START)
        except OSError as error:
            raise RunError(self._cannot_write(error)) from error
        return journal

    def _train(self, journal: Journal) -> Iterator[Event]:
        validation = self.launch.inputs.validation

        def evaluate(model: CLIP) -> Evaluation | None:
            result = validation.run(model, lambda: self.stops.reason() is not None)
            return Evaluation(result[0][validation.loss_metric], *result) if result else None

        hooks = Hooks(
            evaluate=evaluate,
            stop=self.stops.reason,
            checkpoints=home().checkpoints / self.run_id,
            spec_hash=self.header.spec_hash,
            before_publish=journal.sync,
            annotate=lambda: {"ran_on": self.launch.ran_on, "num_records": journal.number},
        )
        return train(self.launch.spec, self.launch.inputs.train, self.launch.device, hooks, self.launch.state)

    def _with_system(self, event: Event) -> Event:
        """Add the machine's state to a training event."""
        if isinstance(event, StepEvent):
            system = system_metrics()
            if self.launch.device.type == "cuda":
                most = torch.cuda.max_memory_allocated()
                system["system/gpu_memory_mb"] = most / 1e6
                system["system/gpu_memory_frac"] = most / torch.cuda.get_device_properties(0).total_memory
            return dataclasses.replace(event, metrics={**event.metrics, **system})
        return event

    def _record(self, recorder: Recorder, event: Event) -> Iterator[PauseEvent]:
        """Record an event; where the disk is full, wait for room, since nothing may be lost.

        Raises:
            RunError: there was none for 10 minutes.
            KeyboardInterrupt: a stop was asked for meanwhile.
        """
        if isinstance(event, PauseEvent):
            return

        def attempt() -> OSError | None:
            self.stops.may_raise = False  # a second Ctrl-C must not come between the journal's two copies
            try:
                recorder.record(event)
            except OSError as error:
                return error
            finally:
                self.stops.may_raise = True
            return None

        def tell(error: OSError) -> PauseEvent:
            return PauseEvent(
                event.samples_seen, f"PAUSED: {self._cannot_write(error)}; training goes on by itself then"
            )

        try:
            error = attempt()
            if error is not None and (yield from until_written(attempt, error, self.stops.reason, tell)) is not None:
                raise KeyboardInterrupt  # what was asked for can't be recorded either; the checkpoint before stands
        except OSError as error:
            raise RunError(f"{self._cannot_write(error)}; the same command then goes on from the last one") from error

    def _cannot_write(self, error: OSError) -> str:
        remedy = "make room (see `clipexp runs gc --dry-run`)"
        return f"can't write the journal {self.header.folder} ({error.strerror}); {remedy}"

    def _keep_traceback(self) -> None:
        text = traceback.format_exc()
        try:
            with publishing(self.header, "error") as folder:
                (folder / "traceback.txt").write_text(text)
        except OSError as error:
            self.problems.append(f"the traceback could not be kept: {error}")

    def _close(self, journal: Journal, recorder: Recorder, reason: StopReason) -> None:
        """Leave the true end and what belongs to it, deliver what MLflow has not got, and give the spec back.

        `reason` counts where training has not told its own.
        """
        unwritten: OSError | None = None
        try:
            if not journal.has_ended:
                journal.append(EndEvent(last_samples_seen(self.header.folder), reason))
            journal.sync()
            self.problems += close_out(self.header)
        except OSError as error:
            unwritten = error
        patience_s = FINAL_TRIES_S if self.stops.reason() is None else STOPPED_TRIES_S
        recorder.finish(1.0 if self.stops.is_hurried else patience_s, lambda: self.stops.is_hurried)
        try:
            pack_if_finished(self.header)
        except OSError as error:
            unwritten = error
        if unwritten is not None:
            self.problems.append(f"the run's end could not be written ({unwritten}); the next command finishes that")
        elif self.launch.lease is not None:
            self.launch.lease.release()
        if still_owed := owed(self.header):
            self.problems.append(
                f"OWED to MLflow: {still_owed} ({recorder.trouble or 'it was slow'}). All of it is in"
                f" {self.header.folder}; `clipexp sync` or the next run delivers it"
            )


def start(
    resolved: ResolvedRun,
    tracking: str | None = None,
    options: LaunchOptions = AS_USUAL,
    *,
    budget_s: float | None = None,
) -> Execution:
    """Check all that can be checked, then make the run or take up one that was cut off.

    Args:
        resolved: a validated spec.
        tracking: MLflow's URI; see `tracking_uri`.
        options: see there.
        budget_s: seconds of training after which it stops with a checkpoint, for the reason `budget`.

    Raises:
        ClipexpError: as `prepare_launch`; no run was made.
    """
    return Execution(prepare_launch(resolved, tracking, options), Stops(budget_s))


def run(resolved: ResolvedRun, tracking_uri: str | None = None) -> RunRecord:
    """Carry out a run to its end and return its record; one that was finished before is only read.

    Raises:
        ClipexpError: as `start`, or as `Execution.events`.
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
