"""A report's end: the comparison, examples, commands, the environment, and what to run next.

blocks = closing_sections(ledger, files)
"""

from collections.abc import Sequence

from clipexp.comparison import Difference
from clipexp.findings import RULES
from clipexp.findings.finding import SEVERITIES, Finding
from clipexp.plots.examples import examples_figure
from clipexp.plots.static import differences_figure
from clipexp.reporting.evidence import RunEvidence
from clipexp.reporting.proof import Block, RunsLedger
from clipexp.reporting.sources import escape
from clipexp.reporting.tables import markdown_table
from clipexp.track.records import TAG

MAX_NEXT = 8
MAX_NAMED = 5
MAX_CAVEATS = 10
FURTHER_SEEDS = 4  # with the one there is: five, as comparisons have by default
PACKAGES = ("clipexp", "torch", "mlflow")


def closing_sections(ledger: RunsLedger, files: dict[str, bytes]) -> list[Block]:
    """The blocks behind the runs' sections; figures are added to the files."""
    evidence = ledger.analysis.evidence
    texts = _comparison(ledger, files)
    examples = [text for run in evidence.sections for text in _examples(ledger, run, files)]
    if examples:
        texts += ["## Examples", *examples]
    texts += ["## Environment", *_environment(ledger)]
    texts += ["## Commands", *_commands(ledger)]
    texts += ["## What to run next", _next(ledger) or "Nothing that the rules or a comparison call for."]
    return [ledger.block(text) for text in texts if text]


def _comparison(ledger: RunsLedger, files: dict[str, bytes]) -> list[str]:
    analysis = ledger.analysis
    if len(analysis.evidence.runs) < 2:
        return []
    texts = ["## Comparison"]
    if len(analysis.groups) > 1:
        texts.append("Runs whose validation losses go by different names are not compared with one another.")
    for metric in analysis.rankings:
        texts += _of_metric(ledger, metric, files)
    if not analysis.rankings and len(analysis.groups) < 2:
        texts.append("Nothing here can be compared: all runs are of one spec, or were never validated.")
    return texts


def _of_metric(ledger: RunsLedger, metric: str, files: dict[str, bytes]) -> list[str]:
    analysis = ledger.analysis
    ranking = analysis.rankings[metric]
    is_ranked = ranking.standings[1].place is not None
    first = ledger.show("ranking", metric, "0") if is_ranked else f"By {escape(metric)}, no spec is ranked."
    texts = [first, _standings(ledger, metric)]
    shown = _shown_differences(ranking.differences, [standing.name for standing in ranking.standings])
    if shown:
        texts += [_differences(ledger, metric, shown), _forest(ledger, metric, shown, files)]
    caveats: dict[str, str] = {}
    for number, difference in shown:
        for idx, caveat in enumerate(difference.caveats()):
            if caveat not in caveats:
                caveats[caveat] = f"- {ledger.show('difference', metric, str(number), f'caveat {idx}')}"
    if caveats:
        texts.append("\n".join(["To be fair:", "", *list(caveats.values())[:MAX_CAVEATS]]))
    out = [
        f"- {ledger.show('left_out_of_group', metric, str(number), str(idx))}"
        for number, group in enumerate(analysis.compared(metric))
        for idx in range(len(group.left_out))
    ]
    if out:
        texts.append("\n".join(["Not counted:", "", *out]))
    if len(analysis.groups[metric]) > len(analysis.compared(metric)):
        compared, all_of_them = (ledger.show("groups", metric, which, form=",d") for which in ("compared", "all"))
        texts.append(f"Compared are {compared} of {all_of_them} specs, the first of the table above.")
    return texts


def _standings(ledger: RunsLedger, metric: str) -> str:
    rows = []
    for number, standing in enumerate(ledger.analysis.rankings[metric].standings):
        parts = [("place", "d"), ("num_seeds", "d"), ("mean", ".4f"), ("sd", ".4f")]
        cells = [ledger.show("standing", metric, str(number), part, form=form) for part, form in parts]
        why = ledger.show("standing", metric, str(number), "why_not") if standing.why_not else ""
        rows.append([ledger.show("standing", metric, str(number), "name"), *cells, why])
    return markdown_table(["spec", "place", "seeds", f"mean {metric}", "sd over seeds", "not ranked because"], rows)


