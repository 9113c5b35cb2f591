"""Render: what a report says of runs, from evidence made up here."""

import dataclasses
import math
import re

import numpy as np
import pytest

from clipexp.events import Example
from clipexp.plots.artifacts import KeptExamples
from clipexp.reporting.evidence import NUM_ROWS, NUM_SECTIONS, Evidence, RunEvidence
from clipexp.reporting.render import render
from tests.reporting.made import (
    TOTAL,
    made_curves,
    made_evidence,
    made_examples,
    made_run,
    noted,
    series,
    two_specs,
)


def text_of(*runs: RunEvidence) -> str:
    return report_of(made_evidence(runs))


def report_of(evidence: Evidence) -> str:
    """The report as a reader sees it: without the proofs."""
    text = render(evidence)["report.md"].decode()
    return re.sub(r"\n<!-- proof\n.*?-->\n", "", text, flags=re.DOTALL)


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ", maxsplit=1)[0]


def test_the_same_evidence_gives_the_same_bytes() -> None:
    assert render(two_specs()) == render(two_specs())


def test_the_first_lines_say_which_spec_is_better_and_by_how_much() -> None:
    first = report_of(two_specs()).split("-->\n\n")[1].split("\n\n")[0]
    assert first.startswith("**base is best in val/loss, of 2 groups.** base is better than slow in val/loss (-1.4")
    assert "95% interval" in first


def test_the_first_lines_of_one_run_say_what_it_came_to_beside_chance() -> None:
    run = made_run("solo")
    loss = run.record.final["val/loss"]
    assert f"**solo came to val/loss {loss:.3f}**; a model that knows nothing has 6.93." in text_of(run)


def test_the_comparison_has_means_over_seeds_intervals_and_the_verdict() -> None:
    evidence = two_specs()
    values = [run.record.final["val/loss"] for run in evidence.runs[:3]]
    words = section(report_of(evidence), "Comparison")
    assert f"| base | 1 | 3 | {np.mean(values):.4f} | {np.std(values, ddof=1):.4f} |" in words
    assert re.search(r"\| base \| slow \| -1\.\d{4} \| -1\.\d{4} to -1\.\d{4} \| better \|", words)


def test_runs_of_different_metrics_are_not_compared() -> None:
    small = made_run("small", curves=made_curves(0, block=256))
    text = text_of(made_run("large"), small)
    assert "different names are not compared with one another" in section(text, "Comparison")
    assert "better" not in section(text, "Comparison")
    assert "(blocks of 256)" in text


def test_a_single_seed_of_each_spec_ranks_none_and_asks_for_more() -> None:
    text = text_of(made_run("a"), made_run("b", curves=made_curves(1, end=2.0)))
    assert "no spec is ranked" in section(text, "Comparison")
    assert "--replicate 4" in section(text, "What to run next")


def test_groups_that_differ_in_more_than_the_spec_are_named_as_unfair() -> None:
    runs = [made_run("a", seed=seed) for seed in range(2)]
    runs += [made_run("b", seed=seed, tags={"clipexp.git_commit": "f" * 16}) for seed in range(2)]
    assert "Mind code" in section(text_of(*runs), "Comparison")


@pytest.mark.parametrize(
    ("num_first", "words"),
    [
        (0, "0 of 3 find their own picture first; a green frame marks it."),
        (1, "1 of 3 finds its own picture first; a green frame marks it."),
        (3, "3 of 3 find their own picture first; a green frame marks it."),
    ],
)
def test_the_report_counts_the_captions_that_find_their_own_picture(num_first: int, words: str) -> None:
    examples = tuple(Example("a", 0, (0, 1) if n < num_first else (1, 0), (1.0, 0.5)) for n in range(3))
    kept = KeptExamples(examples, (0, 1), "Drawn by A", made_examples().sheet)
    text = text_of(made_run(evidence={"examples": kept}))
    assert words in text
    assert "<sub>Drawn by A</sub>" in text


def test_from_each_row_one_command_reproduces_and_one_extends() -> None:
    run = made_run("a")
    spec = f"clipexp run reports/made/data/{run.key}/spec.yaml"
    assert f"| a | `{run.record.run_id}` | `{spec}` | `{spec} --set train.budget.samples={2 * TOTAL}` |" in section(
        text_of(run), "Commands"
    )


def test_a_budget_in_epochs_is_extended_in_epochs() -> None:
    run = made_run("a", params={"train.budget.samples": "None", "train.budget.epochs": "2.5"})
    assert "--set train.budget.epochs=5`" in text_of(run)


