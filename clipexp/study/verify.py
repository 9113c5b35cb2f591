"""Hold a study's report to its data, as one on runs is: see `clipexp.reporting.verify`.

checked = verify_study(Path("reports/quick"))
for deviation in checked.deviations: print(deviation)   # report.md:7: shows 0.98, the data give 0.97: trial(best, ...)
"""

from pathlib import Path

from clipexp.errors import ReportError
from clipexp.reporting.evidence import DamagedDataError
from clipexp.reporting.verify import Checked, Deviation, Verifiable, check
from clipexp.study.analysis import StudyAnalysis
from clipexp.study.evaluation import evaluate
from clipexp.study.evidence import STUDY_FILE, read_evidence
from clipexp.study.report import DATA, OWNED, REPORT_FILE, draw


def verify_study(folder: Path) -> Checked:
    """Compare a study's report with its data: numbers, words, figures, and the best settings.

    Raises:
        ReportError: it lacks its text or its data, or they are of another version.
    """
    if not (folder / REPORT_FILE).is_file() or not (folder / DATA / STUDY_FILE).is_file():
        raise ReportError(
            f"{folder} lacks {REPORT_FILE} or {DATA}/{STUDY_FILE}; write it again by the study's own command, clipexp"
            " sweep studies/NAME.yaml"
        )
    try:
        evidence = read_evidence(folder / DATA)
    except DamagedDataError as error:
        return Checked(0, (Deviation(DATA, 0, str(error)),))
    analysis = StudyAnalysis(evidence)
    given = Verifiable(
        find=lambda source: evaluate(analysis, source),
        files=draw(analysis),
        digests=evidence.digests,
        file_by_part={name: name for name in evidence.digests},
        drawn_with=evidence.drawn_with,
        owned=OWNED,
    )
    return check(folder, given)
