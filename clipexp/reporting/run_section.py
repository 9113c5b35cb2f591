"""A run's section of a report: its settings, what came out, the figure, what was found, what people noted.

blocks = run_section(ledger, run, files)
"""

import numpy as np

from clipexp.findings import RULES
from clipexp.findings.finding import Finding
from clipexp.plots.artifacts import headline
from clipexp.plots.marks import Mark
from clipexp.plots.static import run_figure
from clipexp.reporting.analysis import Analysis, loss_metric, series_of
from clipexp.reporting.evidence import Evidence, RunEvidence
from clipexp.reporting.proof import Block, RunsLedger
from clipexp.reporting.tables import RECALLS, markdown_table, setting
from clipexp.track.records import TAG, TOTAL_SAMPLES_TAG

MAX_NOTES = 50


def run_section(ledger: RunsLedger, run: RunEvidence, files: dict[str, bytes]) -> list[Block]:
    """The section's blocks; its figure is added to the files."""
    texts = [
        f"## {ledger.of_run(run, 'field', 'label')}",
        _hypothesis(ledger, run),
        _settings_line(ledger, run),
        _result(ledger, run),
        _recall_table(ledger, run),
        _figure(ledger, run, files),
        *_findings(ledger, run),
        *_notes(ledger, run),
    ]
    return [ledger.block(text) for text in texts if text]


def _hypothesis(ledger: RunsLedger, run: RunEvidence) -> str:
    key = f"{TAG}hypothesis"
    return f"*Hypothesis:* {ledger.of_run(run, 'tag', key)}" if run.record.tags.get(key) else ""


def _settings_line(ledger: RunsLedger, run: RunEvidence) -> str:
    def value(key: str) -> str:
        return setting(ledger, run, key)

    metric = loss_metric(run.record) or "train/loss"
    length = ""
    if series_of(run.record, metric) and ledger.has(run, "tag", f"{TAG}num_train_pairs"):
        length = (
            f"{ledger.of_run(run, 'epoch', 'last', metric, form='.3g')} epochs of"
            f" {ledger.of_run(run, 'tag', f'{TAG}num_train_pairs', form=',d')} pairs"
            f" ({ledger.of_run(run, 'samples', 'last', metric, form=',d')} samples)"
        )
    device = f"{TAG}device"
    words = [
        f"batch {value('train.batch_size')}",
        length,
        f"max_lr {value('optim.max_lr')}",
        f"warmup {value('schedule.warmup_frac')}, then {value('schedule.decay')} to {value('schedule.min_lr_frac')}",
        f"shuffle {value('data.shuffle')}",
        f"seed {ledger.of_run(run, 'field', 'seed', form='d')}",
        f"{value('train.precision')} on"
        f" {ledger.of_run(run, 'tag', device) if run.record.tags.get(device) else 'an unnamed device'}",
    ]
    return "*Settings:* " + "; ".join(word for word in words if word)


def _result(ledger: RunsLedger, run: RunEvidence) -> str:
    record, metric = run.record, loss_metric(run.record)
    if metric is None:
        return f"**No validation was recorded.**{_took(ledger, run)}{_state(ledger, run)}"
    name, value = ledger.of_run(run, "field", "loss_metric"), ledger.of_run(run, "last", metric, form=".3f")
    where = best = ""
    if series_of(record, metric):
        where = f" at epoch {ledger.of_run(run, 'epoch', 'last', metric, form='.3g')}"
        best = f" ({_best(ledger, run, metric)})"
    return f"**{name} {value}{where}**{best}.{_took(ledger, run)}{_state(ledger, run)}"


def _best(ledger: RunsLedger, run: RunEvidence, metric: str) -> str:
    values = run.record.curves[metric].values
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "no value of it is finite"
    if finite.min() == values[-1]:
        return "its best"
    low = ledger.of_run(run, "lowest", metric, form=".3f")
    return f"best {low} at epoch {ledger.of_run(run, 'epoch', 'lowest', metric, form='.3g')}"


def _took(ledger: RunsLedger, run: RunEvidence) -> str:
    if not run.record.duration_s:
        return ""
    rate = ""
    if ledger.has(run, "median", "system/samples_per_s"):
        rate = f", at {ledger.of_run(run, 'median', 'system/samples_per_s', form=',.0f')} samples/s"
    return f" It took {ledger.of_run(run, 'field', 'duration_s', form=',.0f')} s{rate}."


def _state(ledger: RunsLedger, run: RunEvidence) -> str:
    """What is to be said of a run that did not finish."""
    status = run.record.status
    if status == "FINISHED":
        return ""
    total = ""
    if run.record.tags.get(TOTAL_SAMPLES_TAG, "").isdecimal():
        total = f" of {ledger.of_run(run, 'tag', TOTAL_SAMPLES_TAG, form=',d')}"
    seen = f"{ledger.of_run(run, 'field', 'samples_seen', form=',d')}{total} samples"
    if status == "RUNNING":
        return f" **The run was still going when this was written, with {seen} seen.**"
    faults = " ".join(ledger.of_run(run, "fault", str(number)) for number in range(len(run.faults)))
    why = f" What was recorded: {faults}" if faults else ""
    return f" **The run did not finish: {ledger.of_run(run, 'field', 'status')} after {seen}.**{why}"


