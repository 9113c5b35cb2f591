"""The book of a study's trials: the bridge between the driver and Optuna's ask and tell.

    book = open_book(spec, storage, distributions, grid, space, total_samples=100_000)
    book.requeue_running()                   # what a killed driver left
    suggestion = book.ask()                  # None: the grid is exhausted
    book.report(suggestion.number, 10_000, 3.2)
    if book.should_prune(suggestion.number):
        book.tell_pruned(suggestion.number)

Each trial is told once. One that is broken off waits under its number, with its settings, notes and reported values,
and is the next to be asked for. What was begun twice by a storage that answered late, or never, has its effect once.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from clipexp.errors import StudyError
from clipexp.spec.study import StudySpec
from clipexp.study.storage import StudyStorage

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

SPACE = "space"
NAME, BASELINE, STOP_AT, FAILED = "name", "baseline", "stop_at_samples", "failed"  # notes; `infeasible` is another


@dataclass(frozen=True)
class Suggestion:
    """Settings to be run, by Optuna's parameter names.

    number: the trial's. baseline: its name, where it is one. notes: what was noted of it by now, also by earlier
    drivers.
    """

    number: int
    params: dict[str, Any]
    baseline: str | None
    notes: dict[str, Any]


@dataclass
class _Running:
    trial: "Trial"
    is_baseline: bool
    is_stopped: bool
    reported: set[int] = field(default_factory=set)


class StudyBook:
    """A study that this process carries out. study: Optuna's, to be read."""

    def __init__(self, study: "Study", storage: StudyStorage, distributions: "Mapping[str, BaseDistribution]") -> None:
        self.study = study
        self._storage = storage
        self._distributions = dict(distributions)
        self._running: dict[int, _Running] = {}
        self._num_told: int | None = None  # as long as nothing is told

    def enqueue(
        self, name: str, params: Mapping[str, Any], *, is_baseline: bool, notes: Mapping[str, Any] | None = None
    ) -> None:
        """Have settings run before anything is suggested, unless their name was given and its trial did not fail.

        Raises:
            StudyError: they don't lie in the space, or the name had others.
        """
        for key, distribution in self._distributions.items():
            if key not in params or not _contains(distribution, params[key]):
                given = f"is {params[key]!r}" if key in params else "is missing"
                raise StudyError(
                    f"{name}: {key} {given}, outside of what is searched, {_shown(distribution)}; "
                    "widen the dimension, or give another value"
                )
        attrs = {NAME: name, **({BASELINE: name} if is_baseline else {}), **(notes or {})}

        def enqueue_once() -> None:
            from optuna.trial import TrialState

            trials = [t for t in self.study.get_trials(deepcopy=False) if t.state != TrialState.FAIL]
            there = next((t for t in trials if t.user_attrs.get(NAME) == name), None)
            if there is None:
                self.study.enqueue_trial(dict(params), user_attrs=attrs)
            elif (before := there.params or there.system_attrs.get("fixed_params", {})) != dict(params):
                raise StudyError(
                    f"{name} has other values than when study {self.study.study_name} began ({before}, and now"
                    f" {dict(params)}); give the new ones another name"
                )

        self._storage.patiently(enqueue_once)

    def ask(self) -> Suggestion | None:
        """The next trial: one that waits, else a new suggestion. None: the grid is exhausted, and none waits.

        Raises:
            StudyError: another process has taken the study, or the storage does not answer.
        """
        self._storage.keep_held()
        attempts = 0

        def ask() -> "Trial | None":
            nonlocal attempts
            attempts += 1
            if attempts > 1:
                self.requeue_running()  # one that was made, but whose number never came back
            return None if self._is_exhausted() else self.study.ask(self._distributions)

        trial = self._storage.patiently(ask)
        if trial is None:
            return None
        kept = self._storage.patiently(lambda: self._storage.storage.get_trial(trial._trial_id))
        notes = dict(kept.user_attrs)
        baseline = notes.get(BASELINE)
        self._running[trial.number] = _Running(
            trial, baseline is not None, STOP_AT in notes, set(kept.intermediate_values)
        )
        return Suggestion(trial.number, dict(kept.params), baseline, notes)

    def _is_exhausted(self) -> bool:
        from optuna.trial import TrialState

        from clipexp.study.samplers import GridSampler

        if not isinstance(self.study.sampler, GridSampler):
            return False
        trials = self.study.get_trials(deepcopy=False)
        return not any(t.state == TrialState.WAITING for t in trials) and not self.study.sampler.left(trials)

    def report(self, number: int, samples_seen: int, value: float) -> None:
        """Keep the objective's value of a running trial. The first value for some samples stays; NaN is left out."""
        running = self._get(number)
        if samples_seen in running.reported or not math.isfinite(value):
            return
        self._storage.patiently(lambda: running.trial.report(value, samples_seen))
        running.reported.add(samples_seen)

    def should_prune(self, number: int) -> bool:
        """Whether the pruner would stop a running trial; baselines never. A yes stays one, also over a restart."""
        running = self._get(number)
        if running.is_baseline or running.is_stopped:
            return running.is_stopped
        if self._storage.patiently(running.trial.should_prune):
            self.note(number, **{STOP_AT: max(running.reported)})
            running.is_stopped = True
        return running.is_stopped

    def note(self, number: int, **notes: Any) -> None:
        """Keep something of a running trial: its run, its cost, anything that JSON knows."""
        running = self._get(number)
        for key, value in notes.items():
            self._storage.patiently(partial(running.trial.set_user_attr, key, value))

    def note_study(self, **notes: Any) -> None:
        """Keep something of the study."""
        for key, value in notes.items():
            self._storage.patiently(partial(self.study.set_user_attr, key, value))

    def tell_finished(self, number: int, value: float) -> None:
        """A trial ran to its end. value: of the objective, finite.

        Raises:
            StudyError: as of every tell: it is not a running trial of this book, as one that was told already.
        """
        from optuna.trial import TrialState

        if not math.isfinite(value):
            raise StudyError(f"trial {number} can't be told finished with the value {value}; tell it infeasible")
        self._end(number, TrialState.COMPLETE, float(value))

    def tell_pruned(self, number: int) -> None:
        """A trial was stopped early; its last reported value is its value."""
        from optuna.trial import TrialState

        running = self._get(number)
        value = None
        if running.reported:
            kept = self._storage.patiently(lambda: self._storage.storage.get_trial(running.trial._trial_id))
            value = kept.intermediate_values[max(kept.intermediate_values)]
        self._end(number, TrialState.PRUNED, value)

    def tell_infeasible(self, number: int, reason: str) -> None:
        """A trial can't be run with its settings. The sampler keeps away from them; no value is made up."""
        from optuna.trial import TrialState

        from clipexp.study.samplers import INFEASIBLE

        # first, so that a driver that is killed in between is known to have found this
        self.note(number, **{INFEASIBLE: reason})
        self._constrain(self._get(number).trial)
        self._end(number, TrialState.PRUNED, None)

    def tell_failed(self, number: int, reason: str) -> None:
        """A trial could not be run for reasons that are not its settings'. The sampler learns nothing from it."""
        from optuna.trial import TrialState

        self.note(number, **{FAILED: reason})
        self._end(number, TrialState.FAIL, None)

    def requeue(self, number: int) -> None:
        """Break a running trial off: it waits, and the next ask gives it again, with all that is known of it."""
        trial_id = self._get(number).trial._trial_id
        self._wait(trial_id)
        del self._running[number]

    def requeue_all(self) -> None:
        """Break off what is still under way here."""
        for number in list(self._running):
            self.requeue(number)

    def requeue_running(self) -> list[int]:
        """Have the trials wait that are under way in the storage, but not here: those of a driver that was killed.

        One that it had found infeasible or failed is told so.

        Returns:
            The numbers of those that wait now.
        """
        from optuna import Trial
        from optuna.trial import TrialState

        from clipexp.study.samplers import INFEASIBLE

        waiting = []
        for left in self.trials():
            if left.state != TrialState.RUNNING or left.number in self._running:
                continue
            if INFEASIBLE in left.user_attrs:
                self._constrain(Trial(self.study, left._trial_id))
                self._set_state(left._trial_id, TrialState.PRUNED, None)
            elif FAILED in left.user_attrs:
                self._set_state(left._trial_id, TrialState.FAIL, None)
            else:
                self._wait(left._trial_id)
                waiting.append(left.number)
        return waiting

    def trials(self) -> "Sequence[FrozenTrial]":
        """All trials by their numbers, as Optuna keeps them: not to be changed."""
        return self._storage.patiently(lambda: self.study.get_trials(deepcopy=False))

    def num_told(self) -> int:
        """How many trials are told: finished, stopped, infeasible or failed."""
        if self._num_told is None:
            self._num_told = sum(trial.state.is_finished() for trial in self.trials())
        return self._num_told

    def _get(self, number: int) -> _Running:
        if number not in self._running:
            state = next((trial.state.name for trial in self.trials() if trial.number == number), "unknown")
            raise StudyError(f"trial {number} of study {self.study.study_name} is {state}, and not under way here")
        return self._running[number]

    def _end(self, number: int, state: "TrialState", value: float | None) -> None:
        self._set_state(self._get(number).trial._trial_id, state, value)
        del self._running[number]

    def _set_state(self, trial_id: int, state: "TrialState", value: float | None) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        storage, attempts = self._storage.storage, 0
        self._num_told = None

        def tell() -> None:
            nonlocal attempts
            attempts += 1
            try:
                storage.set_trial_state_values(trial_id, state, None if value is None else [value])
            except UpdateFinishedTrialError as error:
                kept = storage.get_trial(trial_id)
                if attempts == 1 or (kept.state, kept.value) != (state, value):
                    raise StudyError(
                        f"trial {kept.number} of study {self.study.study_name} was told {kept.state.name} already"
                    ) from error

        self._storage.patiently(tell)

    def _wait(self, trial_id: int) -> None:
        from optuna.trial import TrialState

        self._storage.patiently(lambda: self._storage.storage.set_trial_state_values(trial_id, TrialState.WAITING))

    def _constrain(self, trial: "Trial") -> None:
        from clipexp.study.samplers import INFEASIBLE

        def constrain() -> None:
            if INFEASIBLE not in trial.constraints:
                trial.set_constraint(INFEASIBLE, 1.0)

        self._storage.patiently(constrain)


