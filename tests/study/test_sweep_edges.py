"""Studies at the edges: exhausted spaces, settings that don't go together, workers that can't start, borrowed runs."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from clipexp import runner
from clipexp.errors import StudyError
from clipexp.events import StepEvent
from clipexp.study.linked import linked_plan
from clipexp.study.plan import Plan
from clipexp.track.home import home
from clipexp.track.mlflow_store import connect
from tests.study.play import SEARCH, carry_out, plan_of, write_study

ONE = {"train.batch_size": {"kind": "choice", "values": [32]}}


def client() -> MlflowClient:
    return connect(home().tracking_uri)


@pytest.mark.slow
def test_a_space_with_nothing_new_left_ends_the_study_though_hours_are(fresh: Path, small_store: Path) -> None:
    path = write_study(fresh, small_store, search=ONE, sampler={"kind": "random"}, budget={"wall_hours": 1.0})
    played = carry_out(plan_of(path))
    assert played.reason == "finished"
    assert any("nothing new is left to search" in line for line in played.lines)
    assert {row.value for row in played.rows} == {played.rows[0].value}
    assert set(played.states) == {"COMPLETE"}


@pytest.mark.slow
def test_settings_between_the_corners_that_dont_go_together_are_infeasible(fresh: Path, small_store: Path) -> None:
    search = {
        "model.vision.width": {"kind": "int", "low": 32, "high": 160},
        "optim.max_lr": SEARCH["optim.max_lr"],
    }
    path = write_study(fresh, small_store, search=search, sampler={"kind": "random", "seed": 1}, budget={"trials": 4})
    played = carry_out(plan_of(path))
    odd = [row for row in played.rows if int(str(row.values["model.vision.width"])) % 2]
    assert odd, "two heads don't divide an odd width, and half of all widths are odd"
    assert {row.state for row in odd} == {"infeasible"}
    assert all("must divide width" in row.reason for row in odd)
    assert "RUNNING" not in played.states


@pytest.mark.slow
def test_a_study_whose_record_is_gone_takes_the_results_of_its_runs(fresh: Path, small_store: Path) -> None:
    path = write_study(fresh, small_store, search=ONE, budget={"trials": 1})
    before = carry_out(plan_of(path))
    shutil.rmtree(home().root / "studies")
    again = carry_out(plan_of(path))
    assert again.rows[0].run_id == before.rows[0].run_id
    assert again.rows[0].value == before.rows[0].value


@pytest.mark.slow
def test_workers_that_cant_start_end_the_study_with_what_they_said(
    fresh: Path, small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = fresh / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text("raise SystemExit('the driver of the GPU is too old')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    path = write_study(fresh, small_store)
    with pytest.raises(StudyError, match=r"workers can't start .*the driver of the GPU is too old.*worker-0\.log"):
        carry_out(plan_of(path))
    monkeypatch.delenv("PYTHONPATH")
    assert carry_out(plan_of(path)).states == ["COMPLETE"] * 3


@pytest.mark.slow
def test_a_persons_own_run_keeps_its_checkpoint(fresh: Path, small_store: Path) -> None:
    path = write_study(fresh, small_store, search=ONE, budget={"trials": 1}, keep_checkpoints=0)
    plan = plan_of(path)
    execution = runner.start(plan.trial_run({"train.batch_size": 32}, "mine"))
    for event in execution.events():
        if isinstance(event, StepEvent):
            execution.ask_to_stop("interrupted")
    folder = home().checkpoints / execution.run_id
    assert folder.exists()
    played = carry_out(plan)
    assert (played.rows[0].run_id, played.rows[0].state) == (execution.run_id, "finished")
    assert folder.exists()


@pytest.mark.slow
def test_replicates_go_on_and_are_confirmed_under_the_right_seeds(fresh: Path, small_store: Path) -> None:
    path = write_study(fresh, small_store, search=ONE, repeats="new_seed", budget={"trials": 2}, confirm_seeds=1)
    played = carry_out(plan_of(path, num_workers=2))
    assert [row.seed for row in played.rows] == [0, 1]
    assert [result["seed"] for result in played.sweep.confirmation.results.values()] == [2]
    linked = carry_out(linked_plan(plan_of(path), num_best=2, horizon=1280))
    best = sorted(played.rows, key=lambda row: row.value or 0.0)
    assert [row.seed for row in linked.rows] == [row.seed for row in best]
    assert {client().get_run(row.run_id).data.params["seed"] for row in linked.rows} == {"0", "1"}


@pytest.mark.slow
def test_runs_that_fail_in_a_row_end_the_study_and_are_tried_again(
    fresh: Path, small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study(fresh, small_store, baselines=[{"name": "usual"}])
    resolve = Plan.trial_run
    monkeypatch.setattr(Plan, "trial_run", lambda self, *args, **kwargs: on_cuda(resolve(self, *args, **kwargs)))
    with pytest.raises(StudyError, match=r"3 runs in a row failed.*same command goes on"):
        carry_out(plan_of(path))
    monkeypatch.undo()
    monkeypatch.chdir(fresh)
    played = carry_out(plan_of(path))
    assert played.states == ["COMPLETE"] * 3
    assert played.rows[0].baseline == "usual"


def on_cuda(resolved: object) -> object:
    """A spec that no worker here can carry out; the device is no part of what a run is."""
    import dataclasses

    train = resolved.spec.train.model_copy(update={"device": "cuda"})
    return dataclasses.replace(resolved, spec=resolved.spec.model_copy(update={"train": train}))


def test_a_gpu_that_is_not_here_is_told_before_anything_begins(
    fresh: Path, small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study(
        fresh, small_store, base={"train": {"batch_size": 32, "device": "cuda", "budget": {"samples": 640}}}
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(StudyError, match="no CUDA device here"):
        plan_of(path)


def test_a_horizon_that_comes_to_no_step_is_refused(fresh: Path, small_store: Path) -> None:
    path = write_study(fresh, small_store, search=ONE, budget={"trials": 1})
    carry_out(plan_of(path))
    with pytest.raises(StudyError, match=r"no step beyond 640 samples; give at least 672"):
        linked_plan(plan_of(path), num_best=1, horizon=641)
