"""What a study's trials say, and no more than that: pure functions over its evidence.

best_trial(evidence)    # the lowest loss; of equals the one with fewest samples
edges(evidence)         # optima at an end of what was searched, with the wider range
importances(evidence)   # which setting matters, where there are trials enough to say so
confirmation(evidence)  # the best against each baseline over seeds, as `clipexp.comparison` tells any two groups apart
"""

import copy
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from clipexp.comparison import Difference, Direction, Group, compare
from clipexp.errors import SpecError
from clipexp.spec.load import resolve
from clipexp.spec.study import ChoiceDim, Dim, IntDim, PowerOfTwoDim, RangeDim, Value
from clipexp.study.evidence import StudyEvidence, TrialRow

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.importance import BaseImportanceEvaluator

EDGE = 0.05  # of a range: what counts as its end
NUM_JUDGES, NUM_AT_EDGE = 3, 2  # an edge is said where two of the best three settings stand at it
WIDER_FACTOR, WIDER_SHARE, WIDER_POWERS = 3.0, 0.5, 2
NUM_TRIES = 32  # how finely the way to a wider end is looked over for what the spec takes
MIN_QUARTER = 4  # settings in the best quarter before a narrower range is said
NARROW, MARGIN = 0.5, 0.1
MIN_FOR_IMPORTANCE = 8
FOR_FANOVA = range(16, 301)  # trials: below, forests are guesses; beyond, it takes minutes
MIN_FOR_CONTOUR = 16
NumericDim = RangeDim | IntDim | PowerOfTwoDim


@dataclass(frozen=True)
class Edge:
    """The best settings stand at an end of a dimension. `wider`: what to search next; None: the spec takes no more."""

    path: str
    end: Literal["low", "high"]
    at: float
    num_at_edge: int
    num_judges: int
    wider: Dim | None


@dataclass(frozen=True)
class Narrowing:
    """The best quarter of the settings keep to less than half of a dimension."""

    path: str
    low: float
    high: float
    num_best: int
    num_settings: int
    narrower: Dim


@dataclass(frozen=True)
class Importances:
    """Each path's share, which add up to 1, the largest first; `method` and `num_trials` are what they rest on."""

    share_by_path: Mapping[str, float]
    method: Literal["fANOVA", "PED-ANOVA"]
    num_trials: int


@dataclass(frozen=True)
class Confirmation:
    """The best against the baselines; groups in the order of the runs, the best first; differences: best minus each."""

    groups: tuple[Group, ...]
    differences: tuple[Difference, ...]


def ranked(evidence: StudyEvidence) -> list[TrialRow]:
    """Finished trials, best first; of equals the one with fewest samples, then the earliest."""
    sign = 1 if evidence.is_minimized else -1
    finished = [(trial.value, trial) for trial in evidence.trials if trial.state == "finished"]
    keyed = [(sign * value, trial.num_samples, trial.number, trial) for value, trial in finished if value is not None]
    return [trial for *_, trial in sorted(keyed, key=lambda key: key[:3])]


def best_trial(evidence: StudyEvidence) -> TrialRow | None:
    """The best of the finished trials; None where none finished."""
    return next(iter(ranked(evidence)), None)


def amended(base: Mapping[str, Any], values: Mapping[str, Value]) -> dict[str, Any]:
    """A resolved run as plain data with other values at dotted paths; a preset brings its own sizes along."""
    content = copy.deepcopy(dict(base))
    if "model.preset" in values:
        content["model"] = {}
    for path, value in values.items():
        *sections, key = path.split(".")
        node = content
        for section in sections:
            node = node.setdefault(section, {})
        node[key] = copy.deepcopy(value)
    return content


