"""What a report rests on, kept in its `data/` folder: enough to draw it again from the checkout alone.

    write_evidence(folder, evidence)
    read_evidence(folder)  # the same

`runs.json` holds each run's record but its curves; `curves.csv` all curves, a point a line; `RUN/spec.yaml` the
resolved spec; `RUN/examples.json` and `RUN/pictures.png` what captions found.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipexp.errors import ReportError
from clipexp.plots.artifacts import KeptExamples, read_examples, write_examples
from clipexp.track.curves import Curves, Point, Series
from clipexp.track.records import RunRecord

RUNS_FILE, CURVES_FILE, SPEC_FILE = "runs.json", "curves.csv", "spec.yaml"
COLUMNS = ("run_id", "metric", "samples_seen", "epoch", "value", "time_ms")
VERSION = 1


@dataclass(frozen=True)
class RunEvidence:
    """One run of a report."""

    record: RunRecord
    spec_yaml: str
    examples: KeptExamples | None

    @property
    def key(self) -> str:
        """What its files are named by: the run's id, shortened."""
        return self.record.run_id[:8]


@dataclass(frozen=True)
class Evidence:
    """All that a report is drawn from; `name` is the report's."""

    name: str
    runs: tuple[RunEvidence, ...]


def write_evidence(folder: Path, evidence: Evidence) -> None:
    """Write a report's data folder; what is in it of other runs is left to the caller to remove."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = [_without_curves(run.record) for run in evidence.runs]
    content = {"version": VERSION, "name": evidence.name, "runs": runs}
    (folder / RUNS_FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    (folder / CURVES_FILE).write_text(_curves_csv(evidence.runs))
    for run in evidence.runs:
        own = folder / run.key
        own.mkdir(exist_ok=True)
        (own / SPEC_FILE).write_text(run.spec_yaml)
        if run.examples is not None:
            write_examples(own, run.examples)


def read_evidence(folder: Path) -> Evidence:
    """Read a report's data folder. Raises ReportError where it is missing or damaged."""
    try:
        content = json.loads((folder / RUNS_FILE).read_text())
        if content["version"] != VERSION:
            raise ReportError(f"{folder} is of version {content['version']}, this clipexp reads {VERSION}")
        curves_by_run = _read_curves(folder / CURVES_FILE)
        runs = []
        for fields in content["runs"]:
            record = RunRecord(**fields, curves=curves_by_run.get(fields["run_id"][:8], {}))
            own = folder / record.run_id[:8]
            runs.append(RunEvidence(record, (own / SPEC_FILE).read_text(), read_examples(own)))
    except (OSError, ValueError, StopIteration, KeyError, TypeError) as error:
        raise ReportError(f"{folder} is no report's data folder, or damaged ({error})") from error
    return Evidence(content["name"], tuple(runs))


def _without_curves(record: RunRecord) -> dict[str, Any]:
    fields = dataclasses.asdict(dataclasses.replace(record, curves={}))
    del fields["curves"]
    return fields


def _curves_csv(runs: Sequence[RunEvidence]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in runs:
        for metric, series in sorted(run.record.curves.items()):
            for point in series:
                writer.writerow(
                    (run.key, metric, point.samples_seen, repr(point.epoch), repr(point.value), point.time_ms)
                )
    return out.getvalue()


def _read_curves(path: Path) -> dict[str, Curves]:
    series_by_metric_by_run: dict[str, dict[str, list[Point]]] = {}
    with path.open(newline="") as file:
        lines = csv.reader(file)
        next(lines)
        for key, metric, samples_seen, epoch, value, time_ms in lines:
            series = series_by_metric_by_run.setdefault(key, {}).setdefault(metric, [])
            series.append(Point(int(samples_seen), float(epoch), float(value), int(time_ms)))
    return {
        key: {metric: Series.of(series) for metric, series in by_metric.items()}
        for key, by_metric in series_by_metric_by_run.items()
    }
