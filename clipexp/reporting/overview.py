"""A report's beginning: what was learned in a few sentences, and the table of runs with the figure of them all.

blocks = overview(ledger, files)
"""

from clipexp.findings.finding import SEVERITIES
from clipexp.plots.static import comparison_figure
from clipexp.reporting.analysis import loss_metric
from clipexp.reporting.evidence import NUM_SECTIONS, TABLE_FILE, Evidence, RunEvidence
from clipexp.reporting.proof import Block, RunsLedger
from clipexp.reporting.seal import UNSEALED
from clipexp.reporting.sources import escape
from clipexp.reporting.tables import MAX_SETTINGS, runs_table, shown_settings
from clipexp.track.records import STORE_CHECKSUM_TAG, headline_metrics

MAX_TOLD = 3  # findings, and comparisons, that the first lines tell of


def overview(ledger: RunsLedger, files: dict[str, bytes]) -> list[Block]:
    """The blocks up to the first section of a run; the figure is added to the files."""
    evidence = ledger.analysis.evidence
    settings = shown_settings([run.record for run in evidence.runs])
    texts = [
        f"# {ledger.show('report', 'name')}",
        _origin(evidence),
        learned(ledger),
        "## Runs",
        runs_table(ledger, evidence.rows, settings[:MAX_SETTINGS]),
        *_left_out(ledger, settings),
        _reading_note(ledger),
        _figure(ledger, files),
    ]
    return [ledger.block(text) for text in texts if text]


def _origin(evidence: Evidence) -> str:
    digests = ", ".join(f"{part} {digest}" for part, digest in evidence.digests.items())
    subjects = " ".join(evidence.subjects)
    return (
        f"<!-- Written by: clipexp report {subjects} --name {evidence.name}. Drawn again from data/ by: clipexp report"
        f" --redraw --name {evidence.name}. Checked by: clipexp report --verify --name {evidence.name}.\n"
        f"Data: {digests}.\n{UNSEALED}"
    )


def learned(ledger: RunsLedger) -> str:
    """The first lines: results, and what the rules say of them; nothing that the evidence does not bear."""
    evidence = ledger.analysis.evidence
    sentences = _results(ledger)
    finished = sum(run.record.status == "FINISHED" for run in evidence.runs)
    if finished < len(evidence.runs) and len(evidence.runs) > 1:
        sentences.append(
            f"{ledger.show('runs', 'finished', form=',d')} of {ledger.show('runs', 'all', form=',d')} runs finished."
        )
    return " ".join([*sentences, *_gravest(ledger)])


def _results(ledger: RunsLedger) -> list[str]:
    """Who is best, where that can be told; else what the first runs came to; and how the best two differ."""
    analysis = ledger.analysis
    sentences = []
    for metric, ranking in list(analysis.rankings.items())[:MAX_TOLD]:
        standings = ranking.standings
        if standings[1].place is not None:
            sentences.append(f"**{ledger.show('ranking', metric, '0')}**")
        best_two = {standing.name for standing in standings[:2]}
        for number, difference in enumerate(ranking.differences):
            if {difference.a, difference.b} == best_two:
                sentences.append(ledger.show("difference", metric, str(number), "sentence"))
    if any(sentence.startswith("**") for sentence in sentences):
        return sentences
    return [*(_result(ledger, run) for run in analysis.evidence.runs[:MAX_TOLD]), *sentences]


def _result(ledger: RunsLedger, run: RunEvidence) -> str:
    metric = loss_metric(run.record)
    label = ledger.of_run(run, "field", "label")
    if metric is None:
        return f"**{label} was never validated.**"
    value = ledger.of_run(run, "last", metric, form=".3f")
    chance = ""
    if ledger.has(run, "chance", "loss"):
        chance = f"; a model that knows nothing has {ledger.of_run(run, 'chance', 'loss', form='.2f')}"
    name = ledger.of_run(run, "field", "loss_metric")
    return f"**{label} came to {name} {value}**{chance}."


