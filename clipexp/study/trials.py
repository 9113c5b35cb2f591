"""Optuna's suggestions as jobs, and their outcomes told back: each once, and none run that was run before.

job = trials.next()
trials.report(job, samples_seen, value)  # whether to stop it
trials.finished(job, value)
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clipexp.errors import SpecError
from clipexp.spec.load import ResolvedRun
from clipexp.spec.study import Value
from clipexp.study.book import BASELINE, STOP_AT, StudyBook, Suggestion
from clipexp.study.extend import CONTINUES, continued
from clipexp.study.jobs import Job
from clipexp.study.plan import Plan
from clipexp.study.space import values_from_params
from clipexp.track.header import RunHeader, headers, store_name
from clipexp.track.home import home
from clipexp.track.journal import active_seconds, end_reason, points
from clipexp.track.records import PARENT_TAG, ROLE_TAG, STUDY_TAG, TRIAL_TAG

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

BEST = "best"  # what the best trial's confirmation runs are called
MAX_SEEDS = 10_000
MAX_WITHOUT_RUN = 50  # suggestions in a row: a small space is exhausted, or nothing in it can be carried out


@dataclass(frozen=True)
class Outcome:
    """How a spec's run went: `value` is None if it was stopped by the pruner or is infeasible (`reason`)."""

    value: float | None
    curve: Mapping[int, float]
    run_id: str
    number: int | None = None
    reason: str = ""

    @property
    def is_cut_short(self) -> bool:
        """Whether the pruner stopped it."""
        return self.value is None and not self.reason


