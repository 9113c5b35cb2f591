"""A run that goes on from another run's end, with a schedule for a longer horizon."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import clipexp
from clipexp import runner
from clipexp.errors import CheckpointError, ClipexpError, RunError
from clipexp.events import EndEvent, EvalEvent, Event, StepEvent
from clipexp.run_command import RunOptions, run_on_console
from clipexp.spec.load import ResolvedRun, resolve
from clipexp.track.checkpoint_names import newest
from clipexp.track.header import headers, read_header
from clipexp.track.home import home
from clipexp.track.journal import live_records, points, records
from clipexp.track.records import CONTINUES_TAG, RunRecord
from clipexp.track.summary import read_summary
from clipexp.train import checkpoint
from clipexp.train.schedule import learning_rate_at
from tests.e2e.conftest import Finished, client, stop_at_first_step
from tests.small import small_content

END, HORIZON = 640, 1280  # of the finished run, in samples; and of the one that goes on from it
FRAGILE = {"data": {"augment": "random_resized_crop"}, "schedule": {"warmup_frac": 0.0, "decay": "constant"}}


@pytest.fixture
def parent(_finished_once: Finished, workplace: Path) -> RunRecord:
    """The finished run, in a working directory of its own."""
    shutil.copytree(_finished_once.folder / "mlruns", workplace / "mlruns")
    return _finished_once.record


def where_it_ended(run_id: str) -> dict[str, Any]:
    header = read_header(home().journals / run_id)
    summary = read_summary(home().journals / run_id)
    assert header is not None
    assert summary is not None
    found = {"samples_seen": summary.samples_seen, "weights_sha256": summary.weights_sha256}
    return {"spec_hash": header.spec_hash, **found}


def continued(store: Path, run_id: str, samples: int = HORIZON, **sections: Any) -> ResolvedRun:
    content = small_content(store, budget={"samples": samples})
    content |= {"name": "on", "continue_from": where_it_ended(run_id)}
    return resolve({**content, **{name: {**content.get(name, {}), **value} for name, value in sections.items()}})


def weights(run_id: str) -> dict[str, torch.Tensor]:
    """Model and optimizer, at the end."""
    end = newest(home().checkpoints / run_id)
    assert end is not None
    return load_file(end / checkpoint.MODEL_FILE) | load_file(end / checkpoint.OPTIMIZER_FILE)


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_begins_with_its_parent_s_end_and_ends_at_its_own_horizon(parent: RunRecord, small_store: Path) -> None:
    spec = continued(small_store, parent.run_id)
    execution = runner.start(spec)
    launch = execution.launch
    assert (launch.resumed_at, launch.total_samples, launch.parent) == (END, HORIZON, parent.run_id)
    events: list[Event] = list(execution.events())
    assert isinstance(events[0], EvalEvent)
    assert events[0].samples_seen == END
    assert events[0].metrics == {name: v for name, v in parent.final.items() if name.startswith("val/")}
    steps = [event for event in events if isinstance(event, StepEvent)]
    assert [event.samples_seen for event in steps] == list(range(END + 64, HORIZON + 1, 64))
    assert steps[0].epoch == pytest.approx((END + 64) / 360)
    assert events[-1] == EndEvent(HORIZON, "finished")


def test_its_learning_rates_are_those_of_the_formula_from_the_parent_s_last_one(
    parent: RunRecord, small_store: Path
) -> None:
    spec = continued(small_store, parent.run_id, schedule={"warmup_frac": 0.5})
    record = clipexp.run(spec)
    last = parent.curves["train/lr"][-1].value
    rates = {point.samples_seen: point.value for point in record.curves["train/lr"]}
    assert rates == {at: pytest.approx(learning_rate_at(spec.spec, at, HORIZON, last)) for at in rates}
    assert rates[END + 320] > rates[END + 64] > last  # it ends at a tenth of the peak, the ramp leads up again


def test_its_journal_and_mlflow_begin_at_the_parent_s_end_and_name_it(parent: RunRecord, small_store: Path) -> None:
    record = clipexp.run(continued(small_store, parent.run_id))
    begin = records(home().journals / record.run_id)[0]
    assert (begin["event"], begin["samples_seen"]) == ("Begin", END)
    assert min(point.samples_seen for series in record.curves.values() for point in series) == END
    run = client().get_run(record.run_id)
    assert run.data.tags[CONTINUES_TAG] == parent.run_id
    assert run.data.params["continue_from.samples_seen"] == str(END)
    history = client().get_metric_history(record.run_id, "val/loss_block_40")
    assert [point.step for point in history] == [END, 800, 960, 1120, HORIZON]


def test_with_the_same_constant_rate_it_has_the_bits_of_one_long_run(fresh: Path, small_store: Path) -> None:
    """So weights, optimizer, order of the data and crops go on where they were."""
    first = clipexp.run(resolve({**small_content(small_store), **with_data(small_store)}))
    second = clipexp.run(continued(small_store, first.run_id, **FRAGILE))
    long = small_content(small_store, budget={"samples": HORIZON})
    whole = clipexp.run(resolve({**long, **with_data(small_store)}))
    assert len({first.spec_hash, second.spec_hash, whole.spec_hash}) == 3
    assert same_bits(weights(second.run_id), weights(whole.run_id))
    losses = {p.samples_seen: p.value for p in whole.curves["train/loss"]}
    assert [losses[p.samples_seen] for p in second.curves["train/loss"]] == [
        p.value for p in second.curves["train/loss"]
    ]


def with_data(store: Path) -> dict[str, Any]:
    content = small_content(store)
    return {name: {**content.get(name, {}), **value} for name, value in FRAGILE.items()}


# Carries a spec out until a point has been recorded at a place, then is gone without a word.
KILLED_AT = """
import os, signal, sys
from clipexp import runner
from clipexp.spec.load import load_spec
for event in runner.start(load_spec("on.yaml")).events():
    if type(event).__name__ == sys.argv[1] and event.samples_seen >= int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("event", "samples_seen"), [("EvalEvent", END), ("StepEvent", 1088)])
