"""`clipexp diff`: in what two runs differ, on the console or as JSON.

diff_on_console("run1", "run2", as_json=False, tracking_uri=None)
"""

import json
import math
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipexp.comparison import compare, groups_of
from clipexp.console import make_console
from clipexp.differences import (
    Code,
    CurveDifference,
    Differences,
    FindingDifference,
    Result,
    SettingDifference,
    Side,
    differences,
)
from clipexp.errors import ReportError
from clipexp.findings import facts_of, find
from clipexp.track.mlflow_store import connect
from clipexp.track.mlflow_store import tracking_uri as uri_of
from clipexp.track.records import FullRun, RunRecord, list_runs, pick_run, read_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from rich.console import Console
    from rich.table import Table

CODE_FOLDER, UNCOMMITTED = "clipexp", "uncommitted.diff"
MAX_CROSSINGS, MAX_STAT_LINES = 5, 15
NONE = "–"
# Metrics that tell under which conditions others came about; shown where they differ.
CONDITIONS = ("val/block_size", "val/num_pairs", "val/chance_")


@dataclass(frozen=True)
class Told:
    """What is printed of two runs. verdict: what may be said of which is better, and what makes that unfair."""

    first: RunRecord
    second: RunRecord
    found: Differences
    verdict: tuple[str, ...]
    code_stat: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as one object."""
        sides = {"first": self.first, "second": self.second}
        return {
            **{key: {**_head(record)} for key, record in sides.items()},
            **self.found.to_json(),
            "verdict": list(self.verdict),
            "code_stat": list(self.code_stat),
        }


def diff_on_console(first: str, second: str, as_json: bool, tracking_uri: str | None) -> None:
    """Print in what the second run differs from the first.

    Args:
        first, second: each an id, the start of one, or a name.
        as_json: one object instead of tables.
        tracking_uri: MLflow's store, as everywhere.

    Raises:
        TrackingError: a run can't be found.
        ReportError: both are the same run, or one is a study.
    """
    told = diff(first, second, tracking_uri)
    if as_json:
        click.echo(json.dumps(told.to_json(), indent=1, ensure_ascii=False))
    else:
        _print(make_console(), told)


def diff(first: str, second: str, tracking_uri: str | None = None) -> Told:
    """Read two runs and compare them; raises as `diff_on_console`."""
    client = connect(uri_of(tracking_uri))
    runs = list_runs(client)
    records = [pick_run(client, runs, reference) for reference in (first, second)]
    if studies := [record.name for record in records if record.is_study]:
        raise ReportError(f"{studies[0]} is a study; name two runs (`clipexp runs` lists those of its trials)")
    if records[0].run_id == records[1].run_id:
        raise ReportError(f"{first} and {second} are the same run, {records[0].run_id[:8]}; name two, by id if need be")
    full = read_runs(client, records)
    sides = [_side(client, run) for run in full]
    found = differences(*sides)
    return Told(full[0].record, full[1].record, found, _verdict(full), _code_stat(found.code))


def _head(record: RunRecord) -> dict[str, Any]:
    return {
        "run_id": record.run_id,
        "name": record.name,
        "status": record.status,
        "seed": record.seed,
        "spec_hash": record.spec_hash,
    }


def _side(client: "MlflowClient", run: FullRun) -> Side:
    facts = facts_of(run.record, run.told.faults, run.told.strips or None)
    return Side(run.record, find(run.record.curves, facts), _uncommitted(client, run.record.run_id))


def _uncommitted(client: "MlflowClient", run_id: str) -> str:
    """The changes that were not committed when a run began, as its artifact keeps them; '' where there is none."""
    paths = [item.path for item in client.list_artifacts(run_id, "code") if item.path.endswith(UNCOMMITTED)]
    if not paths:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, paths[0], folder)).read_text(errors="replace")


def _verdict(runs: Sequence[FullRun]) -> tuple[str, ...]:
    """What may be said of which of two is better, in the metrics that both have."""
    losses = [{name for name in run.record.final if name.startswith("val/loss")} for run in runs]
    sentences: list[str] = []
    strips = {run.record.run_id: run.told.strips for run in runs}
    for metric in sorted(losses[0] & losses[1]):
        first, second = (groups_of([run.record], metric, strips)[0] for run in runs)
        difference = compare(second, first)
        sentences += (difference.sentence(), *difference.caveats())
    return tuple(dict.fromkeys(sentences))


def _code_stat(code: Code) -> tuple[str, ...]:
    """What changed in the package between two commits, where git knows both here."""
    if not code.first or not code.second or code.first == code.second:
        return ()
    command = ["git", "diff", "--stat", code.first, code.second, "--", CODE_FOLDER]
    try:
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    except OSError:
        return ()
    return tuple(done.stdout.decode(errors="replace").splitlines()) if done.returncode == 0 else ()


def _print(console: "Console", told: Told) -> None:
    found = told.found
    names = tuple(f"{record.name} {record.run_id[:8]}" for record in (told.first, told.second))
    deciding = [each for each in found.settings if not each.is_incidental]
    _say(console, f"{names[0]} against {names[1]}; differences are the second minus the first")
    for line in (*told.verdict, *found.missing):
        _say(console, f"- {line}")
    _settings(console, "settings", deciding, names, "the same in all that decides a result")
    _settings(console, "incidental settings", [e for e in found.settings if e.is_incidental], names, "")
    _results(console, found.results, names)
    _curves(console, found.curves, names)
    _findings(console, found.findings, names)
    _settings(console, "environment", found.environment, names, "the same device and versions")
    _settings(console, "data", found.data, names, "the same prepared set")
    _code(console, found.code, told.code_stat)


def _say(console: "Console", line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _title(console: "Console", title: str) -> None:
    from rich.text import Text

    console.print()
    console.print(Text(title, style="bold"))


def _table(names: Sequence[str], columns: Sequence[str], num_left: int) -> "Table":
    """A table without frames; the first columns are words, the rest numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for idx, column in enumerate((columns[0], *names, *columns[1:])):
        table.add_column(Text(column), justify="left" if idx < num_left else "right", overflow="fold")
    return table


