"""Evidence to markdown and figures: pure, so that the same evidence gives the same bytes.

files = render(evidence)  # {"report.md": b"...", "figures/1a2b3c4d.svg": b"...", "data/runs.json": b"...", ...}
"""

import csv
import io

from clipexp.reporting.analysis import Analysis
from clipexp.reporting.closing_sections import closing_sections
from clipexp.reporting.commands import DATA
from clipexp.reporting.evidence import NUM_SECTIONS, TABLE_FILE, Evidence, evidence_files
from clipexp.reporting.overview import overview
from clipexp.reporting.proof import Block, RunsLedger
from clipexp.reporting.run_section import run_section
from clipexp.reporting.seal import seal
from clipexp.reporting.tables import MAX_SETTINGS, shown_settings

REPORT_FILE, FIGURES = "report.md", "figures"


def render(evidence: Evidence) -> dict[str, bytes]:
    """All files of a report, its data included, by their path in the report's folder."""
    blocks, files = render_blocks(evidence)
    files[REPORT_FILE] = seal(markdown(blocks), files)
    settings = shown_settings([run.record for run in evidence.runs])
    files |= {f"{DATA}/{path}": content for path, content in evidence_files(evidence).items()}
    if len(evidence.runs) > NUM_SECTIONS or len(settings) > MAX_SETTINGS:
        files[f"{DATA}/{TABLE_FILE}"] = _table(evidence, settings)
    return files


def render_blocks(evidence: Evidence) -> tuple[list[Block], dict[str, bytes]]:
    """The report's blocks with their proofs, and its figures."""
    files: dict[str, bytes] = {}
    ledger = RunsLedger(Analysis(evidence))
    blocks = overview(ledger, files)
    for run in evidence.sections:
        blocks += run_section(ledger, run, files)
    return blocks + closing_sections(ledger, files), files


def markdown(blocks: list[Block]) -> bytes:
    """The report's text."""
    return ("\n\n".join(block.markdown() for block in blocks) + "\n").encode()


def _table(evidence: Evidence, settings: list[str]) -> bytes:
    """All runs, for people's spreadsheets: ids, settings that differ, and each metric's last value."""
    metrics = sorted({metric for run in evidence.runs for metric in run.record.final})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["run_id", "name", "status", "seed", "samples_seen", "duration_s", *settings, *metrics])
    for run in evidence.runs:
        record = run.record
        facts = [record.run_id, record.name, record.status, record.seed, run.samples_seen, record.duration_s]
        values = [repr(record.final[metric]) if metric in record.final else "" for metric in metrics]
        writer.writerow([*facts, *(record.params.get(key, "") for key in settings), *values])
    return out.getvalue().encode()
