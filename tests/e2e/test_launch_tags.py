"""Tags that a run is launched with, such as whose trial it is."""

from pathlib import Path

import clipexp
from clipexp import runner
from clipexp.launch import LaunchOptions
from clipexp.spec.load import ResolvedRun
from clipexp.track.records import PARENT_TAG, ROLE_TAG, STUDY_TAG, TRIAL_TAG, list_runs
from tests.e2e.conftest import client, stop_at_first_step


def tags(study: str, trial: int) -> dict[str, str]:
    return {STUDY_TAG: study, TRIAL_TAG: str(trial), ROLE_TAG: "trial", PARENT_TAG: f"parent-of-{study}"}


def test_a_run_started_with_tags_has_them_in_mlflow_and_in_its_record(fresh: Path, short: ResolvedRun) -> None:
    execution = runner.start(short, options=LaunchOptions(tags=tags("quick", 7)))
    list(execution.events())
    assert (execution.record().study, execution.record().trial) == ("quick", 7)
    [listed] = list_runs(client())
    assert (listed.study, listed.trial) == ("quick", 7)
    assert tags("quick", 7).items() <= client().get_run(execution.run_id).data.tags.items()


def test_a_run_that_is_taken_up_gets_the_tags_of_who_takes_it_up(fresh: Path, short: ResolvedRun) -> None:
    first = runner.start(short)
    stop_at_first_step(first, "interrupted")
    assert (first.record().study, first.record().trial) == (None, None)
    for study, trial in (("quick", 7), ("other", 0)):
        execution = runner.start(short, options=LaunchOptions(tags=tags(study, trial)))
        assert execution.run_id == first.run_id
        stop_at_first_step(execution, "pruned")
        assert (execution.record().study, execution.record().trial) == (study, trial)
        assert tags(study, trial).items() <= execution.header.tags.items()


def test_a_trial_s_number_that_a_person_wrote_over_is_none(fresh: Path, short: ResolvedRun) -> None:
    record = clipexp.run(short)
    client().set_tag(record.run_id, TRIAL_TAG, "the good one")
    assert [run.trial for run in list_runs(client())] == [None]
