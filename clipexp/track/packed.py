"""A finished journal in one Parquet file, read in bulk: a row a metric, or a row an event that has none.

    write(folder, records)
    read(folder)  # the same records by number; None where there is no such file, or it was damaged

Any Parquet reader opens `events.parquet`; `events.sha256` holds it to every byte.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from clipexp.track.curves import Series

PARQUET_FILE, CHECKSUM_FILE = "events.parquet", "events.sha256"
STAMP = ("n", "attempt", "time_ms", "elapsed_s", "event", "samples_seen")
COLUMNS = (*STAMP, "epoch", "metric", "value", "rest")


def is_there(folder: Path) -> bool:
    """Whether a journal was packed, whole or not."""
    return (folder / PARQUET_FILE).exists()


def write(folder: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Pack records; the checksum comes last. Raises OSError where there is no room."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for record in records:
        for row in _rows(record):
            for name in COLUMNS:
                columns[name].append(row.get(name))
    types = dict.fromkeys(STAMP, pa.int64()) | {"elapsed_s": pa.float64(), "event": pa.string()}
    types |= {"epoch": pa.float64(), "metric": pa.string(), "value": pa.float64(), "rest": pa.string()}
    table = pa.table({name: pa.array(columns[name], types[name]) for name in COLUMNS})
    tmp = folder / f"{PARQUET_FILE}.tmp"
    pq.write_table(table, tmp, compression="zstd")
    digest = hashlib.sha256(tmp.read_bytes()).hexdigest()
    tmp.replace(folder / PARQUET_FILE)
    tmp = folder / f"{CHECKSUM_FILE}.tmp"
    tmp.write_text(digest + "\n")
    tmp.replace(folder / CHECKSUM_FILE)


def _rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for what is no metric (examples, paths, reasons), then one a metric."""
    stamp = {name: record[name] for name in STAMP}
    rest = {key: value for key, value in record.items() if key not in (*STAMP, "epoch", "metrics")}
    epoch = record.get("epoch")
    metrics = record.get("metrics", {})
    first = {**stamp, "epoch": epoch, "rest": json.dumps({**rest, "has_metrics": "metrics" in record})}
    return [first, *({**stamp, "epoch": epoch, "metric": m, "value": float(v)} for m, v in metrics.items())]


def read(folder: Path) -> dict[int, dict[str, Any]] | None:
    """Records by number; None where there is no packed journal or it is not as it was written."""
    table = _table(folder)
    if table is None:
        return None
    columns = table.to_pydict()
    found: dict[int, dict[str, Any]] = {}
    for row in zip(*(columns[name] for name in COLUMNS), strict=True):
        fields = dict(zip(COLUMNS, row, strict=True))
        if fields["metric"] is not None:
            found[fields["n"]]["metrics"][fields["metric"]] = fields["value"]
            continue
        rest = json.loads(fields["rest"])
        record = {name: fields[name] for name in STAMP}
        if fields["epoch"] is not None:
            record["epoch"] = fields["epoch"]
        if rest.pop("has_metrics"):
            record["metrics"] = {}
        found[fields["n"]] = record | rest
    return found


def read_series(
    folder: Path, last_by_attempt: Callable[[Mapping[int, int]], Mapping[int, float]]
) -> "dict[str, Series] | None":
    """Values by metric, in order of samples seen, without a Python object a record; None as `read`.

    Args:
        folder: the journal's.
        last_by_attempt: from the place where each attempt began, up to where the records of each stand.

    Returns:
        Series by metric; of two values at one place the later.
    """
    import numpy as np

    from clipexp.track.curves import Series

    table = _table(folder)
    if table is None:
        return None
    n, attempt, time_ms, samples, epoch, value = (
        table[name].to_numpy() for name in ("n", "attempt", "time_ms", "samples_seen", "epoch", "value")
    )
    began = np.flatnonzero(table["event"].to_numpy() == "Begin")
    starts = dict.fromkeys(np.unique(attempt).tolist(), -1) | dict(
        zip(attempt[began].tolist(), samples[began].tolist(), strict=True)
    )
    last = last_by_attempt(starts)
    limit = np.array([last.get(number, np.inf) for number in range(max(starts, default=0) + 1)])
    metric = table["metric"].combine_chunks().dictionary_encode()
    code = metric.indices.to_numpy(zero_copy_only=False)  # NaN where a row is no metric
    rows = np.flatnonzero(np.isfinite(code) & (samples <= limit[attempt]))
    rows = rows[np.lexsort((n[rows], samples[rows], code[rows]))]
    is_last = np.append((np.diff(code[rows]) != 0) | (np.diff(samples[rows]) != 0), True)[: len(rows)]
    rows = rows[is_last]
    found: dict[str, Series] = {}
    for name_idx, name in enumerate(metric.dictionary.to_pylist()):
        own = rows[code[rows] == name_idx]
        if len(own):
            found[name] = Series(samples[own], epoch[own], value[own], time_ms[own])
    return found


def _table(folder: Path) -> "pa.Table | None":
    path = folder / PARQUET_FILE
    try:
        content = path.read_bytes()
        wanted = (folder / CHECKSUM_FILE).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    if hashlib.sha256(content).hexdigest() != wanted:
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(content))
