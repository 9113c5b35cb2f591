"""The committed studies, their schema and their page of fields."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clipexp.spec.load import load_spec
from clipexp.spec.reference import STUDY_PAGE, study_reference_page
from clipexp.spec.schema import STUDY_SCHEMA_FILE, study_schema
from clipexp.spec.study_load import corners, load_study

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
NUM_PAIRS = 2_300_000


def test_the_lab_holds_its_three_studies() -> None:
    assert {path.stem for path in STUDIES} >= {"lr_warmup_batch", "quick", "run1_vs_run2"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_names_the_schema_says_what_it_expects_and_is_valid(path: Path) -> None:
    assert path.read_text().splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    study = load_study(path).for_pairs(NUM_PAIRS)
    assert study.spec.name == path.stem
    assert study.spec.hypothesis


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_corner_of_a_study_is_a_run_of_the_same_number_of_samples(path: Path) -> None:
    study = load_study(path).for_pairs(NUM_PAIRS)
    runs = [study.trial(values, name="corner").spec for values in corners(study)]
    assert len(runs) in (8, 20)
    sizes = {run.train.batch_size for run in runs}
    assert study.samples
    assert all(study.samples % size == 0 for size in sizes)


def test_quick_holds_the_quickstart_against_its_best() -> None:
    study = load_study(ROOT / "studies/quick.yaml")
    quickstart = load_spec(ROOT / "experiments/quickstart.yaml").spec
    (baseline,) = study.spec.baselines
    assert study.baseline_values(baseline) == {
        "optim.max_lr": quickstart.optim.max_lr,
        "schedule.warmup_frac": quickstart.schedule.warmup_frac,
        "train.batch_size": quickstart.train.batch_size,
    }


@pytest.mark.parametrize("name", ["run1", "run2"])
def test_the_baselines_of_lr_warmup_batch_are_the_runs_of_their_names(name: str) -> None:
    study = load_study(ROOT / "studies/lr_warmup_batch.yaml").for_pairs(NUM_PAIRS)
    (baseline,) = [baseline for baseline in study.spec.baselines if baseline.name == name]
    trial = study.trial(study.baseline_values(baseline), name=name).spec
    run = load_spec(ROOT / f"experiments/{name}.yaml").spec
    assert (trial.optim, trial.schedule, trial.train.batch_size) == (run.optim, run.schedule, run.train.batch_size)


def test_the_grid_of_run1_vs_run2_holds_both_runs_as_they_are() -> None:
    study = load_study(ROOT / "studies/run1_vs_run2.yaml")
    trials = [study.trial(values, name="trial").spec for values in corners(study)]
    fields = [trial.model_dump(exclude={"name", "hypothesis", "train"}) for trial in trials]
    for name in ("run1", "run2"):
        run = load_spec(ROOT / f"experiments/{name}.yaml").spec
        assert run.model_dump(exclude={"name", "hypothesis", "train"}) in fields
    assert {trial.train.budget.epochs for trial in trials} == {0.5}


def test_the_schema_of_studies_is_fresh() -> None:
    assert (ROOT / STUDY_SCHEMA_FILE).read_text() == study_schema(), "run: python -m clipexp.spec.schema"


def test_the_schema_of_studies_closes_every_mapping_and_says_what_each_key_means() -> None:
    schema: dict[str, Any] = json.loads(study_schema())
    for mapping in [schema, *schema["$defs"].values()]:
        fields = mapping["properties"]
        assert mapping["additionalProperties"] is False
        assert {key for key in fields if not {"description", "$ref"} & fields[key].keys()} <= {"kind"}
        assert "description" in mapping


def test_the_schema_of_studies_knows_the_paths_that_can_be_searched() -> None:
    paths = json.loads(study_schema())["properties"]["search"]["propertyNames"]["enum"]
    assert {"optim.max_lr", "schedule.warmup_frac", "train.batch_size", "model.vision.layers", "seed"} <= set(paths)


def test_the_page_of_study_fields_is_fresh() -> None:
    assert (ROOT / STUDY_PAGE).read_text() == study_reference_page(), "run: python -m clipexp.spec.reference"


def test_the_page_tells_the_fields_of_dimensions_and_baselines() -> None:
    rows = [line for line in study_reference_page().splitlines() if line.startswith("| `") and ".kind: " not in line]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert {"`search.PATH.low`", "`baselines[].values`", "`pruner.reduction`"} <= {row[0] for row in cells}
    assert [row for row in cells if not all(row)] == []


def test_loading_a_study_loads_nothing_heavy() -> None:
    heavy = ("optuna", "torch", "mlflow", "numpy", "pandas")
    program = (
        "import sys; from clipexp.spec.study_load import load_study; load_study('studies/quick.yaml');"
        f" print(*(name for name in {heavy} if name in sys.modules))"
    )
    child = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == ""
