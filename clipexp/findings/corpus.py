"""Folders of labelled curves, by which findings are scored.

for labelled in read_corpus(Path("tests/findings/corpus")):
    find(labelled.curves, labelled.facts)

A folder holds `labels.json`, {"version": 1, "curves": [{"curve": NAME, "expected": [rule ids], ...}]}, and the curves:
all in `curves.parquet` (columns curve, metric, samples_seen, value), or each in `NAME.csv` (metric, samples_seen,
value). Of two values at one place the later counts; values may be NaN or infinite.
"""

import csv
import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipexp.errors import ReportError
from clipexp.findings.finding import RunFacts
from clipexp.track.curves import Curves, Series

LABELS_FILE, CURVES_FILE = "labels.json", "curves.parquet"
VERSION = 1
PARTS = ("tune", "held-out")
COLUMNS = ("metric", "samples_seen", "value")
FACTS = tuple(field.name for field in dataclasses.fields(RunFacts))
FORMAT = "docs/findings.md says what such a folder holds"


@dataclass(frozen=True)
class Labelled:
    """A run's curves, and what is true of it.

    expected: rules that must speak. allowed: consequences that may be told and count neither way. recipe: the fault
    that was put in; part: which half of the recipes it belongs to.
    """

    name: str
    curves: Curves
    facts: RunFacts
    expected: frozenset[str]
    allowed: frozenset[str]
    is_healthy: bool
    recipe: str = ""
    part: str = PARTS[1]
    source: str = ""
    why: str = ""


def read_corpus(folder: Path, rules: Collection[str]) -> tuple[Labelled, ...]:
    """All curves of a folder with their labels.

    Args:
        folder: holds the labels and the curves.
        rules: the ids that labels may name.

    Raises:
        ReportError: what is missing or wrong, where, and what would be right.
    """
    path = folder / LABELS_FILE
    labels = _labels(path)
    names = [_name(label, place, path) for place, label in enumerate(labels, start=1)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ReportError(f"{path}: curve {twice} is labelled twice; leave one of the two")
    numbers = _from_parquet(folder / CURVES_FILE) if (folder / CURVES_FILE).exists() else None
    found = []
    for name, label in zip(names, labels, strict=True):
        rows = numbers.get(name) if numbers is not None else _from_csv(folder, name)
        if rows is None:
            raise ReportError(f"{folder / CURVES_FILE}: there is no curve {name}, which {LABELS_FILE} labels")
        found.append(_labelled(name, label, rows, rules, path))
    return tuple(found)


def _labels(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(f"{path} is missing: it says which findings are true of which curve; {FORMAT}") from None
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} can't be read as JSON ({error}); {FORMAT}") from error
    labels = content.get("curves") if isinstance(content, dict) else None
    if not isinstance(labels, list) or not labels:
        raise ReportError(f'{path} has no list "curves" with a curve in it; {FORMAT}')
    if content.get("version", VERSION) != VERSION:
        raise ReportError(f"{path} is of version {content['version']}, this reads {VERSION}; write it anew")
    return labels


def _name(label: Any, place: int, path: Path) -> str:
    name = label.get("curve") if isinstance(label, dict) else None
    if not isinstance(name, str) or not name:
        raise ReportError(f'{path}: entry {place} of "curves" has no name in "curve"; {FORMAT}')
    return name


_Rows = Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]


def _labelled(name: str, label: Mapping[str, Any], rows: _Rows, rules: Collection[str], path: Path) -> Labelled:
    where = f"{path}, curve {name}"
    facts = _facts(label.get("facts", {}), where)
    part = label.get("part", PARTS[1])
    if part not in PARTS:
        raise ReportError(f"{where}: part is {part!r}; write one of {', '.join(PARTS)}")
    return Labelled(
        name=name,
        curves={metric: _series(*columns, facts.num_train_pairs) for metric, columns in rows.items()},
        facts=facts,
        expected=_rules(label.get("expected", []), rules, f"{where}, expected"),
        allowed=_rules(label.get("allowed", []), rules, f"{where}, allowed"),
        is_healthy=label.get("is_healthy") is True,
        recipe=str(label.get("recipe", "")),
        part=part,
        source=str(label.get("source", "")),
        why=str(label.get("why", "")),
    )