def test_killed_and_taken_up_it_ends_with_the_bits_of_one_left_alone(
    parent: RunRecord, small_store: Path, tmp_path: Path, event: str, samples_seen: int
) -> None:
    spec = continued(small_store, parent.run_id)
    Path("on.yaml").write_text(yaml.safe_dump(spec.spec.model_dump(mode="json")))
    child = subprocess.run([sys.executable, "-c", KILLED_AT, event, str(samples_seen)], check=False, timeout=120)
    assert child.returncode == -signal.SIGKILL
    execution = runner.start(spec)
    assert execution.launch.resumed_at >= END
    assert execution.run_id == next(headers()).run_id
    list(execution.events())
    alone = runner.start(spec, options=runner.LaunchOptions(again=True))
    assert alone.run_id != execution.run_id
    list(alone.events())
    assert same_bits(weights(execution.run_id), weights(alone.run_id))
    curves, expected = (points(home().journals / e.run_id) for e in (execution, alone))
    for name in (name for name in expected if not name.startswith("system/")):
        assert [(p.samples_seen, p.value) for p in curves[name]] == [(p.samples_seen, p.value) for p in expected[name]]
    steps = [r["samples_seen"] for r in live_records(home().journals / execution.run_id) if r["event"] == "StepEvent"]
    assert steps == list(range(END + 64, HORIZON + 1, 64))


def test_once_it_has_a_checkpoint_of_its_own_it_needs_its_parent_s_no_more(
    parent: RunRecord, small_store: Path
) -> None:
    spec = continued(small_store, parent.run_id)
    stop_at_first_step(runner.start(spec), "budget")
    shutil.rmtree(home().checkpoints / parent.run_id)
    again = runner.start(spec)
    assert again.launch.resumed_at > END
    assert again.launch.parent == ""
    assert list(again.events())[-1] == EndEvent(HORIZON, "finished")
    assert again.record().tags[CONTINUES_TAG] == parent.run_id


