"""Hold a report's data to what they were read from: MLflow and the journals.

    checked = check_against_database(evidence, client)
    for deviation in checked.deviations: print(deviation)
    for line in checked.unchecked: print(line)       # what is not here to be compared with

The journal is the authority: its points must be the data's, bit for bit. MLflow gets each point's first record, so that
where an attempt repeated steps its values may differ by rounding; and it keeps what a superseded attempt had logged,
which is told apart by the journal.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipexp.errors import TrackingError
from clipexp.reporting.evidence import Evidence, RunEvidence
from clipexp.track.bulk import Told, read_journals
from clipexp.track.curves import Curves, Series
from clipexp.track.home import home
from clipexp.track.journal import records
from clipexp.track.mlflow_store import first_line
from clipexp.track.records import NOTES_TAG, RunRecord, curves_in_mlflow, list_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROUNDING = 1e-6  # of a value: what a resumed attempt may differ by
NO_POINTS = Series((), (), (), ())


@dataclass(frozen=True)
class AgainstDatabase:
    """What a check came to. num_points: compared. unchecked: what could not be compared, and why."""

    num_points: int
    deviations: tuple[str, ...]
    unchecked: tuple[str, ...]


def check_against_database(evidence: Evidence, client: "MlflowClient") -> AgainstDatabase:
    """Compare a report's data with MLflow and the journals. Raises TrackingError where MLflow can't be read."""
    from mlflow.exceptions import MlflowException

    ids = [run.record.run_id for run in evidence.runs]
    told_by_run = read_journals(ids)
    there = {record.run_id: record for record in list_runs(client) if record.run_id in set(ids)}
    deleted = {record.run_id for record in list_runs(client, deleted=True)} if len(there) < len(ids) else set()
    try:
        in_mlflow = curves_in_mlflow(client, list(there.values()))
    except MlflowException as error:
        raise TrackingError(f"curves can't be read from MLflow ({first_line(error)})") from error
    deviations: list[str] = []
    unchecked: list[str] = []
    num_points = 0
    for run in evidence.runs:
        run_id = run.record.run_id
        num_points += sum(len(series) for series in run.record.curves.values())
        told = told_by_run.get(run_id)
        if told is None:
            unchecked.append(f"run {run.key}: its journal is not in {home().journals}")
        else:
            deviations += _against_journal(run, told)
        if run_id in there:
            deviations += _against_record(run, there[run_id])
            deviations += _against_mlflow(run, in_mlflow.get(run_id, {}))
        elif run_id in deleted:
            deviations.append(f"run {run.key}: it was deleted in MLflow")
        else:
            unchecked.append(f"run {run.key}: MLflow does not know it (it may be of another database)")
    return AgainstDatabase(num_points, tuple(deviations), tuple(unchecked))


def _against_journal(run: RunEvidence, told: Told) -> Iterator[str]:
    yield from _compare(run, told.curves, "its journal", rounding=0.0, may_have_more={})
    if tuple(run.faults) != told.faults:
        yield f"run {run.key}: its journal tells of {len(told.faults)} fault(s), the data of {len(run.faults)}"
    if dict(run.strips) != dict(told.strips):
        yield f"run {run.key}: the strips of its last validation are others in its journal"


def _against_record(run: RunEvidence, record: RunRecord) -> Iterator[str]:
    own = run.record
    for what in ("name", "status"):
        if getattr(own, what) != getattr(record, what):
            yield f"run {run.key}: {what} is {getattr(record, what)} in MLflow, {getattr(own, what)} in the data"
    for what, mine, theirs in (("param", own.params, record.params), ("tag", own.tags, record.tags)):
        for key in sorted({*mine, *theirs}):
            if mine.get(key) != theirs.get(key):
                name = "people's notes" if key == NOTES_TAG else f"{what} {key}"
                yield f"run {run.key}: {name}: {_words(theirs.get(key))} in MLflow, {_words(mine.get(key))} in the data"


def _words(value: str | None) -> str:
    if value is None:
        return "nothing"
    return repr(value if len(value) <= 40 else f"{value[:39]}…")


def _against_mlflow(run: RunEvidence, curves: Curves) -> Iterator[str]:
    more = any(
        len(np.setdiff1d(series.samples_seen, run.record.curves.get(metric, NO_POINTS).samples_seen))
        for metric, series in curves.items()
    )
    superseded = _all_places(run.record.run_id) if more else {}
    yield from _compare(run, curves, "MLflow", rounding=ROUNDING, may_have_more=superseded)


def _all_places(run_id: str) -> dict[str, set[int]]:
    """Where the journal has values of each metric, superseded ones too."""
    found: dict[str, set[int]] = {}
    for record in records(home().journals / run_id):
        for metric in record.get("metrics", {}):
            found.setdefault(metric, set()).add(record["samples_seen"])
    return found


def _compare(
    run: RunEvidence, theirs: Curves, where: str, *, rounding: float, may_have_more: Mapping[str, set[int]]
) -> Iterator[str]:
    """The data's curves against another source's: points that differ, that are missing there, that only it has."""
    for metric in sorted({*run.record.curves, *theirs}):
        mine, other = (curves.get(metric, NO_POINTS) for curves in (run.record.curves, theirs))
        common, own_idx, other_idx = np.intersect1d(mine.samples_seen, other.samples_seen, return_indices=True)
        a, b = mine.values[own_idx], other.values[other_idx]
        is_same = (a == b) | (np.isnan(a) & np.isnan(b))
        if rounding:
            is_same |= np.abs(a - b) <= rounding * np.abs(b)
        more = [s for s in np.setdiff1d(other.samples_seen, common).tolist() if s not in may_have_more.get(metric, ())]
        if not is_same.all():
            place = int(np.flatnonzero(~is_same)[0])
            yield (
                f"run {run.key}: {metric} at {_places(common[~is_same].tolist())} is {b[place]:.9g} in {where},"
                f" {a[place]:.9g} in the data"
            )
        if missing := np.setdiff1d(mine.samples_seen, common).tolist():
            yield f"run {run.key}: {metric} at {_places(missing)} is in the data, not in {where}"
        if more:
            yield f"run {run.key}: {metric} at {_places(more)} is in {where}, not in the data"


def _places(samples: Sequence[int]) -> str:
    return f"{samples[0]:,}" + (f" (and {len(samples) - 1:,} more places)" if len(samples) > 1 else "")
