"""The spec of a study: which settings are searched, how, for how long, and what the best one is held against.

    StudySpec.model_validate({"name": "quick", "base": "run1.yaml", "search": {...}, "budget": {"trials": 16}, ...})

What is known from a study alone is checked here; what needs its base experiment, in `study_checks`.
"""

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, assert_never

from pydantic import BeforeValidator, Field, field_validator, model_validator

from clipexp.spec.base import Count, Spec, refuse, whole

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Value = bool | int | float | str | None | list[Any] | dict[str, Any]  # what a dotted path of a run can be set to


class RangeDim(Spec):
    """Real numbers between two ends, both included."""

    kind: Literal["range"]
    low: Annotated[float, Field(description="The lower end.")]
    high: Annotated[float, Field(description="The upper end.")]
    log: Annotated[bool, Field(description="Whether factors count, not differences.")] = False
    step: Annotated[float | None, Field(gt=0, description="Only low, low + step, ...; null: any number.")] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_ends(self.low, self.high, is_log=self.log)
        if self.log and self.step is not None:
            raise refuse("can't have both log and step; leave one out")
        if self.step is not None:
            _check_steps(self.low, self.high, self.step)
        return self


class IntDim(Spec):
    """Whole numbers between two ends, both included."""

    kind: Literal["int"]
    low: Annotated[int, BeforeValidator(whole), Field(description="The lower end.")]
    high: Annotated[int, BeforeValidator(whole), Field(description="The upper end.")]
    log: Annotated[bool, Field(description="Whether factors count, not differences.")] = False
    step: Annotated[Count, Field(description="Only low, low + step, ...")] = 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_ends(self.low, self.high, is_log=self.log)
        if self.log and self.step != 1:
            raise refuse("can't have both log and step; leave one out")
        _check_steps(self.low, self.high, self.step)
        return self


class PowerOfTwoDim(Spec):
    """Powers of two between two ends, both included; the sampler sees the exponent."""

    kind: Literal["power_of_two"]
    low: Annotated[Count, Field(description="The lowest, a power of two itself.")]
    high: Annotated[Count, Field(description="The highest, a power of two itself.")]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, end in (("low", self.low), ("high", self.high)):
            if end & (end - 1):
                raise refuse(f"must be a power of two, but is {end}; {1 << round(math.log2(end))} is the nearest", name)
        _check_ends(self.low, self.high, is_log=False)
        return self


class ChoiceDim(Spec):
    """One of some values, in no order."""

    kind: Literal["choice"]
    values: Annotated[list[Value], Field(min_length=1, description="What may be chosen.")]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for idx, value in enumerate(self.values):
            if value in self.values[:idx]:
                raise refuse(f"holds {shown(value)} twice; leave one out", "values")
        return self


def _check_ends(low: float, high: float, *, is_log: bool) -> None:
    if low > high:
        raise refuse(f"is empty: low {shown(low)} is above high {shown(high)}; swap them")
    if low == high:
        raise refuse(f"is empty: low and high are both {shown(low)}; widen it, or set the value in the base")
    if is_log and low <= 0:
        raise refuse(f"is a log range, which can't reach {shown(low)}; give a low above 0, or leave log out", "low")


def _check_steps(low: float, high: float, step: float) -> None:
    if (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)):  # as people count: 0.3 is three times 0.1
        above = low + math.ceil((high - low) / step) * step
        reason = f"is no whole number of steps of {shown(step)} above {shown(low)}"
        raise refuse(f"{reason}, but {shown(high)}; {shown(_clean(above))} is the next that is", "high")


def _is_whole(steps: float) -> bool:
    return abs(steps - round(steps)) < 1e-6


def _clean(value: float) -> float:
    """Without what binary fractions add: 0.1 + 0.2 is 0.3."""
    return value if isinstance(value, int) else float(f"{value:.12g}")


def shown(value: Value) -> str:
    """A value as a message gives it: 0.003, 4096, [1,2]."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


Dim = Annotated[RangeDim | IntDim | PowerOfTwoDim | ChoiceDim, Field(discriminator="kind")]


def points(dim: Dim) -> Sequence[Value] | None:
    """Every value of a dimension, in order; None for a range without steps, which has no end of them."""
    match dim:
        case ChoiceDim():
            return dim.values
        case PowerOfTwoDim():
            return [1 << exponent for exponent in range(dim.low.bit_length() - 1, dim.high.bit_length())]
        case IntDim():
            return range(dim.low, dim.high + 1, dim.step)
        case RangeDim():
            if dim.step is None:
                return None
            return [_clean(dim.low + idx * dim.step) for idx in range(round((dim.high - dim.low) / dim.step) + 1)]
        case _:
            assert_never(dim)


def extremes(dim: Dim) -> Sequence[Value]:
    """The ends of a dimension; all values of a choice."""
    return dim.values if isinstance(dim, ChoiceDim) else [dim.low, dim.high]


def outside(dim: Dim, value: Value) -> str | None:
    """Why a value is none of a dimension's, if so."""
    if isinstance(dim, ChoiceDim):
        return None if value in dim.values else f"is none of {', '.join(map(shown, dim.values))}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is no number"
    if not dim.low <= value <= dim.high:
        return f"lies outside {shown(dim.low)} to {shown(dim.high)}"
    if isinstance(dim, PowerOfTwoDim):
        return None if value in (points(dim) or ()) else "is no power of two"
    if dim.step is not None and not _is_whole((value - dim.low) / dim.step):
        return f"is no whole number of steps of {shown(dim.step)} above {shown(dim.low)}"
    return None


