"""What a person is told about a wrong study: every mistake at once, at its line, with what to do."""

from pathlib import Path

import pytest

from clipexp.errors import SpecError
from clipexp.spec.study_load import load_study

BASE = """\
name: base
data:
  source: {kind: scenes-v1}
  store: data/scenes
  image_size_px: 48
  tokenizer: {kind: trained}
model: {preset: tiny}
optim:
  max_lr: 1e-3
train:
  batch_size: 128
  budget: {samples: 9_600}
"""
STUDY = """\
name: study
base: base.yaml
search:
  optim.max_lr: {kind: range, low: 1e-4, high: 1e-2, log: true}
budget: {trials: 8}
"""
LR = "  optim.max_lr: {kind: range, low: 1e-4, high: 1e-2, log: true}\n"


def problems(folder: Path, study: str, base: str = BASE, overrides: tuple[str, ...] = ()) -> list[str]:
    (folder / "base.yaml").write_text(base)
    (folder / "study.yaml").write_text(study)
    with pytest.raises(SpecError) as caught:
        load_study(folder / "study.yaml", overrides)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def searched(dimension: str) -> str:
    """The study with one dimension more, in line 5."""
    return STUDY.replace(LR, f"{LR}  {dimension}\n")


@pytest.fixture(autouse=True)
def _sound_without_the_mistake(tmp_path: Path) -> None:
    """Else a mistake might be told of any study."""
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "study.yaml").write_text(STUDY)
    assert load_study(tmp_path / "study.yaml").samples == 9_600


def test_every_mistake_of_a_study_and_its_base_is_told_at_once_each_at_its_line(tmp_path: Path) -> None:
    study = (
        "name: my study\n"
        "base: base.yaml\n"
        "search:\n"
        "  optim.max_lrr: {kind: range, low: 1e-4, high: 1e-2}\n"
        "  optim.max_lr: {kind: range, low: 1e-2, high: 1e-4}\n"
        "  schedule.warmup_frac:\n"
        "    kind: range\n"
        "    low: 0\n"
        "    high: 0.2\n"
        "    log: true\n"
        "  train.batch_size: {kind: power_of_two, low: 30, high: 512}\n"
        "  optim.eps: {kind: rang, low: 0, high: 1}\n"
        "  optim.beta1: {kind: int, low: 1}\n"
        "sampler: {kind: grid, sede: 1}\n"
        "pruner: {kind: hyperban}\n"
        "baselines:\n"
        "  - name: first\n"
        "    values:\n"
        "      optim.eps: 1\n"
        "      optim.weight_decay: 1\n"
        "  - values: {}\n"
        "budget: {}\n"
        "objective: {metric: val/los}\n"
    )
    assert problems(tmp_path, study) == [
        "study.yaml:1: name must be letters, digits, '.', '_' and '-', beginning with a letter or digit"
        ", but is 'my study'",
        "study.yaml:4: search.optim.max_lrr is unknown; did you mean optim.max_lr?",
        "study.yaml:5: search.optim.max_lr is empty: low 0.01 is above high 0.0001; swap them",
        "study.yaml:8: search.schedule.warmup_frac.low is a log range, which can't reach 0; give a low above 0, or"
        " leave log out",
        "study.yaml:11: search.train.batch_size.low must be a power of two, but is 30; 32 is the nearest",
        "study.yaml:12: search.optim.eps.kind must be range, int, power_of_two or choice, but is 'rang'"
        "; did you mean range?",
        "study.yaml:13: search.optim.beta1.high is missing; the upper end",
        "study.yaml:14: sampler.sede is unknown; did you mean seed?",
        "study.yaml:15: pruner.kind must be hyperband, successive_halving, median or none, but is 'hyperban'"
        "; did you mean hyperband?",
        "study.yaml:21: baselines[1].name is missing; what to call them",
        "study.yaml:22: budget needs one of trials, gpu_hours, cpu_hours and wall_hours",
        "study.yaml:23: objective.metric val/los is logged by no trial; did you mean val/loss?",
    ]


