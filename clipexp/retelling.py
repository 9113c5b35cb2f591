"""A study's report from what the study knows now, as `clipexp sweep` writes it at its end; nothing is trained.

retell("quick", Path("reports"))   # reports/quick/report.md
"""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from clipexp.errors import StudyError
from clipexp.reporting.commands import DATA
from clipexp.reporting.evidence import RUNS_FILE
from clipexp.spec.study_load import load_study
from clipexp.stops import Stops
from clipexp.study.book import find_book
from clipexp.study.evidence import STUDY_FILE, is_study_report
from clipexp.study.parent import ParentRun
from clipexp.study.plan import PlanOptions, make_plan
from clipexp.study.report import write_study_report
from clipexp.study.space import distributions, space_of
from clipexp.study.storage import JOURNAL_FILE, open_storage
from clipexp.study.sweep import Sweep
from clipexp.track.header import store_name
from clipexp.track.home import home

YAML = (".yaml", ".yml")


def retell(subject: str, out: Path, tracking: str | None = None) -> Path:
    """Write a study's report, over what is there of an earlier one.

    Args:
        subject: the study's name, or its YAML file.
        out: where reports go.
        tracking: MLflow's URI; see `tracking_uri`.

    Returns:
        The report's path.

    Raises:
        StudyError: the study was not begun here, or can't be read without carrying it out.
        SpecError, StoreError: its file, or its data, is not as it was.
    """
    given = _sweep_given(subject, out)
    renaming = [f"name={given.name}"] if given.name else []
    plan = make_plan(load_study(given.path, [*given.overrides, *renaming]), PlanOptions(tracking=tracking))
    space, search = space_of(plan.spec, plan.study.base.spec), distributions(plan.spec.search)
    if not (plan.folder / JOURNAL_FILE).exists():
        raise StudyError(f"study {plan.name} was not begun here: {plan.folder / JOURNAL_FILE} is missing")
    with open_storage(None, plan.folder, is_driver=False) as storage:
        book = find_book(plan.spec, storage, search, space)
        if book is None:
            raise StudyError(f"{plan.folder / JOURNAL_FILE} has no study {plan.name}")
        parents = book.study.user_attrs.get("parents", {})
        parent = _ParentSeen(parents.get(store_name(plan.uri), ""))
        evidence = Sweep(plan, storage, book, parent, Stops()).evidence(given.command)
    folder = out / plan.name
    if (folder / DATA / RUNS_FILE).exists():  # a report on runs, by a person's choice of name
        folder = out / f"{plan.name}-study"
    return write_study_report(evidence, folder)


class _ParentSeen(ParentRun):
    """The study's own run, to which nothing is told."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id


@dataclass(frozen=True)
class _SweepGiven:
    """How a study was carried out."""

    command: str
    path: Path
    overrides: tuple[str, ...] = ()
    name: str | None = None


def _sweep_given(subject: str, out: Path) -> _SweepGiven:
    """The command that carried a study out: as an earlier report of it says, or on the file that is named or found."""
    if subject.endswith(YAML):
        return _SweepGiven(f"clipexp sweep {shlex.quote(subject)}", Path(subject))
    folders = [out / subject, out / f"{subject}-study", home().root / "studies" / subject / "published"]
    for folder in folders:
        if is_study_report(folder) and (command := _command_of(folder)):
            return _parsed(command)
    for path in sorted(Path("studies").glob("*.yaml")):
        if load_study(path).spec.name == subject:
            return _SweepGiven(f"clipexp sweep {path}", path)
    raise StudyError(f"no file in studies/ is of study {subject}; name its file: clipexp report STUDY.yaml")


def _command_of(folder: Path) -> str:
    """The command that wrote a study's report, of whatever version it is; '' where it does not say."""
    try:
        return str(json.loads((folder / DATA / STUDY_FILE).read_text())["making"]["command"])
    except (OSError, ValueError, KeyError, TypeError):  # damaged: there are other ways to find it
        return ""


def _parsed(command: str) -> _SweepGiven:
    """The words of an earlier `clipexp sweep`. Raises StudyError where they don't suffice to read the study."""
    words = iter(shlex.split(command)[2:])
    paths, overrides, name = [], [], None
    for word in words:
        if word in ("--extend", "--storage"):
            raise StudyError(f"this study's report is written by the command that carried it out: {command}")
        value = next(words, "") if word.startswith("--") else ""
        if not word.startswith("--"):
            paths.append(Path(word))
        elif word == "--set":
            overrides.append(value)
        elif word == "--as":
            name = value
    if len(paths) != 1:
        raise StudyError(f"{command!r} names no study's file; name it: clipexp report STUDY.yaml")
    return _SweepGiven(command, paths[0], tuple(overrides), name)
