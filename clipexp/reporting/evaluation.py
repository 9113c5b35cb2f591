"""What a source comes to, computed from the evidence alone: by the report when it is written, and again to verify it.

found = evaluate(analysis, Source("last", ("val/loss", "run 1a2b3c4d")))   # Found(0.974, "24,576")

Ways on a run, whose key is the last argument: `last`, `first`, `lowest`, `highest`, `median` of a metric; `samples` and
`epoch` of such a place; `param`, `tag`, `field`, `note`, `fault`, `finding`, `examples`, `chance`, `command`. Ways on
the report: `report`, `runs`, `left_out`, `groups`, `ranking`, `standing`, `difference`, `findings`.
"""

import datetime
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from clipexp.comparison.verdict import CONFIDENCE
from clipexp.errors import ReportError
from clipexp.findings.finding import Finding
from clipexp.reporting.analysis import Analysis, loss_metric, series_of
from clipexp.reporting.commands import command
from clipexp.reporting.evidence import RunEvidence
from clipexp.reporting.sources import Found, Source, Value
from clipexp.track.records import TAG, TOTAL_SAMPLES_TAG, RunRecord

RUN = "run "
PICKS = ("last", "first", "lowest", "highest", "median")
NUMBER_TAGS = (TOTAL_SAMPLES_TAG, f"{TAG}num_train_pairs")
MAX_PLACES = 5


class UnknownSourceError(ReportError):
    """A source that names nothing in the evidence, or no way there is."""


def evaluate(analysis: Analysis, source: Source) -> Found:
    """What a source comes to. Raises UnknownSourceError."""
    try:
        if source.args and source.args[-1].startswith(RUN):
            run = analysis.evidence.by_key[source.args[-1].removeprefix(RUN)]
            return _of_run(analysis, run, source.way, source.args[:-1])
        return _of_report(analysis, source.way, source.args)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise UnknownSourceError(f"{source} names nothing in the data ({type(error).__name__}: {error})") from error


def _of_run(  # noqa: C901, PLR0911 (a table)
    analysis: Analysis, run: RunEvidence, way: str, args: Sequence[str]
) -> Found:
    record = run.record
    match way, args:
        case (("last" | "first" | "lowest" | "highest" | "median"), [metric]):
            return _pick(record, way, metric)
        case (("samples" | "epoch"), [pick, metric]):
            return _place(record, way, pick, metric)
        case "param", [key]:
            return Found(_number_or_text(record.params.get(key)))
        case "tag", [key]:
            text = record.tags.get(key)
            return Found(_number_or_text(text) if key in NUMBER_TAGS else text)
        case "field", [name]:
            return Found(_field(analysis, run, name))
        case "note", [number, part]:
            note = record.notes[int(number)]
            return Found(note.text if part == "text" else note.time[:10], note.time)
        case "fault", [number]:
            return Found(run.faults[int(number)])
        case "finding", [rule, part]:
            return _of_finding(analysis, run, rule, part)
        case "examples", [part]:
            return Found(_of_examples(run, part))
        case "chance", [part]:
            return Found(_chance(record, part))
        case "command", [kind]:
            return Found(command(analysis.evidence, run, kind))
        case _:
            raise ValueError(f"no way on a run is called {way} with {len(args)} argument(s)")


def _pick(record: RunRecord, way: str, metric: str) -> Found:
    """A value of a metric; `lowest`, `highest` and `median` are over its finite points."""
    series = series_of(record, metric)
    if series is None:
        return Found(record.final.get(metric))
    if way == "median":
        finite = series.values[np.isfinite(series.values)]
        whole = f"{int(series.samples_seen[0]):,} to {int(series.samples_seen[-1]):,}"
        return Found(float(np.median(finite)) if len(finite) else None, whole)
    idx = _index(record, way, metric)
    if idx is None:
        return Found(None)
    return Found(float(series.values[idx]), f"{int(series.samples_seen[idx]):,}")


def _index(record: RunRecord, pick: str, metric: str) -> int | None:
    series = series_of(record, metric)
    if series is None:
        return None
    finite = np.isfinite(series.values)
    match pick:
        case "last":
            return len(series) - 1
        case "first":
            return 0
        case "lowest" | "highest":
            sign = 1 if pick == "lowest" else -1
            return int(np.where(finite, sign * series.values, math.inf).argmin()) if finite.any() else None
        case _:
            raise ValueError(f"{pick} is no place of a curve")


def _place(record: RunRecord, what: str, pick: str, metric: str) -> Found:
    idx = _index(record, pick, metric)
    series = series_of(record, metric)
    if idx is None or series is None:
        return Found(None)
    samples = int(series.samples_seen[idx])
    return Found(samples if what == "samples" else float(series.epoch[idx]), f"{samples:,}")


def _number_or_text(text: str | None) -> Value:
    if text in (None, "None", ""):
        return None
    try:
        return float(str(text))
    except ValueError:
        return text


def _field(analysis: Analysis, run: RunEvidence, name: str) -> Value:  # noqa: PLR0911 (a table)
    """A field of the record, or of what else the journal told."""
    record = run.record
    match name:
        case "label":
            return analysis.labels[run.key]
        case "key":
            return run.key
        case "samples_seen":
            return run.samples_seen
        case "loss_metric":
            return loss_metric(record)
        case "started":
            return datetime.datetime.fromtimestamp(record.started_ms / 1000, datetime.UTC).strftime("%Y-%m-%d")
        case "commit":
            return record.git.get("commit", "")[:10] or None
        case "name" | "run_id" | "spec_hash" | "status" | "seed" | "duration_s":
            value: Value = getattr(record, name)
            return value
        case _:
            raise ValueError(f"{name} is no field of a run")


