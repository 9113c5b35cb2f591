"""What a source comes to, computed from a study's evidence alone: by its report when written, and again to verify it.

    found = evaluate(analysis, Source("trial", ("15", "objective")))   # Found(0.9739, "run 1a2b3c4d, 24,576")

A trial goes by its number or as `best`. What each way takes stands in its function's docstring below.
"""

from collections.abc import Callable, Mapping
from typing import Any

from clipexp.comparison import Difference, Group
from clipexp.comparison.verdict import CONFIDENCE
from clipexp.reporting.evaluation import UnknownSourceError
from clipexp.reporting.sources import Found, Source, Value
from clipexp.spec.study import ChoiceDim, Dim
from clipexp.study import insight, tradeoff
from clipexp.study.analysis import StudyAnalysis
from clipexp.study.drawing import show
from clipexp.study.evidence import TrialRow

RUN_DIGITS = 8
CONSTANTS: Mapping[str, Value] = {
    "confidence": CONFIDENCE,
    "edge": insight.EDGE,
    "expected exponent": tradeoff.EXPECTED,
    "paper": "Malladi 2022",
}


def evaluate(analysis: StudyAnalysis, source: Source) -> Found:
    """What a source comes to. Raises UnknownSourceError where it names nothing in the evidence, or no way there is."""
    try:
        return WAYS[source.way](analysis, *source.args)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise UnknownSourceError(f"{source} names nothing in the data ({type(error).__name__}: {error})") from error


def hours(value: float) -> str:
    """A time as people say it: hours, or minutes below one."""
    return f"{value:,.1f} h" if value >= 1 else f"{60 * value:.0f} min" if value >= 1 / 60 else f"{3600 * value:.0f} s"


def cell(path: str, value: Any) -> str:
    """A setting in a table: shares in percent, like the tables of runs."""
    if path.endswith("_frac") and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{100 * value:.3g}%"
    return show(value)


def _rule(_: StudyAnalysis, name: str) -> Found:
    """Numbers that the rules and sentences themselves have."""
    return Found(CONSTANTS[name])


def _study(analysis: StudyAnalysis, part: str) -> Found:
    """Name, hypothesis, metric, objective, sampler, pruner, and the trials' seed."""
    evidence, spec = analysis.evidence, analysis.evidence.spec
    details = ", ".join(f"{key} {value:,}" for key, value in spec.pruner.model_dump(exclude={"kind"}).items())
    words: dict[str, Value] = {
        "name": spec.name,
        "hypothesis": spec.hypothesis,
        "metric": spec.objective.metric,
        "column": spec.objective.metric.replace("/", "_"),
        "objective": f"{spec.objective.direction} {spec.objective.metric}",
        "sampler": f"{spec.sampler.kind}, seed {spec.sampler.seed}",
        "pruner": spec.pruner.kind + (f" ({details})" if details else ""),
        "seed": evidence.base["seed"],
        "run again": f"clipexp run reports/{spec.name}/best.yaml",
    }
    return Found(words[part])


def _making(analysis: StudyAnalysis, part: str) -> Found:
    """The fields of `Making`; versions as one line."""
    making = analysis.evidence.making
    if part == "versions":
        return Found(", ".join(f"{package} {version}" for package, version in making.versions.items()))
    found: Value = making.git_commit[:10] if part == "git_commit" else getattr(making, part)
    return Found(found)


def _total(analysis: StudyAnalysis, part: str) -> Found:
    """The fields of `Totals`; times with their unit."""
    value = getattr(analysis.evidence.totals, part)
    return Found(hours(value) if part.endswith("_hours") else value)


def _count(analysis: StudyAnalysis, which: str) -> Found:
    """How many trials: all, of a state, reused, or not shown in the table."""
    trials = analysis.evidence.trials
    match which:
        case "all":
            return Found(len(trials))
        case "finished" | "pruned" | "infeasible" | "failed" | "unfinished":
            return Found(sum(trial.state == which for trial in trials))
        case "reused":
            return Found(sum(trial.reused for trial in trials))
        case "not shown":
            return Found(len(trials) - len(analysis.rows))
        case _:
            raise ValueError(f"{which} is no count of trials")


