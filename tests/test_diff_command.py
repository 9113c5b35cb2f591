"""`clipexp diff` on runs in a real store: what is printed, what is JSON, and what can't be compared."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlflow import MlflowClient

from clipexp.diff_command import diff, diff_on_console
from clipexp.errors import ReportError, TrackingError
from clipexp.track.home import home
from clipexp.track.mlflow_store import connect, experiment_id
from clipexp.track.records import SPEC_HASH_TAG, STUDY_TAG

SETTINGS = {"seed": "0", "optim.max_lr": "0.001", "train.device": "cpu", "train.batch_size": "64"}


@pytest.fixture
def client(fresh: Path) -> MlflowClient:
    return connect(home().tracking_uri)


def make(
    client: MlflowClient,
    name: str,
    settings: Mapping[str, str] | None = None,
    losses: Mapping[int, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> str:
    all_tags = {SPEC_HASH_TAG: f"hash of {name}", "clipexp.num_train_pairs": "100", **(tags or {})}
    run = client.create_run(experiment_id(client, home().tracking_uri), 0, all_tags, run_name=name)
    run_id = str(run.info.run_id)
    for key, value in {**SETTINGS, **(settings or {})}.items():
        client.log_param(run_id, key, value)
    for place, value in ({100: 6.0, 200: 3.0} if losses is None else losses).items():
        client.log_metric(run_id, "val/loss", value, step=place)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def sections(text: str) -> dict[str, list[str]]:
    parts = [part.splitlines() for part in text.split("\n\n")]
    return {part[0].strip(): [line.strip() for line in part[1:]] for part in parts}


def test_what_differs_is_printed_and_nothing_else(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    make(client, "first")
    make(client, "second", {"optim.max_lr": "0.003", "train.device": "cuda"}, {100: 6.5, 200: 2.5})
    diff_on_console("first", "second", as_json=False, tracking_uri=None)
    printed = sections(capsys.readouterr().out)
    assert [line.split() for line in printed["settings"][1:]] == [["optim.max_lr", "0.001", "0.003"]]
    assert [line.split() for line in printed["incidental settings"][1:]] == [["train.device", "cpu", "cuda"]]
    assert printed["results"][1].split() == ["val/loss", "3", "2.5", "-0.5"]
    assert "val/loss: the curves cross at about 150 samples" in printed["curves, along the shorter one"]
    assert printed["data"] == ["the same prepared set"]


def test_single_seeds_are_given_no_verdict(client: MlflowClient) -> None:
    make(client, "first")
    make(client, "second", losses={100: 6.5, 200: 2.5})
    told = " ".join(diff("first", "second").verdict)
    assert "can't be told apart by a single seed" in told
    assert "is better" not in told


def test_what_makes_a_comparison_unfair_is_named(client: MlflowClient) -> None:
    make(client, "first", tags={"clipexp.store_checksum": "aaaa"})
    make(client, "second", tags={"clipexp.store_checksum": "bbbb"})
    told = " ".join(diff("first", "second").verdict)
    assert "aaaa" in told
    assert "bbbb" in told


def test_json_is_one_object_with_all_of_it(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    first = make(client, "first")
    make(client, "second", {"optim.max_lr": "0.003"}, {100: 6.5, 200: float("nan")})
    diff_on_console("first", "second", as_json=True, tracking_uri=None)
    told = json.loads(capsys.readouterr().out)
    assert told["first"]["run_id"] == first
    assert [each["path"] for each in told["settings"]] == ["optim.max_lr"]
    assert told["results"][0]["second"] is None
    assert {"curves", "findings", "environment", "data", "code", "code_stat", "verdict", "missing"} <= told.keys()


def test_the_same_run_twice_is_refused(client: MlflowClient) -> None:
    run_id = make(client, "first")
    with pytest.raises(ReportError, match="the same run"):
        diff("first", run_id[:8])


def test_a_study_is_refused(client: MlflowClient) -> None:
    make(client, "first")
    make(client, "search", tags={STUDY_TAG: "search", SPEC_HASH_TAG: ""})
    with pytest.raises(ReportError, match="search is a study"):
        diff("first", "search")


def test_an_unknown_run_is_an_error_that_names_the_known(client: MlflowClient) -> None:
    make(client, "first")
    with pytest.raises(TrackingError, match=r"no run nothing; runs here: first"):
        diff("first", "nothing")


def test_runs_without_validation_are_compared_in_the_rest(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    make(client, "first", losses={})
    make(client, "second", {"optim.max_lr": "0.003"}, losses={})
    diff_on_console("first", "second", as_json=False, tracking_uri=None)
    printed = capsys.readouterr().out
    assert "first was never validated" in printed
    assert "second was never validated" in printed
    assert "optim.max_lr" in printed


def test_names_with_markup_are_printed_as_they_are(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    make(client, "[red]first[/red]", {"data.path": "[bold]x"})
    make(client, "second")
    diff_on_console("[red]first[/red]", "second", as_json=False, tracking_uri=None)
    printed = capsys.readouterr().out
    assert "[red]first[/red]" in printed
    assert "[bold]x" in printed


def test_uncommitted_changes_are_told_apart(client: MlflowClient, tmp_path: Path) -> None:
    for name, change in (("first", "+one"), ("second", "+two"), ("third", "+one")):
        run_id = make(client, name, tags={"clipexp.git_commit": "c" * 40, "clipexp.git_dirty": "true"})
        client.log_text(run_id, change, "code/uncommitted.diff")
    assert diff("first", "second").found.code.same_changes is False
    assert diff("first", "third").found.code.same_changes is True


def test_what_changed_between_two_commits_is_summed_up(fresh: Path, client: MlflowClient) -> None:
    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    git("init", "-q")
    commits = []
    for content in ("one", "two"):
        for folder in ("clipexp", "docs"):
            (fresh / folder).mkdir(exist_ok=True)
            (fresh / folder / "file.txt").write_text(content)
        git("add", "clipexp", "docs")
        git("commit", "-q", "-m", content)
        commits.append(git("rev-parse", "HEAD"))
    for name, commit in zip(("first", "second", "elsewhere"), (*commits, "f" * 40), strict=True):
        make(client, name, tags={"clipexp.git_commit": commit})
    stat = diff("first", "second").code_stat
    assert any("clipexp/file.txt" in line for line in stat)
    assert not any("docs" in line for line in stat)
    assert diff("first", "elsewhere").code_stat == ()
