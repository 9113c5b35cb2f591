"""`clipexp check`: what a spec comes to, by arithmetic and by what earlier runs took."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clipexp.cli import main
from clipexp.data.manifest import data_checksum, manifest_for
from clipexp.preview import OPENMOJI_TRAIN_PAIRS, TEXT_TO_IMAGE_2M_PAIRS, preview
from clipexp.spec.load import ResolvedRun, resolve
from clipexp.spec.run import spec_hash
from clipexp.track.kept import write_kept
from clipexp.track.processor import cpu_name
from clipexp.track.summary import cost_key

SPEC = """\
name: previewed
hypothesis: It works.
data:
  source: {kind: scenes-v1, num_pairs: 5_024}
  store: data/none
  image_size_px: 48
  tokenizer: {kind: trained, vocab_size: 1024}
model: {preset: tiny}
optim:
  max_lr: 1e-3
train:
  batch_size: 100
  budget: {epochs: 2}
  device: cpu
"""


@pytest.fixture
def spec(workplace: Path) -> Path:
    path = workplace / "spec.yaml"
    path.write_text(SPEC)
    return path


def check(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["check", "spec.yaml", "--json", *arguments])
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def write_summary(workplace: Path, run_id: str, **content: object) -> None:
    folder = workplace / "mlruns" / "journals" / run_id
    folder.mkdir(parents=True)
    write_kept(folder / "summary.json", content)


def test_json_has_every_key(spec: Path) -> None:
    assert check().keys() == {
        "name",
        "spec_hash",
        "store_problem",
        "values",
        "num_parameters",
        "train_flops_per_sample",
        "memory_bytes",
        "disk_bytes",
        "disk_free_bytes",
        "num_train_pairs",
        "num_train_pairs_basis",
        "num_steps",
        "budget_samples",
        "seconds",
        "seconds_basis_runs",
    }


def test_without_a_store_the_count_of_pairs_is_said_to_be_assumed(spec: Path) -> None:
    content = check()
    assert content["num_train_pairs"] == 4_000  # 5,024 less 1,024 for validation
    assert content["num_train_pairs_basis"] == "assumed: num_pairs less num_val"
    assert content["spec_hash"] is None
    assert "clipexp data prepare" in content["store_problem"]


def test_two_epochs_of_4000_pairs_are_80_steps_of_100(spec: Path) -> None:
    content = check()
    assert (content["budget_samples"], content["num_steps"]) == (8_000, 80)


@pytest.mark.parametrize(
    ("source", "pairs"), [("openmoji", OPENMOJI_TRAIN_PAIRS), ("webdataset", TEXT_TO_IMAGE_2M_PAIRS)]
)
def test_the_count_of_real_sources_is_assumed_too(spec: Path, source: str, pairs: int) -> None:
    content = check("--set", f"data.source.kind={source}", "--set", "data.path=tars")
    assert content["num_train_pairs"] == pairs
    assert content["num_train_pairs_basis"].startswith("assumed: ")


def test_tars_without_a_store_are_counted_by_their_size(spec: Path) -> None:
    Path("tars").mkdir()
    for number in range(2):
        with tarfile.open(f"tars/{number}.tar", "w") as tar:
            for key in range(600):
                for suffix in ("jpg", "json"):
                    tar.addfile(tarfile.TarInfo(f"{key:04d}.{suffix}"), None)
    content = check("--set", "data.source.kind=webdataset", "--set", "data.path=tars")
    assert content["num_train_pairs"] == pytest.approx(0.8 * 1200, rel=0.02)
    assert content["num_train_pairs_basis"].startswith("assumed: by the tars' size")


def test_the_shards_asked_for_are_counted_where_none_is_there(spec: Path) -> None:
    source = ("data.source.kind=text-to-image-2m", "data.source.num_shards=3", "data.path=tars")
    content = check(*(argument for setting in source for argument in ("--set", setting)))
    assert content["num_train_pairs"] == 150_000
    assert content["num_train_pairs_basis"].startswith("assumed: 3 shards")


def test_the_rows_of_a_table_are_counted(spec: Path) -> None:
    Path("photos").mkdir()
    Path("photos/t.csv").write_text("file_name,caption\n" + "0.jpg,a\n" * 1000)
    source = ("data.source.kind=folder", "data.source.table=t.csv", "data.path=photos")
    content = check(*(argument for setting in source for argument in ("--set", setting)))
    assert content["num_train_pairs"] == 800  # a fifth of them validates at most
    assert content["num_train_pairs_basis"] == "assumed: the rows of the table, less validation"


def test_with_a_store_the_count_and_the_identity_are_its_own(small_run: ResolvedRun) -> None:
    found = preview(small_run)
    manifest = manifest_for(small_run.spec.data)
    assert (found.num_train, found.num_train_basis) == (manifest.num_train, "in the store")
    assert found.spec_hash == spec_hash(small_run.spec, data_checksum(small_run.spec.data, 32))
    assert found.store_problem is None


def test_a_store_of_other_settings_is_a_problem_and_no_identity(small_run: ResolvedRun) -> None:
    content = small_run.spec.model_dump()
    content["data"]["encoding"] = "jpeg"
    found = preview(resolve(content))
    assert found.spec_hash is None
    assert "encoding is raw, the spec says jpeg" in (found.store_problem or "")


def test_every_value_says_where_it_is_from(spec: Path) -> None:
    values = check("--set", "seed=3")["values"]
    assert values["optim.max_lr"] == {"value": 0.001, "from": "spec.yaml:10"}
    assert values["seed"] == {"value": 3, "from": "--set seed=3"}
    assert values["model.vision.width"] == {"value": 128, "from": "preset tiny"}
    assert values["optim.beta1"] == {"value": 0.9, "from": "default"}


def test_without_an_earlier_run_there_is_no_time(spec: Path) -> None:
    content = check()
    assert (content["seconds"], content["seconds_basis_runs"]) == (None, 0)
    assert (
        "unknown: no earlier run of this cost on this device" in CliRunner().invoke(main, ["check", "spec.yaml"]).output
    )


def test_the_time_rests_on_the_median_of_earlier_runs_of_this_cost_and_device(spec: Path, workplace: Path) -> None:
    from clipexp.spec.load import load_spec

    key, device = cost_key(load_spec(spec).spec), f"{cpu_name()}, 2 threads"
    for run_id, rate in {"a": 100.0, "b": 400.0, "c": 1000.0}.items():
        write_summary(workplace, run_id, cost_key=key, device=device, samples_seen=20 * rate, duration_s=20.0)
    content = check()
    assert (content["seconds"], content["seconds_basis_runs"]) == (20.0, 3)  # 8,000 samples at 400/s
    text = CliRunner().invoke(main, ["check", "spec.yaml"]).output
    assert "about 20 s, by 3 earlier run(s) here" in text


@pytest.mark.parametrize(
    "differing",
    [{"cost_key": "another"}, {"device": "Another processor, 2 threads"}, {"duration_s": 9.0}],
    ids=["cost", "device", "no rate"],
)
def test_runs_of_another_cost_or_device_give_no_time(spec: Path, workplace: Path, differing: dict[str, Any]) -> None:
    from clipexp.spec.load import load_spec

    same = {
        "cost_key": cost_key(load_spec(spec).spec),
        "device": f"{cpu_name()}, 2 threads",
        "samples_seen": 2000,
        "duration_s": 20.0,
    }
    write_summary(workplace, "a", **(same | differing))
    assert check()["seconds"] is None


def test_the_cost_depends_on_the_batch_and_not_on_the_learning_rate(small_run: ResolvedRun) -> None:
    content = small_run.spec.model_dump()
    faster = {**content, "optim": {"max_lr": 1.0}}
    larger = {**content, "train": {**content["train"], "batch_size": 64}}
    assert cost_key(resolve(faster).spec) == cost_key(small_run.spec)
    assert cost_key(resolve(larger).spec) != cost_key(small_run.spec)


def test_the_text_tells_the_hypothesis_every_value_and_the_cost(spec: Path) -> None:
    lines = CliRunner().invoke(main, ["check", "spec.yaml"]).stdout.splitlines()
    assert lines[:2] == ["previewed: valid", "  It works."]
    assert any(line.split() == ["optim.max_lr", "0.001", "spec.yaml:10"] for line in lines)
    assert "budget          8,000 samples, 2 epochs, 80 steps" in lines
    assert "parameters      1.2 M" in lines
    assert "training pairs  4,000 (assumed: num_pairs less num_val)" in lines


def test_a_check_leaves_nothing_behind(spec: Path, workplace: Path) -> None:
    check()
    assert [path.name for path in workplace.iterdir()] == ["spec.yaml"]
