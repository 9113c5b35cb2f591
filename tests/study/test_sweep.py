"""Studies carried out for real: workers are processes, their runs are runs, MLflow and Optuna are what they are."""

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna_dashboard import get_note

import clipexp
from clipexp.errors import StudyError
from clipexp.spec.load import load_spec
from clipexp.stops import Stops
from clipexp.study.extend import linked_spec
from clipexp.study.linked import linked_plan
from clipexp.study.sweep import Sweep, open_sweep
from clipexp.track.home import EXPERIMENT, home
from clipexp.track.journal import end_reason, points
from clipexp.track.mlflow_store import connect
from tests.study.play import LOSS, Played, carry_out, plan_of, write_study

BASELINE = [{"name": "usual", "values": {"optim.max_lr": 2e-3, "train.batch_size": 32}}]
PRUNER = {"kind": "successive_halving", "min_samples": 192, "reduction": 4}


def client() -> MlflowClient:
    return connect(home().tracking_uri)


def runs(query: str = "") -> list:
    experiment = client().get_experiment_by_name(EXPERIMENT)
    return client().search_runs([experiment.experiment_id], query) if experiment else []


@pytest.fixture(scope="module")
def once(
    tmp_path_factory: pytest.TempPathFactory, small_store: Path, empty_mlruns: Path
) -> Iterator[tuple[Path, Played]]:
    import shutil

    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(empty_mlruns, folder / "mlruns")
    path = write_study(
        folder,
        small_store,
        budget={"trials": 5},
        baselines=BASELINE,
        confirm_seeds=2,
        keep_checkpoints=2,
        pruner=PRUNER,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder, carry_out(plan_of(path, num_workers=2))


@pytest.fixture
def played(once: tuple[Path, Played], monkeypatch: pytest.MonkeyPatch) -> Played:
    monkeypatch.chdir(once[0])
    return once[1]


def test_every_trial_is_told_once_and_is_a_run_of_its_own(played: Played) -> None:
    assert played.reason == "finished"
    assert [row.number for row in played.rows] == [0, 1, 2, 3, 4]
    assert set(played.states) <= {"COMPLETE", "PRUNED"}
    own = [row for row in played.rows if not row.reused]
    assert len({row.run_id for row in own}) == len(own)
    for row in own:
        run = client().get_run(row.run_id)
        tags = run.data.tags
        assert (tags["clipexp.study"], tags["clipexp.trial"], tags["clipexp.role"]) == (
            "small",
            str(row.number),
            "trial",
        )
        assert tags["clipexp.spec_hash"] == row.spec_hash
        assert run.info.status == {"finished": "FINISHED", "pruned": "KILLED"}[row.state]


def test_a_trials_value_and_curve_are_its_runs(played: Played) -> None:
    for row in played.rows:
        curve = points(home().journals / row.run_id)[LOSS]
        assert dict(row.curve) == {point.samples_seen: point.value for point in curve}
        if row.state == "finished":
            assert row.value == curve[-1].value


def test_batch_sizes_differ_and_samples_do_not(played: Played) -> None:
    finished = [row for row in played.rows if row.state == "finished"]
    assert len({row.values["train.batch_size"] for row in played.rows}) > 1
    assert {row.samples_seen for row in finished} == {640}
    assert {samples for row in finished for samples, _ in row.curve} == {0, 192, 384, 576, 640}


def test_a_pruned_run_stops_where_it_was_pruned(played: Played) -> None:
    pruned = [row for row in played.rows if row.state == "pruned" and not row.reused]
    assert pruned, "the pruner of this study stops some of its trials"
    for row in pruned:
        assert end_reason(home().journals / row.run_id) == "pruned"
        assert row.samples_seen == row.curve[-1][0] < 640


def test_the_baseline_is_run_first_and_never_pruned(played: Played) -> None:
    assert (played.rows[0].baseline, played.rows[0].state) == ("usual", "finished")
    assert played.rows[0].values == {"optim.max_lr": 2e-3, "train.batch_size": 32}


def test_the_studys_own_run_shows_the_best_trial(played: Played) -> None:
    parent = client().get_run(played.sweep.parent.run_id)
    finished = [row for row in played.rows if row.value is not None]
    best = min(finished, key=lambda row: row.value)
    assert parent.data.tags["clipexp.best_trial"] == str(best.number)
    assert parent.data.metrics[LOSS] == best.value
    assert parent.info.status == "FINISHED"
    history = client().get_metric_history(parent.info.run_id, f"study/{LOSS}")
    assert {point.step: point.value for point in history} == {row.number: row.value for row in finished}
    children = runs(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert len(children) == len([row for row in played.rows if not row.reused]) + len(played.sweep.confirmation.results)


def test_the_best_is_held_against_the_baseline_over_seeds_that_no_trial_had(played: Played) -> None:
    results = played.sweep.confirmation.results
    names = {result["name"] for result in results.values()}
    assert names <= {"best", "usual"}
    assert "usual" in names
    assert {(result["name"], result["seed"]) for result in results.values()} == {(n, s) for n in names for s in (1, 2)}
    for result in results.values():
        assert result["value"] == points(home().journals / result["run_id"])[LOSS][-1].value


def test_only_the_best_few_keep_their_checkpoints(played: Played) -> None:
    ranked = sorted((row for row in played.rows if row.value is not None), key=lambda row: row.value)
    kept = {row.number for row in played.rows if (home().checkpoints / row.run_id).exists() and not row.reused}
    assert kept == {row.number for row in ranked[:2]}


def test_a_finished_study_is_not_run_again(played: Played, small_store: Path) -> None:
    before = len(runs())
    again = carry_out(plan_of(Path("studies/small.yaml"), num_workers=2))
    assert again.rows == played.rows
    assert len(runs()) == before
    assert again.sweep.driver is not None
    assert again.sweep.driver.pool.num_started == 0


@pytest.mark.slow
def test_a_larger_budget_goes_on_with_the_same_study(played: Played, once: tuple[Path, Played]) -> None:
    again = carry_out(plan_of(Path("studies/small.yaml"), "budget.trials=6", "confirm_seeds=0"))
    assert again.rows[:5] == played.rows
    assert len(again.rows) == 6


def test_a_name_in_use_with_another_space_is_refused_with_the_difference(played: Played) -> None:
    plan = plan_of(Path("studies/small.yaml"), "search.optim.max_lr.high=0.1")
    expected = r"(?s)optim\.max_lr\.high: 0\.01 -> 0\.1.*--as NEWNAME"
    with pytest.raises(StudyError, match=expected), open_sweep(plan, Stops()):
        pass


def test_a_second_launch_says_who_holds_the_study(played: Played) -> None:
    plan = plan_of(Path("studies/small.yaml"))
    expected = r"study small .*process \d+ .*, is being carried out.*--as NEWNAME"
    with open_sweep(plan, Stops()), pytest.raises(StudyError, match=expected), open_sweep(plan, Stops()):
        pass


def test_a_suggestion_that_is_finished_already_takes_its_result(fresh: Path, small_store: Path) -> None:
    path = write_study(fresh, small_store, baselines=BASELINE, budget={"trials": 1})
    plan = plan_of(path)
    resolved = plan.trial_run(BASELINE[0]["values"], "by-hand")
    record = clipexp.run(resolved)
    played = carry_out(plan)
    assert played.sweep.driver is not None
    assert played.sweep.driver.pool.num_started == 0
    row = played.rows[0]
    assert (row.reused, row.run_id, row.value) == (True, record.run_id, record.final[LOSS])
    assert dict(row.curve)[640] == row.value


@pytest.mark.slow
def test_equal_suggestions_are_run_once_unless_new_seeds_are_asked_for(fresh: Path, small_store: Path) -> None:
    search = {"train.batch_size": {"kind": "choice", "values": [32]}}
    path = write_study(fresh, small_store, search=search, sampler={"kind": "random"}, base={"seed": 5})
    played = carry_out(plan_of(path, num_workers=2))
    assert [row.state for row in played.rows] == ["finished"] * 3
    assert len({row.run_id for row in played.rows}) == 1
    assert len({row.value for row in played.rows}) == 1
    assert [row.reused for row in played.rows].count(False) == 1
    seeds = carry_out(plan_of(path, "repeats=new_seed", "name=seeds"))
    assert sorted(row.seed or 0 for row in seeds.rows) == [6, 7, 8]
    assert len({row.run_id for row in seeds.rows}) == 3


def test_settings_that_diverge_are_infeasible_with_the_step(fresh: Path, small_store: Path) -> None:
    search = {"optim.max_lr": {"kind": "choice", "values": [1e30]}}
    path = write_study(fresh, small_store, search=search, budget={"trials": 1}, base={"optim": {"max_lr": 1.0}})
    played = carry_out(plan_of(path))
    row = played.rows[0]
    assert (row.state, row.value) == ("infeasible", None)
    assert "not finite at" in row.reason
    assert "samples" in row.reason
    assert client().get_run(row.run_id).info.status == "FAILED"


def test_ctrl_c_leaves_a_waiting_trial_that_goes_on_under_its_number(fresh: Path, small_store: Path) -> None:
    path = write_study(fresh, small_store, budget={"trials": 2})

    def stop(sweep: Sweep, _: str) -> None:
        assert sweep.driver is not None
        if any(job.samples_seen >= 192 for job in sweep.driver.job_by_seat.values()):
            sweep.stops.ask("interrupted")

    first = carry_out(plan_of(path), stop)
    assert first.reason == "interrupted"
    assert first.states == ["WAITING"]
    run_id = first.rows[0].run_id
    assert client().get_run(run_id).info.status == "KILLED"
    assert client().get_run(first.sweep.parent.run_id).info.status == "KILLED"
    second = carry_out(plan_of(path))
    assert second.states == ["COMPLETE", "COMPLETE"]
    assert second.rows[0].run_id == run_id
    assert any("goes on from its checkpoint at" in line for line in second.lines)


def test_a_killed_workers_trial_goes_on_from_its_checkpoint_under_its_number(fresh: Path, small_store: Path) -> None:
    path = write_study(fresh, small_store, budget={"trials": 1})
    killed = []

    def kill(sweep: Sweep, _: str) -> None:
        assert sweep.driver is not None
        for seat, job in sweep.driver.job_by_seat.items():
            if job.samples_seen >= 384 and not killed:
                killed.append(job.run_id)
                sweep.driver.pool.kill(seat)

    played = carry_out(plan_of(path), kill)
    assert killed == [played.rows[0].run_id]
    assert played.states == ["COMPLETE"]
    assert any("SIGKILL" in line and "another one goes on" in line for line in played.lines)


@pytest.mark.slow
def test_a_budget_of_hours_ends_a_study_and_a_larger_one_goes_on(fresh: Path, small_store: Path) -> None:
    path = write_study(fresh, small_store, budget={"trials": 2, "cpu_hours": 1e-6})
    first = carry_out(plan_of(path))
    assert first.reason == "finished"
    assert first.states in (["WAITING"], ["COMPLETE"])
    second = carry_out(plan_of(path, "budget.cpu_hours=10"))
    assert second.states == ["COMPLETE", "COMPLETE"]


def test_a_dry_run_makes_nothing(workplace: Path, small_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from clipexp.cli import main

    write_study(workplace, small_store, baselines=BASELINE)
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "studies/small.yaml", "--dry-run"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "usual" in said
    assert "nothing was started" in said
    assert not (workplace / "mlruns").exists()


def test_the_best_go_on_to_a_longer_horizon_in_a_linked_study(played: Played) -> None:
    plan = linked_plan(plan_of(Path("studies/small.yaml")), num_best=2, horizon=1280)
    linked = carry_out(plan)
    assert linked.sweep.plan.name == "small-to-1280"
    assert [row.state for row in linked.rows] == ["finished", "finished"]
    best = sorted((row for row in played.rows if row.value is not None), key=lambda row: row.value)[:2]
    for row, parent in zip(linked.rows, best, strict=True):
        assert row.values == parent.values
        tags = client().get_run(row.run_id).data.tags
        assert (tags["clipexp.continues"], tags["clipexp.role"]) == (parent.run_id, "extend")
        assert row.curve[0][0] == 640
        assert row.samples_seen == 1280


def test_a_linked_study_needs_trials_that_are_finished(played: Played) -> None:
    plan = plan_of(Path("studies/small.yaml"))
    assert linked_spec(plan.spec, 3, 1280).pruner.kind == "none"
    with pytest.raises(StudyError, match="--extend top9 needs 9"):
        linked_plan(plan, num_best=9, horizon=1280)


def test_a_study_ends_in_a_report_in_mlflow_and_in_the_dashboard(played: Played) -> None:
    evidence = clipexp.sweep("studies/small.yaml")
    assert list(evidence.trials)[:5] == played.rows
    report = Path("reports/small/report.md").read_text()
    best = min((row for row in evidence.trials if row.value is not None), key=lambda row: row.value)
    assert f"{best.value:.4f}" in report
    found = {item.path for item in client().list_artifacts(played.sweep.parent.run_id, "report")}
    assert {"report/report.md", "report/best.yaml", "report/study.html", "report/figures"} <= found
    loaded = load_spec("reports/small/best.yaml").spec
    assert plan_of(Path("studies/small.yaml")).identity(loaded) == best.spec_hash
    assert "MLflow" in get_note(optuna.load_study(study_name="small", storage=journal()))


def journal() -> JournalStorage:
    return JournalStorage(JournalFileBackend("mlruns/studies/small/optuna.journal"))


def test_any_other_optuna_tool_opens_the_study(played: Played) -> None:
    study = optuna.load_study(study_name="small", storage=journal())
    assert study.best_value == min(row.value for row in played.rows if row.value is not None)
    assert set(study.best_params) == {"optim.max_lr", "log2(train.batch_size)"}