def test_mistakes_of_the_base_are_told_beside_those_of_the_study(tmp_path: Path) -> None:
    told = problems(tmp_path, STUDY + "confirm_seed: 2\n", BASE.replace("max_lr", "max_lrr"), ("budget.trials=0",))
    assert told == [
        "--set budget.trials=0: budget.trials must be greater than 0, but is 0",
        "base.yaml:8: optim.max_lr is missing; the learning rate's peak",
        "base.yaml:9: optim.max_lrr is unknown; did you mean max_lr?",
        "study.yaml:6: confirm_seed is unknown; did you mean confirm_seeds?",
    ]


def test_a_base_that_is_not_there_is_told_at_its_line(tmp_path: Path) -> None:
    told = problems(tmp_path, STUDY.replace("base.yaml", "bass.yaml"))
    assert told == ["study.yaml:2: base bass.yaml: there is no file bass.yaml; give its path from this file's folder"]


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        ("max_lr: {kind: int, low: 1, high: 2}", "search.max_lr is unknown; did you mean optim.max_lr?"),
        ("optm.eps: {kind: int, low: 1, high: 2}", "search.optm.eps is unknown; did you mean optim.eps?"),
        (
            "optim.max_lr.low: {kind: int, low: 1, high: 2}",
            "search.optim.max_lr.low is unknown; did you mean optim.max_lr?",
        ),
        ("xyz: {kind: int, low: 1, high: 2}", "search.xyz is unknown; docs/spec.md has all paths"),
        (
            "schedule: {kind: range, low: 0, high: 1}",
            "search.schedule is a section; search one of its keys: decay, min_lr_frac, warmup_frac",
        ),
        (
            "train.keep_last: {kind: int, low: 1, high: 2}",
            "search.train.keep_last leaves the result as it is, so that there is nothing to find; leave it out",
        ),
        (
            "train.budget.samples: {kind: int, low: 100, high: 200}",
            "search.train.budget.samples can't be searched, since trials are compared at equal samples"
            "; set it in the base",
        ),
        (
            "evals.num_pairs: {kind: int, low: 100, high: 200}",
            "search.evals.num_pairs can't be searched, since trials would be measured on different pairs"
            "; set it in the base",
        ),
        (
            "train.batch_size: {kind: range, low: 32, high: 64}",
            "search.train.batch_size takes whole numbers; use kind int or power_of_two",
        ),
        (
            "schedule.warmup_frac: {kind: range, low: 0.1, high: 0.1}",
            "search.schedule.warmup_frac is empty: low and high are both 0.1; widen it, or set the value in the base",
        ),
        (
            "schedule.warmup_frac: {kind: range, low: 0, high: 0.2, step: 0.03}",
            "search.schedule.warmup_frac.high is no whole number of steps of 0.03 above 0, but 0.2"
            "; 0.21 is the next that is",
        ),
        (
            "schedule.warmup_frac: {kind: range, low: 0.1, high: 0.2, log: true, step: 0.1}",
            "search.schedule.warmup_frac can't have both log and step; leave one out",
        ),
        (
            "optim.eps: {kind: range, low: -1, high: 1, log: true}",
            "search.optim.eps.low is a log range, which can't reach -1; give a low above 0, or leave log out",
        ),
        ("optim.beta1: {kind: choice, values: [0.9, 0.9]}", "search.optim.beta1.values holds 0.9 twice; leave one out"),
        ("optim.beta1: {kind: choice, values: []}", "search.optim.beta1.values is empty; name one at least"),
        ("optim.beta1: 0.9", "search.optim.beta1 must be a mapping, but is 0.9; write {kind: range}"),
        (
            "optim.beta1: {low: 0.8, high: 0.9}",
            "search.optim.beta1.kind is missing; it is range, int, power_of_two or choice",
        ),
        (
            "train.batch_size: {kind: power_of_two, low: 32, high: 64, step: 32}",
            "search.train.batch_size.step is unknown with kind power_of_two; valid keys: high, kind, low",
        ),
    ],
)
def test_a_wrong_dimension_is_told_at_its_line_and_for_nothing_else(
    tmp_path: Path, dimension: str, message: str
) -> None:
    assert problems(tmp_path, searched(dimension)) == [f"study.yaml:5: {message}"]