def best_settings(evidence: StudyEvidence) -> dict[str, Any] | None:
    """The best trial's spec as plain data, under a name of its own; None where no trial finished.

    It has the fields that its run recorded: those that specs gained since are not added, so that a report stays as it
    was written. Where no run's record is at hand, the fields of today.

    Raises:
        SpecError: it is no spec that runs today.
    """
    best = best_trial(evidence)
    if best is None:
        return None
    content = amended(evidence.best_spec or amended(evidence.base, best.values), {})
    content["name"] = f"{evidence.name}-best"
    content["hypothesis"] = f"The best settings of study {evidence.name}, found by its trial {best.label}."
    content["train"] |= {key: evidence.base["train"][key] for key in ("keep_last", "keep_best")}  # a trial keeps less
    if best.seed is not None:
        content["seed"] = best.seed
    resolved = resolve(content)
    return content if evidence.best_spec else resolved.spec.model_dump(mode="json")


def is_log(dim: Dim) -> bool:
    """Whether factors count on this dimension, not differences."""
    return isinstance(dim, PowerOfTwoDim) or (not isinstance(dim, ChoiceDim) and dim.log)


def place(dim: NumericDim, value: float) -> float:
    """Where a value stands between the ends: 0 at the low one, 1 at the high one, on the dimension's own scale."""
    low, high, at = (math.log(x) if is_log(dim) else x for x in (dim.low, dim.high, value))
    return (at - low) / (high - low)


def numeric_dims(evidence: StudyEvidence) -> dict[str, NumericDim]:
    """The searched dimensions that have ends."""
    return {path: dim for path, dim in evidence.spec.search.items() if not isinstance(dim, ChoiceDim)}


def can_tell_edges(evidence: StudyEvidence) -> bool:
    """Whether there are settings enough that the best three say something: as many more as were worse."""
    return len(_settings(evidence)) >= 2 * NUM_JUDGES


def edges(evidence: StudyEvidence) -> list[Edge]:
    """Dimensions at an end of which the best settings stand, two at least of the best three."""
    if not can_tell_edges(evidence):
        return []
    judges = _settings(evidence)[:NUM_JUDGES]
    found = []
    for path, dim in numeric_dims(evidence).items():
        places = [place(dim, value) for value in _numbers(judges, path, dim)]
        at_low, at_high = (sum(x <= EDGE for x in places), sum(x >= 1 - EDGE for x in places))
        if at_low >= NUM_AT_EDGE:
            found.append(Edge(path, "low", dim.low, at_low, NUM_JUDGES, wider(evidence.base, path, dim, "low")))
        elif at_high >= NUM_AT_EDGE:
            found.append(Edge(path, "high", dim.high, at_high, NUM_JUDGES, wider(evidence.base, path, dim, "high")))
    return found


def wider(base: Mapping[str, Any], path: str, dim: NumericDim, end: Literal["low", "high"]) -> Dim | None:
    """The dimension with one end moved outward, as far as the run's spec takes it; None where it takes no more."""
    for value in _outward(dim, end):
        try:
            resolve(amended(base, {path: value}))
        except SpecError:
            continue
        return dim.model_copy(update={end: value})
    return None


def _outward(dim: NumericDim, end: Literal["low", "high"]) -> list[float]:
    """Ends beyond the present one, the farthest first: by a factor, by half the width, or by powers of two."""
    sign = 1 if end == "high" else -1
    start: float = dim.high if end == "high" else dim.low
    if isinstance(dim, PowerOfTwoDim):
        powers = [start * 2.0 ** (sign * power) for power in range(WIDER_POWERS, 0, -1)]
        return [int(value) for value in powers if value >= 1]
    shares = [idx / NUM_TRIES for idx in range(NUM_TRIES, 0, -1)]
    if dim.log:
        reached = [start * WIDER_FACTOR ** (sign * share) for share in shares]
    else:
        reached = [start + sign * share * WIDER_SHARE * (dim.high - dim.low) for share in shares]
    if dim.step is not None and not dim.log:
        reached = [start + round((value - start) / dim.step) * dim.step for value in reached]
    reached = [round(value) if isinstance(dim, IntDim) else _rounded(value) for value in reached]
    beyond = [value for value in dict.fromkeys(reached) if sign * (value - start) > 0]
    return [value for value in beyond if value > 0 or not dim.log]


