"""The spec itself: frozen, counted in samples, and identified by what affects its result."""

import os
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from clipexp.spec.base import result_fields
from clipexp.spec.load import resolve
from clipexp.spec.run import RunSpec, budget_samples, num_steps, spec_hash

CONTENT: dict[str, Any] = {
    "name": "first",
    "data": {
        "source": {"kind": "scenes-v1"},
        "store": "data/scenes",
        "image_size_px": 48,
        "tokenizer": {"kind": "trained"},
    },
    "model": {"preset": "tiny"},
    "optim": {"max_lr": 1e-3},
    "train": {"batch_size": 128, "budget": {"samples": 1_000}},
}


def amended(path: str, value: Any) -> RunSpec:
    """CONTENT with one value set at a dotted path."""
    *sections, last = path.split(".")
    content = section = {**CONTENT}
    for key in sections:
        section[key] = {**section.get(key, {})}
        section = section[key]
    section[last] = value
    return resolve(content).spec


def identity(spec: RunSpec) -> str:
    return spec_hash(spec, "0123456789abcdef")


SPEC = resolve(CONTENT).spec


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SPEC.optim.max_lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "second"),
        ("hypothesis", "none"),
        ("data.path", "elsewhere"),
        ("data.store", "data/moved"),
        ("train.device", "cpu"),
        ("train.log_every_samples", 1),
        ("train.eval_every_samples", 1),
        ("train.checkpoint_every_samples", 1),
        ("train.keep_last", 5),
        ("train.keep_best", False),
        ("evals.num_examples", 0),
        ("model.preset", None),
    ],
)
def test_what_leaves_the_result_alone_leaves_the_identity_alone(path: str, value: Any) -> None:
    spec = amended(path, value) if path != "model.preset" else resolve(spelled_out()).spec
    assert spec != SPEC
    assert identity(spec) == identity(SPEC)


def spelled_out() -> dict[str, Any]:
    model = SPEC.model.model_dump()
    del model["preset"]
    return {**CONTENT, "model": model}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 1),
        ("data.source", {"kind": "openmoji"}),
        ("data.source.num_pairs", 41_000),
        ("data.source.seed", 1),
        ("data.tokenizer.vocab_size", 4096),
        ("data.tokenizer", {"kind": "clip"}),
        ("data.encoding", "jpeg"),
        ("data.split.num_val", 512),
        ("data.split.seed", 1),
        ("data.captions", "sample"),
        ("data.shuffle", "none"),
        ("data.augment", "random_resized_crop"),
        ("model.embed_dim", 64),
        ("model.patch_size_px", 16),
        ("model.context_length", 16),
        ("model.vision.layers", 4),
        ("model.text.mlp_ratio", 2.0),
        ("optim.max_lr", 2e-3),
        ("optim.weight_decay", 0.0),
        ("optim.beta1", 0.8),
        ("optim.beta2", 0.99),
        ("optim.eps", 1e-8),
        ("optim.grad_clip_norm", None),
        ("schedule.warmup_frac", 0.1),
        ("schedule.decay", "linear"),
        ("schedule.min_lr_frac", 0.0),
        ("train.batch_size", 64),
        ("train.budget", {"samples": 1_001}),
        ("train.budget", {"epochs": 1}),
        ("train.precision", "bf16"),
        ("evals.num_pairs", 512),
    ],
)
def test_what_affects_the_result_changes_the_identity(path: str, value: Any) -> None:
    assert identity(amended(path, value)) != identity(SPEC)


def test_another_prepared_set_is_another_experiment() -> None:
    assert spec_hash(SPEC, "0123") != spec_hash(SPEC, "0124")


def test_the_way_a_number_is_written_is_no_part_of_the_identity() -> None:
    whole = amended("train.budget", {"epochs": 2})
    assert identity(whole) == identity(amended("train.budget", {"epochs": 2.0}))
    assert identity(amended("train.budget", {"samples": 1e3})) == identity(SPEC)


def test_the_order_of_keys_is_no_part_of_the_identity() -> None:
    turned = {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value
        for key, value in reversed(CONTENT.items())
    }
    assert next(iter(turned)) == "train"
    assert identity(resolve(turned).spec) == identity(SPEC)


def test_the_identity_is_the_same_in_every_process() -> None:
    program = (
        "import sys; from clipexp.spec.run import *; print(spec_hash(RunSpec.model_validate_json(sys.argv[1]), 'a'))"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program, SPEC.model_dump_json()],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert hashes == {spec_hash(SPEC, "a")}


def test_an_identity_is_twelve_hex_digits() -> None:
    assert len(identity(SPEC)) == 12
    assert int(identity(SPEC), 16) >= 0


def test_fields_of_the_result_hold_no_paths_and_no_names() -> None:
    fields = result_fields(SPEC)
    assert "name" not in fields
    assert {"path", "store"}.isdisjoint(fields["data"])
    assert fields["optim"]["max_lr"] == 1e-3


@pytest.mark.parametrize(
    ("budget", "samples", "steps"),
    [
        ({"samples": 1_000}, 1_000, 7),  # 7 x 128 = 896
        ({"samples": 1_024}, 1_024, 8),
        ({"samples": 5}, 5, 1),  # a run has one step at least
        ({"epochs": 2}, 1_000, 7),
        ({"epochs": 0.5}, 250, 1),
        ({"epochs": 0.0001}, 0, 1),
    ],
)
def test_a_budget_pays_for_whole_batches(budget: dict[str, float], samples: int, steps: int) -> None:
    spec = amended("train.budget", budget)
    assert (budget_samples(spec, 500), num_steps(spec, 500)) == (samples, steps)


def test_a_budget_in_samples_does_not_depend_on_the_set() -> None:
    assert num_steps(SPEC, 10) == num_steps(SPEC, 10_000_000) == 7


def test_clip_s_vocabulary_has_49408_entries() -> None:
    assert amended("data.tokenizer", {"kind": "clip"}).data.tokenizer.vocab_size == 49_408
