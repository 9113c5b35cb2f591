"""Between a study's search and Optuna: names, values there and back, grids, and what differs between two spaces."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from clipexp.spec.load import resolve
from clipexp.spec.study import ChoiceDim, Dim, IntDim, PowerOfTwoDim, RangeDim, StudySpec
from clipexp.study.space import (
    combinations,
    difference,
    distributions,
    grid,
    param_name,
    params_from_values,
    space_of,
    values_from_params,
)
from tests.small import small_content

SEARCH: dict[str, Dim] = {
    "optim.max_lr": RangeDim(kind="range", low=1.23456e-4, high=1e-2, log=True),
    "schedule.warmup_frac": RangeDim(kind="range", low=0, high=0.3, step=0.1),
    "model.vision.layers": IntDim(kind="int", low=1, high=7, step=3),
    "train.batch_size": PowerOfTwoDim(kind="power_of_two", low=32, high=512),
    "schedule": ChoiceDim(kind="choice", values=[{"decay": "linear"}, {"decay": "cosine"}]),
    "optim.grad_clip_norm": ChoiceDim(kind="choice", values=[None, 1.0, 5]),
}


def suggested(num_trials: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [study.ask(distributions(SEARCH)).params for _ in range(num_trials)]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_a_dimension_is_known_by_its_path_and_a_power_of_two_by_its_exponent() -> None:
    assert distributions(SEARCH) == {
        "optim.max_lr": FloatDistribution(1.23456e-4, 1e-2, log=True),
        "schedule.warmup_frac": FloatDistribution(0, 0.3, step=0.1),
        "model.vision.layers": IntDistribution(1, 7, step=3),
        "log2(train.batch_size)": IntDistribution(5, 9),
        "schedule": CategoricalDistribution(['{"decay":"linear"}', '{"decay":"cosine"}']),
        "optim.grad_clip_norm": CategoricalDistribution([None, 1.0, 5]),
    }


def test_values_are_those_of_a_run() -> None:
    params = {
        "optim.max_lr": 0.0007943282347243,
        "schedule.warmup_frac": 0.30000000000000004,
        "model.vision.layers": 4,
        "log2(train.batch_size)": 8,
        "schedule": '{"decay":"cosine"}',
        "optim.grad_clip_norm": None,
    }
    assert values_from_params(SEARCH, params) == {
        "optim.max_lr": 0.0007943,
        "schedule.warmup_frac": 0.3,
        "model.vision.layers": 4,
        "train.batch_size": 256,
        "schedule": {"decay": "cosine"},
        "optim.grad_clip_norm": None,
    }


def test_a_value_of_four_digits_stays_within_the_ends() -> None:
    search: dict[str, Dim] = {"optim.max_lr": RangeDim(kind="range", low=1.2342e-4, high=9.8766e-3, log=True)}
    for param, value in ((1.2342123456789e-4, 1.2342e-4), (9.8765123456789e-3, 9.8766e-3)):
        assert values_from_params(search, {"optim.max_lr": param}) == {"optim.max_lr": value}


def test_a_number_that_a_person_wrote_keeps_its_digits() -> None:
    search: dict[str, Dim] = {"optim.max_lr": RangeDim(kind="range", low=1e-4, high=1e-2)}
    values = {"optim.max_lr": 0.00123456}
    assert values_from_params(search, params_from_values(search, values)) == values


def test_suggestions_come_back_as_the_same_values_and_lie_in_their_distributions() -> None:
    for params in suggested(200):
        values = values_from_params(SEARCH, params)
        again = params_from_values(SEARCH, values)
        assert values_from_params(SEARCH, again) == values
        for name, distribution in distributions(SEARCH).items():
            assert distribution._contains(distribution.to_internal_repr(again[name])), (name, again[name])


def test_every_point_of_a_grid_comes_back_as_itself_the_ends_included() -> None:
    points = grid(SEARCH)
    assert points == {
        "schedule.warmup_frac": [0, 0.1, 0.2, 0.3],
        "model.vision.layers": [1, 4, 7],
        "log2(train.batch_size)": [5, 6, 7, 8, 9],
        "schedule": ['{"decay":"linear"}', '{"decay":"cosine"}'],
        "optim.grad_clip_norm": [None, 1.0, 5],
    }
    for path, dim in SEARCH.items():
        for param in points.get(name := param_name(path, dim), []):
            values = values_from_params({path: dim}, {name: param})
            assert params_from_values({path: dim}, values) == {name: param}
            assert distributions({path: dim})[name]._contains(distributions({path: dim})[name].to_internal_repr(param))


def test_a_grid_sampler_takes_the_grid() -> None:
    search = {path: dim for path, dim in SEARCH.items() if path in ("train.batch_size", "schedule")}
    study = optuna.create_study(sampler=optuna.samplers.GridSampler(grid(search), seed=0))
    taken = {tuple(sorted(study.ask(distributions(search)).params.items())) for _ in range(10)}
    assert len(taken) == 10


@pytest.mark.parametrize(("sampler", "num"), [("grid", 6), ("tpe", None)])
def test_the_grid_sampler_alone_gets_every_combination(sampler: str, num: int | None) -> None:
    search = {
        "train.batch_size": {"kind": "power_of_two", "low": 64, "high": 256},
        "seed": {"kind": "choice", "values": [0, 1]},
    }
    content = {"name": "s", "base": "b.yaml", "search": search, "budget": {"trials": 1}, "sampler": {"kind": sampler}}
    found = combinations(StudySpec.model_validate(content))
    assert num == (None if found is None else len({tuple(params.items()) for params in found}))
    assert found is None or found[-1] == {"log2(train.batch_size)": 8, "seed": 1}


def test_a_missing_parameter_or_an_unknown_choice_is_an_error() -> None:
    (params,) = suggested(1)
    with pytest.raises(KeyError):
        values_from_params(SEARCH, {name: param for name, param in params.items() if name != "optim.max_lr"})
    with pytest.raises(KeyError):
        values_from_params(SEARCH, params | {"schedule": "linear"})


def space(search: dict[str, Any], **train: Any) -> dict[str, Any]:
    spec = StudySpec.model_validate({"name": "s", "base": "b.yaml", "search": search, "budget": {"trials": 1}})
    return space_of(spec, resolve(small_content(Path("store"), **train)).spec)


LR = {"kind": "range", "low": 1e-4, "high": 1e-2}


def test_a_space_is_the_same_when_only_names_paths_or_cadences_differ() -> None:
    assert space({"optim.max_lr": LR}) == space({"optim.max_lr": LR}, eval_every_samples=320, keep_last=5)


def test_what_the_base_says_of_a_searched_path_is_no_part_of_the_space() -> None:
    search = {"train.batch_size": {"kind": "power_of_two", "low": 8, "high": 32}}
    assert space(search, batch_size=8) == space(search, batch_size=16)
    assert space({"optim.max_lr": LR}, batch_size=8) != space({"optim.max_lr": LR}, batch_size=16)


def test_the_difference_between_spaces_is_told_line_by_line() -> None:
    old = space({"optim.max_lr": LR, "seed": {"kind": "choice", "values": [0, 1]}})
    new = space({"optim.max_lr": LR | {"high": 0.1}}, batch_size=16)
    assert difference(old, old) == []
    assert sorted(difference(old, new)) == [
        "base.seed: (none) -> 0",
        "base.train.batch_size: 32 -> 16",
        "search.optim.max_lr.high: 0.01 -> 0.1",
        'search.seed.kind: "choice" -> (none)',
        "search.seed.values: [0, 1] -> (none)",
    ]