def _column(analysis: StudyAnalysis, path: str) -> Found:
    """What a searched path is called."""
    return Found(analysis.columns[path])


def _dim(analysis: StudyAnalysis, path: str) -> Found:
    """A dimension in words."""
    return Found(f"{path}: {_words(analysis.evidence.spec.search[path])}")


def _words(dim: Dim) -> str:
    if isinstance(dim, ChoiceDim):
        return "one of " + ", ".join(show(value) for value in dim.values)
    kind = "powers of two" if dim.kind == "power_of_two" else "log" if insight.is_log(dim) else "linear"
    return f"{show(dim.low)} to {show(dim.high)}, {kind}"


def _trial(analysis: StudyAnalysis, number: str, part: str) -> Found:
    """Number, objective (of one that did not finish the last that it reported), samples, outcome, or a field."""
    trial = analysis.trial(number)
    place = _run(trial)
    match part:
        case "name":
            return Found(f"{trial.number} ({trial.baseline})" if trial.baseline else trial.number, place)
        case "objective":
            last = trial.curve[-1] if trial.curve else (trial.num_samples, None)
            value, samples = (last[1], last[0]) if trial.value is None else (trial.value, trial.num_samples)
            metric = analysis.evidence.spec.objective.metric
            return Found(value, f"{metric}{place and f' of {place}'}, {samples:,}")
        case "samples":
            return Found(trial.num_samples, place)
        case "outcome":
            reused = ", reused a run" if trial.reused else ""
            return Found(trial.state + reused + (f": {trial.reason}" if trial.reason else ""), place)
        case "number" | "baseline" | "run_id" | "spec_hash":
            value_: Value = getattr(trial, part)
            return Found(value_, place)
        case _:
            raise ValueError(f"{part} is nothing of a trial")


def _setting(analysis: StudyAnalysis, number: str, path: str) -> Found:
    """What a searched path was set to."""
    trial = analysis.trial(number)
    return Found(cell(path, trial.values[path]) if path in trial.values else None, _run(trial))


def _run(trial: TrialRow) -> str:
    return f"run {trial.run_id[:RUN_DIGITS]}" if trial.run_id else ""


def _confirmed(analysis: StudyAnalysis, name: str, part: str) -> Found:
    """Over the seeds of the best or of a baseline: num_seeds, mean, sd, num_without_value."""
    (group,) = [group for group in analysis.confirmed_groups if group.name == name]
    value: Value = getattr(group, part)
    return Found(value, f"{analysis.evidence.spec.objective.metric}, {_seeds(analysis, group)}")


def _seeds(analysis: StudyAnalysis, group: Group) -> str:
    """A group's seeds and runs."""
    runs = sorted((r for r in analysis.evidence.confirmations if r.name == group.name), key=lambda run: run.seed)
    seeds = " ".join(str(run.seed) for run in runs)
    return f"seed {seeds} of run {' '.join(run.run_id[:RUN_DIGITS] for run in runs)}".rstrip()


def _difference(analysis: StudyAnalysis, name: str, part: str) -> Found:
    """The best minus a baseline: mean, low, high, sentence, or a caveat by its number."""
    (difference,) = [difference for difference in analysis.differences if difference.b == name]
    best, *baselines = analysis.confirmed_groups
    (baseline,) = [group for group in baselines if group.name == name]
    place = f"{difference.metric}, {_seeds(analysis, best)} against {_seeds(analysis, baseline)}"
    return Found(_part_of(difference, part), place)


def _part_of(difference: Difference, part: str) -> Value:
    interval = difference.interval
    match part.split():
        case ["mean"]:
            return difference.mean
        case ["low"]:
            return interval[0] if interval else None
        case ["high"]:
            return interval[1] if interval else None
        case ["sentence"]:
            return difference.sentence()
        case ["caveat", number]:
            return difference.caveats()[int(number)]
        case _:
            raise ValueError(f"{part} is nothing of a difference")


