"""What a study's trials tell of the space they were drawn from, in sentences, and what to search next.

ledger = StudyLedger(StudyAnalysis(evidence))
blocks = [ledger.block(text) for text in (*learned(ledger), *what_next(ledger))]
"""

from clipexp.spec.study import ChoiceDim, Dim
from clipexp.study import insight
from clipexp.study.ledger import StudyLedger
from clipexp.study.overview import finished

NUM_GAPS, NUM_REASONS = 2, 3
PAPER = "https://arxiv.org/abs/2205.10287"


def learned(ledger: StudyLedger) -> list[str]:
    """Texts in markdown on optima at edges, what mattered, what was looked at, what could not run, lr and batch."""
    parts = (_edges(ledger), _importances(ledger), _coverage(ledger), _infeasible(ledger), _tradeoff(ledger))
    lines = [f"- {part}" for part in parts if part]
    return ["## What the trials tell of the space", "\n".join(lines)] if lines else []


def _edges(ledger: StudyLedger) -> str:
    analysis = ledger.analysis
    if not analysis.edges:
        return "No optimum stands at an end of its range." if insight.can_tell_edges(analysis.evidence) else ""
    words = " and ".join(f"**{ledger.show('column', path)}** (the {e.end} end)" for path, e in analysis.edges.items())
    return f"The optimum may lie beyond what was searched: the best settings stand at an end of {words}."


def _importances(ledger: StudyLedger) -> str:
    found = ledger.analysis.importances
    if found is None:
        return ""
    shares = ", ".join(
        f"{ledger.show('column', path)} {ledger.show('importance', path, form='.0%')}" for path in found.share_by_path
    )
    method, num_trials = (
        ledger.show("importances", part, form=form) for part, form in (("method", "text"), ("num_trials", ",d"))
    )
    return f"What mattered, of the objective's variation: {shares} ({method}, {num_trials} trials)."


def _coverage(ledger: StudyLedger) -> str:
    found = ledger.analysis.coverage
    if found is None:
        return ""
    num_trials, tried, cells = (
        ledger.show("coverage", part, form=",d") for part in ("num_trials", "num_cells_tried", "num_cells")
    )
    stand = "trial stands" if found.num_trials == 1 else "trials stand"
    line = (
        f"The space {'was covered' if found.is_covered else 'was **not covered**'}: {num_trials} {stand} in {tried} of"
        f" {cells} parts (pairs of quarters of two settings, or of a choice's values)"
    )
    wide = [gap for gap in found.gaps if gap.share > 0][:NUM_GAPS]
    if wide:
        line += f"; the widest gaps: {', '.join(_gap(ledger, gap.path) for gap in wide)}"
    untried = ", ".join(ledger.show("untried", str(number)) for number in range(len(found.untried)))
    return line + (f"; never tried: {untried}" if untried else "") + "."


def _gap(ledger: StudyLedger, path: str) -> str:
    low, high = (ledger.show("gap", path, end) for end in ("low", "high"))
    share = ledger.show("gap", path, "share", form=".0%")
    return f"{ledger.show('column', path)} {low} to {high} ({share} of the range)"


def _infeasible(ledger: StudyLedger) -> str:
    found = ledger.analysis.infeasible
    if not found:
        return "No trial was infeasible." if ledger.analysis.evidence.trials else ""
    reasons = [
        f"{ledger.show('infeasible', str(idx), 'reason')} ({ledger.show('infeasible', str(idx), 'count', form=',d')})"
        for idx in range(len(found[:NUM_REASONS]))
    ]
    num, all_of_them = (ledger.show("count", which, form=",d") for which in ("infeasible", "all"))
    rest = len(found) - NUM_REASONS
    more = ""
    if rest > 0:
        shown = ledger.show("infeasible", str(NUM_REASONS), "rest", form=",d")
        more = f", and {shown} more reason{'s' if rest > 1 else ''}"
    was = "was" if sum(count for _, count in found) == 1 else "were"
    return f"{num} of {all_of_them} trials {was} infeasible: {', '.join(reasons)}{more}."


def _tradeoff(ledger: StudyLedger) -> str:
    if ledger.analysis.tradeoff is None:
        return ""
    exponent, low, high = (ledger.show("tradeoff", part, form=".2f") for part in ("exponent", "low", "high"))
    level, expected = (
        ledger.show("rule", "confidence", form=".0%"),
        ledger.show("rule", "expected exponent", form=".1f"),
    )
    return (
        f"The best max_lr goes as batch_size^{exponent} ({level} interval {low} to {high},"
        f" {ledger.show('tradeoff', 'num_trials', form=',d')} trials): {ledger.show('tradeoff', 'reading')}, where"
        f" Adam's theory has {expected} ([{ledger.show('rule', 'paper')}]({PAPER}))."
    )


def what_next(ledger: StudyLedger) -> list[str]:
    """Texts on where to search further, with the YAML that is ready to paste."""
    analysis = ledger.analysis
    lines = [_further(ledger, edge) for edge in analysis.edges.values()]
    lines += [_narrower(ledger, found) for found in analysis.narrowings.values()]
    heading = "## What to search next"
    if not lines:
        if not insight.can_tell_edges(analysis.evidence):
            return [heading, f"Too few trials to say: {finished(ledger)}."]
        return [heading, "No optimum stands at an end of its range, and no range is worth narrowing by these trials."]
    texts = [heading, "\n".join(lines)]
    if analysis.next_dims:
        texts += [
            "In the study's spec, in place of what it has there:",
            fence(ledger, "next_line", analysis.next_lines),
        ]
    return texts


def _further(ledger: StudyLedger, edge: insight.Edge) -> str:
    def part(name: str, form: str = "text") -> str:
        return ledger.show("edge", edge.path, name, form=form)

    near = ledger.show("rule", "edge", form="percent")
    line = (
        f"- **{ledger.show('column', edge.path)}**: {part('num_at_edge', 'd')} of the best {part('num_judges', 'd')}"
        f" settings stand within {near} of the {edge.end} end, {part('at')}"
    )
    if edge.wider is None:
        return f"{line}; the spec takes nothing beyond."
    return f"{line}: search on, {_range(ledger, 'edge', edge.path, edge.wider)}."


def _narrower(ledger: StudyLedger, found: insight.Narrowing) -> str:
    def part(name: str, form: str = "text") -> str:
        return ledger.show("narrowing", found.path, name, form=form)

    span = f"at {part('from')}" if found.low == found.high else f"between {part('from')} and {part('to')}"
    return (
        f"- **{ledger.show('column', found.path)}**: the best {part('num_best', ',d')} of"
        f" {part('num_settings', ',d')} settings stand {span};"
        f" {_range(ledger, 'narrowing', found.path, found.narrower)} would do."
    )


def _range(ledger: StudyLedger, way: str, path: str, dim: Dim) -> str:
    if isinstance(dim, ChoiceDim):
        return ""
    return f"{ledger.show(way, path, 'low')} to {ledger.show(way, path, 'high')}"


def fence(ledger: StudyLedger, way: str, lines: list[str]) -> str:
    """Lines of YAML, each from a way that gives it by its number."""
    shown = [line and ledger.show(way, str(number), form="verbatim") for number, line in enumerate(lines)]
    return "\n".join(["```yaml", *shown, "```"])
