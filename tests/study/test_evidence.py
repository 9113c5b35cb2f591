"""What a study's report rests on: taken from Optuna's trials, kept as files, read back the same."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from clipexp.errors import ReportError
from clipexp.study.evidence import (
    CURVES_FILE,
    STUDY_FILE,
    TABLE_FILE,
    StudyEvidence,
    evidence_files,
    is_study_report,
    read_evidence,
)
from tests.study.toy import BATCH, BUDGET, DECAY, LR, toy_evidence


def write_evidence(folder: Path, evidence: StudyEvidence) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in evidence_files(evidence).items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(("num_trials", "has_choice"), [(3, False), (16, True)])
def test_evidence_reads_back_as_it_was_written(tmp_path: Path, num_trials: int, has_choice: bool) -> None:
    evidence = toy_evidence(num_trials, has_choice=has_choice)
    write_evidence(tmp_path, evidence)
    assert read_evidence(tmp_path) == evidence
    assert list(read_evidence(tmp_path).spec.search) == list(evidence.spec.search)


def test_the_best_trials_own_spec_is_kept(tmp_path: Path) -> None:
    evidence = toy_evidence(3)
    with_best = evidence.with_best({**evidence.base, "seed": 7})
    write_evidence(tmp_path, with_best)
    assert read_evidence(tmp_path) == with_best


def test_a_value_that_is_no_number_reads_back() -> None:
    evidence = toy_evidence(16)
    assert evidence.trials[5].value is None
    assert evidence.trials[5].reason == "the loss is NaN at step 12"


def test_rows_say_what_became_of_each_trial() -> None:
    rows = toy_evidence(16).trials
    assert [row.state for row in rows[:6]] == ["finished"] * 3 + ["pruned", "finished", "infeasible"]
    assert rows[0].baseline == "base"
    assert [row.number for row in rows if row.reused] == [9]
    assert rows[0].values[LR] == pytest.approx(3e-4)
    assert rows[0].values[BATCH] == 128  # as people write it, not the exponent that Optuna has
    assert rows[1].curve[-1] == (BUDGET, rows[1].value)
    assert (rows[3].value, rows[3].samples_seen) == (None, 6_144)


def test_the_table_has_a_line_a_trial(tmp_path: Path) -> None:
    write_evidence(tmp_path, toy_evidence(16, has_choice=True))
    header, *lines = (tmp_path / TABLE_FILE).read_text().splitlines()
    assert len(lines) == 16
    assert header.split(",")[9:13] == [LR, "schedule.warmup_frac", BATCH, DECAY]
    assert lines[0].startswith("0,finished,0.7")


def test_columns_are_last_words_unless_two_share_one() -> None:
    assert list(toy_evidence(3).columns().values()) == ["max_lr", "warmup_frac", "batch_size"]


@pytest.mark.parametrize("damage", [STUDY_FILE, CURVES_FILE])
def test_a_damaged_data_folder_is_refused(tmp_path: Path, damage: str) -> None:
    write_evidence(tmp_path, toy_evidence(3))
    read_evidence(tmp_path)
    (tmp_path / damage).write_text("{" if damage == STUDY_FILE else "a\n1,2\n")
    with pytest.raises(ReportError, match="damaged"):
        read_evidence(tmp_path)


def test_evidence_of_another_version_is_refused(tmp_path: Path) -> None:
    write_evidence(tmp_path, toy_evidence(3))
    content = json.loads((tmp_path / STUDY_FILE).read_text())
    (tmp_path / STUDY_FILE).write_text(json.dumps({**content, "version": 99}))
    with pytest.raises(ReportError, match="version 99"):
        read_evidence(tmp_path)


def test_a_confirmation_run_without_a_value_reads_back_so(tmp_path: Path) -> None:
    evidence = toy_evidence(3)
    first, *rest = evidence.confirmations
    lost = dataclasses.replace(evidence, confirmations=(dataclasses.replace(first, value=math.nan), *rest))
    write_evidence(tmp_path, lost)
    json.loads((tmp_path / STUDY_FILE).read_text(), parse_constant=pytest.fail)
    again = read_evidence(tmp_path).confirmations
    assert math.isnan(again[0].value)
    assert list(again[1:]) == rest


def test_what_drew_a_report_is_kept_and_changes_no_digest(tmp_path: Path) -> None:
    evidence = toy_evidence(3)
    drawn = dataclasses.replace(evidence, drawn_with={"numpy": "1.0"})
    write_evidence(tmp_path, drawn)
    assert read_evidence(tmp_path).drawn_with == {"numpy": "1.0"}
    assert drawn.digests == evidence.digests


def test_a_digest_changes_with_what_its_file_says() -> None:
    evidence = toy_evidence(3)
    first, *rest = evidence.trials
    longer = dataclasses.replace(evidence, trials=(dataclasses.replace(first, curve=((1, 2.0),)), *rest))
    other = dataclasses.replace(evidence, trials=(dataclasses.replace(first, reason="another"), *rest))
    for changed, file in ((longer, CURVES_FILE), (other, STUDY_FILE)):
        assert {name for name, digest in changed.digests.items() if digest != evidence.digests[name]} == {file}


def test_a_folder_with_a_studys_data_is_a_study_report(tmp_path: Path) -> None:
    assert not is_study_report(tmp_path)
    write_evidence(tmp_path / "data", toy_evidence(3))
    assert is_study_report(tmp_path)
