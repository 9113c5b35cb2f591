"""What is found in a run's curves is told where people look: on the console, in MLflow, beside the journal."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from clipexp import runner
from clipexp.cli import main
from clipexp.errors import DivergedError
from clipexp.run_command import finding_lines
from clipexp.spec.load import resolve
from clipexp.spec.yaml_lines import dump
from clipexp.track.delivery import FINDINGS_FILE, Delivery
from clipexp.track.kept import read_kept
from tests.e2e.conftest import Finished, client
from tests.small import small_content


def diverging(small_store: Path) -> dict[str, object]:
    """A rate at which weights overflow within the first steps."""
    content = small_content(small_store, log_every_samples=32)
    content["optim"] = {"max_lr": 1e20, "grad_clip_norm": None}
    content["schedule"] = {"warmup_frac": 0.0}
    return content


@pytest.fixture
def diverged(small_store: Path, workplace: Path) -> runner.Execution:
    execution = runner.start(resolve(diverging(small_store)))
    with pytest.raises(DivergedError):
        for _ in execution.events():
            pass
    return execution


def test_a_run_that_diverged_says_so_in_its_tags_and_its_note(diverged: runner.Execution) -> None:
    tags = client().get_run(diverged.run_id).data.tags
    kept = read_kept(diverged.header.folder / FINDINGS_FILE)["findings"]
    (found,) = [finding for finding in kept if finding["rule"] == "non_finite"]
    assert tags["clipexp.finding.non_finite"] == found["claim"]
    assert f"- **problem**: {found['claim']}" in tags["mlflow.note.content"]


def test_the_console_shows_claim_and_remedy(diverged: runner.Execution) -> None:
    lines = finding_lines(diverged.header.folder)
    claim = next(number for number, line in enumerate(lines) if line.startswith("problem: ") and "finite" in line)
    assert "--set optim.max_lr=" in lines[claim + 1]


def test_the_command_prints_the_findings_at_the_end_of_a_failed_run(
    small_store: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workplace / "hot.yaml").write_text(dump(diverging(small_store)))
    result = CliRunner().invoke(main, ["run", "hot.yaml"])
    assert result.exit_code == 2
    assert "problem: " in result.output


def test_findings_are_delivered_with_what_mlflow_is_owed(diverged: runner.Execution) -> None:
    run_id = diverged.run_id
    client().delete_tag(run_id, "clipexp.finding.non_finite")
    (diverged.header.folder / "delivered.json").unlink()
    (diverged.header.folder / "delivered.json.copy").unlink()
    Delivery(client(), diverged.header).send_all()
    assert "clipexp.finding.non_finite" in client().get_run(run_id).data.tags


def test_a_runs_last_strips_are_an_artifact(finished: Finished) -> None:
    paths = [entry.path for entry in client().list_artifacts(finished.record.run_id, "scores")]
    assert paths == ["scores/strips.json"]
