"""A study's report from its title to what the confirmation told: the question, the answer, and how sure that is.

blocks = overview(StudyLedger(StudyAnalysis(evidence)))
"""

from clipexp.comparison import Difference, Group
from clipexp.reporting.proof import Block
from clipexp.reporting.tables import markdown_table
from clipexp.study.analysis import BEST, STATES, StudyAnalysis
from clipexp.study.evidence import StudyEvidence
from clipexp.study.ledger import StudyLedger

TOLD = ("better", "worse")  # verdicts that a reader should not overlook


def overview(ledger: StudyLedger) -> list[Block]:
    """The blocks up to the table of trials."""
    texts = [
        f"# {ledger.show('study', 'name')}",
        _origin(ledger.analysis.evidence),
        summary_text(ledger),
        *_hypothesis(ledger),
        *_confirmation(ledger),
    ]
    return [ledger.block(text) for text in texts]


def _origin(evidence: StudyEvidence) -> str:
    digests = ", ".join(f"{part} {digest}" for part, digest in evidence.digests.items())
    command = " ".join(evidence.making.command.split()).replace("-->", "--&gt;")
    return (
        f"<!-- Written by: {command}. Drawn again from data/ by: clipexp report --redraw --name {evidence.name}."
        f" Checked by: clipexp report --verify --name {evidence.name}.\nData: {digests}. -->"
    )


def summary_text(ledger: StudyLedger) -> str:
    """One paragraph: what was searched, the best settings, and what it took."""
    analysis = ledger.analysis
    metric = ledger.show("study", "metric")
    columns = [ledger.show("column", path) for path in analysis.columns]
    names = " and ".join([", ".join(columns[:-1]), columns[-1]] if len(columns) > 1 else columns)
    question = f"Which {names} give the {'lowest' if analysis.evidence.is_minimized else 'highest'} {metric}?"
    if len(columns) == 1:
        question = question.replace(" give ", " gives ", 1)
    if analysis.best is None:
        return f"{question} No trial finished, so that nothing is known yet. {_took(ledger)}"
    settings = ", ".join(
        f"{ledger.show('column', path)} {ledger.show('setting', BEST, path)}" for path in analysis.columns
    )
    baseline = f", baseline {ledger.show('trial', BEST, 'baseline')}" if analysis.best.baseline else ""
    return (
        f"{question} **The best of {finished(ledger)} is {settings}:"
        f" {ledger.show('study', 'metric')} {ledger.show('trial', BEST, 'objective', form='.4f')}"
        f" after {ledger.show('trial', BEST, 'samples', form=',d')} samples"
        f" (trial {ledger.show('trial', BEST, 'number')}{baseline}).** {_took(ledger)}"
    )


def _took(ledger: StudyLedger) -> str:
    num = len(ledger.analysis.evidence.trials)
    device = ledger.show("total", "device") if ledger.analysis.evidence.totals.device else "an unnamed device"
    return (
        f"The study took {ledger.show('count', 'all', form=',d')} trial{'s' if num != 1 else ''} ({counts(ledger)}),"
        f" {ledger.show('total', 'num_samples', form=',d')} samples, {ledger.show('total', 'compute_hours')} of"
        f" training and {ledger.show('total', 'wall_hours')} of wall time on {device}."
    )


def finished(ledger: StudyLedger) -> str:
    """How many trials finished."""
    return (
        f"{ledger.show('count', 'finished', form=',d')} finished trial{'s' if len(ledger.analysis.ranked) != 1 else ''}"
    )


def counts(ledger: StudyLedger) -> str:
    """How many trials came to which state."""
    trials = ledger.analysis.evidence.trials
    there = [state for state in STATES if any(trial.state == state for trial in trials)]
    words = [f"{ledger.show('count', state, form=',d')} {state}" for state in there]
    if any(trial.reused for trial in trials):
        words.append(f"{ledger.show('count', 'reused', form=',d')} of them by reusing a run")
    return ", ".join(words) or "none"


