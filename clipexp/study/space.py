"""The bridge between a study's search and Optuna.

    trial = optuna_study.ask(distributions(search))
    values_from_params(search, trial.params)  # {"optim.max_lr": 0.0007943, "train.batch_size": 256}

Optuna knows a dimension by its dotted path; a power of two by `log2(PATH)` and its exponent, so that samplers see it
ordered and evenly spaced. A choice that Optuna can't hold, a list or a mapping, is held as compact JSON.
"""

import itertools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, assert_never

from clipexp.spec.base import flatten, result_fields
from clipexp.spec.run import RunSpec
from clipexp.spec.study import ChoiceDim, Dim, IntDim, PowerOfTwoDim, RangeDim, StudySpec, Value, points

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Search = Mapping[str, Dim]
Param = bool | int | float | str | None  # what Optuna holds


def distributions(search: Search) -> "dict[str, BaseDistribution]":
    """What Optuna samples from, by parameter name."""
    return {param_name(path, dim): _distribution(dim) for path, dim in search.items()}


def param_name(path: str, dim: Dim) -> str:
    """The name by which Optuna knows a dimension."""
    return f"log2({path})" if isinstance(dim, PowerOfTwoDim) else path


def values_from_params(search: Search, params: Mapping[str, Any]) -> dict[str, Value]:
    """A run's values by dotted path.

    Real numbers have four significant digits, so that a spec is readable and near suggestions are found equal; they
    stay within the ends. One of up to eight digits was written by a person, in a baseline, and is kept.

    Raises:
        KeyError: a parameter is missing, or no choice of its dimension.
    """
    return {path: _value(dim, params[param_name(path, dim)]) for path, dim in search.items()}


def params_from_values(search: Search, values: Mapping[str, Value]) -> dict[str, Param]:
    """What Optuna would have suggested, for values that lie in the space.

    Raises:
        KeyError: a searched path has no value.
    """
    return {param_name(path, dim): _param(dim, values[path]) for path, dim in search.items()}


def grid(search: Search) -> dict[str, list[Param]]:
    """Every point of every dimension, by parameter name; a range without steps has no end of them, and is left out."""
    return {
        param_name(path, dim): [_param(dim, value) for value in found]
        for path, dim in search.items()
        if (found := points(dim)) is not None
    }


def combinations(spec: StudySpec) -> list[dict[str, Param]] | None:
    """Every combination for the sampler `grid`, by parameter name; None for others, which need none."""
    if spec.sampler.kind != "grid":
        return None
    by_name = grid(spec.search)
    return [dict(zip(by_name, chosen, strict=True)) for chosen in itertools.product(*by_name.values())]


def space_of(spec: StudySpec, base: RunSpec) -> dict[str, Any]:
    """What makes a study's results comparable, as plain JSON data.

    That is its search, its objective, and what of the base affects results and isn't searched.
    """
    searched = tuple(f"{path}." for path in spec.search)
    fields = flatten(result_fields(base))
    content = {
        "search": {path: dim.model_dump() for path, dim in spec.search.items()},
        "objective": spec.objective.model_dump(),
        "base": {path: value for path, value in fields.items() if not f"{path}.".startswith(searched)},
    }
    plain: dict[str, Any] = json.loads(json.dumps(content))
    return plain


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two spaces, a line each: `search.optim.max_lr.high: 0.003 -> 0.01`."""
    before, after = flatten(old), flatten(new)
    return [
        f"{path}: {_told(before, path)} -> {_told(after, path)}"
        for path in {**before, **after}
        if path not in before or path not in after or before[path] != after[path]
    ]


def _told(flat: Mapping[str, Any], path: str) -> str:
    return json.dumps(flat[path]) if path in flat else "(none)"


def _distribution(dim: Dim) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match dim:
        case RangeDim():
            return FloatDistribution(dim.low, dim.high, log=dim.log, step=dim.step)
        case IntDim():
            return IntDistribution(dim.low, dim.high, log=dim.log, step=dim.step)
        case PowerOfTwoDim():
            return IntDistribution(_log2(dim.low), _log2(dim.high))
        case ChoiceDim():
            return CategoricalDistribution([_held(value) for value in dim.values])
        case _:
            assert_never(dim)


def _value(dim: Dim, param: Any) -> Value:
    match dim:
        case RangeDim():
            if dim.step is not None:
                return float(f"{dim.low + round((param - dim.low) / dim.step) * dim.step:.12g}")
            is_written = param == float(f"{param:.8g}")
            return float(param) if is_written else min(max(float(f"{param:.4g}"), dim.low), dim.high)
        case IntDim():
            return int(param)
        case PowerOfTwoDim():
            return 1 << int(param)
        case ChoiceDim():
            return {_held(value): value for value in dim.values}[param]
        case _:
            assert_never(dim)


def _param(dim: Dim, value: Any) -> Param:
    match dim:
        case RangeDim():
            return float(value)
        case IntDim():
            return int(value)
        case PowerOfTwoDim():
            return _log2(int(value))
        case ChoiceDim():
            return _held(value)
        case _:
            assert_never(dim)


def _held(value: Value) -> Param:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, list | dict) else value


def _log2(power: int) -> int:
    return power.bit_length() - 1
