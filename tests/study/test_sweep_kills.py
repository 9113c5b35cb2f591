"""Studies whose workers and drivers are killed, stopped and interrupted for real: nothing is lost, nothing doubled."""

import dataclasses
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from clipexp.study import pool
from clipexp.study.book import StudyBook
from clipexp.study.plan import Plan
from clipexp.study.sweep import Sweep
from clipexp.sync import sync
from clipexp.track.checkpoint_names import newest, samples_seen_at
from clipexp.track.home import home
from clipexp.track.journal import end_reason, last_samples_seen, live_records, points
from clipexp.track.summary import read_summary
from tests.small import small_content
from tests.study.cold_sweeps import cold_sweep
from tests.study.play import LOSS, Played, carry_out, plan_of, write_study

REPOSITORY = Path(__file__).parents[2]
NUM_TRIALS, NUM_KILLS, NUM_WORKERS = 30, 18, 3
STUDY = "studies/small.yaml"


def train(store: Path, samples: int) -> dict[str, Any]:
    """A base's `train`: an evaluation and a checkpoint every 192 samples, for all batch sizes of the space."""
    found = small_content(
        store, budget={"samples": samples}, eval_every_samples=192, checkpoint_every_samples=192, log_every_samples=64
    )
    return {"train": found["train"]}


def one_thread(plan: Plan) -> Plan:
    """Each worker with one thread, so that the same spec gives the same bits."""
    return dataclasses.replace(plan, seats=tuple(dataclasses.replace(seat, num_threads=1) for seat in plan.seats))


def query(words: str) -> list[tuple[Any, ...]]:
    """From MLflow's database."""
    with closing(sqlite3.connect("mlruns/mlflow.db", timeout=30)) as database:
        return database.execute(words).fetchall()


def statuses() -> Mapping[str, str]:
    """All runs in MLflow, the study's own one too, by run id."""
    return dict(query("select run_uuid, status from runs"))


def curves(run_id: str) -> dict[tuple[str, int], float]:
    """A run's points by its journal, but for the machine's state."""
    series = {name: found for name, found in points(home().journals / run_id).items() if not name.startswith("system/")}
    return {(name, point.samples_seen): point.value for name, found in series.items() for point in found}


def judge(played: Played, num_trials: int) -> None:
    """All that a disturbed study owes: each trial told, with one run, whose curves have every point once."""
    for line, was_delivered in sync():
        assert was_delivered, line
    assert played.reason == "finished"
    assert [row.number for row in played.rows] == list(range(num_trials))
    assert set(played.states) <= {"COMPLETE", "PRUNED"}
    own = [row for row in played.rows if not row.reused]
    status_by_run = statuses()
    assert status_by_run.keys() == {row.run_id for row in own} | {played.sweep.parent.run_id}
    assert status_by_run[played.sweep.parent.run_id] == "FINISHED"
    tags = query("select run_uuid, value from tags where key = 'clipexp.spec_hash'")
    assert sorted(tags) == sorted((row.run_id, row.spec_hash) for row in own)
    assert len({spec_hash for _, spec_hash in tags}) == len(own), "a spec was run twice"
    for row in own:
        folder = home().journals / row.run_id
        assert (row.state, status_by_run[row.run_id], end_reason(folder)) in {
            ("finished", "FINISHED", "finished"),
            ("pruned", "KILLED", "pruned"),
            ("pruned", "KILLED", "interrupted"),  # the pruner's word did not reach it, but outlived its driver
        }
        evaluations = [record for record in live_records(folder) if LOSS in record.get("metrics", {})]
        at = [record["samples_seen"] for record in evaluations]
        assert at == sorted(set(at)), "an evaluation stands in a curve twice"
        assert dict(row.curve) == {record["samples_seen"]: record["metrics"][LOSS] for record in evaluations}
        rows = query(
            f"select key, step, value from metrics where run_uuid = '{row.run_id}' and key not like 'system/%'"
        )
        assert Counter((key, step) for key, step, _ in rows) == dict.fromkeys(curves(row.run_id), 1)
        assert {(key, step): value for key, step, value in rows} == curves(row.run_id)
        if row.state == "finished":
            total = played.sweep.plan.total_samples
            assert (row.samples_seen, max(at), row.value) == (total, total, dict(row.curve)[total])


