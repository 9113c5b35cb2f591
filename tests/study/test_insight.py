"""What trials say: numbers that a reader can check by hand, and silence where there are too few."""

import math
from typing import Any

import pytest

from clipexp.comparison import Group, compare
from clipexp.spec.load import resolve
from clipexp.spec.study import StudySpec
from clipexp.study import insight
from clipexp.study.evidence import ConfirmRow, StudyEvidence, TrialRow
from tests.study.toy import BATCH, DECAY, LR, WARMUP, evidence_of, row, toy_base, toy_evidence, toy_spec


def trials(*lr_loss: tuple[float, float], **others: Any) -> list[TrialRow]:
    return [row(idx, loss, {LR: lr, WARMUP: 0.1, BATCH: 128} | others) for idx, (lr, loss) in enumerate(lr_loss)]


def along(path: str, places: list[Any], **changes: Any) -> StudyEvidence:
    """Trials, the first the best; on `path` they stand at the places, elsewhere in the middle, no two alike."""
    rows = [
        row(idx, 1.0 + idx, {LR: 5e-4 + 1e-7 * idx, WARMUP: 0.1 + 0.0001 * idx, BATCH: 256} | {path: place})
        for idx, place in enumerate(places)
    ]
    return evidence_of(rows, **changes)


def test_the_best_trial_is_the_lowest_and_of_equals_the_one_with_fewest_samples() -> None:
    same = trials((1e-3, 2.0), (2e-3, 1.0))
    shorter = row(2, 1.0, {LR: 1e-4}, samples_seen=100)
    found = insight.best_trial(evidence_of([*same, shorter]))
    assert found is not None
    assert found.number == 2


def test_where_higher_is_better_the_best_trial_is_the_highest() -> None:
    objective = {"metric": "val/text_to_image_recall_at_1", "direction": "maximize"}
    found = insight.best_trial(evidence_of(trials((1e-3, 0.2), (2e-3, 0.9), (3e-4, 0.5)), objective=objective))
    assert found is not None
    assert found.number == 1


def test_a_reused_result_does_not_count_as_one_with_fewer_samples() -> None:
    own, twin = trials((1e-3, 1.0), (1e-3, 1.0))
    reused = row(1, twin.value, dict(twin.values), samples_seen=0, reused=True, curve=((24_576, 1.0),))
    assert [trial.number for trial in insight.ranked(evidence_of([reused, own]))] == [0, 1]


def test_without_a_finished_trial_there_is_no_best() -> None:
    evidence = evidence_of([row(0, None, {LR: 1e-3})])
    assert insight.best_trial(evidence) is None
    assert insight.best_settings(evidence) is None


@pytest.mark.parametrize(
    ("path", "at_edge", "elsewhere", "wanted"),
    [
        (LR, [2.9e-3, 3e-3, 1e-3], 5e-4, {"high": 9e-3}),
        (LR, [1e-4, 1.05e-4, 1e-3], 5e-4, {"low": 3.3e-5}),
        (WARMUP, [0.195, 0.2, 0.1], 0.1, {"high": 0.3}),
        (BATCH, [1024, 1024, 256], 128, {"high": 4096}),
        (BATCH, [64, 64, 256], 128, {"low": 16}),
    ],
)
def test_an_edge_is_widened(path: str, at_edge: list[Any], elsewhere: Any, wanted: dict[str, float]) -> None:
    (found,) = insight.edges(
        along(path, [*at_edge, *[elsewhere] * 2, at_edge[2] * 1.5, elsewhere * 1.5, elsewhere * 0.7])
    )
    end, value = next(iter(wanted.items()))
    assert (found.path, found.end, found.num_at_edge) == (path, end, 2)
    assert found.wider is not None
    assert getattr(found.wider, end) == pytest.approx(value)
    other = "low" if end == "high" else "high"
    assert getattr(found.wider, other) == getattr(toy_spec().search[path], other)


def test_one_trial_at_an_edge_is_none() -> None:
    assert insight.edges(along(LR, [3e-3, 1e-3, 9e-4, 8e-4, 7e-4, 6e-4, 5e-4])) == []


def test_below_six_settings_no_edge_is_said_even_if_one_was_run_many_times() -> None:
    assert insight.edges(along(LR, [3e-3, 2.95e-3, 2.9e-3, 1e-3, 5e-4])) == []
    same = trials((3e-3, 1.0), (3e-3, 1.1), (3e-3, 1.2), (2.9e-3, 1.3), (2.8e-3, 1.4), (1e-3, 1.5), (5e-4, 1.6))
    assert len(insight.edges(evidence_of(same))) == 0
    assert len(insight.edges(along(LR, [3e-3, 2.95e-3, 2.9e-3, 1e-3, 5e-4, 4e-4]))) == 1


def test_nothing_beyond_what_the_spec_takes_is_proposed() -> None:
    base = toy_base()
    search = toy_spec({WARMUP: {"kind": "range", "low": 0.0, "high": 0.9}}).search
    upward = insight.wider(base, WARMUP, search[WARMUP], "high")  # type: ignore[arg-type]
    assert upward is not None
    assert 0.95 < upward.high <= 1.0  # type: ignore[union-attr]
    assert insight.wider(base, WARMUP, search[WARMUP], "low") is None  # type: ignore[arg-type]


