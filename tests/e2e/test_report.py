"""Reports: written from runs, drawn again from their own data, byte for byte."""

import shutil
from pathlib import Path

import pytest

import clipexp
from clipexp.errors import ReportError, TrackingError
from clipexp.reporting.write import redraw_report
from clipexp.spec.load import resolve
from clipexp.track.home import home
from clipexp.track.mlflow_store import connect
from clipexp.track.records import Note, add_note
from tests.e2e.conftest import Finished
from tests.small import small_content


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_report_holds_the_loss_the_settings_and_pictures(finished: Finished, tmp_path: Path) -> None:
    path = clipexp.report([finished.record.run_id[:8]], out=tmp_path)
    text = path.read_text()
    loss = finished.record.final["val/loss_block_40"]
    assert f"**val/loss_block_40 {loss:.3f} at epoch" in text
    assert "batch 32; 1.78 epochs of" in text
    assert "it learns" in text
    assert "CC BY-SA 4.0" in text
    for figure in (f"figures/{finished.record.run_id[:8]}.svg", f"figures/{finished.record.run_id[:8]}-examples.png"):
        assert f"]({figure})" in text
        assert (path.parent / figure).stat().st_size > 1000


def test_a_report_is_drawn_again_from_its_data_alone_to_the_same_bytes(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = clipexp.report([finished.record.run_id], name="small", out=tmp_path / "reports").parent
    before = content(folder)
    elsewhere = tmp_path / "checkout" / "reports" / "small"
    shutil.copytree(folder / "data", elsewhere / "data")
    monkeypatch.chdir(tmp_path / "checkout")
    redraw_report(elsewhere)
    assert content(elsewhere) == before


def test_a_report_written_twice_has_the_same_bytes(finished: Finished, tmp_path: Path) -> None:
    first = content(clipexp.report([finished.record.run_id], out=tmp_path / "a").parent)
    assert content(clipexp.report([finished.record.run_id], out=tmp_path / "b").parent) == first


def test_a_report_on_two_runs_shows_what_differs(finished: Finished, small_store: Path, tmp_path: Path) -> None:
    other = clipexp.run(resolve({**small_content(small_store), "name": "slow", "optim": {"max_lr": 1e-4}}))
    path = clipexp.report([finished.record.run_id, other.run_id], name="two", out=tmp_path)
    header, _, *rows = [line for line in path.read_text().splitlines() if line.startswith("|")][:4]
    assert "| max_lr |" in header
    assert "precision" not in header
    assert ["2e-3" in rows[0], "1e-4" in rows[1]] == [True, True]
    assert (path.parent / "figures" / "comparison.svg").is_file()
    connect(home().tracking_uri).delete_run(other.run_id)


def test_a_run_that_left_a_report_leaves_no_figure_behind(finished: Finished, tmp_path: Path) -> None:
    stale = tmp_path / "small" / "figures" / "old.svg"
    clipexp.report([finished.record.run_id], name="small", out=tmp_path)
    stale.write_text("")
    clipexp.report([finished.record.run_id], name="small", out=tmp_path)
    assert not stale.exists()


def test_a_note_is_shown_as_it_was_written_whatever_its_characters(finished: Finished, tmp_path: Path) -> None:
    client = connect(home().tracking_uri)
    add_note(client, finished.record.run_id, Note("2026-01-02T03:04:05+00:00", "norms <b>high</b> | try *3e-3*"))
    text = clipexp.report([finished.record.run_id], out=tmp_path).read_text()
    assert "- norms &#60;b&#62;high&#60;/b&#62; &#124; try &#42;3e-3&#42; (2026-01-02)" in text


def test_a_run_without_validation_is_reported_as_such(finished: Finished, tmp_path: Path) -> None:
    client = connect(home().tracking_uri)
    run_id = client.create_run(client.get_experiment_by_name("clipexp").experiment_id, run_name="bare").info.run_id
    client.log_text(run_id, "name: bare\n", "spec/resolved.yaml")
    client.set_terminated(run_id, "FAILED")
    text = clipexp.report([run_id], out=tmp_path).read_text()
    assert "**No validation was recorded**; the run's status is FAILED." in text
    client.delete_run(run_id)


def test_a_run_that_another_tool_made_is_refused(finished: Finished, tmp_path: Path) -> None:
    client = connect(home().tracking_uri)
    run_id = client.create_run(client.get_experiment_by_name("clipexp").experiment_id, run_name="foreign").info.run_id
    with pytest.raises(ReportError, match=r"keeps no spec/resolved\.yaml"):
        clipexp.report([run_id], out=tmp_path)
    client.delete_run(run_id)


@pytest.mark.parametrize(
    ("runs", "name", "message"),
    [
        (["nobody"], None, "there is no run nobody; runs here: small"),
        (["small", "small"], None, "named twice"),
        (["small"], "../escape", "can't name a folder"),
    ],
)
def test_a_report_on_what_is_not_there_is_refused(
    finished: Finished, tmp_path: Path, runs: list[str], name: str | None, message: str
) -> None:
    with pytest.raises((ReportError, TrackingError), match=message):
        clipexp.report(runs, name=name, out=tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_a_name_that_was_not_chosen_replaces_no_report_on_other_runs(
    finished: Finished, small_store: Path, tmp_path: Path
) -> None:
    path = clipexp.report([finished.record.run_id], out=tmp_path)
    before = content(path.parent)
    replicate = clipexp.run(resolve({**small_content(small_store), "seed": 1}))
    with pytest.raises(ReportError, match=f"is a report on other runs: {finished.record.run_id}"):
        clipexp.report([replicate.run_id], out=tmp_path)
    assert content(path.parent) == before
    clipexp.report([replicate.run_id], name="small", out=tmp_path)
    assert content(path.parent) != before
    connect(home().tracking_uri).delete_run(replicate.run_id)


def test_a_report_that_is_not_there_can_not_be_drawn_again(finished: Finished, tmp_path: Path) -> None:
    clipexp.report([finished.record.run_id], out=tmp_path)
    with pytest.raises(ReportError, match="there is no report nobody; reports here: small"):
        redraw_report(tmp_path / "nobody")


def test_a_data_folder_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "runs.json").write_text("{")
    with pytest.raises(ReportError, match="no report's data folder, or damaged"):
        redraw_report(tmp_path)
