"""Samplers and pruners: repeatable, told of infeasible trials, counted in samples seen."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from clipexp.spec.study import HyperbandSpec, MedianSpec, NoPrunerSpec, PrunerSpec, SamplerSpec, SuccessiveHalvingSpec
from clipexp.study.samplers import INFEASIBLE, GridSampler, make_pruner, make_sampler

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1e-2, log=True),
    "warmup": FloatDistribution(0.0, 0.2),
    "log2(batch)": IntDistribution(3, 6),
}
MIXED = {**SPACE, "pool": CategoricalDistribution(["cls", "mean"])}
LEARNING = ["tpe", "gp", "cmaes"]
KINDS = [*LEARNING, "qmc", "random"]
Params = dict[str, Any]


def loss(params: Params) -> float:
    return math.log10(params["lr"] / 1e-3) ** 2 + 10 * params["warmup"] + abs(params["log2(batch)"] - 5)


def make_study(kind: str, seed: int = 0, space: dict[str, BaseDistribution] = SPACE) -> optuna.Study:
    spec = SamplerSpec.model_validate({"kind": kind, "seed": seed})
    return optuna.create_study(sampler=make_sampler(spec, space, None), pruner=optuna.pruners.NopPruner())


def run(study: optuna.Study, num: int, space: dict[str, BaseDistribution] = SPACE) -> list[Params]:
    asked = []
    for _ in range(num):
        trial = study.ask(space)
        asked.append(trial.params)
        study.tell(trial, loss(trial.params))
    return asked


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_cut_off_anywhere_asks_for_what_it_would_have_asked_for(kind: str) -> None:
    whole = make_study(kind, space=MIXED)
    asked = run(whole, 15, MIXED)
    for num_before in (0, 3, 12):
        cut_off = make_study(kind, space=MIXED)
        run(cut_off, num_before, MIXED)
        # another process has another sampler, and the same storage
        cut_off.sampler = make_study(kind, space=MIXED).sampler
        assert run(cut_off, 15 - num_before, MIXED) == asked[num_before:]


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_the_suggestions(kind: str) -> None:
    first, second = (run(make_study(kind, seed), 3) for seed in (0, 1))
    assert all(a != b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_trials_that_run_at_once_differ(kind: str) -> None:
    study = make_study(kind)
    run(study, 12)
    asked = [study.ask(SPACE).params for _ in range(4)]
    assert len({params["lr"] for params in asked}) == 4


@pytest.mark.parametrize("kind", LEARNING)
def test_learning_samplers_find_the_better_end(kind: str) -> None:
    late = run(make_study(kind), 30)[-10:]
    assert sum(params["warmup"] < 0.1 for params in late) >= 8  # 5 at random


def infeasible_share(kind: str, tell: Callable[[optuna.Study, optuna.Trial], None], seed: int = 0) -> float:
    """Of 25 suggestions after the first 15, those in the upper half, where nothing can be run.

    It gets better towards that half, as with larger batches; the best that can be run lies near it.
    """
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    study = make_study(kind, seed, space)
    asked = []
    for _ in range(40):
        trial = study.ask(space)
        asked.append(trial.params["x"])
        if trial.params["x"] > 0.5:
            tell(study, trial)
        else:
            study.tell(trial, (trial.params["x"] - 0.4) ** 2 + (trial.params["y"] - 0.5) ** 2)
    return sum(x > 0.5 for x in asked[15:]) / 25


def tell_infeasible(study: optuna.Study, trial: optuna.Trial) -> None:
    trial.report(0.0, 1)  # the best value there is, before it goes wrong
    trial.set_user_attr(INFEASIBLE, "out of memory")
    trial.set_constraint(INFEASIBLE, 1.0)
    study.tell(trial, state=TrialState.PRUNED)


@pytest.mark.parametrize("kind", LEARNING)
def test_suggestions_keep_away_from_what_is_infeasible(kind: str) -> None:
    seeds = range(1 if kind == "gp" else 7)
    assert statistics.median(infeasible_share(kind, tell_infeasible, seed) for seed in seeds) <= 0.35


def test_a_failure_that_tells_nothing_of_the_settings_does_not_steer() -> None:
    def tell_failed(study: optuna.Study, trial: optuna.Trial) -> None:
        study.tell(trial, state=TrialState.FAIL)

    failed, infeasible = (
        statistics.median(infeasible_share("tpe", tell, seed) for seed in range(5))
        for tell in (tell_failed, tell_infeasible)
    )
    assert failed > 2 * infeasible


def test_a_study_in_which_nothing_is_feasible_yet_goes_on() -> None:
    for kind in LEARNING:
        study = make_study(kind)
        asked = set()
        for _ in range(15):
            trial = study.ask(SPACE)
            asked.add(trial.params["lr"])
            tell_infeasible(study, trial)
        assert len(asked) == 15


def test_choices_are_drawn_beside_cmaes_which_knows_none() -> None:
    assert {params["pool"] for params in run(make_study("cmaes", space=MIXED), 12, MIXED)} == {"cls", "mean"}


def test_qmc_covers_the_space_evenly() -> None:
    lrs = [math.log10(params["lr"]) for params in run(make_study("qmc"), 16)]
    assert sorted(int((lr + 4) / 2 * 16) for lr in lrs) == list(range(16))


def test_the_grid_is_asked_for_once_each_also_beside_baselines_and_parallel_trials() -> None:
    space: dict[str, BaseDistribution] = {"a": IntDistribution(0, 2), "b": CategoricalDistribution(["x", "y"])}
    grid = [{"a": a, "b": b} for a in range(3) for b in ("x", "y")]
    sampler = make_sampler(SamplerSpec(kind="grid"), space, grid)
    assert isinstance(sampler, GridSampler)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({"a": 1, "b": "y"})
    running = [study.ask(space) for _ in range(3)]  # the baseline and two beside it
    asked = [trial.params for trial in running]
    study.tell(running[0], 1.0)
    asked += [study.ask(space).params for _ in range(3)]
    assert sorted(asked, key=repr) == sorted(grid, key=repr)
    assert sampler.left(study.get_trials(deepcopy=False)) == []


def test_the_seed_shuffles_the_grid() -> None:
    grid = [{"a": a} for a in range(20)]
    orders = [GridSampler(grid, seed).left([]) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(params["a"] for params in orders[2]) == list(range(20))


def finished(curve: dict[int, float]) -> FrozenTrial:
    return create_trial(value=curve[max(curve)], intermediate_values=curve)


def verdicts(spec: PrunerSpec, others: list[FrozenTrial], curve: dict[int, float]) -> list[bool]:
    """What the pruner says at each evaluation of one more trial."""
    study = optuna.create_study(pruner=make_pruner(spec, 900))
    study.add_trials(others)
    trial = study.ask()
    told = []
    for samples, value in curve.items():
        trial.report(value, samples)
        told.append(trial.should_prune())
    return told


WORST = {100: 9.0, 300: 9.0, 900: 9.0}


def test_the_median_pruner_stops_what_is_worse_from_min_samples_on() -> None:
    others = [finished({100: value, 300: value, 900: value}) for value in (1.0, 2.0, 3.0)]
    spec = MedianSpec(kind="median", min_samples=300, startup_trials=3)
    assert verdicts(spec, others, WORST) == [False, True, True]
    assert verdicts(spec, others, {100: 1.9, 300: 1.9, 900: 9.0}) == [False, False, False]
    assert verdicts(spec, others[:2], WORST) == [False, False, False]


def test_the_median_pruner_compares_at_the_same_samples_between_evaluations() -> None:
    others = [finished({0: 4.0, 100: 2.0, 200: 0.0})] * 3
    spec = MedianSpec(kind="median", startup_trials=1)
    assert verdicts(spec, others, {50: 2.9}) == [False]  # 3.0 there
    assert verdicts(spec, others, {50: 3.1}) == [True]


def test_successive_halving_lets_one_of_three_go_on() -> None:
    study = optuna.create_study(
        pruner=make_pruner(SuccessiveHalvingSpec(kind="successive_halving", min_samples=100), 900)
    )
    told = []
    for value in (3.0, 2.0, 4.0, 5.0, 6.0, 1.0):
        trial = study.ask()
        trial.report(9.0, 99)
        assert not trial.should_prune()
        trial.report(value, 100)
        told.append(trial.should_prune())
    assert told == [False, False, True, True, True, False]


def test_hyperband_stops_some_and_its_sampler_learns_from_all_trials() -> None:
    study = make_study("tpe")
    study.pruner = make_pruner(HyperbandSpec(kind="hyperband", min_samples=100), 900)
    num_seen = []
    sampler = study.sampler
    original = sampler.sample_relative

    def sample_relative(seen: optuna.Study, trial: FrozenTrial, space: dict[str, BaseDistribution]) -> Params:
        num_seen.append(len(seen.get_trials(deepcopy=False)))
        return original(seen, trial, space)

    sampler.sample_relative = sample_relative  # type: ignore[method-assign]
    for _ in range(30):
        trial = study.ask(SPACE)
        for samples in (100, 300, 900):
            trial.report(loss(trial.params), samples)
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, loss(trial.params))
    assert num_seen == list(range(1, 31))
    states = [trial.state for trial in study.trials]
    assert 5 < states.count(TrialState.PRUNED) < 28


def test_without_a_pruner_none_is_stopped() -> None:
    assert verdicts(NoPrunerSpec(kind="none"), [finished({100: 0.0})] * 9, WORST) == [False, False, False]
