"""The recorder and delivery: MLflow gets every point once, and its absence costs nothing but the delivery."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from clipexp.events import EndEvent, StepEvent
from clipexp.track import delivery, recorder
from clipexp.track.delivery import DELIVERED_FILE, Delivery, delivered_number, owed, publishing
from clipexp.track.header import RunHeader
from clipexp.track.journal import COPY_FILE, EVENTS_FILE, Journal, damage, points
from clipexp.track.kept import remove_kept
from clipexp.track.recorder import Recorder
from tests.track.conftest import make_header


def record(client: MlflowClient, header: RunHeader, start: int, steps: range, patience_s: float = 20) -> Recorder:
    with Journal(header.folder) as journal:
        journal.begin(start)
        with Recorder(lambda: client, header, journal) as recording:
            for samples in steps:
                recording.record(StepEvent(samples, 0.0, {"train/loss": 1 / samples, "system/x": time.time()}))
            recording.finish(patience_s)
    return recording


def steps_in_mlflow(client: MlflowClient, header: RunHeader, key: str = "train/loss") -> list[int]:
    return [point.step for point in client.get_metric_history(header.run_id, key)]


class CutError(Exception):
    """Stands for whatever cuts a delivery off."""


def cut_off(patch: pytest.MonkeyPatch, target: Any, name: str, *, after: bool, at_call: int) -> None:
    """Have the n-th call of a function fail, before or after its work."""
    real: Callable[..., Any] = getattr(target, name)
    calls = iter(range(1, 10**6))

    def failing(*args: Any, **kwargs: Any) -> Any:
        number = next(calls)
        if number == at_call and not after:
            raise CutError
        result = real(*args, **kwargs)
        if number == at_call:
            raise CutError
        return result

    patch.setattr(target, name, failing)


def test_mlflow_gets_every_point_with_samples_seen_as_its_step_and_the_journals_time(
    client: MlflowClient, header: RunHeader
) -> None:
    record(client, header, 0, range(10, 1200))
    in_journal = [(p.samples_seen, p.value, p.time_ms) for p in points(header.folder)["train/loss"]]
    history = client.get_metric_history(header.run_id, "train/loss")
    assert [(p.step, p.value, p.timestamp) for p in history] == in_journal
    assert len(history) == 1190


def test_a_resumed_run_repeats_no_point_in_mlflow(client: MlflowClient, header: RunHeader) -> None:
    record(client, header, 0, range(1, 10))
    record(client, header, 5, range(6, 15))
    assert steps_in_mlflow(client, header) == list(range(1, 15))
    assert steps_in_mlflow(client, header, "system/x") == list(range(1, 15))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at_call", [1, 2, 4])
@pytest.mark.parametrize("name", ["log_batch", "_note"])
def test_a_delivery_cut_off_anywhere_is_taken_up_without_loss_or_doubles(
    client: MlflowClient, header: RunHeader, monkeypatch: pytest.MonkeyPatch, name: str, at_call: int, after: bool
) -> None:
    with Journal(header.folder) as journal:
        journal.begin(0)
        for samples in range(1, 301):
            journal.append(StepEvent(samples, 0.0, {"train/loss": 1 / samples}))
    with monkeypatch.context() as patch:
        cut_off(patch, client if name == "log_batch" else Delivery, name, after=after, at_call=at_call)
        with pytest.raises(CutError):
            Delivery(client, header).send_all()
    with Journal(header.folder) as journal:  # and the next attempt repeats a part with other time stamps
        journal.begin(150)
        for samples in range(151, 311):
            journal.append(StepEvent(samples, 0.0, {"train/loss": 1 / samples}))
    Delivery(client, header).send_all()
    assert steps_in_mlflow(client, header) == list(range(1, 311))
    assert not owed(header).num_points


def test_without_its_note_everything_is_sent_again_and_mlflow_stays_the_same(
    client: MlflowClient, header: RunHeader
) -> None:
    record(client, header, 0, range(1, 50))
    remove_kept(header.folder / DELIVERED_FILE)
    assert owed(header).num_points == 2 * 49
    Delivery(client, header).send_all()
    assert steps_in_mlflow(client, header) == list(range(1, 50))


def test_a_run_is_described_ended_and_given_its_artifacts_by_delivery_alone(
    client: MlflowClient, header: RunHeader
) -> None:
    with Journal(header.folder) as journal:
        journal.begin(0)
        journal.append(EndEvent(0, "budget"), time_ms=1234)
    with publishing(header, "plots") as folder:
        (folder / "a.txt").write_text("a")
    assert owed(header).num_folders == 1
    Delivery(client, header).send_all()
    run = client.get_run(header.run_id)
    assert (run.info.status, run.info.end_time) == ("KILLED", 1234)
    assert run.data.tags["clipexp.stop_reason"] == "budget"
    assert run.data.params == {"optim.max_lr": "0.001"}
    assert [file.path for file in client.list_artifacts(header.run_id, "plots")] == ["plots/a.txt"]
    assert not owed(header)


def test_a_run_that_goes_on_is_running_again_without_its_old_end(client: MlflowClient, header: RunHeader) -> None:
    for _ in range(2):
        with Journal(header.folder) as journal:
            journal.begin(0)
            Delivery(client, header).send_all()
            run = client.get_run(header.run_id)
            assert (run.info.status, run.data.tags.get("clipexp.stop_reason")) == ("RUNNING", None)
            journal.append(EndEvent(0, "interrupted"))
        Delivery(client, header).send_all()
        assert client.get_run(header.run_id).info.status == "KILLED"


def test_a_folder_of_artifacts_that_was_not_finished_does_not_wait(client: MlflowClient, header: RunHeader) -> None:
    def half() -> None:
        with publishing(header, "plots") as folder:
            (folder / "a.txt").write_text("a")
            raise CutError

    with pytest.raises(CutError):
        half()
    assert not list(header.outbox.iterdir())


def test_a_store_that_hangs_delays_neither_a_step_nor_the_end(
    client: MlflowClient, header: RunHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(recorder, "FLUSH_EVERY_S", 0.0)
    monkeypatch.setattr(client, "log_batch", lambda *_, **__: gate.wait(60))
    recording = record(client, header, 0, range(1, 101), patience_s=0.2)  # would wait for 60 s at the first step
    gate.set()
    assert len(points(header.folder)["train/loss"]) == 100
    assert owed(header).num_points == 200
    assert recording.trouble == ""


def test_a_store_that_refuses_is_told_and_tried_again(
    client: MlflowClient, header: RunHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(client, "log_batch", refuse)
        recording = record(client, header, 0, range(1, 101), patience_s=0.1)
    assert recording.trouble == "gone"
    assert str(owed(header)) == "200 points, its status"
    record(client, header, 100, range(101, 103))
    assert steps_in_mlflow(client, header) == list(range(1, 103))


def test_a_run_delivers_what_earlier_runs_owe(client: MlflowClient, header: RunHeader) -> None:
    earlier = make_header(client, "earlier")
    with Journal(earlier.folder) as journal:
        journal.begin(0)
        for samples in range(1, 251):
            journal.append(StepEvent(samples, 0.0, {"train/loss": 1.0}))
        journal.append(EndEvent(250, "finished"))
    with Journal(header.folder) as journal:
        journal.begin(0)
        with Recorder(lambda: client, header, journal) as recording:
            recording.finish()
    assert steps_in_mlflow(client, earlier) == list(range(1, 251))
    assert client.get_run(earlier.run_id).info.status == "FINISHED"


def test_a_store_that_can_not_be_reached_at_first_is_tried_again(client: MlflowClient, header: RunHeader) -> None:
    answers = iter([ConnectionError("away"), ConnectionError("away"), client])

    def connect() -> MlflowClient:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Journal(header.folder) as journal:
        journal.begin(0)
        with Recorder(connect, header, journal) as recording:
            recording.record(StepEvent(1, 0.0, {"train/loss": 1.0}))
            recording.finish()
    assert steps_in_mlflow(client, header) == [1]


def test_a_flipped_bit_in_the_note_on_what_was_delivered_loses_nothing(client: MlflowClient, header: RunHeader) -> None:
    record(client, header, 0, range(1, 20))
    note = header.folder / DELIVERED_FILE
    note.write_bytes(note.read_bytes().replace(b'"number": 20', b'"number": 92'))
    record(client, header, 19, range(20, 40))
    assert steps_in_mlflow(client, header) == list(range(1, 40))


def test_a_journal_that_lost_its_end_gives_no_number_twice(client: MlflowClient, header: RunHeader) -> None:
    record(client, header, 0, range(1, 20))
    for name in (EVENTS_FILE, COPY_FILE):
        lines = (header.folder / name).read_bytes().splitlines(keepends=True)
        (header.folder / name).write_bytes(b"".join(lines[:10]))
    with Journal(header.folder, min_number=delivered_number(header.folder)) as journal:
        journal.begin(19)
        for samples in range(20, 40):
            journal.append(StepEvent(samples, 0.0, {"train/loss": 1 / samples}))
    Delivery(client, header).send_all()
    assert steps_in_mlflow(client, header) == list(range(1, 40))
    assert damage(header.folder).num_lost == 10


def test_mlflow_never_knows_more_than_a_disk_that_lost_its_power(
    client: MlflowClient, header: RunHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real = client.log_batch
    monkeypatch.setattr(client, "log_batch", lambda *a, **k: (order.append("send"), real(*a, **k)))
    with Journal(header.folder) as journal:
        journal.begin(0)
        journal.append(StepEvent(1, 0.0, {"train/loss": 1.0}))
        Delivery(client, header, lambda: order.append("sync")).send_all()
    assert "send" in order
    assert all(order[i - 1] == "sync" for i, word in enumerate(order) if word == "send")


def test_a_note_that_can_not_be_written_costs_nothing(
    client: MlflowClient, header: RunHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (DELIVERED_FILE, f"{DELIVERED_FILE}.copy"):
        (header.folder / f"{name}.tmp").mkdir()  # a place where no file can be written
    record(client, header, 0, range(1, 10))
    assert steps_in_mlflow(client, header) == list(range(1, 10))
    assert Path(header.folder / DELIVERED_FILE).exists() is False
    assert delivery.owed(header).num_points == 18
