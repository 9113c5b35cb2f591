"""However a run ends, what stands recorded of it is true; and what was cut off goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

import clipexp
from clipexp import run_command, runner
from clipexp.cli import main
from clipexp.errors import RunError, TrackingError
from clipexp.events import EndEvent, PauseEvent, StepEvent, StopReason
from clipexp.settle import settle
from clipexp.space import free_bytes
from clipexp.spec.load import ResolvedRun, resolve
from clipexp.spec.run import RunSpec
from clipexp.stops import Stops
from clipexp.sync import sync
from clipexp.track.delivery import owed
from clipexp.track.home import home
from clipexp.track.journal import COPY_FILE, EVENTS_FILE, Journal, end_reason, points
from clipexp.track.lease import try_lock
from clipexp.track.packed import PARQUET_FILE
from clipexp.track.summary import read_summary
from tests.e2e.conftest import client, die_after, stop_at_first_step
from tests.small import small_content


@pytest.mark.parametrize(
    ("reason", "status"),
    [("interrupted", "KILLED"), ("budget", "KILLED"), ("pruned", "KILLED")],
)
def test_a_run_that_was_stopped_says_why_and_goes_on(
    fresh: Path, short: ResolvedRun, reason: StopReason, status: str
) -> None:
    execution = runner.start(short)
    stop_at_first_step(execution, reason)
    run = client().get_run(execution.run_id)
    assert (run.info.status, run.data.tags["clipexp.stop_reason"]) == (status, reason)
    summary = read_summary(execution.header.folder)
    assert summary is not None
    assert (summary.reason, summary.samples_seen) == (reason, 64)
    record = clipexp.run(short)
    assert (record.run_id, record.status) == (execution.run_id, "FINISHED")
    assert record.tags["clipexp.stop_reason"] == "finished"
    assert json.loads(record.tags["clipexp.resumed_on"])["device"] == record.tags["clipexp.device"]


def test_a_run_goes_on_over_a_set_that_was_moved(fresh: Path, small_store: Path) -> None:
    before, after = fresh / "before", fresh / "after"
    shutil.copytree(small_store, before)
    stop_at_first_step(runner.start(resolve(small_content(before, budget={"samples": 128}))), "interrupted")
    before.rename(after)
    execution = runner.start(resolve(small_content(after, budget={"samples": 128})))
    assert list(execution.events())[-1] == EndEvent(128, "finished")
    assert execution.problems == []  # its examples were found where the set lies now
    assert [file.path for file in client().list_artifacts(execution.run_id, "examples")]


def test_a_time_budget_stops_a_run_with_a_checkpoint(fresh: Path, small_run: ResolvedRun) -> None:
    execution = runner.start(small_run, budget_s=1e-9)
    assert list(execution.events())[-1] == EndEvent(0, "budget")
    assert runner.start(small_run).launch.state is not None


def test_a_run_that_died_without_a_word_is_found_by_the_next_command(fresh: Path, short: ResolvedRun) -> None:
    execution = runner.start(short)
    die_after(execution, 3)
    lines = settle()
    assert len(lines) == 1
    assert f"by process {os.getpid()} on" in lines[0]
    assert "was lost at 2 samples" in lines[0]
    run = client().get_run(execution.run_id)
    assert (run.info.status, run.data.tags["clipexp.stop_reason"]) == ("KILLED", "lost")
    assert [p.step for p in client().get_metric_history(execution.run_id, "train/loss")] == [0, 1, 2]
    assert settle() == []


def test_every_command_looks_for_lost_runs_first(fresh: Path, short: ResolvedRun) -> None:
    from click.testing import CliRunner

    die_after(runner.start(short), 1)
    result = CliRunner().invoke(main, ["runs", "--json"])
    assert "was lost at 0 samples" in result.stderr
    assert '"status": "KILLED"' in result.stdout


def test_a_launch_that_died_between_making_its_run_and_noting_it_leaves_none_running(
    fresh: Path, short: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("clipexp.launch.write_header", die)
        with pytest.raises(SystemExit):
            runner.start(short)
    settle()
    (run,) = client().search_runs(["1"])
    assert (run.info.status, run.data.tags["clipexp.stop_reason"]) == ("KILLED", "lost")
    assert clipexp.run(short).status == "FINISHED"


def test_a_kill_while_a_finished_run_is_closed_leaves_it_finished_with_all_it_has(
    fresh: Path, short: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: object) -> list[str]:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(runner, "close_out", die)
        with pytest.raises(SystemExit):
            list(runner.start(short).events())
    settle()
    again = runner.start(short)
    assert again.is_finished
    assert not owed(again.header)
    kept = {file.path for file in client().list_artifacts(again.run_id)}
    assert {"spec", "plots", "examples"} <= kept
    assert (again.header.folder / PARQUET_FILE).exists()


def test_a_finished_journal_is_packed_and_an_unfinished_one_is_not(fresh: Path, short: ResolvedRun) -> None:
    execution = runner.start(short)
    stop_at_first_step(execution, "interrupted")
    assert (execution.header.folder / EVENTS_FILE).exists()
    curves = clipexp.run(short).curves
    assert not (execution.header.folder / EVENTS_FILE).exists()
    assert dict(curves) == points(execution.header.folder)


def finish_without_mlflow(short: ResolvedRun, monkeypatch: pytest.MonkeyPatch) -> runner.Execution:
    def away(*_: object, **__: object) -> None:
        raise ConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", away)
        patch.setattr(runner, "FINAL_TRIES_S", 0.1)
        execution = runner.start(short)
        list(execution.events())
    return execution


def test_a_finished_run_whose_mlflow_was_away_is_delivered_when_it_is_launched_again(
    fresh: Path, short: ResolvedRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    execution = finish_without_mlflow(short, monkeypatch)
    assert run_command.run_on_console(short, run_command.RunOptions()) == 0
    assert "delivered to MLflow what it was owed" in capsys.readouterr().out
    assert client().get_run(execution.run_id).info.status == "FINISHED"


def test_a_finished_run_whose_mlflow_was_away_is_delivered_by_sync(
    fresh: Path, short: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = finish_without_mlflow(short, monkeypatch)
    lock = try_lock(execution.header.spec_hash)  # as a run that is just starting
    assert lock is not None
    ((line, was_delivered),) = sync()
    assert (was_delivered, "its spec is being run by now" in line) == (False, True)
    lock.release()
    assert any("OWED to MLflow" in problem and "its status (away)" in problem for problem in execution.problems)
    assert end_reason(execution.header.folder) == "finished"
    assert client().get_run(execution.run_id).info.status == "RUNNING"
    ((line, was_delivered),) = sync()
    assert was_delivered, line
    assert client().get_run(execution.run_id).info.status == "FINISHED"
    assert list(sync()) == [("MLflow is owed nothing", True)]


def test_a_run_that_is_here_goes_on_while_its_server_is_away(
    fresh: Path, short: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "http://127.0.0.1:9"  # nobody answers there
    execution = runner.start(short)
    stop_at_first_step(execution, "interrupted")
    header = execution.header
    import dataclasses

    from clipexp.track.header import write_header

    write_header(dataclasses.replace(header, store=uri))
    monkeypatch.setattr(runner, "FINAL_TRIES_S", 0.1)
    again = runner.start(short, uri)
    assert list(again.events())[-1] == EndEvent(128, "finished")
    assert "nobody answers" in again.trouble
    assert any("OWED to MLflow" in problem for problem in again.problems)


def test_a_journal_cut_short_behind_a_checkpoint_is_told(fresh: Path, small_run: ResolvedRun) -> None:
    execution = runner.start(small_run)
    for event in execution.events():
        if isinstance(event, StepEvent) and event.samples_seen >= 320:
            execution.ask_to_stop("interrupted")
    for name in (EVENTS_FILE, COPY_FILE):
        lines = (execution.header.folder / name).read_bytes().splitlines(keepends=True)
        (execution.header.folder / name).write_bytes(b"".join(lines[:3]))
    again = runner.start(small_run)
    assert any("record(s) of its journal are LOST" in note for note in again.launch.notes)
    assert list(again.events())[-1] == EndEvent(640, "finished")
    history = client().get_metric_history(again.run_id, "train/loss")
    assert [point.step for point in history] == list(range(64, 641, 64))  # MLflow had got what the journal lost


def test_a_read_only_home_with_a_lost_run_keeps_no_command_from_reading(
    fresh: Path, short: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    die_after(runner.start(short), 1)
    monkeypatch.setattr("clipexp.track.lease.try_lock", refuse)
    (line,) = settle()
    assert "can't look for lost runs" in line
    assert "Read-only file system" in line


def test_a_journal_that_can_not_be_written_pauses_the_run_and_loses_nothing(
    fresh: Path, short: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = iter([False, False, True, True, False])
    real: Callable[..., None] = Journal.append

    def append(journal: Journal, *args: object) -> None:
        if next(full, False):
            raise OSError(28, "No space left on device")
        real(journal, *args)

    monkeypatch.setattr(Journal, "append", append)
    monkeypatch.setattr("clipexp.patience.RETRY_EVERY_S", 0.01)
    execution = runner.start(short)
    events = list(execution.events())
    (pause,) = [event for event in events if isinstance(event, PauseEvent)]
    assert "PAUSED: can't write the journal" in pause.message
    assert [point.samples_seen for point in execution.record().curves["train/loss"]] == [64, 128]


def test_no_room_for_the_checkpoints_is_told_before_a_run_is_made(
    fresh: Path, short: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert free_bytes() > 0
    monkeypatch.setattr("clipexp.space.free_bytes", lambda: 1_000)
    with pytest.raises(RunError, match=r"will write about [\d.]+ MB, and .* lacks [\d.]+ MB of that; .*runs gc"):
        runner.start(short)
    assert clipexp.runs().empty


def test_a_stop_while_the_journal_can_not_be_written_ends_the_run_where_it_can_go_on(
    fresh: Path, short: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    execution = runner.start(short)
    events = execution.events()
    next(events)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", full)
        assert isinstance(next(events), PauseEvent)
        execution.ask_to_stop("interrupted")
        with pytest.raises(KeyboardInterrupt):
            list(events)
    assert "the run's end could not be written" in execution.problems[0]
    assert any("was lost at" in line and "begins it anew" in line for line in settle())
    assert clipexp.run(short).status == "FINISHED"


def test_a_second_ctrl_c_exits_as_an_interrupted_run_does(
    fresh: Path, small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    def hurry(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    (fresh / "run.yaml").write_text(yaml.safe_dump(small_content(small_store)))
    monkeypatch.setattr(run_command, "run_on_console", hurry)
    result = CliRunner().invoke(main, ["run", "run.yaml"])
    assert (result.exit_code, "stopped at once" in result.stderr) == (130, True)


def test_a_second_signal_hurries_and_a_first_one_asks(fresh: Path) -> None:
    stops = Stops()
    with stops.on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stops.reason(), stops.is_hurried) == ("interrupted", False)
        stops.may_raise = True
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stops.is_hurried


def test_a_second_signal_hurries_a_run_that_stops_for_another_reason_too() -> None:
    stops = Stops()
    stops.ask("budget")
    with stops.on_signals():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
    assert (stops.reason(), stops.is_hurried) == ("budget", True)


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        stops = Stops()
        with stops.on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert stops.reason() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_that_the_database_lost_is_not_begun_anew_in_silence(fresh: Path, short: ResolvedRun) -> None:
    execution = runner.start(short)
    stop_at_first_step(execution, "interrupted")
    home().database.unlink()
    subprocess.run([sys.executable, "-c", "from clipexp.cli import entry; entry()", "runs"], check=True)  # makes one
    with pytest.raises(TrackingError, match=f"clipexp runs import mlruns/journals/{execution.run_id}"):
        runner.start(short)


def test_a_full_disk_at_a_start_is_an_error_that_says_so(
    fresh: Path, short: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clipexp.track.lease.write_kept", full)
    with pytest.raises(RunError, match=r"can't start .*No space left on device.*make room"):
        runner.start(short)


def test_a_reason_once_given_stays() -> None:
    stops = Stops()
    assert stops.reason() is None
    stops.ask("pruned")
    stops.ask("interrupted")
    assert stops.reason() == "pruned"


def test_a_moved_checkout_goes_on_with_its_runs(
    fresh: Path, small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = small_content(small_store, budget={"samples": 128})
    before, after = fresh / "here", fresh / "moved there"
    before.mkdir()
    shutil.move(fresh / "mlruns", before / "mlruns")
    (before / "small.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(before)
    execution = runner.start(resolve(content))
    stop_at_first_step(execution, "interrupted")
    before.rename(after)
    monkeypatch.chdir(after)
    words = [sys.executable, "-c", "from clipexp.cli import entry; entry()", "run", "small.yaml"]
    subprocess.run(words, check=True, capture_output=True)  # another process: MLflow remembers places in one
    run = client().get_run(execution.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri == (after / "mlruns" / "artifacts" / execution.run_id / "artifacts").as_uri()
    kept = after / "mlruns" / "artifacts" / execution.run_id / "artifacts"
    assert (kept / "plots" / "curves.svg").exists()
    assert (kept / "spec" / "resolved.yaml").exists()
    assert not before.exists()


def test_the_spec_in_a_header_is_the_whole_spec(fresh: Path, short: ResolvedRun) -> None:
    execution = runner.start(short)
    assert execution.launch.lease is not None
    execution.launch.lease.release()
    assert RunSpec.model_validate(yaml.safe_load(yaml.safe_dump(dict(execution.header.spec)))) == short.spec
