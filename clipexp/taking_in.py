"""Take in runs that were carried here: each becomes a run of the MLflow store at hand, under a new id.

for line in take_in(Path("runs.tar")): print(line)
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clipexp.bundle import MLFLOW_FILE, unpacked
from clipexp.errors import RunError, TrackingError
from clipexp.events import EndEvent
from clipexp.track import lease
from clipexp.track.delivery import Delivery
from clipexp.track.header import HEADER_FILE, OUTBOX, RunHeader, read_header, store_name
from clipexp.track.home import home
from clipexp.track.journal import Journal, end_reason, last_samples_seen
from clipexp.track.kept import write_kept
from clipexp.track.mlflow_run import LAUNCH_TAG
from clipexp.track.mlflow_store import connect, experiment_id, first_line, tracking_uri
from clipexp.track.records import IMPORTED_FROM_TAG, REASON_TAG, TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATE_TAG, UNFINISHED = f"{TAG}import_state", "unfinished"
NOT_CARRIED = {REASON_TAG, LAUNCH_TAG, STATE_TAG, "mlflow.runName"}  # follow from what the import does


def take_in(source: Path, tracking: str | None = None) -> Iterator[str]:
    """Take in the runs of a bundle, or of a journal's folder (`mlruns/journals/RUN_ID`); a line a run.

    Each gets a new id, under which it is delivered like any other. One that is here already stays as it is; an import
    that was cut off goes on, and nothing of it stands there twice.

    Raises:
        RunError: as `unpacked`, and no run was made; or a run's spec is at work here.
        TrackingError: MLflow's store can't be used, or did not take all of a run: import it again.
    """
    from mlflow.exceptions import MlflowException

    uri = tracking_uri(tracking)
    client = connect(uri)
    home().make()
    with unpacked(source) as content:
        for header in content.headers:
            try:
                line, is_new = _take_in(header, content.folder / header.run_id, client, uri)
                yield line
                yield from (f"MISSING: {missing}" for missing in content.missing if is_new)
            except MlflowException as error:
                raise TrackingError(f"{header.name} (run {header.run_id[:8]}): {first_line(error)}") from error


def _take_in(original: RunHeader, staged: Path, client: "MlflowClient", uri: str) -> tuple[str, bool]:
    """A line for the person, and whether the run was not here before."""
    who = f"{original.name} (run {original.run_id[:8]})"
    run_id, is_whole = _known_as(client, uri, original.run_id)
    if is_whole:
        as_run = "" if run_id == original.run_id else f" as run {run_id[:8]}"
        return f"{who} is here already{as_run}; it stays as it is", False
    try:
        held = lease.take(original.spec_hash, original.name, store_name(uri))
    except lease.HeldError as error:
        raise RunError(f"{who} can't be taken in while its spec is at work ({error.holder}); wait for that") from error
    with held:
        file = staged / MLFLOW_FILE
        about = json.loads(file.read_text()) if file.exists() else {}
        if not run_id:
            tags = {IMPORTED_FROM_TAG: original.run_id, STATE_TAG: UNFINISHED, LAUNCH_TAG: held.holder.launch}
            start_ms = about.get("start_time") or original.created_ms
            name = about.get("name") or original.name
            run_id = str(client.create_run(experiment_id(client, uri), start_ms, tags, name).info.run_id)
        held.name_run(run_id)
        if not (home().journals / run_id).exists():
            tags = {**original.tags, **about.get("tags", {})}
            header = dataclasses.replace(
                original,
                run_id=run_id,
                store=store_name(uri),
                params={**about.get("params", {}), **original.params},
                tags={k: v for k, v in tags.items() if k not in NOT_CARRIED} | {IMPORTED_FROM_TAG: original.run_id},
            )
            _place(header, staged, client)
        _deliver(client, run_id, who)
    return f"{who} is taken in as run {run_id[:8]}", True


def _known_as(client: "MlflowClient", uri: str, run_id: str) -> tuple[str, bool]:
    """The id that a run has in a store, '' if it has none, and whether all of it is there."""
    experiment = experiment_id(client, uri)
    if client.search_runs([experiment], f"attributes.run_id = '{run_id}'"):
        return run_id, True
    found = client.search_runs([experiment], f"tags.`{IMPORTED_FROM_TAG}` = '{run_id}'")
    is_whole_by_id = {str(run.info.run_id): STATE_TAG not in run.data.tags for run in found}
    return max(is_whole_by_id.items(), default=("", False), key=lambda entry: entry[1])


def _place(header: RunHeader, staged: Path, client: "MlflowClient") -> None:
    """Put a run's files in their places, the journal last: with it, the run is here."""
    journal, outbox = staged / "journal", staged / "journal" / OUTBOX
    outbox.mkdir(parents=True, exist_ok=True)
    if end_reason(journal) is None:  # its process was killed, and nobody there found out
        at = last_samples_seen(journal)
        with Journal(journal, of_last_attempt=True) as opened:
            opened.append(EndEvent(at, "lost"), time_ms=opened.last_time_ms)
    for path in sorted((staged / "artifacts").glob("*")):
        if path.is_dir() and not path.name.startswith("."):
            path.rename(outbox / path.name)
        elif path.is_dir():  # the outbox takes no such names
            client.log_artifacts(header.run_id, str(path), path.name)
        else:
            client.log_artifact(header.run_id, str(path))
    write_kept(journal / HEADER_FILE, dataclasses.asdict(header))
    if (staged / "checkpoints").exists():
        place = home().checkpoints / header.run_id
        shutil.rmtree(place, ignore_errors=True)  # of an import that was cut off
        shutil.move(staged / "checkpoints", place)  # they may lie on another disk
    os.sync()  # the bundle may be deleted as soon as we say that it is taken in
    journal.rename(header.folder)


def _deliver(client: "MlflowClient", run_id: str, who: str) -> None:
    header = read_header(home().journals / run_id)
    if header is None:
        raise RunError(f"{home().journals / run_id} is damaged; remove it, then import the run again")
    try:
        Delivery(client, header).send_all()
        client.delete_tag(run_id, STATE_TAG)
    except Exception as error:  # MLflow raises many kinds; the remedy is the same
        raise TrackingError(
            f"{who} is here as run {run_id[:8]}, but MLflow did not take all of it ({first_line(error)}); import it"
            " again, which goes on from there"
        ) from error