def _confirmations(analysis: StudyAnalysis, part: str) -> Found:
    """The seeds, and how many of the runs are trials as well."""
    runs = analysis.evidence.confirmations
    if part == "seeds":
        return Found(", ".join(str(seed) for seed in sorted({run.seed for run in runs})))
    ids = {trial.run_id for trial in analysis.evidence.trials}
    return Found(sum(run.run_id in ids for run in runs))


def _edge(analysis: StudyAnalysis, path: str, part: str) -> Found:
    """Of an optimum at an end of its range: num_at_edge, num_judges, at, and the wider range's ends."""
    edge = analysis.edges[path]
    if part in ("num_at_edge", "num_judges"):
        return Found(int(getattr(edge, part)))
    return Found(cell(path, edge.at if part == "at" else getattr(edge.wider, part)))


def _narrowing(analysis: StudyAnalysis, path: str, part: str) -> Found:
    """Of a range of which a part would do: num_best, num_settings, from, to, and the narrower range's ends."""
    found = analysis.narrowings[path]
    if part in ("num_best", "num_settings"):
        return Found(int(getattr(found, part)))
    spanned = {"from": found.low, "to": found.high}
    return Found(cell(path, spanned[part] if part in spanned else getattr(found.narrower, part)))


def _importance(analysis: StudyAnalysis, path: str) -> Found:
    """The share of the objective's variation that a setting explains."""
    found = analysis.importances
    return Found(None if found is None else found.share_by_path[path], "" if found is None else found.method)


def _importances(analysis: StudyAnalysis, part: str) -> Found:
    """What the shares rest on."""
    value: Value = getattr(analysis.importances, part)
    return Found(value)


def _coverage(analysis: StudyAnalysis, part: str) -> Found:
    """How many trials stand in how many of the space's parts."""
    value: Value = getattr(analysis.coverage, part)
    return Found(value)


def _gap(analysis: StudyAnalysis, path: str, part: str) -> Found:
    """The widest stretch of a range without a trial: low, high, share."""
    gaps = analysis.coverage.gaps if analysis.coverage else ()
    (gap,) = [gap for gap in gaps if gap.path == path]
    return Found(gap.share if part == "share" else cell(path, getattr(gap, part)))


def _untried(analysis: StudyAnalysis, number: str) -> Found:
    """A choice's value without a trial."""
    untried = analysis.coverage.untried if analysis.coverage else ()
    path, value = untried[int(number)]
    return Found(f"{analysis.columns[path]} {value}")


def _infeasible(analysis: StudyAnalysis, number: str, part: str) -> Found:
    """A reason for which trials could not run, and how many; `rest`: how many more reasons there are from there on."""
    if part == "rest":
        return Found(len(analysis.infeasible) - int(number))
    return Found(analysis.infeasible[int(number)][0 if part == "reason" else 1])


def _tradeoff(analysis: StudyAnalysis, part: str) -> Found:
    """How the best max_lr went with the batch size: exponent, low, high, num_trials, reading."""
    found = analysis.tradeoff
    if found is not None and part in ("low", "high"):
        return Found(found.interval[part == "high"])
    value: Value = getattr(found, part)
    return Found(value)


def _next_line(analysis: StudyAnalysis, number: str) -> Found:
    """A line of the YAML with what to search next."""
    return Found(analysis.next_lines[int(number)])


def _best_line(analysis: StudyAnalysis, number: str) -> Found:
    """A line of the YAML with the best settings."""
    return Found(analysis.best_lines[int(number)])


WAYS: Mapping[str, Callable[..., Found]] = {
    "rule": _rule,
    "study": _study,
    "making": _making,
    "total": _total,
    "count": _count,
    "column": _column,
    "dim": _dim,
    "trial": _trial,
    "setting": _setting,
    "confirmed": _confirmed,
    "difference": _difference,
    "confirmations": _confirmations,
    "edge": _edge,
    "narrowing": _narrowing,
    "importance": _importance,
    "importances": _importances,
    "coverage": _coverage,
    "gap": _gap,
    "untried": _untried,
    "infeasible": _infeasible,
    "tradeoff": _tradeoff,
    "next_line": _next_line,
    "best_line": _best_line,
}
