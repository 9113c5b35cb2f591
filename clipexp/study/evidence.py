"""What a study's report rests on, kept in its `data/` folder: enough to draw it again from the checkout alone.

    evidence = gather(spec, base, study.trials, confirmations, totals, making)
    files = evidence_files(evidence)   # {"study.json": b"...", "curves.csv": b"...", "trials.csv": b"..."}
    read_evidence(folder)              # the same, from a folder that has them

`study.json` holds the study, its trials and its confirmation runs; `curves.csv` the objective of each trial over
samples seen, a point a line. `trials.csv`, for people's spreadsheets, says of all trials what `study.json` says.
"""

import csv
import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from clipexp.errors import ReportError
from clipexp.reporting.evidence import DamagedDataError
from clipexp.spec.run import RunSpec
from clipexp.spec.study import StudySpec, Value

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STUDY_FILE, CURVES_FILE, TABLE_FILE = "study.json", "curves.csv", "trials.csv"
VERSION = 2  # 2: drawn_with came
State = Literal["finished", "pruned", "infeasible", "failed", "unfinished"]
FACTS = ("number", "state", "value", "samples_seen", "duration_s", "baseline", "reused", "seed", "reason")
IDS = ("run_id", "spec_hash")


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    values: what each searched path was set to. value: the objective, of finished ones alone. curve: the objective over
    samples seen. seed: of its run; None where it is the base's. reused: another run's result stands for its own.
    reason: why it is infeasible or failed.
    """

    number: int
    values: Mapping[str, Value]
    state: State
    value: float | None
    curve: tuple[tuple[int, float], ...] = ()
    samples_seen: int = 0
    duration_s: float = 0.0
    run_id: str = ""
    spec_hash: str = ""
    baseline: str | None = None
    reused: bool = False
    reason: str = ""
    seed: int | None = None

    @property
    def label(self) -> str:
        """What people call it: its number, or the baseline's name."""
        return self.baseline or str(self.number)

    @property
    def num_samples(self) -> int:
        """Samples behind its value, also where those were seen in the run that it reuses."""
        return self.curve[-1][0] if self.reused and self.curve else self.samples_seen


@dataclass(frozen=True)
class ConfirmRow:
    """A run of the best settings (`name` is "best") or of a baseline under one seed.

    value: the objective; NaN where it came to none. final: its last metrics.
    """

    name: str
    seed: int
    value: float
    run_id: str
    spec_hash: str
    final: Mapping[str, float]


@dataclass(frozen=True)
class Totals:
    """What the study took, confirmation included; `device`: where it ran."""

    num_samples: int
    compute_hours: float
    wall_hours: float
    device: str


@dataclass(frozen=True)
class Making:
    """How the study came about.

    command: the one that wrote the report. made_at: a date, or date and time. versions: by package. extended_from: the
    study that it goes on from. attribution: whom the pictures are credited to.
    """

    command: str
    made_at: str
    git_commit: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    parent_run_id: str = ""
    extended_from: str = ""
    attribution: str = ""


@dataclass(frozen=True)
class StudyEvidence:
    """All that a study's report is drawn from.

    study, base: a StudySpec and the RunSpec that trials amend, as plain data. best_spec: the best trial's RunSpec, as
    its run recorded it; without it the base with the best values laid over it stands in. drawn_with: versions of what
    drew the report.
    """

    study: Mapping[str, Any]
    base: Mapping[str, Any]
    trials: tuple[TrialRow, ...]
    confirmations: tuple[ConfirmRow, ...]
    totals: Totals
    making: Making
    best_spec: Mapping[str, Any] | None = None
    drawn_with: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @cached_property
    def digests(self) -> dict[str, str]:
        """16 hex digits of what each part of the data says, but for what drew it."""
        content = evidence_files(dataclasses.replace(self, drawn_with={}))
        return {name: hashlib.sha256(content[name]).hexdigest()[:16] for name in (STUDY_FILE, CURVES_FILE)}

    @cached_property
    def spec(self) -> StudySpec:
        """The study's spec, validated."""
        return StudySpec.model_validate(dict(self.study))

    @property
    def name(self) -> str:
        """The study's, and its report's."""
        return self.spec.name

    @property
    def is_minimized(self) -> bool:
        """Whether lower is better."""
        return self.spec.objective.direction == "minimize"

    def columns(self) -> dict[str, str]:
        """What each searched path is called in tables and figures: its last word, or all where two share that."""
        last = [path.rpartition(".")[2] for path in self.spec.search]
        return {
            path: word if last.count(word) == 1 else path for path, word in zip(self.spec.search, last, strict=True)
        }

    def with_best(self, spec: Mapping[str, Any]) -> Self:
        """The same with the best trial's spec, as its run recorded it."""
        return dataclasses.replace(self, best_spec=spec)


def gather(
    spec: StudySpec,
    base: RunSpec,
    trials: "Sequence[FrozenTrial]",
    confirmations: Sequence[ConfirmRow],
    totals: Totals,
    making: Making,
) -> StudyEvidence:
    """The evidence on a study from the things at hand; `base` is the experiment that trials amend, resolved."""
    return StudyEvidence(
        study=spec.model_dump(mode="json"),
        base=base.model_dump(mode="json"),
        trials=tuple(trial_rows_from_optuna(trials)),
        confirmations=tuple(confirmations),
        totals=totals,
        making=making,
    )


