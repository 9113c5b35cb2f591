"""`clipexp doctor`: what this machine has, and how to get what it lacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clipexp.doctor import Finding


def doctor(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`clipexp doctor` in a process of its own: what it finds is about the process, too."""
    return subprocess.run(
        [sys.executable, "-c", "from clipexp.cli import entry; entry()", "doctor", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("empty")
    return doctor(folder, "--json"), folder


def test_json_is_a_list_of_what_was_looked_at(here: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    findings = json.loads(here[0].stdout)
    assert all(finding.keys() == {"what", "state", "detail", "remedy"} for finding in findings)
    assert {"python", "packages", "torch", "torchvision", "disk", "mlruns", "tracking"} <= {f["what"] for f in findings}
    assert {finding["state"] for finding in findings} <= {"ok", "note"}
    assert here[0].returncode == 0


def test_looking_leaves_nothing_behind(here: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    assert list(here[1].iterdir()) == []


def test_a_torch_that_does_not_load_is_missing_and_the_rest_is_still_told(workplace: Path) -> None:
    (workplace / "torch.py").write_text("raise ImportError('libtorch is broken')\n")
    child = doctor(workplace, PYTHONPATH=str(workplace))
    lines = child.stdout.splitlines()
    assert child.returncode == 2, child.stderr
    place = lines.index("MISSING  torch        libtorch is broken")
    assert lines[place + 1].strip() == "-> run: make setup"
    assert lines[-1].startswith("ok       tracking")


def test_a_tracking_store_that_does_not_answer_is_missing(workplace: Path) -> None:
    (workplace / "torch.py").write_text("raise ImportError('too slow for this test')\n")
    child = doctor(workplace, "--json", PYTHONPATH=str(workplace), MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    (tracking,) = [finding for finding in json.loads(child.stdout) if finding["what"] == "tracking"]
    assert tracking["state"] == "missing"
    assert "127.0.0.1:9" in tracking["detail"]


def test_a_line_holds_the_state_and_below_it_the_remedy() -> None:
    assert Finding("disk", "ok", "80 GB free here").line() == "ok       disk         80 GB free here"
    missing = Finding("torch", "missing", "no torch", "run: make setup").line()
    assert missing.splitlines() == ["MISSING  torch        no torch", " " * 23 + "-> run: make setup"]
