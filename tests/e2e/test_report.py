"""Reports: written from runs, drawn again from their own data, checked, byte for byte."""

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import clipexp
from clipexp.cli import main
from clipexp.errors import ReportError, TrackingError
from clipexp.events import StepEvent
from clipexp.reporting.database_check import check_against_database
from clipexp.reporting.evidence import read_evidence
from clipexp.reporting.verify import EXIT_DEVIATES, verify
from clipexp.reporting.write import redraw_report
from clipexp.spec.load import resolve
from clipexp.track.home import home
from clipexp.track.journal import Journal
from clipexp.track.mlflow_store import connect
from clipexp.track.records import GROUP_TAG, Note, add_note
from tests.e2e.conftest import Finished
from tests.small import small_content


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def command(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, words)])


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


def test_each_number_of_a_report_holds_and_its_data_are_those_of_mlflow_and_the_journal(
    finished: Finished, tmp_path: Path
) -> None:
    folder = clipexp.report([finished.record.run_id], out=tmp_path).parent
    result = command("--verify", folder, "--against-db")
    assert result.exit_code == 0, result.output
    assert re.search(r"small: \d{2,} numbers computed again from its data: all hold", result.output)
    assert re.search(r"small: \d{2,} points held to MLflow and the journals: all as there", result.output)


def test_an_edited_number_is_named_and_the_exit_code_says_so(finished: Finished, tmp_path: Path) -> None:
    path = clipexp.report([finished.record.run_id], out=tmp_path)
    loss = f"{finished.record.final['val/loss_block_40']:.3f}"
    path.write_text(path.read_text().replace(f"**val/loss_block_40 {loss} at", "**val/loss_block_40 0.001 at"))
    result = command("--verify", "--name", "small", "--out", tmp_path)
    assert result.exit_code == EXIT_DEVIATES
    assert f"shows 0.001, the data give {loss}: last(val/loss_block_40, run " in result.output
    assert "1 deviation(s)" in result.output


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
    assert verify(elsewhere).deviations == ()


def test_a_report_written_twice_has_the_same_bytes(finished: Finished, tmp_path: Path) -> None:
    first = content(clipexp.report([finished.record.run_id], out=tmp_path / "a").parent)
    assert content(clipexp.report([finished.record.run_id], out=tmp_path / "b").parent) == first


def test_without_the_journal_the_same_numbers_come_from_mlflow(finished: Finished, tmp_path: Path) -> None:
    with_journal = read_evidence(clipexp.report([finished.record.run_id], out=tmp_path / "a").parent / "data")
    journal = home().journals / finished.record.run_id
    journal.rename(tmp_path / "away")
    try:
        folder = clipexp.report([finished.record.run_id], out=tmp_path / "b").parent
        result = command("--verify", folder, "--against-db")
        assert result.exit_code == 0, result.output
        assert f"not checked: run {finished.record.run_id[:8]}: its journal is not in" in result.output
    finally:
        (tmp_path / "away").rename(journal)
    assert read_evidence(folder / "data").digests["curves"] == with_journal.digests["curves"]


def test_data_that_are_not_those_of_mlflow_and_the_journal_are_told(finished: Finished, tmp_path: Path) -> None:
    folder = clipexp.report([finished.record.run_id], out=tmp_path).parent
    path = folder / "data" / "runs.json"
    path.write_text(path.read_text().replace('"optim.max_lr": "0.002"', '"optim.max_lr": "0.003"'))
    with Journal(tmp_path / "other") as journal:
        journal.begin(-1)
        journal.append(StepEvent(64, 0.5, {"train/loss": 9.0}))
        journal.append(StepEvent(65, 0.6, {"train/loss": 9.0}))
    place = home().journals / finished.record.run_id
    place.rename(tmp_path / "away")
    (tmp_path / "other").rename(place)
    try:
        found = check_against_database(read_evidence(folder / "data"), connect(home().tracking_uri))
    finally:
        place.rename(tmp_path / "other")
        (tmp_path / "away").rename(place)
    words = "\n".join(found.deviations)
    assert "param optim.max_lr: '0.002' in MLflow, '0.003' in the data" in words
    assert "train/loss at 64 is 9 in its journal" in words
    assert "train/loss at 65 is in its journal, not in the data" in words
    assert "train/loss at 128 (and" in words


