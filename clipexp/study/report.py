"""A study's report: markdown, figures and the best settings as an experiment, drawn from its data folder alone.

    write_study_report(evidence, Path("reports/quick"))  # reports/quick/report.md
    redraw_study_report(Path("reports/quick"))           # the same bytes, from reports/quick/data

What it may conclude is in `insight`; how each number is computed, in `evaluation`; `verify` computes them again.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from clipexp.errors import ReportError
from clipexp.reporting.files import write_files
from clipexp.reporting.render import REPORT_FILE, markdown
from clipexp.reporting.versions import drawing_versions
from clipexp.spec.yaml_lines import dump
from clipexp.study import insight
from clipexp.study.analysis import StudyAnalysis, snippet
from clipexp.study.evaluation import cell
from clipexp.study.evidence import StudyEvidence, evidence_files, read_evidence
from clipexp.study.learned import learned, what_next
from clipexp.study.ledger import StudyLedger
from clipexp.study.overview import overview, summary, verdict
from clipexp.study.sections import BEST_FILE, DATA, FIGURES_FOLDER, best_settings, figures, making, trials_table

__all__ = [
    "BEST_FILE",
    "DATA",
    "FIGURES_FOLDER",
    "REPORT_FILE",
    "cell",
    "draw",
    "redraw_study_report",
    "snippet",
    "summary",
    "verdict",
    "write_study_report",
]
OWNED = (FIGURES_FOLDER, DATA, BEST_FILE)
DRAWN_BY = ("clipexp", "matplotlib", "numpy", "optuna", "scikit-learn", "scipy")


def write_study_report(evidence: StudyEvidence, folder: Path) -> Path:
    """Write a study's report into its own folder, `reports/NAME`, over what is there of an earlier one.

    Returns:
        The path of its report.md.

    Raises:
        ReportError: the folder can't be written.
    """
    drawn = dataclasses.replace(evidence, drawn_with=drawing_versions(DRAWN_BY))
    return _write(folder, draw(StudyAnalysis(drawn)))


def _write(folder: Path, files: Mapping[str, bytes]) -> Path:
    write_files(folder, files, owned=OWNED)
    return folder / REPORT_FILE


def redraw_study_report(folder: Path, *, force: bool = False) -> Path:
    """Draw a study's report again from its data folder.

    Raises:
        ReportError: the data are missing or damaged, or somebody edited the report; `force` writes over that.
    """
    evidence = read_evidence(folder / DATA)
    if dict(evidence.drawn_with) != drawing_versions(DRAWN_BY):
        return write_study_report(evidence, folder)
    files, path = draw(StudyAnalysis(evidence)), folder / REPORT_FILE
    if not force and path.is_file() and path.read_bytes() != files[REPORT_FILE]:
        raise ReportError(
            f"{path} is not what its data come to: somebody edited it (see `clipexp report --verify --name"
            f" {folder.name}`); --force writes over it"
        )
    return _write(folder, files)


def draw(analysis: StudyAnalysis) -> dict[str, bytes]:
    """All files of a report, its data included, by their path in the report's folder."""
    evidence = analysis.evidence
    files = {f"{DATA}/{name}": content for name, content in evidence_files(evidence).items()}
    settings = insight.best_settings(evidence)
    if settings is not None:
        files[BEST_FILE] = _best_yaml(evidence, settings).encode()
    ledger = StudyLedger(analysis)
    texts = [
        *trials_table(ledger),
        *figures(ledger, files),
        *learned(ledger),
        *what_next(ledger),
        *best_settings(ledger),
        *making(ledger),
    ]
    files[REPORT_FILE] = markdown([*overview(ledger), *(ledger.block(text) for text in texts)])
    return files


def _best_yaml(evidence: StudyEvidence, content: dict[str, object]) -> str:
    return (
        f"# The best settings of study {evidence.name}, complete. Written by: {evidence.making.command}\n"
        f"# Drawn again by: clipexp report --redraw --name {evidence.name}\n{dump(content)}"
    )
