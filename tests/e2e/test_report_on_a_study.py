"""A report on a study: written again from what the study knows, without training."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from clipexp.cli import main
from clipexp.stops import Stops
from clipexp.study.evidence import read_evidence
from clipexp.study.sweep import open_sweep
from clipexp.study.telling import tell
from clipexp.track.home import home
from tests.study.play import plan_of, write_study


@pytest.fixture(scope="module")
def _once(tmp_path_factory: pytest.TempPathFactory, small_store: Path, empty_mlruns: Path) -> Path:
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(empty_mlruns, folder / "mlruns")
    path = write_study(folder, small_store, budget={"trials": 2})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with open_sweep(plan_of(path), Stops()) as sweep:
            for _ in sweep.carry_out():
                pass
            tell(sweep, "clipexp sweep studies/small.yaml")
    return folder


@pytest.fixture
def ended(_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a finished study, `small`; returns its report's folder."""
    folder = shutil.copytree(_once, tmp_path / "study")
    monkeypatch.chdir(folder)
    return folder / "reports" / "small"


def test_a_study_is_reported_again_by_its_name_or_its_file_and_no_run_is_added(ended: Path) -> None:
    before = read_evidence(ended / "data")
    num_runs = len(list(home().journals.iterdir()))
    for subject in ("small", "studies/small.yaml"):
        (ended / "report.md").unlink()
        result = CliRunner().invoke(main, ["report", subject])
        assert result.exit_code == 0, result.output
        assert "report: reports/small/report.md" in result.output
        again = read_evidence(ended / "data")
        assert (again.trials, again.confirmations, again.best_spec) == (
            before.trials,
            before.confirmations,
            before.best_spec,
        )
        assert again.making.command == "clipexp sweep studies/small.yaml"
    assert len(list(home().journals.iterdir())) == num_runs
    assert CliRunner().invoke(main, ["report", "--verify", "reports/small"]).exit_code == 0


def test_a_study_stands_alone_in_its_report(ended: Path) -> None:
    result = CliRunner().invoke(main, ["report", "small", "other"])
    assert result.exit_code == 2
    assert "small is a study, whose report stands alone" in result.output


def test_a_study_whose_file_is_gone_is_refused_with_what_to_name(ended: Path) -> None:
    (ended / "data" / "study.json").unlink()
    (home().root / "studies" / "small" / "published" / "data" / "study.json").unlink()
    Path("studies/small.yaml").unlink()
    result = CliRunner().invoke(main, ["report", "small"])
    assert result.exit_code == 2
    assert "name its file: clipexp report STUDY.yaml" in result.output
