"""From what a person names to evidence: runs found, read in bulk, with their specs and examples.

evidence = collect(client, ["run1", "3f2a9c01b7de"], name=None)   # a run, and all seeds of a spec
"""

import contextlib
import dataclasses
import math
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from clipexp.errors import ReportError
from clipexp.plots.artifacts import EXAMPLES, KeptExamples, read_examples
from clipexp.reporting.analysis import loss_metric
from clipexp.reporting.evidence import NUM_SECTIONS, Evidence, RunEvidence, key_digits_of
from clipexp.reporting.versions import drawing_versions
from clipexp.spec.yaml_lines import dump
from clipexp.track.bulk import artifact_folders
from clipexp.track.header import read_header
from clipexp.track.home import home
from clipexp.track.mlflow_store import SQLITE
from clipexp.track.records import GROUP_TAG, REPEAT_TAG, FullRun, RunRecord, list_runs, pick_run, read_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LONGEST_NAME, LONGEST_OWN_NAME = 100, 60
GROUP = re.compile(r"[0-9a-f]{12}")
NUM_THREADS = 4


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What a person named. subjects: as one would name them again. left_out: runs of a group, each with the reason."""

    records: tuple[RunRecord, ...]
    subjects: tuple[str, ...]
    left_out: tuple[str, ...]


def choose(client: "MlflowClient", references: Sequence[str]) -> Chosen:
    """The runs that are meant: each by id, the start of one, or name; a group by its 12 digits (all finished seeds).

    Raises:
        TrackingError: a run can't be found, or was deleted.
        ReportError: a run is named twice, is a study's own, or a group has no finished run.
    """
    runs = list_runs(client)
    by_id = {run.run_id: run for run in runs}
    records: dict[str, RunRecord] = {}
    subjects, left_out = [], []
    for reference in references:
        members = [run for run in runs if GROUP.fullmatch(reference) and run.tags.get(GROUP_TAG) == reference]
        if members:
            finished = sorted(_finished(members), key=lambda run: (run.seed, run.started_ms))
            if not finished:
                there = ", ".join(map(_status, members))
                raise ReportError(f"group {reference} has no finished run; its runs: {there}")
            left_out += [_status(run) for run in members if run not in finished]
            records |= {run.run_id: run for run in finished}
            subjects.append(reference)
            continue
        run = by_id.get(reference) or pick_run(client, runs, reference)
        if run.is_study:
            raise ReportError(f"{run.name} is a study, whose report stands alone: clipexp report {run.name}")
        if run.run_id in records:
            raise ReportError("a run is named twice; name each once")
        records[run.run_id] = run
        subjects.append(run.run_id)
    digits = key_digits_of(list(records))
    subjects = [subject if GROUP.fullmatch(subject) else subject[:digits] for subject in subjects]
    return Chosen(tuple(records.values()), tuple(subjects), tuple(left_out))


def _finished(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The finished ones, without those that repeat another to compare the bits."""
    ids = {run.run_id for run in runs}
    return [run for run in runs if run.status == "FINISHED" and run.tags.get(REPEAT_TAG) not in ids]


def _status(run: RunRecord) -> str:
    how = "repeats another" if run.status == "FINISHED" else f"is {run.status}"
    return f"{run.name} ({run.run_id[:8]}, seed {run.seed}) {how}"


def title_of(chosen: Chosen, name: str | None) -> str:
    """The report's name: as given, else the runs' names. Raises ReportError where that can't name a folder."""
    names = list(dict.fromkeys(run.name for run in chosen.records))
    own = "-vs-".join(names)
    title = name or (own if len(own) <= LONGEST_OWN_NAME or len(names) < 3 else f"{names[0]}-and-{len(names) - 1}-more")
    if not NAME.fullmatch(title) or len(title) > LONGEST_NAME:
        raise ReportError(f"{title[:100]!r} can't name a folder; give letters, digits, '.', '_' and '-' with --name")
    return title


def collect(client: "MlflowClient", chosen: Chosen, title: str) -> Evidence:
    """Read all that a report on these runs rests on.

    Raises:
        TrackingError: MLflow can't be read.
        ReportError: a run keeps no spec.
    """
    full = read_runs(client, chosen.records)
    digits = key_digits_of([run.record.run_id for run in full])
    if len(full) > NUM_SECTIONS:
        full.sort(key=_rank)
    artifacts = _Artifacts(client, [run.record.run_id for run in full])
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        specs = list(pool.map(lambda run: _spec_yaml(artifacts, run.record), full))
    runs = tuple(
        RunEvidence(
            record=run.record,
            spec_yaml=spec,
            examples=_examples(artifacts, run.record) if number < NUM_SECTIONS else None,
            strips=run.told.strips,
            strips_at=run.told.strips_at if run.told.strips else 0,
            faults=run.told.faults,
            samples_seen=run.told.samples_seen,
            key_digits=digits,
        )
        for number, (run, spec) in enumerate(zip(full, specs, strict=True))
    )
    return Evidence(title, runs, chosen.subjects, chosen.left_out, drawing_versions())


def _rank(run: FullRun) -> tuple[str, float, str]:
    """The best first, of one validation loss after the other; without one last."""
    metric = loss_metric(run.record)
    value = run.record.final[metric] if metric else math.inf
    return metric or "~", value if math.isfinite(value) else math.inf, run.record.run_id


class _Artifacts:
    """Folders of runs' artifacts: where they lie, or fetched for a while."""

    def __init__(self, client: "MlflowClient", run_ids: Sequence[str]) -> None:
        self.client = client
        self._local: Mapping[str, Path] = {}
        if client.tracking_uri.startswith(SQLITE):
            self._local = artifact_folders(Path(client.tracking_uri.removeprefix(SQLITE)), run_ids)

    @contextlib.contextmanager
    def folder(self, run_id: str, name: str) -> Iterator[Path | None]:
        """One artifact folder of a run; None where it has none."""
        if run_id in self._local:
            place = self._local[run_id] / name
            yield place if place.is_dir() else None
        elif not self.client.list_artifacts(run_id, name):
            yield None
        else:
            with tempfile.TemporaryDirectory() as tmp:
                yield Path(self.client.download_artifacts(run_id, name, tmp))


def _spec_yaml(artifacts: _Artifacts, record: RunRecord) -> str:
    """The resolved spec: as an artifact, else, where that was not delivered yet, as the journal's header has it."""
    with artifacts.folder(record.run_id, "spec") as folder:
        if folder is not None and (folder / "resolved.yaml").is_file():
            return (folder / "resolved.yaml").read_text()
    header = read_header(home().journals / record.run_id)
    if header is not None:
        return dump(header.spec)
    place = artifacts.client.get_run(record.run_id).info.artifact_uri
    raise ReportError(
        f"run {record.run_id} keeps no spec/resolved.yaml at {place}: move the checkout back if it was moved;"
        " runs that another tool made can't be reported"
    )


def _examples(artifacts: _Artifacts, record: RunRecord) -> KeptExamples | None:
    with artifacts.folder(record.run_id, EXAMPLES) as folder:
        return read_examples(folder) if folder is not None else None
