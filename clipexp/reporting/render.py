"""Evidence to markdown and figures: pure, so that the same evidence gives the same bytes.

files = render(evidence)  # {"report.md": b"...", "figures/1a2b3c4d.svg": b"...", ...}
"""

import datetime
import math
import statistics
from collections.abc import Sequence

from clipexp.plots.artifacts import headline
from clipexp.plots.examples import examples_figure
from clipexp.plots.static import comparison_figure, run_figure
from clipexp.reporting.evidence import Evidence, RunEvidence
from clipexp.reporting.tables import RECALLS, escape, last_point, markdown_table, runs_table, setting_value
from clipexp.track.records import TAG, RunRecord, headline_metrics


def render(evidence: Evidence) -> dict[str, bytes]:
    """All files of a report but its data, by their path in the report's folder."""
    files: dict[str, bytes] = {}
    sections = [_head(evidence), "## Runs", runs_table(evidence.runs), _reading_note(evidence.runs)]
    if len(evidence.runs) > 1:
        curves = {_label(run, evidence.runs): run.record.curves for run in evidence.runs}
        figure = comparison_figure(curves, headline_metrics([run.record for run in evidence.runs]))
        files["figures/comparison.svg"] = figure.encode()
        alt = "Validation loss and recall of all runs over samples seen; the table above has the last values"
        sections.append(f"![{alt}](figures/comparison.svg)")
    for run in evidence.runs:
        sections.append(_run_section(run, evidence, files))
    sections += ["## Environment", _environment(evidence.runs)]
    files["report.md"] = ("\n\n".join(section for section in sections if section) + "\n").encode()
    return files


def _head(evidence: Evidence) -> str:
    keys = " ".join(run.key for run in evidence.runs)
    return (
        f"# {escape(evidence.name)}\n\n"
        f"<!-- Written by: clipexp report {keys} --name {evidence.name}. Drawn again from data/ by:"
        f" clipexp report --redraw --name {evidence.name} -->"
    )


def _reading_note(runs: Sequence[RunEvidence]) -> str:
    blocks = sorted({run.record.final["val/block_size"] for run in runs if "val/block_size" in run.record.final})
    if not blocks:
        return ""
    chances = " and ".join(f"ln {block:,.0f} = {math.log(block):.2f}" for block in blocks)
    unlike = (
        " Losses over blocks of different sizes, or on different sets, can't be compared."
        if len(blocks) > 1 or len({run.record.tags.get(f"{TAG}store_checksum") for run in runs}) > 1
        else ""
    )
    return (
        f"`val_loss` is symmetric InfoNCE in nats on the frozen validation pairs; at chance it is {chances}."
        " `recall@1 text to image` is the share of captions whose own picture comes first among all validation"
        f" pictures.{unlike}"
    )


def _label(run: RunEvidence, runs: Sequence[RunEvidence]) -> str:
    """A run's name, with the start of its id where two are named alike."""
    name = run.record.name
    return name if sum(other.record.name == name for other in runs) == 1 else f"{name} {run.key}"


def _run_section(run: RunEvidence, evidence: Evidence, files: dict[str, bytes]) -> str:
    record = run.record
    parts = [f"## {escape(_label(run, evidence.runs))}"]
    if hypothesis := record.tags.get(f"{TAG}hypothesis"):
        parts.append(f"*Hypothesis:* {escape(hypothesis)}")
    parts += [_settings_line(record), _result_line(record), _recall_table(record)]
    if record.curves:
        path = f"figures/{run.key}.svg"
        files[path] = run_figure(record.curves, *headline(record.curves)).encode()
        parts.append(f"![Loss, recall, and gradient norm with learning rate of {escape(record.name)}]({path})")
    parts.append(_notes(record))
    if run.examples is not None:
        parts.append(_examples(run, files))
    spec = f"reports/{evidence.name}/data/{run.key}/spec.yaml"
    parts.append(
        f"Replicate it with another seed: `clipexp run {spec} --set seed={record.seed + 1}`"
        f" (run `{record.run_id}`, spec `{record.spec_hash}`)"
    )
    return "\n\n".join(part for part in parts if part)


