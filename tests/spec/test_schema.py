"""experiments/schema.json, and the experiments that name it."""

import json
from pathlib import Path
from typing import Any

import pytest

from clipexp.spec.load import load_spec
from clipexp.spec.schema import experiment_schema
from clipexp.track.mlflow_run import flatten

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))


def differing(first: str, second: str) -> set[str]:
    dumps = [flatten(load_spec(ROOT / f"experiments/{name}.yaml").spec.model_dump()) for name in (first, second)]
    return {key for key in dumps[0] | dumps[1] if dumps[0].get(key) != dumps[1].get(key)}


def test_the_schema_is_fresh() -> None:
    assert (ROOT / "experiments/schema.json").read_text() == experiment_schema(), "python -m clipexp.spec.schema"


def test_the_schema_knows_extends_and_closes_every_mapping() -> None:
    schema: dict[str, Any] = json.loads(experiment_schema())
    assert "extends" in schema["properties"]
    mappings = [schema, *schema["$defs"].values()]
    assert all(mapping["additionalProperties"] is False for mapping in mappings)
    assert not any("required" in mapping for mapping in mappings)


def test_every_key_of_the_schema_says_what_it_means() -> None:
    schema = json.loads(experiment_schema())
    for mapping in [schema, *schema["$defs"].values()]:
        fields = mapping["properties"]
        assert {key for key in fields if not {"description", "$ref"} & fields[key].keys()} <= {"kind"}
        assert "description" in mapping


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_names_the_schema_and_is_valid(path: Path) -> None:
    assert path.read_text().splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    assert load_spec(path).spec.name == path.stem


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_says_what_it_expects(path: Path) -> None:
    assert load_spec(path).spec.hypothesis or path.stem == "run-base"


def test_the_schema_of_its_folder_holds_the_experiments_of_the_lab() -> None:
    assert {"quickstart", "run1", "run2", "run3"} <= {path.stem for path in EXPERIMENTS}


def test_run2_differs_from_run1_in_learning_rate_and_warmup_only() -> None:
    assert differing("run1", "run2") == {"name", "hypothesis", "optim.max_lr", "schedule.warmup_frac"}


def test_run3_differs_from_run1_in_its_budget_only() -> None:
    assert differing("run1", "run3") == {"name", "hypothesis", "train.budget.epochs"}


def test_run3_trains_four_times_as_long_as_run1() -> None:
    epochs = [load_spec(ROOT / f"experiments/{name}.yaml").spec.train.budget.epochs for name in ("run1", "run3")]
    assert epochs == [0.5, 2]
