"""From files to a spec: extends, deep merge, `--set`, and where each value came from."""

from pathlib import Path

import pytest

from clipexp.errors import SpecError
from clipexp.spec.load import load_spec, resolve
from clipexp.spec.sources import OpenMojiSource, ScenesV1Source
from clipexp.spec.yaml_lines import dump

BASE = """\
name: base
data:
  source: {kind: scenes-v1, num_pairs: 5_000}
  store: data/scenes
  image_size_px: 48
  tokenizer: {kind: clip}
model: {preset: tiny}
optim:
  max_lr: 1e-3
train:
  batch_size: 128
  budget: {epochs: 2}
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text(BASE)
    return path


def child(base: Path, text: str, name: str = "child.yaml") -> Path:
    path = base.with_name(name)
    path.write_text(f"extends: base.yaml\n{text}")
    return path


def problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_spec(path, overrides)
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_a_file_gives_its_values_and_defaults_fill_the_rest(base: Path) -> None:
    spec = load_spec(base).spec
    assert (spec.name, spec.optim.max_lr, spec.optim.beta2, spec.train.budget.epochs) == ("base", 1e-3, 0.98, 2)


def test_a_hypothesis_is_about_the_experiment_of_its_own_name(base: Path) -> None:
    base.write_text(BASE + "hypothesis: it learns\n")
    assert load_spec(child(base, "seed: 1\n")).spec.hypothesis == "it learns"
    assert load_spec(child(base, "name: child\n")).spec.hypothesis == ""
    assert load_spec(base, ["name=other"]).spec.hypothesis == ""


def test_a_child_changes_what_it_names_and_keeps_the_rest(base: Path) -> None:
    spec = load_spec(child(base, "name: child\noptim: {weight_decay: 0.1}\n")).spec
    assert (spec.name, spec.optim.weight_decay, spec.optim.max_lr) == ("child", 0.1, 1e-3)


def test_the_last_of_a_chain_wins(base: Path) -> None:
    child(base, "seed: 1\noptim: {max_lr: 2e-3, eps: 1e-8}\n", "middle.yaml")
    last = base.with_name("last.yaml")
    last.write_text("extends: middle.yaml\noptim: {max_lr: 3e-3}\n")
    spec = load_spec(last).spec
    assert (spec.seed, spec.optim.max_lr, spec.optim.eps) == (1, 3e-3, 1e-8)


def test_the_later_of_several_bases_wins(base: Path) -> None:
    base.with_name("fast.yaml").write_text("seed: 1\noptim: {max_lr: 5e-3}\n")
    path = base.with_name("both.yaml")
    path.write_text("extends: [base.yaml, fast.yaml]\nseed: 2\n")
    spec = load_spec(path).spec
    assert (spec.seed, spec.optim.max_lr) == (2, 5e-3)


def test_a_base_is_found_beside_the_file_that_names_it(base: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "deep.yaml"
    path.write_text("extends: ../base.yaml\nseed: 3\n")
    assert load_spec(path).spec.seed == 3


def test_a_later_budget_replaces_the_earlier_one_whole(base: Path) -> None:
    budget = load_spec(child(base, "train: {budget: {samples: 96_000}}\n")).spec.train.budget
    assert (budget.epochs, budget.samples) == (None, 96_000)


def test_a_budget_on_the_command_line_replaces_that_of_the_file(base: Path) -> None:
    budget = load_spec(base, ["train.budget.samples=2e5"]).spec.train.budget
    assert (budget.epochs, budget.samples) == (None, 200_000)


def test_a_source_of_another_kind_replaces_the_base_source_whole(base: Path) -> None:
    assert load_spec(child(base, "data: {source: {kind: openmoji}}\n")).spec.data.source == OpenMojiSource(
        kind="openmoji"
    )


def test_a_source_of_the_same_kind_is_amended(base: Path) -> None:
    source = load_spec(child(base, "data: {source: {kind: scenes-v1, seed: 7}}\n")).spec.data.source
    assert source == ScenesV1Source(kind="scenes-v1", num_pairs=5_000, seed=7)


def test_null_in_a_child_takes_a_base_value_away(base: Path) -> None:
    assert load_spec(child(base, "optim: {grad_clip_norm: null}\n")).spec.optim.grad_clip_norm is None


@pytest.mark.parametrize(
    ("override", "section", "field", "value"),
    [
        ("optim.max_lr=3e-4", "optim", "max_lr", 3e-4),
        ("optim.max_lr=1", "optim", "max_lr", 1.0),
        ("train.batch_size=2.56e2", "train", "batch_size", 256),
        ("train.keep_best=false", "train", "keep_best", False),
        ("train.precision=bf16", "train", "precision", "bf16"),
        ("optim.grad_clip_norm=null", "optim", "grad_clip_norm", None),
        (" data.path = some/where=here", "data", "path", "some/where=here"),
    ],
)
def test_set_gives_a_value_its_type(base: Path, override: str, section: str, field: str, value: object) -> None:
    found = getattr(getattr(load_spec(base, [override]).spec, section), field)
    assert (type(found), found) == (type(value), value)


def test_the_later_set_wins_over_the_earlier_and_over_the_file(base: Path) -> None:
    assert load_spec(base, ["seed=1", "seed=2"]).spec.seed == 2


def test_set_takes_a_whole_section(base: Path) -> None:
    assert load_spec(base, ["schedule={decay: linear, warmup_frac: .5}"]).spec.schedule.warmup_frac == 0.5


def test_every_value_says_where_it_is_from(base: Path) -> None:
    resolved = load_spec(child(base, "optim:\n  eps: 1e-8\n"), ["seed=4"])
    origins = {key: resolved.origin(key).split("/")[-1] for key in ("optim.max_lr", "optim.eps", "optim.beta1", "seed")}
    assert origins == {
        "optim.max_lr": "base.yaml:9",
        "optim.eps": "child.yaml:3",
        "optim.beta1": "default",
        "seed": "--set seed=4",
    }


def test_values_of_a_preset_say_so_and_amendments_say_their_line(base: Path) -> None:
    resolved = load_spec(child(base, "model:\n  vision: {layers: 1}\n"))
    assert resolved.origin("model.vision.width") == "preset tiny"
    assert resolved.origin("model.vision.layers").endswith("child.yaml:3")


def test_plain_data_resolves_as_a_file_does(base: Path) -> None:
    spec = load_spec(base).spec
    assert resolve(spec.model_dump()).spec == spec


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["train.budget.samples=96_000"],
        ["optim.grad_clip_norm=null"],
        ["data.source={kind: webdataset}", "data.path=tars"],
        ["hypothesis='déjà vu: 1e-3 beats 3e-4, # perhaps'", "name='1e-3'"],
        ["model.preset=seed", "data.image_size_px=224", "model.vision.mlp_ratio=2"],
    ],
)
def test_the_resolved_yaml_loads_back_to_the_same_spec(base: Path, overrides: list[str]) -> None:
    spec = load_spec(base, overrides).spec
    again = base.with_name("resolved.yaml")
    again.write_text(dump(spec.model_dump(mode="json")))
    assert load_spec(again).spec == spec


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    assert problems(tmp_path / "gone.yaml") == [
        "gone.yaml: can't be read (No such file or directory); give the path of a spec file"
    ]


def test_a_folder_and_a_binary_file_are_no_specs(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    assert "(no text)" in problems(tmp_path / "picture.png")[0]
    (tmp_path / "folder").mkdir()
    assert "(Is a directory)" in problems(tmp_path / "folder")[0]


def test_a_missing_base_is_told_at_its_line_and_blamed_for_nothing_else(base: Path) -> None:
    path = base.with_name("child.yaml")
    path.write_text("name: child\nextends: bass.yaml\n")
    (problem,) = problems(path)
    assert problem.startswith("child.yaml:2: extends bass.yaml, but there is no file")


def test_a_circle_of_bases_is_told_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("name: b\nextends: a.yaml\n")
    assert problems(tmp_path / "a.yaml") == [
        "b.yaml:2: extends a.yaml in a circle: a.yaml -> b.yaml -> a.yaml; take one of them out"
    ]


def test_two_ways_to_the_same_base_are_no_circle(base: Path) -> None:
    child(base, "seed: 1\n", "left.yaml")
    child(base, "optim: {eps: 1e-8}\n", "right.yaml")
    path = base.with_name("diamond.yaml")
    path.write_text("extends: [left.yaml, right.yaml]\n")
    assert load_spec(path).spec.optim.eps == 1e-8


@pytest.mark.parametrize("value", ["5", "null", "{file: base.yaml}", "[base.yaml, 5]"])
def test_extends_takes_paths_only(base: Path, value: str) -> None:
    path = base.with_name("child.yaml")
    path.write_text(f"extends: {value}\n")
    assert problems(path) == ["child.yaml:1: extends takes a file's path, or a list of them"]


def test_broken_yaml_in_a_base_is_told_beside_a_mistake_in_the_child(base: Path) -> None:
    base.write_text("name: [base\n")
    found = problems(child(base, "sead: 4\n"))
    assert [problem.split(": ")[0] for problem in found] == ["base.yaml:2", "child.yaml:2"]
