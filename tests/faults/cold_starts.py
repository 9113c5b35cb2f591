"""Eight runs start at the same moment in a folder without `mlruns/`, and all must finish.

    python -m tests.faults.cold_starts --times 20

Each has a seed of its own, so that they share nothing but the folder, the database and the prepared set. Prints what
crashed; the exit code is 1 if anything did.
"""

import argparse
import contextlib
import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import click

from tests.faults.case import TRACEBACK
from tests.faults.forked import Fresh, Nursery
from tests.faults.scene import write_spec

NUM_RUNS = 8
PATIENCE_S = 400


def cold_start(folder: Path, store: Path, starter: "Nursery | Fresh") -> list[str]:
    """Start them; returns what is wrong."""
    write_spec(folder, store, "cold")
    environment = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    words = ["--set", "train.budget.samples=96"]
    commands = [["{}", "run", "run.yaml", *words, "--set", f"seed={seed}"] for seed in range(NUM_RUNS)]
    children = [starter.start(folder, environment, command) for command in commands]
    problems = []
    for seed, child in enumerate(children):
        with contextlib.suppress(TimeoutError):  # it is killed then, and its code tells
            child.wait(PATIENCE_S)
        if child.code or TRACEBACK in child.output():
            problems.append(f"seed {seed}: exit code {child.code}: {child.output()[-4000:]}")
    with closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as database:
        states = [state for (state,) in database.execute("select status from runs")]
    if states != ["FINISHED"] * NUM_RUNS:
        problems.append(f"MLflow has runs in the states {states}")
    return problems


def prepare(folder: Path, store: Path, starter: "Nursery | Fresh") -> None:
    """Prepare the set that all runs read."""
    write_spec(folder, store, "cold")
    child = starter.start(folder, {}, [json.dumps({}), "data", "prepare", "run.yaml"])
    if child.wait(PATIENCE_S):
        raise OSError(child.output())


def main() -> int:
    """Cold starts in a row; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.cold_starts")
    parser.add_argument("--times", type=int, default=20, metavar="N", help="how many cold starts")
    parser.add_argument("--fresh", action="store_true", help="a new interpreter for each process, not a forked one")
    options = parser.parse_args()
    num_bad = 0
    with tempfile.TemporaryDirectory(prefix="clipexp-cold-") as name:
        root = Path(name)
        with Fresh() if options.fresh else Nursery(root) as starter:
            prepare(root / "prepared", root / "store", starter)
            for number in range(options.times):
                problems = cold_start(root / f"cold-{number}", root / "store", starter)
                num_bad += bool(problems)
                click.echo(f"cold start {number}: {'; '.join(problems) or 'ok'}")
    click.echo(f"{options.times} cold starts of {NUM_RUNS} processes, {num_bad} of them with a crash")
    return int(num_bad > 0)


if __name__ == "__main__":
    sys.exit(main())
