"""The read side: runs as frozen records, found by id, by the start of an id, or by name.

record = read_run(client, find_run(client, "quickstart"))
record.curves["val/loss"][-1].value
read_runs(client, list_runs(client))  # all of them, with few queries
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipexp.errors import RunError, TrackingError
from clipexp.track.bulk import Told, as_recorded, curves_from_database, read_journal, read_journals
from clipexp.track.curves import Curves, Point, Series
from clipexp.track.header import RunHeader, headers
from clipexp.track.home import EXPERIMENT, home
from clipexp.track.journal import end_reason
from clipexp.track.mlflow_store import SQLITE, first_line
from clipexp.track.summary import read_summary

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TAG = "clipexp."
NOTES_TAG = f"{TAG}notes"
SPEC_HASH_TAG = f"{TAG}spec_hash"
STORE_CHECKSUM_TAG = f"{TAG}store_checksum"
TOTAL_SAMPLES_TAG = f"{TAG}total_samples"
REASON_TAG = f"{TAG}stop_reason"
IMPORTED_FROM_TAG = f"{TAG}imported_from"
RESUMED_ON_TAG = f"{TAG}resumed_on"  # JSON: device, git commit and torch of the attempt that goes on
REPEAT_TAG = f"{TAG}repeat_of"
GROUP_TAG = f"{TAG}group"  # the same for all seeds of a spec
CONTINUES_TAG = f"{TAG}continues"  # the run from whose checkpoint it went on
STUDY_TAG = f"{TAG}study"  # the study's name
TRIAL_TAG = f"{TAG}trial"  # the trial's number in it
ROLE_TAG = f"{TAG}role"  # trial, confirm or extend
FINDING_TAG = f"{TAG}finding."  # and the rule's id: what was found, in a sentence
PARENT_TAG = "mlflow.parentRunId"  # the study's own run; MLflow shows the others below it
# Those that say for whom, where and from what the last attempt went on.
RENEWED_TAGS = frozenset({RESUMED_ON_TAG, CONTINUES_TAG, STUDY_TAG, TRIAL_TAG, ROLE_TAG, PARENT_TAG})
PAGE = 1000


@dataclass(frozen=True)
class Note:
    """What a person wrote about a run, and when (ISO 8601, UTC)."""

    time: str
    text: str


@dataclass(frozen=True)
class RunRecord:
    """A run as it was recorded. `final` holds each metric's last value, `curves` all of them where they were read.

    study, trial: whose it is, and its number there; None of a run on its own.
    """

    run_id: str
    name: str
    spec_hash: str
    status: str
    seed: int
    git: Mapping[str, str]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    curves: Curves
    final: Mapping[str, float]
    started_ms: int
    duration_s: float | None
    study: str | None = None
    trial: int | None = None

    @property
    def is_study(self) -> bool:
        """Whether it is a study's own run, above those of its trials."""
        return self.study is not None and not self.spec_hash

    @property
    def notes(self) -> tuple[Note, ...]:
        """People's notes, oldest first."""
        return tuple(Note(**note) for note in json.loads(self.tags.get(NOTES_TAG, "[]")))

    def listing(self) -> dict[str, Any]:
        """The object of `clipexp runs --json`."""
        return {
            "run_id": self.run_id,
            "name": self.name,
            "spec_hash": self.spec_hash,
            "status": self.status,
            "params": dict(self.params),
            "metrics": dict(self.final),
        }


@dataclass(frozen=True)
class FullRun:
    """A run with its curves, and what else its journal tells (nothing, where that does not lie here)."""

    record: RunRecord
    told: Told


def list_runs(client: "MlflowClient", *, deleted: bool = False) -> list[RunRecord]:
    """All runs, or all that a person deleted in MLflow, newest first, without curves."""
    from mlflow.entities import ViewType

    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    order = ["attributes.start_time DESC"]
    found: list[RunRecord] = []
    token = None
    while True:
        page = client.search_runs([experiment.experiment_id], "", view, PAGE, order, token)
        found += [_record(run) for run in page]
        if not (token := page.token):
            return found


