"""`clipexp findings` on a folder of labelled curves and on a run, and the page that tells of the rules."""

import json
from pathlib import Path

import pytest

from clipexp.console import make_console
from clipexp.errors import ReportError
from clipexp.findings import RULES
from clipexp.findings.corpus import read_corpus
from clipexp.findings.reference import BEGIN, END, rules_part, write_page
from clipexp.findings.score import Rate
from clipexp.findings_command import findings_on_console, print_findings, rate
from tests.findings.plain_runs import line, plain_run, told

REPOSITORY = Path(__file__).parents[2]


def write(folder: Path) -> None:
    """A healthy curve, and one whose memory is full, labelled as if it were overfitting."""
    curves, _ = plain_run()
    full = curves | {"system/memory_frac": line([0.99] * 20)}
    for name, content in (("plain", curves), ("full", full)):
        rows = [f"{metric},{p.samples_seen},{p.value}" for metric, series in content.items() for p in series]
        (folder / f"{name}.csv").write_text("\n".join(["metric,samples_seen,value", *rows]))
    entries = [
        {"curve": "plain", "is_healthy": True, "part": "tune"},
        {"curve": "full", "expected": ["overfitting", "memory_near_limit"]},
    ]
    (folder / "labels.json").write_text(json.dumps({"version": 1, "curves": entries}))


def test_a_folder_is_scored_rule_by_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    findings_on_console(None, tmp_path, False, None)
    said = capsys.readouterr().out
    assert "tune: 1 curves, 1 of them healthy" in said
    assert "held-out: 1 curves, 0 of them healthy" in said
    assert "100% (1 of 1; 21 to 100%)" in said
    assert "overfitting missed: full" in said


def test_the_score_as_json_holds_precision_and_recall(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    findings_on_console(None, tmp_path, True, None)
    told_score = json.loads(capsys.readouterr().out)
    assert told_score["precision"] == 1.0
    assert told_score["recall"] == 0.5
    assert told_score["by_rule"]["overfitting"]["missed"] == ["full"]
    assert set(told_score["by_rule"]) == set(RULES)
    assert told_score["by_part"]["tune"]["num_healthy"] == 1


@pytest.mark.parametrize(("run", "curves"), [(None, None), ("a", Path("b"))])
def test_one_of_run_and_folder_must_be_named(run: str | None, curves: Path | None) -> None:
    with pytest.raises(ReportError, match="name a run"):
        findings_on_console(run, curves, False, None)


def test_findings_are_printed_with_their_settings(capsys: pytest.CaptureFixture[str]) -> None:
    curves, facts = plain_run()
    curves["system/memory_frac"] = line([0.99] * 20)
    print_findings(make_console(), list(told(curves, facts).values()))
    said = capsys.readouterr().out
    assert "caution: The run used 99% of the machine's memory" in said
    assert "Try: --set train.micro_batch=32" in said


def test_that_nothing_was_found_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_findings(make_console(), [])
    assert "nothing found" in capsys.readouterr().out


def test_a_rate_of_nothing_is_a_dash() -> None:
    assert rate(Rate(0, 0)) == "-"


def test_the_page_of_rules_is_current() -> None:
    """`python -m clipexp.findings.reference` writes it."""
    page = (REPOSITORY / "docs" / "findings.md").read_text(encoding="utf-8")
    written = BEGIN + page.partition(BEGIN)[2].partition(END)[0] + END
    assert written == rules_part(read_corpus(REPOSITORY / "tests" / "findings" / "corpus", RULES))


def test_a_page_without_the_marks_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("by hand\n")
    with pytest.raises(ReportError, match="lacks the lines"):
        write_page(read_corpus(tmp_path, RULES), page)
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    write_page(read_corpus(tmp_path, RULES), page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert all(f"### {rule.title}" in text for rule in RULES.values())
