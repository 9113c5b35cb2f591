"""What came of a fault: the run as disk and MLflow's database show it, held against the one that nobody disturbed.

verdict = judge(scene, workplace, name)
verdict.num_lost, verdict.num_doubled, verdict.bits_equal
"""

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from clipexp.track.kept import read_kept
from tests.faults.scene import Points, Scene, model_of, points_of

REASON_TAG = "clipexp.stop_reason"
ARTIFACTS = {"spec/resolved.yaml", "plots/curves.svg", "examples/examples.json", "console/console.log"}
LONGEST_S = 600.0


@dataclass
class Verdict:
    """The difference from the undisturbed run, in numbers; `problems` says each in words."""

    num_lost: int = 0
    num_doubled: int = 0
    num_wrong_values: int = 0
    num_wrong_states: int = 0
    num_wrong_loads: int = 0
    bits_equal: bool = True
    problems: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether the fault left no trace."""
        numbers = (self.num_lost, self.num_doubled, self.num_wrong_values, self.num_wrong_states, self.num_wrong_loads)
        return self.bits_equal and not any(numbers) and not self.problems

    def tell(self, problem: str) -> None:
        """Add a problem."""
        self.problems.append(problem)


@dataclass(frozen=True)
class Place:
    """Where a fault played: its `mlruns/`, MLflow's database and artifacts, and the run's name there."""

    mlruns: Path
    database: Path
    artifacts: Path
    name: str


def judge(scene: Scene, place: Place) -> Verdict:
    """Hold a run that has ended against the undisturbed one."""
    verdict = Verdict()
    rows = _query(place.database, "select run_uuid, status from runs where name = ?", place.name)
    finished = [run_id for run_id, status in rows if status == "FINISHED"]
    wrong = [f"{run_id[:8]} {status}" for run_id, status in rows if status == "RUNNING"]
    if len(finished) != 1 or wrong:
        verdict.num_wrong_states += abs(len(finished) - 1) + len(wrong)
        verdict.tell(f"MLflow has runs {[(run_id[:8], status) for run_id, status in rows]}")
    if not finished:
        verdict.bits_equal = False
        verdict.num_lost += len(scene.reference.points)
        return verdict
    run_id = finished[0]
    points = _judge_journal(scene, place, run_id, verdict)
    _judge_history(place, run_id, points, verdict)
    _judge_run(scene, place, run_id, verdict)
    _judge_leftovers(place, run_id, verdict)
    verdict.bits_equal = model_of(place.mlruns / "checkpoints" / run_id) == scene.reference.model
    return verdict


def _query(database: Path, words: str, *values: object) -> list[tuple[object, ...]]:
    if not database.exists():
        return []
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        return connection.execute(words, values).fetchall()


def _judge_journal(scene: Scene, place: Place, run_id: str, verdict: Verdict) -> Points:
    journal = place.mlruns / "journals" / run_id
    points, num_doubled = points_of(journal)
    wanted = scene.reference.points
    if missing := wanted.keys() - points.keys():
        verdict.num_lost += len(missing)
        verdict.tell(f"{len(missing)} points are not in the journal, such as {min(missing)}")
    if num_doubled:
        verdict.num_doubled += num_doubled
        verdict.tell(f"{num_doubled} points are doubled in the journal")
    if more := points.keys() - wanted.keys():
        verdict.num_wrong_values += len(more)
        verdict.tell(f"{len(more)} points too many in the journal, such as {min(more)}")
    different = [at for at in wanted.keys() & points.keys() if not _is_system(at[0]) and points[at] != wanted[at]]
    if different:
        verdict.num_wrong_values += len(different)
        verdict.tell(f"{len(different)} values differ from the undisturbed run's, such as {min(different)}")
    duration_s = read_kept(journal / "summary.json").get("duration_s", -1.0)
    if not 0 < duration_s < LONGEST_S:
        verdict.tell(f"the summary's duration is {duration_s:.1f} s")
    return points


def _is_system(metric: str) -> bool:
    return metric.startswith("system/")


def _judge_history(place: Place, run_id: str, points: Points, verdict: Verdict) -> None:
    """Hold MLflow's metrics against the journal: each step once, and but for the machine's state the same value."""
    rows = _query(place.database, "select key, step, value from metrics where run_uuid = ?", run_id)
    times = Counter((key, step) for key, step, _ in rows)
    if missing := points.keys() - times.keys():
        verdict.num_lost += len(missing)
        verdict.tell(f"{len(missing)} points are not in MLflow, such as {min(missing)}")
    if doubled := [at for at, number in times.items() if number > 1]:
        verdict.num_doubled += len(doubled)
        verdict.tell(f"{len(doubled)} points are doubled in MLflow, such as {min(doubled)}")
    if more := times.keys() - points.keys():
        verdict.num_lost += len(more)
        verdict.tell(f"{len(more)} points of MLflow are not in the journal, such as {min(more)}")
    value_by_at = {(key, step): value for key, step, value in rows if not _is_system(str(key))}
    different = [at for at in value_by_at.keys() & points.keys() if value_by_at[at] != points[at]]
    if different:
        verdict.num_wrong_values += len(different)
        verdict.tell(f"{len(different)} values in MLflow are not the journal's, such as {different[0]}")
    latest = dict(_query(place.database, "select key, step from latest_metrics where run_uuid = ?", run_id))  # type: ignore[arg-type]
    last: dict[str, int] = {}
    for key, step in points:
        last[key] = max(last.get(key, 0), step)
    if latest != last and not missing:
        verdict.tell("MLflow's latest values are not those of the last steps")


def _judge_run(scene: Scene, place: Place, run_id: str, verdict: Verdict) -> None:
    """Params, tags, artifacts and times in MLflow."""
    tags = dict(_query(place.database, "select key, value from tags where run_uuid = ?", run_id))  # type: ignore[arg-type]
    if tags.get(REASON_TAG) != "finished":
        verdict.num_wrong_states += 1
        verdict.tell(f"MLflow's stop reason is {tags.get(REASON_TAG)}")
    params = dict(_query(place.database, "select key, value from params where run_uuid = ?", run_id))  # type: ignore[arg-type]
    wrong = [key for key, value in scene.reference.params.items() if key != "data.store" and params.get(key) != value]
    if wrong:
        verdict.tell(f"params are missing or wrong: {wrong[:5]}")
    if not _query(place.database, "select 1 from inputs where destination_id = ?", run_id):
        verdict.tell("the dataset is missing")
    folder = next(place.artifacts.rglob(f"{run_id}/artifacts"), place.artifacts / run_id)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if missing := ARTIFACTS - there:
        verdict.tell(f"artifacts are missing: {sorted(missing)}")


def _judge_leftovers(place: Place, run_id: str, verdict: Verdict) -> None:
    mlruns = place.mlruns
    journal = mlruns / "journals" / run_id
    left = [path for pattern in ("*.json", "*.copy", "*.tmp", "*.now") for path in (mlruns / "leases").glob(pattern)]
    left += [path for pattern in ("*.tmp", "*.old") for path in (mlruns / "checkpoints").rglob(pattern)]
    left += [*journal.glob("*.tmp"), *journal.glob("outbox/*"), *journal.glob("outbox/.*")]
    left += [path for path in mlruns.glob(".mlflow.db.*") if not path.name.endswith(".lock")]
    if left:
        verdict.tell(f"left behind: {[path.relative_to(mlruns).as_posix() for path in left]}")
    if not (journal / "events.parquet").exists():
        verdict.tell("the finished journal was not packed")
