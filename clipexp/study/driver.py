"""The driver: gives trials to workers, hears what happens in them, and answers each event with go on or stop.

    driver = Driver(plan, trials, confirmation, spending, pool, stops)
    for change in driver.carry_out(): ...  # a line for the person now and then, else ""

One path for every reason to stop: the pruner's, the budget's and Ctrl-C's all reach a worker as `stop` with a reason,
and its run ends at the next step with a checkpoint. A worker that dies gets its run back.
"""

import math
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Literal

from clipexp.errors import StudyError
from clipexp.events import StopReason
from clipexp.stops import Stops
from clipexp.study.confirm import Confirmation
from clipexp.study.forecast import Forecast, forecast
from clipexp.study.jobs import Job
from clipexp.study.messages import Message
from clipexp.study.plan import Plan
from clipexp.study.pool import Pool, Seat
from clipexp.study.spending import HOUR_S, Spending
from clipexp.study.trials import Trials, seconds_of
from clipexp.track.home import home

POLL_S = 0.2
MAX_FALSE_STARTS = 3
MAX_FAILURES = 3  # trials in a row that fail for a reason of their own: the next ones would, too
NOTE_EVERY_S = 20.0
UNTRACKED_S, MAX_UNTRACKED = 20.0, 30  # MLflow is asked for a run again so often


