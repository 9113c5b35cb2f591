"""What can be wrong between a study and its base experiment, found before anything runs.

    problems = path_problems(tree) + all_problems(Case(tree, spec, experiment, base))

A study's own keys are checked by its spec. Here: paths that no run has, corners of the space at which the base does
not validate, baselines outside the space, a metric that no run logs, and budgets that can't be met.
"""

import difflib
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from clipexp.errors import Problem, SpecError
from clipexp.spec.base import Incidental, Spec
from clipexp.spec.load import Experiment, nested
from clipexp.spec.run import RunSpec, budget_samples, start_samples, total_samples
from clipexp.spec.shape import all_paths, description_by_key, fields_at, models_at
from clipexp.spec.study import (
    BaselineSpec,
    ChoiceDim,
    Dim,
    HyperbandSpec,
    MedianSpec,
    RangeDim,
    StudySpec,
    SuccessiveHalvingSpec,
    Value,
    extremes,
    outside,
    points,
    shown,
)
from clipexp.spec.yaml_lines import Node, Origin, plain

BATCH_SIZE = "train.batch_size"
MAX_CORNERS = 2000
MAX_BETWEEN = 64  # values of a dimension that are tried between its ends
BLOCK_SIZE = 1024  # pairs a block of the validation loss, where there are that many
_LOSS_BLOCK = re.compile(r"val/loss_block_(\d+)")
_NOT_SEARCHED = {
    "train.budget": "trials are compared at equal samples",
    "data.split": "trials would be measured on different pairs",
    "evals": "trials would be measured on different pairs",
}


def direction_by_metric(block: int) -> dict[str, str]:
    """What a run with validation blocks of so many pairs logs that can be an objective, and which way is better."""
    loss = "val/loss" if block == BLOCK_SIZE else f"val/loss_block_{block}"
    ways = ("text_to_image", "image_to_text")
    recalls = {f"val/{way}_recall_at_{k}": "maximize" for way in ways for k in (1, 5, 10)}
    return {loss: "minimize", **recalls, **{f"val/{way}_median_rank": "minimize" for way in ways}}


@dataclass(frozen=True)
class Case:
    """A study (or what is sound in it) with its lines, and its base."""

    tree: Node
    spec: StudySpec
    experiment: Experiment
    base: RunSpec

    def problem(self, keys: Sequence[str | int], message: str) -> Problem:
        """A mistake in what stands below keys, or above that if it is not there."""
        return Problem(str(origin_at(self.tree, keys)), message)

    @cached_property
    def search(self) -> dict[str, Dim]:
        """The dimensions whose paths can be searched."""
        named = plain(self.tree.value["search"])
        return {
            path: dim for path, dim in self.spec.search.items() if not _path_message(path, named[path], list(named))
        }


def origin_at(tree: Node, keys: Sequence[str | int]) -> Origin:
    """Where the last of some keys stands, or the last that is there."""
    for key in keys:
        if isinstance(key, int) and key < len(tree.items):
            tree = tree.items[key]
        elif isinstance(tree.value, dict) and key in tree.value:
            tree = tree.value[key]
        else:
            break
    return tree.key_origin


def path_problems(tree: Node) -> list[Problem]:
    """Searched paths that no run has, or that make no sense to search."""
    searched = tree.value.get("search")
    if searched is None or not isinstance(searched.value, dict):
        return []
    found = []
    for path, node in searched.value.items():
        if message := _path_message(path, plain(node), list(searched.value)):
            found.append(Problem(str(node.key_origin), f"search.{path} {message}"))
    return found


def _path_message(path: str, dim: Any, searched: Sequence[str]) -> str | None:
    """What is wrong with searching a path by a dimension, given as plain data that need not be sound."""
    known = list(all_paths(RunSpec))
    if path not in known:
        return f"is unknown{_near_path(path, known)}"
    if outer := next((other for other in searched if path.startswith(f"{other}.")), None):
        return f"lies within search.{outer}; leave one of them out"
    for section, reason in _NOT_SEARCHED.items():
        if f"{path}.".startswith(f"{section}."):
            return f"can't be searched, since {reason}; set it in the base"
    return _field_message(path.split("."), dim if isinstance(dim, dict) else {})


def _near_path(path: str, known: Sequence[str]) -> str:
    names = {other: other.rpartition(".")[2] for other in known}
    name = path.rpartition(".")[2]
    near = [other for other in known if names[other] == name] or difflib.get_close_matches(path, known, n=1)
    if not near:
        near_names = difflib.get_close_matches(name, set(names.values()), n=1)
        near = [other for other in known if names[other] in near_names]
    return f"; did you mean {' or '.join(near)}?" if near else "; docs/spec.md has all paths"


