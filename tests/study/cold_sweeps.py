"""A sweep of 8 trials starts 8 workers in an empty folder, without `mlruns/` or Optuna's tables, and all must finish.

    python -m tests.study.cold_sweeps --times 20

With the journal, and with an empty PostgreSQL database where that is installed. Prints what crashed; the exit code is 1
if anything did.
"""

import argparse
import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import click

from clipexp.data.prepare import prepare
from clipexp.spec.load import resolve
from tests.small import small_content
from tests.study.play import plan_of, write_study
from tests.study.postgres import MISSING, Server, binaries

REPOSITORY = Path(__file__).parents[2]
NUM_WORKERS = 8
PATIENCE_S = 600
STARTED, CRASHES = "worker-*.log", ("Traceback", "FAILED", "its worker was lost", "OWED")


def cold_sweep(folder: Path, store: Path, storage: str | None = None) -> list[str]:
    """One sweep in a folder that is made for it; returns what is wrong."""
    folder.mkdir(parents=True)
    path = write_study(folder, store, budget={"trials": NUM_WORKERS}, sampler={"kind": "random"}, keep_checkpoints=0)
    words = ["sweep", str(path), "--workers", str(NUM_WORKERS), *(["--storage", storage] if storage else [])]
    done = subprocess.run(
        [sys.executable, "-c", "from clipexp.cli import entry; entry()", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    problems = [f"exit code {done.returncode}: {done.stdout[-4000:]}"] if done.returncode else []
    problems += [line for line in done.stdout.splitlines() if any(word in line for word in CRASHES)]
    study = folder / "mlruns" / "studies" / "small"
    logs = sorted(study.glob(STARTED))
    if len(logs) != NUM_WORKERS:
        problems.append(f"{len(logs)} workers were started, not {NUM_WORKERS}")
    problems += [f"{log.name}: {log.read_text()[-2000:]}" for log in logs if "Traceback" in log.read_text()]
    with closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as database:
        states = [state for (state,) in database.execute("select status from runs")]
    if states != ["FINISHED"] * (NUM_WORKERS + 1):
        problems.append(f"MLflow has runs in the states {states}")
    if (told := _optuna_states(folder, path, storage)) != ["COMPLETE"] * NUM_WORKERS:
        problems.append(f"Optuna has trials in the states {told}")
    return problems


def _optuna_states(folder: Path, path: Path, storage: str | None) -> list[str]:
    from optuna import load_study

    from clipexp.study.storage import open_storage

    with contextlib.chdir(folder):
        plan = plan_of(path, storage=storage)
        with open_storage(storage, plan.folder) as opened:
            study = load_study(study_name=plan.name, storage=opened.storage)
            return [trial.state.name for trial in study.get_trials(deepcopy=False)]


def main() -> int:
    """Cold sweeps in a row; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.study.cold_sweeps")
    parser.add_argument("--times", type=int, default=20, metavar="N", help="how many, with each storage")
    parser.add_argument("--storage", choices=["journal", "postgresql"], help="only this one")
    options = parser.parse_args()
    wanted = [options.storage] if options.storage else ["journal", "postgresql"]
    num_bad = num_done = 0
    with tempfile.TemporaryDirectory(prefix="clipexp-cold-") as name, contextlib.ExitStack() as stack:
        root = Path(name)
        spec = resolve(small_content(root / "store")).spec
        prepare(spec.data, spec.model.context_length)
        server = None
        if "postgresql" in wanted and binaries() is None:
            click.echo(MISSING)
            wanted.remove("postgresql")
        elif "postgresql" in wanted:
            server = stack.enter_context(Server.started())
        for number in range(options.times):
            for storage in wanted:
                began_s = time.monotonic()
                uri = server.fresh_database() if server and storage == "postgresql" else None
                problems = cold_sweep(root / f"{storage}-{number}", root / "store", uri)
                num_bad, num_done = num_bad + bool(problems), num_done + 1
                took_s = time.monotonic() - began_s
                click.echo(f"cold sweep {number}, {storage}, {took_s:.0f} s: {'; '.join(problems) or 'ok'}")
    click.echo(f"{num_done} cold sweeps of {NUM_WORKERS} workers, {num_bad} of them with a crash")
    return int(num_bad > 0 or num_done == 0)


if __name__ == "__main__":
    sys.exit(main())