def _recall_table(ledger: RunsLedger, run: RunEvidence) -> str:
    final = run.record.final
    if "val/num_pairs" not in final or not any("_recall_at_" in metric for metric in final):
        return ""

    def cell(metric: str, form: str) -> str:
        return ledger.of_run(run, "last", metric, form=form) if metric in final else "–"

    header = ["retrieval", "recall@1", "recall@5", "recall@10", "median rank"]
    rows = [
        [
            words,
            *(cell(f"val/{way}_recall_at_{k}", ".1%") for k in (1, 5, 10)),
            cell(f"val/{way}_median_rank", ",.0f"),
        ]
        for way, words in RECALLS
    ]
    chance = [
        f"chance among {cell('val/num_pairs', ',d')}",
        *(ledger.of_run(run, "chance", str(k), form=".2%") for k in (1, 5, 10)),
        ledger.of_run(run, "chance", "rank", form=",.0f"),
    ]
    return markdown_table(header, [*rows, chance])


def _figure(ledger: RunsLedger, run: RunEvidence, files: dict[str, bytes]) -> str:
    if not run.record.curves:
        return ""
    path = f"figures/{run.key}.svg"
    marks = _marks(ledger.analysis, run)
    files[path] = run_figure(run.record.curves, *headline(run.record.curves), marks).encode()
    return f"![{_alt(ledger, run)}]({path})"


def marks_of(evidence: Evidence) -> dict[str, list[Mark]]:
    """Where on the curves the findings are, by the keys of the runs that have a section."""
    analysis = Analysis(evidence)
    return {run.key: _marks(analysis, run) for run in evidence.sections}


def _marks(analysis: Analysis, run: RunEvidence) -> list[Mark]:
    """The findings on a figure, numbered as in the text."""
    return [
        Mark(finding.evidence.metric, finding.evidence.window, None, str(number))
        for number, finding in enumerate(analysis.findings(run), start=1)
    ]


def _alt(ledger: RunsLedger, run: RunEvidence) -> str:
    """What the figure shows, in words and numbers."""
    parts = []
    for metric, words in (("train/loss", "training loss"), (loss_metric(run.record), "validation loss")):
        if metric is not None and series_of(run.record, metric):
            ends = (ledger.of_run(run, way, metric, form=".3f") for way in ("first", "last"))
            parts.append(f"{words} from {' to '.join(ends)}")
    for metric, words, form in (("train/grad_norm", "gradient norm", ".3g"), ("train/lr", "learning rate", "sci")):
        if ledger.has(run, "highest", metric):
            parts.append(f"{words} up to {ledger.of_run(run, 'highest', metric, form=form)}")
    found = " The numbers above the panels are those of the findings below." if ledger.analysis.findings(run) else ""
    return f"Curves of {ledger.of_run(run, 'field', 'label')}: {'; '.join(parts) or 'no loss was recorded'}.{found}"


def _findings(ledger: RunsLedger, run: RunEvidence) -> list[str]:
    """What the rules found, numbered as on the figure."""
    found = ledger.analysis.findings(run)
    if not found:
        return ["Findings: none of the rules speaks of this run."] if run.record.curves else []
    items = [f"{number}. {_finding(ledger, run, finding)}" for number, finding in enumerate(found, start=1)]
    return ["\n".join(["Findings:", "", *items])]


def _finding(ledger: RunsLedger, run: RunEvidence, finding: Finding) -> str:
    def part(name: str, form: str = "text") -> str:
        return ledger.of_run(run, "finding", finding.rule, name, form=form)

    evidence = finding.evidence
    interval = ""
    if evidence.interval is not None:
        level = ledger.show("report", "confidence", form=".0%")
        interval = f"{level} interval {part('low', 'short')} to {part('high', 'short')}; "
    unit = f" {part('unit')}" if evidence.unit else ""
    seen = (
        f"Seen on {part('metric')}, {part('from', ',d')} to {part('to', ',d')} samples: {part('value', 'short')}{unit}"
        f" ({interval}the rule speaks from {part('threshold', 'short')})."
    )
    remedy = f" To try: {part('remedy')}" if finding.remedy else ""
    command = f" {part('command', 'code')}" if finding.settings else ""
    title = RULES[finding.rule].title
    return f"**{title}** ({finding.severity}): {part('claim')} {seen}{remedy}{command}"


def _notes(ledger: RunsLedger, run: RunEvidence) -> list[str]:
    """People's notes, told apart from what was found."""
    notes = run.record.notes[:MAX_NOTES]
    if not notes:
        return []
    items = [
        f"- {ledger.of_run(run, 'note', str(n), 'text')} ({ledger.of_run(run, 'note', str(n), 'day')})"
        for n in range(len(notes))
    ]
    return ["\n".join(["Notes by people:", "", *items])]