def test_the_result_line_has_the_best_its_epoch_and_the_median_rate() -> None:
    curves = made_curves(0)
    loss = curves["val/loss"]
    values = loss.values.copy()
    values[-2] = 0.5
    curves["val/loss"] = series(loss.samples_seen.tolist(), values.tolist())
    text = text_of(made_run(curves=curves, duration_s=100.0))
    rate = np.median(curves["system/samples_per_s"].values)
    assert f"(best 0.500 at epoch {loss.epoch[-2]:.3g}). It took 100 s, at {rate:,.0f} samples/s." in text


def test_findings_stand_with_window_value_threshold_and_a_command() -> None:
    """The made-up loss still falls at its end, so that rule has something to say."""
    words = section(text_of(made_run("a")), "a")
    found = re.search(r"\d\. \*\*Still converging\*\* \(note\): (.*)", words)
    assert found is not None
    assert "Seen on val/loss, 16,000 to 32,000 samples:" in found[1]
    assert "the rule speaks from" in found[1]
    assert "--set train.budget.samples=64000`" in found[1]


def test_people_s_notes_are_told_apart_from_findings() -> None:
    text = text_of(made_run("a", tags=noted("norms <b>high</b> | try *3e-3*")))
    assert "Notes by people:\n\n- norms &#60;b&#62;high&#60;/b&#62; &#124; try &#42;3e-3&#42; (2026-01-02)" in text


def test_a_run_that_still_goes_on_says_how_far_it_is() -> None:
    run = made_run("a", status="RUNNING", duration_s=None, evidence={"samples_seen": 12_800})
    assert "still going when this was written, with 12,800 of 32,000 samples seen." in text_of(run)


def test_a_run_that_failed_says_how_far_it_came_and_what_was_recorded() -> None:
    evidence = {"samples_seen": 6_400, "faults": ("the loss is NaN at 6,400 samples",)}
    text = text_of(made_run("a", status="FAILED", evidence=evidence))
    assert "did not finish: FAILED after 6,400 of 32,000 samples." in text
    assert "What was recorded: the loss is NaN at 6,400 samples" in text


def test_a_run_without_validation_is_reported_as_such() -> None:
    curves = {"train/loss": made_curves(0)["train/loss"]}
    text = text_of(made_run("a", curves=curves, status="KILLED"))
    assert "**No validation was recorded.**" in text
    assert "**a was never validated.**" in text
    assert "| none (KILLED) |" in text


def test_a_run_without_any_point_is_reported() -> None:
    run = made_run("a", status="FAILED", evidence={"samples_seen": 0})
    bare = dataclasses.replace(run, record=dataclasses.replace(run.record, curves={}, final={}), strips={}, strips_at=0)
    assert "did not finish: FAILED after 0 of 32,000 samples" in text_of(bare)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_shown_in_words_and_never_the_best(bad: float) -> None:
    curves = made_curves(0)
    loss = curves["val/loss"]
    values = loss.values.copy()
    values[-1] = bad
    curves["val/loss"] = series(loss.samples_seen.tolist(), values.tolist())
    text = text_of(made_run("a", curves=curves))
    words = {"nan": "NaN", "inf": "infinite", "-inf": "minus infinite"}[str(bad)]
    assert f"**val/loss {words} at epoch 8** (best {values[:-1].min():.3f} at" in text


def test_a_run_that_lacks_some_recall_metrics_is_reported() -> None:
    curves = {name: curve for name, curve in made_curves(0).items() if "_recall_at_5" not in name}
    assert re.search(r"\| text to image \| [\d.]+% \| – \| [\d.]+% \|", text_of(made_run("a", curves=curves)))


def test_of_many_runs_the_first_have_sections_more_have_rows_and_a_file_has_all() -> None:
    short = {"val/loss": series([TOTAL], [1.0])}
    runs = [made_run(f"run{number:03d}", curves=short) for number in range(NUM_ROWS + 10)]
    files = render(made_evidence(runs))
    text = files["report.md"].decode()
    assert "Of 110 runs, best first, the table has 100; 20 have a section" in text
    assert text.count("\n*Settings:*") == NUM_SECTIONS
    assert len(files["data/runs.csv"].decode().splitlines()) == NUM_ROWS + 11
    assert sum(path.endswith("spec.yaml") for path in files) == NUM_ROWS
    assert sum(path.startswith("figures/run") or path.endswith(".svg") for path in files) <= NUM_SECTIONS + 2


def test_runs_left_out_of_a_group_are_named() -> None:
    evidence = made_evidence([made_run("a")], left_out=("b (12345678, seed 7) is RUNNING",))
    assert "Left out: b (12345678, seed 7) is RUNNING" in report_of(evidence)


def test_alternative_texts_say_in_numbers_what_is_to_be_seen() -> None:
    run = made_run("a")
    first, last = (run.record.curves["train/loss"].values[place] for place in (0, -1))
    assert f"![Curves of a: training loss from {first:.3f} to {last:.3f}; validation loss" in text_of(run)
