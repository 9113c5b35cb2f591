"""The named points at which a run can be killed, and at which of its calls.

POINTS["between model and optimizer file"].strike(rng)  # {"at": "clipexp.train.tensor_file:write", "n": 3, ...}
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

When = Literal["before", "after", "half", "item"]
Scene = Literal["run", "restart", "empty", "old"]

FIRST = (1,)
SAVES = tuple(range(1, 11))
SECOND = (2,)


@dataclass(frozen=True)
class Point:
    """A place in the code.

    at: `module:function`. calls: which of its calls may be meant, all of which an undisturbed run makes. inside:
    another function; only calls inside it count. item: of a generator. scene: in a run, in one that goes on after a
    kill, in one that begins without a database, or in one that finds an older MLflow's.
    """

    at: str
    when: When
    calls: Sequence[int] = FIRST
    inside: str = ""
    item: Sequence[int] = FIRST
    scene: Scene = "run"

    def strike(self, rng: random.Random) -> dict[str, Any]:
        """A kill here, at one of the calls."""
        found = {"do": "kill", "at": self.at, "when": self.when, "n": rng.choice(self.calls)}
        if self.inside:
            found["inside"] = self.inside
        if self.when == "item":
            found["item"] = rng.choice(self.item)
        return found

    @property
    def counted(self) -> str:
        """Its name for counting calls."""
        return f"{self.at}<{self.inside}" if self.inside else self.at


def _both(name: str, at: str, calls: Sequence[int] = FIRST, inside: str = "", scene: Scene = "run") -> dict[str, Point]:
    """The points before and after a call."""
    return {f"{when} {name}": Point(at, when, calls, inside, scene=scene) for when in ("before", "after")}


CHECKPOINT, TRACK = "clipexp.train.checkpoint", "clipexp.track"
POINTS: Mapping[str, Point] = {
    **_both("a checkpoint is saved", f"{CHECKPOINT}:save", SAVES),
    "within a checkpoint's file": Point("clipexp.train.tensor_file:_pieces", "item", SAVES, item=(1, 2, 3, 5)),
    "between model and optimizer file": Point("clipexp.train.tensor_file:write", "after", tuple(range(1, 20, 2))),
    "after the optimizer file": Point("clipexp.train.tensor_file:write", "after", tuple(range(2, 21, 2))),
    **_both("a checkpoint gets its name", f"{CHECKPOINT}:_publish", SAVES, f"{CHECKPOINT}:save"),
    **_both("a rename in publishing", "pathlib:Path.rename", SAVES, f"{CHECKPOINT}:_publish"),
    **_both("a copy is kept as best", f"{CHECKPOINT}:keep_as_best", (1, 2, 3, 4, 5)),
    **_both("a link in keeping the best", "os:link", tuple(range(1, 16)), f"{CHECKPOINT}:keep_as_best"),
    **_both("a rename in keeping the best", "pathlib:Path.rename", tuple(range(1, 10)), f"{CHECKPOINT}:keep_as_best"),
    **_both("a removal in keeping the best", "shutil:rmtree", (1, 2, 3, 4), f"{CHECKPOINT}:keep_as_best"),
    **_both("old checkpoints are pruned", f"{CHECKPOINT}:prune", SAVES),
    **_both("a rename in pruning", "pathlib:Path.rename", tuple(range(1, 9)), f"{CHECKPOINT}:prune"),
    **_both("a removal in pruning", "shutil:rmtree", tuple(range(1, 9)), f"{CHECKPOINT}:prune"),
    **_both("an evaluation", "clipexp.evals.validation:FrozenValidation.run", (1, 2, 3, 4, 5, 6)),
    "inside an evaluation": Point(
        "clipexp.evals.validation:FrozenValidation._embed_batches", "after", (1, 2, 3, 4, 5, 6)
    ),
    "between log and evaluation": Point("clipexp.evals.validation:FrozenValidation.run", "before", (4, 6)),
    **_both("a step", "clipexp.train.training:Training.step", tuple(range(1, 31))),
    **_both("a journal line", f"{TRACK}.journal:Journal._write_rest", tuple(range(1, 29))),
    "between a journal line's copies": Point(f"{TRACK}.journal:_write_part", "after", tuple(range(1, 56, 2))),
    "within a journal line": Point(f"{TRACK}.journal:_write_part", "half", tuple(range(1, 57))),
    **_both("the journal is synced", f"{TRACK}.journal:Journal.sync", tuple(range(1, 12))),
    "between create_run and the header": Point(f"{TRACK}.mlflow_run:create", "after"),
    "before create_run": Point(f"{TRACK}.mlflow_run:create", "before"),
    **_both("the header is written", "clipexp.launch:write_header"),
    **_both("one of the header's copies", "pathlib:Path.replace", (1, 2), "clipexp.launch:write_header"),
    **_both("the lease is taken", "clipexp.launch:take"),
    **_both("the lease names its run", f"{TRACK}.lease:Lease.name_run"),
    **_both("points are sent", "mlflow:MlflowClient.log_batch", (1, 2, 3)),
    **_both("params are described", f"{TRACK}.mlflow_run:describe"),
    **_both("what was delivered is noted", f"{TRACK}.delivery:Delivery._note", (1, 2, 3, 4)),
    **_both("artifacts are sent", "mlflow:MlflowClient.log_artifacts", (1, 2, 3, 4)),
    **_both("an outbox is emptied", "shutil:rmtree", (1, 2, 3, 4), f"{TRACK}.delivery:Delivery.send_some"),
    **_both("the plots", "clipexp.closing:_plots"),
    **_both("the examples", "clipexp.closing:_examples"),
    **_both("the console log", "clipexp.closing:_console_log"),
    **_both("the summary", "clipexp.closing:_summary"),
    **_both("a rename in publishing artifacts", "pathlib:Path.replace", (1, 2, 3, 4, 5), "clipexp.runner:close_out"),
    **_both("the journal is packed", "clipexp.closing:pack"),
    **_both("the parquet gets its name", "pathlib:Path.replace", FIRST, f"{TRACK}.packed:write"),
    **_both("the parquet's checksum", "pathlib:Path.replace", SECOND, f"{TRACK}.packed:write"),
    **_both("the end's status", f"{TRACK}.mlflow_run:end"),
    **_both("the lease is released", f"{TRACK}.lease:Lease.release"),
    "between the lease's copies are removed": Point(
        "pathlib:Path.unlink", "after", FIRST, f"{TRACK}.lease:remove_kept"
    ),
    **_both("the database is made", f"{TRACK}.database:_make", scene="empty"),
    **_both("the database's tables", f"{TRACK}.database:_make_tables", scene="empty"),
    "while the database is made": Point(
        "alembic.operations:Operations.create_table", "after", (1, 3, 5, 8), scene="empty"
    ),
    **_both("the database is migrated", f"{TRACK}.database:_migrate", scene="old"),
    **_both("the old database is copied", "shutil:copyfile", FIRST, f"{TRACK}.database:_migrate", "old"),
    **_both("the copy is migrated", f"{TRACK}.database:_upgrade", scene="old"),
    **_both("the backup gets its name", "pathlib:Path.replace", FIRST, f"{TRACK}.database:_migrate", "old"),
    "before what a kill left is settled": Point("clipexp.settle:_settle_one", "before", scene="restart"),
    **_both("a lost run's end is told", f"{TRACK}.journal:Journal.append", scene="restart"),
    **_both("a lost run's points are sent", f"{TRACK}.delivery:Delivery.send_all", scene="restart"),
    **_both("a stale lease is removed", f"{TRACK}.lease:remove_kept", scene="restart"),
    **_both("a checkpoint is recovered", f"{CHECKPOINT}:recover", scene="restart"),
    **_both("the second attempt's first line", f"{TRACK}.journal:Journal.begin", scene="restart"),
}


def names(scene: Scene) -> list[str]:
    """The points of one scene."""
    return [name for name, point in POINTS.items() if point.scene == scene]