def test_a_report_whose_run_was_deleted_says_so_but_is_drawn_again(
    finished: Finished, small_store: Path, tmp_path: Path
) -> None:
    other = clipexp.run(resolve({**small_content(small_store), "name": "gone", "seed": 7}))
    folder = clipexp.report([other.run_id], out=tmp_path).parent
    before = content(folder)
    connect(home().tracking_uri).delete_run(other.run_id)
    redraw_report(folder)
    assert content(folder) == before
    result = command("--verify", folder, "--against-db")
    assert result.exit_code == EXIT_DEVIATES
    assert f"run {other.run_id[:8]}: it was deleted in MLflow" in result.output
    with pytest.raises(TrackingError, match="was deleted in MLflow; bring it back"):
        clipexp.report([other.run_id], out=tmp_path / "b")


def test_a_report_on_two_runs_shows_what_differs(finished: Finished, small_store: Path, tmp_path: Path) -> None:
    other = clipexp.run(resolve({**small_content(small_store), "name": "slow", "optim": {"max_lr": 1e-4}}))
    path = clipexp.report([finished.record.run_id, other.run_id], name="two", out=tmp_path)
    header, _, *rows = [line for line in path.read_text().splitlines() if line.startswith("|")][:4]
    assert "| max_lr |" in header
    assert "precision" not in header
    assert ["2e-3" in rows[0], "1e-4" in rows[1]] == [True, True]
    assert (path.parent / "figures" / "comparison.svg").is_file()
    assert verify(path.parent).deviations == ()
    connect(home().tracking_uri).delete_run(other.run_id)


def test_a_group_is_all_finished_seeds_of_a_spec_and_the_others_are_named(
    finished: Finished, small_store: Path, tmp_path: Path
) -> None:
    client = connect(home().tracking_uri)
    seed_1 = clipexp.run(resolve({**small_content(small_store), "seed": 1}))
    unfinished = client.create_run(client.get_experiment_by_name("clipexp").experiment_id, run_name="small-too")
    group = finished.record.tags[GROUP_TAG]
    client.set_tag(unfinished.info.run_id, GROUP_TAG, group)
    path = clipexp.report([group], name="group", out=tmp_path)
    evidence = read_evidence(path.parent / "data")
    assert [run.record.run_id for run in evidence.runs] == [finished.record.run_id, seed_1.run_id]
    assert evidence.subjects == (group,)
    assert f"Left out: small-too ({unfinished.info.run_id[:8]}, seed 0) is RUNNING" in path.read_text()
    for run_id in (seed_1.run_id, unfinished.info.run_id):
        client.delete_run(run_id)


def test_a_group_without_a_finished_run_is_refused(finished: Finished, tmp_path: Path) -> None:
    client = connect(home().tracking_uri)
    run = client.create_run(client.get_experiment_by_name("clipexp").experiment_id, run_name="early")
    client.set_tag(run.info.run_id, GROUP_TAG, "0" * 12)
    with pytest.raises(ReportError, match="group 000000000000 has no finished run; its runs: early"):
        clipexp.report(["0" * 12], out=tmp_path)
    client.delete_run(run.info.run_id)


def test_a_run_that_left_a_report_leaves_no_file_behind(finished: Finished, tmp_path: Path) -> None:
    folder = clipexp.report([finished.record.run_id], name="small", out=tmp_path).parent
    before = content(folder)
    (folder / "figures" / "old.svg").write_text("")
    (folder / "data" / "0badc0de").mkdir()
    (folder / "data" / "0badc0de" / "spec.yaml").write_text("")
    clipexp.report([finished.record.run_id], name="small", out=tmp_path)
    assert content(folder) == before


def test_a_note_is_shown_as_it_was_written_and_survives_writing_and_drawing_again(
    finished: Finished, tmp_path: Path
) -> None:
    client = connect(home().tracking_uri)
    add_note(client, finished.record.run_id, Note("2026-01-02T03:04:05+00:00", "norms <b>high</b> | try *3e-3*"))
    for _ in range(2):
        path = clipexp.report([finished.record.run_id], out=tmp_path)
        assert "- norms &#60;b&#62;high&#60;/b&#62; &#124; try &#42;3e-3&#42; (2026-01-02)" in path.read_text()
    before = path.read_text()
    redraw_report(path.parent)
    assert path.read_text() == before


