"""What a linked study goes on from: the best trials of another, and their last checkpoints.

plan = linked_plan(plan, num_best=3, horizon=98_304)
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from clipexp.errors import StudyError
from clipexp.study.book import StudyBook, find_book
from clipexp.study.extend import linked_spec
from clipexp.study.plan import Continuation, Extension, Plan
from clipexp.study.space import distributions, space_of
from clipexp.study.storage import JOURNAL_FILE, open_storage
from clipexp.study.sweep import held
from clipexp.study.trials import rank
from clipexp.track.checkpoint_names import newest, samples_seen_at
from clipexp.track.home import home
from clipexp.track.summary import read_summary

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def linked_plan(plan: Plan, num_best: int, horizon: int, name: str | None = None) -> Plan:
    """The study in which the best trials of another go on to a longer horizon.

    Raises:
        StudyError: the other study is still carried out, or has too few finished trials that left a checkpoint.
    """
    if plan.storage is None and not (plan.folder / JOURNAL_FILE).exists():
        raise StudyError(f"study {plan.name} is not here; carry it out first, then extend it")
    with held(plan), open_storage(plan.storage, plan.folder) as storage:
        space = space_of(plan.spec, plan.study.base.spec)
        book = find_book(plan.spec, storage, distributions(plan.spec.search), space)
        if book is None:
            raise StudyError(f"study {plan.name} is not in {storage.uri}; carry it out first, then extend it")
        best = _best(plan, book, num_best)
    sizes = [plan.trial_run(trial.user_attrs["values"], plan.name).spec.train.batch_size for trial in best]
    samples = horizon - (horizon - plan.total_samples) % math.lcm(*sizes)  # equal for all of them
    if samples <= plan.total_samples:
        raise StudyError(
            f"--budget {horizon:,} comes to no step beyond {plan.total_samples:,} samples; give at least"
            f" {plan.total_samples + math.lcm(*sizes):,}"
        )
    found = tuple(
        Continuation(f"{plan.name} {trial.number}", trial.params, _note(plan, trial, {"samples": samples}))
        for trial in best
    )
    study = dataclasses.replace(plan.study, spec=linked_spec(plan.spec, num_best, samples, name))
    return dataclasses.replace(plan, study=study, extension=Extension(plan.name, num_best, samples, found))


def _best(plan: Plan, book: StudyBook, num_best: int) -> "list[FrozenTrial]":
    trials = book.trials()
    best = [trials[number] for number in rank(trials, plan.spec.objective.direction)[:num_best]]
    if len(best) < num_best:
        raise StudyError(
            f"study {plan.name} has {len(best)} finished trial(s), and --extend top{num_best} needs {num_best}; carry"
            " it out first, or extend fewer"
        )
    return best


def _note(plan: Plan, trial: "FrozenTrial", horizon: Mapping[str, int]) -> dict[str, object]:
    """What a trial's run left to go on from."""
    run_id = trial.user_attrs["run_id"]
    checkpoint, summary = newest(home().checkpoints / run_id), read_summary(home().journals / run_id)
    if checkpoint is None or summary is None or not summary.weights_sha256:
        raise StudyError(
            f"trial {trial.number} of study {plan.name} (run {run_id[:8]}) left no checkpoint here to go on from;"
            " studies keep those of their best keep_checkpoints trials"
        )
    return {
        "spec_hash": trial.user_attrs["spec_hash"],
        "samples_seen": samples_seen_at(checkpoint),
        "weights_sha256": summary.weights_sha256,
        "seed": trial.user_attrs["seed"],
        "study": plan.name,
        "trial": trial.number,
        **horizon,
    }