def test_a_batch_of_one_is_not_proposed() -> None:
    dim = toy_spec({BATCH: {"kind": "power_of_two", "low": 4, "high": 64}}).search[BATCH]
    found = insight.wider(toy_base(), BATCH, dim, "low")  # type: ignore[arg-type]
    assert found is not None
    assert found.low == 2  # type: ignore[union-attr]


def test_steps_are_kept_when_a_range_is_widened() -> None:
    dim = toy_spec({WARMUP: {"kind": "range", "low": 0.0, "high": 0.2, "step": 0.05}}).search[WARMUP]
    found = insight.wider(toy_base(), WARMUP, dim, "high")  # type: ignore[arg-type]
    assert found is not None
    assert found.high == pytest.approx(0.3)  # type: ignore[union-attr]


@pytest.mark.parametrize("num_trials", [16, 60])
def test_proposed_dimensions_are_a_valid_search(num_trials: int) -> None:
    evidence = toy_evidence(num_trials)
    dims = [*(edge.wider for edge in insight.edges(evidence)), *(one.narrower for one in insight.narrowings(evidence))]
    search = dict(evidence.study["search"]) | {str(n): dim.model_dump() for n, dim in enumerate(dims) if dim}
    StudySpec.model_validate(dict(evidence.study) | {"search": search})


def test_a_narrow_best_quarter_narrows_the_range() -> None:
    near, far = [0.04, 0.05, 0.06, 0.05001], [0.0, 0.2, 0.1, 0.15, 0.01, 0.19, 0.12, 0.16, 0.02, 0.18, 0.13, 0.17]
    (found,) = [one for one in insight.narrowings(along(WARMUP, [*near, *far])) if one.path == WARMUP]
    assert (found.low, found.high, found.num_best, found.num_settings) == (0.04, 0.06, 4, 16)
    assert found.narrower.low == pytest.approx(0.02)  # type: ignore[union-attr]
    assert found.narrower.high == pytest.approx(0.08)  # type: ignore[union-attr]


def test_a_wide_best_quarter_or_too_few_trials_narrow_nothing() -> None:
    wide = [0.02, 0.18, 0.1, 0.05, *(0.01 * n + 0.001 for n in range(12))]
    assert WARMUP not in {one.path for one in insight.narrowings(along(WARMUP, wide))}
    assert insight.narrowings(along(WARMUP, [0.05, 0.051, 0.052, 0.1, 0.2, 0.01, 0.15, 0.16])) == []


def test_importances_name_the_setting_that_matters_and_their_basis() -> None:
    found = insight.importances(toy_evidence(60))
    assert found is not None
    assert (found.method, found.num_trials) == ("fANOVA", 44)
    assert next(iter(found.share_by_path)) == LR
    assert sum(found.share_by_path.values()) == pytest.approx(1, abs=0.01)
    assert insight.importances(toy_evidence(60)) == found


def test_importances_of_few_trials_rest_on_another_method_and_of_fewer_on_none() -> None:
    found = insight.importances(toy_evidence(16))
    assert found is not None
    assert found.method == "PED-ANOVA"
    assert insight.importances(toy_evidence(3)) is None


def test_without_variation_nothing_is_important() -> None:
    assert insight.importances(evidence_of(trials(*((1e-4 * n, 1.0) for n in range(1, 21))))) is None


def test_a_baseline_beyond_the_ranges_is_shown_but_does_not_count_for_importance() -> None:
    rows = [*toy_evidence(16).trials, row(16, 0.9, {LR: 1e-2, WARMUP: 0.1, BATCH: 4096}, baseline="far")]
    evidence = evidence_of(rows)
    found, study = insight.importances(evidence), insight.memory_study(evidence)
    assert found is not None
    assert found.num_trials == 11
    assert study.trials[-1].params == {LR: 1e-2, WARMUP: 0.1, BATCH: 4096}


def test_trials_keep_their_numbers_where_some_came_to_nothing() -> None:
    evidence = toy_evidence(16)  # of which trial 5 is infeasible
    value_by_number = {trial.number: trial.value for trial in insight.memory_study(evidence).trials}
    assert {
        row.number: row.value for row in evidence.trials if row.value is not None
    }.items() <= value_by_number.items()
    assert value_by_number[5] is None


def test_choices_of_nested_values_can_be_shown() -> None:
    kinds = [{"kind": "clip"}, {"kind": "trained", "vocab_size": 400}]
    search = {"data.tokenizer": {"kind": "choice", "values": kinds}}
    evidence = evidence_of([row(n, float(n), {"data.tokenizer": kinds[n % 2]}) for n in range(4)], search=search)
    assert [trial.params["data.tokenizer"] for trial in insight.memory_study(evidence).trials[:2]] == [
        '{"kind": "clip"}',
        '{"kind": "trained", "vocab_size": 400}',
    ]