def _shown_differences(differences: Sequence[Difference], names: Sequence[str]) -> list[tuple[int, Difference]]:
    """All, of a few specs; of many, those of the first with the others."""
    numbered = list(enumerate(differences))
    return numbered if len(names) <= 4 else [pair for pair in numbered if names[0] in (pair[1].a, pair[1].b)]


def _differences(ledger: RunsLedger, metric: str, shown: Sequence[tuple[int, Difference]]) -> str:
    level = ledger.show("report", "confidence", form=".0%")
    header = ["spec", "against", "difference", f"{level} interval", "verdict"]
    rows = []
    for number, difference in shown:

        def cell(part: str, form: str = "text", number: int = number) -> str:
            return ledger.show("difference", metric, str(number), part, form=form)

        interval = f"{cell('low', '+.4f')} to {cell('high', '+.4f')}" if difference.interval else "–"
        rows.append([cell("a"), cell("b"), cell("mean", "+.4f"), interval, cell("verdict")])
    return markdown_table(header, rows, num_left=2)


def _forest(ledger: RunsLedger, metric: str, shown: Sequence[tuple[int, Difference]], files: dict[str, bytes]) -> str:
    rows = [(f"{d.a} - {d.b}", d.mean, *(d.interval if d.interval else (None, None)), str(d.verdict)) for _, d in shown]
    path = f"figures/differences-{_path_words(metric)}.svg"
    files[path] = differences_figure(rows, f"{metric} (nats)").encode()
    number, first = str(shown[0][0]), shown[0][1]
    told = ""
    if first.interval is not None:
        told = (
            f"; the first is {ledger.show('difference', metric, number, 'mean', form='+.4f')}, from"
            f" {ledger.show('difference', metric, number, 'low', form='+.4f')} to"
            f" {ledger.show('difference', metric, number, 'high', form='+.4f')}"
        )
    return f"![Differences with their intervals, as in the table above{told}]({path})"


def _path_words(metric: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in metric)


def _examples(ledger: RunsLedger, run: RunEvidence, files: dict[str, bytes]) -> list[str]:
    kept = run.examples
    if kept is None or not kept.examples:
        return []
    path = f"figures/{run.key}-examples.png"
    files[path] = examples_figure(kept.examples, kept.rows, kept.sheet)
    count, first = (ledger.of_run(run, "examples", part, form="d") for part in ("count", "found first"))
    label = ledger.of_run(run, "field", "label")
    num_first = sum(example.found_idx[:1] == (example.target_idx,) for example in kept.examples)
    finds = "finds its own picture" if num_first == 1 else "find their own picture"
    alt = f"{ledger.of_run(run, 'examples', 'count', form='d')} captions, each with its own picture and those it found"
    credit = f"\n\n<sub>{ledger.of_run(run, 'examples', 'attribution')}</sub>" if kept.attribution else ""
    return [
        f"{label}: validation captions and the pictures they found. {first} of {count} {finds} first; a"
        f" green frame marks it.\n\n![{alt}]({path}){credit}"
    ]


def _environment(ledger: RunsLedger) -> list[str]:
    """One row for all runs that came about alike."""
    evidence = ledger.analysis.evidence
    runs_by_place: dict[tuple[str | None, ...], list[RunEvidence]] = {}
    for run in evidence.runs:
        tags = run.record.tags
        names = ["git_commit", "git_dirty", "device", *(f"version.{package}" for package in PACKAGES)]
        place = tuple(tags.get(f"{TAG}{name}") for name in names)
        runs_by_place.setdefault(place, []).append(run)
    rows = [_environment_row(ledger, runs) for runs in runs_by_place.values()]
    return [markdown_table(["runs", "started", "commit", "device", "versions"], rows, num_left=5)]


def _environment_row(ledger: RunsLedger, runs: Sequence[RunEvidence]) -> list[str]:
    run, tags = runs[0], runs[0].record.tags
    names = ", ".join(ledger.of_run(other, "field", "label") for other in runs[:MAX_NAMED])
    more = " and others" if len(runs) > MAX_NAMED else ""
    ordered = sorted(runs, key=lambda other: other.record.started_ms)
    ends = [ledger.of_run(other, "field", "started") for other in (ordered[0], ordered[-1])]
    is_one_day = len({ledger.analysis.day(other) for other in (ordered[0], ordered[-1])}) == 1
    commit = ledger.of_run(run, "field", "commit", form="code") if run.record.git.get("commit") else "unknown"
    dirty = " and uncommitted changes" if tags.get(f"{TAG}git_dirty") == "true" else ""
    versions = ", ".join(
        f"{package} {ledger.of_run(run, 'tag', f'{TAG}version.{package}')}"
        for package in PACKAGES
        if f"{TAG}version.{package}" in tags
    )
    device = ledger.of_run(run, "tag", f"{TAG}device")
    return [f"{names}{more}", ends[0] if is_one_day else " to ".join(ends), f"{commit}{dirty}", device, versions or "–"]


