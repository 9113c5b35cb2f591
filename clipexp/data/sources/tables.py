"""Tables of captions: CSV, TSV, JSONL and Parquet, read a row after another.

for row in rows(Path("photos/captions.csv"), start=0, stop=4096):
    ...  # {"file_name": "0.jpg", "caption": "a cat"}, or the reason why a row can't be read
"""

import csv
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from clipexp.errors import SourceError

Row = dict[str, Any]
DELIMITERS = {".csv": ",", ".tsv": "\t"}
KINDS = (*DELIMITERS, ".jsonl", ".parquet")
NUM_PROBED_ROWS = 100  # of a JSONL file, for the names of its columns
UNREADABLE = "unreadable row"
UNREADABLE_JSON = "unreadable JSON"


def rows(table: Path, start: int, stop: int) -> Iterator[Row | str]:
    """The rows of a range, each by column, or the reason why it can't be read. Raises SourceError for no such table."""
    kind = _kind(table)
    try:
        if kind in DELIMITERS:
            yield from itertools.islice(_delimited_rows(table, DELIMITERS[kind]), start, stop)
        elif kind == ".jsonl":
            yield from itertools.islice(_json_rows(table), start, stop)
        else:
            yield from _parquet_rows(table, start, stop)
    except OSError as error:
        raise SourceError(
            f"{table} can't be read as a table ({error.strerror or error}); see data.source.table"
        ) from error


def count_rows(table: Path) -> int:
    """How many rows a table has, unreadable ones too. Raises SourceError where it can't be read."""
    if _kind(table) == ".parquet":
        return int(_parquet(table).metadata.num_rows)
    return sum(1 for _ in rows(table, 0, 1 << 62))


def require_columns(table: Path, needed: Sequence[str]) -> None:
    """See that a table has some columns. Raises SourceError that names those there."""
    kind = _kind(table)
    if kind == ".parquet":
        there = list(_parquet(table).schema_arrow.names)
    elif kind == ".jsonl":
        found = (row for row in rows(table, 0, NUM_PROBED_ROWS) if isinstance(row, dict))
        there = list(dict.fromkeys(name for row in found for name in row))
    else:
        there = _opened(table, lambda: _header(table, DELIMITERS[kind]))
    if not there:
        raise SourceError(f"{table} can't be read as a table: it has no columns; see data.source.table")
    missing = [name for name in needed if name not in there]
    if missing:
        raise SourceError(
            f"{table} has no column {', '.join(sorted(missing))}, but {', '.join(there)};"
            " set data.source.image_column and data.source.caption_columns"
        )


def _kind(table: Path) -> str:
    kind = table.suffix.lower()
    if kind not in KINDS:
        raise SourceError(f"data.source.table {table.name} is none of {', '.join(KINDS)}; save it as one of them")
    if not table.is_file():
        raise SourceError(f"{table} is no file; data.source.table is a path within data.path")
    return kind


def _opened(table: Path, read: Callable[[], Any]) -> Any:
    import pyarrow as pa

    try:
        return read()
    except (OSError, csv.Error, pa.ArrowException) as error:
        raise SourceError(f"{table} can't be read as a table ({error}); see data.path and data.source.table") from error


def _header(table: Path, delimiter: str) -> list[str]:
    with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        return next(csv.reader(file, delimiter=delimiter), [])


def _delimited_rows(table: Path, delimiter: str) -> Iterator[Row | str]:
    # surrogateescape: a byte that is no UTF-8 spoils its own caption alone, which then is known as no Unicode
    with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        header = next(reader, [])
        while True:
            try:
                fields = next(reader, None)
            except csv.Error:
                yield UNREADABLE
                continue
            if fields is None:
                return
            if len(fields) > len(header):
                yield "row with more fields than columns"
            elif fields:
                yield dict(zip(header, fields, strict=False))


def _json_rows(table: Path) -> Iterator[Row | str]:
    with table.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                yield UNREADABLE_JSON
                continue
            yield row if isinstance(row, dict) else UNREADABLE_JSON


def _parquet(table: Path) -> Any:
    def read() -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetFile(table)

    return _opened(table, read)


def _parquet_rows(table: Path, start: int, stop: int) -> Iterator[Row]:
    file = _parquet(table)
    at = 0
    for number in range(file.num_row_groups):
        num_rows = file.metadata.row_group(number).num_rows
        if at < stop and at + num_rows > start:
            group = _opened(table, lambda number=number: file.read_row_group(number))  # type: ignore[misc]
            for batch in group.slice(max(0, start - at), min(stop, at + num_rows) - max(start, at)).to_batches(1024):
                yield from batch.to_pylist()
        at += num_rows
