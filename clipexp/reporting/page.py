"""A report as one interactive page: all it needs is in the file, and nothing is loaded from elsewhere.

write_page(Path("reports/run1"), charts_of(evidence))   # reports/run1/report.html
write_page(folder, charts, reload_s=30)                 # while a run goes on: the browser reads it again

The page is made from `report.md` and the figures beside it. Markup in the report's text is shown as text, but for a few
elements that the report itself writes; and the page forbids the browser all scripts but its own two, and all addresses.
"""

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from clipexp.errors import ReportError
from clipexp.plots.interactive import Chart, comparison_charts, json_for_script, run_charts
from clipexp.plots.marks import Mark
from clipexp.reporting.evidence import Evidence
from clipexp.reporting.files import write_files
from clipexp.reporting.page_looks import SCRIPT, STYLE
from clipexp.track.records import GROUP_TAG, headline_metrics

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

PAGE_FILE, REPORT_FILE = "report.html", "report.md"
KINDS = {".svg": "image/svg+xml", ".png": "image/png"}
# The elements that reports write themselves; any other is shown as text.
ALLOWED = re.compile(r"</?(sub|sup|details|summary|br|kbd)\s*/?>")
COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
PROOF = "proof"
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")
Charts = Mapping[str, Sequence[Chart]]


def write_page(folder: Path, charts: Charts | None = None, reload_s: int | None = None) -> Path:
    """Write `report.html` beside a folder's `report.md`; the same folder and charts give the same bytes.

    Args:
        folder: a report's.
        charts: to stand in place of figures, by the figure's path in the report.
        reload_s: after how many seconds a browser reads the page again; None: never.

    Returns:
        The page's path.

    Raises:
        ReportError: there is no report in the folder, or it can't be written.
    """
    try:
        markdown = (folder / REPORT_FILE).read_text()
    except OSError as error:
        raise ReportError(f"there is no report to make a page of: {folder / REPORT_FILE}") from error
    content = page_of(markdown, _figures(folder), charts or {}, reload_s)
    write_files(folder, {PAGE_FILE: content.encode()})
    return folder / PAGE_FILE


def charts_of(evidence: Evidence, marks_by_key: Mapping[str, Sequence[Mark]] | None = None) -> dict[str, list[Chart]]:
    """The charts of a report on runs, by the paths of its figures; `marks_by_key`: of each run, by its key."""
    marks = marks_by_key or {}
    names = [run.record.name for run in evidence.runs]
    label_by_key = {
        run.key: f"{run.record.name} {run.key}" if names.count(run.record.name) > 1 else run.record.name
        for run in evidence.rows
    }
    curves_by_label = {label_by_key[run.key]: run.record.curves for run in evidence.rows}
    losses = headline_metrics([run.record for run in evidence.rows])
    groups = {label_by_key[run.key]: run.record.tags.get(GROUP_TAG, run.key) for run in evidence.rows}
    charts = {"figures/comparison.svg": comparison_charts(curves_by_label, losses, groups)}
    for run in evidence.sections:
        charts[f"figures/{run.key}.svg"] = run_charts(run.record.curves, marks.get(run.key, ()))
    return charts


def page_of(markdown: str, figures: Mapping[str, bytes], charts: Charts, reload_s: int | None = None) -> str:
    """A page of a report's text: figures by their paths in it, and charts in place of some of them."""
    from plotly.offline import get_plotlyjs

    body = _Body(figures, charts)
    content = body.render(markdown)
    contents = _contents(body.headings)
    scripts = [get_plotlyjs().replace("\r", ""), SCRIPT] if body.shown else []
    data = f'<script type="application/json" id="charts">{json_for_script(_as_json(body.shown))}</script>'
    title = html.escape(body.headings[0].text if body.headings else "report")
    live = (
        f'<p class="live">This report is written again while its runs go on; the page follows every {reload_s} s.</p>\n'
        if reload_s
        else ""
    )
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            *([f'<meta http-equiv="refresh" content="{reload_s}">'] if reload_s else []),
            '<link rel="icon" href="data:,">',
            f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            f'<div class="frame">\n{contents}\n<main>\n{live}{content}\n</main>\n</div>',
            *([data] if body.shown else []),
            *(f"<script>{script}</script>" for script in scripts),
            "</body>\n</html>\n",
        ]
    )


def _policy(scripts: Sequence[str]) -> str:
    """What the browser may do with the page: run these scripts, which are part of it, and load nothing."""
    own = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {own or chr(39) + 'none' + chr(39)}; style-src 'unsafe-inline';"
        " img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _as_json(charts: Sequence[Chart]) -> list[dict[str, object]]:
    return [{"data": chart.data, "layout": chart.layout} for chart in charts]


def _figures(folder: Path) -> dict[str, bytes]:
    """All pictures below a report's folder, but its data, by their paths in it."""
    found = (path for path in sorted(folder.rglob("*")) if path.suffix in KINDS and path.is_file())
    by_path = {path.relative_to(folder).as_posix(): path for path in found}
    return {path: file.read_bytes() for path, file in by_path.items() if not path.startswith("data/")}


@dataclass(frozen=True)
class _Heading:
    level: int
    anchor: str
    text: str