def _field_message(keys: Sequence[str], dim: Mapping[str, Any]) -> str | None:
    values = dim.get("values") if dim.get("kind") == "choice" else None
    is_of_sections = isinstance(values, list) and all(isinstance(value, dict) for value in values)
    if models_at(RunSpec, keys) and not is_of_sections:
        return f"is a section; search one of its keys: {', '.join(sorted(description_by_key(RunSpec, keys)))}"
    if any(Incidental in field.metadata for num in range(len(keys)) for field in fields_at(RunSpec, keys[: num + 1])):
        return "leaves the result as it is, so that there is nothing to find; leave it out"
    if dim.get("kind") == "range" and all(field.annotation in (int, int | None) for field in fields_at(RunSpec, keys)):
        return "takes whole numbers; use kind int or power_of_two"
    return None


def all_problems(case: Case) -> list[Problem]:
    """All that is wrong between a study and its base but for `path_problems`."""
    checks = (_grid, _objective, _baselines, _hours, _corners)
    found = [problem for check in checks for problem in check(case)]
    return found + budget_problems(case, num_train_pairs=None)


def _grid(case: Case) -> Iterator[Problem]:
    for path, dim in case.search.items():
        if case.spec.sampler.kind == "grid" and isinstance(dim, RangeDim) and dim.step is None:
            remedy = "give it one, or take another sampler"
            yield case.problem(["search", path], f"search.{path} has no step, so that a grid has no end; {remedy}")


def _objective(case: Case) -> Iterator[Problem]:
    metric, direction = case.spec.objective.metric, case.spec.objective.direction
    most = min(BLOCK_SIZE, case.base.evals.num_pairs, case.base.data.split.num_val)
    named = _LOSS_BLOCK.fullmatch(metric)
    block = int(named[1]) if named and 2 <= int(named[1]) <= most else most  # fewer, where the prepared set is small
    known = direction_by_metric(block)
    if metric in known:
        if direction != known[metric]:
            remedy = f"write direction: {known[metric]}"
            where = ["objective", "direction"]
            yield case.problem(where, f"objective.direction {direction} looks for the worst {metric}; {remedy}")
        return
    if metric.startswith("val/loss"):
        near = next(iter(known))
        reason = f"since the base validates in blocks of {block:,} pairs"
    else:
        near, reason = next(iter(difflib.get_close_matches(metric, known, n=1)), ""), ""
    remedy = f"did you mean {near}?" if near else f"take one of {', '.join(known)}"
    message = f"objective.metric {metric} is logged by no trial{', ' if reason else ''}{reason}; {remedy}"
    yield case.problem(["objective", "metric"], message)


def _baselines(case: Case) -> Iterator[Problem]:
    names = [baseline.name for baseline in case.spec.baselines]
    named = plain(case.tree.value["search"])
    for idx, baseline in enumerate(case.spec.baselines):
        here = f"baselines[{idx}]"
        if baseline.name in names[:idx]:
            message = (
                f"{here}.name {baseline.name} is that of baselines[{names.index(baseline.name)}]; name it otherwise"
            )
            yield case.problem(["baselines", idx, "name"], message)
        for path in baseline.values:
            if path not in named:
                near = difflib.get_close_matches(path, named, n=1)
                remedy = f"did you mean {near[0]}?" if near else "add it to search, or set it in the base"
                message = f"{here}.values.{path} is not searched; {remedy}"
                yield case.problem(["baselines", idx, "values", path], message)
        for path, value in baseline_values(case.search, case.base, baseline).items():
            if not (reason := outside(case.search[path], value)):
                continue
            if path in baseline.values:
                message = f"{here}.values.{path} {shown(value)} {reason}; change it, or widen search.{path}"
            else:
                message = f"{here}.values leaves {path} to the base, whose {shown(value)} {reason}; give it a value"
            yield case.problem(["baselines", idx, "values", path], message)


def baseline_values(search: Mapping[str, Dim], base: RunSpec, baseline: BaselineSpec) -> dict[str, Value]:
    """A baseline's value at every searched path, the base's own where it leaves one out.

    A path that the base doesn't have (it is of another variant) is left out.
    """
    found: dict[str, Value] = {}
    for path, dim in search.items():
        if path in baseline.values:
            found[path] = baseline.values[path]
        elif (value := _value_at(base, path, dim)) is not _ABSENT:
            found[path] = value
    return found


_ABSENT: Any = object()


def _value_at(base: RunSpec, path: str, dim: Dim) -> Any:
    """The base's value; for a section, the choice that it agrees with."""
    value: Any = base
    for key in path.split("."):
        value = getattr(value, key, _ABSENT)
    if isinstance(value, Spec):
        value = value.model_dump()
        choices = dim.values if isinstance(dim, ChoiceDim) else []
        return next((choice for choice in choices if _agrees(choice, value)), value)
    return value


def _agrees(part: Any, whole: Any) -> bool:
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and _agrees(member, whole[key]) for key, member in part.items())
    return bool(part == whole)


