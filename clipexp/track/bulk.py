"""Many runs at once: what their journals and MLflow's database hold, without a Python object a point.

    told = read_journals([record.run_id for record in records])  # by run id, of those that have a journal here
    told["1a2b3c4d..."].curves["val/loss"].values

A packed journal is read as arrays; one of a run that goes on, or that did not finish, line by line. Runs that have no
journal here are read from MLflow's SQLite file with few queries for all of them.
"""

import json
import sqlite3
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
from numpy.typing import NDArray

from clipexp.errors import TrackingError
from clipexp.events import EvalEvent, FaultEvent
from clipexp.track import packed
from clipexp.track.curves import Curves, Point, Series
from clipexp.track.home import home
from clipexp.track.journal import EVENTS_FILE, live_records, points

NUM_THREADS = 2  # Parquet is decoded outside Python's lock
RUNS_A_QUERY = 20  # rows of more at once only take memory
LARGEST = sys.float_info.max  # what MLflow's database keeps of an infinite value


@dataclass(frozen=True)
class Told:
    """What a journal tells of a run.

    strips: of the last validation, by metric (see `events.EvalEvent`), and strips_at, the samples seen there. faults:
    what went wrong, as far as no later attempt went over the same place. samples_seen: how far the run came.
    """

    curves: Curves
    strips: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    strips_at: int = 0
    faults: tuple[str, ...] = ()
    samples_seen: int = 0


def read_journals(run_ids: Iterable[str]) -> dict[str, Told]:
    """What the journals here tell of these runs; a run without one, or with an empty one, is not in it."""
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        ids = list(run_ids)
        found = zip(ids, pool.map(lambda run_id: read_journal(home().journals / run_id), ids), strict=True)
        return {run_id: told for run_id, told in found if told is not None}


def read_journal(folder: Path) -> Told | None:
    """What one journal tells; None where there is none, or it has no metric."""
    if not folder.is_dir():
        return None
    if packed.is_there(folder) and not (folder / EVENTS_FILE).exists():
        curves = points(folder)
        if curves:
            return _packed_rest(folder, curves)
    return _from_records(live_records(folder))


def _from_records(records: Sequence[Mapping[str, Any]]) -> Told | None:
    series_by_metric: dict[str, list[Point]] = {}
    strips: Mapping[str, tuple[float, ...]] = {}
    strips_at = samples_seen = 0
    faults = []
    for record in records:
        samples_seen = max(samples_seen, record["samples_seen"])
        for name, value in record.get("metrics", {}).items():
            point = Point(record["samples_seen"], record["epoch"], value, record["time_ms"])
            series_by_metric.setdefault(name, []).append(point)
        if record.get("strips"):
            strips, strips_at = _strips_of(record), record["samples_seen"]
        if record["event"] == FaultEvent.__name__:
            faults.append(record["message"])
    if not records:
        return None
    curves = {name: Series.of(series) for name, series in series_by_metric.items()}
    return Told(curves, strips, strips_at, tuple(faults), samples_seen)


def _packed_rest(folder: Path, curves: Curves) -> Told:
    """A packed journal's strips and faults, by the same rule as its points: a later attempt counts from where it began.

    Its bytes were held to their checksum when the curves were read.
    """
    import pyarrow.parquet as pq

    names = ["event", "attempt", "samples_seen", "rest"]
    kinds = ["Begin", EvalEvent.__name__, FaultEvent.__name__]
    filters = [("event", "in", kinds), ("rest", "!=", "")]
    rows = pq.read_table(folder / packed.PARQUET_FILE, columns=names, filters=filters).to_pylist()
    begins = [row for row in rows if row["event"] == "Begin"]

    def stands(row: Mapping[str, Any]) -> bool:
        later = (begin["samples_seen"] for begin in begins if begin["attempt"] > row["attempt"])
        return all(row["samples_seen"] <= start for start in later)

    strips: Mapping[str, tuple[float, ...]] = {}
    strips_at = 0
    for row in reversed([row for row in rows if row["event"] == EvalEvent.__name__ and stands(row)]):
        if strips := _strips_of(json.loads(row["rest"])):
            strips_at = row["samples_seen"]
            break
    faults = [json.loads(row["rest"])["message"] for row in rows if row["event"] == FaultEvent.__name__ and stands(row)]
    samples_seen = max(int(series.samples_seen[-1]) for series in curves.values())
    return Told(curves, strips, strips_at, tuple(faults), samples_seen)


