"""What a study would do, without doing it: the first suggestions, and what they cost.

for values in first_suggestions(plan, count=5): ...
"""

from typing import Any

from clipexp.spec.study import Value
from clipexp.study.plan import Plan
from clipexp.study.samplers import make_pruner, make_sampler
from clipexp.study.space import combinations, distributions, params_from_values, values_from_params


def first_suggestions(plan: Plan, count: int) -> list[tuple[str, dict[str, Value]]]:
    """The first trials of a fresh study, baselines first, as (name, values): what the sampler says knowing nothing."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it tells of every study that is made
    spec = plan.spec
    space = distributions(spec.search)
    study: Any = optuna.create_study(
        study_name=spec.name,
        direction=spec.objective.direction,
        sampler=make_sampler(spec.sampler, space, combinations(spec)),
        pruner=make_pruner(spec.pruner, plan.total_samples),
    )
    for baseline in spec.baselines:
        study.enqueue_trial(params_from_values(spec.search, plan.study.baseline_values(baseline)))
    names = [baseline.name for baseline in spec.baselines]
    limits = [count, spec.budget.trials, None if (grid := combinations(spec)) is None else len(grid)]
    limit = min(number for number in limits if number is not None)
    trials = [study.ask(space) for _ in range(limit)]
    return [
        (names[n] if n < len(names) else f"trial {n}", values_from_params(spec.search, trial.params))
        for n, trial in enumerate(trials)
    ]