def test_a_dimension_within_another_is_told(tmp_path: Path) -> None:
    study = STUDY.replace(LR, LR + "  schedule: {kind: choice, values: [{decay: linear}, {decay: cosine}]}\n")
    study = study.replace("budget", "  schedule.decay: {kind: choice, values: [linear, cosine]}\nbudget")
    assert problems(tmp_path, study) == [
        "study.yaml:6: search.schedule.decay lies within search.schedule; leave one of them out"
    ]


def test_a_search_of_nothing_is_told(tmp_path: Path) -> None:
    assert problems(tmp_path, STUDY.replace(LR, "").replace("search:", "search: {}")) == [
        "study.yaml:3: search is empty; name one at least"
    ]
    assert problems(tmp_path, STUDY.replace(LR, "")) == ["study.yaml:3: search must be a mapping, but is empty"]


def test_a_grid_needs_steps(tmp_path: Path) -> None:
    assert problems(tmp_path, STUDY + "sampler: {kind: grid}\n") == [
        "study.yaml:4: search.optim.max_lr has no step, so that a grid has no end; give it one, or take another sampler"
    ]


@pytest.mark.parametrize(
    ("objective", "base", "message"),
    [
        ("metric: val/los", BASE, "objective.metric val/los is logged by no trial; did you mean val/loss?"),
        (
            "metric: val/text_to_image_recal_at_1, direction: maximize",
            BASE,
            "objective.metric val/text_to_image_recal_at_1 is logged by no trial"
            "; did you mean val/text_to_image_recall_at_1?",
        ),
        (
            "metric: val/loss",
            BASE + "evals: {num_pairs: 512}\n",
            "objective.metric val/loss is logged by no trial, since the base validates in blocks of 512 pairs"
            "; did you mean val/loss_block_512?",
        ),
        (
            "metric: val/loss_block_2048",
            BASE,
            "objective.metric val/loss_block_2048 is logged by no trial, since the base validates in blocks of"
            " 1,024 pairs; did you mean val/loss?",
        ),
    ],
)
def test_a_metric_that_no_trial_logs_is_told(tmp_path: Path, objective: str, base: str, message: str) -> None:
    assert problems(tmp_path, STUDY + f"objective:\n  {{{objective}}}\n", base) == [f"study.yaml:7: {message}"]


def test_a_direction_that_looks_for_the_worst_is_told(tmp_path: Path) -> None:
    assert problems(tmp_path, STUDY + "objective:\n  metric: val/image_to_text_recall_at_5\n") == [
        "study.yaml:6: objective.direction minimize looks for the worst val/image_to_text_recall_at_5"
        "; write direction: maximize"
    ]


@pytest.mark.parametrize(
    ("values", "line", "message"),
    [
        ("optim.max_lr: 0.1", 8, "baselines[0].values.optim.max_lr 0.1 lies outside 0.0001 to 0.01"
         "; change it, or widen search.optim.max_lr"),
        ("optim.max_lr: fast", 8, "baselines[0].values.optim.max_lr fast is no number"
         "; change it, or widen search.optim.max_lr"),
        ("optim.max_lrr: 1e-3", 8, "baselines[0].values.optim.max_lrr is not searched; did you mean optim.max_lr?"),
        ("seed: 1", 8, "baselines[0].values.seed is not searched; add it to search, or set it in the base"),
    ],
)  # fmt: skip
def test_a_baseline_outside_the_space_is_told(tmp_path: Path, values: str, line: int, message: str) -> None:
    study = f"{STUDY}baselines:\n  - name: first\n    values: {{{values}}}\n"
    assert problems(tmp_path, study) == [f"study.yaml:{line}: {message}"]


