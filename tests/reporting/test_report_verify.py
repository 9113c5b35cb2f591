"""Verify: whatever is changed in a report or its data is told, with the place, what stands there and what should."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from clipexp.errors import ReportError
from clipexp.reporting import verify as verify_module
from clipexp.reporting.analysis import Analysis
from clipexp.reporting.evaluation import evaluate
from clipexp.reporting.evidence import Evidence, read_evidence
from clipexp.reporting.render import render
from clipexp.reporting.sources import numbers_in
from clipexp.reporting.verify import Deviation, check_numbers, parts_of, verify
from clipexp.reporting.write import write
from tests.reporting.made import made_evidence, made_run, two_specs


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports") / "made"
    write(folder, two_specs())
    return folder


@pytest.fixture
def folder(_made: Path, tmp_path: Path) -> Path:
    """A report on three seeds of two specs."""
    return shutil.copytree(_made, tmp_path / "made")


def edit(folder: Path, old: str, new: str, path: str = "report.md") -> int:
    """Replace the first place of a text; returns its line."""
    text = (folder / path).read_text()
    assert old in text
    (folder / path).write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def changed(token: str) -> str:
    """A number with its last digit another."""
    place = max(idx for idx, letter in enumerate(token) if letter.isdigit())
    return f"{token[:place]}{(int(token[place]) + 1) % 10}{token[place + 1 :]}"


def test_a_report_as_it_was_written_holds(folder: Path) -> None:
    checked = verify(folder)
    assert checked.deviations == ()
    assert checked.num_numbers > 200


def test_each_number_of_a_report_that_is_changed_is_named_with_its_line_and_what_it_should_be(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    lines = text.splitlines()
    visible = [(number, line) for part in parts_of(text) for number, line in part.lines]
    places = [(number, start, token) for number, line in visible for start, token in numbers_in(line)]
    assert len(places) > 200
    analysis = Analysis(read_evidence(folder / "data"))
    for number, start, token in places:
        line = lines[number - 1]
        edited = [*lines]
        edited[number - 1] = f"{line[:start]}{changed(token)}{line[start + len(token) :]}"
        deviations, _ = check_numbers("\n".join(edited) + "\n", lambda source: evaluate(analysis, source))
        assert [deviation.line for deviation in deviations] == [number], (line, token)
        assert f"shows {changed(token)}, the data give {token}: " in deviations[0].message


def test_a_number_in_a_table_that_was_edited_is_told_with_run_metric_and_step(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| base "))
    value = re.findall(r"\d\.\d{3}", row)[-1]
    line = edit(folder, row, row.replace(value, "0.001"))
    [deviation] = verify(folder).deviations
    assert str(deviation).startswith(f"report.md:{line}: shows 0.001, the data give {value}: last(val/loss, run ")
    assert str(deviation).endswith(" at 32,000")


def test_an_edited_word_is_told(folder: Path) -> None:
    line = edit(folder, "symmetric InfoNCE", "asymmetric InfoNCE")
    [deviation] = verify(folder).deviations
    assert deviation.line == line
    assert "asymmetric" in deviation.message


def test_a_proof_that_was_removed_leaves_numbers_that_none_covers(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    start = text.index("<!-- proof", text.index("## Runs"))
    (folder / "report.md").write_text(text[:start] + text[text.index("-->", start) + 4 :])
    found = [str(deviation) for deviation in verify(folder).deviations]
    assert any("which no proof covers" in words for words in found)


def test_a_proof_that_was_edited_is_told(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    proof = next(line for line in text.splitlines() if " = median(system/samples_per_s" in line)
    line = edit(folder, proof, proof.replace("median", "highest"))
    deviations = verify(folder).deviations
    assert any("highest(system/samples_per_s" in str(deviation) for deviation in deviations)
    assert line > 0


def test_a_number_that_was_edited_together_with_its_proof_is_told(folder: Path) -> None:
    path = folder / "report.md"
    path.write_text(path.read_text().replace("4,000", "5,000"))
    messages = [deviation.message for deviation in verify(folder).deviations]
    assert any(
        message.startswith("shows 5,000, the data give 4,000: tag(clipexp.num_train_pairs") for message in messages
    )


@pytest.mark.parametrize("addition", ["\nThe loss fell by 0.5 nats.\n", "\nA word without a number.\n"])
def test_a_line_that_was_added_is_told(folder: Path, addition: str) -> None:
    path = folder / "report.md"
    path.write_text(path.read_text() + addition)
    assert any(addition.strip()[:10] in d.message or "0.5" in d.message for d in verify(folder).deviations)


def test_a_curve_that_was_changed_in_the_data_is_told_with_the_numbers_that_no_longer_hold(folder: Path) -> None:
    evidence = read_evidence(folder / "data")
    run = evidence.runs[0]
    curves = dict(run.record.curves)
    series = curves["val/loss"]
    values = series.values.copy()
    values[-1] += 1
    curves["val/loss"] = type(series)(series.samples_seen, series.epoch, values, series.time_ms)
    other = dataclasses.replace(run, record=dataclasses.replace(run.record, curves=curves))
    from clipexp.reporting.evidence import CURVES_FILE, evidence_files

    files = evidence_files(dataclasses.replace(evidence, runs=(other, *evidence.runs[1:])))
    (folder / "data" / CURVES_FILE).write_bytes(files[CURVES_FILE])
    found = [str(deviation) for deviation in verify(folder).deviations]
    assert "data/curves.parquet: was changed since the report was written" in found
    assert any(f"last(val/loss, run {run.key}) at 32,000" in words for words in found)
    assert f"figures/{run.key}.svg: is not what the data give" in found


def test_a_setting_that_was_changed_in_the_data_is_told(folder: Path) -> None:
    path = folder / "data" / "runs.json"
    content = json.loads(path.read_text())
    content["shared"]["params"]["train.batch_size"] = "128"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    found = [str(deviation) for deviation in verify(folder).deviations]
    assert "data/runs.json: was changed since the report was written" in found
    assert any("shows 64, the data give 128: param(train.batch_size" in words for words in found)


def test_a_spec_that_was_changed_in_the_data_is_told(folder: Path) -> None:
    [spec, *_] = sorted((folder / "data").glob("*/spec.yaml"))
    spec.write_text("name: other\n")
    assert [str(deviation) for deviation in verify(folder).deviations] == [
        "data/*/spec.yaml: was changed since the report was written"
    ]


def test_a_data_file_that_is_cut_short_is_told(folder: Path) -> None:
    path = folder / "data" / "curves.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    [deviation] = verify(folder).deviations
    assert "no report's data folder, or damaged" in deviation.message


def test_files_that_are_edited_missing_or_strange_are_told(folder: Path) -> None:
    edit(folder, "</svg>", "<text>9</text></svg>", "figures/comparison.svg")
    next(path for path in (folder / "figures").glob("*-examples.png")).unlink()
    (folder / "data" / "more.txt").write_text("")
    found = verify(folder).deviations
    assert Deviation("figures/comparison.svg", 0, "is not what the data give") in found
    assert [deviation.message for deviation in found if deviation.file.endswith(".png")] == ["is missing"]
    assert Deviation("data/more.txt", 0, "is no part of this report") in found


def test_what_another_version_words_or_draws_otherwise_is_warned_of_and_numbers_decide(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rendered(evidence: Evidence) -> dict[str, bytes]:
        files = render(evidence)
        files["report.md"] = files["report.md"].replace(b"symmetric InfoNCE", b"InfoNCE, symmetric,")
        files["figures/comparison.svg"] += b"\n"
        return files

    monkeypatch.setattr(verify_module, "render", rendered)
    checked = verify(folder)
    assert checked.deviations == ()
    assert [warning.split(":")[0] for warning in checked.warnings] == ["report.md", "figures/comparison.svg"]
    line = edit(folder, "4,000", "4,001")
    assert str(verify(folder).deviations[0]).startswith(f"report.md:{line}: shows 4,001, the data give 4,000")


def test_a_figure_that_somebody_edited_is_told_whatever_version_draws_now(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_module, "drawing_versions", lambda packages: {"numpy": "99"})
    edit(folder, "</svg>", "<text>9</text></svg>", "figures/comparison.svg")
    assert [str(d) for d in verify(folder).deviations] == ["figures/comparison.svg: is not what the data give"]


def test_data_whose_bytes_another_version_wrote_otherwise_are_warned_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "data" / "runs.json"
    path.write_text(path.read_text().replace("\n", "\n\n", 1))
    assert [str(d) for d in verify(folder).deviations] == ["data/runs.json: is not what the data give"]
    monkeypatch.setattr(verify_module, "drawing_versions", lambda packages: {"numpy": "99"})
    checked = verify(folder)
    assert checked.deviations == ()
    assert [warning.split(":")[0] for warning in checked.warnings] == ["data/runs.json"]


def test_a_study_s_report_is_refused_with_what_can_be_done(tmp_path: Path) -> None:
    (tmp_path / "s" / "data").mkdir(parents=True)
    (tmp_path / "s" / "data" / "study.json").write_text("{}")
    with pytest.raises(ReportError, match="a study's report"):
        verify(tmp_path / "s")


def test_a_folder_that_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(ReportError, match=r"lacks report\.md"):
        verify(tmp_path / "s")


@pytest.mark.parametrize(
    "name",
    ["x = last(val/loss, run 1) [.3f]", "--> 7", "1 `2` 3", "a|b 4", "<b>5</b>", "[6](7)", "_8_", "9\n10", "11%"],
)
def test_a_run_with_any_name_makes_a_report_that_holds(tmp_path: Path, name: str) -> None:
    write(tmp_path / "made", made_evidence([made_run(name), made_run("plain", seed=1)]))
    assert verify(tmp_path / "made").deviations == ()