def confirmed(best: list[float], base: list[float], first_seed_of_base: int = 1, **changes: Any) -> StudyEvidence:
    def runs(name: str, values: list[float], first: int) -> list[ConfirmRow]:
        return [ConfirmRow(name, first + idx, value, "", "", {}) for idx, value in enumerate(values)]

    evidence = evidence_of([], **changes)
    rows = (*runs("base", base, first_seed_of_base), *runs("best", best, 1))
    return StudyEvidence(evidence.study, evidence.base, (), rows, evidence.totals, evidence.making)


def test_the_best_stands_first_and_is_held_against_each_baseline() -> None:
    found = insight.confirmation(confirmed([1.0, 2.0, 3.0], [1.5, 2.6, 3.4]))
    assert found is not None
    assert [group.name for group in found.groups] == ["best", "base"]
    assert (found.groups[0].mean, found.groups[0].sd, found.groups[0].num_seeds) == (2.0, 1.0, 3)
    (difference,) = found.differences
    assert (difference.a, difference.b, difference.is_paired, difference.num_pairs) == ("The best", "base", True, 3)
    assert difference.mean == pytest.approx(-0.5)


def test_a_study_and_a_comparison_of_runs_tell_the_same() -> None:
    best, base = {1: 1.0, 2: 2.0, 3: 3.0}, {1: 1.5, 2: 2.6, 3: 3.4}
    found = insight.confirmation(confirmed([*best.values()], [*base.values()]))
    assert found is not None
    (difference,) = found.differences
    elsewhere = compare(Group.of_values("a", "val/loss", best), Group.of_values("b", "val/loss", base))
    assert difference.interval == elsewhere.interval
    assert difference.verdict == elsewhere.verdict


@pytest.mark.parametrize(
    ("best", "base", "changes", "verdict"),
    [
        ([1.00, 1.02, 1.01], [2.00, 2.03, 2.01], {}, "better"),
        ([2.00, 2.03, 2.01], [1.00, 1.02, 1.01], {}, "worse"),
        ([1.0, 2.0, 3.0], [1.1, 1.9, 3.1], {}, "not distinguishable"),
        ([1.0], [5.0], {}, "not distinguishable"),
        ([2.00, 2.03, 2.01], [1.00, 1.02, 1.01], {"objective": {"direction": "maximize"}}, "better"),
    ],
)
def test_better_is_said_only_where_the_interval_excludes_zero(
    best: list[float], base: list[float], changes: dict[str, Any], verdict: str
) -> None:
    found = insight.confirmation(confirmed(best, base, **changes))
    assert found is not None
    (difference,) = found.differences
    assert difference.verdict == verdict
    assert verdict.startswith("not") == (
        difference.interval is None or difference.interval[0] <= 0 <= difference.interval[1]
    )


def test_seeds_that_only_one_ran_with_are_told() -> None:
    found = insight.confirmation(confirmed([1.0, 2.0, 3.0], [9.0, 9.5, 9.7], first_seed_of_base=3))
    assert found is not None
    assert (found.differences[0].num_pairs, found.differences[0].is_paired) == (1, False)


def test_a_seed_that_came_to_no_value_is_told() -> None:
    found = insight.confirmation(confirmed([1.0, 1.1, math.nan], [9.0, 9.5, 9.7]))
    assert found is not None
    assert found.groups[0].num_without_value == 1
    assert any("best" in caveat for caveat in found.differences[0].caveats())


def test_a_study_without_confirmation_runs_says_nothing_of_them() -> None:
    assert insight.confirmation(toy_evidence(3, is_confirmed=False)) is None


def test_the_best_settings_have_the_best_values_and_the_trials_seed() -> None:
    values = {LR: 7e-4, WARMUP: 0.05, BATCH: 64, DECAY: "linear"}
    found = insight.best_settings(evidence_of([row(0, 1.0, values, seed=5)]))
    assert found is not None
    spec = resolve(found).spec
    assert (spec.optim.max_lr, spec.schedule.warmup_frac, spec.train.batch_size) == (7e-4, 0.05, 64)
    assert (spec.schedule.decay, spec.seed, spec.name) == ("linear", 5, "toy-best")


def test_what_the_best_trials_run_recorded_goes_before_the_base() -> None:
    evidence = evidence_of([row(0, 1.0, {LR: 7e-4})])
    recorded = insight.amended(evidence.base, {LR: 7e-4, "train.budget": {"samples": 1_024}})
    found = insight.best_settings(evidence.with_best(recorded))
    assert found is not None
    assert found["train"]["budget"]["samples"] == 1_024
    assert found["train"]["keep_last"] == evidence.base["train"]["keep_last"]


def test_fields_that_specs_gained_since_a_run_are_not_added_to_what_it_recorded() -> None:
    evidence = evidence_of([row(0, 1.0, {LR: 7e-4})])
    recorded = insight.amended(evidence.base, {LR: 7e-4})
    del recorded["data"]["resize"]
    found = insight.best_settings(evidence.with_best(recorded))
    assert found is not None
    assert "resize" not in found["data"]
    assert resolve(found).spec.data.resize is None
