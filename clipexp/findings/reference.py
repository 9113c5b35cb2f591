"""The rules' part of docs/findings.md: `python -m clipexp.findings.reference` writes it, with the scores on the corpus.

Run it in the repository's root. What stands outside the two marks is written by hand.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from clipexp.errors import ReportError
from clipexp.findings.corpus import PARTS, Labelled, read_corpus
from clipexp.findings.rule import Rule
from clipexp.findings.rules import RULES
from clipexp.findings.score import Rate, RuleScore, Score, scores_by_part

PAGE, CORPUS = Path("docs/findings.md"), Path("tests/findings/corpus")
BEGIN = "<!-- written by `python -m clipexp.findings.reference` from here on -->"
END = "<!-- to here -->"


def rules_part(labelled: Sequence[Labelled]) -> str:
    """The tables of scores and all rules, as markdown between the two marks."""
    by_part = scores_by_part(labelled)
    tuning, held_out = (by_part.get(part) for part in PARTS)
    lines = [BEGIN, "", "## How right they are", "", *_summary(by_part), "", *_table(held_out), ""]
    for rule in RULES.values():
        lines += [*_section(rule, held_out, tuning), ""]
    return "\n".join([*lines, END])


def write_page(labelled: Sequence[Labelled], page: Path = PAGE) -> None:
    """Put the part into the page. Raises ReportError where the page lacks the marks."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ReportError(f"{page} lacks the lines {BEGIN} and {END}; write them where the rules shall stand")
    page.write_text(before + rules_part(labelled) + after, encoding="utf-8")


def _summary(by_part: Mapping[str, Score]) -> list[str]:
    lines = [
        "| half of the fault recipes | curves | healthy | precision | recall | problems found on healthy curves |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for part in PARTS:
        if (score := by_part.get(part)) is not None:
            rates = f"{_rate(score.precision)} | {_rate(score.recall)}"
            problems = len(score.healthy_problems)
            lines.append(f"| {part} | {score.num_curves} | {score.num_healthy} | {rates} | {problems} |")
    return lines


def _table(score: Score | None) -> list[str]:
    """Rule by rule on the held-out half."""
    if score is None:
        return ["No curve is held out yet."]
    head = [
        "Rule by rule on the held-out half:",
        "",
        "| rule | severity | precision | recall |",
        "| --- | --- | --- | --- |",
    ]
    rows = [
        f"| [{rule.title.lower()}](#{_anchor(rule)}) | {rule.severity} | {_rate(own.precision)} | {_rate(own.recall)} |"
        for rule in RULES.values()
        for own in [score.by_rule[rule.id]]
    ]
    return head + rows


def _section(rule: Rule, held_out: Score | None, tuning: Score | None) -> list[str]:
    lines = [f"### {rule.title}", "", f"`{rule.id}`, {rule.severity}. {rule.says}", ""]
    lines += [f"- {each.what}: **{each.value:g}**, since {each.reason}" for each in rule.thresholds]
    lines += ["", f"Remedy: {rule.remedy}"]
    told = [_told(name, score.by_rule[rule.id]) for name, score in zip(PARTS, (tuning, held_out), strict=True) if score]
    return [*lines, "", f"Score: {'; '.join(told)}."]


def _told(part: str, own: RuleScore) -> str:
    return f"{part}: precision {_rate(own.precision)}, recall {_rate(own.recall)}"


def _rate(rate: Rate) -> str:
    """`96% (27 of 28; 82 to 99)`."""
    if not rate.out_of:
        return "none of 0"
    low, high = rate.interval
    return f"{rate.share:.0%} ({rate.hits} of {rate.out_of}; {100 * low:.0f} to {100 * high:.0f})"


def _anchor(rule: Rule) -> str:
    return rule.title.lower().replace(" ", "-").replace("'", "")


if __name__ == "__main__":
    write_page(read_corpus(CORPUS, RULES))