@pytest.mark.parametrize(
    ("dimension", "value", "reason"),
    [
        ("train.batch_size: {kind: power_of_two, low: 32, high: 256}", "100", "is no power of two"),
        (
            "train.batch_size: {kind: int, low: 32, high: 256, step: 32}",
            "100",
            "is no whole number of steps of 32 above 32",
        ),
        ("train.batch_size: {kind: choice, values: [128, 256]}", "64", "is none of 128, 256"),
        (
            "schedule.warmup_frac: {kind: range, low: 0, high: 0.2, step: 0.02}",
            "0.05",
            "is no whole number of steps of 0.02 above 0",
        ),
    ],
)
def test_a_baseline_between_the_points_is_told(tmp_path: Path, dimension: str, value: str, reason: str) -> None:
    path = dimension.partition(":")[0]
    study = f"{searched(dimension)}baselines: [{{name: first, values: {{{path}: {value}}}}}]\n"
    told = f"study.yaml:7: baselines[0].values.{path} {value} {reason}; change it, or widen search.{path}"
    assert told in problems(tmp_path, study)


def test_a_baseline_that_leaves_to_the_base_what_lies_outside_is_told(tmp_path: Path) -> None:
    study = STUDY + "baselines:\n  - name: first\n    values: {optim.max_lr: 1e-3}\n  - name: second\n"
    assert problems(tmp_path, study, BASE.replace("1e-3", "0.5")) == [
        "study.yaml:9: baselines[1].values leaves optim.max_lr to the base, whose 0.5 lies outside 0.0001 to 0.01"
        "; give it a value"
    ]


def test_two_baselines_of_one_name_are_told(tmp_path: Path) -> None:
    study = STUDY + "baselines:\n  - name: first\n  - values: {}\n    name: first\n"
    assert problems(tmp_path, study) == [
        "study.yaml:9: baselines[1].name first is that of baselines[0]; name it otherwise"
    ]


def test_a_key_that_stands_twice_in_a_baseline_is_told(tmp_path: Path) -> None:
    study = STUDY + "baselines:\n  - name: first\n    name: second\n"
    assert problems(tmp_path, study) == ["study.yaml:8: name stands here again, after study.yaml:7"]


@pytest.mark.parametrize(
    ("key", "device", "other"), [("gpu_hours", "cpu", "cpu_hours"), ("cpu_hours", "cuda", "gpu_hours")]
)
def test_hours_of_a_device_that_the_base_does_not_use_are_told(
    tmp_path: Path, key: str, device: str, other: str
) -> None:
    study = STUDY.replace("budget: {trials: 8}", f"budget:\n  trials: 8\n  {key}: 2")
    assert problems(tmp_path, study, BASE + f"  device: {device}\n") == [
        f"study.yaml:7: budget.{key} is never spent, since the base has train.device {device}; give {other}"
    ]


@pytest.mark.parametrize("kind", ["hyperband", "successive_halving", "median"])
def test_a_pruner_that_begins_after_the_end_is_told(tmp_path: Path, kind: str) -> None:
    assert problems(tmp_path, f"{STUDY}pruner:\n  kind: {kind}\n  min_samples: 9_600\n") == [
        "study.yaml:8: pruner.min_samples must be below the 9,600 samples of a trial, but is 9,600"
    ]


@pytest.mark.parametrize(
    "dimension",
    [
        "{kind: choice, values: [96, 100]}",
        "{kind: int, low: 32, high: 256}",
        "{kind: power_of_two, low: 2, high: 1024}",
    ],
)
def test_batch_sizes_without_a_small_multiple_are_told(tmp_path: Path, dimension: str) -> None:
    assert problems(tmp_path, searched(f"train.batch_size: {dimension}")) == [
        "study.yaml:5: search.train.batch_size has no common multiple up to 960, a tenth of the base's 9,600 samples,"
        " so that trials would see different numbers of samples; use kind power_of_two or fewer sizes, or a longer"
        " budget"
    ]


