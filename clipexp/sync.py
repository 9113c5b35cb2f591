"""Deliver what MLflow is owed.

for line, was_delivered in sync(): print(line)
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clipexp.errors import TrackingError
from clipexp.track.delivery import Delivery, owed
from clipexp.track.header import RunHeader, headers
from clipexp.track.lease import held_runs
from clipexp.track.mlflow_store import connect, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient


def sync() -> Iterator[tuple[str, bool]]:
    """Deliver every run that owes something, each to its own store; a line a run, and whether it owes nothing now.

    Runs that are at work deliver by themselves.
    """
    held = held_runs()
    clients: dict[str, MlflowClient | TrackingError] = {}
    num_owing = 0
    for header in headers():
        if header.run_id in held or not (debt := owed(header)):
            continue
        num_owing += 1
        if header.store not in clients:
            clients[header.store] = _client(header)
        client = clients[header.store]
        problem = str(client) if isinstance(client, TrackingError) else _deliver(client, header)
        name = f"{header.name} (run {header.run_id[:8]})"
        if problem:
            yield f"{name}: STILL OWED {owed(header)}: {problem}", False
        else:
            yield f"{name}: delivered {debt}", True
    if not num_owing:
        yield "MLflow is owed nothing", True


def _client(header: RunHeader) -> "MlflowClient | TrackingError":
    try:
        return connect(header.tracking_uri)
    except TrackingError as error:
        return error


def _deliver(client: "MlflowClient", header: RunHeader) -> str:
    """What went wrong, if anything."""
    try:
        delivery = Delivery(client, header)
        while delivery.send_some_alone():
            pass
    except Exception as error:  # noqa: BLE001 (MLflow raises many kinds; each is told)
        return first_line(error)
    return "its spec is being run by now; that run delivers it" if owed(header) else ""