def find_run(client: "MlflowClient", reference: str) -> str:
    """The id of the run that is meant, by the same words as `find_header` takes, among all that MLflow knows.

    Of several with one name it is the newest that finished, or the newest at all.

    Raises:
        TrackingError: there is none, it was deleted, or more than one begins so.
    """
    return pick_run(client, list_runs(client), reference).run_id


def pick_run(client: "MlflowClient", runs: Sequence[RunRecord], reference: str) -> RunRecord:
    """As `find_run`, among runs that were listed before. Raises TrackingError."""
    found = _meant(runs, reference)
    if len(found) == 1:
        return found[0]
    if found:
        raise TrackingError(f"{len(found)} runs begin with {reference}; give more of the id")
    if gone := _meant(list_runs(client, deleted=True), reference):
        run_id = gone[0].run_id
        raise TrackingError(
            f"run {run_id} ({gone[0].name}) was deleted in MLflow; bring it back with `mlflow runs restore --run-id"
            f" {run_id}` (and MLFLOW_TRACKING_URI={client.tracking_uri})"
        )
    known = ", ".join(dict.fromkeys(run.name for run in runs[:20])) or "none yet"
    raise TrackingError(f"there is no run {reference}; runs here: {known} (see `clipexp runs`)")


def _meant(runs: Sequence[RunRecord], reference: str) -> list[RunRecord]:
    """The run that a reference means; several where more than one id begins so, none where nothing is meant."""
    by_id = [run for run in runs if any(i.startswith(reference) for i in (run.run_id, _old_id(run.tags)))]
    taken_in = {_old_id(run.tags) for run in by_id}
    by_id = [run for run in by_id if run.run_id == reference] or [run for run in by_id if run.run_id not in taken_in]
    if len(by_id) == 1:
        return by_id
    named = [run for run in runs if reference in (run.name, run.spec_hash)]
    if named:
        return [next((run for run in named if run.status == "FINISHED"), named[0])]
    return by_id


def find_header(reference: str) -> RunHeader:
    """The header that is meant: by id or its first characters, also of the run it was imported from, name or spec hash.

    Of several with one name it is the newest that finished, or the newest at all.

    Raises:
        RunError: no journal here is meant, or more than one begins so.
    """
    found = list(headers())
    for header in found:
        if header.run_id == reference:
            return header
    by_id = [h for h in found if any(i.startswith(reference) for i in (h.run_id, _old_id(h.tags)))]
    taken_in = {_old_id(header.tags) for header in by_id}
    by_id = [header for header in by_id if header.run_id not in taken_in]
    if len(by_id) == 1:
        return by_id[0]
    named = [header for header in found if reference in (header.name, header.spec_hash)]
    if named:
        return next((header for header in named if end_reason(header.folder) == "finished"), named[0])
    if by_id:
        raise RunError(f"{len(by_id)} runs begin with {reference}; give more of the id")
    known = ", ".join(dict.fromkeys(header.name for header in found[:20])) or "none yet"
    raise RunError(f"there is no journal of a run {reference} in {home().journals}; runs here: {known}")


def read_run(client: "MlflowClient", run_id: str) -> RunRecord:
    """A run with its curves: from the journal where it lies here, else from MLflow."""
    from mlflow.exceptions import MlflowException

    try:
        record = _record(client.get_run(run_id))
        told = read_journal(home().journals / run_id)
        return with_curves(record, told.curves if told and told.curves else _curves_from_mlflow(client, record))
    except MlflowException as error:
        raise TrackingError(f"run {run_id} can't be read from MLflow ({first_line(error)})") from error


def read_runs(client: "MlflowClient", records: Sequence[RunRecord]) -> list[FullRun]:
    """Listed runs with their curves, in bulk: from the journals that lie here, else from MLflow.

    Raises:
        TrackingError: MLflow can't be read.
    """
    from mlflow.exceptions import MlflowException

    told_by_run = read_journals(record.run_id for record in records)
    without = [r for r in records if r.run_id not in told_by_run or not told_by_run[r.run_id].curves]
    try:
        elsewhere = curves_in_mlflow(client, without)
    except MlflowException as error:
        raise TrackingError(f"curves can't be read from MLflow ({first_line(error)})") from error
    full = []
    for record in records:
        told = told_by_run.get(record.run_id, Told({}))
        if record.run_id in elsewhere:
            curves = elsewhere[record.run_id]
            last = max((int(series.samples_seen[-1]) for series in curves.values()), default=told.samples_seen)
            told = dataclasses.replace(told, curves=curves, samples_seen=last)
        full.append(FullRun(with_curves(record, told.curves), told))
    return full