class Trials:
    """The trials of a study.

    Args:
        plan: the study.
        book: Optuna's side of it.
        parent_run_id: the study's own run in MLflow.

    `lines` says what was told without a run, for the person; whoever shows a line takes it out.
    """

    def __init__(self, plan: Plan, book: StudyBook, parent_run_id: str) -> None:
        self.plan = plan
        self.book = book
        self.lines: list[str] = []
        self._parent_run_id = parent_run_id
        self._job_by_hash: dict[str, Job] = {}
        self._num_without_run = 0
        self._outcome_by_hash = self._outcomes()
        own = (t for t in book.trials() if t.state.is_finished() and t.user_attrs.get("is_own"))
        self._with_checkpoint = {t.number for t in own if (home().checkpoints / t.user_attrs["run_id"]).exists()}

    def _outcomes(self) -> dict[str, Outcome]:
        """What is known of specs: by finished runs here, and by this study's own trials."""
        store, metric = store_name(self.plan.uri), self.plan.spec.objective.metric
        found: dict[str, Outcome] = {}
        for header in headers():
            if header.store == store and not header.repeat_of and end_reason(header.folder) == "finished":
                number = header.tags.get(TRIAL_TAG) if header.tags.get(STUDY_TAG) == self.plan.name else None
                if (outcome := _of_run(header, metric, None if number is None else int(number))) is not None:
                    found[header.spec_hash] = outcome
        for trial in self.book.trials():
            attrs = trial.user_attrs
            if "spec_hash" in attrs and trial.state.is_finished() and "failed" not in attrs:
                value = trial.value if trial.state.name == "COMPLETE" else None
                run_id, reason = attrs.get("run_id", ""), attrs.get("infeasible", "")
                curve = dict(trial.intermediate_values)
                found[attrs["spec_hash"]] = Outcome(value, curve, run_id, trial.number, reason)
        return found

    @property
    def num_begun(self) -> int:
        """Trials that were told, or are at work."""
        return self.book.num_told() + len(self._job_by_hash) + sum(len(job.twins) for job in self._job_by_hash.values())

    def next(self) -> Job | Literal["told"] | None:
        """The next trial to be run; "told" if there was nothing to run for it, None if no trial is left."""
        limit = self.plan.spec.budget.trials
        if (limit is not None and self.num_begun >= limit) or self._num_without_run >= MAX_WITHOUT_RUN:
            return None
        suggestion = self.book.ask()
        if suggestion is None:
            return None
        try:
            job = self._job(suggestion)
        except SpecError as error:  # between the corners, which were checked
            values = values_from_params(self.plan.spec.search, suggestion.params)
            self.book.note(suggestion.number, values=values)
            self.book.tell_infeasible(suggestion.number, str(error))
            self.lines.append(f"trial {suggestion.number} is infeasible: {error}")
            job = None
        self._num_without_run = 0 if job else self._num_without_run + 1
        if self._num_without_run == MAX_WITHOUT_RUN:
            self.lines.append(
                f"the last {MAX_WITHOUT_RUN} suggestions were repeats or infeasible: nothing new is left to search"
            )
        return job or "told"

    def _job(self, suggestion: Suggestion) -> Job | None:
        """What is to be run for a suggestion; None if there is nothing to run, and the trial is told or waits.

        Raises:
            SpecError: its settings don't validate together.
        """
        number = suggestion.number
        values = values_from_params(self.plan.spec.search, suggestion.params)
        name = f"{self.plan.name}-{number:03d}"
        resolved = self.plan.trial_run(values, name, seed=suggestion.notes.get("seed"))  # as before, if it was begun
        if CONTINUES in suggestion.notes:
            resolved = continued(resolved, suggestion.notes[CONTINUES])
        spec_hash = self.plan.identity(resolved.spec)
        known = self._outcome_by_hash.get(spec_hash)
        if known is not None and known.is_cut_short and suggestion.baseline is not None:
            known = None  # a baseline is run to its end, whatever a pruner thought of these settings
        is_repeat = spec_hash in self._job_by_hash or (known is not None and known.number != number)
        if is_repeat and self.plan.spec.repeats == "new_seed":
            resolved, spec_hash = self._with_new_seed(values, name, resolved)
            known, is_repeat = None, False
        seed = resolved.spec.seed
        self.book.note(number, values=values, spec_hash=spec_hash, seed=seed, samples_a_trial=self.plan.total_samples)
        if spec_hash in self._job_by_hash:
            twin = self._job_by_hash[spec_hash]
            twin.twins.append(number)
            twin.may_be_pruned = twin.may_be_pruned and suggestion.baseline is None
            return None
        if known is not None and is_repeat:
            self._tell(number, known, is_reused=True)
            return None
        job = self._new_job(suggestion, resolved, spec_hash)
        self._job_by_hash[spec_hash] = job
        if known is not None or STOP_AT in suggestion.notes:  # it had ended when its driver died
            job.run_id = known.run_id if known else job.run_id
            self.book.note(number, run_id=job.run_id)
            job.samples_seen = max(known.curve) if known else suggestion.notes[STOP_AT]
            self._end(job, known or Outcome(None, job.values, job.run_id, number))
            return None
        return job if self._fits(job) else None

    def _fits(self, job: Job) -> bool:
        """Whether a trial's memory may do, by arithmetic; where its whole batch does not, smaller ones are tried."""
        reason = self.plan.infeasible(job.resolved.spec)
        if reason:
            size = job.use_small_batches()
            self.lines.append(f"{job.key}: {reason}; it is tried with micro-batches of {size}")
            reason = self.plan.infeasible(job.resolved.spec)
        if reason:
            self.lines.append(f"{job.key} is infeasible: {reason}")
            self.infeasible(job, reason)
        return not reason

    def _with_new_seed(self, values: Mapping[str, Value], name: str, resolved: ResolvedRun) -> tuple[ResolvedRun, str]:
        for seed in range(resolved.spec.seed + 1, resolved.spec.seed + MAX_SEEDS):
            other = self.plan.trial_run(values, name, seed=seed)
            spec_hash = self.plan.identity(other.spec)
            if spec_hash not in self._job_by_hash and spec_hash not in self._outcome_by_hash:
                return other, spec_hash
        raise OverflowError(f"{MAX_SEEDS} seeds of one spec were run")

    def _new_job(self, suggestion: Suggestion, resolved: ResolvedRun, spec_hash: str) -> Job:
        number = suggestion.number
        role = "extend" if CONTINUES in suggestion.notes else "trial"
        tags = {STUDY_TAG: self.plan.name, TRIAL_TAG: str(number), ROLE_TAG: role, PARENT_TAG: self._parent_run_id}
        job = Job(f"trial {number}", resolved, spec_hash, tags, number)
        job.may_be_pruned = suggestion.baseline is None and CONTINUES not in suggestion.notes
        job.total_samples = self.plan.total_samples
        frozen = self.book.trials()[number]
        job.run_id = frozen.user_attrs.get("run_id", "")
        job.is_own = bool(frozen.user_attrs.get("is_own"))
        job.values = dict(frozen.intermediate_values)
        job.note = f"baseline {suggestion.baseline}" if suggestion.baseline else ""
        return job

    def started(self, job: Job, device: str) -> None:
        """Note which run a trial is and on what it is carried out, and report what a driver before us did not hear.

        An evaluation that was under way to a driver that died is in the run's journal, and comes no second time.
        """
        number = _number(job)
        self.book.note(number, run_id=job.run_id, device=device, is_own=job.is_own)
        for point in points(home().journals / job.run_id).get(self.plan.spec.objective.metric, ()):
            if point.samples_seen <= job.samples_seen:
                job.values[point.samples_seen] = point.value
                self.book.report(number, point.samples_seen, point.value)

    def report(self, job: Job, samples_seen: int, value: float) -> bool:
        """Report an evaluation; returns whether the pruner wants the trial stopped."""
        job.values[samples_seen] = value
        number = _number(job)
        self.book.report(number, samples_seen, value)
        return job.may_be_pruned and samples_seen < job.total_samples and self.book.should_prune(number)

    def finished(self, job: Job, value: float) -> None:
        """A trial came to its end."""
        self._end(job, Outcome(value, job.values, job.run_id, job.number))

    def pruned(self, job: Job) -> None:
        """The pruner stopped a trial."""
        self._end(job, Outcome(None, job.values, job.run_id, job.number))

    def infeasible(self, job: Job, reason: str) -> None:
        """A trial can't be carried out with these settings."""
        self._end(job, Outcome(None, job.values, job.run_id, job.number, reason))

    def failed(self, job: Job, reason: str) -> None:
        """A trial failed for a reason that tells nothing about its settings."""
        del self._job_by_hash[job.spec_hash]
        for number in (_number(job), *job.twins):
            self._note_cost(job, number)
            self.book.tell_failed(number, reason)

    def put_back(self, job: Job) -> None:
        """A trial was cut off: it waits, and goes on from its checkpoint under its number."""
        del self._job_by_hash[job.spec_hash]
        for number in (_number(job), *job.twins):
            self._note_cost(job, number)
            self.book.requeue(number)

    def _end(self, job: Job, outcome: Outcome) -> None:
        del self._job_by_hash[job.spec_hash]
        self._outcome_by_hash[job.spec_hash] = outcome
        self._note_cost(job, _number(job))
        self._tell(_number(job), outcome, is_reused=False)
        for number in job.twins:
            self._tell(number, outcome, is_reused=True)
        if job.run_id and job.is_own:
            self._with_checkpoint.add(_number(job))
        self._drop_checkpoints()

    def _note_cost(self, job: Job, number: int) -> None:
        if number == job.number:
            self.book.note(number, duration_s=round(seconds_of(job.run_id), 3), samples_seen=job.samples_seen)

    def _tell(self, number: int, outcome: Outcome, *, is_reused: bool) -> None:
        if is_reused:
            self.book.note(number, reused_from=outcome.run_id, run_id=outcome.run_id, duration_s=0.0, samples_seen=0)
            self.lines.append(f"trial {number} takes the result of run {outcome.run_id[:8]}, whose spec is the same")
        for samples_seen, value in outcome.curve.items():  # what was reported already stays
            self.book.report(number, samples_seen, value)
        if outcome.reason:
            self.book.tell_infeasible(number, outcome.reason)
        elif outcome.value is None:
            self.book.tell_pruned(number)
        else:
            self.book.tell_finished(number, outcome.value)

    def best(self, count: int) -> list[int]:
        """Numbers of the best finished trials, best first."""
        return rank(self.book.trials(), self.plan.spec.objective.direction)[:count]

    def to_confirm(self) -> dict[str, Mapping[str, Value]]:
        """The best trial's values and the baselines', by name; a best that is a baseline counts once, as that."""
        trials, best = self.book.trials(), self.best(1)
        found = {
            t.user_attrs[BASELINE]: t.user_attrs["values"]
            for t in trials
            if {BASELINE, "values"} <= t.user_attrs.keys()
        }
        if best and (values := trials[best[0]].user_attrs["values"]) not in found.values():
            found[BEST] = values
        return found

    def fresh_seed(self) -> int:
        """The first seed that no trial had."""
        seeds = [int(trial.user_attrs.get("seed", 0)) for trial in self.book.trials()]
        return 1 + max(self.plan.study.base.spec.seed, *seeds, 0)

    def _drop_checkpoints(self) -> None:
        """Remove the checkpoints of told trials that are not among the best few; runs of others keep theirs."""
        kept = set(self.best(self.plan.spec.keep_checkpoints))
        for number in self._with_checkpoint - kept:
            shutil.rmtree(home().checkpoints / self.book.trials()[number].user_attrs["run_id"], ignore_errors=True)
        self._with_checkpoint &= kept


def rank(trials: "Sequence[FrozenTrial]", direction: str) -> list[int]:
    """Numbers of the finished trials, best first; of several with one spec, the one whose run it was."""
    done = sorted(
        (t for t in trials if t.state.name == "COMPLETE"), key=lambda t: ("reused_from" in t.user_attrs, t.number)
    )
    first_by_hash = {trial.user_attrs["spec_hash"]: trial for trial in reversed(done)}
    sign = 1 if direction == "minimize" else -1
    return [t.number for t in sorted(first_by_hash.values(), key=lambda t: (sign * (t.value or 0.0), t.number))]


def seconds_of(run_id: str) -> float:
    """How long a run was at work, by its journal; 0 without one."""
    return active_seconds(home().journals / run_id) if run_id else 0.0


def _of_run(header: RunHeader, metric: str, number: int | None) -> Outcome | None:
    curve = {point.samples_seen: point.value for point in points(header.folder).get(metric, ())}
    return Outcome(curve[max(curve)], curve, header.run_id, number) if curve else None


def _number(job: Job) -> int:
    if job.number is None:
        raise TypeError(f"{job.key} is no trial")
    return job.number
