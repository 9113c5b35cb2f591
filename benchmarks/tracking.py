"""What the journal and tracking cost, with MLflow at hand and with its server gone.

    python benchmarks/tracking.py [--quick] [--json FILE]

Trains the quickstart for real, in a working directory of its own: some times with MLflow's database beside the run, and
once against a real MLflow server that hangs and then is gone for 10 minutes in the middle of it. Timed is all that the
training thread does for journal and tracking (making the run, recording events, closing, the last delivery), the
processor time of the thread that delivers, and every training step, with and without a delivery going on beside it.
Shares are of the time spent training. The prepared set is made first where it is missing, and is not part of the time.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipexp import launch, runner
from clipexp.data.prepare import prepare
from clipexp.spec.load import load_spec
from clipexp.track import mlflow_run
from clipexp.track.delivery import Delivery
from clipexp.track.mlflow_store import connect
from clipexp.track.recorder import Recorder
from clipexp.train.device import describe_device
from clipexp.train.training import Training
from clipexp.ui import free_port, server_command

SPEC = "experiments/quickstart.yaml"
REPEATS = 3
GONE_S, QUICK_GONE_S = 600, 20  # half of it the server hangs, half of it nobody answers
BEFORE_AND_AFTER_S = 60  # trained with the server at hand


@dataclass
class Timings:
    """What one run took.

    step_s: (seconds, whether something was being sent meanwhile, whether the server was away) of every step but the
    first, which sets up torch's kernels. send_cpu_s: the processor time of each call that sends.
    """

    seconds_by_part: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    step_s: list[tuple[float, bool, bool]] = field(default_factory=list)
    send_cpu_s: list[float] = field(default_factory=list)
    longest_record_s: float = 0.0
    total_s: float = 0.0
    is_sending: threading.Event = field(default_factory=threading.Event)
    is_away: threading.Event = field(default_factory=threading.Event)


def timed(timings: Timings, part: str, function: Callable[..., Any], clock: Callable[[], float]) -> Callable[..., Any]:
    """The same function, its time added to a part."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        start_s = clock()
        try:
            return function(*args, **kwargs)
        finally:
            took_s = clock() - start_s
            timings.seconds_by_part[part] += took_s
            if part == "record events":
                timings.longest_record_s = max(timings.longest_record_s, took_s)

    return wrapper


