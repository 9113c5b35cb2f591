"""A run's findings in MLflow: as tags and in its note, beside what a person wrote there."""

import pytest
from mlflow import MlflowClient

from clipexp.track import mlflow_run
from clipexp.track.header import RunHeader
from clipexp.track.mlflow_run import NOTE_TAG, tell_findings

HIGH = {"rule": "lr_too_high", "severity": "problem", "claim": "It rose.", "remedy": "Lower it."}
NOISY = {"rule": "noisy_end", "severity": "caution", "claim": "It shook.", "remedy": ""}


def tags(client: MlflowClient, header: RunHeader) -> dict[str, str]:
    return dict(client.get_run(header.run_id).data.tags)


def test_findings_are_tags_and_stand_in_the_note(client: MlflowClient, header: RunHeader) -> None:
    tell_findings(client, header.run_id, [HIGH, NOISY])
    found = tags(client, header)
    assert found["clipexp.finding.lr_too_high"] == "It rose."
    assert found["clipexp.finding.noisy_end"] == "It shook."
    assert found[NOTE_TAG].splitlines()[-2:] == ["- **problem**: It rose. Lower it.", "- **caution**: It shook."]


def test_what_a_person_wrote_into_the_note_stays(client: MlflowClient, header: RunHeader) -> None:
    client.set_tag(header.run_id, NOTE_TAG, "Mine.\n\nAll mine.")
    tell_findings(client, header.run_id, [HIGH])
    tell_findings(client, header.run_id, [NOISY])
    assert tags(client, header)[NOTE_TAG] == "Mine.\n\nAll mine.\n\n### Findings\n\n- **caution**: It shook."


def test_what_no_longer_holds_is_taken_back(client: MlflowClient, header: RunHeader) -> None:
    client.set_tag(header.run_id, NOTE_TAG, "Mine.")
    tell_findings(client, header.run_id, [HIGH])
    tell_findings(client, header.run_id, [])
    found = tags(client, header)
    assert not any(tag.startswith("clipexp.finding.") for tag in found)
    assert found[NOTE_TAG] == "Mine."


def test_telling_the_same_again_writes_nothing(
    client: MlflowClient, header: RunHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_findings(client, header.run_id, [HIGH])
    monkeypatch.setattr(client, "set_tag", None)
    tell_findings(client, header.run_id, [HIGH])


def test_a_claim_of_any_length_fits(client: MlflowClient, header: RunHeader) -> None:
    tell_findings(client, header.run_id, [{**HIGH, "claim": "x" * 10_000}])
    assert len(tags(client, header)["clipexp.finding.lr_too_high"]) == mlflow_run.TAG_LIMIT