class Killer:
    """Kills workers at random moments: when a run is so far, and a while later, whatever they do then."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.killed: Counter[int] = Counter()
        self.timers: list[threading.Timer] = []
        self.victims: set[subprocess.Popen[bytes]] = set()
        self.draw()

    def draw(self) -> None:
        """Decide how far the next victim's run is: -1 for one that has not begun, which a fifth of them have not."""
        self.at = -1 if self.rng.random() < 0.2 else self.rng.randrange(0, 768, 64)
        self.rounds_left = self.rng.randint(2, 16)

    def __call__(self, sweep: Sweep, _: str) -> None:
        assert sweep.driver is not None
        self.rounds_left -= 1
        jobs = [
            (seat, job)
            for seat, job in sweep.driver.job_by_seat.items()
            if job.samples_seen >= self.at
            and (job.samples_seen == 0 or self.at >= 0)
            # three workers in a row that do not even begin end a study, as none could
            and (sweep.driver.pool._worker_by_seat[seat].is_ready or sweep.driver._num_false_starts == 0)
            # three deaths in a row without progress are taken for a lack of memory
            and (job.num_deaths < 2 or job.samples_seen > job.died_at)
        ]
        if self.rounds_left > 0 or not jobs or len(self.timers) == NUM_KILLS:
            return
        seat, job = self.rng.choice(jobs)
        assert job.number is not None
        self.killed[job.number] += 1
        self.draw()
        process = sweep.driver.pool._worker_by_seat[seat].process
        self.victims.add(process)
        self.timers.append(threading.Timer(self.rng.random() * 0.1, process.kill))
        self.timers[-1].start()


