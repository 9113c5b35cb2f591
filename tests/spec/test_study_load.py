"""From a study to runs: layers, equal samples, corners, and what `--set` amends."""

import math
import time
from pathlib import Path
from typing import Any

import pytest

from clipexp.errors import SpecError
from clipexp.spec.load import ResolvedRun, load_spec, nested
from clipexp.spec.run import num_steps
from clipexp.spec.study import ChoiceDim, IntDim, PowerOfTwoDim, RangeDim, extremes, outside, points
from clipexp.spec.study_checks import BLOCK_SIZE, common_multiple, direction_by_metric
from clipexp.spec.study_load import ResolvedStudy, corners, load_study
from clipexp.spec.yaml_lines import Origin

BASE = """\
name: base
hypothesis: it learns
data:
  source: {kind: scenes-v1}
  store: data/scenes
  image_size_px: 48
  tokenizer: {kind: trained}
model: {preset: tiny}
optim: {max_lr: 1e-3}
train:
  batch_size: 100
  budget: {samples: 10_000}
  eval_every_samples: 1_000
"""
STUDY = """\
name: study
base: base.yaml
search:
  optim.max_lr: {kind: range, low: 1e-4, high: 1e-2, log: true}
  %s
budget: {trials: 8}
"""
POWERS = "train.batch_size: {kind: power_of_two, low: 32, high: 256}"
WARMUP = "schedule.warmup_frac: {kind: range, low: 0, high: 0.2}"


def study_of(folder: Path, dimension: str = POWERS, base: str = BASE, overrides: tuple[str, ...] = ()) -> ResolvedStudy:
    (folder / "base.yaml").write_text(base)
    (folder / "study.yaml").write_text(STUDY % dimension)
    return load_study(folder / "study.yaml", overrides)


def test_a_trial_is_the_base_with_its_values_laid_over(tmp_path: Path) -> None:
    study = study_of(tmp_path, WARMUP)
    trial = study.trial({"optim.max_lr": 3e-3, "schedule.warmup_frac": 0.1}, name="study-0")
    base = load_spec(tmp_path / "base.yaml").spec
    expected = base.model_dump()
    expected |= {"name": "study-0", "hypothesis": ""}
    expected["optim"]["max_lr"] = 3e-3
    expected["schedule"]["warmup_frac"] = 0.1
    expected["train"] |= {"keep_last": 1, "keep_best": False}
    assert trial.spec.model_dump() == expected


def test_a_value_of_a_trial_says_which_study_it_is_from(tmp_path: Path) -> None:
    trial = study_of(tmp_path).trial({"optim.max_lr": 3e-3, "train.batch_size": 64}, name="study-0", seed=4)
    of_study = {"name", "optim.max_lr", "train.batch_size", "train.keep_last", "train.keep_best", "seed"}
    assert {trial.origin(path) for path in of_study} == {"study study"}
    assert trial.origin("train.budget.samples") == "study study"
    assert trial.origin("data.store") == f"{tmp_path}/base.yaml:5"
    assert trial.origin("model.vision.width") == "preset tiny"
    assert trial.spec.seed == 4


def test_a_base_is_found_from_the_studys_folder_and_named_without_detours(tmp_path: Path) -> None:
    study_of(tmp_path)
    (tmp_path / "studies").mkdir()
    moved = tmp_path / "studies" / "study.yaml"
    moved.write_text((tmp_path / "study.yaml").read_text().replace("base.yaml", "../base.yaml"))
    assert load_study(moved).base.origin("data.store") == f"{tmp_path}/base.yaml:5"


