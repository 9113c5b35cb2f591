"""Find the runs whose process died without a word, and tell the truth about them.

    for line in settle(): print(line)

Every command begins with this; where no lease was left behind it costs a look into one folder.
"""

from collections.abc import Iterator

from clipexp.events import EndEvent
from clipexp.track.checkpoint_names import newest
from clipexp.track.header import RunHeader, headers, uri_of
from clipexp.track.home import home
from clipexp.track.journal import Journal, end_reason, last_samples_seen
from clipexp.track.lease import Holder, forget, stale
from clipexp.track.mlflow_store import first_line


def settle(about_to_run: str = "") -> list[str]:
    """Mark lost runs, finish the closing of ended ones; returns a line a run for the person.

    `about_to_run`: the hash of a spec that goes on now. Lost runs are only marked then: their figures and MLflow can
    wait, which the run's own delivery brings up to date, and training need not.
    """
    if not any(home().leases.glob("*.json")):
        return []
    lines: list[str] = []
    try:
        lines += _settle_stale(about_to_run)
    except OSError as error:  # a folder that can't be written must not keep other commands from reading it
        lines.append(f"can't look for lost runs in {home().leases} ({error.strerror}); make it writable")
    return lines


def _settle_stale(about_to_run: str) -> Iterator[str]:
    for holder in stale():
        try:
            yield from _settle_one(holder, about_to_run)
        except Exception as error:  # noqa: BLE001 (MLflow raises many kinds, and any command must go on)
            yield f"{holder} ended without a word, and can't be settled yet: {first_line(error)}"
        else:
            forget(holder)


def _settle_one(holder: Holder, about_to_run: str) -> Iterator[str]:
    header = next((h for h in headers() if h.launch == holder.launch or h.run_id == holder.run_id), None)
    if header is None:
        _end_unknown(holder)
        return
    was_lost = end_reason(header.folder) is None
    if was_lost:
        yield _tell(header, holder)
    if not about_to_run:
        yield from _close(header)
    elif not was_lost:
        yield from _close_here(header)


def _tell(header: RunHeader, holder: Holder) -> str:
    """Write the end that the run could not write; returns a line for the person."""
    at = max(0, last_samples_seen(header.folder))
    with Journal(header.folder, of_last_attempt=True) as journal:
        journal.append(EndEvent(at, "lost"), time_ms=journal.last_time_ms)
    has_checkpoint = newest(home().checkpoints / header.run_id) is not None
    outlook = "goes on from its last checkpoint" if has_checkpoint else "begins it anew"
    return (
        f"{holder} was lost at {at:,} samples: its process is gone and left no word (killed, out of memory, or a power"
        f" cut). The command that started it {outlook}"
    )


def _close(header: RunHeader) -> Iterator[str]:
    from clipexp.track.delivery import Delivery, owed
    from clipexp.track.mlflow_store import connect

    unwritten: OSError | None = None
    try:
        yield from _close_here(header)
    except OSError as error:
        unwritten = error
    try:
        Delivery(connect(header.tracking_uri), header).send_all()
    except Exception as error:  # noqa: BLE001 (MLflow raises many kinds; what is owed stays so, and is told)
        yield f"OWED to MLflow: {owed(header)} of run {header.run_id} ({first_line(error)}); `clipexp sync` delivers it"
    if unwritten is not None:
        raise unwritten


def _close_here(header: RunHeader) -> Iterator[str]:
    """What can be done without MLflow, which the next delivery brings up to it."""
    from clipexp.closing import close_out, pack_if_finished

    yield from close_out(header)
    pack_if_finished(header)


def _end_unknown(holder: Holder) -> None:
    """A run that MLflow made and whose maker died before it could note the id, or whose header is damaged."""
    if not holder.is_making and not holder.run_id:
        return
    import time

    from clipexp.track import mlflow_run
    from clipexp.track.mlflow_store import connect

    uri = uri_of(holder.store)
    client = connect(uri)
    for run_id in {*mlflow_run.find_launched(client, uri, holder.launch), holder.run_id} - {""}:
        mlflow_run.end(client, run_id, "lost", time.time_ns() // 1_000_000)