def test_a_report_that_somebody_edited_is_not_written_over_but_by_force(finished: Finished, tmp_path: Path) -> None:
    path = clipexp.report([finished.record.run_id], out=tmp_path)
    before = path.read_text()
    path.write_text(before + "\nI think it can train for longer.\n")
    for again in (lambda: clipexp.report([finished.record.run_id], out=tmp_path), lambda: redraw_report(path.parent)):
        with pytest.raises(ReportError, match=r"somebody edited it .* clipexp note RUN TEXT; --force writes over it"):
            again()
    assert "I think" in path.read_text()
    result = command("--redraw", "--name", "small", "--out", tmp_path, "--force")
    assert result.exit_code == 0, result.output
    assert path.read_text() == before


def test_a_run_without_validation_is_reported_as_such(finished: Finished, tmp_path: Path) -> None:
    client = connect(home().tracking_uri)
    run_id = client.create_run(client.get_experiment_by_name("clipexp").experiment_id, run_name="bare").info.run_id
    client.log_text(run_id, "name: bare\n", "spec/resolved.yaml")
    client.set_terminated(run_id, "FAILED")
    path = clipexp.report([run_id], out=tmp_path)
    assert "**No validation was recorded.**" in path.read_text()
    assert "The run did not finish: FAILED after 0 samples." in path.read_text()
    assert verify(path.parent).deviations == ()
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
        (["small"], "a\nb", "can't name a folder"),
        (["small"], "x" * 200, "can't name a folder"),
    ],
)
def test_a_report_on_what_is_not_there_is_refused(
    finished: Finished, tmp_path: Path, runs: list[str], name: str | None, message: str
) -> None:
    with pytest.raises((ReportError, TrackingError), match=message):
        clipexp.report(runs, name=name, out=tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("name", ["../up", "a|b<b>", "-->", "new\nline"])
def test_a_run_whose_name_is_no_folder_s_needs_one(finished: Finished, tmp_path: Path, name: str) -> None:
    client = connect(home().tracking_uri)
    run_id = client.create_run(client.get_experiment_by_name("clipexp").experiment_id, run_name=name).info.run_id
    client.log_text(run_id, "name: x\n", "spec/resolved.yaml")
    client.set_terminated(run_id, "FINISHED")
    with pytest.raises(ReportError, match=r"can't name a folder; give letters, digits, .* with --name"):
        clipexp.report([run_id], out=tmp_path)
    folder = clipexp.report([run_id], name="given", out=tmp_path).parent
    assert verify(folder).deviations == ()
    client.delete_run(run_id)


def test_a_name_that_was_not_chosen_replaces_no_report_on_other_runs(
    finished: Finished, small_store: Path, tmp_path: Path
) -> None:
    path = clipexp.report([finished.record.run_id], out=tmp_path)
    before = content(path.parent)
    replicate = clipexp.run(resolve({**small_content(small_store), "seed": 1}))
    connect(home().tracking_uri).restore_run(replicate.run_id)
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


def test_a_page_is_written_beside_the_report_where_it_is_asked_for(finished: Finished, tmp_path: Path) -> None:
    result = command(finished.record.run_id, "--out", tmp_path, "--html")
    assert result.exit_code == 0, result.output
    assert "<html" in (tmp_path / "small" / "report.html").read_text()
    assert verify(tmp_path / "small").deviations == ()


def test_following_a_run_that_has_ended_writes_its_report_once(finished: Finished, tmp_path: Path) -> None:
    result = command(finished.record.run_id, "--out", tmp_path, "--follow")
    assert result.exit_code == 0, result.output
    assert "all its runs have ended" in result.output
    assert verify(tmp_path / "small").deviations == ()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name at least one run"),
        (["--verify"], "name one report to check"),
        (["--verify", "nobody"], "there is no report nobody"),
        (["--redraw"], "--redraw draws a report again"),
        (["studies/none.yaml"], "studies/none.yaml"),
    ],
)
def test_a_command_that_names_nothing_is_refused(finished: Finished, words: list[str], message: str) -> None:
    result = command(*words)
    assert result.exit_code == 2
    assert message in result.output


def test_a_report_of_version_1_says_how_to_write_it_again(finished: Finished, tmp_path: Path) -> None:
    folder = clipexp.report([finished.record.run_id], out=tmp_path).parent
    path = folder / "data" / "runs.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 1}))
    for check in (verify, redraw_report):
        with pytest.raises(ReportError, match="of version 1, this clipexp reads 2; write the report again"):
            check(folder)
