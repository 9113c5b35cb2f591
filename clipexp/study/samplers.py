"""Who suggests settings, and who stops trials early: Optuna's own, made repeatable, and told what they can't see.

    sampler = make_sampler(spec.sampler, distributions, grid)
    pruner = make_pruner(spec.pruner, total_samples)

**A suggestion is a function of the seed, the trial's number and the history.** A sampler's random state would be lost
with the process, so each trial gets a sampler of its own, seeded with both: a study that was cut off and goes on asks
for what it would have asked for.

**Infeasible trials** (out of memory, not a number, too long) have no value, and none is made up in the storage. They
are told as PRUNED, with the constraint `infeasible` above 0 and the reason as a note:

- TPE takes PRUNED into account, and FAIL not at all. By the constraint it ranks them behind all others, also where they
  had reported good values before they went wrong.
- GP and CMA-ES know neither PRUNED nor constraints without values: a GP would suggest the same point for ever. They are
  shown stopped trials as if finished with the last value that was reported, but within what finished ones reached,
  and infeasible ones as the worst of these. It is a view for the sampler alone.
- A random, a QMC and a grid sampler do not learn.
"""

import copy
import warnings
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, assert_never, cast

import numpy as np
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from clipexp.spec.study import HyperbandSpec, MedianSpec, NoPrunerSpec, PrunerSpec, SamplerSpec, SuccessiveHalvingSpec

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

INFEASIBLE = "infeasible"  # the constraint's name, and the note's
STARTUP_TRIALS = 10  # at random, before a model is made

Params = dict[str, Any]


def make_sampler(
    spec: SamplerSpec, distributions: "Mapping[str, BaseDistribution]", grid: Sequence[Mapping[str, Any]] | None
) -> BaseSampler:
    """A sampler whose suggestions depend on the seed, the trial's number and the history alone.

    grid: every combination, by Optuna's parameter names; needed for the kind `grid`.
    """
    if spec.kind == "grid":
        return GridSampler(grid or (), spec.seed)
    return RepeatableSampler(spec, distributions)