def _rules(given: Any, rules: Collection[str], where: str) -> frozenset[str]:
    if not isinstance(given, list) or not all(isinstance(rule, str) for rule in given):
        raise ReportError(f"{where}: write a list of rules")
    if unknown := sorted(set(given) - set(rules)):
        raise ReportError(f"{where}: there is no rule {', '.join(unknown)}; the rules are {', '.join(sorted(rules))}")
    return frozenset(given)


def _facts(given: Any, where: str) -> RunFacts:
    if not isinstance(given, dict):
        raise ReportError(f"{where}: facts must be a mapping, such as {{'batch_size': 64}}")
    if unknown := sorted(given.keys() - set(FACTS)):
        raise ReportError(f"{where}: there is no fact {', '.join(unknown)}; the facts are {', '.join(FACTS)}")
    known = {key: value for key, value in given.items() if value is not None}
    texts = {"decay", "shuffle", "frozen"}
    for key, value in known.items():
        right: tuple[type, ...] = (int, float)
        if key in texts:
            right = (str,)
        elif key in {"faults", "strips"}:
            right = (list,) if key == "faults" else (dict,)
        if not isinstance(value, right) or isinstance(value, bool):
            raise ReportError(f"{where}: the fact {key} can't be {value!r}")
    known["faults"] = tuple(str(fault) for fault in known.get("faults", ()))
    if "strips" in known:
        known["strips"] = {str(metric): tuple(map(float, strips)) for metric, strips in known["strips"].items()}
    return RunFacts(**known)


def _series(samples: NDArray[np.int64], values: NDArray[np.float64], num_train_pairs: int | None) -> Series:
    """In order, each place once: of two the later given."""
    places, last = np.unique(samples[::-1], return_index=True)
    epochs = places / num_train_pairs if num_train_pairs else np.full(len(places), np.nan)
    return Series(places, epochs, values[::-1][last], np.zeros(len(places), np.int64))


def _from_parquet(path: Path) -> dict[str, _Rows]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        if missing := [name for name in ("curve", *COLUMNS) if name not in table.column_names]:
            raise ReportError(_wrong_columns(path, table.column_names, missing))
        curves, metrics = (
            np.asarray(table[name].cast(pa.string()).to_pylist(), object) for name in ("curve", "metric")
        )
        samples = table["samples_seen"].cast(pa.int64()).to_numpy()
        values = table["value"].cast(pa.float64()).to_numpy()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ReportError(f"{path} can't be read as curves ({str(error).splitlines()[0]}); {FORMAT}") from error
    return {name: _by_metric(metrics[rows], samples[rows], values[rows]) for name, rows in _groups(curves)}


def _groups(names: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Each name with its rows, in their order."""
    different, codes = np.unique(names.astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    for name, rows in zip(different, np.split(order, np.flatnonzero(np.diff(codes[order])) + 1), strict=True):
        yield str(name), rows


def _by_metric(metrics: NDArray[Any], samples: NDArray[np.int64], values: NDArray[np.float64]) -> _Rows:
    return {metric: (samples[rows], values[rows]) for metric, rows in _groups(metrics)} if len(metrics) else {}


def _wrong_columns(path: Path, there: Collection[str], missing: Collection[str]) -> str:
    return f"{path} has the columns {', '.join(there)}, and lacks {', '.join(missing)}"


def _from_csv(folder: Path, name: str) -> _Rows:
    path = folder / f"{name}.csv"
    if path.parent != folder:
        raise ReportError(f"{folder / LABELS_FILE}: {name} is no file's name; leave out path characters")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
                raise ReportError(_wrong_columns(path, reader.fieldnames or ("none",), missing))
            rows = [_row(row, path, reader.line_num) for row in reader]
    except FileNotFoundError:
        message = f"{path} is missing, and there is no {CURVES_FILE}: the curves of {name} must stand in one of the two"
        raise ReportError(message) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReportError(f"{path} can't be read as CSV ({error})") from error
    metrics, samples, values = zip(*rows, strict=True) if rows else ((), (), ())
    return _by_metric(np.asarray(metrics, object), np.asarray(samples, np.int64), np.asarray(values, np.float64))


def _row(row: Mapping[str, str | None], path: Path, line: int) -> tuple[str, int, float]:
    try:
        return str(row["metric"]), int(float(row["samples_seen"] or "")), float(row["value"] or "")
    except (ValueError, OverflowError) as error:
        raise ReportError(f"{path}:{line}: {error}; write metric,samples_seen,value") from None
