"""Curves and scores of many runs as Parquet: the same bytes with the same versions, read without an object a point.

content = curves_to_bytes({"1a2b3c4d": record.curves}, {"1a2b3c4d": 40_370})
curves_from_bytes(content, {"1a2b3c4d": 40_370})["1a2b3c4d"]["val/loss"].values

A row a point: run, metric, samples_seen, value, in this order. An epoch is samples_seen / num_train_pairs, as training
counts it; it has a column of its own only where some point's is another. Time stamps are left out: no number of a
report rests on them.
"""

import hashlib
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipexp.track.curves import Curves, Series

if TYPE_CHECKING:
    import pyarrow as pa

Strips = Mapping[str, tuple[float, ...]]


def curves_to_bytes(curves_by_run: Mapping[str, Curves], num_train_by_run: Mapping[str, float]) -> bytes:
    """A Parquet file of all curves. num_train_by_run: training pairs by run; NaN where unknown."""
    import pyarrow as pa

    runs, metrics = list(curves_by_run), sorted({metric for curves in curves_by_run.values() for metric in curves})
    number_by_metric = {metric: number for number, metric in enumerate(metrics)}
    parts = [
        (run_idx, number_by_metric[metric], curves_by_run[run][metric], num_train_by_run[run])
        for run_idx, run in enumerate(runs)
        for metric in sorted(curves_by_run[run])
    ]
    sizes = [len(series) for _, _, series, _ in parts]
    run_code = np.repeat(np.array([part[0] for part in parts], np.int32), sizes)
    metric_code = np.repeat(np.array([part[1] for part in parts], np.int32), sizes)
    columns = {
        "run": pa.DictionaryArray.from_arrays(pa.array(run_code), pa.array(runs, pa.string())),
        "metric": pa.DictionaryArray.from_arrays(pa.array(metric_code), pa.array(metrics, pa.string())),
        "samples_seen": pa.array(_joined([series.samples_seen for _, _, series, _ in parts], np.int64)),
        "value": pa.array(_joined([series.values for _, _, series, _ in parts], np.float64)),
    }
    epoch = _joined([series.epoch for _, _, series, _ in parts], np.float64)
    follows = columns["samples_seen"].to_numpy() / _joined(
        [np.full(len(series), num_train) for _, _, series, num_train in parts], np.float64
    )
    if not np.array_equal(epoch, follows, equal_nan=True):
        columns["epoch"] = pa.array(epoch)
    return _written(columns, {"samples_seen": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"})


def curves_from_bytes(content: bytes, num_train_by_run: Mapping[str, float]) -> dict[str, Curves]:
    """The inverse. Raises ValueError (pyarrow's) where it is no such file."""
    table = _table(content)
    run_code, run_names = _codes(table, "run")
    metric_code, metric_names = _codes(table, "metric")
    samples, values = (table[name].to_numpy() for name in ("samples_seen", "value"))
    epochs = table["epoch"].to_numpy() if "epoch" in table.column_names else None
    times = np.zeros(len(samples), np.int64)
    edges = np.flatnonzero((np.diff(run_code) != 0) | (np.diff(metric_code) != 0)) + 1
    found: dict[str, dict[str, Series]] = {}
    for start, end in zip([0, *edges.tolist()], [*edges.tolist(), len(samples)], strict=True):
        if start == end:
            continue
        run, metric = run_names[run_code[start]], metric_names[metric_code[start]]
        own = samples[start:end]
        epoch = own / num_train_by_run[run] if epochs is None else epochs[start:end]
        found.setdefault(run, {})[metric] = Series(own, epoch, values[start:end], times[start:end])
    return dict(found)


def strips_to_bytes(strips_by_run: Mapping[str, tuple[int, Strips]]) -> bytes:
    """A Parquet file of strips: a row a run and metric, with the samples seen there and the values."""
    import pyarrow as pa

    rows = [
        (run, metric, at, values)
        for run, (at, strips) in strips_by_run.items()
        for metric, values in sorted(strips.items())
    ]
    types = {"run": pa.string(), "metric": pa.string(), "samples_seen": pa.int64(), "values": pa.list_(pa.float64())}
    columns = {name: pa.array([row[place] for row in rows], kind) for place, (name, kind) in enumerate(types.items())}
    return _written(columns, {})


def strips_from_bytes(content: bytes) -> dict[str, tuple[int, Strips]]:
    """The inverse. Raises ValueError (pyarrow's) where it is no such file."""
    found: dict[str, tuple[int, dict[str, tuple[float, ...]]]] = {}
    for row in _table(content).to_pylist():
        found.setdefault(row["run"], (row["samples_seen"], {}))[1][row["metric"]] = tuple(row["values"])
    return dict(found)


def digest(curves_by_run: Mapping[str, Curves]) -> str:
    """16 hex digits of what curves say, whatever file they stand in."""
    seen = hashlib.sha256()
    for run, curves in curves_by_run.items():
        for metric in sorted(curves):
            series = curves[metric]
            seen.update(f"{run} {metric} {len(series)}\n".encode())
            for column in (series.samples_seen, series.epoch, series.values):
                seen.update(np.ascontiguousarray(column).tobytes())
    return seen.hexdigest()[:16]


def _joined(parts: list[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _written(columns: Mapping[str, "pa.Array"], encodings: Mapping[str, str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(
        pa.table(dict(columns)),
        out,
        compression="zstd",
        use_dictionary=[name for name in ("run", "metric") if name in columns],
        column_encoding=dict(encodings) or None,
    )
    return out.getvalue()


def _table(content: bytes) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(content))


def _codes(table: "pa.Table", name: str) -> tuple[NDArray[np.int64], list[str]]:
    column = table[name].combine_chunks()
    if not hasattr(column, "indices"):
        column = column.dictionary_encode()
    return column.indices.to_numpy().astype(np.int64), column.dictionary.to_pylist()
