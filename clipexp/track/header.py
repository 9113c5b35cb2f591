"""What a run is, as it stands in front of its journal: enough to describe it to MLflow again, or to another MLflow.

write_header(header)
for header in headers(): print(header.run_id, header.folder)
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipexp.track.home import home
from clipexp.track.kept import read_kept, write_kept
from clipexp.track.mlflow_store import SQLITE, tracking_uri

HEADER_FILE, OUTBOX = "run.json", "outbox"
HOME_STORE = "mlruns"  # for the store beside the journals, wherever the checkout lies


@dataclass(frozen=True)
class RunHeader:
    """One run.

    params, tags: as MLflow shows them. dataset: MLflow's fields of one. launch: tells the process that made it.
    repeat_of: the run that this one repeats to compare the bits.
    """

    run_id: str
    spec_hash: str
    store: str
    name: str
    spec: Mapping[str, Any]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    dataset: Mapping[str, str]
    cost_key: str
    device: str
    created_ms: int
    launch: str
    repeat_of: str = ""

    @property
    def folder(self) -> Path:
        """Where the run's journal lies."""
        return home().journals / self.run_id

    @property
    def outbox(self) -> Path:
        """Files that wait to become the run's artifacts, under their paths there."""
        return self.folder / OUTBOX

    @property
    def tracking_uri(self) -> str:
        """The MLflow store that the run belongs to."""
        return uri_of(self.store)


def uri_of(store: str) -> str:
    """The inverse of `store_name`."""
    return home().tracking_uri if store == HOME_STORE else tracking_uri(store)


def store_name(uri: str) -> str:
    """How a header names a store: a local database relative to the working directory, which may be moved."""
    if uri == home().tracking_uri:
        return HOME_STORE
    path = Path(uri.removeprefix(SQLITE))
    if uri.startswith(SQLITE) and path.is_relative_to(Path.cwd()):
        return f"{SQLITE}{path.relative_to(Path.cwd())}"
    return uri


def write_header(header: RunHeader) -> None:
    """Write it to the run's folder. Raises OSError where that can't be written."""
    header.folder.mkdir(parents=True, exist_ok=True)
    write_kept(header.folder / HEADER_FILE, dataclasses.asdict(header))


def read_header(folder: Path) -> RunHeader | None:
    """The header of a journal; None where there is none, both copies are damaged, or another version wrote it."""
    content = read_kept(folder / HEADER_FILE)
    return RunHeader(**content) if content.keys() == {field.name for field in dataclasses.fields(RunHeader)} else None


def headers() -> Iterator[RunHeader]:
    """All runs that have a journal here, newest first."""
    found = [header for folder in home().journals.glob("*") if (header := read_header(folder)) is not None]
    yield from sorted(found, key=lambda header: header.created_ms, reverse=True)


def headers_of_spec(spec_hash: str, store: str, *, repeats: bool = False) -> Iterator[RunHeader]:
    """The runs of a spec in one store, newest first: its ordinary ones, or those that repeat another."""
    for header in headers():
        if (header.spec_hash, header.store, bool(header.repeat_of)) == (spec_hash, store, repeats):
            yield header
