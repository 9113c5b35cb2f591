"""Write a report on recorded runs.

clipexp.report(["run1", "run2"], name="run1-vs-run2")  # Path("reports/run1-vs-run2/report.md")
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from clipexp.errors import ReportError
from clipexp.reporting.collect import choose, collect, title_of
from clipexp.reporting.commands import DATA
from clipexp.reporting.evidence import RUNS_FILE, Evidence, read_evidence
from clipexp.reporting.files import write_files
from clipexp.reporting.render import FIGURES, REPORT_FILE, render
from clipexp.reporting.seal import broken_parts
from clipexp.reporting.versions import drawing_versions
from clipexp.track.mlflow_store import connect, tracking_uri

STUDY_FILE = "study.json"  # in its place, the data are a study's


def report(
    runs: Sequence[str],
    name: str | None = None,
    out: Path = Path("reports"),
    tracking: str | None = None,
    *,
    force: bool = False,
) -> Path:
    """Write `OUT/NAME/report.md`, its figures, and the data it rests on.

    Args:
        runs: each an id, the start of one, a name, or a group (the 12 digits that all seeds of a spec share).
        name: the folder's; by default the runs' names.
        out: where reports go.
        tracking: MLflow's URI; see `tracking_uri`.
        force: write over a report that somebody edited.

    Returns:
        The report's path. Writing it again over the same runs gives the same bytes.

    Raises:
        TrackingError: a run can't be found, or was deleted.
        ReportError: a run is named twice, the name is no folder's, the folder holds a study's report, one that was
            edited, or, where no name is given, one on other runs.
    """
    client = connect(tracking_uri(tracking))
    chosen = choose(client, runs)
    title = title_of(chosen, name)
    folder = out / title
    if (folder / DATA / STUDY_FILE).exists():
        raise ReportError(f"{folder} is a study's report; choose another folder with --name ANOTHER")
    if not force:
        before = read_evidence(folder / DATA) if (folder / DATA / RUNS_FILE).exists() else None
        if name is None:
            _refuse_other_runs(folder, before, [record.run_id for record in chosen.records])
        _refuse_edited(folder, before)
    return write(folder, collect(client, chosen, title))


def redraw_report(folder: Path, *, force: bool = False) -> Path:
    """Draw a report again from its own data folder; needs neither MLflow's store nor the runs.

    Raises:
        ReportError: there is no such folder, its data is missing or damaged, or somebody edited the report.
    """
    evidence = read_evidence(find_report(folder) / DATA)
    if not force:
        _refuse_edited(folder, evidence)
    return write(folder, dataclasses.replace(evidence, drawn_with=drawing_versions()))


def find_report(folder: Path) -> Path:
    """The folder of a report. Raises ReportError, which names those that are there."""
    if not folder.is_dir():
        files = (path for name in (RUNS_FILE, STUDY_FILE) for path in folder.parent.glob(f"*/{DATA}/{name}"))
        here = ", ".join(sorted(path.parent.parent.name for path in files))
        raise ReportError(f"there is no report {folder.name}; reports here: {here or 'none yet'}")
    return folder


def write(folder: Path, evidence: Evidence) -> Path:
    """Write a report from its evidence; returns its path. Raises ReportError where it can't be written."""
    write_files(folder, render(evidence), owned=(FIGURES, DATA))
    return folder / REPORT_FILE


def _refuse_other_runs(folder: Path, before: Evidence | None, run_ids: Sequence[str]) -> None:
    """A name that was not chosen must not replace a report on other runs."""
    there = [run.record.run_id for run in before.runs] if before else run_ids
    if set(there) != set(run_ids):
        raise ReportError(
            f"{folder} is a report on other runs: {', '.join(there)}; choose another folder with --name ANOTHER,"
            f" or name the same runs"
        )


def _refuse_edited(folder: Path, before: Evidence | None) -> None:
    """What a person wrote into a report would be lost."""
    path = folder / REPORT_FILE
    if before is not None and path.is_file() and "text" in (broken_parts(path.read_bytes(), {}) or {"text"}):
        raise ReportError(
            f"{path} is not as it was written: somebody edited it (see `clipexp report --verify --name"
            f" {folder.name}`). Notes of your own belong with the run: clipexp note RUN TEXT; --force writes over it"
        )
