"""Reading labelled curves: both layouts give the same, and what is wrong is told with its place and remedy."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipexp.errors import ReportError
from clipexp.findings.corpus import read_corpus

ROWS = [("train/loss", 100, 3.0), ("train/loss", 300, float("nan")), ("train/loss", 200, 2.5), ("train/loss", 200, 2.0)]
RULES = ("lr_too_high", "overfitting")


def write(folder: Path, *, layout: str = "csv", **label: Any) -> Path:
    entry = {"curve": "one", "expected": ["lr_too_high"], "facts": {"batch_size": 64, "num_train_pairs": 400}, **label}
    (folder / "labels.json").write_text(json.dumps({"version": 1, "curves": [entry]}))
    metrics, samples, values = zip(*ROWS, strict=True)
    if layout == "csv":
        lines = ["metric,samples_seen,value", *(f"{metric},{at},{value}" for metric, at, value in ROWS)]
        (folder / "one.csv").write_text("\n".join(lines) + "\n")
    else:
        names = pa.array(["one"] * len(ROWS)).dictionary_encode()
        table = pa.table({"curve": names, "metric": metrics, "samples_seen": samples, "value": values})
        pq.write_table(table, folder / "curves.parquet")
    return folder


@pytest.mark.parametrize("layout", ["csv", "parquet"])
def test_points_are_read_in_order_each_place_once(tmp_path: Path, layout: str) -> None:
    (curve,) = read_corpus(write(tmp_path, layout=layout, part="tune", allowed=["overfitting"], is_healthy=True), RULES)
    series = curve.curves["train/loss"]
    assert series.samples_seen.tolist() == [100, 200, 300]
    assert series.epoch.tolist() == [0.25, 0.5, 0.75]
    np.testing.assert_array_equal(series.values, [3.0, 2.0, np.nan])
    assert curve.facts.batch_size == 64
    assert (curve.part, curve.is_healthy) == ("tune", True)
    assert (curve.expected, curve.allowed) == ({"lr_too_high"}, {"overfitting"})


def test_a_curve_is_held_out_where_nothing_is_said(tmp_path: Path) -> None:
    (curve,) = read_corpus(write(tmp_path), RULES)
    assert curve.part == "held-out"


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ({"expected": ["lr_too_hi"]}, "there is no rule lr_too_hi; the rules are lr_too_high, overfitting"),
        ({"expected": "overfitting"}, "curve one, expected: write a list of rules"),
        ({"allowed": [3]}, "curve one, allowed: write a list of rules"),
        ({"facts": {"batch": 3}}, "there is no fact batch; the facts are batch_size"),
        ({"facts": {"batch_size": "64"}}, "the fact batch_size can't be '64'"),
        ({"facts": {"decay": 1}}, "the fact decay can't be 1"),
        ({"facts": []}, "facts must be a mapping"),
        ({"part": "test"}, "part is 'test'; write one of tune, held-out"),
        ({"curve": "two"}, "two.csv is missing, and there is no curves.parquet"),
        ({"curve": "../one"}, "../one is no file's name"),
        ({"curve": ""}, 'entry 1 of "curves" has no name'),
    ],
)
def test_a_wrong_label_is_told(tmp_path: Path, label: dict[str, Any], words: str) -> None:
    with pytest.raises(ReportError, match=re.escape(words)):
        read_corpus(write(tmp_path, **label), RULES)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "labels.json is missing"),
        ("{", "can't be read as JSON"),
        ("[]", 'has no list "curves"'),
        ('{"curves": []}', 'has no list "curves"'),
        ('{"version": 2, "curves": [{"curve": "one"}]}', "is of version 2, this reads 1"),
        ('{"curves": [{"curve": "one"}, {"curve": "one"}]}', "curve one is labelled twice"),
    ],
)
def test_labels_that_cannot_be_read_are_told(tmp_path: Path, content: str | None, words: str) -> None:
    write(tmp_path)
    (tmp_path / "labels.json").unlink()
    if content is not None:
        (tmp_path / "labels.json").write_text(content)
    with pytest.raises(ReportError, match=words):
        read_corpus(tmp_path, RULES)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("metric,step,value\na,1,2\n", "has the columns metric, step, value, and lacks samples_seen"),
        ("", "has the columns none, and lacks metric, samples_seen, value"),
        ("metric,samples_seen,value\ntrain/loss,1,2\ntrain/loss,2,much\n", r"one.csv:3: could not convert"),
        ("metric,samples_seen,value\ntrain/loss,1\n", r"one.csv:2: could not convert"),
    ],
)
def test_a_csv_that_cannot_be_read_is_told_with_its_line(tmp_path: Path, content: str, words: str) -> None:
    write(tmp_path)
    (tmp_path / "one.csv").write_text(content)
    with pytest.raises(ReportError, match=words):
        read_corpus(tmp_path, RULES)


def test_a_parquet_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    write(tmp_path, layout="parquet")
    (tmp_path / "curves.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ReportError, match="can't be read as curves"):
        read_corpus(tmp_path, RULES)


def test_a_parquet_file_of_other_columns_is_told(tmp_path: Path) -> None:
    write(tmp_path, layout="parquet")
    pq.write_table(pa.table({"curve": ["one"], "value": [1.0]}), tmp_path / "curves.parquet")
    with pytest.raises(ReportError, match="lacks metric, samples_seen"):
        read_corpus(tmp_path, RULES)


def test_a_labelled_curve_that_is_not_in_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"there is no curve two, which labels\.json labels"):
        read_corpus(write(tmp_path, layout="parquet", curve="two"), RULES)