def _of_finding(analysis: Analysis, run: RunEvidence, rule: str, part: str) -> Found:
    finding = next(finding for finding in (*analysis.findings(run), None) if finding is None or finding.rule == rule)
    if finding is None:
        raise ValueError(f"the rule {rule} finds nothing in run {run.key}")
    evidence = finding.evidence
    place = f"{evidence.metric}, {evidence.window[0]:,} to {evidence.window[1]:,}"
    if part == "command":
        return Found(command(analysis.evidence, run, "finding", finding.settings), place)
    return Found(_part_of(finding, part), place)


def _part_of(finding: Finding, part: str) -> Value:
    evidence = finding.evidence
    values: dict[str, Any] = {
        "claim": finding.claim,
        "severity": finding.severity,
        "remedy": finding.remedy,
        "metric": evidence.metric,
        "from": evidence.window[0],
        "to": evidence.window[1],
        "value": evidence.value,
        "threshold": evidence.threshold,
        "unit": evidence.unit,
        "low": evidence.interval[0] if evidence.interval else None,
        "high": evidence.interval[1] if evidence.interval else None,
    }
    found: Value = values[part]
    return found


def _of_examples(run: RunEvidence, part: str) -> Value:
    if run.examples is None:
        raise ValueError(f"run {run.key} has no examples")
    examples = run.examples.examples
    match part:
        case "count":
            return len(examples)
        case "found first":
            return sum(example.found_idx[:1] == (example.target_idx,) for example in examples)
        case "attribution":
            return run.examples.attribution
        case _:
            raise ValueError(f"{part} is nothing of examples")


def _chance(record: RunRecord, part: str) -> Value:
    """What a model that knows nothing comes to: the loss in nats, recall among its pairs, the median rank."""
    if part == "loss":
        block = record.final.get("val/block_size")
        return math.log(block) if block else None
    pairs = record.final.get("val/num_pairs")
    if not pairs:
        return None
    return (pairs + 1) / 2 if part == "rank" else min(int(part) / pairs, 1.0)


def _of_report(analysis: Analysis, way: str, args: Sequence[str]) -> Found:  # noqa: C901, PLR0911 (a table)
    evidence = analysis.evidence
    match way, args:
        case "report", ["name"]:
            return Found(evidence.name)
        case "report", ["confidence"]:
            return Found(CONFIDENCE)
        case "runs", [which]:
            return Found(_count(analysis, which))
        case "left_out", [number]:
            return Found(evidence.left_out[int(number)])
        case "findings", [severity]:
            return Found(sum(f.severity == severity for run in evidence.sections for f in analysis.findings(run)))
        case "groups", [metric, which]:
            return Found(len(analysis.groups[metric] if which == "all" else analysis.compared(metric)))
        case "ranking", [metric, number]:
            return Found(analysis.rankings[metric].sentences()[int(number)], _runs_of(analysis, metric))
        case "standing", [metric, number, part]:
            standing = analysis.rankings[metric].standings[int(number)]
            return Found(getattr(standing, part), _runs_of(analysis, metric, standing.name))
        case "difference", [metric, number, part]:
            return _of_difference(analysis, metric, int(number), part)
        case "left_out_of_group", [metric, group, number]:
            return Found(analysis.compared(metric)[int(group)].left_out[int(number)])
        case _:
            raise ValueError(f"no way is called {way} with {len(args)} argument(s)")


def _count(analysis: Analysis, which: str) -> int:
    evidence = analysis.evidence
    match which:
        case "all":
            return len(evidence.runs)
        case "rows":
            return len(evidence.rows)
        case "sections":
            return len(evidence.sections)
        case "without row":
            return len(evidence.runs) - len(evidence.rows)
        case "without section":
            return len(evidence.runs) - len(evidence.sections)
        case "finished":
            return sum(run.record.status == "FINISHED" for run in evidence.runs)
        case _:
            raise ValueError(f"{which} is no count of runs")


def _of_difference(analysis: Analysis, metric: str, number: int, part: str) -> Found:
    difference = analysis.rankings[metric].differences[number]
    place = f"{_runs_of(analysis, metric, difference.a)} against {_runs_of(analysis, metric, difference.b)}"
    interval = difference.interval
    match part.split():
        case ["low"]:
            value: Value = interval[0] if interval else None
        case ["high"]:
            value = interval[1] if interval else None
        case ["sentence"]:
            value = difference.sentence()
        case ["caveat", idx]:
            value = difference.caveats()[int(idx)]
        case ["mean"]:
            value = difference.mean if math.isfinite(difference.mean) else None
        case ["a" | "b" | "num_a" | "num_b" | "verdict" | "more_seeds" | "tells" | "seed_sd" as name]:
            value = getattr(difference, name)
        case _:
            raise ValueError(f"{part} is no part of a difference")
    return Found(value, place)


def _runs_of(analysis: Analysis, metric: str, name: str | None = None) -> str:
    keys_by_name = analysis.keys_by_group_name(metric)
    keys = keys_by_name[name] if name is not None else [key for keys in keys_by_name.values() for key in keys]
    more = f" and {len(keys) - MAX_PLACES} more" if len(keys) > MAX_PLACES else ""
    return f"run {' '.join(keys[:MAX_PLACES])}{more}"