def timed_step(timings: Timings, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same training step, its time noted."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        was_sending = timings.is_sending.is_set()
        start_s = time.perf_counter()
        result = function(*args, **kwargs)
        is_sending = was_sending or timings.is_sending.is_set()
        timings.step_s.append((time.perf_counter() - start_s, is_sending, timings.is_away.is_set()))
        return result

    return wrapper


def marked(timings: Timings, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same call to MLflow, known to be going on."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        timings.is_sending.set()
        start_s = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            timings.send_cpu_s.append(time.thread_time() - start_s)
            timings.is_sending.clear()

    return wrapper


@contextlib.contextmanager
def timers(timings: Timings) -> Iterator[None]:
    """Time every call that tracking makes, as long as this lasts."""
    wall, own = time.perf_counter, time.thread_time
    places: list[tuple[Any, str, Callable[..., Any]]] = [
        (mlflow_run, "create", timed(timings, "make the run", mlflow_run.create, wall)),
        (launch, "write_header", timed(timings, "make the run", launch.write_header, wall)),
        (runner, "system_metrics", timed(timings, "record events", runner.system_metrics, wall)),
        (Recorder, "record", timed(timings, "record events", Recorder.record, wall)),
        (runner, "close_out", timed(timings, "figures, examples, summary", runner.close_out, wall)),
        (Recorder, "finish", timed(timings, "last delivery", Recorder.finish, wall)),
        (runner, "pack_if_finished", timed(timings, "pack the journal", runner.pack_if_finished, wall)),
        (Recorder, "_run", timed(timings, "delivering thread (processor)", Recorder._run, own)),
        (Delivery, "send_some", marked(timings, Delivery.send_some)),
        (Training, "step", timed_step(timings, Training.step)),
    ]
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for owner, name, function in places:
        setattr(owner, name, function)
    try:
        yield
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)


def measure(
    overrides: list[str], tracking: str | None = None, at_first_event: Callable[[Timings], None] = lambda _: None
) -> Timings:
    """One run of the quickstart, in the working directory."""
    timings = Timings()
    with timers(timings):
        execution = runner.start(load_spec(overrides[0], overrides[1:]), tracking)
        start_s = time.perf_counter()
        for number, _ in enumerate(execution.events()):
            if number == 0:
                at_first_event(timings)
        timings.total_s = time.perf_counter() - start_s
    if execution.problems:
        raise RuntimeError(f"something is owed: {execution.problems}")
    return timings


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """A working directory of its own."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


class Server:
    """A real MLflow server, which can hang and be gone."""

    def __init__(self) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._start()

    def _start(self) -> None:
        words = server_command(self.port, "sqlite:///server.db")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self._process = subprocess.Popen(words, env={**os.environ, **settings}, **quiet)
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
            except OSError:
                time.sleep(0.2)
            else:
                return

    def end(self) -> None:
        """Kill it with its workers."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def be_away(self, away_s: float, timings: Timings) -> None:
        """Be at hand, hang, be gone, and come back, while somebody trains."""

        def absence() -> None:
            time.sleep(BEFORE_AND_AFTER_S / 2)
            timings.is_away.set()
            os.killpg(self._process.pid, signal.SIGSTOP)
            time.sleep(away_s / 2)
            self.end()
            time.sleep(away_s / 2)
            timings.is_away.clear()
            self._start()

        threading.Thread(target=absence, daemon=True).start()


def rows_of(name: str, runs: list[Timings], basis: str) -> list[dict[str, Any]]:
    """The figures of some runs of one kind: medians of parts and shares, steps taken together."""
    parts = {part: statistics.median(run.seconds_by_part[part] for run in runs) for part in runs[0].seconds_by_part}
    thread_s = parts.pop("delivering thread (processor)")
    waited_s = parts.pop("last delivery")  # after training, for 20 s at the most: no cost of training, but told
    cost_s = sum(parts.values())
    total_s = statistics.median(run.total_s for run in runs)
    training_s = total_s - waited_s - (cost_s - parts["make the run"])  # the run is made before the clock starts
    steps = [step for run in runs for step in run.step_s[1:]]
    figures: dict[str, tuple[float, str]] = {
        **{f"{part.replace(', ', '_').replace(' ', '_')}_s": (seconds, "s") for part, seconds in parts.items()},
        "last_delivery_s": (waited_s, "s"),
        "thread_cpu_s": (thread_s, "s"),
        "training_s": (training_s, "s"),
        "frac": (cost_s / training_s, "of training time"),
        "with_thread_frac": ((cost_s + thread_s) / training_s, "of training time"),
        "longest_record_ms": (1e3 * max(run.longest_record_s for run in runs), "ms"),
        # Python's lock is held no longer than this by one call, and training's thread waits for no more
        "longest_call_cpu_ms": (1e3 * max(s for run in runs for s in run.send_cpu_s), "ms"),
    }
    for where, was_away in (("at_hand", False), ("away", True)):
        for when, was_sending in (("sending", True), ("otherwise", False)):
            found = sorted(s for s, sent, away in steps if (sent, away) == (was_sending, was_away))
            if found:
                key = f"step_{where}_{when}"
                figures[f"{key}_median_ms"] = (1e3 * statistics.median(found), "ms")
                figures[f"{key}_p99_ms"] = (1e3 * found[int(0.99 * (len(found) - 1))], "ms")
                figures[f"{key}_longest_ms"] = (1e3 * found[-1], "ms")
                figures[f"{key}_num"] = (len(found), "steps")
    return [{"name": f"{name}_{key}", "value": v, "unit": unit, "basis": basis} for key, (v, unit) in figures.items()]


def run_locally(words: list[str], is_quick: bool) -> Timings:
    """The quickstart with MLflow's database beside it."""
    with elsewhere():
        connect(f"sqlite:///{Path.cwd() / 'mlruns' / 'mlflow.db'}")  # made once an installation, not once a run
        return measure([*words, *(["train.budget.samples=12800"] if is_quick else [])])


def run_with_server(words: list[str], gone_s: float, batch_size: int) -> tuple[Timings, int]:
    """The quickstart, made longer than its server is gone, and its budget in samples."""
    with elsewhere():
        probe = measure([*words, "train.budget.samples=12800"])
    samples_per_s = 12_800 / sum(seconds for seconds, *_ in probe.step_s)
    budget = int(samples_per_s * (gone_s + 2 * BEFORE_AND_AFTER_S)) // batch_size * batch_size
    with elsewhere():
        server = Server()
        try:
            long = [*words, f"train.budget.samples={budget}"]
            return measure(long, server.uri, lambda timings: server.be_away(gone_s, timings)), budget
        finally:
            server.end()


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="12,800 samples once, and a server gone for 20 s")
    parser.add_argument("--only", choices=["local", "server"], help="one of the two alone")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    import torch

    spec = load_spec(SPEC).spec
    prepare(spec.data, spec.model.context_length)
    words = [str(Path(SPEC).resolve()), f"data.store={Path(spec.data.store).resolve()}"]
    device = describe_device(torch.device("cpu"))
    rows: list[dict[str, Any]] = []
    if args.only != "server":
        local = [run_locally(words, args.quick) for _ in range(1 if args.quick else REPEATS)]
        basis = f"median of {len(local)} run(s) of {SPEC}, MLflow's database beside it, {device}"
        rows += rows_of("local", local, basis)
    if args.only != "local":
        gone_s = QUICK_GONE_S if args.quick else GONE_S
        away, num_samples = run_with_server(words, gone_s, spec.train.batch_size)
        basis = f"one run of {SPEC} over {num_samples:,} samples, server gone for {gone_s} s of it, {device}"
        rows += rows_of("server_gone", [away], basis)
    for row in rows:
        value = f"{row['value']:.2%}" if row["name"].endswith("_frac") else f"{row['value']:.3f}"
        print(f"{row['name']:<44} {value:>10} {row['unit']:<18} {row['basis']}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
