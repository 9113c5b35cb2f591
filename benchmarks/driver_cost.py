"""What a study's driver and its storage cost a trial: real ones, over workers that answer at once.

    cost = measure(num_trials=1_000, storage=None)  # None: the journal file
    cost.late_s  # wall seconds a trial, of the last hundred

A whole launch as by `clipexp sweep`: Optuna's study, the driver, MLflow's parent run in its thread. Only the pool is
made up: it says what a worker says of a run, in the same words and order, takes the losses from the surrogate, and
writes the run's journal, as a worker does. Its own time is not counted.
"""

import contextlib
import itertools
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.surrogate import BATCH, LR, WARMUP, Surrogate, committed
from clipexp.events import EndEvent, EvalEvent, StepEvent, StopReason
from clipexp.spec.study_load import load_study
from clipexp.stops import Stops
from clipexp.study.messages import Message, event_message
from clipexp.study.plan import Plan, PlanOptions, make_plan
from clipexp.study.pool import Seat
from clipexp.study.sweep import open_sweep
from clipexp.track.home import home
from clipexp.track.journal import Journal

REPOSITORY = Path(__file__).parents[1]
STUDY = "studies/quick.yaml"
LATE = 100  # trials


@dataclass(frozen=True)
class Cost:
    """Seconds a trial, the pool's left out. late: the last hundred. cpu: of this process, the pool too."""

    mean_s: float
    late_s: float
    mean_cpu_s: float
    late_cpu_s: float
    states: Mapping[str, int]


class InstantPool:
    """Workers that have trained before they are asked. Its interface is `Pool`'s."""

    def __init__(self, seats: Sequence[Seat], surrogate: Surrogate) -> None:
        self.seats = tuple(seats)
        self.num_started = 0
        self.wall_s = 0.0  # of this pool's own
        self._surrogate = surrogate
        self._runs: dict[Seat, Iterator[Message]] = {}
        self._stop: dict[Seat, StopReason | None] = {}
        self._number = itertools.count(1)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        begun_s = time.perf_counter()
        yield
        self.wall_s += time.perf_counter() - begun_s

    def assign(self, seat: Seat, job: Message) -> None:
        """Begin a job."""
        self._stop[seat] = None
        self._runs[seat] = self._run(seat, job)

    def answer(self, seat: Seat, number: int, stop: StopReason | None = None) -> None:
        """Hear the driver's answer to an event."""
        self._stop[seat] = stop

    def poll(self, timeout_s: float) -> Iterator[tuple[Seat, Message]]:
        """The next that each worker says."""
        for seat, run in list(self._runs.items()):
            with self._timed():
                message = next(run)
            if message["say"] == "done":
                del self._runs[seat]
            yield seat, message

    def _run(self, seat: Seat, job: Message) -> Iterator[Message]:
        spec, run_id = job["spec"], uuid.uuid4().hex
        values = {LR: spec["optim"]["max_lr"], WARMUP: spec["schedule"]["warmup_frac"]}
        curve = self._surrogate.curve(values | {BATCH: spec["train"]["batch_size"]})
        total_samples = max(curve)
        yield {
            "say": "started",
            "run_id": run_id,
            "created_ms": time.time_ns() // 1_000_000,
            "spec_hash": "",
            "resumed_at": 0,
            "total_samples": total_samples,
            "device": "cpu",
            "notes": [],
        }
        reason: StopReason = "finished"
        with Journal(home().journals / run_id) as journal:
            journal.begin(0)
            for samples_seen, loss in curve.items():
                for event in (
                    StepEvent(samples_seen, 0.0, {"train/loss": loss, "system/samples_per_s": 1e3}),
                    EvalEvent(samples_seen, 0.0, {"val/loss": loss}),
                ):
                    journal.append(event)
                    yield event_message(event, next(self._number))
                if (stop := self._stop[seat]) is not None:
                    reason = stop
                    break
            journal.append(EndEvent(samples_seen, reason))
        final = {"val/loss": loss}
        yield {"say": "done", "reason": reason, "samples_seen": samples_seen, "final": final, "problems": []}

    def __enter__(self) -> "InstantPool":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def workshop(num_trials: int, storage: str | None) -> Iterator[Plan]:
    """A working directory of its own, with the repository's data, and the quick study for so many trials."""
    with tempfile.TemporaryDirectory(prefix="clipexp-driver-") as name, contextlib.chdir(name):
        Path("data").symlink_to(REPOSITORY / "data")
        overrides = [f"budget.trials={num_trials}", "budget.wall_hours=null", "confirm_seeds=0"]
        study = load_study(REPOSITORY / STUDY, overrides)
        yield make_plan(study, PlanOptions(storage=storage, num_workers=1))


def measure(num_trials: int, storage: str | None, around: Callable[[], Any] = contextlib.nullcontext) -> Cost:
    """Carry out a study. around: a context for the driver's loop alone, such as a profiler's."""
    marks = [(0.0, 0.0)]
    with workshop(num_trials, storage) as plan:
        pool = InstantPool(plan.seats, committed())
        with mock.patch("clipexp.study.sweep.Pool", return_value=pool), open_sweep(plan, Stops()) as sweep:
            begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
            with around():
                for line in sweep.carry_out():
                    if line.startswith("trial "):  # it ended
                        wall_s = time.perf_counter() - begun_s - pool.wall_s
                        marks.append((wall_s, time.process_time() - begun_cpu_s))
            names = [trial.state.name for trial in sweep.book.trials()]
            sweep.reason = "finished"
    late = min(LATE, len(marks) // 2)
    (wall_s, cpu_s), (before_s, before_cpu_s) = marks[-1], marks[-1 - late]
    return Cost(
        mean_s=wall_s / (len(marks) - 1),
        late_s=(wall_s - before_s) / late,
        mean_cpu_s=cpu_s / (len(marks) - 1),
        late_cpu_s=(cpu_s - before_cpu_s) / late,
        states={name: names.count(name) for name in sorted(set(names))},
    )
