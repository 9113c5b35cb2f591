"""The dashboard: filled in once however often, people's notes kept, and seen in a real browser."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from playwright.sync_api import Page, sync_playwright

from clipexp.errors import StudyError
from clipexp.study.dashboard import OWN_NOTES, annotate, serve
from clipexp.study.interactive import interactive_figures, write_pages
from clipexp.study.report import write_study_report
from tests.study.toy import toy_evidence, toy_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
NUM_TRIALS = 16
RUNS_AT = "http://127.0.0.1:5000/#/experiments/1/runs/"
SERVE = """
import sys, optuna
from pathlib import Path
from clipexp.study.dashboard import serve
folder = Path(sys.argv[1])
backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
study = optuna.load_study(study_name="toy", storage=optuna.storages.JournalStorage(backend))
serve(study, folder / "artifacts")
"""
NEEDS_BROWSER = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ,
    reason="NO BROWSER: install chromium (apt-get install chromium) to test the dashboard",
)


def stored(folder: Path) -> optuna.Study:
    """A study in a journal file."""
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    storage = optuna.storages.JournalStorage(backend)
    if storage.get_all_studies():
        return optuna.load_study(study_name="toy", storage=storage)
    study = optuna.create_study(study_name="toy", storage=storage)
    study.add_trials(toy_study(NUM_TRIALS).trials)
    return study


def fill(folder: Path) -> optuna.Study:
    """Fill in a study's dashboard as a driver does."""
    study, evidence = stored(folder), toy_evidence(NUM_TRIALS)
    write_study_report(evidence, folder / "reports/toy")
    annotate(study, evidence, folder / "reports/toy", folder / "artifacts", RUNS_AT)
    return study


def artifacts(study: optuna.Study) -> list[str]:
    return sorted(meta.filename for meta in optuna.artifacts.get_all_artifact_meta(study))


def test_filling_in_twice_adds_nothing(tmp_path: Path) -> None:
    names = artifacts(fill(tmp_path))
    size, kept = (tmp_path / "study.journal").stat().st_size, sorted((tmp_path / "artifacts").iterdir())
    assert {"report.md", "best.yaml", "curves.svg", "history.svg", "study.html"} <= set(names)
    assert artifacts(fill(tmp_path)) == names
    assert (tmp_path / "study.journal").stat().st_size == size
    assert sorted((tmp_path / "artifacts").iterdir()) == kept


def test_a_changed_report_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    study = fill(tmp_path)
    report = tmp_path / "reports/toy/report.md"
    report.write_text("changed")
    annotate(study, toy_evidence(NUM_TRIALS), report.parent, tmp_path / "artifacts", RUNS_AT)
    (meta,) = [meta for meta in optuna.artifacts.get_all_artifact_meta(study) if meta.filename == "report.md"]
    assert (tmp_path / "artifacts" / meta.artifact_id).read_text() == "changed"


def test_notes_say_the_best_and_where_its_run_is(tmp_path: Path) -> None:
    from optuna_dashboard import get_note

    study = fill(tmp_path)
    note = get_note(study)
    assert "The best of 11 finished trials is max_lr 1.04e-3" in note
    assert f"({RUNS_AT}{'a' * 32})" in note
    assert "`clipexp run reports/toy/best.yaml`" in note
    trial_note = get_note(optuna.trial.Trial(study, study.trials[10]._trial_id))
    assert "**Trial 10** (max_lr 1.04e-3, warmup_frac 2.44%, batch_size 128): finished, val/loss 0.3709" in trial_note
    assert f"({RUNS_AT}{10:032x})" in trial_note


def test_what_a_person_wrote_stays(tmp_path: Path) -> None:
    from optuna_dashboard import get_note, save_note

    study = stored(tmp_path)
    save_note(study, "written before")
    fill(tmp_path)
    assert get_note(study).endswith("written before")
    save_note(study, f"{get_note(study)}\nand after")
    fill(tmp_path)
    head, _, own = get_note(study).partition(OWN_NOTES)
    assert own.split() == ["written", "before", "and", "after"]
    assert head.count("# toy") == 1


def test_the_page_of_figures_needs_no_network(tmp_path: Path) -> None:
    (path,) = write_pages(toy_study(NUM_TRIALS), "val/loss", tmp_path)
    page = path.read_text()
    assert page.count('<div id="clipexp-') == 6
    assert "src=" not in page.split("<body>")[1].split("<script")[0]
    assert 'src="https://' not in page
    assert len(page) > 3_000_000  # plotly's own code, once
    assert len(page) < 8_000_000


def test_figures_wait_for_trials_enough() -> None:
    assert interactive_figures(toy_study(0), "val/loss") == {}
    assert set(interactive_figures(toy_study(3), "val/loss")) == {
        "history",
        "intermediate",
        "slices",
        "contour",
        "parallel",
    }


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StudyError, match=f"port {port} is taken"):
            serve(stored(tmp_path), tmp_path / "artifacts", port)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    fill(tmp_path)
    command = [sys.executable, "-u", "-c", SERVE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        lines = (line for line in server.stdout if line.startswith("study: "))
        yield next(lines).removeprefix("study: ").strip()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


@pytest.mark.slow
@NEEDS_BROWSER
def test_a_person_sees_the_study_its_note_a_plot_and_a_trials_run(address: str, page: Page) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None)
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.get_by_text("toy (id=0)").first.wait_for()
    page.get_by_text("report.md").first.wait_for()
    plot = page.locator(".js-plotly-plot", has_text="Slices")
    plot.locator(".scatterlayer path.point").first.wait_for(state="attached")
    page.goto(f"{address}/note")
    page.get_by_text("The best of 11 finished trials").first.wait_for()
    loaded = "image => image.complete && image.naturalWidth > 0"
    assert page.get_by_alt_text("curves.svg").first.evaluate(
        f"async image => {{ await image.decode(); return ({loaded})(image) }}"
    )
    page.goto(f"{address}/trials?numbers=10")
    page.get_by_role("link", name="Its run in MLflow").first.wait_for()
    assert hosts == {address.split("/")[2]}
