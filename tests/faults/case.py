"""One fault's play: its working directory, the commands that are started in it, and what is wrong with them.

case = Case(scene, folder, "fault-7")
first = case.run([strike])
case.expect(first, codes=(-9,))
case.finish()
"""

import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.forked import Child
from tests.faults.scene import PATIENCE_S, Scene, write_spec
from tests.faults.verdict import Place, Verdict, judge

MAX_RESTARTS = 4
KILLED, USER_ERROR, STOPPED = -9, 2, 130
TRACEBACK = "Traceback (most recent call last)"
OWED = "OWED to MLflow"
OWES_NOTHING = "MLflow is owed nothing"
SAMPLES_SEEN = re.compile(r'"samples_seen": (\d+)')
Strike = Mapping[str, Any]


class Case:
    """A working directory in which a run is disturbed."""

    def __init__(self, scene: Scene, folder: Path, name: str) -> None:
        self.scene = scene
        self.folder = folder
        self.name = name
        self.uri = ""  # of a server; else MLflow's store is in mlruns/
        self.server: Path | None = None  # that server's folder
        self.has_happened = True  # a fault without strikes sets it itself
        self.is_wrong_load = False
        self.allows_loss = False
        self.may_owe = False
        self.num_starts = 0
        self.problems: list[str] = []
        self.words: list[str] = []  # what happened, for the one line
        self._has_told_debt = False  # a slow machine may leave some, too
        self.undo: list[Callable[[], None]] = []
        self._children: list[Child] = []
        self._note = folder / "happened"
        write_spec(folder, scene.store, name)

    @property
    def mlruns(self) -> Path:
        """The run's folders."""
        return self.folder / "mlruns"

    @property
    def journal(self) -> Path:
        """The newest run's journal."""
        return max((self.mlruns / "journals").iterdir(), key=lambda path: path.stat().st_ctime)

    @property
    def checkpoints(self) -> Path:
        """The newest run's checkpoints."""
        return self.mlruns / "checkpoints" / self.journal.name

    def with_database(self) -> "Case":
        """Begin with an empty database."""
        if not (self.mlruns / "mlflow.db").exists():
            shutil.copytree(self.scene.empty, self.mlruns, dirs_exist_ok=True)
        return self

    def start(self, strikes: Sequence[Strike] = (), words: Sequence[str] = ("run", "run.yaml")) -> Child:
        """Start a command."""
        self.num_starts += 1
        environment = {"MLFLOW_TRACKING_URI": self.uri} if self.uri else {}
        plan = json.dumps({"strikes": list(strikes), "note": str(self._note)})
        self._children.append(self.scene.starter.start(self.folder, environment, [plan, *words]))
        return self._children[-1]

    def run(self, strikes: Sequence[Strike] = (), words: Sequence[str] = ("run", "run.yaml")) -> Child:
        """A command to its end."""
        child = self.start(strikes, words)
        self.wait(child)
        return child

    def wait(self, child: Child) -> None:
        """Wait for a command; one that hangs is a problem."""
        try:
            child.wait(PATIENCE_S)
        except TimeoutError as error:
            self.problems.append(f"HANGS: {error}")
        self._has_told_debt |= OWED in child.output()
        with (self.folder / "said.txt").open("a") as log:
            log.write(f"--- start {self.num_starts}: exit code {child.code}\n{child.output()}\n")

    def wait_until(self, child: Child, samples_seen: int) -> None:
        """Wait until the run's journal or console log has come to some samples, or the command has ended."""
        while not child.is_over() and self._samples_seen() < samples_seen:
            time.sleep(0.02)

    def _samples_seen(self) -> int:
        found = [0]
        for path in (self.mlruns / "journals").glob("*/events.jsonl"):
            found += [int(number) for number in SAMPLES_SEEN.findall(path.read_text(errors="replace"))]
        return max(found)

    def num_happened(self) -> int:
        """How many strikes have come."""
        return len(self._note.read_text().splitlines()) if self._note.exists() else 0

    def expect(self, child: Child, codes: Sequence[int], says: Sequence[str] = ()) -> None:
        """See that a command ended as it must: one of some codes, with some words, and no traceback."""
        output = child.output()
        if child.code not in codes:
            self.problems.append(f"exit code {child.code}, not {' or '.join(map(str, codes))}: {_end(output)}")
        if TRACEBACK in output:
            self.problems.append(f"a traceback: {_traceback(output)}")
        self.problems += [f"it does not say {text!r}: {_end(output)}" for text in says if text not in output]

    def finish(self) -> Verdict:
        """Start the same command until it ends by itself, have the rest delivered, and judge."""
        for _ in range(MAX_RESTARTS):
            child = self.run()
            self.expect(child, (0,))
            if child.code == 0:
                break
        child = self.run(words=("sync",))
        if (self.may_owe or self._has_told_debt) and OWES_NOTHING not in child.output():
            self.expect(child, (0,), ("delivered",))
            child = self.run(words=("sync",))
        self.expect(child, (0,), (OWES_NOTHING,))
        verdict = judge(self.scene, self._place())
        if self.allows_loss:
            verdict.num_lost = 0
            verdict.problems = [text for text in verdict.problems if "are not in" not in text]
        verdict.problems += self.problems
        verdict.num_wrong_loads += self.is_wrong_load
        return verdict

    def clean(self) -> None:
        """End what still runs, since the harness failed, and undo what the fault did to this machine."""
        for child in self._children:
            if child.code is None:
                child.signal(signal.SIGKILL)
                child.wait(10)
        self._children.clear()
        for undo in reversed(self.undo):
            undo()
        self.undo.clear()

    def _place(self) -> Place:
        root = self.server or self.mlruns
        return Place(self.mlruns, root / "mlflow.db", root / "artifacts", self.name)


def _traceback(output: str) -> str:
    """The line before the first traceback and the error that it ends with, in one line."""
    before, _, behind = output.partition(TRACEBACK)
    error = next((line for line in behind.splitlines()[1:] if line[:1].strip()), "")
    said = [line.strip()[:120] for line in before.splitlines() if line.strip()][-3:]
    return " | ".join([*said, TRACEBACK, error])[:600]


def _end(output: str) -> str:
    return " | ".join(line.strip() for line in output.strip().splitlines()[-4:])[-500:]
