"""MLflow's page in a real browser: the run, its loss curve and its artifacts are there to see."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.conftest import Finished

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

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ,
    reason="NO BROWSER: install chromium (apt-get install chromium) to test MLflow's page",
)


@pytest.fixture
def page_address(finished: Finished) -> Iterator[str]:
    command = [sys.executable, "-u", "-c", "from clipexp.cli import entry; entry()", "ui"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=finished.folder) as server:
        assert server.stdout is not None
        lines = (line for line in server.stdout if line.startswith("runs: "))
        yield next(lines).removeprefix("runs: ").strip()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


def test_a_person_finds_the_run_its_loss_curve_and_its_artifacts(
    finished: Finished, page_address: str, page: Page
) -> None:
    page.set_default_timeout(PATIENCE_MS)
    page.goto(page_address)
    page.get_by_role("link", name="small", exact=True).first.click()
    page.get_by_text("FINISHED").or_(page.get_by_text("Finished")).first.wait_for()
    page.get_by_role("tab", name="Model metrics").or_(page.get_by_text("Model metrics")).first.click()
    page.get_by_text("train/loss").first.wait_for()
    page.locator(".js-plotly-plot .scatterlayer path.js-line").first.wait_for(state="attached")
    page.get_by_role("tab", name="Artifacts").or_(page.get_by_text("Artifacts")).first.click()
    page.get_by_text("plots", exact=True).first.click()
    page.get_by_text("curves.svg").first.wait_for()
