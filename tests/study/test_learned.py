"""What a study's report says of the space: each sentence only where the trials bear it."""

import dataclasses

import pytest

from clipexp.study.analysis import StudyAnalysis
from clipexp.study.evidence import StudyEvidence, TrialRow
from clipexp.study.learned import learned, what_next
from clipexp.study.ledger import StudyLedger
from tests.study.toy import BATCH, LR, WARMUP, evidence_of, row, toy_evidence


def told(evidence: StudyEvidence) -> str:
    """The section on the space as its readers see it."""
    ledger = StudyLedger(StudyAnalysis(evidence))
    return "\n".join(ledger.block(text).text for text in learned(ledger))


def stopped(number: int, reason: str) -> TrialRow:
    return row(number, None, {LR: 1e-3, WARMUP: 0.1, BATCH: 64}, state="infeasible", reason=reason)


def test_a_study_without_trials_says_nothing_of_its_space() -> None:
    assert told(evidence_of([])) == ""


def test_infeasible_trials_are_counted_with_their_reasons() -> None:
    reasons = ["memory", "memory", "loss is NaN", "too slow", "a | b", "other"]
    report = told(evidence_of([stopped(number, reason) for number, reason in enumerate(reasons)]))
    assert "6 of 6 trials were infeasible: memory (2), loss is NaN (1), too slow (1), and 2 more reasons." in report


def test_one_infeasible_trial_is_not_several() -> None:
    report = told(evidence_of([stopped(0, "memory"), row(1, 1.0, {LR: 1e-3, WARMUP: 0.1, BATCH: 64})]))
    assert "1 of 2 trials was infeasible: memory (1)." in report


def test_what_was_looked_at_is_told_with_the_widest_gap() -> None:
    corner = [row(n, 1.0 + n, {LR: 1e-4, WARMUP: 0.01 * n, BATCH: 64}) for n in range(3)]
    report = told(evidence_of(corner))
    assert "The space was **not covered**: 3 trials stand in 3 of 48 parts" in report
    assert "max_lr 1e-4 to 3e-3 (100% of the range)" in report


def test_the_settings_that_mattered_add_up_to_all() -> None:
    shares = StudyAnalysis(toy_evidence(60)).importances
    assert shares is not None
    assert sum(shares.share_by_path.values()) == pytest.approx(1, abs=0.002)
    assert f"({shares.method}, {shares.num_trials} trials)" in told(toy_evidence(60))


def valley(exponent: float) -> StudyEvidence:
    """Trials whose best max_lr goes as batch_size ** exponent, exactly."""
    batches = (64, 128, 256, 512, 1024)
    rows = [
        row(n, 1.0 + off**2, {LR: 1e-3 * (batch / 256) ** exponent * 2.718281828**off, WARMUP: 0.1, BATCH: batch})
        for n, (batch, off) in enumerate((batch, off) for batch in batches for off in (-0.5, 0.0, 0.5))
    ]
    return evidence_of(rows)


def test_the_trade_of_lr_and_batch_is_told_with_its_interval() -> None:
    report = told(valley(0.5))
    assert "The best max_lr goes as batch_size^0.50 (95% interval 0.50 to 0.50, 15 trials): as expected" in report
    assert "where Adam's theory has 0.5" in report


def test_the_yaml_to_search_next_is_proven_line_by_line() -> None:
    places = [(3e-3, 1.0), (2.9e-3, 1.1), (1e-3, 1.2), (9e-4, 1.3), (8e-4, 1.4), (7e-4, 1.5)]
    evidence = evidence_of([row(n, loss, {LR: lr, WARMUP: 0.1, BATCH: 256}) for n, (lr, loss) in enumerate(places)])
    ledger = StudyLedger(StudyAnalysis(dataclasses.replace(evidence)))
    fence = ledger.block(what_next(ledger)[-1])
    assert fence.text.startswith(
        "```yaml\nsearch:\n  optim.max_lr:\n    kind: range\n    low: 0.0001\n    high: 0.009\n"
    )
    assert [proof.shown for proof in fence.proofs] == ["low: 0.0001", "high: 0.009"]