@dataclass
class _Body:
    """A report's text as HTML, part by part; what stands in it is noted on the way."""

    figures: Mapping[str, bytes]
    charts: Charts
    headings: list[_Heading] = field(default_factory=list)
    shown: list[Chart] = field(default_factory=list)

    def render(self, markdown: str) -> str:
        """The markdown as HTML."""
        parser = _parser()
        tokens = parser.parse(markdown)
        for place, token in enumerate(tokens):
            if token.type == "heading_open":
                self._note_heading(token, tokens[place + 1])
        return "".join(self._parts(parser, tokens)).replace("<p></p>", "")

    def _parts(self, parser: "MarkdownIt", tokens: "Sequence[Token]") -> Iterator[str]:
        start = 0
        for place, token in enumerate(tokens):
            own = self._own(token)
            if own is not None:
                yield parser.renderer.render(tokens[start:place], parser.options, {})
                yield own
                start = place + 1
        yield parser.renderer.render(tokens[start:], parser.options, {})

    def _own(self, token: "Token") -> str | None:
        """How this page has a token, where that is not markdown's way."""
        match token.type:
            case "html_block":
                return _safe(token.content)
            case "table_open":
                return '<div class="wide"><table>\n'
            case "table_close":
                return "</table></div>\n"
            case "inline" if token.children and any(child.type in ("html_inline", "image") for child in token.children):
                return "".join(self._inline(token.children))
        return None

    def _inline(self, tokens: "Sequence[Token]") -> Iterator[str]:
        from markdown_it.renderer import RendererHTML

        renderer = RendererHTML()
        for token in tokens:
            if token.type == "html_inline":
                yield _safe(token.content)
            elif token.type == "image":
                yield self._figure(str(token.attrs.get("src", "")), token.content)
            else:
                yield renderer.renderInline([token], _parser().options, {})

    def _note_heading(self, heading: "Token", inline: "Token") -> None:
        text = "".join(
            child.content for child in inline.children or [] if child.type in ("text", "text_special", "code_inline")
        )
        slug = _NOT_IN_ANCHORS.sub("", text.lower()).strip().replace(" ", "-") or "section"
        taken = {known.anchor for known in self.headings}
        anchor = next(name for n in range(len(taken) + 1) if (name := f"{slug}-{n}" if n else slug) not in taken)
        heading.attrSet("id", anchor)
        self.headings.append(_Heading(int(heading.tag[1:]), anchor, text))

    def _figure(self, path: str, alt: str) -> str:
        """A figure: its charts, or its picture; where it is not there, its words."""
        content = self.figures.get(path)
        if content is None:
            return f"<em>{html.escape(alt)}</em>"
        kind = KINDS[Path(path).suffix]
        address = f"data:{kind};base64,{base64.b64encode(content).decode()}"
        picture = f'<img src="{address}" alt="{html.escape(alt)}">'
        charts = self.charts.get(path, ())
        if not charts:
            return picture
        first = len(self.shown)
        self.shown += charts
        places = "".join(f'<div class="chart" data-chart="{first + n}"></div>' for n in range(len(charts)))
        label = html.escape(alt)
        return (
            f'</p><figure role="group" aria-label="{label}">{_names(charts)}<div class="charts">{places}</div>'
            f'<details class="still"><summary>as a picture</summary>{picture}</details></figure><p>'
        )


@cache
def _parser() -> "MarkdownIt":
    """Markdown as code hosts read it."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


def _safe(markup: str) -> str:
    """Markup of the report: comments as proofs to open, the elements it writes, all else as text."""
    parts, last = [], 0
    for comment in COMMENT.finditer(markup):
        parts += [_known_elements(markup[last : comment.start()]), _comment(comment[1])]
        last = comment.end()
    return "".join([*parts, _known_elements(markup[last:])])


def _known_elements(markup: str) -> str:
    parts, last = [], 0
    for element in ALLOWED.finditer(markup):
        parts += [html.escape(markup[last : element.start()], quote=False), element[0]]
        last = element.end()
    return "".join([*parts, html.escape(markup[last:], quote=False)])


def _comment(content: str) -> str:
    """A block's proofs, to open; other comments stay comments of the report alone."""
    words = content.strip()
    if not words.startswith(PROOF):
        return ""
    lines = words.removeprefix(PROOF).strip()
    count = lines.count("\n") + 1
    numbers = "number" if count == 1 else "numbers"
    summary = f"<summary>proof of {count} {numbers}</summary>"
    return f'<details class="proof">{summary}<pre>{html.escape(lines)}</pre></details>\n'


def _names(charts: Sequence[Chart]) -> str:
    """A box to tick for each of several runs; none where a chart's own legend tells its lines apart."""
    if any(chart.layout["showlegend"] for chart in charts) or max(len(chart.data) for chart in charts) < 2:
        return ""
    colour_by_name: dict[str, str] = {}
    for chart in charts:
        colour_by_name |= chart.colour_by_name
    boxes = [
        f'<label><input type="checkbox" checked value="{html.escape(name)}"><span class="swatch"'
        f' style="background:{colour}"></span>{html.escape(name)}</label>'
        for name, colour in colour_by_name.items()
    ]
    every = '<label><input type="checkbox" class="all" checked>all</label>'
    return f'<div class="names">{every}{"".join(boxes)}</div>'


def _contents(headings: Sequence[_Heading]) -> str:
    items = [
        f'<li class="level-{each.level}"><a href="#{html.escape(each.anchor)}">{html.escape(each.text)}</a></li>'
        for each in headings
        if each.level in (2, 3)
    ]
    return (
        f'<nav aria-label="contents"><details><summary>Contents</summary><ul>\n{"".join(items)}\n</ul></details></nav>'
    )