def test_in_epochs_what_needs_samples_is_told_once_the_pairs_are_known(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE.replace("samples: 9_600", "epochs: 0.5"))
    study = searched("train.batch_size: {kind: choice, values: [96, 100]}")
    (tmp_path / "study.yaml").write_text(study + "pruner: {kind: median, min_samples: 24_000}\n")
    study_in_epochs = load_study(tmp_path / "study.yaml")
    with pytest.raises(SpecError, match=r"study.yaml:5: search.train.batch_size has no common multiple up to 480, "):
        study_in_epochs.for_pairs(9_600)
    with pytest.raises(SpecError, match=r"study.yaml:7: pruner.min_samples must be below the 24,000 samples"):
        study_in_epochs.for_pairs(48_000)
    assert study_in_epochs.for_pairs(96_000).samples == 48_000


def test_a_corner_at_which_the_base_is_invalid_is_told_once_with_how_many_there_are(tmp_path: Path) -> None:
    assert problems(tmp_path, searched("model.patch_size_px: {kind: choice, values: [12, 13, 24]}")) == [
        "study.yaml:5: at optim.max_lr=0.0001, model.patch_size_px=13 (and at 1 more): model.patch_size_px must divide"
        " image_size_px 48, but is 13"
    ]


def test_a_value_between_the_ends_at_which_the_base_is_invalid_is_told(tmp_path: Path) -> None:
    assert problems(tmp_path, searched("model.vision.heads: {kind: int, low: 1, high: 4}")) == [
        "study.yaml:5: at model.vision.heads=3: model.vision.heads must divide width 128, but is 3"
    ]


def test_a_corner_that_makes_a_value_of_the_base_wrong_is_told_with_the_line_of_the_base(tmp_path: Path) -> None:
    base = BASE.replace("{preset: tiny}", "{preset: tiny, vision: {heads: 4}}")
    assert problems(tmp_path, searched("model.vision.width: {kind: choice, values: [64, 126]}"), base) == [
        "study.yaml:3: at optim.max_lr=0.0001, model.vision.width=126 (and at 1 more): base.yaml:7: model.vision.heads"
        " must divide width 126, but is 4"
    ]


def test_a_section_chosen_at_which_the_base_is_invalid_is_told_at_its_line(tmp_path: Path) -> None:
    study = searched("data.source: {kind: choice, values: [{kind: openmoji}, {kind: webdataset}]}")
    assert problems(tmp_path, study) == [
        'study.yaml:5: at optim.max_lr=0.0001, data.source={"kind":"webdataset"} (and at 1 more): data.path is needed'
        " by source webdataset: the folder that holds the tars"
    ]


def test_beyond_two_thousand_corners_each_two_dimensions_are_tried(tmp_path: Path) -> None:
    wide = "".join(
        f"  {path}: {{kind: range, low: 0.1, high: 0.9}}\n"
        for path in (
            *("optim.beta1", "optim.beta2", "optim.eps", "optim.weight_decay", "optim.grad_clip_norm"),
            *("schedule.warmup_frac", "schedule.min_lr_frac", "model.vision.mlp_ratio", "model.text.mlp_ratio"),
        )
    )
    heads = (
        "  model.text.width: {kind: choice, values: [64, 96]}\n  model.text.heads: {kind: choice, values: [4, 64]}\n"
    )
    told = problems(tmp_path, STUDY.replace(LR, LR + wide + heads))
    assert told == [
        "study.yaml:15: at model.text.width=96, model.text.heads=64: model.text.heads must divide width 96, but is 64"
    ]


def test_a_wrong_set_is_told_with_its_flag(tmp_path: Path) -> None:
    assert problems(tmp_path, STUDY, overrides=("budget.trails=8", "search.optim.max_lr.hihg=1", "trials")) == [
        "--set budget.trails=8: budget.trails is unknown; did you mean trials?",
        "--set search.optim.max_lr.hihg=1: search.optim.max_lr.hihg is unknown; did you mean high?",
        "--set trials: takes dotted.path=value, such as search.optim.max_lr.high=1e-2",
    ]
