"""What `clipexp runs` does with what runs left: points, and the commands around cleaning and bundles."""

import csv
import dataclasses
import json
import shutil
import sys
from io import StringIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from clipexp.cli import main
from clipexp.errors import RunError
from clipexp.events import EndEvent, StepEvent
from clipexp.runs_command import COLUMNS, write_points
from clipexp.track.header import RunHeader, write_header
from clipexp.track.journal import COPY_FILE, EVENTS_FILE, Journal, points
from clipexp.track.records import IMPORTED_FROM_TAG, find_header


def header(run_id: str, name: str = "small", created_ms: int = 1, **tags: str) -> RunHeader:
    return RunHeader(run_id, "5bec", "mlruns", name, {}, {}, tags, {}, "c057", "cpu", created_ms, "1a2b")


def leave_run(
    run_id: str, name: str = "small", created_ms: int = 1, reason: str = "finished", **tags: str
) -> RunHeader:
    """A run with three points, of which the second attempt repeats one."""
    made = header(run_id, name, created_ms, **tags)
    write_header(made)
    for begin in (0, 64):
        with Journal(made.folder) as journal:
            journal.begin(begin)
            for at in (64, 128):
                if at > begin:
                    journal.append(StepEvent(at, at / 360, {"train/loss": at + begin / 10}))
            journal.append(EndEvent(128, reason))  # type: ignore[arg-type]
    return made


def test_points_are_the_live_ones_and_exact(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = leave_run("aaaa1111")
    write_points("aaaa", None)
    rows = list(csv.reader(StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == COLUMNS
    series = points(made.folder)["train/loss"]
    wanted = [("aaaa1111", "train/loss", p.samples_seen, p.epoch, p.value, p.time_ms) for p in series]
    assert [(i, m, int(s), float(e), float(v), int(t)) for i, m, s, e, v, t in rows[1:]] == wanted
    assert [float(row[4]) for row in rows[1:]] == [64.0, 134.4]


def test_points_in_parquet_are_those_in_csv(workplace: Path) -> None:
    leave_run("aaaa1111")
    write_points("small", Path("points.csv"))
    write_points("small", Path("points.parquet"))
    table = pq.read_table("points.parquet")
    assert tuple(table.column_names) == COLUMNS
    rows = list(csv.DictReader(StringIO(Path("points.csv").read_text())))
    assert [row["value"] for row in rows] == [repr(value) for value in table["value"].to_pylist()]
    assert not list(workplace.glob("*.tmp"))


def test_a_run_without_points_gives_an_empty_table(workplace: Path) -> None:
    write_header(header("aaaa1111"))
    write_points("aaaa1111", Path("points.parquet"))
    assert pq.read_table("points.parquet").num_rows == 0


def test_another_suffix_is_refused(workplace: Path) -> None:
    leave_run("aaaa1111")
    with pytest.raises(RunError, match=r"points.xlsx: points are written as .csv or .parquet"):
        write_points("small", Path("points.xlsx"))


def test_points_need_no_mlflow(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_run("aaaa1111")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    write_points("small", Path("points.csv"))


def test_points_of_a_journal_damaged_in_both_copies_say_so(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = leave_run("aaaa1111")
    for name in (EVENTS_FILE, COPY_FILE):
        lines = (made.folder / name).read_bytes().splitlines(keepends=True)
        lines[1] = lines[1].replace(b"train", b"tr?in")
        (made.folder / name).write_bytes(b"".join(lines))
    write_points("small", None)
    assert capsys.readouterr().err.startswith("INCOMPLETE: 1 record")


def test_of_one_name_the_newest_finished_run_is_meant(workplace: Path) -> None:
    for number, reason in enumerate(["finished", "finished", "budget"]):
        leave_run(f"aaaa{number}", created_ms=number, reason=reason)
    assert find_header("small").run_id == "aaaa1"
    assert find_header("aaaa2").run_id == "aaaa2"
    assert find_header("5bec").run_id == "aaaa1"


def test_an_imported_run_is_found_by_the_id_it_had(workplace: Path) -> None:
    leave_run("bbbb", **{IMPORTED_FROM_TAG: "aaaa1111"})
    assert find_header("aaaa").run_id == "bbbb"
    leave_run("aaaa1111")
    assert find_header("aaaa").run_id == "bbbb"
    assert find_header("aaaa1111").run_id == "aaaa1111"


def test_what_is_meant_by_nothing_or_by_two_is_told(workplace: Path) -> None:
    with pytest.raises(RunError, match="runs here: none yet"):
        find_header("small")
    leave_run("aaaa1")
    leave_run("aaaa2")
    with pytest.raises(RunError, match="2 runs begin with aaaa; give more"):
        find_header("aaaa")
    with pytest.raises(RunError, match="there is no journal of a run nix in mlruns/journals; runs here: small"):
        find_header("nix")


def test_gc_tells_in_json_what_a_dry_run_would_remove(workplace: Path, empty_mlruns: Path) -> None:
    shutil.copytree(empty_mlruns, workplace / "mlruns")
    trash = workplace / "mlruns" / ".trash" / "x"
    trash.mkdir(parents=True)
    (trash / "file").write_bytes(b"12345")
    for args, is_removed in ((["--dry-run"], False), ([], True)):
        result = CliRunner().invoke(main, ["runs", "gc", "--json", *args])
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found == {
            "items": [
                {
                    "path": "mlruns/.trash/x",
                    "kind": "leftover",
                    "reason": "an earlier cleaning was cut off",
                    "bytes": 5,
                }
            ],
            "total_bytes": 5,
            "removed": is_removed,
        }
        assert trash.exists() != is_removed
    assert "nothing can go" in CliRunner().invoke(main, ["runs", "gc"]).output


def test_an_export_that_lacks_something_exits_with_2(workplace: Path) -> None:
    made = leave_run("aaaa1111")
    write_header(dataclasses.replace(made, store="sqlite:///gone.db"))
    result = CliRunner().invoke(main, ["runs", "export", "small", "--out", "runs.tar"])
    assert result.exit_code == 2
    assert "it LACKS:" in result.stderr
    assert (workplace / "runs.tar").exists()
    assert not (workplace / "gone.db").exists()
