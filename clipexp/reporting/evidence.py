"""What a report rests on, kept in its `data/` folder: enough to draw it again from the checkout alone.

    files = evidence_files(evidence)     # {"runs.json": b"...", "curves.parquet": b"...", "1a2b3c4d/spec.yaml": ...}
    read_evidence(Path("reports/x/data"))  # the same evidence

`runs.json` holds each run's record, what all runs share once; `curves.parquet` all curves (see `columns`);
`scores.parquet` the strips of each run's last validation; `RUN/spec.yaml` the resolved spec of each run that the report
has a row for, `specs.json` those of the rest; `RUN/examples.json` and `RUN/pictures.png` what captions found.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from clipexp.errors import ReportError
from clipexp.plots.artifacts import EXAMPLES_FILE, SHEET_FILE, KeptExamples, read_examples
from clipexp.reporting import columns
from clipexp.track.curves import Curves
from clipexp.track.records import TAG, RunRecord

RUNS_FILE, CURVES_FILE, SCORES_FILE = "runs.json", "curves.parquet", "scores.parquet"
SPEC_FILE, SPECS_FILE, TABLE_FILE = "spec.yaml", "specs.json", "runs.csv"
VERSION = 2
NUM_SECTIONS = 20  # runs that get a section with a figure
NUM_ROWS = 100  # runs that get a row in the report's tables; runs.csv has them all
KEY_DIGITS = 8
SHARED = ("params", "tags", "git")  # of a record, what most runs of a report agree in


class DamagedDataError(ReportError):
    """A report's data folder can't be read."""


@dataclass(frozen=True)
class RunEvidence:
    """One run of a report.

    strips: of its last validation, by metric, at strips_at samples seen. faults: what went wrong. samples_seen: how far
    it came. key_digits: how many digits of its id name its files.
    """

    record: RunRecord
    spec_yaml: str
    examples: KeptExamples | None = None
    strips: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    strips_at: int = 0
    faults: tuple[str, ...] = ()
    samples_seen: int = 0
    key_digits: int = KEY_DIGITS

    @property
    def key(self) -> str:
        """What its files are named by: the run's id, shortened."""
        return self.record.run_id[: self.key_digits]

    @property
    def num_train_pairs(self) -> float:
        """Of an epoch; NaN where it is not known."""
        try:
            return float(self.record.tags.get(f"{TAG}num_train_pairs", "nan"))
        except ValueError:
            return float("nan")


@dataclass(frozen=True)
class Evidence:
    """All that a report is drawn from.

    name: the report's. runs: in the order of its tables. subjects: as one would name them again, ids and groups.
    left_out: runs of the named groups that are not in it, each with the reason. drawn_with: versions of what draws.
    """

    name: str
    runs: tuple[RunEvidence, ...]
    subjects: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    drawn_with: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def by_key(self) -> dict[str, RunEvidence]:
        """The runs by their keys."""
        return {run.key: run for run in self.runs}

    @property
    def rows(self) -> tuple[RunEvidence, ...]:
        """The runs that have a row in tables."""
        return self.runs[:NUM_ROWS]

    @property
    def sections(self) -> tuple[RunEvidence, ...]:
        """The runs that have a section."""
        return self.runs[:NUM_SECTIONS]

    @cached_property
    def digests(self) -> dict[str, str]:
        """16 hex digits of what each part of the data says, however it was written."""
        curves = {run.key: run.record.curves for run in self.runs}
        examples = [(r.key, e.to_json(), hashlib.sha256(e.sheet).hexdigest()) for r in self.runs if (e := r.examples)]
        return {
            "runs": _digest(_runs_json(self, drawn_with=False)),
            "curves": columns.digest(curves),
            "scores": _digest(json.dumps([(r.key, r.strips_at, {**r.strips}) for r in self.runs], sort_keys=True)),
            "specs": _digest(json.dumps([(run.key, run.spec_yaml) for run in self.runs])),
            "examples": _digest(json.dumps(examples)),
        }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def key_digits_of(run_ids: Sequence[str]) -> int:
    """How many digits tell these ids from one another: 8, or more where two begin alike."""
    digits = KEY_DIGITS
    while len({run_id[:digits] for run_id in run_ids}) < len(run_ids) and digits < 32:
        digits += 1
    return digits


