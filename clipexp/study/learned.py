"""What a study's trials tell of the space they were drawn from, in sentences.

for line in learned(evidence): print(line)
"""

from clipexp.reporting.tables import escape
from clipexp.study import insight
from clipexp.study.coverage import coverage, infeasible
from clipexp.study.drawing import show
from clipexp.study.evidence import StudyEvidence
from clipexp.study.tradeoff import EXPECTED, lr_against_batch

NUM_GAPS, NUM_REASONS = 2, 3


def learned(evidence: StudyEvidence) -> list[str]:
    """Sentences in markdown, of optima at edges, what mattered, what was looked at, what could not run, lr and batch."""
    parts = (_edges(evidence), _importances(evidence), _coverage(evidence), _infeasible(evidence), _tradeoff(evidence))
    return [part for part in parts if part]


def _edges(evidence: StudyEvidence) -> str:
    found = insight.edges(evidence)
    if not found:
        return "No optimum stands at an end of its range." if insight.can_tell_edges(evidence) else ""
    columns = evidence.columns()
    words = " and ".join(f"**{columns[edge.path]}** (the {edge.end} end)" for edge in found)
    return f"The optimum may lie beyond what was searched: the best settings stand at an end of {words}."


def _importances(evidence: StudyEvidence) -> str:
    found = insight.importances(evidence)
    if found is None:
        return ""
    columns = evidence.columns()
    shares = ", ".join(f"{columns[path]} {share:.0%}" for path, share in found.share_by_path.items())
    return f"What mattered, of the objective's variation: {shares} ({found.method}, {found.num_trials} trials)."


def _coverage(evidence: StudyEvidence) -> str:
    found = coverage(evidence)
    if found is None:
        return ""
    columns = evidence.columns()
    state = "was covered" if found.is_covered else "was **not covered**"
    line = (
        f"The space {state}: {found.num_trials} trials stand in {found.num_cells_tried} of {found.num_cells} parts"
        " (pairs of quarters of two settings, or of a choice's values)"
    )
    wide = [gap for gap in found.gaps if gap.share > 0][:NUM_GAPS]
    gaps = [f"{columns[gap.path]} {show(gap.low)} to {show(gap.high)} ({gap.share:.0%} of the range)" for gap in wide]
    if gaps:
        line += f"; the widest gaps: {', '.join(gaps)}"
    untried = [f"{columns[path]} {escape(value)}" for path, value in found.untried]
    return line + (f"; never tried: {', '.join(untried)}" if untried else "") + "."


def _infeasible(evidence: StudyEvidence) -> str:
    by_reason = infeasible(evidence)
    num = sum(by_reason.values())
    if not num:
        return "No trial was infeasible."
    reasons = [f"{escape(reason)} ({count})" for reason, count in by_reason.items()]
    more = f", and {len(reasons) - NUM_REASONS} more reasons" if len(reasons) > NUM_REASONS else ""
    return f"{num} of {len(evidence.trials)} trials were infeasible: {', '.join(reasons[:NUM_REASONS])}{more}."


def _tradeoff(evidence: StudyEvidence) -> str:
    found = lr_against_batch(evidence)
    if found is None:
        return ""
    low, high = found.interval
    return (
        f"The best max_lr goes as batch_size^{found.exponent:.2f} (95% interval {low:.2f} to {high:.2f},"
        f" {found.num_trials} trials): {found.reading}, where Adam's theory has {EXPECTED}"
        " ([Malladi 2022](https://arxiv.org/abs/2205.10287))."
    )
