"""The read side: runs as frozen records, found by id, by the start of an id, or by name.

record = read_run(client, find_run(client, "quickstart"))
record.curves["val/loss"][-1].value
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipexp.errors import RunError, TrackingError
from clipexp.track.curves import Curves, Point, Series
from clipexp.track.header import RunHeader, headers
from clipexp.track.home import EXPERIMENT, home
from clipexp.track.journal import end_reason, points
from clipexp.track.mlflow_store import first_line
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


def list_runs(client: "MlflowClient") -> list[RunRecord]:
    """All runs, newest first, without curves."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    found: list[RunRecord] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id], order_by=["attributes.start_time DESC"], max_results=PAGE, page_token=token
        )
        found += [_record(run, {}) for run in page]
        if not (token := page.token):
            return found


def find_run(client: "MlflowClient", reference: str) -> str:
    """The id of the run that is meant, by the same words as `find_header` takes, among all that MLflow knows.

    Of several with one name it is the newest that finished, or the newest at all.

    Raises:
        TrackingError: there is none, or more than one begins so.
    """
    runs = list_runs(client)
    by_id = [run for run in runs if any(i.startswith(reference) for i in (run.run_id, _old_id(run.tags)))]
    taken_in = {_old_id(run.tags) for run in by_id}
    by_id = [run for run in by_id if run.run_id == reference] or [run for run in by_id if run.run_id not in taken_in]
    if len(by_id) == 1:
        return by_id[0].run_id
    named = [run for run in runs if reference in (run.name, run.spec_hash)]
    if named:
        return next((run for run in named if run.status == "FINISHED"), named[0]).run_id
    if by_id:
        raise TrackingError(f"{len(by_id)} runs begin with {reference}; give more of the id")
    known = ", ".join(dict.fromkeys(run.name for run in runs[:20])) or "none yet"
    raise TrackingError(f"there is no run {reference}; runs here: {known} (see `clipexp runs`)")


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
        run = client.get_run(run_id)
        return _record(run, points(home().journals / run_id) or _curves_from_mlflow(client, run))
    except MlflowException as error:
        raise TrackingError(f"run {run_id} can't be read from MLflow ({first_line(error)})") from error


def _old_id(tags: Mapping[str, str]) -> str:
    """The id under which a run was carried out elsewhere, or what begins no id."""
    return tags.get(IMPORTED_FROM_TAG, "-")


def add_note(client: "MlflowClient", run_id: str, note: Note) -> None:
    """Keep a person's note with a run. Raises TrackingError if the run's notes would be longer than MLflow takes."""
    notes = [*_record(client.get_run(run_id), {}).notes, note]
    content = json.dumps([vars(n) for n in notes], ensure_ascii=False)
    limit = 8000
    if len(content) > limit:
        raise TrackingError(
            f"the notes of one run may take {limit:,} characters, these take {len(content):,}; shorten it"
        )
    client.set_tag(run_id, NOTES_TAG, content)


def _record(run: "Run", curves: Curves) -> RunRecord:
    info, tags = run.info, dict(run.data.tags)
    final = {name: series[-1].value for name, series in curves.items()} or dict(run.data.metrics)
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
        curves=curves,
        final=dict(sorted(final.items())),
        started_ms=info.start_time,
        duration_s=summary.duration_s if summary else ((ended - info.start_time) / 1000 if ended else None),
        study=tags.get(STUDY_TAG),
        trial=int(trial) if trial.isdecimal() else None,
    )


def _curves_from_mlflow(client: "MlflowClient", run: "Run") -> Curves:
    """Curves without a journal; epochs follow from the number of training pairs. A point logged twice counts once."""
    num_train = float(run.data.tags.get(f"{TAG}num_train_pairs", "nan"))
    return {
        name: Series.of(
            Point(p.step, p.step / num_train, p.value, p.timestamp)
            for p in client.get_metric_history(run.info.run_id, name)
        )
        for name in run.data.metrics
    }


def headline_metrics(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """The validation losses that some of these runs have: `val/loss`, or `val/loss_block_N` of a smaller set."""
    names = {name for record in records for name in record.final if name.startswith("val/loss")}
    return tuple(sorted(names))