def _strips_of(record: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    return {metric: tuple(values) for metric, values in record.get("strips", {}).items()}


def curves_from_database(database: Path, num_train_by_run: Mapping[str, float]) -> dict[str, Curves]:
    """Curves of runs from MLflow's SQLite file; of two values at one step the one with the later time stamp counts.

    Args:
        database: the file.
        num_train_by_run: the number of training pairs by run id, from which epochs follow; NaN where unknown.

    Raises:
        TrackingError: it can't be read.
    """
    found: dict[str, Curves] = {}
    ids = list(num_train_by_run)
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            for start in range(0, len(ids), RUNS_A_QUERY):
                part = ids[start : start + RUNS_A_QUERY]
                query = (
                    "select run_uuid, key, step, timestamp, value, is_nan from metrics"  # noqa: S608 (only ? is added)
                    f" where run_uuid in ({', '.join('?' * len(part))})"
                )
                found |= _curves_of_rows(connection.execute(query, part).fetchall(), num_train_by_run)
    except sqlite3.Error as error:
        raise TrackingError(f"{database} can't be read ({error})") from error
    return found


def _curves_of_rows(rows: list[tuple[Any, ...]], num_train_by_run: Mapping[str, float]) -> dict[str, Curves]:
    """Curves from the database's rows, in any order; sorted here, since SQLite would take twice as long."""
    if not rows:
        return {}
    runs, keys, steps, times, values, is_nan = zip(*rows, strict=True)
    run_code, run_names = _codes(runs)
    key_code, key_names = _codes(keys)
    samples, time_ms = np.array(steps, np.int64), np.array(times, np.int64)
    stored = np.array(values, np.float64)
    order = np.lexsort((stored, time_ms, samples, key_code, run_code))  # of one step, the last counts
    run_code, key_code, samples, time_ms = (column[order] for column in (run_code, key_code, samples, time_ms))
    value = as_recorded(stored[order], np.array(is_nan, bool)[order])
    is_new = (np.diff(run_code) != 0) | (np.diff(key_code) != 0)
    kept = np.flatnonzero(np.append(is_new | (np.diff(samples) != 0), True))
    edges = np.flatnonzero(np.append(True, np.diff(run_code[kept]) | np.diff(key_code[kept])))
    found: dict[str, dict[str, Series]] = {}
    for own in np.split(kept, edges[1:]):
        run_id, metric = run_names[run_code[own[0]]], key_names[key_code[own[0]]]
        epoch = samples[own] / num_train_by_run[run_id]
        found.setdefault(run_id, {})[metric] = Series(samples[own], epoch, value[own], time_ms[own])
    return dict(found)


def _codes(names: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    number_by_name = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([number_by_name[name] for name in names], np.int64), list(number_by_name)


def as_recorded(values: NDArray[np.float64], is_nan: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values as a run gave them: MLflow's database keeps NaN as a mark, and the infinite as the largest numbers."""
    values = np.where(is_nan, np.nan, values)
    return np.where(np.abs(values) >= LARGEST, np.copysign(np.inf, values), values)


def artifact_folders(database: Path, run_ids: Sequence[str]) -> dict[str, Path]:
    """Where runs of MLflow's SQLite file keep their artifacts, by run id, of those that keep them in a local folder.

    Raises:
        TrackingError: it can't be read.
    """
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            uri_by_run = dict(connection.execute("select run_uuid, artifact_uri from runs").fetchall())
    except sqlite3.Error as error:
        raise TrackingError(f"{database} can't be read ({error})") from error
    found = {}
    for run_id in run_ids:
        uri = uri_by_run.get(run_id) or ""
        path = Path(url2pathname(urlsplit(uri).path) if uri.startswith("file:") else uri)
        if path.is_absolute() and "://" not in uri.removeprefix("file://"):
            found[run_id] = path
    return found
