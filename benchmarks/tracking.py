"""What tracking costs.

    python benchmarks/tracking.py [--quick] [--json FILE]

Runs the quickstart for real, in a working directory of its own, and times all that is done for the journal and MLflow
on the training thread (making the run, recording events, waiting for the last delivery, plots, examples, artifacts, the
end) and the processor time of the thread that delivers points. Shares are of the time spent training. The prepared set
is made first where it is missing, and is not part of the time.
"""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from clipexp import runner
from clipexp.data.prepare import prepare
from clipexp.spec.load import load_spec
from clipexp.track import mlflow_run
from clipexp.track.mlflow_store import connect
from clipexp.track.recorder import Recorder
from clipexp.train.device import describe_device

SPEC = "experiments/quickstart.yaml"
QUICK = ["train.budget.samples=12800"]
REPEATS = 3
seconds_by_part: dict[str, float] = defaultdict(float)


def timed(
    part: str, function: Callable[..., Any], clock: Callable[[], float] = time.perf_counter
) -> Callable[..., Any]:
    """The same function, its time added to `seconds_by_part[part]`."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        start_s = clock()
        try:
            return function(*args, **kwargs)
        finally:
            seconds_by_part[part] += clock() - start_s

    return wrapper


@contextlib.contextmanager
def timers() -> Iterator[None]:
    """Time every call that tracking makes, as long as this lasts."""
    places: list[tuple[Any, str, str, Callable[[], float]]] = [
        (mlflow_run, "create", "make the run", time.perf_counter),
        (mlflow_run, "end", "end the run", time.perf_counter),
        (runner, "log_plots", "plots", time.perf_counter),
        (runner, "log_examples", "examples", time.perf_counter),
        (runner, "system_metrics", "record events", time.perf_counter),
        (Recorder, "record", "record events", time.perf_counter),
        (Recorder, "__exit__", "last delivery", time.perf_counter),
        (Recorder, "_deliver_until_closed", "delivering thread (processor)", time.thread_time),
    ]
    kept = [(owner, name, getattr(owner, name)) for owner, name, _, _ in places]
    for owner, name, part, clock in places:
        setattr(owner, name, timed(part, getattr(owner, name), clock))
    try:
        yield
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)


def measure(spec_path: Path, overrides: list[str], store: Path) -> dict[str, float]:
    """One run: seconds by part, and of training as a whole."""
    resolved = load_spec(spec_path, [*overrides, f"data.store={store}"])
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            connect(f"sqlite:///{Path.cwd() / 'mlruns' / 'mlflow.db'}")  # made once an installation, not once a run
            seconds_by_part.clear()
            with timers():
                execution = runner.start(resolved)
                start_s = time.perf_counter()
                for _ in execution.events():
                    pass
                total_s = time.perf_counter() - start_s
        finally:
            os.chdir(before)
    return {**seconds_by_part, "training, tracking included": total_s}


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a budget of 12,800 samples, once")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    spec = load_spec(SPEC).spec
    store = Path(spec.data.store).resolve()
    prepare(spec.data, spec.model.context_length)
    overrides = QUICK if args.quick else []
    runs = [measure(Path(SPEC).resolve(), overrides, store) for _ in range(1 if args.quick else REPEATS)]
    median = {part: statistics.median(run[part] for run in runs) for part in runs[0]}
    total_s = median.pop("training, tracking included")
    thread_s = median.pop("delivering thread (processor)")
    cost_s = sum(median.values())
    training_s = total_s - sum(seconds for part, seconds in median.items() if part != "make the run")
    import torch

    budget = f" with {overrides[0]}" if overrides else ""
    basis = f"median of {len(runs)} run(s) of {SPEC}{budget}, {describe_device(torch.device('cpu'))}"
    rows: list[dict[str, Any]] = [
        {"name": f"tracking_{part.replace(' ', '_')}_s", "value": seconds, "unit": "s", "basis": basis}
        for part, seconds in median.items()
    ]
    rows += [
        {"name": "tracking_thread_cpu_s", "value": thread_s, "unit": "s", "basis": basis},
        {"name": "training_s", "value": training_s, "unit": "s", "basis": basis},
        {"name": "tracking_frac", "value": cost_s / training_s, "unit": "of training time", "basis": basis},
        {
            "name": "tracking_with_thread_frac",
            "value": (cost_s + thread_s) / training_s,
            "unit": "of training time",
            "basis": f"{basis}; the thread's processor time counted as if nothing else could have run",
        },
    ]
    print(basis)
    for row in rows:
        value = f"{row['value']:.2%}" if row["name"].endswith("_frac") else f"{row['value']:.3f}"
        print(f"{row['name']:<28} {value:>9} {row['unit']}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
