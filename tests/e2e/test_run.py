"""A run from a prepared set to its end, as MLflow and the disk then show it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

import clipexp
from clipexp import runner
from clipexp.errors import ClipexpError, RunError, TrackingError
from clipexp.events import EndEvent, StepEvent
from clipexp.launch import LaunchOptions
from clipexp.spec.load import ResolvedRun, load_spec, resolve
from clipexp.track import checkpoint_names
from clipexp.track.home import home
from clipexp.track.mlflow_store import connect
from clipexp.train import checkpoint
from tests.e2e.conftest import Finished
from tests.small import small_content


def files(client: MlflowClient, run_id: str, folder: str = "") -> Iterator[str]:
    for entry in client.list_artifacts(run_id, folder or None):
        yield from files(client, run_id, entry.path) if entry.is_dir else [entry.path]


def artifacts(client: MlflowClient, run_id: str) -> set[str]:
    return set(files(client, run_id))


def only_run(folder: Path) -> str:
    return next((folder / "mlruns" / "journals").iterdir()).name


def test_a_finished_run_stands_in_mlflow_with_all_that_it_promises(finished: Finished) -> None:
    record = finished.record
    assert record.status == "FINISHED"
    assert record.params["optim.max_lr"] == "0.002"
    assert {"name", "hypothesis"}.isdisjoint(record.params)
    for tag in ("spec_hash", "store_checksum", "device", "git_commit", "version.torch"):
        assert record.tags.get(f"clipexp.{tag}") or tag == "git_commit"
    curve = record.curves["train/loss"]
    assert [point.samples_seen for point in curve] == list(range(64, 641, 64))
    assert curve[-1].value < curve[0].value
    assert {"val/loss_block_40", "val/chance_loss", "val/block_size", "val/text_to_image_recall_at_10"} <= set(
        record.final
    )
    assert {"system/samples_per_s", "system/memory_mb", "train/lr", "train/grad_norm"} <= set(record.final)


def test_mlflow_and_the_journal_hold_the_same_points(finished: Finished) -> None:
    client = connect(home().tracking_uri)
    for name, series in finished.record.curves.items():
        history = client.get_metric_history(finished.record.run_id, name)
        assert [(p.step, p.value) for p in history] == [(p.samples_seen, p.value) for p in series]


def test_a_finished_run_keeps_spec_plots_examples_and_dataset(finished: Finished) -> None:
    client = connect(home().tracking_uri)
    run_id = finished.record.run_id
    expected = {"spec/resolved.yaml", "plots/curves.html", "plots/curves.svg"}
    assert expected | {"examples/examples.json", "examples/pictures.png"} <= artifacts(client, run_id)
    dataset = client.get_run(run_id).inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("scenes-v1", finished.record.tags["clipexp.store_checksum"])
    resolved = Path(client.download_artifacts(run_id, "spec/resolved.yaml"))
    assert yaml.safe_load(resolved.read_text())["name"] == "small"
    assert load_spec(resolved).spec.optim.max_lr == 2e-3


def test_the_interactive_plot_asks_the_network_for_nothing(finished: Finished) -> None:
    client = connect(home().tracking_uri)
    page = Path(client.download_artifacts(finished.record.run_id, "plots/curves.html")).read_text()
    assert "Plotly.newPlot" in page
    assert "<script src=" not in page


def test_a_finished_spec_is_not_run_again(finished: Finished, small_store: Path) -> None:
    again = runner.start(resolve(small_content(small_store)))
    assert again.is_finished
    assert again.run_id == finished.record.run_id
    assert list(again.events()) == []
    assert len(clipexp.runs()) == 1


def test_runs_come_as_a_dataframe(finished: Finished) -> None:
    table = clipexp.runs()
    assert table.loc[0, "run_id"] == finished.record.run_id
    assert table.loc[0, "status"] == "FINISHED"
    assert table.loc[0, "params.train.batch_size"] == "32"
    assert table.loc[0, "metrics.val/loss_block_40"] == finished.record.final["val/loss_block_40"]


def test_only_the_last_two_and_the_best_checkpoint_stay(finished: Finished) -> None:
    folder = home().checkpoints / finished.record.run_id
    assert {path.name for path in folder.iterdir()} == {"best", "samples-000000000480", "samples-000000000640"}


def test_a_run_stopped_and_started_again_ends_with_the_same_bits(
    fresh: Path, small_run: ResolvedRun, finished_weights: bytes
) -> None:
    execution = runner.start(small_run)
    events = execution.events()
    for event in events:
        if isinstance(event, StepEvent) and event.samples_seen >= 320:
            execution.ask_to_stop("interrupted")
    assert execution.record().status == "KILLED"
    again = runner.start(small_run)
    assert (again.run_id, again.launch.resumed_at) == (execution.run_id, 320)
    assert list(again.events())[-1] == EndEvent(640, "finished")
    assert again.record().status == "FINISHED"
    assert weights(again.run_id) == finished_weights


def weights(run_id: str) -> bytes:
    newest = checkpoint_names.newest(home().checkpoints / run_id)
    assert newest is not None
    return (newest / checkpoint.MODEL_FILE).read_bytes()


@pytest.fixture
def finished_weights(_finished_once: Finished) -> bytes:
    folder = _finished_once.folder / home().checkpoints / _finished_once.record.run_id
    newest = checkpoint_names.newest(folder)
    assert newest is not None
    return (newest / checkpoint.MODEL_FILE).read_bytes()


def test_an_exception_leaves_the_run_failed_with_its_traceback(
    fresh: Path, small_run: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(runner, "system_metrics", broken)
    with pytest.raises(ZeroDivisionError):
        clipexp.run(small_run)
    client = connect(home().tracking_uri)
    run_id = only_run(fresh)
    assert client.get_run(run_id).info.status == "FAILED"
    assert "ZeroDivisionError: a bug" in Path(client.download_artifacts(run_id, "error/traceback.txt")).read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_killed_with_a_checkpoint_that_it_goes_on_from(
    fresh: Path, small_store: Path, tmp_path: Path, number: signal.Signals
) -> None:
    content = small_content(small_store, budget={"samples": 1_000_000})
    (fresh / "long.yaml").write_text(yaml.safe_dump(content))
    with start_cli(fresh, "run", "long.yaml") as child:
        wait_for_line(child, "160 samples")
        child.send_signal(number)
        assert child.wait(timeout=60) == 130
    run_id = only_run(fresh)
    client = connect(home().tracking_uri)
    assert client.get_run(run_id).info.status == "KILLED"
    execution = runner.start(load_spec("long.yaml"))
    assert (execution.run_id, execution.is_finished) == (run_id, False)
    assert execution.launch.resumed_at >= 160
    release(execution)


def release(execution: runner.Execution) -> None:
    """Let go of a run that was only started."""
    assert execution.launch.lease is not None
    execution.launch.lease.release()


def start_cli(folder: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from clipexp.cli import entry; entry()", *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for_line(child: "subprocess.Popen[str]", text: str) -> None:
    assert child.stdout is not None
    give_up = time.monotonic() + 120
    for line in child.stdout:
        if text in line:
            return
        assert time.monotonic() < give_up
    pytest.fail(f"the child ended without saying {text!r}")


def test_a_run_killed_before_its_first_checkpoint_begins_anew_under_the_same_id(
    fresh: Path, small_run: ResolvedRun, finished_weights: bytes
) -> None:
    first = runner.start(small_run)  # and no more: as if SIGKILL had come
    release(first)
    second = runner.start(small_run)
    assert (second.run_id, second.launch.resumed_at) == (first.run_id, 0)
    assert list(second.events())[-1] == EndEvent(640, "finished")
    assert weights(second.run_id) == finished_weights


def test_a_run_deleted_in_mlflow_is_neither_taken_for_finished_nor_resumed(fresh: Path, small_store: Path) -> None:
    spec = resolve(small_content(small_store, budget={"samples": 64}))
    first = clipexp.run(spec)
    connect(home().tracking_uri).delete_run(first.run_id)
    second = clipexp.run(spec)
    assert second.run_id != first.run_id
    assert [point.samples_seen for point in second.curves["train/loss"]] == [64]


def test_ctrl_c_reaches_whoever_called_run(
    fresh: Path, small_run: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press_ctrl_c() -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    monkeypatch.setattr(runner, "system_metrics", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        clipexp.run(small_run)
    assert connect(home().tracking_uri).get_run(only_run(fresh)).info.status == "KILLED"


def test_a_second_process_is_told_that_the_spec_is_being_run(fresh: Path, small_run: ResolvedRun) -> None:
    first = runner.start(small_run)
    with pytest.raises(RunError, match=rf"being run as small .*by process {os.getpid()} on .* since 20.*--wait"):
        runner.start(small_run)
    release(first)


def bad_store(folder: Path, store: Path) -> None:
    import shutil

    shutil.copytree(store, folder / "store")
    shard = folder / "store" / "train-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-100])


@pytest.mark.parametrize("mistake", ["missing store", "store cut short", "batch above the set", "nobody answers"])
def test_bad_input_gives_one_clear_error_and_leaves_no_run(workplace: Path, small_store: Path, mistake: str) -> None:
    content = small_content(small_store)
    tracking = None
    match mistake:
        case "missing store":
            content["data"]["store"] = "nowhere"
        case "store cut short":
            bad_store(workplace, small_store)
            content["data"]["store"] = "store"
        case "batch above the set":
            content["train"]["batch_size"] = 5000
        case "nobody answers":
            tracking = "http://127.0.0.1:9"
    with pytest.raises(ClipexpError, match=r"clipexp data prepare|lower it|start the server"):
        runner.start(resolve(content), tracking)
    assert not (workplace / "mlruns" / "mlflow.db").exists()
    assert list(workplace.glob("mlruns/journals/*")) == []


def test_with_no_checkpoint_whole_the_run_stays_as_it_was_until_another_is_begun(
    fresh: Path, small_run: ResolvedRun, finished_weights: bytes
) -> None:
    execution = runner.start(small_run)
    for event in execution.events():
        if isinstance(event, StepEvent):
            execution.ask_to_stop("interrupted")
    for file in (home().checkpoints / execution.run_id).glob(f"*/{checkpoint.MODEL_FILE}"):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ClipexpError, match=r"no checkpoint in .* is whole; .* --from-start"):
        runner.start(small_run)
    assert execution.record().status == "KILLED"
    anew = runner.start(small_run, options=LaunchOptions(from_start=True))
    assert list(anew.events())[-1] == EndEvent(640, "finished")
    assert anew.run_id != execution.run_id
    assert weights(anew.run_id) == finished_weights
    assert runner.start(small_run).run_id == anew.run_id  # the newer one is meant from now on


def test_a_working_directory_that_nobody_can_write_to_is_refused(
    small_run: ResolvedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/proc")  # read-only for root too
    with pytest.raises(TrackingError, match="can't write to /proc/mlruns"):
        runner.start(small_run)


def test_tracking_goes_to_another_store_where_one_is_named(fresh: Path, small_store: Path) -> None:
    content = small_content(small_store, budget={"samples": 64})
    uri = f"sqlite:///{fresh / 'other.db'}"
    record = clipexp.run(resolve(content), tracking_uri=uri)
    assert connect(uri).get_run(record.run_id).info.status == "FINISHED"
    assert clipexp.runs().empty


def test_bf16_on_the_cpu_trains_in_a_process_of_its_own(fresh: Path, small_store: Path) -> None:
    content = small_content(small_store, budget={"samples": 64}, precision="bf16")
    (fresh / "bf16.yaml").write_text(yaml.safe_dump(content))
    with start_cli(fresh, "run", "bf16.yaml") as child:
        output, _ = child.communicate(timeout=120)
    assert child.returncode == 0, output
    assert "finished" in output
