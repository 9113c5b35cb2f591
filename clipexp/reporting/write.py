"""Write a report on recorded runs.

clipexp.report(["run1", "run2"], name="run1-vs-run2")  # Path("reports/run1-vs-run2/report.md")
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipexp.errors import ReportError
from clipexp.plots.artifacts import EXAMPLES, KeptExamples, read_examples
from clipexp.reporting.evidence import RUNS_FILE, Evidence, RunEvidence, read_evidence, write_evidence
from clipexp.reporting.render import render
from clipexp.track.mlflow_store import connect, tracking_uri
from clipexp.track.records import RunRecord, find_run, read_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATA, FIGURES, REPORT_FILE = "data", "figures", "report.md"
STUDY_FILE = "study.json"  # in its place, the data are a study's
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def report(
    runs: Sequence[str], name: str | None = None, out: Path = Path("reports"), tracking: str | None = None
) -> Path:
    """Write `OUT/NAME/report.md`, its figures, and the data it rests on.

    Args:
        runs: each an id, the start of one, or a name.
        name: the folder's; by default the runs' names.
        out: where reports go.
        tracking: MLflow's URI; see `tracking_uri`.

    Returns:
        The report's path. Writing it again over the same runs gives the same bytes.

    Raises:
        TrackingError: a run can't be found.
        ReportError: a run is named twice, the name is no folder's, the folder holds a study's report, or, where no name
            is given, one on other runs.
    """
    client = connect(tracking_uri(tracking))
    run_ids = [find_run(client, reference) for reference in runs]
    if len(set(run_ids)) < len(run_ids):
        raise ReportError("a run is named twice; name each once")
    records = [read_run(client, run_id) for run_id in run_ids]
    if studies := [record.name for record in records if record.is_study]:
        raise ReportError(
            f"{studies[0]} is a study, whose report `clipexp sweep` writes: {out / studies[0]}; name runs here"
        )
    collected = [_collect(client, record) for record in records]
    title = name or "-vs-".join(dict.fromkeys(run.record.name for run in collected))
    if not NAME.fullmatch(title) or len(title) > 100:
        raise ReportError(f"{title[:100]!r} can't name a folder; give letters, digits, '.', '_' and '-' with --name")
    if (out / title / DATA / STUDY_FILE).exists():
        raise ReportError(f"{out / title} is a study's report; choose another folder with --name ANOTHER")
    if name is None:
        _refuse_other_runs(out / title, run_ids)
    return _write(out / title, Evidence(title, tuple(collected)))


def redraw_report(folder: Path) -> Path:
    """Draw a report again from its own data folder; needs neither MLflow's store nor the runs.

    Raises:
        ReportError: there is no such folder, or its data is missing or damaged.
    """
    if not folder.is_dir():
        files = (path for name in (RUNS_FILE, STUDY_FILE) for path in folder.parent.glob(f"*/{DATA}/{name}"))
        here = ", ".join(sorted(path.parent.parent.name for path in files))
        raise ReportError(f"there is no report {folder.name}; reports here: {here or 'none yet'}")
    return _write(folder, read_evidence(folder / DATA))


def _refuse_other_runs(folder: Path, run_ids: Sequence[str]) -> None:
    """A name that was not chosen must not replace a report on other runs."""
    if not (folder / DATA / RUNS_FILE).exists():
        return
    there = [run.record.run_id for run in read_evidence(folder / DATA).runs]
    if set(there) != set(run_ids):
        raise ReportError(
            f"{folder} is a report on other runs: {', '.join(there)}; choose another folder with --name ANOTHER,"
            f" or name the same runs"
        )


def _collect(client: "MlflowClient", record: RunRecord) -> RunEvidence:
    return RunEvidence(record, _spec_yaml(client, record), _examples(client, record))


def _spec_yaml(client: "MlflowClient", record: RunRecord) -> str:
    if not client.list_artifacts(record.run_id, "spec"):
        place = client.get_run(record.run_id).info.artifact_uri
        raise ReportError(
            f"run {record.run_id} keeps no spec/resolved.yaml at {place}: move the checkout back if it was moved;"
            " runs that another tool made can't be reported"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = client.download_artifacts(record.run_id, "spec/resolved.yaml", folder)
        return Path(path).read_text()


def _examples(client: "MlflowClient", record: RunRecord) -> KeptExamples | None:
    if not client.list_artifacts(record.run_id, EXAMPLES):
        return None
    with tempfile.TemporaryDirectory() as folder:
        return read_examples(Path(client.download_artifacts(record.run_id, EXAMPLES, folder)))


def _write(folder: Path, evidence: Evidence) -> Path:
    try:
        write_evidence(folder / DATA, evidence)
        files = render(evidence)
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            tmp = target.with_name(f"{target.name}.tmp")
            tmp.write_bytes(content)
            tmp.replace(target)
        _remove_stale(folder, evidence, set(files))
    except OSError as error:
        raise ReportError(f"can't write the report {folder} ({error.strerror}); see --out") from error
    return folder / REPORT_FILE


def _remove_stale(folder: Path, evidence: Evidence, written: set[str]) -> None:
    """Remove the figures and data of runs that an earlier version of this report was on."""
    keys = {run.key for run in evidence.runs}
    for figure in (folder / FIGURES).glob("*"):
        if f"{FIGURES}/{figure.name}" not in written:
            figure.unlink()
    for own in (folder / DATA).iterdir():
        if own.is_dir() and own.name not in keys:
            for file in own.iterdir():
                file.unlink()
            own.rmdir()