def trial_rows_from_optuna(trials: "Sequence[FrozenTrial]") -> list[TrialRow]:
    """Rows from Optuna's trials and the user attributes that the driver keeps with them.

    `values`, `spec_hash`, `run_id`, `samples_seen`, `duration_s`, and where they apply `seed`, `baseline`,
    `reused_from`, and the reasons `infeasible` and `failed`. Intermediate values go by samples seen.
    """
    return [_row(trial) for trial in sorted(trials, key=lambda trial: trial.number)]


def _row(trial: "FrozenTrial") -> TrialRow:
    attrs = trial.user_attrs
    state = _state(trial)
    curve = tuple(sorted(trial.intermediate_values.items()))
    is_finite = trial.values is not None and math.isfinite(trial.values[0])
    return TrialRow(
        number=trial.number,
        values=dict(attrs.get("values", {})),
        state=state,
        value=float(trial.values[0]) if state == "finished" and is_finite else None,
        curve=curve,
        samples_seen=int(attrs.get("samples_seen", curve[-1][0] if curve else 0)),
        duration_s=float(attrs.get("duration_s", 0.0)),
        run_id=str(attrs.get("run_id") or ""),
        spec_hash=str(attrs.get("spec_hash") or ""),
        baseline=attrs.get("baseline") or None,
        reused=attrs.get("reused_from") is not None,
        reason=str(attrs.get("infeasible") or attrs.get("failed") or ""),
        seed=attrs.get("seed"),
    )


def _state(trial: "FrozenTrial") -> State:
    from optuna.trial import TrialState

    if not trial.state.is_finished():
        return "unfinished"
    if "infeasible" in trial.user_attrs:
        return "infeasible"
    if trial.state == TrialState.COMPLETE:
        return "finished"
    return "pruned" if trial.state == TrialState.PRUNED else "failed"


def is_study_report(folder: Path) -> bool:
    """Whether a folder below reports/ holds a study's report."""
    return (folder / "data" / STUDY_FILE).is_file()


def evidence_files(evidence: StudyEvidence) -> dict[str, bytes]:
    """The content of a data folder by the files' names; the same evidence gives the same bytes."""
    content = {
        "version": VERSION,
        "drawn_with": dict(evidence.drawn_with),
        "study": dict(evidence.study),
        "base": dict(evidence.base),
        "best_spec": evidence.best_spec,
        "totals": dataclasses.asdict(evidence.totals),
        "making": dataclasses.asdict(evidence.making),
        "trials": [_without_curve(trial) for trial in evidence.trials],
        "confirmations": [_without_nan(run) for run in evidence.confirmations],
    }
    curves = ((trial.number, samples, repr(value)) for trial in evidence.trials for samples, value in trial.curve)
    return {
        STUDY_FILE: (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode(),
        CURVES_FILE: _csv(("trial", "samples_seen", "value"), curves).encode(),
        TABLE_FILE: _table(evidence).encode(),
    }


def read_evidence(folder: Path) -> StudyEvidence:
    """Read a report's data folder.

    Raises:
        DamagedDataError: it is missing or damaged.
        ReportError: it is of another version.
    """
    try:
        content = json.loads((folder / STUDY_FILE).read_text())
        if content["version"] != VERSION:
            raise ReportError(
                f"{folder} is of version {content['version']}, this clipexp reads {VERSION}; write it again by the"
                " study's own command, clipexp sweep studies/NAME.yaml"
            )
        curves = _read_curves(folder / CURVES_FILE)
        evidence = StudyEvidence(
            study=content["study"],
            base=content["base"],
            trials=tuple(TrialRow(**fields, curve=curves.get(fields["number"], ())) for fields in content["trials"]),
            confirmations=tuple(_confirm_row(fields) for fields in content["confirmations"]),
            totals=Totals(**content["totals"]),
            making=Making(**content["making"]),
            best_spec=content["best_spec"],
            drawn_with=content["drawn_with"],
        )
        evidence.spec  # noqa: B018 (validates)
    except (OSError, ValueError, StopIteration, KeyError, TypeError, AttributeError) as error:
        raise DamagedDataError(f"{folder} is no study report's data folder, or damaged ({error})") from error
    return evidence


def _without_nan(run: ConfirmRow) -> dict[str, Any]:
    """JSON has no NaN."""
    return dataclasses.asdict(run) | {"value": run.value if math.isfinite(run.value) else None}


def _confirm_row(fields: Mapping[str, Any]) -> ConfirmRow:
    value = fields["value"]
    return ConfirmRow(**{**fields, "value": math.nan if value is None else value})


def _without_curve(trial: TrialRow) -> dict[str, Any]:
    fields = dataclasses.asdict(trial)
    del fields["curve"]
    return fields


def _table(evidence: StudyEvidence) -> str:
    paths = list(evidence.spec.search)
    lines = (
        [_cell(getattr(trial, fact)) for fact in FACTS]
        + [_cell(trial.values.get(path)) for path in paths]
        + [getattr(trial, key) for key in IDS]
        for trial in evidence.trials
    )
    return _csv((*FACTS, *paths, *IDS), lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _csv(header: Sequence[str], lines: Any) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return out.getvalue()


def _read_curves(path: Path) -> dict[int, tuple[tuple[int, float], ...]]:
    points_by_trial: dict[int, list[tuple[int, float]]] = {}
    with path.open(newline="") as file:
        lines = csv.reader(file)
        next(lines)
        for trial, samples, value in lines:
            points_by_trial.setdefault(int(trial), []).append((int(samples), float(value)))
    return {trial: tuple(points) for trial, points in points_by_trial.items()}
