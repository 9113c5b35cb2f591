"""optuna-dashboard on a study, its notes, plots and artifacts filled in.

    annotate(study, evidence, Path("reports/quick"), folder / "artifacts", runs_at)
    serve(study, folder / "artifacts", port=None, open_browser=False)

Filling in again changes what is out of date and adds nothing twice; what people write below a note's last line stays.
"""

import contextlib
import hashlib
import signal
import socketserver
import warnings
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import click

from clipexp.errors import StudyError
from clipexp.study import insight
from clipexp.study.evidence import StudyEvidence, TrialRow
from clipexp.study.interactive import interactive_figures, write_page
from clipexp.study.report import BEST_FILE, FIGURES_FOLDER, REPORT_FILE, cell, summary, verdict

if TYPE_CHECKING:
    from optuna import Study

HOST = "127.0.0.1"
PORT = 8080
OWN_NOTES = "*Notes below this line are kept:*"
PLOTS = ("slices", "parallel")  # what the dashboard draws itself, but over exponents of powers of two
NOTED = 100  # trials with a note of their own: the best, the baselines, and those that something is said of
EMBEDDED = ("curves.svg", "history.svg")


def annotate(
    study: "Study", evidence: StudyEvidence, report_folder: Path, artifact_folder: Path, runs_at: str = ""
) -> None:
    """Fill in a study's dashboard: its note, its trials' notes, plots and artifacts.

    Args:
        study: in the storage that the dashboard is opened on; its trials have the evidence's numbers.
        evidence: what the report was drawn from.
        report_folder: where that lies, `reports/NAME`.
        artifact_folder: keeps the artifacts' content; the same each time.
        runs_at: the address in MLflow's UI that a run's id completes, such as
            `http://127.0.0.1:5000/#/experiments/1/runs/`; without it there are no links.
    """
    artifact_folder.mkdir(parents=True, exist_ok=True)
    _name_objective(study, evidence.spec.objective.metric)
    plots = interactive_figures(insight.memory_study(evidence), evidence.spec.objective.metric)
    pages = [write_page(plots, evidence.name, artifact_folder / "pages")] if plots else []
    figures = sorted((report_folder / FIGURES_FOLDER).glob("*.svg"))
    files = [*(report_folder / name for name in (REPORT_FILE, BEST_FILE)), *figures, *pages]
    path_by_name = {file.name: _keep_artifact(study, file, artifact_folder) for file in files if file.exists()}
    _note(study, None, _study_note(evidence, path_by_name, runs_at))
    id_by_number = {trial.number: trial._trial_id for trial in study.get_trials(deepcopy=False)}
    for trial in _noted(evidence):
        if trial.number in id_by_number:
            _note(study, id_by_number[trial.number], _trial_note(evidence, trial, runs_at))
    for name in PLOTS:
        if name in plots:
            _keep_plot(study, name, plots[name])


def _noted(evidence: StudyEvidence) -> list[TrialRow]:
    """The trials that get a note: of long studies those that one looks for."""
    best_first = insight.ranked(evidence)
    said = [trial for trial in evidence.trials if trial.baseline or trial.reason]
    chosen = {trial.number: trial for trial in [*said[:NOTED], *best_first, *evidence.trials]}
    return list(chosen.values())[:NOTED]


def _study_note(evidence: StudyEvidence, path_by_name: dict[str, str], runs_at: str) -> str:
    found = insight.confirmation(evidence)
    name, run_id = evidence.name, evidence.making.parent_run_id
    links = [f"[{file}]({path})" for file, path in path_by_name.items() if not file.endswith(".svg")]
    parts = [
        f"# {name}",
        summary(evidence),
        *(verdict(evidence, difference) for difference in (found.differences if found else ())),
        *([" · ".join(links)] if links else []),
        *([f"[The study's own run in MLflow]({runs_at}{run_id})"] if runs_at and run_id else []),
        f"- the report: `reports/{name}/{REPORT_FILE}`\n- the best settings: `clipexp run reports/{name}/{BEST_FILE}`\n"
        f"- go on: `{evidence.making.command}`\n- MLflow: `clipexp ui`",
        *(f"![{file}]({path_by_name[file]})" for file in EMBEDDED if file in path_by_name),
    ]
    return "\n\n".join(parts)


