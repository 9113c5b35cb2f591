"""Verify on a study's report: every number, word and file that no longer follows from its data is told."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clipexp.errors import ReportError
from clipexp.report_command import ReportOptions, report_on_console
from clipexp.reporting.evaluation import UnknownSourceError
from clipexp.reporting.sources import Source, numbers_in
from clipexp.reporting.verify import DIFFERENT, EXIT_DEVIATES, check_numbers, parts_of
from clipexp.study.analysis import StudyAnalysis
from clipexp.study.evaluation import evaluate
from clipexp.study.evidence import ConfirmRow, StudyEvidence
from clipexp.study.report import redraw_study_report, write_study_report
from clipexp.study.verify import verify_study
from tests.study.toy import BATCH, LR, WARMUP, evidence_of, row, toy_evidence

REPORT_OF_THE_REPOSITORY = Path(__file__).parents[2] / "reports/quick"
PLACES = [(3e-3, 1.0), (2.9e-3, 1.1), (1e-3, 1.2), (9e-4, 1.3), (8e-4, 1.4), (7e-4, 1.5)]


def rich() -> StudyEvidence:
    """A study whose report has nearly every section, with a choice among its dimensions."""
    return toy_evidence(16, has_choice=True)


def at_the_edge() -> StudyEvidence:
    """A study with a range that should be wider."""
    return evidence_of([row(n, loss, {LR: lr, WARMUP: 0.1, BATCH: 256}) for n, (lr, loss) in enumerate(PLACES)])


def with_markup() -> StudyEvidence:
    """A study whose texts would break a table, a comment or a proof."""
    evil = "a | b --> *2* `3` <b>4</b> = 5 [6](7) _8_"
    rows = [
        row(0, 1.5, {LR: 1e-3, WARMUP: 0.1, BATCH: 64}, baseline="base-2", run_id="abc"),
        row(1, None, {LR: 2e-3, WARMUP: 0.05, BATCH: 128}, state="infeasible", reason=evil),
        row(2, None, {}, state="failed", reason="12 --> 13"),
    ]
    evidence = evidence_of(rows, name="toy-2.1_x", hypothesis=evil, baselines=[{"name": "base-2"}])
    making = dataclasses.replace(evidence.making, command=f"clipexp sweep {evil}.yaml", attribution=evil)
    totals = dataclasses.replace(evidence.totals, device=evil)
    runs = tuple(ConfirmRow("base-2", seed, 1.0 + seed, "", "", {}) for seed in (1, 2))
    return dataclasses.replace(evidence, making=making, totals=totals, confirmations=runs)


def with_choices() -> StudyEvidence:
    """A study over a choice of nested values."""
    kinds: list[Any] = [
        {"kind": "clip"},
        {"kind": "trained", "vocab_size": 400},
        {"kind": "trained", "vocab_size": 800},
    ]
    search = {"data.tokenizer": {"kind": "choice", "values": kinds}, LR: {"kind": "range", "low": 1e-4, "high": 3e-3}}
    rows = [row(n, float(n), {"data.tokenizer": kinds[(n + 1) % 2], LR: 1e-3 + 1e-5 * n}) for n in range(4)]
    return evidence_of(rows, search=search)


def of_nothing() -> StudyEvidence:
    """A study of which no trial finished."""
    return evidence_of([row(0, None, {LR: 1e-3}, reason="out of memory: 12 GB")])


STUDIES = (rich, at_the_edge, with_markup, with_choices, of_nothing)


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports") / "toy"
    write_study_report(rich(), folder)
    return folder


@pytest.fixture
def folder(_made: Path, tmp_path: Path) -> Path:
    """A study's report."""
    return Path(shutil.copytree(_made, tmp_path / "toy"))


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


@pytest.mark.parametrize("study", STUDIES)
def test_a_report_as_it_was_written_holds(study: Any, tmp_path: Path) -> None:
    write_study_report(study(), tmp_path / "toy")
    checked = verify_study(tmp_path / "toy")
    assert checked.deviations == ()
    assert checked.num_numbers > 20


@pytest.mark.parametrize("study", STUDIES)
def test_each_number_that_is_changed_is_named_with_its_line_and_what_it_should_be(study: Any, tmp_path: Path) -> None:
    evidence = study()
    text = write_study_report(evidence, tmp_path / "toy").read_text()
    analysis = StudyAnalysis(evidence)
    lines = text.splitlines()
    visible = [(number, line) for part in parts_of(text) for number, line in part.lines]
    places = [(number, start, token) for number, line in visible for start, token in numbers_in(line)]
    assert len(places) > 20
    for number, start, token in places:
        line = lines[number - 1]
        edited = [*lines]
        edited[number - 1] = f"{line[:start]}{changed(token)}{line[start + len(token) :]}"
        deviations, _ = check_numbers("\n".join(edited) + "\n", lambda source: evaluate(analysis, source))
        assert [deviation.line for deviation in deviations] == [number], (line, token)
        assert f"shows {changed(token)}, the data give {token}: " in deviations[0].message


def test_a_number_in_the_table_that_was_edited_is_told_with_trial_run_metric_and_samples(folder: Path) -> None:
    line = edit(folder, "| 24,576 | 0.4", "| 24,576 | 0.3")
    (deviation,) = verify_study(folder).deviations
    assert deviation.line == line
    assert ": trial(" in deviation.message
    assert deviation.message.endswith(", 24,576")
    assert "objective) at val/loss of run " in deviation.message


def test_an_edited_word_is_told(folder: Path) -> None:
    line = edit(folder, "The best is", "The worst is")
    (deviation,) = verify_study(folder).deviations
    assert deviation.line == line
    assert "worst" in deviation.message


