"""One run in MLflow: made, described, ended; all but the making can be done again without harm.

run_id = create(client, uri, "quickstart", launch)
describe(client, header)
end(client, run_id, "finished", time_ms)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clipexp.errors import TrackingError
from clipexp.events import StopReason
from clipexp.spec.base import flatten
from clipexp.spec.run import RunSpec, group_hash
from clipexp.track.header import RunHeader
from clipexp.track.mlflow_store import experiment_id, first_line
from clipexp.track.provenance import Git
from clipexp.track.records import (
    FINDING_TAG,
    GROUP_TAG,
    REASON_TAG,
    RENEWED_TAGS,
    SPEC_HASH_TAG,
    STORE_CHECKSUM_TAG,
    TAG,
    TOTAL_SAMPLES_TAG,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

LAUNCH_TAG = f"{TAG}launch"
NOTE_TAG = "mlflow.note.content"
FOUND = "### Findings"  # what stands below it in a run's note is clipexp's own, and is written anew
TAG_LIMIT = 8000  # characters; MLflow cuts off what is longer
STATUS_BY_REASON: dict[StopReason, Literal["FINISHED", "FAILED", "KILLED"]] = {
    "finished": "FINISHED",
    "pruned": "KILLED",
    "budget": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
    "lost": "KILLED",
}


@dataclass(frozen=True)
class Identity:
    """What a run is, found out before it is made."""

    spec: RunSpec
    spec_hash: str
    data_checksum: str
    store_checksum: str
    num_train_pairs: int
    shard_pairs: int
    total_samples: int
    device: str
    git: Git
    versions: Mapping[str, str]

    @property
    def ran_on(self) -> str:
        """What decides the bits beside the fields of the spec that decide the result."""
        train = self.spec.train
        is_split = train.micro_batch is not None and train.micro_batch < train.batch_size
        parts = f", micro-batches of {train.micro_batch:,}" if is_split else ""
        return f"{self.device}, torch {self.versions.get('torch', 'unknown')}{parts}"

    def params(self) -> dict[str, str]:
        """The spec, flat; names and hypotheses are tags."""
        flat = flatten(self.spec.model_dump(mode="json"))
        return {key: str(value) for key, value in flat.items() if key not in ("name", "hypothesis")}

    def tags(self) -> dict[str, str]:
        """What MLflow shows beside the params."""
        git = self.git
        tags = {
            SPEC_HASH_TAG: self.spec_hash,
            GROUP_TAG: group_hash(self.spec, self.data_checksum),
            STORE_CHECKSUM_TAG: self.store_checksum,
            f"{TAG}num_train_pairs": str(self.num_train_pairs),
            f"{TAG}shard_pairs": str(self.shard_pairs),
            TOTAL_SAMPLES_TAG: str(self.total_samples),
            f"{TAG}device": self.device,
            f"{TAG}git_commit": git.commit,
            f"{TAG}git_dirty": str(bool(git.diff)).lower() if git.commit else "",
            f"{TAG}hypothesis": self.spec.hypothesis,
            NOTE_TAG: self.spec.hypothesis,
            "mlflow.source.git.commit": git.commit,
            **{f"{TAG}version.{package}": number for package, number in self.versions.items()},
        }
        return {key: value for key, value in tags.items() if value}

    def dataset(self) -> dict[str, str]:
        """MLflow's fields of the prepared set."""
        return {
            "name": self.spec.data.source.kind,
            "digest": self.store_checksum,
            "source_type": "local",
            "source": json.dumps({"uri": self.spec.data.store}),
            "profile": json.dumps({"num_train_pairs": self.num_train_pairs}),
        }


def create(client: "MlflowClient", uri: str, name: str, launch: str) -> str:
    """Make a run, RUNNING; returns its id. `launch` tells it where its maker dies before it has noted the id.

    Raises:
        TrackingError: MLflow refuses, or its answer was cut off.
    """
    from mlflow.exceptions import MlflowException

    try:
        run = client.create_run(experiment_id(client, uri), tags={LAUNCH_TAG: launch}, run_name=name)
    except (MlflowException, OSError) as error:
        raise TrackingError(f"the tracking store {uri} did not make a run ({first_line(error)}); try again") from error
    if not run.info.run_id:  # what MLflow's client makes of an answer that was cut off
        raise TrackingError(f"the answer of the tracking store {uri} was cut off; try again")
    return str(run.info.run_id)


def find_launched(client: "MlflowClient", uri: str, launch: str) -> list[str]:
    """Ids of the runs that a launch made and that still say RUNNING."""
    query = f"tags.`{LAUNCH_TAG}` = '{launch}' and attributes.status = 'RUNNING'"
    found = client.search_runs([experiment_id(client, uri)], query)
    return [str(run.info.run_id) for run in found]


def describe(client: "MlflowClient", header: RunHeader) -> None:
    """Give a run its params, tags and dataset, as far as it has not got them.

    What is there stays, since it came first, but for the tags that each attempt renews.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

    there = client.get_run(header.run_id)
    params = [Param(key, value) for key, value in header.params.items() if key not in there.data.params]
    new = {key: value for key, value in header.tags.items() if key not in there.data.tags or key in RENEWED_TAGS}
    tags = [RunTag(key, value) for key, value in new.items()]
    client.log_batch(header.run_id, params=params, tags=tags)
    if there.inputs is None or not there.inputs.dataset_inputs:
        dataset = Dataset(**header.dataset)
        client.log_inputs(header.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def tell_findings(client: "MlflowClient", run_id: str, findings: Sequence[Mapping[str, str]]) -> None:
    """Show a run's findings as its tags and in its note, in place of earlier ones.

    What a person wrote into the note stays. A finding has `rule`, `severity`, `claim` and `remedy`.
    """
    there = client.get_run(run_id).data.tags
    claims = {f"{FINDING_TAG}{found['rule']}": found["claim"][:TAG_LIMIT] for found in findings}
    for tag in there:
        if tag.startswith(FINDING_TAG) and tag not in claims:
            client.delete_tag(run_id, tag)
    for tag, claim in claims.items():
        if there.get(tag) != claim:
            client.set_tag(run_id, tag, claim)
    before = there.get(NOTE_TAG, "")
    own = before.partition(FOUND)[0].rstrip()
    lines = [f"- **{found['severity']}**: {found['claim']} {found['remedy']}".rstrip() for found in findings]
    note = "\n\n".join(part for part in (own, *([FOUND, "\n".join(lines)] if lines else [])) if part)
    if note != before:
        client.set_tag(run_id, NOTE_TAG, note[:TAG_LIMIT])


def go_on(client: "MlflowClient", run_id: str) -> None:
    """Set a run to RUNNING, whatever it was."""
    client.update_run(run_id, status="RUNNING")
    if REASON_TAG in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, REASON_TAG)


def end(client: "MlflowClient", run_id: str, reason: StopReason, time_ms: int) -> None:
    """Set how and when a run ended."""
    client.set_tag(run_id, REASON_TAG, reason)
    client.set_terminated(run_id, STATUS_BY_REASON[reason], time_ms)