def _trial_note(evidence: StudyEvidence, trial: TrialRow, runs_at: str) -> str:
    columns = evidence.columns()
    settings = ", ".join(
        f"{columns[path]} {cell(path, value)}" for path, value in trial.values.items() if path in columns
    )
    name = f"Trial {trial.number}" + (f", baseline {trial.baseline}" if trial.baseline else "")
    value = "" if trial.value is None else f", {evidence.spec.objective.metric} {trial.value:.4f}"
    state = trial.state + (": " + trial.reason if trial.reason else "") + (", reused a run" if trial.reused else "")
    parts = [f"**{name}** ({settings}): {state}{value} after {trial.num_samples:,} samples."]
    if trial.run_id and runs_at:
        parts.append(f"[Its run in MLflow]({runs_at}{trial.run_id}) (its loss plot is among the artifacts)")
    if trial.run_id:
        parts.append(f"`clipexp report {trial.run_id[:8]}` writes a report on it.")
    return "\n\n".join(parts)


def _note(study: "Study", trial_id: int | None, text: str) -> None:
    """Set a note, unless it says so already; what people wrote below its last line, or before there was one, stays."""
    from optuna_dashboard import get_note, save_note

    target: Any = study if trial_id is None else _Noted(study, trial_id)
    before = get_note(target)
    _, _, own = before.rpartition(OWN_NOTES)
    after = f"{text}\n\n---\n{OWN_NOTES}" + (own if OWN_NOTES in before else f"\n\n{before}" if before else "\n\n")
    if after != before:
        save_note(target, after)


def _name_objective(study: "Study", metric: str) -> None:
    """Have plots say the metric's name, not "Objective 0"."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of the names, which are all that is asked for here
        if study.metric_names != [metric]:
            study.set_metric_names([metric])


class _Noted:
    """A trial that ended, as far as notes need one: Optuna's own `Trial` would sample."""

    def __init__(self, study: "Study", trial_id: int) -> None:
        self.study, self.storage, self._trial_id = study, study._storage, trial_id


def _keep_artifact(study: "Study", file: Path, folder: Path) -> str:
    """Put a file among the study's artifacts, over one of that name; returns its path on the dashboard."""
    from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
    from optuna_dashboard.artifact import get_artifact_path

    store = FileSystemArtifactStore(folder)
    known = {meta.filename: meta.artifact_id for meta in get_all_artifact_meta(study)}
    artifact_id = known.get(file.name)
    if artifact_id is None:
        artifact_id = upload_artifact(artifact_store=store, file_path=str(file), study_or_trial=study)
    else:
        with file.open("rb") as content:
            store.write(artifact_id, content)
    return str(get_artifact_path(study, artifact_id))


def _keep_plot(study: "Study", name: str, figure: Any) -> None:
    """Save a plot, unless the same one is saved already: it is written in many small pieces."""
    from optuna_dashboard import save_plotly_graph_object

    key, content = f"clipexp:plot:{name}", hashlib.sha256(figure.to_json().encode()).hexdigest()
    if study.user_attrs.get(key) != content:
        save_plotly_graph_object(study, figure, graph_object_id=name)
        study.set_user_attr(key, content)


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A browser asks for several things at once."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    """Says nothing of each request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base's name)
        """Nothing."""


def serve(study: "Study", artifact_folder: Path, port: int | None = None, *, open_browser: bool = False) -> None:
    """Serve the dashboard on loopback, opened at the study, until Ctrl-C.

    Raises:
        StudyError: the port is taken.
    """
    from optuna.artifacts import FileSystemArtifactStore
    from optuna_dashboard import wsgi

    artifact_folder.mkdir(parents=True, exist_ok=True)
    app = wsgi(study._storage, artifact_store=FileSystemArtifactStore(artifact_folder))
    server = _listen(app, port)
    page = f"http://{HOST}:{server.server_port}/dashboard/studies/{study._study_id}"
    stop = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        click.echo(f"study: {page}\nstop it with Ctrl-C")
        if open_browser:
            webbrowser.open(page)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
        click.echo("stopped")
    finally:
        signal.signal(signal.SIGTERM, stop)
        server.server_close()


def _listen(app: Any, port: int | None) -> WSGIServer:
    """A server on the port; without one on 8080, or where that is taken on any that is free."""
    for number in (port,) if port is not None else (PORT, 0):
        try:
            return make_server(HOST, number, app, server_class=_Server, handler_class=_Silent)
        except OSError:
            continue
    raise StudyError(f"port {port} is taken; leave --port out to take a free one")
