"""One run in MLflow: made with its params, tags, dataset and spec; ended with its true status.

run_id = create(client, identity)
end(client, run_id, "FINISHED")
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clipexp.spec.run import RunSpec, flatten
from clipexp.spec.yaml_lines import dump
from clipexp.track.mlflow_store import experiment_id
from clipexp.track.provenance import Git
from clipexp.track.records import SPEC_HASH_TAG, TAG, TOTAL_SAMPLES_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Identity:
    """What a run is, for MLflow."""

    spec: RunSpec
    spec_hash: str
    store_checksum: str
    num_train_pairs: int
    total_samples: int
    device: str
    git: Git
    versions: Mapping[str, str]


def create(client: "MlflowClient", uri: str, identity: Identity) -> str:
    """Make the run, RUNNING, with all that is known beforehand; returns its id."""
    from mlflow.entities import Param, RunTag

    spec = identity.spec
    run = client.create_run(experiment_id(client, uri), run_name=spec.name)
    run_id = str(run.info.run_id)
    params = [Param(key, str(value)) for key, value in flatten(spec.model_dump(mode="json")).items()]
    tags = [RunTag(key, value) for key, value in _tags(identity).items() if value]
    client.log_batch(run_id, params=[p for p in params if p.key not in ("name", "hypothesis")], tags=tags)
    _log_dataset(client, run_id, identity)
    log_text(client, run_id, resolved_yaml(spec), "spec/resolved.yaml")
    if identity.git.diff:
        log_text(client, run_id, identity.git.diff, "code/uncommitted.diff")
    return run_id


def resume(client: "MlflowClient", run_id: str, identity: Identity) -> None:
    """Set a run that goes on to RUNNING again, and say on what it does."""
    client.update_run(run_id, status="RUNNING")
    on = {"device": identity.device, "git_commit": identity.git.commit, "torch": identity.versions.get("torch", "")}
    client.set_tag(run_id, f"{TAG}resumed_on", json.dumps(on))
    if identity.git.diff:
        log_text(client, run_id, identity.git.diff, "code/uncommitted.diff")


def end(client: "MlflowClient", run_id: str, status: Status) -> None:
    """Set how the run ended."""
    client.set_terminated(run_id, status)


def log_text(client: "MlflowClient", run_id: str, text: str, path: str) -> None:
    """Keep a text as an artifact under `path`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(path).name
        file.write_text(text)
        client.log_artifact(run_id, str(file), str(Path(path).parent))


def resolved_yaml(spec: RunSpec) -> str:
    """A spec with every value written out; loading it gives the same spec."""
    return dump(spec.model_dump(mode="json"))


def _tags(identity: Identity) -> dict[str, str]:
    git = identity.git
    return {
        SPEC_HASH_TAG: identity.spec_hash,
        f"{TAG}store_checksum": identity.store_checksum,
        f"{TAG}num_train_pairs": str(identity.num_train_pairs),
        TOTAL_SAMPLES_TAG: str(identity.total_samples),
        f"{TAG}device": identity.device,
        f"{TAG}git_commit": git.commit,
        f"{TAG}git_dirty": str(bool(git.diff)).lower() if git.commit else "",
        f"{TAG}hypothesis": identity.spec.hypothesis,
        "mlflow.note.content": identity.spec.hypothesis,
        "mlflow.source.git.commit": git.commit,
        **{f"{TAG}version.{package}": number for package, number in identity.versions.items()},
    }


def _log_dataset(client: "MlflowClient", run_id: str, identity: Identity) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = identity.spec.data
    dataset = Dataset(
        name=data.source.kind,
        digest=identity.store_checksum,
        source_type="local",
        source=json.dumps({"uri": data.store}),
        profile=json.dumps({"num_train_pairs": identity.num_train_pairs}),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