def test_a_word_edited_in_the_yaml_is_told(folder: Path) -> None:
    line = edit(folder, "schedule.decay: ", "schedule.dekay: ")
    (deviation,) = verify_study(folder).deviations
    assert deviation.line == line


def test_numbers_whose_proofs_were_removed_are_told(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    start = text.index("\n\n<!-- proof\n", text.index("## Best settings"))
    end = text.index("-->", start) + len("-->")
    (folder / "report.md").write_text(text[:start] + text[end:])
    assert any("which no proof covers" in deviation.message for deviation in verify_study(folder).deviations)


def test_a_proof_of_something_else_is_told(folder: Path) -> None:
    edit(folder, "= trial(best, number)", "= trial(0, number)")
    assert any("trial(0, number)" in deviation.message for deviation in verify_study(folder).deviations)


def test_a_changed_data_file_is_told_by_the_numbers_that_follow_from_it(folder: Path) -> None:
    path = folder / "data/study.json"
    content = json.loads(path.read_text())
    for run in content["confirmations"]:
        run["value"] += 0.1 * (run["name"] == "best")
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    told = [str(deviation) for deviation in verify_study(folder).deviations]
    assert any("confirmed(best, mean)" in line for line in told)
    assert "data/study.json: was changed since the report was written" in told


def test_a_changed_curve_is_told_by_its_file_and_its_trial(folder: Path) -> None:
    pruned = next(trial for trial in rich().trials if trial.state == "pruned")
    samples, value = pruned.curve[-1]
    edit(folder, f"{pruned.number},{samples},{value!r}", f"{pruned.number},{samples},9.5", "data/curves.csv")
    told = [str(deviation) for deviation in verify_study(folder).deviations]
    assert "data/curves.csv: was changed since the report was written" in told
    assert any(f"the data give 9.5000: trial({pruned.number}, objective)" in line for line in told)


@pytest.mark.parametrize("path", ["best.yaml", "figures/history.svg", "data/trials.csv"])
def test_a_file_that_was_edited_or_is_gone_is_told(folder: Path, path: str) -> None:
    (folder / path).write_text((folder / path).read_text() + "\n")
    assert [str(deviation) for deviation in verify_study(folder).deviations] == [f"{path}: {DIFFERENT}"]
    (folder / path).unlink()
    assert [str(deviation) for deviation in verify_study(folder).deviations] == [f"{path}: is missing"]


def test_figures_drawn_by_other_versions_are_a_warning(folder: Path) -> None:
    edit(folder, '"matplotlib": "', '"matplotlib": "0.', "data/study.json")
    (folder / "figures/history.svg").write_text("<svg/>")
    checked = verify_study(folder)
    assert checked.deviations == ()
    assert any(warning.startswith("figures/history.svg: ") for warning in checked.warnings)


def test_damaged_data_are_told_and_missing_ones_refused(folder: Path) -> None:
    (folder / "data/study.json").write_text("{")
    (deviation,) = verify_study(folder).deviations
    assert (deviation.file, "damaged" in deviation.message) == ("data", True)
    (folder / "data/study.json").unlink()
    with pytest.raises(ReportError, match="lacks"):
        verify_study(folder)


def test_an_edited_report_is_not_drawn_over_unless_that_is_forced(folder: Path) -> None:
    before = (folder / "report.md").read_bytes()
    edit(folder, "The best is", "My note: the best is")
    with pytest.raises(ReportError, match="somebody edited it"):
        redraw_study_report(folder)
    redraw_study_report(folder, force=True)
    assert (folder / "report.md").read_bytes() == before


def test_the_command_says_what_does_not_hold_and_exits_with_4(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_on_console([str(folder)], ReportOptions(verify=True)) == 0
    assert "numbers computed again from its data: all hold" in capsys.readouterr().out
    line = edit(folder, "16 trials", "17 trials")
    assert report_on_console([str(folder)], ReportOptions(verify=True)) == EXIT_DEVIATES
    assert f"report.md:{line}: shows 17, the data give 16: count(all)" in capsys.readouterr().out


def test_the_repositorys_own_report_holds() -> None:
    checked = verify_study(REPORT_OF_THE_REPOSITORY)
    assert checked.deviations == ()
    assert checked.num_numbers > 150


@pytest.mark.parametrize(
    "source",
    [
        Source("trial", ("99", "objective")),
        Source("trial", ("0", "charm")),
        Source("trial", ("0",)),
        Source("setting", ("best",)),
        Source("difference", ("nobody", "mean")),
        Source("importance", ("optim.nothing",)),
        Source("best_line", ("99",)),
        Source("no_way", ()),
    ],
)
def test_a_source_that_names_nothing_is_refused(source: Source) -> None:
    with pytest.raises(UnknownSourceError, match="names nothing in the data"):
        evaluate(StudyAnalysis(toy_evidence(16)), source)


def test_ways_come_to_what_can_be_counted_by_hand() -> None:
    analysis = StudyAnalysis(toy_evidence(16))
    wanted = {
        Source("count", ("all",)): 16,
        Source("count", ("pruned",)): 4,
        Source("count", ("reused",)): 1,
        Source("confirmed", ("best", "mean")): pytest.approx(0.52),
        Source("difference", ("base", "mean")): pytest.approx(-0.3),
        Source("setting", ("0", WARMUP)): "2%",
        Source("setting", ("0", LR)): "3e-4",
        Source("trial", ("5", "outcome")): "infeasible: the loss is NaN at step 12",
        Source("total", ("compute_hours",)): "15 min",
        Source("confirmations", ("seeds",)): "1, 2, 3",
    }
    assert {source: evaluate(analysis, source).value for source in wanted} == wanted
