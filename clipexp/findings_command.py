"""`clipexp findings`: what a run's curves say, and how right the rules are on labelled ones.

findings_on_console("quickstart", None, as_json=False, tracking_uri=None)
findings_on_console(None, Path("tests/findings/corpus"), as_json=False, tracking_uri=None)
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipexp.console import make_console
from clipexp.errors import ReportError
from clipexp.findings.corpus import Labelled, read_corpus
from clipexp.findings.facts import facts_of
from clipexp.findings.finding import Finding
from clipexp.findings.rules import RULES, find
from clipexp.findings.score import Rate, Score, scores_by_part

if TYPE_CHECKING:
    from rich.console import Console

COLOUR = {"problem": "red", "caution": "yellow", "note": "cyan"}


def findings_on_console(run: str | None, curves: Path | None, as_json: bool, tracking_uri: str | None) -> None:
    """Print a run's findings, or the score on a folder of labelled curves.

    Args:
        run: by id, the start of one, or name.
        curves: a folder of labelled curves, see `findings.corpus`.
        as_json: a list of findings, or the score as an object.
        tracking_uri: MLflow's store, as everywhere.

    Raises:
        ReportError: both or none of the two are given, or the folder can't be read.
        TrackingError: there is no such run.
    """
    if (run is None) == (curves is None):
        raise ReportError("name a run, as in `clipexp findings quickstart`, or a folder of labelled ones with --curves")
    if curves is not None:
        _print_scores(read_corpus(curves, RULES), as_json=as_json)
        return
    found = findings_of_run(run or "", tracking_uri)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in found], indent=1))
    else:
        print_findings(make_console(), found)


def findings_of_run(run: str, tracking_uri: str | None) -> tuple[Finding, ...]:
    """The findings of a recorded run. Raises TrackingError if there is none."""
    from clipexp.track.home import home
    from clipexp.track.journal import faults, last_strips
    from clipexp.track.mlflow_store import connect
    from clipexp.track.mlflow_store import tracking_uri as uri_of
    from clipexp.track.records import find_run, read_run

    client = connect(uri_of(tracking_uri))
    record = read_run(client, find_run(client, run))
    folder = home().journals / record.run_id
    return find(record.curves, facts_of(record, faults(folder), last_strips(folder)[1] or None))


def print_findings(console: "Console", found: Sequence[Finding]) -> None:
    """One after the other, problems first, each with its remedy."""
    from rich.text import Text

    if not found:
        console.print("nothing found: none of the rules has something to say of these curves (docs/findings.md)")
    for finding in found:
        head = Text(f"{finding.severity}: ", style=COLOUR[finding.severity])
        console.print(head + Text(finding.claim, style="default") + Text(f" [{finding.rule}]", style="dim"))
        settings = " ".join(f"--set {each}" for each in finding.settings)
        console.print(Text(f"  {finding.remedy}" + (f" Try: {settings}" if settings else "")), soft_wrap=True)


def _print_scores(labelled: Sequence[Labelled], *, as_json: bool) -> None:
    by_part = scores_by_part(labelled)
    whole = by_part.pop("all")
    if as_json:
        parts = {part: score.to_json() for part, score in by_part.items()}
        click.echo(json.dumps({**whole.to_json(), "by_part": parts}, indent=1))
        return
    console = make_console()
    for part, score in by_part.items():
        _print_score(console, part, score)


def _print_score(console: "Console", part: str, score: Score) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(f"{part}: {score.num_curves} curves, {score.num_healthy} of them healthy", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("rule", no_wrap=True)
    for column in ("expected", "spoken", "precision", "recall"):
        table.add_column(column, justify="right", no_wrap=True)
    for rule, own in score.by_rule.items():
        if own.num_expected or own.num_spoken:
            table.add_row(rule, str(own.num_expected), str(own.num_spoken), rate(own.precision), rate(own.recall))
    table.add_row("all", "", "", rate(score.precision), rate(score.recall), style="bold")
    console.print(table)
    for rule, own in score.by_rule.items():
        for word, names in (("missed", own.missed), ("wrong", own.false)):
            if names:
                console.print(Text(f"  {rule} {word}: {', '.join(names)}"), soft_wrap=True)
    for name, rule in score.healthy_false:
        console.print(Text(f"  on a healthy curve: {rule} ({RULES[rule].severity}) of {name}"))
    console.print(f"healthy curves with a problem wrongly found: {len({name for name, _ in score.healthy_problems})}\n")


def rate(found: Rate) -> str:
    """`96% (27 of 28; 82 to 99%)`."""
    if not found.out_of:
        return "-"
    low, high = found.interval
    return f"{found.share:.0%} ({found.hits} of {found.out_of}; {100 * low:.0f} to {100 * high:.0f}%)"
