"""The section `continue_from` of a spec: who has it has another identity, who has not keeps the one from before."""

from pathlib import Path
from typing import Any

import pytest

from clipexp.errors import SpecError
from clipexp.spec.base import result_fields
from clipexp.spec.load import load_spec, resolve
from clipexp.spec.run import RunSpec, group_hash, num_steps, spec_hash, start_samples, total_samples
from tests.small import small_content

STORE = "0" * 64
PARENT = {"spec_hash": "0123456789ab", "samples_seen": 640, "weights_sha256": "a" * 64}


def spec_with(parent: Any, **train: Any) -> RunSpec:
    return resolve({**small_content(Path("data/none"), **train), "continue_from": parent}).spec


def test_specs_without_it_keep_the_hash_that_they_had_before_it_was_there() -> None:
    spec = load_spec("experiments/quickstart.yaml").spec
    assert (spec_hash(spec, STORE), group_hash(spec, STORE)) == ("aaa5d04dd373", "18da98697e52")
    assert "continue_from" not in result_fields(spec)


@pytest.mark.parametrize(
    ("key", "value"), [("spec_hash", "0123456789ac"), ("samples_seen", 641), ("weights_sha256", "b" * 64)]
)
def test_each_of_its_keys_is_in_the_hash(key: str, value: Any) -> None:
    specs = [spec_with(parent, budget={"samples": 1280}) for parent in (None, PARENT, {**PARENT, key: value})]
    assert len({spec_hash(spec, STORE) for spec in specs}) == 3


def test_the_budget_is_the_whole_horizon_in_whole_batches_from_the_parent_s_end() -> None:
    spec = spec_with({**PARENT, "samples_seen": 650}, budget={"samples": 1000}, batch_size=32)
    assert (start_samples(spec), num_steps(spec, 99), total_samples(spec, 99)) == (650, 10, 970)
    assert total_samples(spec_with(None, budget={"samples": 1000}, batch_size=32), 99) == 31 * 32


@pytest.mark.parametrize(
    ("changed", "train", "message"),
    [
        ({}, {"budget": {"samples": 640}}, r"train\.budget\.samples is 640, but .* 640 already; raise it"),
        ({}, {"budget": {"samples": 100}}, r"train\.budget\.samples is 100, but continue_from\.samples_seen is 640"),
        ({}, {"budget": {"epochs": 3}}, r"train\.budget must be given in samples where continue_from is"),
        ({"spec_hash": "xyz"}, {}, r"continue_from\.spec_hash must be 12 hex digits in small letters, but is 'xyz'"),
        ({"weights_sha256": "A" * 64}, {}, r"continue_from\.weights_sha256 must be 64 hex digits"),
        ({"samples_seen": 0}, {}, r"continue_from\.samples_seen"),
        ({"weights": "a"}, {}, r"continue_from\.weights is unknown; did you mean weights_sha256\?"),
    ],
)
def test_what_is_wrong_with_it_is_said_at_its_key(changed: dict[str, Any], train: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_with({**PARENT, **changed}, **train)