def _gravest(ledger: RunsLedger) -> list[str]:
    """How many findings there are, and the claims of the gravest."""
    analysis = ledger.analysis
    found = [(run, finding) for run in analysis.evidence.sections for finding in analysis.findings(run)]
    if not found:
        return []
    nums = {severity: sum(finding.severity == severity for _, finding in found) for severity in SEVERITIES}
    counts = [
        f"{ledger.show('findings', severity, form=',d')} {severity}{'s' if num > 1 else ''}"
        for severity, num in nums.items()
        if num
    ]
    found.sort(key=lambda pair: SEVERITIES.index(pair[1].severity))
    first_by_rule = {finding.rule: run for run, finding in reversed(found)}
    told = []
    for rule in list(dict.fromkeys(finding.rule for _, finding in found))[:MAX_TOLD]:
        run = first_by_rule[rule]
        told.append(f"*{ledger.of_run(run, 'field', 'label')}:* {ledger.of_run(run, 'finding', rule, 'claim')}")
    where = " in the runs shown" if len(analysis.evidence.runs) > NUM_SECTIONS else ""
    listed = " and ".join([", ".join(counts[:-1]), counts[-1]] if len(counts) > 1 else counts)
    return [f"The rules find {listed}{where}.", *told]


def _left_out(ledger: RunsLedger, settings: list[str]) -> list[str]:
    """What the table does not show."""
    evidence = ledger.analysis.evidence
    notes = [f"Left out: {ledger.show('left_out', str(number))}" for number in range(len(evidence.left_out))]
    if len(evidence.runs) > NUM_SECTIONS:
        notes.append(
            f"Of {ledger.show('runs', 'all', form=',d')} runs, best first, the table has"
            f" {ledger.show('runs', 'rows', form=',d')}; {ledger.show('runs', 'sections', form=',d')} have a section"
            f" with a figure and findings below; [data/{TABLE_FILE}](data/{TABLE_FILE}) has them all."
        )
    if further := settings[MAX_SETTINGS:]:
        notes.append(
            f"The runs also differ in {', '.join(escape(key) for key in further)};"
            f" see [data/{TABLE_FILE}](data/{TABLE_FILE})."
        )
    return notes


def _reading_note(ledger: RunsLedger) -> str:
    runs = ledger.analysis.evidence.runs
    first_by_block = {block: run for run in reversed(runs) if (block := run.record.final.get("val/block_size"))}
    if not first_by_block:
        return ""
    chances = [
        f"{ledger.of_run(run, 'chance', 'loss', form='.2f')} over blocks of"
        f" {ledger.of_run(run, 'last', 'val/block_size', form=',d')}"
        for _, run in sorted(first_by_block.items())
    ]
    is_mixed = len(first_by_block) > 1 or len({run.record.tags.get(STORE_CHECKSUM_TAG) for run in runs}) > 1
    unlike = " Losses over blocks of different sizes, or on different sets, can't be compared." if is_mixed else ""
    return (
        f"`val_loss` is symmetric InfoNCE in nats on the frozen validation pairs; at chance it is {', '.join(chances)}."
        " Recall@1 text to image is the share of captions whose own picture comes first among all validation"
        f" pictures.{unlike}"
    )


def _figure(ledger: RunsLedger, files: dict[str, bytes]) -> str:
    analysis = ledger.analysis
    runs = analysis.evidence.runs
    if len(runs) < 2:
        return ""
    label_by_key = analysis.labels
    groups = {
        label_by_key[key]: group.name
        for groups in analysis.groups.values()
        for group in groups
        if len(group.replicates) > 1
        for key in analysis.keys_of(group)
    }
    curves = {label_by_key[run.key]: run.record.curves for run in runs}
    files["figures/comparison.svg"] = comparison_figure(
        curves, headline_metrics([run.record for run in runs]), groups
    ).encode()
    best = next((run for run in runs if loss_metric(run.record)), None)
    words = ""
    if best is not None:
        value = ledger.of_run(best, "last", loss_metric(best.record) or "", form=".3f")
        words = f"; {ledger.of_run(best, 'field', 'label')} ends at {value}"
    alt = f"Validation loss and recall of the runs over samples seen{words}; the table above has the last values"
    return f"![{alt}](figures/comparison.svg)"
