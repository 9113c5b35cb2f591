"""`clipexp runs` and what hangs below it, on the console."""

import csv
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import click

from clipexp.bundle import Which, export_runs
from clipexp.console import make_console
from clipexp.errors import RunError
from clipexp.space import mb
from clipexp.taking_in import take_in
from clipexp.track.journal import damage, points
from clipexp.track.records import TOTAL_SAMPLES_TAG, RunRecord, find_header, headline_metrics

if TYPE_CHECKING:
    from clipexp.cleaning import Found

BLOCK_SIZE = 1024  # of the frozen validation, where the set has that many pairs
COLUMNS = ("run_id", "metric", "samples_seen", "epoch", "value", "time_ms")


def print_runs(records: Sequence[RunRecord], limit: int) -> None:
    """A table of runs."""
    from rich.table import Table

    console = make_console()
    table = Table(box=None, pad_edge=False)
    for column in ("run", "name", "status", "started"):
        table.add_column(column, no_wrap=column != "name")
    for column in ("seed", "samples", "val loss", "recall@1 t2i", "recall@1 i2t", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for record in records[:limit]:
        final = record.final
        loss = next((final[name] for name in headline_metrics([record])), None)
        block = final.get("val/block_size", BLOCK_SIZE)
        samples = record.tags.get(TOTAL_SAMPLES_TAG)
        recalls = [final.get(f"val/{way}_recall_at_1") for way in ("text_to_image", "image_to_text")]
        started = datetime.datetime.fromtimestamp(record.started_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(
            record.run_id[:8],
            f"{record.name} (study)" if record.is_study else record.name,
            record.status,
            started,
            str(record.seed),
            f"{int(samples):,}" if samples else "",
            "" if loss is None else f"{loss:.3f}" + ("" if block == BLOCK_SIZE else f" /{block:.0f}"),
            *("" if value is None else f"{value:.1%}" for value in recalls),
            "" if record.duration_s is None else f"{record.duration_s:.0f}",
        )
    console.print(table)
    if any(record.final.get("val/block_size", BLOCK_SIZE) != BLOCK_SIZE for record in records[:limit]):
        console.print("a loss followed by /N is over blocks of N pairs, others over 1,024: not to be compared")
    if len(records) > limit:
        console.print(f"{len(records) - limit} more; see --limit")


def write_points(run: str, out: Path | None) -> None:
    """Every point of a run's curves, as CSV to the screen or as a .csv or .parquet file. MLflow isn't asked.

    Raises:
        RunError: the run is not here, or the file has another suffix or can't be written.
    """
    header = find_header(run)
    rows = [
        (header.run_id, metric, p.samples_seen, p.epoch, p.value, p.time_ms)
        for metric, series in sorted(points(header.folder).items())
        for p in series
    ]
    if lost := damage(header.folder).num_lost:
        click.echo(f"INCOMPLETE: {lost} record(s) of this journal are damaged in both copies", err=True)
    if out is None:
        _write_csv(sys.stdout, rows)
        return
    if out.suffix not in (".csv", ".parquet"):
        raise RunError(f"{out}: points are written as .csv or .parquet; name such a file")
    tmp = out.with_name(f"{out.name}.tmp")
    try:
        if out.suffix == ".csv":
            with tmp.open("w", newline="") as file:
                _write_csv(file, rows)
        else:
            _write_parquet(tmp, rows)
        tmp.replace(out)
    except OSError as error:
        tmp.unlink(missing_ok=True)
        raise RunError(f"{out} can't be written ({error.strerror or error})") from error
    click.echo(f"{len(rows):,} points of {header.name} (run {header.run_id[:8]}): {out}")


_Row = tuple[str, str, int, float, float, int]


def _write_csv(file: IO[str], rows: Sequence[_Row]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)


def _write_parquet(path: Path, rows: Sequence[_Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = (pa.string(), pa.string(), pa.int64(), pa.float64(), pa.float64(), pa.int64())
    columns = zip(*rows, strict=True) if rows else ((),) * len(COLUMNS)
    arrays = {name: pa.array(column, kind) for name, column, kind in zip(COLUMNS, columns, types, strict=True)}
    pq.write_table(pa.table(arrays), path, compression="zstd")


def clean(*, dry_run: bool, as_json: bool) -> None:
    """Show what can go, then remove it. Raises RunError if some of it could not be removed; the rest is gone then."""
    from clipexp.cleaning import alone, find, remove

    with alone():
        found = find()
        if not as_json:
            _print_found(found)
        problems = [] if dry_run else remove(found.items)
    if as_json:
        is_removed = not dry_run and not problems
        items = [item.to_json() for item in found.items]
        click.echo(json.dumps({"items": items, "total_bytes": found.total_bytes, "removed": is_removed}, indent=1))
    elif found.items:
        click.echo("nothing was removed: a dry run" if dry_run else "removed" if not problems else "removed in part")
    for note in found.notes:
        click.echo(note, err=True)
    if problems:
        raise RunError("\n".join([f"{len(problems)} of {len(found.items)} could not be removed:", *problems]))


def _print_found(found: "Found") -> None:
    from rich.table import Table
    from rich.text import Text

    console = make_console()
    if not found.items:
        console.print("nothing can go")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("what", "frees", "why", "path"):
        table.add_column(column, justify="right" if column == "frees" else "left", overflow="fold")
    for item in found.items:
        table.add_row(item.kind, mb(item.num_bytes), Text(item.reason), Text(str(item.path)))
    console.print(table)
    console.print(f"{len(found.items)} in all, {mb(found.total_bytes)}")


def export(runs: Sequence[str], out: Path, checkpoints: str, tracking: str | None) -> None:
    """Pack runs into one file; checkpoints: none, best or all.

    Raises:
        RunError: as `export_runs`, and nothing is left; or the file is written, but something of the runs is not in it.
    """
    found = {header.run_id: header for header in map(find_header, runs)}
    missing = export_runs(list(found.values()), out, cast(Which, checkpoints), tracking)
    click.echo(f"{len(found)} run(s), {mb(out.stat().st_size)}: {out}")
    if missing:
        raise RunError("\n".join([f"{out} is whole and can be imported, but it LACKS:", *missing]))


def import_files(files: Sequence[Path], tracking: str | None) -> None:
    """Take in the runs of bundles and journal folders; a line a run.

    Raises:
        RunError, TrackingError: as `take_in`; the runs before it are here.
    """
    for file in files:
        for line in take_in(file, tracking):
            click.echo(line)