class ObjectiveSpec(Spec):
    """What makes one trial better than another."""

    metric: Annotated[str, Field(description="A validation metric, by its name in MLflow; its last value counts.")] = (
        "val/loss"
    )
    direction: Annotated[Literal["minimize", "maximize"], Field(description="Which way is better.")] = "minimize"


class SamplerSpec(Spec):
    """Who suggests settings."""

    kind: Annotated[
        Literal["tpe", "gp", "cmaes", "qmc", "random", "grid"],
        Field(description="tpe learns from trials and suits most; grid takes every combination of choices and steps."),
    ] = "tpe"
    seed: Annotated[int, Field(ge=0, description="Decides the suggestions.")] = 0


class HyperbandSpec(Spec):
    """Successive halving with several first rungs, so that slow starters get their chance (Li 2018)."""

    kind: Literal["hyperband"]
    min_samples: Annotated[Count, Field(description="Samples seen before a trial may be stopped.")]
    reduction: Annotated[int, Field(ge=2, description="One of so many goes on at each rung.")] = 3


class SuccessiveHalvingSpec(Spec):
    """At each rung, the best part goes on (Li 2020, asynchronous)."""

    kind: Literal["successive_halving"]
    min_samples: Annotated[Count, Field(description="Samples seen at the first rung.")]
    reduction: Annotated[int, Field(ge=2, description="One of so many goes on at each rung.")] = 3


class MedianSpec(Spec):
    """A trial worse than the median of the earlier ones at the same samples is stopped."""

    kind: Literal["median"]
    min_samples: Annotated[int, BeforeValidator(whole), Field(ge=0, description="Samples seen before it may be.")] = 0
    startup_trials: Annotated[int, Field(ge=1, description="Trials that finish before any is stopped.")] = 5


class NoPrunerSpec(Spec):
    """Every trial runs to its end."""

    kind: Literal["none"]


PrunerSpec = Annotated[HyperbandSpec | SuccessiveHalvingSpec | MedianSpec | NoPrunerSpec, Field(discriminator="kind")]


class StudyBudgetSpec(Spec):
    """How long a study goes on: whichever ends first. Times add up over launches; confirmation is paid from them."""

    trials: Annotated[Count | None, Field(description="Trials, baselines included.")] = None
    gpu_hours: Annotated[float | None, Field(gt=0, description="Hours of training on GPUs, all of them together.")] = (
        None
    )
    cpu_hours: Annotated[float | None, Field(gt=0, description="Hours of training on CPUs, a core each.")] = None
    wall_hours: Annotated[float | None, Field(gt=0, description="Hours in which the study runs.")] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if all(limit is None for limit in (self.trials, self.gpu_hours, self.cpu_hours, self.wall_hours)):
            raise refuse("needs one of trials, gpu_hours, cpu_hours and wall_hours")
        return self


class BaselineSpec(Spec):
    """Settings that are always run, never stopped early, and that the best is held against."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, description="What to call them.")]
    values: Annotated[
        dict[str, Value],
        Field(default_factory=dict, description="Searched paths and their values; the base's where one is left out."),
    ]

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name == "best":
            raise refuse("can't be best, which is what reports call the best trial; choose another")
        return name


class ConstraintsSpec(Spec):
    """What a trial may take; one that would take more, or does, is infeasible."""

    memory_gb: Annotated[
        float | None,
        Field(
            gt=0,
            description="Memory of one trial, on its device; null: what there is. On a CPU that of its whole process,"
            " of which some 0.7 GB are libraries.",
        ),
    ] = None
    trial_hours: Annotated[float | None, Field(gt=0, description="Training time of one trial.")] = None


class StudySpec(Spec):
    """One search."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, description="What to call it; a study goes on under its name.")]
    hypothesis: Annotated[str, Field(description="What is expected, and why.")] = ""
    base: Annotated[str, Field(description="The experiment that trials amend: a YAML file, from this file's folder.")]
    search: Annotated[dict[str, Dim], Field(min_length=1, description="What is searched: a dimension a dotted path.")]
    objective: Annotated[ObjectiveSpec, Field(description="What makes one trial better.")] = ObjectiveSpec()
    sampler: Annotated[SamplerSpec, Field(description="Who suggests settings.")] = SamplerSpec()
    pruner: Annotated[PrunerSpec, Field(description="Who stops trials early.")] = NoPrunerSpec(kind="none")
    budget: Annotated[StudyBudgetSpec, Field(description="How long it goes on.")]
    baselines: Annotated[
        list[BaselineSpec], Field(default_factory=list, description="Always run, and what the best is held against.")
    ]
    constraints: Annotated[ConstraintsSpec, Field(description="What a trial may take.")] = ConstraintsSpec()
    confirm_seeds: Annotated[
        int, Field(ge=0, description="Seeds over which the best and the baselines are run at the end; 0: none.")
    ] = 3
    repeats: Annotated[
        Literal["reuse", "new_seed"],
        Field(description="A suggestion whose run is finished: take its result, or run it under another seed."),
    ] = "reuse"
    keep_checkpoints: Annotated[int, Field(ge=0, description="Of how many of the best trials the last one stays.")] = 3