def evidence_files(evidence: Evidence) -> dict[str, bytes]:
    """The content of a data folder by path in it; the same evidence gives the same bytes."""
    curves = {run.key: run.record.curves for run in evidence.runs}
    num_train_by_run = {run.key: run.num_train_pairs for run in evidence.runs}
    files = {
        RUNS_FILE: _runs_json(evidence).encode(),
        CURVES_FILE: columns.curves_to_bytes(curves, num_train_by_run),
        SCORES_FILE: columns.strips_to_bytes({run.key: (run.strips_at, run.strips) for run in evidence.runs}),
    }
    rest = {run.key: run.spec_yaml for run in evidence.runs[NUM_ROWS:]}
    if rest:
        files[SPECS_FILE] = (json.dumps(rest, indent=0, ensure_ascii=False) + "\n").encode()
    for run in evidence.rows:
        files[f"{run.key}/{SPEC_FILE}"] = run.spec_yaml.encode()
    for run in evidence.runs:
        if run.examples is not None:
            files[f"{run.key}/{EXAMPLES_FILE}"] = run.examples.to_json().encode()
            files[f"{run.key}/{SHEET_FILE}"] = run.examples.sheet
    return files


def _runs_json(evidence: Evidence, *, drawn_with: bool = True) -> str:
    fields = [_fields(run) for run in evidence.runs]
    shared = {
        part: dict(sorted(set.intersection(*(set(own[part].items()) for own in fields)))) if fields else {}
        for part in SHARED
    }
    for own in fields:
        for part in SHARED:
            own[part] = {key: value for key, value in sorted(own[part].items()) if key not in shared[part]}
    content = {
        "version": VERSION,
        "name": evidence.name,
        "subjects": evidence.subjects,
        "left_out": evidence.left_out,
        "drawn_with": dict(evidence.drawn_with) if drawn_with else {},
        "shared": shared,
        "runs": fields,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _fields(run: RunEvidence) -> dict[str, Any]:
    record = run.record
    fields = {one.name: getattr(record, one.name) for one in dataclasses.fields(record) if one.name != "curves"}
    fields |= {part: dict(fields[part]) for part in SHARED}
    fields["final"] = {} if record.curves else dict(record.final)  # else the curves' ends
    fields |= {"faults": run.faults, "samples_seen": run.samples_seen, "key": run.key}
    return fields


def read_evidence(folder: Path) -> Evidence:
    """Read a report's data folder. Raises ReportError where it is missing, damaged, or of another version."""
    try:
        content = json.loads((folder / RUNS_FILE).read_text())
        if content["version"] != VERSION:
            raise ReportError(
                f"{folder} is of version {content['version']}, this clipexp reads {VERSION}; write the report again"
                " from its runs: clipexp report RUN..."
            )
        curves_by_key = columns.curves_from_bytes(
            (folder / CURVES_FILE).read_bytes(), {own["key"]: _num_train(content, own) for own in content["runs"]}
        )
        strips_by_key = columns.strips_from_bytes((folder / SCORES_FILE).read_bytes())
        specs = json.loads((folder / SPECS_FILE).read_text()) if len(content["runs"]) > NUM_ROWS else {}
        runs = []
        for own in content["runs"]:
            key = own.pop("key")
            spec = specs[key] if key in specs else (folder / key / SPEC_FILE).read_text()
            runs.append(_run(folder, own, content["shared"], spec, (key, curves_by_key, strips_by_key)))
        return Evidence(
            content["name"],
            tuple(runs),
            tuple(content["subjects"]),
            tuple(content["left_out"]),
            content["drawn_with"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedDataError(f"{folder} is no report's data folder, or damaged ({error})") from error


def _num_train(content: Mapping[str, Any], own: Mapping[str, Any]) -> float:
    return float({**content["shared"]["tags"], **own["tags"]}.get(f"{TAG}num_train_pairs", "nan"))


def _run(
    folder: Path,
    own: dict[str, Any],
    shared: Mapping[str, Mapping[str, str]],
    spec_yaml: str,
    found: tuple[str, Mapping[str, Curves], Mapping[str, tuple[int, Mapping[str, tuple[float, ...]]]]],
) -> RunEvidence:
    key, curves_by_key, strips_by_key = found
    faults, samples_seen = tuple(own.pop("faults")), own.pop("samples_seen")
    curves = curves_by_key.get(key, {})
    parts = {part: dict(sorted({**shared[part], **own.pop(part)}.items())) for part in SHARED}
    final = {name: float(curves[name].values[-1]) for name in sorted(curves)} or own["final"]
    record = RunRecord(**{**own, **parts, "curves": curves, "final": final})
    at, strips = strips_by_key.get(key, (0, {}))
    return RunEvidence(
        record, spec_yaml, read_examples(folder / key), strips, at, faults, samples_seen, key_digits=len(key)
    )
