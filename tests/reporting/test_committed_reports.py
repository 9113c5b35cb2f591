"""The reports in the repository hold: each number is what their own data give."""

from pathlib import Path

import pytest

from clipexp.reporting.verify import verify
from clipexp.study.evidence import is_study_report
from clipexp.study.verify import verify_study

REPORTS = Path(__file__).parents[2] / "reports"
NAMES = sorted(path.parent.name for path in REPORTS.glob("*/report.md") if path.parent.name != "quickstart")


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_report_holds(name: str) -> None:
    folder = REPORTS / name
    checked = verify_study(folder) if is_study_report(folder) else verify(folder)
    assert checked.num_numbers > 100
    assert checked.deviations == ()


def test_there_are_reports_of_runs_and_of_a_study() -> None:
    assert {is_study_report(REPORTS / name) for name in NAMES} == {True, False}