def _settings(
    console: "Console", title: str, found: Sequence[SettingDifference], names: Sequence[str], otherwise: str
) -> None:
    from rich.text import Text

    if not found and not otherwise:
        return
    _title(console, title)
    if not found:
        _say(console, otherwise)
        return
    table = _table(names, [""], num_left=3)
    for each in found:
        sides = (NONE if value is None else value for value in (each.first, each.second))
        table.add_row(Text(each.path), *(Text(value) for value in sides))
    console.print(table)


def _results(console: "Console", found: Sequence[Result], names: Sequence[str]) -> None:
    _title(console, "results")
    if not found:
        _say(console, "neither run has any")
        return
    table = _table(names, ["", "difference"], num_left=1)
    for each in found:
        if each.difference == 0 and each.metric.startswith(CONDITIONS):
            continue
        table.add_row(each.metric, _number(each.first), _number(each.second), _number(each.difference, sign=True))
    console.print(table)


def _curves(console: "Console", found: Sequence[CurveDifference], names: Sequence[str]) -> None:
    if not found:
        return
    _title(console, "curves, along the shorter one")
    table = _table(names, ["", "samples seen", "difference"], num_left=1)
    for each in found:
        for place in each.along:
            values = (_number(place.first), _number(place.second))
            row = (f"{each.metric} at {place.share:.0%}", *values, f"{place.samples_seen:,}")
            table.add_row(*row, _number(place.difference, sign=True))
    console.print(table)
    for each in found:
        if each.crossings:
            places = ", ".join(f"{at:,}" for at in each.crossings[:MAX_CROSSINGS])
            more = f" and {len(each.crossings) - MAX_CROSSINGS} more" if len(each.crossings) > MAX_CROSSINGS else ""
            _say(console, f"{each.metric}: the curves cross at about {places}{more} samples")
    if any(each.is_interpolated for each in found):
        _say(console, "values of curves that were recorded at other places lie between two points")


def _findings(console: "Console", found: Sequence[FindingDifference], names: Sequence[str]) -> None:
    _title(console, "findings")
    if not found:
        _say(console, "none on either run")
    for each in found:
        if each.first is not None and each.second is not None:
            _say(console, f"both: {each.rule} ({each.severity})")
            continue
        side = names[0] if each.first is not None else names[1]
        _say(console, f"only {side}: {each.rule} ({each.severity}): {each.first or each.second}")


def _code(console: "Console", code: Code, stat: Sequence[str]) -> None:
    _title(console, "code")
    commits = [_commit(code.first, code.first_is_dirty), _commit(code.second, code.second_is_dirty)]
    if code.first == code.second:
        _say(console, f"the same commit: {commits[0]}" if commits[0] == commits[1] else " and ".join(commits))
    else:
        _say(console, f"{commits[0]} and {commits[1]}")
        for line in _shortened(stat):
            _say(console, line)
        if not stat:
            _say(console, "nothing in the package differs between these commits, or git does not know them here")
    if code.same_changes is not None:
        _say(console, "the uncommitted changes are " + ("the same" if code.same_changes else "different"))


def _shortened(stat: Sequence[str]) -> list[str]:
    """The first lines, and the last, which sums up."""
    if len(stat) <= MAX_STAT_LINES:
        return list(stat)
    left_out = len(stat) - MAX_STAT_LINES
    return [*stat[: MAX_STAT_LINES - 1], f" ... {left_out} more files", stat[-1]]


def _commit(commit: str, is_dirty: bool) -> str:
    return (commit[:12] or "an unknown commit") + (" with uncommitted changes" if is_dirty else "")


def _number(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return NONE
    if not math.isfinite(value):
        return str(value)
    if value == 0 or (float(value).is_integer() and abs(value) >= 1):
        return f"{value:{'+' if sign and value else ''},.0f}"
    return f"{value:{'+' if sign else ''}.4g}"