def _hours(case: Case) -> Iterator[Problem]:
    device, budget = case.base.train.device, case.spec.budget
    for key, other, limit, never in (
        ("gpu_hours", "cpu_hours", budget.gpu_hours, "cpu"),
        ("cpu_hours", "gpu_hours", budget.cpu_hours, "cuda"),
    ):
        if limit is not None and device == never:
            message = f"budget.{key} is never spent, since the base has train.device {device}; give {other}"
            yield case.problem(["budget", key], message)


def budget_problems(case: Case, num_train_pairs: int | None) -> list[Problem]:
    """What is wrong between a study and the samples of its trials; nothing while those aren't known."""
    budget = base_samples(case.base, num_train_pairs)
    if budget is None:
        return []
    budget -= start_samples(case.base)
    samples = trial_samples(case.search, case.base, num_train_pairs)
    if samples is None:
        reason = f"has no common multiple up to {budget // 10:,}, a tenth of the base's {budget:,} samples"
        remedy = "use kind power_of_two or fewer sizes, or a longer budget"
        message = f"search.{BATCH_SIZE} {reason}, so that trials would see different numbers of samples; {remedy}"
        return [case.problem(["search", BATCH_SIZE], message)]
    pruner = case.spec.pruner
    if isinstance(pruner, HyperbandSpec | SuccessiveHalvingSpec | MedianSpec) and pruner.min_samples >= samples:
        message = f"pruner.min_samples must be below the {samples:,} samples of a trial, but is {pruner.min_samples:,}"
        return [case.problem(["pruner", "min_samples"], message)]
    return []


def base_samples(base: RunSpec, num_train_pairs: int | None) -> int | None:
    """The base's budget in samples; None if it counts epochs of a set whose size isn't known."""
    if base.train.budget.samples is None and num_train_pairs is None:
        return None
    return budget_samples(base, num_train_pairs or 0)


def trial_samples(search: Mapping[str, Dim], base: RunSpec, num_train_pairs: int | None) -> int | None:
    """Samples that each trial has seen at its end, whatever its batch size; None if that can't be, or isn't known."""
    budget = base_samples(base, num_train_pairs)
    if budget is None:
        return None
    if BATCH_SIZE not in search:
        return total_samples(base, num_train_pairs or 0)
    start = start_samples(base)
    multiple = common_multiple(search[BATCH_SIZE], limit=(budget - start) // 10)
    return None if multiple is None else start + (budget - start) // multiple * multiple


def common_multiple(dim: Dim, limit: int) -> int | None:
    """The least number of samples that is whole batches of every size; None if that is above a limit."""
    sizes: Iterable[Any] = points(dim) or ()
    multiple = 1
    for size in sizes:
        if isinstance(size, int | float) and size == int(size) > 0:  # else validation at the corners tells
            multiple = math.lcm(multiple, int(size))
        if multiple > limit:
            return None
    return multiple


def corners(search: Mapping[str, Dim]) -> list[dict[str, Value]]:
    """Every combination of the dimensions' ends; if these are over 2,000, those of each two, the others left out."""
    ends = {path: extremes(dim) for path, dim in search.items()}
    if math.prod(map(len, ends.values())) <= MAX_CORNERS:
        return _combinations(ends)
    pairs = itertools.combinations(ends, 2) if len(ends) > 1 else [tuple(ends)]
    return [values for pair in pairs for values in _combinations({path: ends[path] for path in pair})]


def _combinations(values_by_path: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    return [dict(zip(values_by_path, values, strict=True)) for values in itertools.product(*values_by_path.values())]


def _between(search: Mapping[str, Dim]) -> list[dict[str, Value]]:
    """The values between a dimension's ends, where these are few, one by one."""
    all_points = {path: points(dim) or () for path, dim in search.items() if not isinstance(dim, ChoiceDim)}
    return [{path: value} for path, found in all_points.items() for value in found[1:-1] if len(found) <= MAX_BETWEEN]


def _corners(case: Case) -> Iterator[Problem]:
    """Where in the space the base does not validate."""
    origins = {path: origin_at(case.tree, ["search", path]) for path in case.search}
    at_by_problem: dict[Problem, list[dict[str, Value]]] = {}
    for values in corners(case.search) + _between(case.search):
        try:
            case.experiment.resolved(nested(values, lambda path: origins[path]))
        except SpecError as error:
            for problem in error.problems:
                at_by_problem.setdefault(problem, []).append(values)
    places = set(map(str, origins.values()))
    for problem, hits in at_by_problem.items():
        corner = ", ".join(f"{path}={shown(value)}" for path, value in hits[0].items())
        more = f" (and at {len(hits) - 1:,} more)" if len(hits) > 1 else ""
        if problem.where in places:
            yield Problem(problem.where, f"at {corner}{more}: {problem.message}")
        else:
            yield case.problem(["search"], f"at {corner}{more}: {problem}")