class Driver:
    """One launch of a study.

    job_by_seat: what runs. problems: what could not be done, a line each. phase: which jobs are handed out.
    """

    def __init__(
        self, plan: Plan, trials: Trials, confirmation: Confirmation, spending: Spending, pool: Pool, stops: Stops
    ) -> None:  # noqa: PLR0913, RUF100 (its parts)
        self.plan = plan
        self.trials = trials
        self.confirmation = confirmation
        self.spending = spending
        self.pool = pool
        self.stops = stops
        self.job_by_seat: dict[Seat, Job] = {}
        self.problems: list[str] = []
        self.phase = "trials"
        self.is_budget_spent = False
        self._is_trial_time_over = False
        self._again: list[Job] = []
        self._confirm_jobs: Iterator[Job] = iter(())
        self._told_to_stop: dict[Seat, StopReason] = {}
        self._failed: list[tuple[Job, str]] = []  # in a row, not told yet: if all fail, it is none of the trials' fault
        self._num_false_starts = 0
        self._noted_s = 0.0
        self._longest_s = (-1, 0.0)  # when so many trials were told: of those that were not stopped
        self._lines: list[str] = []
        self._prior = plan.prior()

    def carry_out(self) -> Iterator[str]:
        """Carry out the study until it is finished, or is to stop.

        Yields:
            A line for the person, or '' a few times a second.

        Raises:
            StudyError: trials fail, one after the other; or Optuna's storage is gone.
        """
        while True:
            self._look_after()
            has_more = self._hand_out()
            if not self.job_by_seat and not self._again and not has_more:
                if self.phase == "done" or self.stops.reason() is not None:
                    break
                self._next_phase()
                continue
            for seat, message in self.pool.poll(0.0 if has_more else POLL_S):
                self._hear(seat, message)
            yield from self._take_lines()
            yield ""
        self._tell_failed()
        self._note_wall()
        yield from self._take_lines()

    def put_all_back(self) -> None:
        """Have every trial that is still out wait; nothing happens after an ordinary end."""
        self._put_all_back([*self.job_by_seat.values(), *self._again])
        self.job_by_seat.clear()
        self.trials.book.requeue_all()

    def _put_all_back(self, jobs: list[Job]) -> None:
        while jobs:
            self._put_back(jobs.pop())

    def _take_lines(self) -> Iterator[str]:
        lines = [*self.trials.lines, *self._lines]
        self.trials.lines.clear()
        self._lines.clear()
        yield from lines

    def _next_phase(self) -> None:
        if self.phase == "trials" and self.plan.spec.confirm_seeds and not self._is_spent():
            self.phase = "confirmation"
            if self.confirmation.first_seed is None:
                self.confirmation.first_seed = self.trials.fresh_seed()
                self.trials.book.note_study(first_confirm_seed=self.confirmation.first_seed)
            self._confirm_jobs = self.confirmation.jobs(self.trials.to_confirm())
        else:
            self.phase = "done"

    def _hand_out(self) -> bool:
        """Give every free seat a job; returns whether to look for more at once, as a trial needed no run."""
        for seat in self.pool.seats:
            if seat in self.job_by_seat or self.stops.reason() is not None:
                continue
            job = self._next_job()
            if job is None or job == "told":
                return job is not None
            job.begun_s = None
            job.given_out_ms = job.given_out_ms or time.time_ns() // 1_000_000
            self.job_by_seat[seat] = job
            self._told_to_stop.pop(seat, None)
            self.pool.assign(seat, job.message(self.plan.uri))
        return False

    def _next_job(self) -> Job | Literal["told"] | None:
        if self._again:  # before any new one, which would meet the same trouble
            due = next((job for job in self._again if job.not_before_s <= time.monotonic()), None)
            if due is not None:
                self._again.remove(due)
            return due
        if self.phase == "confirmation":
            return None if self._is_spent() else next(self._confirm_jobs, None)
        if self.phase == "trials" and not self._is_trial_time_over:
            return self.trials.next()
        return None

    def confirm_s(self) -> float:
        """Seconds of training that the confirmation will take; by the slowest trial so far that was not stopped."""
        if self.phase != "trials":
            return 0.0
        num_told = self.trials.book.num_told()
        if self._longest_s[0] != num_told:  # asked several times a second
            trials = self.trials.book.trials()
            full = [t.user_attrs.get("duration_s", 0.0) for t in trials if t.state.name == "COMPLETE"]
            self._longest_s = (num_told, max(full, default=0.0))
        return self.plan.num_confirm_runs * (self._longest_s[1] or (self._prior.high_s if self._prior else 0.0))

    def forecast(self) -> Forecast | None:
        """What is left to train for the trials and the confirmation; None where nothing is known."""
        attrs = [t.user_attrs for t in self.trials.book.trials() if t.state.is_finished()]
        durations = [a["duration_s"] for a in attrs if a.get("duration_s") and "reused_from" not in a]
        limit = self.plan.spec.budget.trials
        num_left = 0 if self.phase != "trials" else max(0, (limit or len(attrs)) - len(attrs))
        return forecast(num_left, durations, self._prior, len(self.pool.seats), self.confirm_s())

    def _is_spent(self, reserve_s: float = 0.0) -> bool:
        return self.spending.is_spent(reserve_s, len(self.pool.seats))

    def _look_after(self) -> None:
        """Keep time, and have runs stop that must."""
        now_s = time.monotonic()
        for job in self.job_by_seat.values():
            if job.begun_s is not None:
                self.spending.set_seconds(job.run_id, job.seconds(now_s))
        if self.phase == "trials" and not self._is_trial_time_over:
            self._is_trial_time_over = self._is_spent(self.confirm_s())
        is_over = self._is_trial_time_over if self.phase == "trials" else self._is_spent()
        self.is_budget_spent = self.is_budget_spent or is_over
        reason = self.stops.reason() or ("budget" if is_over else None)
        if reason is not None:
            self._put_all_back(self._again)
        limit_hours = self.plan.spec.constraints.trial_hours
        for seat, job in self.job_by_seat.items():
            if reason is not None:
                self._tell_to_stop(seat, reason)
                if self.stops.is_hurried:
                    self.pool.kill(seat)
            elif limit_hours is not None and job.seconds(now_s) > limit_hours * HOUR_S:
                job.is_too_long = True
                self._tell_to_stop(seat, "budget")
        if now_s - self._noted_s > NOTE_EVERY_S:
            self._note_wall()

    def _tell_to_stop(self, seat: Seat, reason: StopReason) -> None:
        if seat not in self._told_to_stop:
            self._told_to_stop[seat] = reason
            self.pool.stop(seat, reason)

    def _note_wall(self) -> None:
        self._noted_s = time.monotonic()
        self.trials.book.note_study(wall_s=round(self.spending.wall_s, 1))

    def _hear(self, seat: Seat, message: Message) -> None:
        job = self.job_by_seat.get(seat)
        match message["say"]:
            case "gone":
                self._told_to_stop.pop(seat, None)
                if job is not None:
                    self._lose_worker(self._take(seat), message)
            case "ready":
                self._num_false_starts = 0
            case "waiting" if job is not None:
                job.note = message["message"]
            case "started" if job is not None:
                self._begin(job, message)
            case "event" if job is not None:
                self._answer(seat, job, message)
            case "done" if job is not None:
                self._end(seat, message)
            case "failed" if job is not None:
                if message["kind"] == "out_of_memory":  # what is left of it, in pieces, may not do for a smaller one
                    self.pool.dismiss(seat)
                self._fail(self._take(seat), message)

    def _take(self, seat: Seat) -> Job:
        """A seat's job, which is over there."""
        job = self.job_by_seat.pop(seat)
        if job.run_id:
            job.prior_s, job.begun_s = seconds_of(job.run_id), None
            self.spending.set_seconds(job.run_id, job.prior_s)
        return job

    def _begin(self, job: Job, message: Message) -> None:
        job.run_id, job.total_samples = message["run_id"], message["total_samples"]
        job.samples_seen = message["resumed_at"]
        job.is_own = job.is_own or message["created_ms"] >= job.given_out_ms
        job.prior_s, job.begun_s = seconds_of(job.run_id), time.monotonic()
        if job.number is not None:
            self.trials.started(job, message["device"])
        self._lines += [f"{job.key}: {note}" for note in message["notes"]]
        if job.samples_seen:
            self._lines.append(f"{job.key} goes on from its checkpoint at {job.samples_seen:,} samples")

    def _answer(self, seat: Seat, job: Job, message: Message) -> None:
        job.samples_seen = max(job.samples_seen, message["samples_seen"])
        stop: StopReason | None = None
        match message["kind"]:
            case "step":
                job.rate = message["metrics"].get("system/samples_per_s", job.rate)
            case "eval":
                value = message["metrics"].get(self.plan.spec.objective.metric)
                if value is not None and job.number is not None:
                    stop = "pruned" if self.trials.report(job, message["samples_seen"], value) else None
            case "pause":
                self._lines.append(f"{job.key}: {message['message']}")
        self.pool.answer(seat, message["n"], stop)

    def _end(self, seat: Seat, message: Message) -> None:
        job, reason = self._take(seat), message["reason"]
        self.problems += [f"{job.key}: {problem}" for problem in message["problems"]]
        job.samples_seen = message["samples_seen"] or job.samples_seen
        if reason == "finished":
            self._finish(job, message["final"])
        elif reason == "pruned":
            self.trials.pruned(job)
            self._lines.append(f"{job.key} pruned at {job.samples_seen:,} samples{_last(job)}")
        elif job.is_too_long and reason == "budget":
            hours = self.plan.spec.constraints.trial_hours
            self._cannot(job, f"it took longer than constraints.trial_hours, {hours:g} h, allows")
        elif self._told_to_stop.get(seat) == reason:
            self._put_back(job)
        else:  # somebody sent the worker a signal; the run goes on
            self._again.append(job)

    def _finish(self, job: Job, final: Mapping[str, float]) -> None:
        self._tell_failed()
        metric = self.plan.spec.objective.metric
        if job.number is None:
            self.confirmation.finished(job, final)
            self.trials.book.note_study(confirm=self.confirmation.results)
            if job.is_own:
                shutil.rmtree(home().checkpoints / job.run_id, ignore_errors=True)
        elif metric in final and not math.isfinite(final[metric]):
            self._cannot(job, f"its {metric} is not finite at {job.samples_seen:,} samples")
            return
        elif metric in final:
            self.trials.finished(job, final[metric])
        else:
            self._give_up(job, f"it recorded no {metric}")
            return
        self._lines.append(f"{job.key} finished: {metric} {final.get(metric, float('nan')):.4f}")

    def _put_back(self, job: Job) -> None:
        if job.number is not None:
            self.trials.put_back(job)
        how = "a larger budget" if self.is_budget_spent and self.stops.reason() is None else "the same command"
        self._lines.append(f"{job.key} stopped at {job.samples_seen:,} samples; {how} goes on from there")

    def _cannot(self, job: Job, reason: str) -> None:
        """These settings can't be carried out."""
        self._lines.append(f"{job.key} is infeasible: {reason}")
        if job.number is None:
            self.confirmation.infeasible(job, reason)
            self.trials.book.note_study(confirm=self.confirmation.results)
        else:
            self.trials.infeasible(job, reason)

    def _lose_worker(self, job: Job, message: Message) -> None:
        if self.stops.reason() is not None:
            self._put_back(job)
            return
        where = f"its worker was lost at {job.samples_seen:,} samples ({message['how']}; see {message['log']})"
        if not message["was_ready"] and not message["was_killed"]:
            self._lines.append(f"{job.key}: {where}; another one tries")
            self._again.append(job)
            self._num_false_starts += 1
            if self._num_false_starts >= MAX_FALSE_STARTS:
                raise StudyError(
                    f"workers can't start ({message['how']}): {message['last_line'] or 'they said nothing'}; see"
                    f" {message['log']}"
                )
        elif not job.die():
            self._lines.append(f"{job.key}: {where}; another one goes on")
            self._again.append(job)
        elif message["was_killed"]:  # as the kernel does to who takes too much memory
            self._shrink_or_give_up(job, f"{where}, {job.num_deaths} times in a row; out of memory?")
        else:
            self._give_up(job, f"{where}, {job.num_deaths} times in a row")

    def _shrink_or_give_up(self, job: Job, reason: str) -> None:
        """Out of memory: once more with smaller micro-batches, and then no more."""
        if job.is_shrunk or job.resolved.spec.train.micro_batch == 1:
            micro_batch = job.resolved.spec.train.micro_batch
            self._cannot(job, f"{reason}, also with micro-batches of {micro_batch}")
            return
        size = job.use_small_batches()
        self._lines.append(f"{job.key}: {reason}; it is tried once more with micro-batches of {size}")
        self._again.append(job)

    def _fail(self, job: Job, message: Message) -> None:
        match message["kind"]:
            case "diverged":
                self._cannot(job, message["message"])
            case "out_of_memory":
                self._shrink_or_give_up(job, message["message"])
            case "untracked":
                self._wait_for_mlflow(job, message["message"])
            case _:
                self._give_up(job, message["message"])

    def _wait_for_mlflow(self, job: Job, reason: str) -> None:
        """MLflow makes no run at the moment: the job is handed out again, for ten minutes."""
        job.num_untracked += 1
        if job.num_untracked > MAX_UNTRACKED:
            self._put_back(job)
            raise StudyError(f"{reason}; the study waits, and the same command goes on")
        self._lines.append(f"{job.key} waits for MLflow: {reason}")
        job.not_before_s = time.monotonic() + UNTRACKED_S
        self._again.append(job)

    def _give_up(self, job: Job, reason: str) -> None:
        """A failure that tells nothing about the settings; several in a row end the study, and are tried again."""
        self._lines.append(f"{job.key} FAILED: {reason}")
        self._failed.append((job, reason))
        if len(self._failed) >= MAX_FAILURES:
            failed, self._failed = self._failed, []
            for one, _ in failed:
                self._put_back(one)
            raise StudyError(
                f"{MAX_FAILURES} runs in a row failed, the last so: {reason}; mend that, and the same command goes on"
            )

    def _tell_failed(self) -> None:
        """Runs failed by themselves: another one came to its end since, or the study does."""
        for job, reason in self._failed:
            self.problems.append(f"{job.key} failed: {reason}")
            if job.number is None:
                self.confirmation.failed(job, reason)
                self.trials.book.note_study(confirm=self.confirmation.results)
            else:
                self.trials.failed(job, reason)
        self._failed.clear()


def _last(job: Job) -> str:
    """The objective's last value, in words."""
    return f": {job.values[max(job.values)]:.4f}" if job.values else ""
