"""`clipexp report` on the console: reports on runs, groups and studies; drawn again, checked, shown as a page.

report_on_console(["quickstart"], ReportOptions())
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from clipexp.errors import ReportError
from clipexp.reporting.commands import DATA
from clipexp.reporting.evidence import RUNS_FILE
from clipexp.reporting.evidence import read_evidence as read_runs
from clipexp.reporting.run_section import marks_of
from clipexp.reporting.verify import EXIT_DEVIATES, verify
from clipexp.reporting.write import find_report, redraw_report
from clipexp.reporting.write import report as write_report
from clipexp.study.evidence import is_study_report
from clipexp.study.report import redraw_study_report
from clipexp.study.verify import verify_study
from clipexp.track.home import home

RELOAD_S = 30
YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class ReportOptions:
    """What `clipexp report` is asked for beside its subjects; see its help."""

    name: str | None = None
    out: Path = Path("reports")
    redraw: bool = False
    verify: bool = False
    against_db: bool = False
    html: bool = False
    follow: bool = False
    force: bool = False
    tracking: str | None = None


def report_on_console(subjects: Sequence[str], options: ReportOptions) -> int:
    """Write, draw again or check a report; returns the exit code."""
    if options.verify or options.against_db:
        return _verify(subjects, options)
    if options.redraw:
        if subjects or not options.name:
            raise ReportError("--redraw draws a report again from its own data: clipexp report --redraw --name NAME")
        path = _redraw(options.out / options.name, force=options.force)
        click.echo(f"drawn again: {path}")
        _page(path.parent, options)
        return 0
    if not subjects:
        raise ReportError("name at least one run, group or study; `clipexp runs` lists runs")
    if options.follow:
        return _follow(subjects, options)
    if studies := [subject for subject in subjects if _is_study(subject)]:
        if len(subjects) > 1:
            raise ReportError(f"{studies[0]} is a study, whose report stands alone: clipexp report {studies[0]}")
        from clipexp.retelling import retell  # all of a study comes with it

        path = retell(studies[0], options.out, options.tracking)
    else:
        path = write_report(subjects, options.name, options.out, options.tracking, force=options.force)
    click.echo(f"report: {path}")
    _page(path.parent, options)
    return 0


def _follow(subjects: Sequence[str], options: ReportOptions) -> int:
    """Write a report again and again while its runs go on."""
    from clipexp.reporting.collect import choose
    from clipexp.reporting.follow import Followed, follow
    from clipexp.track.mlflow_store import connect, tracking_uri
    from clipexp.track.records import TOTAL_SAMPLES_TAG

    client = connect(tracking_uri(options.tracking))

    def followed() -> list[Followed]:
        records = choose(client, subjects).records
        totals = [record.tags.get(TOTAL_SAMPLES_TAG, "") for record in records]
        return [
            Followed(record.run_id, record.name, int(total) if total.isdecimal() else None)
            for record, total in zip(records, totals, strict=True)
        ]

    def write(is_last: bool) -> Path:  # noqa: FBT001, RUF100 (as `follow` calls it)
        path = write_report(subjects, options.name, options.out, options.tracking, force=options.force)
        _page(path.parent, options, reload_s=None if is_last else RELOAD_S)
        return path

    follow(followed, write, click.echo)
    return 0


def _page(folder: Path, options: ReportOptions, reload_s: int | None = None) -> None:
    """The report as one interactive page, where that is asked for."""
    if not options.html:
        return
    from clipexp.reporting.page import charts_of, write_page

    if is_study_report(folder):
        charts = None
    else:
        evidence = read_runs(folder / DATA)
        charts = charts_of(evidence, marks_of(evidence))
    click.echo(f"page: {write_page(folder, charts, reload_s)}")


def _redraw(folder: Path, *, force: bool) -> Path:
    draw_again = redraw_study_report if is_study_report(folder) else redraw_report
    return draw_again(folder, force=force)


def _verify(subjects: Sequence[str], options: ReportOptions) -> int:
    folder = _named(subjects, options)
    if is_study_report(folder) and options.against_db:
        raise ReportError(f"{folder} is a study's report: --against-db holds the data of reports on runs to MLflow")
    checked = verify_study(folder) if is_study_report(folder) else verify(folder)
    for deviation in checked.deviations:
        click.echo(str(deviation))
    for warning in checked.warnings:
        click.echo(f"warning: {warning}", err=True)
    num = len(checked.deviations)
    how = "all hold" if not num else f"{num} deviation(s)"
    click.echo(f"{folder}: {checked.num_numbers:,} numbers computed again from its data: {how}")
    if options.against_db and (folder / DATA / RUNS_FILE).is_file():
        from clipexp.reporting.database_check import check_against_database
        from clipexp.track.mlflow_store import connect, tracking_uri

        found = check_against_database(read_runs(folder / DATA), connect(tracking_uri(options.tracking)))
        for line in found.deviations:
            click.echo(f"data: {line}")
        for line in found.unchecked:
            click.echo(f"not checked: {line}")
        num += len(found.deviations)
        how = "all as there" if not found.deviations else f"{len(found.deviations)} deviation(s)"
        click.echo(f"{folder}: {found.num_points:,} points held to MLflow and the journals: {how}")
    return EXIT_DEVIATES if num else 0


def _named(subjects: Sequence[str], options: ReportOptions) -> Path:
    """The report that is meant: by its folder, or by --name."""
    if len(subjects) + bool(options.name) != 1:
        raise ReportError("name one report to check: clipexp report --verify reports/NAME")
    if options.name:
        return find_report(options.out / options.name)
    given = Path(subjects[0])
    return given if given.is_dir() else find_report(options.out / given.name)


def _is_study(subject: str) -> bool:
    """Whether a subject names a study that was begun here, or a study's file."""
    return subject.endswith(YAML) or ("/" not in subject and (home().root / "studies" / subject).is_dir())
