"""The commands as a person types them, from an empty folder to a report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from clipexp.cli import main
from tests.e2e.conftest import Finished
from tests.small import small_content


def clipexp(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_the_whole_path_from_an_empty_folder_to_a_report(workplace: Path) -> None:
    content = small_content(Path("data/scenes"), budget={"samples": 128})
    Path("small.yaml").write_text(yaml.safe_dump(content))
    assert "clipexp data prepare small.yaml" in clipexp("run", "small.yaml", code=2)
    assert "prepared: " in clipexp("data", "prepare", "small.yaml")
    assert "is there already" in clipexp("data", "prepare", "small.yaml")
    assert "spec hash       not yet" not in clipexp("check", "small.yaml")
    run = subprocess.run(
        [sys.executable, "-c", "from clipexp.cli import entry; entry()", "run", "small.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "small: finished" in run.stdout
    assert "\x1b[" not in run.stdout  # no colours off a terminal
    assert "is finished already" in clipexp("run", "small.yaml")
    (listed,) = json.loads(clipexp("runs", "--json"))
    assert set(listed) == {"run_id", "name", "spec_hash", "status", "params", "metrics"}
    clipexp("note", listed["run_id"][:8], "it went well")
    clipexp("report", "small")
    assert "it went well" in Path("reports/small/report.md").read_text()
    assert "unknown: no earlier run" in clipexp("check", "small.yaml")  # some seconds tell nothing
    log = Path("mlruns/journals", listed["run_id"], "console.log").read_text()
    assert "ended: finished at 128 samples" in log


def test_runs_on_an_empty_folder_says_how_to_start(workplace: Path) -> None:
    assert "no runs yet; start one with: clipexp run" in clipexp("runs")
    assert json.loads(clipexp("runs", "--json")) == []


def test_the_table_of_runs_shows_name_status_and_loss(finished: Finished) -> None:
    table = clipexp("runs")
    assert "small" in table
    assert "FINISHED" in table
    assert f"{finished.record.final['val/loss_block_40']:.3f}" in table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report"], "name at least one run"),
        (["report", "--redraw"], "--redraw draws a report again"),
        (["note", "small", " "], "the note is empty"),
        (["note", "small", "x" * 9000], "may take 8,000 characters"),
        (["runs", "--tracking-uri", "http://127.0.0.1:9"], "nobody answers"),
    ],
)
def test_a_command_used_wrongly_exits_with_2_and_says_the_remedy(
    finished: Finished, words: list[str], message: str
) -> None:
    assert message in clipexp(*words, code=2)