def _settings_line(record: RunRecord) -> str:
    def value(setting: str) -> str:
        return setting_value(record, setting)

    end = last_point(record)
    pairs = record.tags.get(f"{TAG}num_train_pairs", "")
    length = f"{end.epoch:.3g} epochs of {int(pairs):,} pairs ({end.samples_seen:,} samples)" if end and pairs else ""
    words = [
        f"batch {value('train.batch_size')}",
        length,
        f"max_lr {value('optim.max_lr')}",
        f"warmup {value('schedule.warmup_frac')}, then {value('schedule.decay')} to {value('schedule.min_lr_frac')}",
        f"shuffle {value('data.shuffle')}",
        f"{value('train.precision')} on {escape(record.tags.get(f'{TAG}device', 'an unnamed device'))}",
    ]
    return "*Settings:* " + "; ".join(word for word in words if word)


def _result_line(record: RunRecord) -> str:
    end = last_point(record)
    if end is None:
        return f"**No validation was recorded**; the run's status is {record.status}."
    name = headline(record.curves)[0]
    best = min(record.curves[name], key=lambda point: point.value)
    took = f" It took {record.duration_s:,.0f} s{_rate(record)}." if record.duration_s else ""
    status = "" if record.status == "FINISHED" else f" **The run did not finish: {record.status}.**"
    at_best = "its best" if best == end else f"best {best.value:.3f} at epoch {best.epoch:.3g}"
    return f"**{escape(name)} {end.value:.3f} at epoch {end.epoch:.3g}** ({at_best}).{took}{status}"


def _rate(record: RunRecord) -> str:
    """The training rate, as the median over the logging windows."""
    series = record.curves.get("system/samples_per_s", ())
    return f", at {statistics.median(point.value for point in series):,.0f} samples/s" if series else ""


def _recall_table(record: RunRecord) -> str:
    final = record.final
    if "val/num_pairs" not in final or not any("_recall_at_" in metric for metric in final):
        return ""

    def cell(metric: str, form: str) -> str:
        return format(final[metric], form) if metric in final else "–"

    pairs = final["val/num_pairs"]
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
        f"chance among {pairs:,.0f}",
        *(f"{min(k / pairs, 1):.2%}" for k in (1, 5, 10)),
        f"{(pairs + 1) / 2:,.0f}",
    ]
    return markdown_table(header, [*rows, chance])


def _notes(record: RunRecord) -> str:
    if not record.notes:
        return ""
    lines = [f"- {escape(note.text)} ({escape(note.time[:10])})" for note in record.notes]
    return "\n".join(["Notes:", "", *lines])


def _examples(run: RunEvidence, files: dict[str, bytes]) -> str:
    kept = run.examples
    if kept is None or not kept.examples:
        return ""
    path = f"figures/{run.key}-examples.png"
    files[path] = examples_figure(kept.examples, kept.rows, kept.sheet)
    num = len(kept.examples)
    found = sum(example.found_idx[:1] == (example.target_idx,) for example in kept.examples)
    finds = "finds its own picture" if found == 1 else "find their own picture"
    alt = f"{num} captions, each with its own picture and the five it found"
    credit = f"\n\n<sub>{escape(kept.attribution)}</sub>" if kept.attribution else ""
    return (
        f"Validation captions and the pictures they found. {found} of {num} {finds} first; a green frame marks it."
        f"\n\n![{alt}]({path}){credit}"
    )


def _environment(runs: Sequence[RunEvidence]) -> str:
    rows = []
    for run in runs:
        tags = run.record.tags
        started = datetime.datetime.fromtimestamp(run.record.started_ms / 1000, datetime.UTC).strftime("%Y-%m-%d")
        commit = tags.get(f"{TAG}git_commit", "")[:10] or "unknown"
        dirty = " and uncommitted changes" if tags.get(f"{TAG}git_dirty") == "true" else ""
        versions = ", ".join(
            f"{package} {escape(tags[f'{TAG}version.{package}'])}"
            for package in ("clipexp", "torch", "mlflow")
            if f"{TAG}version.{package}" in tags
        )
        device = escape(tags.get(f"{TAG}device", "unknown"))
        rows.append([escape(run.record.name), f"`{run.key}`", started, f"`{commit}`{dirty}", device, versions])
    return markdown_table(["run", "id", "started", "commit", "device", "versions"], rows, num_left=6)
