"""What all faults share: a small prepared store, an empty database, and the run that nobody disturbed.

scene = make_scene(folder, starter)
scene.reference.points["train/loss", 96]
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clipexp.track.journal import live_records
from tests.faults.child import ENVIRONMENT
from tests.faults.forked import Fresh, Nursery
from tests.small import small_content

Points = Mapping[tuple[str, int], float]
BATCH_SIZE, NUM_STEPS = 32, 30
PATIENCE_S = 180.0


@dataclass(frozen=True)
class Reference:
    """The run that was never disturbed. `points`: by metric and samples seen. `counts`: calls by function."""

    folder: Path
    points: Points
    model: bytes
    params: Mapping[str, str]
    duration_s: float
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Scene:
    """Where faults play."""

    folder: Path
    starter: "Nursery | Fresh"
    reference: Reference

    @property
    def store(self) -> Path:
        """The prepared set."""
        return self.folder / "store"

    @property
    def empty(self) -> Path:
        """An empty `mlruns/`, its database made."""
        return self.folder / "empty" / "mlruns"


def content(store: Path, name: str) -> dict[str, Any]:
    """A run with all that is random, whose log, validations and checkpoints come at 3, 7 and 5 steps."""
    found = small_content(
        store,
        budget={"samples": NUM_STEPS * BATCH_SIZE},
        log_every_samples=3 * BATCH_SIZE,
        eval_every_samples=7 * BATCH_SIZE,
        checkpoint_every_samples=5 * BATCH_SIZE,
    )
    found["data"] |= {"augment": "random_resized_crop", "captions": "sample"}
    return {**found, "name": name}


def write_spec(folder: Path, store: Path, name: str) -> None:
    """`run.yaml` in a working directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.yaml").write_text(yaml.safe_dump(content(store, name)))


def make_scene(folder: Path, starter: "Nursery | Fresh", counted: tuple[str, ...] = ()) -> Scene:
    """Prepare the store and carry out the undisturbed run. `counted`: functions whose calls it counts."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    store, empty, undisturbed = folder / "store", folder / "empty", folder / "undisturbed"
    write_spec(empty, store, "empty")
    _carry_out(starter, empty, {}, "data", "prepare", "run.yaml")
    _carry_out(starter, empty, {}, "runs")
    write_spec(undisturbed, store, "undisturbed")
    shutil.copytree(empty / "mlruns", undisturbed / "mlruns")
    counts_file = folder / "counts"
    duration_s = _carry_out(starter, undisturbed, {"count": counted, "counts": str(counts_file)}, "run", "run.yaml")
    lines = counts_file.read_text().splitlines() if counted else []
    journal = next((undisturbed / "mlruns" / "journals").iterdir())
    header = json.loads((journal / "run.json").read_text())
    reference = Reference(
        folder=undisturbed,
        points=points_of(journal)[0],
        model=model_of(undisturbed / "mlruns" / "checkpoints" / journal.name),
        params=header["params"],
        duration_s=duration_s,
        counts={line: lines.count(line) for line in set(lines)},
    )
    return Scene(folder, starter, reference)


def _carry_out(starter: "Nursery | Fresh", cwd: Path, plan: Mapping[str, Any], *words: str) -> float:
    child = starter.start(cwd, {}, [json.dumps(plan), *words])
    if child.wait(PATIENCE_S):
        raise OSError(f"clipexp {' '.join(words)} failed without any fault:\n{child.output()}")
    return child.ended_s - child.started_s


def points_of(journal: Path) -> tuple[dict[tuple[str, int], float], int]:
    """The points of a journal's live records, and how many stand there more than once."""
    found: dict[tuple[str, int], float] = {}
    num_doubled = 0
    for record in live_records(journal):
        for metric, value in record.get("metrics", {}).items():
            num_doubled += (metric, record["samples_seen"]) in found
            found[metric, record["samples_seen"]] = value
    return found, num_doubled


def model_of(checkpoints: Path) -> bytes:
    """The last checkpoint's model file, by its sha256; empty where there is none."""
    found = sorted(path for path in checkpoints.glob("samples-*") if path.name[len("samples-") :].isdigit())
    return hashlib.sha256((found[-1] / "model.safetensors").read_bytes()).digest() if found else b""
