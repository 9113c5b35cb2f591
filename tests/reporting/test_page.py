"""A report's page: all in one file, the same each time, markup in names harmless; a browser loads nothing else."""

import html
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from clipexp.errors import ReportError
from clipexp.plots.interactive import comparison_charts, run_charts
from clipexp.plots.marks import Mark
from clipexp.reporting.evidence import Evidence
from clipexp.reporting.page import charts_of, page_of, write_page
from clipexp.reporting.write import write
from tests.reporting.made import made_curves, made_evidence, made_run, noted, two_specs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ,
    reason="NO BROWSER: install chromium (apt-get install chromium) to test a report's page",
)
EVIL = "<img src=x onerror=alert(1)>"
EVIL_NOTE = "</script><script>document.title='taken'</script>"
LINE = ".js-plotly-plot .scatterlayer path.js-line"


class Elements(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.found: list[tuple[str, Mapping[str, str | None]]] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[Mapping[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def evil_evidence() -> Evidence:
    runs = [made_run(EVIL, seed=0, curves=made_curves(0), tags=noted(EVIL_NOTE)), made_run("b", seed=1)]
    return made_evidence(runs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    evidence = evil_evidence()
    folder = tmp_path_factory.mktemp("reports") / evidence.name
    write(folder, evidence)
    marks = {run.key: [Mark("train/loss", (0, 10_000), None, "1")] for run in evidence.sections}
    write_page(folder, charts_of(evidence, marks))
    return folder


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    evidence = two_specs()
    write(tmp_path, evidence)
    first = write_page(tmp_path, charts_of(evidence)).read_bytes()
    (tmp_path / "report.html").unlink()
    assert write_page(tmp_path, charts_of(evidence)).read_bytes() == first


def test_figures_are_part_of_the_page_and_no_address_is_in_it(folder: Path) -> None:
    page = Elements((folder / "report.html").read_text())
    pictures = [str(attributes["src"]) for attributes in page.named("img")]
    assert len(pictures) >= 3
    assert all(address.startswith("data:image/") for address in pictures)
    assert not page.named("link") or {attributes["href"] for attributes in page.named("link")} == {"data:,"}
    assert not any("src" in attributes for attributes in page.named("script"))
    assert not page.named("iframe")


def test_the_page_says_what_the_report_says(folder: Path) -> None:
    page = Elements((folder / "report.html").read_text())
    told = re.sub(r"\s+", " ", page.text)
    for heading in re.findall(r"^#+ (.*)$", (folder / "report.md").read_text(), re.MULTILINE):
        assert html.unescape(heading) in told
    assert EVIL_NOTE in told


def test_the_only_scripts_are_those_that_the_policy_names(folder: Path) -> None:
    content = (folder / "report.html").read_text()
    scripts = [each for each in Elements(content).named("script") if each.get("type") != "application/json"]
    policy = next(
        each["content"] for each in Elements(content).named("meta") if "Policy" in (each.get("http-equiv") or "")
    )
    assert len(scripts) == len(re.findall(r"'sha256-", str(policy))) == 2
    assert "default-src 'none'" in str(policy)


@pytest.mark.parametrize(
    "markup",
    [
        "<script>alert(1)</script>",
        "text <img src=x onerror=alert(1)> text",
        '<a href="javascript:alert(1)">x</a>',
        "<iframe src=http://example.org></iframe>",
        "<sub onclick=alert(1)>x</sub>",
        "<details open ontoggle=alert(1)>",
        "<svg/onload=alert(1)>",
        "<!-- comment --><script>alert(1)</script>",
        "<!--><script>alert(1)</script>-->",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "![x](http://example.org/x.png)",
        "![x](../../secret.svg)",
        "# <img src=x onerror=alert(1)>",
        '| <b onclick="alert(1)"> |\n| --- |\n| <script>alert(1)</script> |',
    ],
)
def test_markup_in_a_report_is_text_on_the_page(markup: str) -> None:
    page = Elements(page_of(markup, {}, {}))
    assert not page.named("script")
    assert not page.named("iframe")
    assert not page.named("img")
    assert not any(key.startswith("on") for _, attributes in page.found for key in attributes)
    links = [str(attributes.get("href")) for attributes in page.named("a")]
    assert all(link.startswith("#") for link in links)


def test_a_proof_is_hidden_but_can_be_opened() -> None:
    page = page_of(
        "Loss 0.974\n\n<!-- proof\n0.974 = last(val/loss, run <b>)\n1 = x\n-->\n\n<!-- Written by: x -->", {}, {}
    )
    assert "proof of 2 numbers" in page
    assert "0.974 = last(val/loss, run &lt;b&gt;)" in page
    assert "Written by" not in page


def test_the_elements_that_reports_write_stay() -> None:
    page = Elements(page_of("a <sub>credit</sub>\n\n<details><summary>more</summary>\n\ntext\n\n</details>", {}, {}))
    assert {"sub", "details", "summary"} <= {tag for tag, _ in page.found}


def test_headings_have_anchors_as_code_hosts_make_them() -> None:
    page = Elements(page_of("# A\n\n## Run 1: `x`\n\n## Twice\n\n## Twice\n", {}, {}))
    assert [attributes.get("id") for attributes in page.named("h2")] == ["run-1-x", "twice", "twice-1"]
    assert [attributes["href"] for attributes in page.named("a")] == ["#run-1-x", "#twice", "#twice-1"]


def test_only_a_page_that_is_followed_reloads_itself(folder: Path) -> None:
    def refreshes(reload_s: int | None) -> list[str | None]:
        page = Elements(page_of("# A", {}, {}, reload_s))
        return [each["content"] for each in page.named("meta") if each.get("http-equiv") == "refresh"]

    assert refreshes(30) == ["30"]
    assert refreshes(None) == []


def test_a_page_without_charts_has_no_plotting_code() -> None:
    assert len(page_of("# A\n\n![x](figures/x.svg)", {"figures/x.svg": b"<svg/>"}, {})) < 20_000


def test_a_folder_without_a_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"no report to make a page of"):
        write_page(tmp_path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def opened(browser: Browser, path: Path, width: int = 1280) -> tuple[Page, list[str], list[str]]:
    """A page in a browser, the addresses that it asked for, and what went wrong."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    addresses: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri())
    page.locator(LINE).first.wait_for(state="attached")
    return page, addresses, wrong


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_nothing_is_loaded_and_nothing_injected_runs(browser: Browser, folder: Path, width: int) -> None:
    page, addresses, wrong = opened(browser, folder / "report.html", width)
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(500)
    assert [address for address in addresses if not address.startswith(("data:", "blob:"))] == [
        (folder / "report.html").as_uri()
    ]
    assert wrong == []
    assert page.title() != "taken"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@needs_browser
def test_a_run_can_be_hidden_in_all_charts_of_a_comparison_and_shown_again(browser: Browser, folder: Path) -> None:
    page, _, _ = opened(browser, folder / "report.html")
    figure = page.locator("figure").first
    figure.locator(".js-plotly-plot").nth(1).wait_for(state="attached")
    lines = figure.locator(LINE.removeprefix(".js-plotly-plot "))
    page.wait_for_function("document.querySelectorAll('figure')[0].querySelectorAll('path.js-line').length == 4")
    figure.get_by_label(EVIL).uncheck()
    page.wait_for_function("document.querySelectorAll('figure')[0].querySelectorAll('path.js-line').length == 2")
    assert lines.count() == 2
    figure.get_by_label("all").check()
    figure.get_by_label("all").uncheck()
    page.wait_for_function("document.querySelectorAll('figure')[0].querySelectorAll('path.js-line').length == 0")
    page.close()


@needs_browser
def test_a_mark_is_drawn_on_its_chart(browser: Browser, tmp_path: Path) -> None:
    curves = made_curves(0)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "report.md").write_text("# A\n\n![curves](figures/a.svg)\n")
    marks = [Mark("train/loss", (0, 10_000), 2.0, "1")]
    page, _, _ = opened(browser, write_page(tmp_path, {"figures/a.svg": run_charts(curves, marks)}))
    assert page.locator(".shapelayer path").count() == 2
    assert page.locator(".annotation-text").first.text_content() == "1"
    page.close()


def test_a_page_of_many_long_runs_is_not_large(tmp_path: Path) -> None:
    curves = {f"run {n}": made_curves(n) for n in range(20)}
    charts = {"figures/comparison.svg": comparison_charts(curves, ["val/loss"])}
    figures = {"figures/comparison.svg": b"<svg/>"}
    assert len(page_of("![x](figures/comparison.svg)", figures, charts)) < 6_000_000