def curves_in_mlflow(client: "MlflowClient", records: Sequence[RunRecord]) -> dict[str, Curves]:
    """Curves by run id as MLflow has them: with one query where it is a local database. Raises what MLflow raises."""
    if client.tracking_uri.startswith(SQLITE) and records:
        database = Path(client.tracking_uri.removeprefix(SQLITE))
        found = curves_from_database(database, {record.run_id: _num_train(record) for record in records})
        return {record.run_id: found.get(record.run_id, {}) for record in records}
    return {record.run_id: _curves_from_mlflow(client, record) for record in records}


def with_curves(record: RunRecord, curves: Curves) -> RunRecord:
    """The record with curves, whose ends are its final values."""
    final = {name: float(curves[name].values[-1]) for name in sorted(curves)} or record.final
    return dataclasses.replace(record, curves=curves, final=final)


def _old_id(tags: Mapping[str, str]) -> str:
    """The id under which a run was carried out elsewhere, or what begins no id."""
    return tags.get(IMPORTED_FROM_TAG, "-")


def add_note(client: "MlflowClient", run_id: str, note: Note) -> None:
    """Keep a person's note with a run. Raises TrackingError if the run's notes would be longer than MLflow takes."""
    notes = [*_record(client.get_run(run_id)).notes, note]
    content = json.dumps([vars(n) for n in notes], ensure_ascii=False)
    limit = 8000
    if len(content) > limit:
        raise TrackingError(
            f"the notes of one run may take {limit:,} characters, these take {len(content):,}; shorten it"
        )
    client.set_tag(run_id, NOTES_TAG, content)


def _record(run: "Run") -> RunRecord:
    info, tags = run.info, dict(run.data.tags)
    ended = info.end_time
    summary = read_summary(home().journals / info.run_id) if ended else None
    trial = tags.get(TRIAL_TAG, "")  # a tag, so people can write anything there
    return RunRecord(
        run_id=info.run_id,
        name=info.run_name or info.run_id,
        spec_hash=tags.get(SPEC_HASH_TAG, ""),
        status=info.status,
        seed=int(run.data.params.get("seed", 0)),
        git={key: tags[f"{TAG}git_{key}"] for key in ("commit", "dirty") if f"{TAG}git_{key}" in tags},
        params=dict(run.data.params),
        tags=tags,
        curves={},
        final=dict(sorted(run.data.metrics.items())),
        started_ms=info.start_time,
        duration_s=summary.duration_s if summary else ((ended - info.start_time) / 1000 if ended else None),
        study=tags.get(STUDY_TAG),
        trial=int(trial) if trial.isdecimal() else None,
    )


def _num_train(record: RunRecord) -> float:
    return float(record.tags.get(f"{TAG}num_train_pairs", "nan"))


def _curves_from_mlflow(client: "MlflowClient", record: RunRecord) -> Curves:
    """Curves by MLflow's client; epochs follow from the number of training pairs. A point logged twice counts once."""
    num_train = _num_train(record)
    found = {}
    for name in record.final:
        history = client.get_metric_history(record.run_id, name)
        values = np.array([point.value for point in history], np.float64)
        values = as_recorded(values, np.isnan(values))
        found[name] = Series.of(
            Point(point.step, point.step / num_train, value, point.timestamp)
            for point, value in zip(history, values.tolist(), strict=True)
        )
    return found


def headline_metrics(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """The validation losses that some of these runs have: `val/loss`, or `val/loss_block_N` of a smaller set."""
    names = {name for record in records for name in record.final if name.startswith("val/loss")}
    return tuple(sorted(names))