class RepeatableSampler(BaseSampler):
    """One of Optuna's samplers, a fresh one for each trial."""

    def __init__(self, spec: SamplerSpec, distributions: "Mapping[str, BaseDistribution]") -> None:
        self._spec = spec
        self._names = sorted(distributions)
        # The space is known: samplers need not gather it from past trials.
        self._space = {name: distributions[name] for name in self._names if not distributions[name].single()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> "dict[str, BaseDistribution]":
        """What is suggested together, with regard to the history."""
        from optuna.distributions import CategoricalDistribution

        if self._spec.kind == "cmaes":  # knows no choices: these are drawn at random
            return {k: v for k, v in self._space.items() if not isinstance(v, CategoricalDistribution)}
        return dict(self._space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: "dict[str, BaseDistribution]"
    ) -> dict[str, Any]:
        """Suggest; nothing as long as there is too little history, so that it is drawn at random."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about experimental features and fits that did not converge
            sampler = _fresh(self._spec, _seed(self._spec.seed, trial.number))
            seen = cast(Study, _Seen(study)) if isinstance(sampler, GPSampler | CmaEsSampler) else study
            return sampler.sample_relative(seen, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: "BaseDistribution"
    ) -> Any:
        """Draw one parameter at random."""
        seed = _seed(self._spec.seed, trial.number, 1 + self._names.index(param_name))
        return RandomSampler(seed=seed).sample_independent(study, trial, param_name, param_distribution)


class GridSampler(BaseSampler):
    """Every combination once, in a shuffled order. Optuna's own repeats some with parallel trials or baselines."""

    def __init__(self, grid: Sequence[Mapping[str, Any]], seed: int) -> None:
        self._grid = [dict(grid[i]) for i in np.random.default_rng(seed).permutation(len(grid))]

    def left(self, trials: Sequence[FrozenTrial]) -> list[Params]:
        """The combinations that no trial has, in the order of their turn."""
        taken = {_identity(trial.params) for trial in trials if trial.params}
        return [params for params in self._grid if _identity(params) not in taken]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> "dict[str, BaseDistribution]":
        """Nothing: a combination is not suggested by its distributions."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: "dict[str, BaseDistribution]"
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: "BaseDistribution"
    ) -> Any:
        """One parameter of the next combination that goes with those which the trial already has."""
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        for params in self.left(others):
            if all(params[name] == value for name, value in trial.params.items()):
                return params[param_name]
        raise LookupError("the grid is exhausted")


def _identity(params: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in params.items()))


def _fresh(spec: SamplerSpec, seed: int) -> BaseSampler:
    match spec.kind:
        case "tpe":
            return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        case "gp":  # loads torch, once there is history to learn from
            return GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        case "cmaes":
            return CmaEsSampler(seed=seed)
        case "qmc":  # one sequence for the whole study, whose position the study keeps
            return QMCSampler(seed=spec.seed, scramble=True)
        case "random" | "grid":
            return RandomSampler(seed=seed)
        case _:
            assert_never(spec.kind)


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


class _Seen:
    """A study as GP and CMA-ES are shown it: with stopped and infeasible trials as if finished (see the module)."""

    def __init__(self, study: Study) -> None:
        self._seen_study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._seen_study, name)

    def _get_trials(
        self, deepcopy: bool = False, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = self._seen_study.get_trials(deepcopy=False)
        finished = [trial.value for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
        if finished:
            is_min = self._seen_study.direction == StudyDirection.MINIMIZE
            best, worst = (min(finished), max(finished)) if is_min else (max(finished), min(finished))
            trials = [_as_finished(t, best, worst) if t.state == TrialState.PRUNED else t for t in trials]
        return [trial for trial in trials if states is None or trial.state in states]


def _as_finished(trial: FrozenTrial, best: float, worst: float) -> FrozenTrial:
    seen = copy.copy(trial)
    is_known = INFEASIBLE not in trial.user_attrs and trial.last_step is not None
    value = trial.intermediate_values[trial.last_step] if is_known and trial.last_step is not None else worst
    seen.state = TrialState.COMPLETE
    seen.values = [float(np.clip(value, min(best, worst), max(best, worst)))]
    # GP takes constraints of finished trials for its own
    seen.system_attrs = {k: v for k, v in trial.system_attrs.items() if not k.startswith("constraints")}
    return seen


def make_pruner(spec: PrunerSpec, total_samples: int) -> BasePruner:
    """A pruner that counts in samples seen: Optuna's step is a number of samples.

    total_samples: what a trial sees that runs to its end.
    """
    match spec:
        case HyperbandSpec():
            return UnsplitPruner(HyperbandPruner(spec.min_samples, total_samples, spec.reduction))
        case SuccessiveHalvingSpec():
            return SuccessiveHalvingPruner(min_resource=spec.min_samples, reduction_factor=spec.reduction)
        case MedianSpec():
            return MedianPruner(spec.min_samples, spec.startup_trials)
        case NoPrunerSpec():
            return NopPruner()
        case _:
            assert_never(spec)


class UnsplitPruner(BasePruner):
    """Hyperband, whose sampler learns from all trials.

    Optuna shows the sampler only the trials of one bracket, so with four brackets a model starts after forty trials.
    """

    def __init__(self, hyperband: HyperbandPruner) -> None:
        self._hyperband = hyperband

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop a trial."""
        return self._hyperband.prune(study, trial)


class MedianPruner(BasePruner):
    """Stops a trial whose best value so far is worse than the median of the finished ones at the same samples.

    Batches of different sizes are evaluated at somewhat different samples, where Optuna's own never stops any; so
    values between two evaluations are interpolated.
    """

    def __init__(self, min_samples: int, startup_trials: int) -> None:
        self._min_samples = min_samples
        self._startup_trials = startup_trials

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop a trial."""
        samples = trial.last_step
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        curves = [t.intermediate_values for t in finished if t.intermediate_values]
        if samples is None or samples < self._min_samples or len(curves) < self._startup_trials:
            return False
        median = float(np.median([_value_at(samples, curve) for curve in curves]))
        if study.direction == StudyDirection.MINIMIZE:
            return min(trial.intermediate_values.values()) > median
        return max(trial.intermediate_values.values()) < median


def _value_at(samples: int, curve: Mapping[int, float]) -> float:
    steps = sorted(curve)
    return float(np.interp(samples, steps, [curve[step] for step in steps]))
