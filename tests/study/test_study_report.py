"""A study's report: drawn from its data alone, saying what the trials allow, its best settings ready to run."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest

from clipexp.errors import ReportError
from clipexp.reporting.write import redraw_report
from clipexp.spec.base import result_fields
from clipexp.spec.load import load_spec, resolve
from clipexp.spec.study import StudySpec
from clipexp.spec.yaml_lines import parse, plain
from clipexp.study import insight
from clipexp.study.evidence import ConfirmRow, StudyEvidence
from clipexp.study.insight import amended, best_trial
from clipexp.study.report import redraw_study_report, snippet, write_study_report
from tests.study.toy import BATCH, LR, WARMUP, confirmations, evidence_of, row, toy_evidence

CLOSE = {"best": {1: 0.50, 2: 0.55, 3: 0.47}, "base": {1: 0.52, 2: 0.49, 3: 0.53}}

PROOFS = re.compile(r"\n\n<!-- proof\n.*?-->", re.DOTALL)


def text(evidence: StudyEvidence, tmp_path: Path) -> str:
    """The report as its readers see it."""
    return PROOFS.sub("", write_study_report(evidence, tmp_path / "toy").read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def section(report: str, heading: str) -> str:
    return report.partition(f"## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(("num_trials", "has_choice"), [(3, False), (16, True)])
def test_a_report_drawn_again_from_its_data_has_the_same_bytes(
    tmp_path: Path, num_trials: int, has_choice: bool
) -> None:
    folder = tmp_path / "toy"
    write_study_report(toy_evidence(num_trials, has_choice=has_choice), folder)
    first = files(folder)
    for path in [*folder.glob("figures/*"), folder / "report.md", folder / "best.yaml"]:
        path.unlink()
    redraw_study_report(folder)
    assert files(folder) == first
    assert {"report.md", "best.yaml", "figures/history.svg", "data/study.json", "data/curves.csv"} <= set(first)


def test_figures_that_no_longer_apply_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    write_study_report(toy_evidence(16), folder)
    assert (folder / "figures/importances.svg").exists()
    write_study_report(toy_evidence(3), folder)
    assert not (folder / "figures/importances.svg").exists()
    write_study_report(evidence_of([]), folder)
    assert not (folder / "best.yaml").exists()


def test_the_best_settings_load_as_the_best_trials_spec(tmp_path: Path) -> None:
    evidence = toy_evidence(16, has_choice=True)
    write_study_report(evidence, tmp_path / "toy")
    best = best_trial(evidence)
    assert best is not None
    trial = resolve(amended(evidence.base, best.values)).spec
    loaded = load_spec(tmp_path / "toy" / "best.yaml").spec
    assert result_fields(loaded) == result_fields(trial)
    assert (loaded.optim.max_lr, loaded.train.batch_size) == (best.values[LR], best.values[BATCH])
    assert loaded.name == "toy-best"


def test_what_the_best_trials_run_recorded_is_what_is_ready_to_run(tmp_path: Path) -> None:
    evidence = toy_evidence(3)
    best = best_trial(evidence)
    assert best is not None
    recorded = amended(evidence.base, {**best.values, "seed": 4, "train.budget": {"samples": 24_576}})
    write_study_report(evidence.with_best(recorded), tmp_path / "toy")
    loaded = load_spec(tmp_path / "toy" / "best.yaml").spec
    assert result_fields(loaded) == result_fields(resolve(recorded).spec)


def test_the_summary_says_the_best_settings_and_what_they_took(tmp_path: Path) -> None:
    summary = text(toy_evidence(16), tmp_path).split("\n\n")[2]
    assert summary.startswith("Which max_lr, warmup_frac and batch_size give the lowest val/loss?")
    assert (
        "The best of 11 finished trials is max_lr 1.04e-3, warmup_frac 2.44%, batch_size 128: val/loss 0.37" in summary
    )
    assert "16 trials (11 finished, 4 pruned, 1 infeasible, 1 of them by reusing a run)" in summary
    assert "300,000 samples, 15 min of training and 18 min of wall time on a toy of 2 threads" in summary


def test_the_order_is_from_the_conclusion_to_how_it_was_made(tmp_path: Path) -> None:
    headings = [line for line in text(toy_evidence(16), tmp_path).splitlines() if line.startswith("#")]
    assert headings == [
        "# toy",
        "## The best against the baselines",
        "## Trials",
        "## Figures",
        "## What the trials tell of the space",
        "## What to search next",
        "## Best settings",
        "## How it was made",
    ]


def test_trials_stand_best_first_with_what_became_of_each(tmp_path: Path) -> None:
    lines = section(text(toy_evidence(16), tmp_path), "Trials").strip().splitlines()
    assert lines[0] == "| trial | max_lr | warmup_frac | batch_size | samples | val_loss | state |"
    assert len(lines) == 2 + 16
    assert lines[2].startswith("| 10 | 1.04e-3 | 2.44% | 128 | 24,576 | 0.3709 | finished |")
    values = [float(line.split("|")[6]) for line in lines if line.endswith("| finished |")]
    assert values == sorted(values)
    assert len(values) == 10
    (base,) = [line for line in lines if line.startswith("| 0 (base) | 3e-4 | 2% | 128 |")]
    assert base.endswith("| finished |")
    assert lines[-1].endswith("infeasible: the loss is NaN at step 12 |")
    assert sum("| pruned |" in line for line in lines) == 4


def test_a_long_table_keeps_the_best_and_the_baselines_and_counts_the_rest(tmp_path: Path) -> None:
    table = section(text(toy_evidence(60), tmp_path), "Trials").strip()
    assert len([line for line in table.splitlines() if line.startswith("|")]) == 2 + 21
    assert "| 0 (base) |" in table
    assert "39 more in [data/trials.csv](data/trials.csv). Of all: 44 finished, 15 pruned, 1 infeasible" in table
    assert len((tmp_path / "toy/data/trials.csv").read_text().splitlines()) == 61


def test_the_confirmation_says_better_with_its_interval(tmp_path: Path) -> None:
    evidence = toy_evidence(16)
    confirmed = insight.confirmation(evidence)
    assert confirmed is not None
    (difference,) = confirmed.differences
    assert difference.interval is not None
    low, high = difference.interval
    found = section(text(evidence, tmp_path), "The best against the baselines")
    assert "| best | 3 | 0.5200 | 0.0100 | – | – |" in found
    assert f"| base (baseline) | 3 | 0.8200 | 0.1100 | -0.3000 | {low:+.4f} to {high:+.4f} |" in found
    assert difference.sentence() in found
    assert ("**The best is better than base" in found) == (high < 0)


def test_seeds_that_would_tell_are_named_where_nothing_is_told(tmp_path: Path) -> None:
    close = [ConfirmRow(n, seed, value, "", "", {}) for n, values in CLOSE.items() for seed, value in values.items()]
    evidence = dataclasses.replace(toy_evidence(16), confirmations=tuple(close))
    found = section(text(evidence, tmp_path), "The best against the baselines")
    assert "The best is not distinguishable from base in val/loss" in found
    assert re.search(r"\d+ more seeds? each would tell a difference of", found)


def test_a_confirmation_run_without_a_value_is_told(tmp_path: Path) -> None:
    first, *rest = confirmations()
    lost = dataclasses.replace(first, value=math.nan)
    report = text(dataclasses.replace(toy_evidence(16), confirmations=(lost, *rest)), tmp_path)
    assert "To be fair:" in section(report, "The best against the baselines")


def test_confirmation_runs_that_are_trials_are_owned_up_to(tmp_path: Path) -> None:
    first, *rest = confirmations()
    shared = dataclasses.replace(first, run_id=toy_evidence(16).trials[0].run_id)
    report = text(dataclasses.replace(toy_evidence(16), confirmations=(shared, *rest)), tmp_path)
    assert "1 of these runs is a trial as well; the best was chosen by them, which favours it." in report
    assert "not chosen by these seeds" not in report


def test_without_confirmation_no_comparison_is_made(tmp_path: Path) -> None:
    report = text(toy_evidence(16, is_confirmed=False), tmp_path)
    assert "better than" not in report
    assert "told apart" not in report
    assert "against the baselines" not in report


def at_the_edge() -> StudyEvidence:
    places = [(3e-3, 1.0), (2.9e-3, 1.1), (1e-3, 1.2), (9e-4, 1.3), (8e-4, 1.4), (7e-4, 1.5)]
    return evidence_of([row(n, loss, {LR: lr, WARMUP: 0.1, BATCH: 256}) for n, (lr, loss) in enumerate(places)])


def test_an_optimum_at_an_edge_comes_with_a_wider_range_that_is_ready_to_paste(tmp_path: Path) -> None:
    evidence = at_the_edge()
    found = section(text(evidence, tmp_path), "What to search next")
    assert (
        "**max_lr**: 2 of the best 3 settings stand within 5% of the high end, 3e-3: search on, 1e-4 to 9e-3" in found
    )
    pasted = tmp_path / "pasted.yaml"
    pasted.write_text(found.split("```yaml\n")[1].split("```")[0])
    search: dict[str, Any] = plain(parse(pasted, []))["search"]
    spec = StudySpec.model_validate(dict(evidence.study) | {"search": dict(evidence.study["search"]) | search})
    assert spec.search[LR].high == pytest.approx(9e-3)  # type: ignore[union-attr]


def test_few_trials_propose_nothing(tmp_path: Path) -> None:
    assert section(text(toy_evidence(3), tmp_path), "What to search next").strip() == (
        "Too few trials to say: 3 finished trials."
    )


def test_a_snippet_leaves_defaults_out() -> None:
    assert snippet({WARMUP: toy_evidence(3).spec.search[WARMUP]}) == (
        f"search:\n  {WARMUP}:\n    kind: range\n    low: 0.0\n    high: 0.2\n"
    )


def test_a_study_of_which_nothing_finished_is_reported(tmp_path: Path) -> None:
    report = text(evidence_of([row(0, None, {LR: 1e-3}, reason="a | b")]), tmp_path)
    assert "No trial finished, so that nothing is known yet." in report
    assert "pruned: a &#124; b |" in report
    assert "best.yaml" not in report


def test_generated_files_say_what_makes_them_and_whose_the_pictures_are(tmp_path: Path) -> None:
    report = text(toy_evidence(3), tmp_path)
    assert "Drawn again from data/ by: clipexp report --redraw --name toy" in report
    assert "clipexp sweep studies/toy.yaml" in (tmp_path / "toy/best.yaml").read_text()
    assert "Data: Drawings by nobody." in report


def test_a_report_says_which_reports_there_are_where_one_is_missing(tmp_path: Path) -> None:
    write_study_report(toy_evidence(3), tmp_path / "toy")
    with pytest.raises(ReportError, match="there is no report other; reports here: toy"):
        redraw_report(tmp_path / "other")
    with pytest.raises(ReportError, match="damaged"):
        redraw_study_report(tmp_path / "other")
