"""What a person is told about a wrong spec: every mistake at once, at its line, with the nearest valid key."""

from pathlib import Path

import pytest

from clipexp.errors import SpecError
from clipexp.spec.load import load_spec, resolve

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
  budget: {epochs: 2}
"""


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    """What is wrong with a child of BASE that stands in child.yaml from its second line on."""
    (folder / "base.yaml").write_text(BASE)
    (folder / "child.yaml").write_text(f"extends: base.yaml\n{text}")
    with pytest.raises(SpecError) as caught:
        load_spec(folder / "child.yaml", overrides)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_every_mistake_of_a_file_is_told_at_once_each_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "name: my run\n"
        "data:\n"
        "  source: {kind: scenesv1}\n"
        "  stor: data/x\n"
        "  image_size_px: '48'\n"
        "  tokenizer: {kind: clip}\n"
        "model: {preset: huge}\n"
        "optim:\n"
        "  max_lrr: 1e-3\n"
        "  max_lrr: 2e-3\n"
        "schedule: {warmup_frac: 2}\n"
        "train:\n"
        "  batch_size: true\n"
        "  budget: {}\n"
    )
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "run.yaml")
    told = {str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems}
    assert told == {
        "run.yaml:1: name must be letters, digits, '.', '_' and '-', beginning with a letter or digit, but is 'my run'",
        "run.yaml:3: data.source.kind must be scenes-v1, scenes, openmoji, webdataset, text-to-image-2m, folder or hf,"
        " but is 'scenesv1'"
        "; did you mean scenes-v1?",
        "run.yaml:2: data.store is missing; folder of the prepared set",
        "run.yaml:4: data.stor is unknown; did you mean store?",
        "run.yaml:5: data.image_size_px must be a valid integer, but is '48'",
        "run.yaml:7: model.preset must be seed or tiny, but is 'huge'",
        "run.yaml:8: optim.max_lr is missing; the learning rate's peak",
        "run.yaml:10: max_lrr stands here again, after " + f"{tmp_path}/run.yaml:9",
        "run.yaml:10: optim.max_lrr is unknown; did you mean max_lr?",
        "run.yaml:11: schedule.warmup_frac must be less than or equal to 1, but is 2",
        "run.yaml:13: train.batch_size must be a valid integer, but is true",
        "run.yaml:14: train.budget takes exactly one of epochs and samples",
    }


def test_mistakes_of_a_base_a_child_and_the_command_line_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE.replace("store", "stoer"))
    (tmp_path / "child.yaml").write_text("extends: base.yaml\noptim: {max_lr: fast}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "child.yaml", ["seed=-1", "train.batch"])
    places = {problem.where.removeprefix(f"{tmp_path}/") for problem in caught.value.problems}
    assert places == {"base.yaml:2", "base.yaml:4", "child.yaml:2", "--set seed=-1", "--set train.batch"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim: {max_lrr: 1}", "optim.max_lrr is unknown; did you mean max_lr?"),
        ("train: {batchsize: 1}", "train.batchsize is unknown; did you mean batch_size?"),
        ("modle: {preset: tiny}", "modle is unknown; did you mean model?"),
        ("max_lr: 1", "max_lr is unknown; did you mean optim.max_lr?"),
        ("weight_decy: 1", "weight_decy is unknown; did you mean optim.weight_decay?"),
        ("layers: 1", "layers is unknown; did you mean model.text.layers or model.vision.layers?"),
        ("train: {seed: 1}", "train.seed is unknown; did you mean seed, data.source.seed or data.split.seed?"),
        ("loss: {zzz: 1}", "loss.zzz is unknown; valid keys: kind"),
        (
            "data: {tokenizer: {kind: clip, vocab_size: 512}}",
            "data.tokenizer.vocab_size is unknown with kind clip; valid keys: kind",
        ),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_valid_one(tmp_path: Path, text: str, message: str) -> None:
    assert problems(tmp_path, text) == [f"child.yaml:2: {message}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim: {max_lr: fast}", "optim.max_lr must be a valid number, but is 'fast'"),
        ("optim: {max_lr: true}", "optim.max_lr must be a valid number, but is true"),
        ("optim: {max_lr: }", "optim.max_lr must be a valid number, but is empty"),
        ("optim: {max_lr: {start: 1}}", "optim.max_lr must be a valid number, but is a mapping"),
        ("optim: {max_lr: [1, 2]}", "optim.max_lr must be a valid number, but is [1, 2]"),
        ("seed: true", "seed must be a valid integer, but is true"),
        ("train: {batch_size: 12.5}", "train.batch_size must be a valid integer, but is 12.5"),
        ("train: {keep_best: 1}", "train.keep_best must be a valid boolean, but is 1"),
        ("hypothesis: 5", "hypothesis must be a text, but is 5; put it in quotes"),
        ("name: on", "name must be a text, but is true; put it in quotes"),
        ("hypothesis: {lr: faster}", "hypothesis must be a text, but is a mapping"),
        ("evals: [1]", "evals must be a mapping, but is [1]; its keys are num_examples, num_pairs"),
        ("evals:", "evals must be a mapping, but is empty; its keys are num_examples, num_pairs"),
        ("data: {source: openmoji}", "data.source must be a mapping, but is 'openmoji'; write {kind: openmoji}"),
        ("data: {source: 5}", "data.source must be a mapping, but is 5; write {kind: scenes-v1}"),
        ("train: {precision: bf61}", "train.precision must be fp32 or bf16, but is 'bf61'; did you mean bf16?"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_what_it_is(tmp_path: Path, text: str, message: str) -> None:
    assert problems(tmp_path, text) == [f"child.yaml:2: {message}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schedule: {warmup_frac: 1.5}", "schedule.warmup_frac must be less than or equal to 1, but is 1.5"),
        ("train: {budget: {samples: 0}}", "train.budget.samples must be greater than 0, but is 0"),
        ("train: {budget: {epochs: 0}}", "train.budget.epochs must be greater than 0, but is 0"),
        ("train: {budget: {epochs: 1, samples: 9}}", "train.budget takes exactly one of epochs and samples"),
        ("train: {budget: {}}", "train.budget takes exactly one of epochs and samples"),
        ("train: {batch_size: 1}", "train.batch_size must be greater than or equal to 2, but is 1"),
        ("model: {vision: {heads: 3}}", "model.vision.heads must divide width 128, but is 3"),
        ("model: {patch_size_px: 13}", "model.patch_size_px must divide image_size_px 48, but is 13"),
        (
            "data: {image_size_px: 32}",
            "data.image_size_px is 32, but model.image_size_px is 48: store pictures of that size or larger",
        ),
        (
            "data: {source: {kind: webdataset}}",
            "data.path is needed by source webdataset: the folder that holds the tars",
        ),
        ("optim: {max_lr: .inf}", "optim.max_lr must be a valid number, but is '.inf'"),
        ("optim: {max_lr: 1e999}", "optim.max_lr must be a finite number, but is inf"),
        ("optim: {max_lr: .nan}", "optim.max_lr must be a valid number, but is '.nan'"),
        ("train: {batch_size: 1e999}", "train.batch_size must be a valid integer, but is inf"),
    ],
)
def test_a_value_that_makes_no_sense_is_told_at_its_line(tmp_path: Path, text: str, message: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.split(": ", 1)[1] == message


def test_nan_in_plain_data_is_refused() -> None:
    with pytest.raises(SpecError, match=r"optim\.max_lr must be a finite number, but is nan"):
        resolve({"optim": {"max_lr": float("nan")}})


def test_checks_between_keys_are_told_beside_any_other_mistake(tmp_path: Path) -> None:
    text = (
        "data: {source: {kind: webdataset}, image_size_px: 32, colour: red}\n"
        "model: {patch_size_px: 13, colour: red}\n"
        "model: {vision: {heads: 3, colour: red}, patch_size_px: 13, colour: red}\n"
    )
    told = {problem.split(": ", 1)[1].split(" ")[0] for problem in problems(tmp_path, text)}
    assert told == {
        "data.path",
        "data.image_size_px",
        "data.colour",
        "model",
        "model.vision.heads",
        "model.vision.colour",
        "model.patch_size_px",
        "model.colour",
    }


def test_a_child_may_be_wrong_about_a_size_that_the_preset_sets(tmp_path: Path) -> None:
    assert problems(tmp_path, "name: x\ndata:\n  image_size_px: 32\n") == [
        "child.yaml:4: data.image_size_px is 32, but model.image_size_px is 48: store pictures of that size or larger"
    ]


def test_an_unknown_preset_is_told_alone_at_its_line_with_the_valid_ones(tmp_path: Path) -> None:
    assert problems(tmp_path, "name: x\nmodel: {preset: tinny}\n") == [
        "child.yaml:3: model.preset must be seed or tiny, but is 'tinny'; did you mean tiny?"
    ]


def test_a_source_without_a_kind_is_told_the_kinds() -> None:
    with pytest.raises(
        SpecError, match=r"data\.source\.kind is missing; it is scenes-v1, scenes, openmoji, webdataset"
    ):
        resolve({"data": {"source": {"num_pairs": 5}}})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.max_lrr=1", "optim.max_lrr is unknown; did you mean max_lr?"),
        ("lr=1", "lr is unknown; valid keys: "),
        ("optim.max_lr=", "optim.max_lr must be a valid number, but is empty"),
        ("optim.max_lr.peak=1", "optim.max_lr must be a valid number, but is a mapping"),
        ("optim={1: 2}", "optim.1 is unknown; valid keys: "),
        ("optim.max_lr", "takes dotted.path=value, such as optim.max_lr=1e-3"),
        ("=5", "takes dotted.path=value, such as optim.max_lr=1e-3"),
        ("optim..max_lr=1", "takes dotted.path=value, such as optim.max_lr=1e-3"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_with_its_flag(tmp_path: Path, override: str, message: str) -> None:
    (problem,) = problems(tmp_path, "", override)
    assert problem.startswith(f"--set {override}: {message}")


def test_a_key_missing_from_the_file_is_not_blamed_on_a_set_beside_it(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("\n".join(BASE.splitlines()[:11]))  # without the budget
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "run.yaml", ["train.batch_size=64", "seed=1"])
    assert str(caught.value) == f"{tmp_path}/run.yaml:10: train.budget is missing; how much training"
