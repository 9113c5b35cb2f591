"""A study from its launch to its report: held, taken up where it stands, carried out, told.

    with open_sweep(plan, Stops()) as sweep:
        for line in sweep.carry_out(): print(line)
        sweep.report

Whoever ends it (its budget, Ctrl-C, SIGKILL), the same command goes on: the driver's own state is in Optuna's study,
the trials' in their runs.
"""

import contextlib
import datetime
import functools
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clipexp.errors import StudyError, TrackingError
from clipexp.events import StopReason
from clipexp.settle import settle
from clipexp.stops import Stops
from clipexp.study import insight
from clipexp.study.book import StudyBook, find_book, open_book
from clipexp.study.confirm import Confirmation
from clipexp.study.driver import Driver
from clipexp.study.evidence import ConfirmRow, Making, StudyEvidence, Totals, gather
from clipexp.study.extend import CONTINUES
from clipexp.study.parent import ParentPoint, ParentRun
from clipexp.study.plan import Plan
from clipexp.study.pool import Pool
from clipexp.study.space import combinations, distributions, params_from_values, space_of
from clipexp.study.spending import HOUR_S, Spending
from clipexp.study.storage import JOURNAL_FILE, StudyStorage, open_storage
from clipexp.study.trials import Trials, seconds_of
from clipexp.track import mlflow_run
from clipexp.track.header import headers, read_header, store_name
from clipexp.track.home import home
from clipexp.track.journal import points
from clipexp.track.lease import HeldError, Holder, Lease, holder, is_held, take
from clipexp.track.mlflow_store import HTTP, connect, first_line, is_deleted, require_answer
from clipexp.track.provenance import git_state, versions
from clipexp.track.records import STUDY_TAG, TAG

BEST_TRIAL_TAG, BEST_RUN_TAG = f"{TAG}best_trial", f"{TAG}best_run"
LEASE = "study-{}"