def test_a_run_may_go_on_from_one_that_went_on_itself(parent: RunRecord, small_store: Path) -> None:
    second = clipexp.run(continued(small_store, parent.run_id, 768))
    spec = continued(small_store, second.run_id, 1024, schedule={"warmup_frac": 0.5})
    third = clipexp.run(spec)
    last = second.curves["train/lr"][-1].value
    at = [point.samples_seen for point in third.curves["train/lr"]]
    assert at == [832, 896, 960, 1024]
    expected = [learning_rate_at(spec.spec, place, 1024, last) for place in at]
    assert [point.value for point in third.curves["train/lr"]] == pytest.approx(expected)


def test_the_best_of_another_place_than_the_end_will_do_too(parent: RunRecord, small_store: Path) -> None:
    middle = home().checkpoints / parent.run_id / "samples-000000000480"
    where = {**where_it_ended(parent.run_id), "samples_seen": 480, "weights_sha256": checkpoint.final_digest(middle)}
    content = small_content(small_store, budget={"samples": 600})
    execution = runner.start(resolve({**content, "continue_from": where}))
    assert list(execution.events())[-1] == EndEvent(576, "finished")  # three whole batches of 32 from 480


def spoil(mistake: str, checkpoints: Path) -> None:
    match mistake:
        case "gone":
            shutil.rmtree(checkpoints)
        case "cut short":
            for file in checkpoints.glob(f"*/{checkpoint.MODEL_FILE}"):
                file.write_bytes(file.read_bytes()[:-1])
        case "damaged":
            for file in checkpoints.glob(f"*/{checkpoint.META_FILE}"):
                file.write_text("{}")


CHANGE_BY_MISTAKE: dict[str, tuple[str, str, Any]] = {
    "not here": ("continue_from", "spec_hash", "0123456789ab"),
    "another place": ("continue_from", "samples_seen", 96),
    "other weights": ("continue_from", "weights_sha256", "0" * 64),
    "other model": ("model", "embed_dim", 8),
    "other data": ("data", "augment", "random_resized_crop"),
}


@pytest.mark.parametrize(
    ("mistake", "kind", "message"),
    [
        ("not here", RunError, r"no run of spec 0123456789ab is here; carry it out first, or take it in with"),
        ("gone", CheckpointError, r"no whole checkpoint at 640 samples any more; .* --again"),
        ("another place", CheckpointError, r"no whole checkpoint at 96 samples"),
        ("cut short", CheckpointError, r"is cut short or damaged"),
        ("damaged", CheckpointError, r"no whole checkpoint at 640 samples any more"),
        ("other weights", CheckpointError, r"holds other weights than weights_sha256 says .*set it to [0-9a-f]{64} to"),
        ("other model", RunError, r"model\.embed_dim is 8, but was 16 in run .*; a run goes on with the same model"),
        ("other data", RunError, r"data\.augment is random_resized_crop, but was none in run"),
    ],
)
def test_what_keeps_it_from_beginning_is_said_before_a_run_is_made(
    parent: RunRecord, small_store: Path, mistake: str, kind: type[ClipexpError], message: str
) -> None:
    content = continued(small_store, parent.run_id).spec.model_dump(mode="json")
    if mistake in CHANGE_BY_MISTAKE:
        section, key, value = CHANGE_BY_MISTAKE[mistake]
        content[section][key] = value
    spoil(mistake, home().checkpoints / parent.run_id)
    with pytest.raises(kind, match=message):
        runner.start(resolve(content))
    assert [header.run_id for header in headers()] == [parent.run_id]
    assert len(client().search_runs([client().get_run(parent.run_id).info.experiment_id])) == 1


def test_the_console_says_from_which_run_and_where_it_goes_on(
    parent: RunRecord, small_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_on_console(continued(small_store, parent.run_id), RunOptions()) == 0
    said = capsys.readouterr().out
    assert f"goes on from run {parent.run_id[:8]} at 640 samples" in said
    assert "resumes" not in said
