"""A study's end: its report, and what MLflow and Optuna's dashboard show of it.

tell(sweep, "clipexp sweep studies/quick.yaml")
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from clipexp.errors import ClipexpError
from clipexp.reporting.evidence import RUNS_FILE
from clipexp.spec.study_load import load_study
from clipexp.stops import Stops
from clipexp.study.dashboard import annotate
from clipexp.study.evidence import StudyEvidence
from clipexp.study.plan import PlanOptions, make_plan
from clipexp.study.report import DATA, write_study_report
from clipexp.study.sweep import Sweep, open_sweep
from clipexp.track.mlflow_store import HTTP, connect, experiment_id
from clipexp.ui import FIRST_PORT, HOST

REPORTS = Path("reports")
RUN_PAGE = "{}/#/experiments/{}/runs/"


def tell(sweep: Sweep, command: str) -> None:
    """Write the study's report, and hand it to MLflow and to the dashboard; nothing while it is to go on.

    What can't be written or handed on is among the sweep's problems: the study itself is safe, and the same command
    tries again.
    """
    if sweep.reason != "finished":
        return
    plan = sweep.plan
    folder = REPORTS / plan.name
    if (folder / DATA / RUNS_FILE).exists():  # a report on runs, by a person's choice of name
        folder = REPORTS / f"{plan.name}-study"
    evidence = sweep.evidence(command)
    try:
        sweep.report = write_study_report(evidence, folder)
        annotate(sweep.book.study, evidence, folder, plan.folder / "artifacts", runs_page(plan.uri))
        sweep.artifacts = _for_mlflow(folder, plan.folder)
    except (ClipexpError, OSError) as error:
        sweep.problems.append(f"the study's report: {error}")


def sweep(path: str | Path, overrides: Sequence[str] = (), options: PlanOptions | None = None) -> StudyEvidence:
    """Carry out a study and write its report, as `clipexp sweep` does; returns what the report rests on.

    Args:
        path: the study's YAML file.
        overrides: `dotted.path=value` for the study's own keys, as after `--set`.
        options: storage, number of workers, MLflow's URI.

    Raises:
        ClipexpError: the study can't start or go on.
        KeyboardInterrupt: Ctrl-C ended it; the same call goes on.
    """
    plan = make_plan(load_study(path, overrides), options or PlanOptions())
    stops = Stops()
    with stops.on_signals(), open_sweep(plan, stops) as running:
        for _ in running.carry_out():
            pass
        tell(running, f"clipexp sweep {path}")
        evidence = running.evidence(f"clipexp sweep {path}")
    if running.reason == "interrupted":
        raise KeyboardInterrupt
    return evidence


def runs_page(uri: str) -> str:
    """Where MLflow's UI shows a run whose id is added; of a local store, where `clipexp ui` puts it."""
    address = uri.rstrip("/") if uri.startswith(HTTP) else f"http://{HOST}:{FIRST_PORT}"
    return RUN_PAGE.format(address, experiment_id(connect(uri), uri))


def _for_mlflow(report: Path, folder: Path) -> Path:
    """The report and its interactive page, side by side."""
    published = folder / "published"
    if published.exists():
        shutil.rmtree(published)
    shutil.copytree(report, published)
    for page in (folder / "artifacts" / "pages").glob("*.html"):
        shutil.copy(page, published)
    return published