def open_book(
    spec: StudySpec,
    storage: StudyStorage,
    distributions: "Mapping[str, BaseDistribution]",
    grid: Sequence[Mapping[str, Any]] | None,
    space: Mapping[str, Any],
    total_samples: int,
) -> StudyBook:
    """Begin a study, or go on with it.

    distributions: by Optuna's parameter names. grid: every combination, for the sampler `grid`. space: what is
    searched, as JSON knows it, by which the study is known again. total_samples: what a trial sees that runs to its
    end.

    Raises:
        StudyError: the name is in use with another space or direction.
    """
    import optuna

    from clipexp.study.samplers import make_pruner, make_sampler

    sampler, pruner = make_sampler(spec.sampler, distributions, grid), make_pruner(spec.pruner, total_samples)

    def load() -> "Study":
        return optuna.create_study(
            storage=storage.storage,
            study_name=spec.name,
            direction=spec.objective.direction,
            sampler=sampler,
            pruner=pruner,
            load_if_exists=True,
        )

    study = storage.patiently(load)
    kept = storage.patiently(lambda: study.user_attrs).get(SPACE)
    wanted = json.loads(json.dumps(dict(space)))
    if kept is None and not storage.patiently(lambda: study.get_trials(deepcopy=False)):
        storage.patiently(lambda: study.set_user_attr(SPACE, wanted))
        kept = wanted
    _check_same(study, spec, kept, wanted)
    return StudyBook(study, storage, distributions)