def narrowings(evidence: StudyEvidence) -> list[Narrowing]:
    """Dimensions of which the best quarter of the settings span less than half, and that no edge is said of."""
    settings = _settings(evidence)
    best = settings[: len(settings) // 4]
    if len(best) < MIN_QUARTER:
        return []
    at_edge = {edge.path for edge in edges(evidence)}
    found = []
    for path, dim in numeric_dims(evidence).items():
        values = _numbers(best, path, dim)
        if path in at_edge or len(values) < len(best):
            continue
        low, high = min(values), max(values)
        if 0 <= place(dim, low) <= place(dim, high) <= 1 and place(dim, high) - place(dim, low) < NARROW:
            found.append(Narrowing(path, low, high, len(best), len(settings), _narrower(dim, low, high)))
    return found


def _narrower(dim: NumericDim, low: float, high: float) -> Dim:
    """The dimension from `low` to `high` with a margin of a tenth of the old width, inside the old ends."""
    if isinstance(dim, PowerOfTwoDim):
        return dim.model_copy(update={"low": max(dim.low, int(low) // 2), "high": min(dim.high, int(high) * 2)})
    down, up = place(dim, low) - MARGIN, place(dim, high) + MARGIN
    return dim.model_copy(update={"low": _at_place(dim, down, dim.low), "high": _at_place(dim, up, dim.high)})


def _at_place(dim: RangeDim | IntDim, share: float, outermost: float) -> float:
    """The value at a place between the ends, on the dimension's grid; the outermost end where the place lies beyond."""
    if not 0 < share < 1:
        return outermost
    low, high = dim.low, dim.high
    value = low * (high / low) ** share if dim.log else low + share * (high - low)
    if dim.step is not None and not dim.log:
        value = low + round((value - low) / dim.step) * dim.step
    return round(value) if isinstance(dim, IntDim) else min(max(_rounded(value), low), high)


def _rounded(value: float) -> float:
    """To two significant digits, as people write ends."""
    return float(f"{value:.2g}")


def _settings(evidence: StudyEvidence) -> list[TrialRow]:
    """Finished trials, best first, each setting once."""
    once: dict[str, TrialRow] = {}
    for trial in ranked(evidence):
        once.setdefault(json.dumps(dict(trial.values), sort_keys=True), trial)
    return list(once.values())


def _numbers(trials: Sequence[TrialRow], path: str, dim: NumericDim) -> list[float]:
    """The values at a path that can stand on the dimension's scale."""
    values = [trial.values.get(path) for trial in trials]
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return [number for number in numbers if number > 0 or not is_log(dim)]


def importances(evidence: StudyEvidence) -> Importances | None:
    """How much of the objective's variation each setting explains; None below 8 finished trials or without variation.

    fANOVA (Hutter 2014) with 16 to 300 trials, PED-ANOVA (Watanabe 2023) with fewer or more; none rolls dice.
    """
    from optuna.importance import get_param_importances

    rows = [trial for trial in ranked(evidence) if _is_inside(evidence, trial)]
    values = {trial.value for trial in rows}
    if len(rows) < MIN_FOR_IMPORTANCE or len(values) < 2 or len(evidence.spec.search) < 2:
        return None
    method, evaluator = importance_evaluator(len(rows))
    shares = get_param_importances(memory_study(evidence, rows), evaluator=evaluator)
    largest_first = sorted(shares.items(), key=lambda item: (-round(item[1], 3), item[0]))
    return Importances({path: round(float(share), 3) for path, share in largest_first}, method, len(rows))


def importance_evaluator(num_trials: int) -> tuple[Literal["fANOVA", "PED-ANOVA"], "BaseImportanceEvaluator"]:
    """How importances are found with so many finished trials."""
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

    if num_trials in FOR_FANOVA:
        return "fANOVA", FanovaImportanceEvaluator(seed=0)
    return "PED-ANOVA", PedAnovaImportanceEvaluator()


def _is_inside(evidence: StudyEvidence, trial: TrialRow) -> bool:
    for path, dim in evidence.spec.search.items():
        if path not in trial.values:
            return False
        value = trial.values[path]
        if isinstance(dim, ChoiceDim):
            if value not in dim.values:
                return False
        elif not _numbers([trial], path, dim) or not 0 <= place(dim, _numbers([trial], path, dim)[0]) <= 1:
            return False
    return True


def memory_study(evidence: StudyEvidence, rows: Sequence[TrialRow] | None = None) -> "Study":
    """The study as an Optuna study in memory, with paths and values as people write them, baselines' included.

    A power of two stands as itself on a log scale; a choice of something nested as JSON. A trial that lacks a setting,
    or came to no value, stands as an empty failed one, so that all keep their numbers.
    """
    import optuna
    from optuna.trial import TrialState, create_trial

    rows = evidence.trials if rows is None else rows
    shown = [trial for trial in rows if all(path in trial.values for path in evidence.spec.search)]
    distributions = {path: _distribution(dim, path, shown) for path, dim in evidence.spec.search.items()}
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(study_name=evidence.name, direction=evidence.spec.objective.direction, sampler=sampler)
    numbers = {trial.number for trial in shown if trial.value is not None or trial.state == "pruned"}
    for trial in rows:
        if trial.number not in numbers:
            study.add_trial(create_trial(state=TrialState.FAIL))
            continue
        params = {path: _param(dim, trial.values[path]) for path, dim in evidence.spec.search.items()}
        finite = {samples: value for samples, value in trial.curve if math.isfinite(value)}
        state = TrialState.COMPLETE if trial.state == "finished" else TrialState.PRUNED
        ended: dict[str, Any] = {"params": params, "distributions": distributions, "intermediate_values": finite}
        study.add_trial(create_trial(state=state, value=trial.value, **ended))
    return study


def _param(dim: Dim, value: Value) -> Any:
    if isinstance(dim, ChoiceDim) and isinstance(value, list | dict):
        return json.dumps(value)
    return float(value) if isinstance(dim, RangeDim) and isinstance(value, int | float) else value


def _distribution(dim: Dim, path: str, rows: Sequence[TrialRow]) -> "BaseDistribution":
    """The dimension for Optuna, with room for the values that baselines have beyond it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dim, ChoiceDim):
        used = [trial.values[path] for trial in rows]
        return CategoricalDistribution(tuple(dict.fromkeys(_param(dim, value) for value in [*dim.values, *used])))
    values = [*_numbers(rows, path, dim), dim.low, dim.high]
    if isinstance(dim, RangeDim):
        return FloatDistribution(min(values), max(values), log=dim.log)
    return IntDistribution(int(min(values)), int(max(values)), log=is_log(dim))


def confirmation(evidence: StudyEvidence) -> Confirmation | None:
    """The best against each baseline over seeds; None where nothing was confirmed."""
    champion = confirmed_name(evidence)
    value_by_seed_by_name: dict[str, dict[int, float]] = {}
    for run in sorted(evidence.confirmations, key=lambda run: run.name != champion):
        value_by_seed_by_name.setdefault(run.name, {})[run.seed] = run.value
    if not value_by_seed_by_name:
        return None
    metric = evidence.spec.objective.metric
    groups = tuple(Group.of_values(name, metric, values) for name, values in value_by_seed_by_name.items())
    direction: Direction = "lower" if evidence.is_minimized else "higher"
    others = groups[1:] if groups[0].name == champion else ()
    first = dataclasses.replace(groups[0], name="The best") if champion == "best" else groups[0]
    return Confirmation(groups, tuple(compare(first, other, direction) for other in others))


def confirmed_name(evidence: StudyEvidence) -> str:
    """What the best trial's confirmation runs are called: "best", or the baseline that it is."""
    best = best_trial(evidence)
    names = {run.name for run in evidence.confirmations}
    same = [t.baseline for t in evidence.trials if t.baseline in names and best and t.values == best.values]
    return "best" if "best" in names or not same else str(same[0])