def test_set_lies_over_a_studys_parameters(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    layer = nested({"optim.max_lr": 3e-3, "seed": 1}, lambda path: Origin("study study", is_file=False))
    resolved = study.experiment.resolved(layer, ["optim.max_lr=5e-3"])
    assert (resolved.spec.optim.max_lr, resolved.spec.seed) == (5e-3, 1)
    assert resolved.origin("optim.max_lr") == "--set optim.max_lr=5e-3"


def test_a_trial_with_a_wrong_value_is_told_with_the_study(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        study_of(tmp_path).trial({"optim.max_lr": "fast"}, name="study-0")
    assert str(caught.value) == "study study: optim.max_lr must be a valid number, but is 'fast'"


def test_the_base_is_read_once_and_a_trial_is_made_in_under_3_ms(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    (tmp_path / "base.yaml").unlink()
    best_s = math.inf
    for _ in range(50):
        start = time.perf_counter()
        study.trial({"optim.max_lr": 3e-3, "train.batch_size": 64}, name="study-0")
        best_s = min(best_s, time.perf_counter() - start)
    assert best_s < 0.003


@pytest.mark.parametrize(
    ("dimension", "sizes", "samples", "eval_every"),
    [
        (POWERS, (32, 64, 128, 256), 9_984, 1_024),
        ("train.batch_size: {kind: choice, values: [100, 200, 250]}", (100, 200, 250), 10_000, 1_000),
        ("train.batch_size: {kind: int, low: 40, high: 120, step: 40}", (40, 80, 120), 9_840, 1_200),
    ],
)
def test_trials_of_all_batch_sizes_see_and_are_evaluated_at_the_same_samples(
    tmp_path: Path, dimension: str, sizes: tuple[int, ...], samples: int, eval_every: int
) -> None:
    study = study_of(tmp_path, dimension)
    assert study.samples == samples
    for size in sizes:
        spec = study.trial({"optim.max_lr": 1e-3, "train.batch_size": size}, name="study-0").spec
        assert num_steps(spec, 1_000) * size == samples
        assert (spec.train.budget.samples, spec.train.eval_every_samples) == (samples, eval_every)
        assert eval_every % size == 0


def test_a_base_in_epochs_needs_its_pairs_before_trials_see_equal_samples(tmp_path: Path) -> None:
    study = study_of(tmp_path, base=BASE.replace("samples: 10_000", "epochs: 2.5"))
    values: dict[str, Any] = {"optim.max_lr": 1e-3, "train.batch_size": 64}
    assert study.samples is None
    with pytest.raises(ValueError, match="for_pairs"):
        study.trial(values, name="study-0")
    known = study.for_pairs(4_000)
    assert known.samples == 9_984
    budget = known.trial(values, name="study-0").spec.train.budget
    assert (budget.epochs, budget.samples) == (None, 9_984)


def test_a_study_that_searches_no_batch_size_leaves_budget_and_cadence_to_the_base(tmp_path: Path) -> None:
    study = study_of(tmp_path, WARMUP, BASE.replace("samples: 10_000", "epochs: 2.5"))
    spec = study.trial({"optim.max_lr": 1e-3, "schedule.warmup_frac": 0}, name="study-0").spec
    assert (spec.train.budget.epochs, spec.train.eval_every_samples) == (2.5, 1_000)
    assert study.for_pairs(4_010).samples == 10_000  # 10,025, whole batches of 100


@pytest.mark.parametrize(
    ("override", "value"),
    [("budget.trials=3", 3), ("search.optim.max_lr.high=2e-2", 0.02), ("search.schedule.warmup_frac.high=.1", 0.1)],
)
def test_set_amends_the_study(tmp_path: Path, override: str, value: float) -> None:
    spec = study_of(tmp_path, WARMUP, overrides=(override,)).spec
    highs = [dim.high for dim in spec.search.values() if isinstance(dim, RangeDim)]
    assert value in [spec.budget.trials, *highs]
    assert value not in [8, 0.01, 0.2]


def test_set_can_replace_and_add_a_dimension(tmp_path: Path) -> None:
    overrides = (
        "search.optim.max_lr={kind: choice, values: [1e-3, 2e-3]}",
        "search.optim.beta2={kind: range, low: 0.9, high: 0.99}",
    )
    search = study_of(tmp_path, overrides=overrides).spec.search
    assert list(search) == ["optim.max_lr", "train.batch_size", "optim.beta2"]
    assert search["optim.max_lr"] == ChoiceDim(kind="choice", values=[1e-3, 2e-3])


def test_a_baseline_takes_from_the_base_what_it_leaves_out(tmp_path: Path) -> None:
    overrides = ("baselines=[{name: first, values: {optim.max_lr: 2e-3}}]",)
    dimension = "data.captions: {kind: choice, values: [first, sample]}"
    study = study_of(tmp_path, dimension, overrides=overrides)
    assert study.baseline_values(study.spec.baselines[0]) == {"optim.max_lr": 2e-3, "data.captions": "first"}


def test_a_baseline_takes_the_choice_of_a_section_that_the_base_agrees_with(tmp_path: Path) -> None:
    dimension = "schedule: {kind: choice, values: [{decay: linear}, {decay: cosine}]}"
    study = study_of(tmp_path, dimension, overrides=("baselines=[{name: first}]",))
    assert study.baseline_values(study.spec.baselines[0]) == {"optim.max_lr": 1e-3, "schedule": {"decay": "cosine"}}


def test_corners_are_the_combinations_of_the_ends(tmp_path: Path) -> None:
    found = corners(study_of(tmp_path, "seed: {kind: choice, values: [0, 1, 2]}"))
    assert sorted((values["optim.max_lr"], values["seed"]) for values in found) == [
        *((1e-4, 0), (1e-4, 1), (1e-4, 2)),
        *((1e-2, 0), (1e-2, 1), (1e-2, 2)),
    ]


@pytest.mark.parametrize(
    ("dim", "found"),
    [
        (IntDim(kind="int", low=1, high=7, step=3), [1, 4, 7]),
        (PowerOfTwoDim(kind="power_of_two", low=1, high=8), [1, 2, 4, 8]),
        (RangeDim(kind="range", low=0, high=0.3, step=0.1), [0, 0.1, 0.2, 0.3]),
        (ChoiceDim(kind="choice", values=["a", None]), ["a", None]),
    ],
)
def test_points_of_a_dimension_lie_in_it_and_reach_both_ends(dim: Any, found: list[Any]) -> None:
    assert list(points(dim) or ()) == found
    assert [outside(dim, value) for value in found] == [None] * len(found)
    assert {*extremes(dim)} >= {found[0], found[-1]}
    assert outside(dim, 99)


def test_the_common_multiple_is_the_least_and_has_a_limit() -> None:
    sizes = ChoiceDim(kind="choice", values=[96, 128, 80])
    assert common_multiple(sizes, limit=1_920) == 1_920
    assert common_multiple(sizes, limit=1_919) is None
    assert common_multiple(IntDim(kind="int", low=1, high=10**12), limit=10**6) is None


def test_the_metrics_that_a_study_knows_are_those_that_a_validation_reports(
    small_run: ResolvedRun, small_store: Path
) -> None:
    import torch

    from clipexp.data.store import Store
    from clipexp.evals.validation import FrozenValidation, loss_metric
    from clipexp.model.clip import CLIP

    spec = small_run.spec
    table = Store(small_store).table("val", spec.data.tokenizer, spec.model.context_length)
    validation = FrozenValidation(table, spec, torch.device("cpu"))
    reported = validation.run(CLIP(spec.model, spec.data.tokenizer.vocab_size))
    assert reported
    of_the_set = {"val/block_size", "val/num_pairs", "val/chance_loss", "val/chance_recall_at_1"}  # not of the model
    signs = {"val/image_similarity", "val/text_similarity"}  # of a collapse, and no goal
    assert set(direction_by_metric(validation.block_size)) == set(reported.metrics) - of_the_set - signs
    assert next(iter(direction_by_metric(BLOCK_SIZE))) == loss_metric(BLOCK_SIZE) == "val/loss"