def find_book(
    spec: StudySpec, storage: StudyStorage, distributions: "Mapping[str, BaseDistribution]", space: Mapping[str, Any]
) -> StudyBook | None:
    """A study that was begun, to be looked at; None if there is none. Raises StudyError as `open_book`."""
    import optuna

    try:
        study = storage.patiently(lambda: optuna.load_study(study_name=spec.name, storage=storage.storage))
    except KeyError:
        return None
    kept = storage.patiently(lambda: study.user_attrs).get(SPACE)
    _check_same(study, spec, kept, json.loads(json.dumps(dict(space))))
    return StudyBook(study, storage, distributions)


def _check_same(study: "Study", spec: StudySpec, kept: dict[str, Any] | None, wanted: dict[str, Any]) -> None:
    differences = []
    if kept is None:
        differences.append("it was not made by clipexp")
    elif kept != wanted:
        from clipexp.study.space import difference

        differences += difference(kept, wanted)
    direction = study.direction.name.lower()
    if direction != spec.objective.direction:
        differences.append(f"objective.direction was {direction}, and is {spec.objective.direction}")
    if differences:
        told = "\n".join(f"  {line}" for line in differences)
        raise StudyError(
            f"study {spec.name} exists with another space:\n{told}\n"
            "go on with the old file, or give this one a name of its own with --as NEWNAME"
        )


def _contains(distribution: "BaseDistribution", value: Any) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:
        return False


def _shown(distribution: "BaseDistribution") -> str:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return "one of " + ", ".join(map(str, distribution.choices))
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return f"{distribution.low:g} to {distribution.high:g}"
    return str(distribution)