@pytest.mark.slow
def test_no_trial_is_lost_or_run_twice_whatever_workers_are_killed(
    fresh: Path, small_store: Path, storage_uri: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: Counter[int] = Counter()
    set_state = StudyBook._set_state

    def note(self: StudyBook, trial_id: int, state: Any, value: float | None) -> None:
        set_state(self, trial_id, state, value)
        told[trial_id] += 1

    monkeypatch.setattr(StudyBook, "_set_state", note)
    base = train(small_store, 768)
    pruner = {"kind": "median", "min_samples": 384, "startup_trials": 8}
    path = write_study(fresh, small_store, base=base, pruner=pruner, budget={"trials": NUM_TRIALS}, keep_checkpoints=0)
    killer = Killer(seed=3)
    played = carry_out(one_thread(plan_of(path, storage=storage_uri, num_workers=NUM_WORKERS)), killer)
    for timer in killer.timers:
        timer.join()
    assert sum(process.returncode == -signal.SIGKILL for process in killer.victims) >= 15
    assert sum("SIGKILL" in line for line in played.lines) >= 5
    assert sum("goes on from its checkpoint" in line for line in played.lines) >= 3
    assert not [line for line in played.lines if "FAILED" in line or "micro-batches" in line]
    judge(played, NUM_TRIALS)
    assert len(told) == NUM_TRIALS
    assert set(told.values()) == {1}

    # two of those that were killed, once more in a study that nobody disturbs
    killed = [row for row in played.rows if row.state == "finished" and killer.killed[row.number]][-2:]
    disturbed = {row.spec_hash: (curves(row.run_id), weights(row.run_id)) for row in killed}
    assert len(disturbed) == 2
    again = [{"name": f"again-{row.number}", "values": row.values} for row in killed]
    calm = fresh / "calm"
    calm.mkdir()
    monkeypatch.chdir(calm)
    undisturbed = carry_out(
        one_thread(plan_of(write_study(calm, small_store, base=base, baselines=again, budget={"trials": 2})))
    )
    assert {row.spec_hash: (curves(row.run_id), weights(row.run_id)) for row in undisturbed.rows} == disturbed


def weights(run_id: str) -> str:
    """A finished run's weights, by their hash."""
    summary = read_summary(home().journals / run_id)
    assert summary is not None
    assert summary.weights_sha256
    return summary.weights_sha256


@pytest.mark.slow
def test_a_worker_that_stands_still_is_noticed_and_its_trial_goes_on(
    fresh: Path, small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study(fresh, small_store, budget={"trials": 1})
    usual_s = pool.SILENT_AFTER_S
    stopped: list[int] = []

    def stop(sweep: Sweep, line: str) -> None:
        assert sweep.driver is not None
        for seat, job in sweep.driver.job_by_seat.items():
            if job.samples_seen >= 192 and not stopped:
                process = sweep.driver.pool._worker_by_seat[seat].process
                process.send_signal(signal.SIGSTOP)
                stopped.append(process.pid)
                monkeypatch.setattr(pool, "SILENT_AFTER_S", 1.0)
        if "silent" in line:  # the next worker must have time to begin
            monkeypatch.setattr(pool, "SILENT_AFTER_S", usual_s)

    played = carry_out(plan_of(path), stop)
    assert len(stopped) == 1
    assert not psutil.pid_exists(stopped[0])
    assert any("killed, as it was silent for 1 s" in line and "another one goes on" in line for line in played.lines)
    judge(played, 1)


class Launches:
    """`clipexp sweep` as a person starts it, in a process group of its own, as a shell would."""

    def __init__(self, folder: Path, storage: str | None) -> None:
        self.folder = folder
        self.storage = storage
        self.words = ["sweep", STUDY, "--workers", "2", *(["--storage", storage] if storage else [])]

    def start(self, strike: Mapping[str, Any] | None = None, words: list[str] | None = None) -> subprocess.Popen[bytes]:
        """Start it; `strike`: what happens to it from within, see tests/faults/child.py."""
        plan = {"strikes": [strike] if strike else [], "note": str(self.folder / "struck")}
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.faults.child", json.dumps(plan), *(words or self.words)],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), "MLFLOW_DISABLE_TELEMETRY": "true"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def run(self, strike: Mapping[str, Any] | None = None, words: list[str] | None = None) -> int:
        """Start it, and wait for its end; returns the exit code."""
        process = self.start(strike, words)
        try:
            return process.wait(300)
        except subprocess.TimeoutExpired:
            process.kill()
            raise

    def output(self) -> str:
        """All that was said so far."""
        return (self.folder / "output").read_text()

    def workers(self) -> list[psutil.Process]:
        """The workers of this folder's studies that live."""
        found = []
        for process in psutil.process_iter():
            try:
                if "clipexp.study.worker" in process.cmdline() and process.cwd() == str(self.folder.resolve()):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for something that must come true."""
    until_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until_s, "it did not come true"
        time.sleep(0.1)


def strikes(seed: int) -> list[dict[str, Any]]:
    """Where the driver is killed, launch by launch: while it asks, reports and tells, and at a random moment."""
    rng = random.Random(seed)
    book = "clipexp.study.book:StudyBook"
    return [
        {"at": f"{book}.ask", "do": "kill", "when": "after", "n": 3},
        {"at": f"{book}.report", "do": "kill", "n": rng.randint(4, 7)},
        {"at": f"{book}._set_state", "do": "kill", "when": "before"},
        {"at": f"{book}._set_state", "do": "kill", "when": "after", "n": 2},
        {"at": "clipexp.study.driver:Driver._answer", "do": "kill", "n": rng.randint(2, 20), "delay_s": rng.random()},
    ]


@pytest.mark.slow
def test_a_driver_that_is_killed_anywhere_leaves_no_worker_and_the_next_one_goes_on(
    fresh: Path, small_store: Path, storage_uri: str | None
) -> None:
    path = write_study(fresh, small_store, base=train(small_store, 768), budget={"trials": 8}, keep_checkpoints=0)
    launches = Launches(fresh, storage_uri)
    num_left_behind = 0
    wanted = strikes(seed=1) if storage_uri is None else strikes(seed=1)[::2]
    for number, strike in enumerate(wanted, 1):
        assert launches.run(strike) == -signal.SIGKILL, launches.output()
        assert len((fresh / "struck").read_text().splitlines()) == number
        num_left_behind += bool(launches.workers())
        wait_until(lambda: not launches.workers(), 60)
        for folder in home().journals.iterdir():
            assert end_reason(folder) in {"finished", "interrupted"}
            if end_reason(folder) == "interrupted":  # its own last word, at a checkpoint
                checkpoint = newest(home().checkpoints / folder.name)
                assert checkpoint is None or samples_seen_at(checkpoint) == last_samples_seen(folder)
        if number == 1:
            assert launches.run(words=["runs"]) == 0
            parents = "select status from runs where run_uuid not in (select run_uuid from tags where key = '{}')"
            assert query(parents.format("clipexp.spec_hash")) == [("KILLED",)]
            assert "RUNNING" not in statuses().values()
    assert num_left_behind >= len(wanted) - 2
    assert launches.run() == 0, launches.output()
    assert "were cut off and go on" in launches.output()
    judge(carry_out(plan_of(path, storage=storage_uri)), 8)


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_truly_and_a_second_one_at_once(
    fresh: Path, small_store: Path, storage_uri: str | None
) -> None:
    path = write_study(fresh, small_store, base=train(small_store, 9600), budget={"trials": 2}, keep_checkpoints=0)
    launches = Launches(fresh, storage_uri)
    progress = 0
    for num_signals, within_s in ((1, 30.0), (2, 15.0)):
        sweep = launches.start()
        wait_until(partial(are_beyond, sweep, progress), 120)
        for _ in range(num_signals):
            os.killpg(sweep.pid, signal.SIGINT)
            time.sleep(0.3)
        assert sweep.wait(within_s) == 130, launches.output()
        assert "Traceback" not in launches.output()
        wait_until(lambda: not launches.workers(), 1)
        if num_signals == 2:  # its workers had no time for a word
            assert launches.run(words=["runs"]) == 0
        assert sorted(statuses().values()) == ["KILLED"] * 3
        assert optuna_states(plan_of(path, storage=storage_uri)) == ["WAITING"] * 2
        progress = max(last_samples_seen(folder) for folder in home().journals.iterdir())
    assert launches.run() == 0, launches.output()
    assert launches.output().count("goes on from its checkpoint") >= 3
    judge(carry_out(plan_of(path, storage=storage_uri)), 2)


def are_beyond(sweep: subprocess.Popen[bytes], samples_seen: int) -> bool:
    """Whether both runs came further, or the sweep has ended."""
    further = [folder for folder in home().journals.glob("*") if last_samples_seen(folder) > samples_seen]
    return len(further) == 2 or sweep.poll() is not None


def optuna_states(plan: Plan) -> list[str]:
    """The trials' states, as any of Optuna's tools sees them."""
    from optuna import load_study

    from clipexp.study.storage import open_storage

    with open_storage(plan.storage, plan.folder) as storage:
        study = load_study(study_name=plan.name, storage=storage.storage)
        return [trial.state.name for trial in study.get_trials(deepcopy=False)]


@pytest.mark.slow
def test_eight_workers_start_cold_on_fresh_databases(
    tmp_path: Path, small_store: Path, storage_uri: str | None
) -> None:
    assert cold_sweep(tmp_path / "cold", small_store, storage_uri) == []