def _hypothesis(ledger: StudyLedger) -> list[str]:
    evidence = ledger.analysis.evidence
    texts = [f"*Hypothesis:* {ledger.show('study', 'hypothesis')}"] if evidence.spec.hypothesis else []
    if evidence.making.extended_from:
        linked = ledger.show("making", "extended_from")
        texts.append(f"It goes on from study {linked}; its trials are compared with one another only.")
    return texts


def _confirmation(ledger: StudyLedger) -> list[str]:
    analysis = ledger.analysis
    if not analysis.confirmed_groups:
        return []
    level = ledger.show("rule", "confidence", form=".0%")
    header = ["settings", "seeds", f"mean {ledger.show('study', 'metric')}", "standard deviation", "best minus it"]
    by_baseline = {difference.b: difference for difference in analysis.differences}
    rows = [_row(ledger, group, by_baseline.get(group.name)) for group in analysis.confirmed_groups]
    texts = ["## The best against the baselines", markdown_table([*header, f"{level} interval"], rows)]
    if analysis.differences:
        texts += [" ".join(_verdict(ledger, one) for one in analysis.differences), _basis(ledger)]
    caveats = [
        f"- {ledger.show('difference', one.b, f'caveat {number}')}"
        for one in analysis.differences
        for number in range(len(one.caveats()))
    ]
    return [*texts, *(["\n".join(["To be fair:", "", *caveats])] if caveats else [])]


def _row(ledger: StudyLedger, group: Group, difference: Difference | None) -> list[str]:
    """A line of the table; `difference`: the best minus it, None of the best itself."""

    def part(name: str, form: str = "text") -> str:
        return ledger.show("confirmed", group.name, name, form=form)

    cells = [_named(ledger, group), part("num_seeds", "d"), part("mean", ".4f"), part("sd", ".4f")]
    if difference is None:
        return [*cells, "–", "–"]
    mean, low, high = (ledger.show("difference", group.name, name, form="+.4f") for name in ("mean", "low", "high"))
    return [*cells, mean, f"{low} to {high}" if difference.interval else "–"]


def _named(ledger: StudyLedger, group: Group) -> str:
    name = ledger.show("confirmed", group.name, "name")
    if group.name == BEST:
        return name
    is_champion = group is ledger.analysis.confirmed_groups[0] and bool(ledger.analysis.ranked)
    return f"{name} (baseline, the best)" if is_champion else f"{name} (baseline)"


def _verdict(ledger: StudyLedger, difference: Difference) -> str:
    sentence = ledger.show("difference", difference.b, "sentence")
    return f"**{sentence}**" if difference.verdict in TOLD else sentence


def _basis(ledger: StudyLedger) -> str:
    evidence = ledger.analysis.evidence
    interval = (
        "An interval is of the difference over further seeds; where both sides ran with the same seeds, these are"
        " compared one by one."
    )
    trial_runs = {trial.run_id for trial in evidence.trials if trial.run_id}
    shared = sum(run.run_id in trial_runs for run in evidence.confirmations)
    if not shared:
        return f"The best was not chosen by these seeds. {interval}"
    num, are = ledger.show("confirmations", "shared", form=",d"), "is a trial" if shared == 1 else "are trials"
    return f"{interval} {num} of these runs {are} as well; the best was chosen by them, which favours it."


def summary(evidence: StudyEvidence) -> str:
    """The paragraph by itself, in markdown."""
    ledger = StudyLedger(StudyAnalysis(evidence))
    return ledger.block(summary_text(ledger)).text


def verdict(evidence: StudyEvidence, difference: Difference) -> str:
    """One sentence on the best against a baseline, in markdown, as the report of this evidence has it."""
    ledger = StudyLedger(StudyAnalysis(evidence))
    return ledger.block(_verdict(ledger, difference)).text
