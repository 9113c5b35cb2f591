"""From a study's YAML file to a checked study, and from points of its space to runs.

    study = load_study("studies/quick.yaml", ["budget.trials=8"])
    study = study.for_pairs(40_370)  # where the base counts epochs
    study.trial({"optim.max_lr": 3e-4}, name="quick-7").spec

Every mistake is reported at once, as for experiments; so are those that only some corner of the space would meet.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic_core import ErrorDetails

from clipexp.errors import Problem, SpecError
from clipexp.spec import study_checks as checks
from clipexp.spec.explain import explain
from clipexp.spec.load import (
    Experiment,
    ResolvedRun,
    at,
    in_order,
    nested,
    read_experiment,
    validated,
    with_overrides,
)
from clipexp.spec.run import budget_samples
from clipexp.spec.study import BaselineSpec, StudySpec, Value
from clipexp.spec.yaml_lines import Node, Origin, parse, plain


@dataclass(frozen=True)
class ResolvedStudy:
    """A checked study and its base experiment, which was read once."""

    spec: StudySpec
    path: Path
    base: ResolvedRun
    experiment: Experiment = field(repr=False)
    tree: Node = field(repr=False)
    num_train_pairs: int | None = None

    @cached_property
    def samples(self) -> int | None:
        """Samples seen at each trial's end; None while the base counts epochs and `for_pairs` was not asked."""
        return checks.trial_samples(self.spec.search, self.base.spec, self.num_train_pairs)

    def for_pairs(self, num_train_pairs: int) -> "ResolvedStudy":
        """The study on a prepared set of so many training pairs.

        Raises:
            SpecError: batch sizes without a common multiple within the budget, or a pruner that begins after the end.
        """
        case = checks.Case(self.tree, self.spec, self.experiment, self.base.spec)
        if problems := checks.budget_problems(case, num_train_pairs):
            raise SpecError(problems)
        return dataclasses.replace(self, num_train_pairs=num_train_pairs)

    def trial(self, values: Mapping[str, Value], *, name: str, seed: int | None = None) -> ResolvedRun:
        """The base with values at dotted paths laid over it.

        Where batch sizes are searched, all trials get the same number of samples and are evaluated at the same ones.

        Raises:
            SpecError: they do not validate with the rest.
            ValueError: batch sizes are searched, the base counts epochs, and `for_pairs` was not asked.
        """
        origin = Origin(f"study {self.spec.name}", is_file=False)
        layer = {"name": name, **self._of_all_trials, **values, **({} if seed is None else {"seed": seed})}
        return self.experiment.resolved(nested(layer, lambda path: origin))

    def baseline_values(self, baseline: BaselineSpec) -> dict[str, Value]:
        """A baseline's value at every searched path, the base's own where it leaves one out."""
        return checks.baseline_values(self.spec.search, self.base.spec, baseline)

    @cached_property
    def _of_all_trials(self) -> dict[str, Any]:
        layer: dict[str, Any] = {"train.keep_last": 1, "train.keep_best": False}
        if checks.BATCH_SIZE in self.spec.search:
            if self.samples is None:
                raise ValueError("the base counts epochs: ask for_pairs(num_train_pairs) for the study first")
            layer["train.budget"] = {"samples": self.samples}
            train = self.base.spec.train
            limit = budget_samples(self.base.spec, self.num_train_pairs or 0)
            multiple = checks.common_multiple(self.spec.search[checks.BATCH_SIZE], limit) or 1
            if train.eval_every_samples % multiple:
                layer["train.eval_every_samples"] = (train.eval_every_samples // multiple + 1) * multiple
        return layer


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> ResolvedStudy:
    """Read and check a study and its base.

    Args:
        path: a YAML file.
        overrides: `dotted.path=value` for the study's own keys, as after `--set`.

    Raises:
        SpecError: everything that is wrong with the study, with its base, and between them.
    """
    path, problems = Path(path), list[Problem]()
    tree = with_overrides(parse(path, problems), overrides, StudySpec, problems)
    spec, details = validated(StudySpec, tree)
    problems += [explain(detail, tree, StudySpec) for detail in details]
    problems += checks.path_problems(tree)
    experiment, base = _read_base(path.parent, tree, problems)
    sound = spec or _sound_part(tree, details)
    if sound and experiment and base:
        problems += checks.all_problems(checks.Case(tree, sound, experiment, base.spec))
    if problems or spec is None or experiment is None or base is None:
        raise SpecError(in_order(problems))
    return ResolvedStudy(spec, path, base, experiment, tree)


def corners(study: ResolvedStudy) -> list[dict[str, Value]]:
    """The corners of a study's space: see `study_checks.corners`."""
    return checks.corners(study.spec.search)


def _read_base(folder: Path, tree: Node, problems: list[Problem]) -> tuple[Experiment | None, ResolvedRun | None]:
    named = at(tree, ["base"])
    if named is None or not isinstance(named.value, str):
        return None, None
    path = Path(os.path.normpath(folder / named.value))  # experiments/run1.yaml, not studies/../experiments/run1.yaml
    if not path.is_file():
        message = f"base {named.value}: there is no file {path}; give its path from this file's folder"
        problems.append(Problem(str(named.origin), message))
        return None, None
    try:
        experiment = read_experiment(path)
        return experiment, experiment.resolved()
    except SpecError as error:
        problems += error.problems
        return None, None


def _sound_part(tree: Node, details: Sequence[ErrorDetails]) -> StudySpec | None:
    """What is left without wrong keys, so that what is wrong elsewhere is told beside them; None if too little is."""
    content = {"name": "study", "budget": {"trials": 1}, **plain(tree)}
    wrong_baselines: set[int] = set()
    for detail in details:
        match detail["loc"]:
            case ("search", str(path), *_) if isinstance(content.get("search"), dict):
                content["search"] = {key: dim for key, dim in content["search"].items() if key != path}
            case ("baselines", int(idx), *_):
                wrong_baselines.add(idx)
            case ("name", *_):
                content["name"] = "study"
            case ("budget", *_):
                content["budget"] = {"trials": 1}
            case (key, *_):
                content.pop(str(key), None)
    if wrong_baselines:  # their places in the list are told, so that none is taken out
        content.pop("baselines", None)
    if not content.get("search") or "base" not in content:
        return None
    return StudySpec.model_validate(content)