class Sweep:
    """One launch of a study.

    reason: how it ended. report: the study's report, once it is written. artifacts: the folder that MLflow gets of it.
    problems: what could not be done.
    """

    def __init__(self, plan: Plan, storage: StudyStorage, book: StudyBook, parent: ParentRun, stops: Stops) -> None:
        self.plan = plan
        self.storage = storage
        self.book = book
        self.parent = parent
        self.stops = stops
        self.reason: StopReason = "failed"
        self.report: Path | None = None
        self.problems: list[str] = []
        self.trials = Trials(plan, book, parent.run_id)
        self.confirmation = Confirmation(plan, parent.run_id, book.study.user_attrs.get("confirm", {}))
        self.confirmation.first_seed = book.study.user_attrs.get("first_confirm_seed")
        self.spending = _spending(plan, book)
        self.artifacts: Path | None = None
        self._num_told = 0
        self._sent: set[ParentPoint] = set()
        self._is_over = False
        self.driver: Driver | None = None

    def carry_out(self) -> Iterator[str]:
        """As `Driver.carry_out`; then the report is written."""
        taken_back = self.book.requeue_running()
        if taken_back:
            yield f"{len(taken_back)} trial(s) were cut off and go on: {', '.join(map(str, taken_back))}"
        with Pool(self.plan.seats, self.plan.folder, self.plan.memory_limit) as pool:
            self.driver = Driver(self.plan, self.trials, self.confirmation, self.spending, pool, self.stops)
            try:
                for line in self.driver.carry_out():
                    self._tell_parent()
                    yield line
                self.reason = self.stops.reason() or "finished"
            finally:
                self.driver.put_all_back()
                self.problems += self.driver.problems
        self._tell_parent()

    def evidence(self, command: str) -> StudyEvidence:
        """What a report of the study, as it stands, rests on."""
        results = self.confirmation.results_of(self.trials.to_confirm())
        confirmed = [
            ConfirmRow(r["name"], r["seed"], _number(r["value"]), r["run_id"], r["spec_hash"], r["final"])
            for r in results
        ]
        attrs = [t.user_attrs for t in self.book.trials()]
        num_samples = (
            sum(a.get("samples_seen", 0) for a in attrs)
            + sum(math.isfinite(run.value) for run in confirmed) * self.plan.total_samples
        )
        devices = sorted({a["device"] for a in attrs if "device" in a})
        hours = self.spending.training_s / HOUR_S
        totals = Totals(num_samples, hours, self.spending.wall_s / HOUR_S, "; ".join(devices))
        making = Making(
            command=command,
            made_at=datetime.datetime.now(datetime.UTC).date().isoformat(),
            git_commit=git_state().commit,
            versions=versions(),
            parent_run_id=self.parent.run_id,
            extended_from=self.plan.extension.study if self.plan.extension else "",
            attribution=self.plan.manifest.attribution,
        )
        evidence = gather(self.plan.spec, self.plan.study.base.spec, self.book.trials(), confirmed, totals, making)
        best = insight.best_trial(evidence)
        header = read_header(home().journals / best.run_id) if best else None
        return evidence.with_best(header.spec) if header else evidence

    def _tell_parent(self) -> None:
        """Have the study's own run in MLflow show what was told since."""
        if self.book.num_told() == self._num_told:
            return
        told = [trial for trial in self.book.trials() if trial.state.is_finished()]
        self._num_told = len(told)
        objective = self.plan.spec.objective
        points, tags = parent_state(told, objective.metric, objective.direction)
        new = [point for point in points if point not in self._sent]
        self._sent |= set(new)
        self.parent.tell(new, tags)

    def finish(self) -> None:
        """End the study's own run in MLflow, once; a study that is to go on later is KILLED there, as a run is."""
        if not self._is_over:
            self._is_over = True
            if problem := self.parent.finish(self.reason, time.time_ns() // 1_000_000, self.artifacts):
                self.problems.append(problem)


def parent_state(told: Sequence[Any], metric: str, direction: str) -> tuple[list[ParentPoint], dict[str, str]]:
    """What the study's own run shows: each trial's value, the best's validation metrics, and which that is.

    A trial's value stands at its number; the metrics of the best so far at how many trials had finished then, since
    MLflow shows the highest step as the last.
    """
    found: list[ParentPoint] = []
    best: Any = None
    finished = sorted((t for t in told if t.state.name == "COMPLETE"), key=lambda t: t.datetime_complete)
    for num_finished, trial in enumerate(finished, start=1):
        time_ms = int(trial.datetime_complete.timestamp() * 1000)
        found.append(ParentPoint(f"study/{metric}", trial.number, trial.value, time_ms))
        if best is None or (trial.value < best.value) == (direction == "minimize"):
            best = trial
            final = validation_of(trial.user_attrs["run_id"])
            found += [ParentPoint(name, num_finished, value, time_ms) for name, value in final.items()]
    if best is None:
        return found, {}
    tags = {BEST_TRIAL_TAG: str(best.number), BEST_RUN_TAG: best.user_attrs["run_id"]}
    return found, tags | {f"{TAG}best.{path}": str(value) for path, value in best.user_attrs["values"].items()}


@functools.cache
def validation_of(run_id: str) -> dict[str, float]:
    """A finished run's last validation metrics."""
    curves = points(home().journals / run_id)
    return {name: series[-1].value for name, series in curves.items() if name.startswith("val/")}


def _spending(plan: Plan, book: StudyBook) -> Spending:
    """What earlier launches spent."""
    spending = Spending(plan.spec.budget, plan.hours_unit[1], book.study.user_attrs.get("wall_s", 0.0))
    store = store_name(plan.uri)
    for header in headers():  # their journals know, whoever was killed
        if header.store == store and header.tags.get(STUDY_TAG) == plan.name:
            spending.set_seconds(header.run_id, seconds_of(header.run_id))
    return spending


def look(plan: Plan) -> list[str]:
    """What a launch would find, for a dry run: whether the name, its holder, storage and MLflow would let it begin.

    Raises:
        StudyError: another driver holds the study; its name is in use with another space; its storage does not answer.
        TrackingError: MLflow's store can't be reached.
    """
    if plan.uri.startswith(HTTP):
        require_answer(plan.uri)
    if plan.storage is None and not (plan.folder / JOURNAL_FILE).exists():
        return ["it begins anew"]
    if is_held(LEASE.format(plan.name)):
        raise _held_error(plan, holder(LEASE.format(plan.name)))
    with open_storage(plan.storage, plan.folder, is_driver=False) as storage:
        book = find_book(plan.spec, storage, distributions(plan.spec.search), _space(plan))
        if book is None:
            return ["it begins anew"]
        states = [trial.state.name.lower() for trial in book.trials()]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        return [f"it goes on where it stands: {counts or 'no trial yet'}"]


def _space(plan: Plan) -> dict[str, Any]:
    extends = {"extends": plan.extension.words()} if plan.extension else {}
    return space_of(plan.spec, plan.study.base.spec) | extends


def _held_error(plan: Plan, found: Holder | None) -> StudyError:
    return StudyError(
        f"{found or f'study {plan.name}, by another process'}, is being carried out; wait for it, or give"
        " this one another name with --as NEWNAME"
    )


def _number(value: float | None) -> float:
    """A confirmation's value; NaN of a run that came to none, which the comparison counts and tells."""
    return math.nan if value is None else value


@contextlib.contextmanager
def open_sweep(plan: Plan, stops: Stops) -> Iterator[Sweep]:
    """Hold a study, and take it up where it stands, or make it.

    Raises:
        StudyError: another driver holds it; its name is in use with another space; its storage does not answer.
        TrackingError: MLflow's store can't be reached.
    """
    client = connect(plan.uri)  # made once, before workers start
    home().make()
    plan.folder.mkdir(parents=True, exist_ok=True)
    with held(plan) as lease, open_storage(plan.storage, plan.folder) as storage:
        storage.hold(plan.name)
        search = plan.spec.search
        book = open_book(
            plan.spec, storage, distributions(search), combinations(plan.spec), _space(plan), plan.total_samples
        )
        for baseline in plan.spec.baselines:
            values = plan.study.baseline_values(baseline)
            book.enqueue(baseline.name, params_from_values(search, values), is_baseline=True)
        for trial in plan.extension.trials if plan.extension else ():
            book.enqueue(
                trial.name, trial.params, is_baseline=False, notes={CONTINUES: trial.note, "seed": trial.note["seed"]}
            )
        run_id = _parent_run(plan, book, lease, client)
        sweep = Sweep(plan, storage, book, ParentRun(plan.uri, run_id), stops)
        try:
            yield sweep
        finally:
            sweep.finish()


@contextlib.contextmanager
def held(plan: Plan) -> Iterator[Lease]:
    """The study's lease. Raises StudyError if another process here has it."""
    settle()
    try:
        lease = take(LEASE.format(plan.name), f"study {plan.name}", store_name(plan.uri))
    except HeldError as error:
        raise _held_error(plan, error.holder) from error
    with lease:
        yield lease


def _parent_run(plan: Plan, book: StudyBook, lease: Lease, client: Any) -> str:
    """The study's own run in this MLflow, taken up or made. Raises TrackingError."""
    from mlflow.exceptions import MlflowException

    parents: dict[str, str] = book.study.user_attrs.get("parents", {})
    store = store_name(plan.uri)
    try:
        if store in parents and not is_deleted(plan.uri, parents[store]):
            lease.name_run(parents[store])
            mlflow_run.go_on(client, parents[store])
            return parents[store]
        lease.say_making()
        run_id = mlflow_run.create(client, plan.uri, plan.name, lease.holder.launch)
        lease.name_run(run_id)
        book.note_study(parents={**parents, store: run_id})
        client.set_tag(run_id, STUDY_TAG, plan.name)
        client.set_tag(run_id, "mlflow.note.content", plan.spec.hypothesis)
        for path, dim in plan.spec.search.items():
            client.log_param(run_id, f"search.{path}", dim.model_dump_json(exclude={"kind"})[:500])
    except MlflowException as error:
        raise TrackingError(
            f"the study's own run can't be kept in {plan.uri} ({first_line(error)}); try again"
        ) from error
    return run_id