def _commands(ledger: RunsLedger) -> list[str]:
    """From any row, one command: to carry it out again, to extend it, to open it."""
    intro = (
        "Carrying a spec out again takes the run that is there, or trains it anew elsewhere; with another seed: add"
        " `--set seed=N`. In MLflow: `clipexp ui`, then search for the run's id."
    )
    rows = [
        [
            ledger.of_run(run, "field", "label"),
            ledger.of_run(run, "field", "run_id", form="code"),
            ledger.of_run(run, "command", "reproduce", form="code"),
            ledger.of_run(run, "command", "extend", form="code"),
        ]
        for run in ledger.analysis.evidence.rows
    ]
    return [intro, markdown_table(["run", "id", "again", "twice as long"], rows, num_left=4)]


def _next(ledger: RunsLedger) -> str:
    """What findings and comparisons call for: problems first, each once."""
    analysis = ledger.analysis
    runs_by_remedy: dict[tuple[str, tuple[str, ...]], list[tuple[RunEvidence, Finding]]] = {}
    for run in analysis.evidence.sections:
        for finding in analysis.findings(run):
            if finding.remedy or finding.settings:
                runs_by_remedy.setdefault((finding.rule, finding.settings), []).append((run, finding))
    found = sorted(runs_by_remedy.values(), key=lambda pairs: SEVERITIES.index(pairs[0][1].severity))
    items = [_next_of_finding(ledger, pairs) for pairs in found if pairs[0][1].severity != "note"]
    items += _next_of_comparison(ledger)
    items += [_next_of_finding(ledger, pairs) for pairs in found if pairs[0][1].severity == "note"]
    return "\n".join(f"- {item}" for item in items[:MAX_NEXT])


def _next_of_finding(ledger: RunsLedger, pairs: Sequence[tuple[RunEvidence, Finding]]) -> str:
    run, finding = pairs[0]
    names = ", ".join(ledger.of_run(other, "field", "label") for other, _ in pairs[:MAX_NAMED])
    more = " and others" if len(pairs) > MAX_NAMED else ""
    remedy = f": {ledger.of_run(run, 'finding', finding.rule, 'remedy')}" if finding.remedy else ":"
    words = f" {ledger.of_run(run, 'finding', finding.rule, 'command', form='code')}" if finding.settings else ""
    return f"{RULES[finding.rule].title} ({names}{more}){remedy}{words}"


def _next_of_comparison(ledger: RunsLedger) -> list[str]:
    """More seeds, where they would tell something, or where there is one only."""
    analysis = ledger.analysis
    for metric, ranking in analysis.rankings.items():
        for number, difference in enumerate(ranking.differences):
            if difference.verdict != "not distinguishable" or not difference.more_seeds:
                continue
            run = analysis.evidence.by_key[analysis.keys_by_group_name(metric)[difference.a][0]]
            a, b, seeds = (ledger.show("difference", metric, str(number), part) for part in ("a", "b", "more_seeds"))
            words = ledger.of_run(run, "command", f"replicate {difference.more_seeds}", form="code")
            tells = ledger.show("difference", metric, str(number), "tells", form="short")
            noun = "seed" if difference.more_seeds == 1 else "seeds"
            apart = f"{a} and {b} can't be told apart"
            return [f"{apart}; {seeds} more {noun} each would tell {tells}: {words}, so for {b}"]
    alone = [group for groups in analysis.groups.values() for group in groups if len(group.replicates) == 1]
    if not alone:
        return []
    run = analysis.evidence.by_key[analysis.keys_of(alone[0])[0]]
    words = ledger.of_run(run, "command", f"replicate {FURTHER_SEEDS}", form="code")
    so_for = " (so for the others)" if len(alone) > 1 else ""
    return [f"Further seeds: with one, how far results spread by chance is not known: {words}{so_for}"]
