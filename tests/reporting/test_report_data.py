"""A report's data folder: what is written is read back, bit for bit, and damage is told."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from clipexp.errors import ReportError
from clipexp.reporting.columns import curves_from_bytes, curves_to_bytes
from clipexp.reporting.evidence import NUM_ROWS, Evidence, evidence_files, key_digits_of, read_evidence
from clipexp.track.curves import Series
from tests.reporting.made import made_evidence, made_run, series, two_specs


def kept(evidence: Evidence, folder: Path) -> Path:
    for path, content in evidence_files(evidence).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def test_evidence_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    evidence = two_specs()
    assert read_evidence(kept(evidence, tmp_path)) == evidence


def test_evidence_that_is_read_back_gives_the_same_bytes_and_digests(tmp_path: Path) -> None:
    evidence = two_specs()
    again = read_evidence(kept(evidence, tmp_path))
    assert evidence_files(again) == evidence_files(evidence)
    assert again.digests == evidence.digests


def test_specs_of_runs_without_a_row_are_kept_together(tmp_path: Path) -> None:
    short = {"val/loss": series([100], [1.0])}
    evidence = made_evidence([made_run(f"run{number}", curves=short) for number in range(NUM_ROWS + 2)])
    again = read_evidence(kept(evidence, tmp_path))
    assert again == evidence
    assert len(json.loads((tmp_path / "specs.json").read_text())) == 2


@pytest.mark.parametrize("num_train", [4_000.0, math.nan])
def test_epochs_are_kept_only_where_they_do_not_follow_from_the_samples(num_train: float) -> None:
    curves = {"a": {"train/loss": series([64, 128], [1.0, math.nan])}}
    content = curves_to_bytes(curves, {"a": num_train})
    [again] = curves_from_bytes(content, {"a": num_train})["a"].values()
    assert again.epoch.tolist() == [0.016, 0.032]
    assert np.array_equal(again.values, [1.0, math.nan], equal_nan=True)
    assert (b"epoch" in content) == math.isnan(num_train)


def test_another_point_another_place_and_another_run_change_the_digest() -> None:
    def digest(**curves: Series) -> str:
        return made_evidence([dataclasses.replace(run, record=dataclasses.replace(run.record, curves=curves))]).digests[
            "curves"
        ]

    run = made_run()
    found = {
        digest(a=series([1, 2], [1.0, 2.0])),
        digest(a=series([1, 2], [1.0, 2.5])),
        digest(a=series([1, 3], [1.0, 2.0])),
        digest(b=series([1, 2], [1.0, 2.0])),
    }
    assert len(found) == 4


def test_two_ids_that_begin_alike_get_longer_keys() -> None:
    assert key_digits_of(["0123456789", "1123456789"]) == 8
    assert key_digits_of(["0123456789", "0123456799"]) == 9


def test_data_of_another_version_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "runs.json").write_text('{"version": 1, "name": "x", "runs": []}')
    with pytest.raises(ReportError, match="is of version 1, this clipexp reads 2; write the report again"):
        read_evidence(tmp_path)


@pytest.mark.parametrize("name", ["runs.json", "curves.parquet", "scores.parquet"])
def test_data_that_are_damaged_are_told(tmp_path: Path, name: str) -> None:
    kept(two_specs(), tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ReportError, match="no report's data folder, or damaged"):
        read_evidence(tmp_path)
