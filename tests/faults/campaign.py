"""Many faults, some at a time, each drawn from a seed of its own.

with Campaign(folder) as campaign:
    results = campaign.carry_out(range(100))
"""

import json
import random
import shutil
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from tests.faults.case import Case
from tests.faults.forked import Fresh, Nursery
from tests.faults.scene import Scene, make_scene
from tests.faults.server import stop_server
from tests.faults.table import KINDS
from tests.faults.verdict import Verdict


@dataclass(frozen=True)
class Play:
    """A fault that is to be played."""

    seed: int
    kind: str
    params: dict[str, Any]


def draw_play(seed: int, kind: str | None = None) -> Play:
    """The fault of one seed, of any kind unless one is named."""
    rng = random.Random(seed)
    drawn = rng.choices(list(KINDS), [found.weight for found in KINDS.values()])[0]
    name = kind or drawn
    return Play(seed, name, KINDS[name].draw(rng))


@dataclass(frozen=True)
class Result:
    """One fault and what came of it."""

    seed: int
    kind: str
    params: dict[str, Any]
    has_happened: bool
    num_starts: int
    words: str
    verdict: Verdict

    @property
    def is_good(self) -> bool:
        """Whether it left no trace. One that did not happen is told, and is no failure."""
        return self.verdict.is_good

    def line(self) -> str:
        """All of it in one line."""
        v = self.verdict
        state = "ok" if self.is_good else "FAILED"
        happened = "" if self.has_happened else "; NOT REACHED"
        told = f"; {self.words}" if self.words else ""
        problems = "".join(f"\n      {problem}" for problem in v.problems)
        return (
            f"{self.seed:>6} {state:<6} {self.kind} {json.dumps(self.params)}: {self.num_starts - 2} restarts,"
            f" {v.num_lost} lost, {v.num_doubled} doubled, {v.num_wrong_values} wrong values,"
            f" {v.num_wrong_states} wrong states, bits {'equal' if v.bits_equal else 'DIFFER'}"
            f"{happened}{told}{problems}"
        )


class Campaign:
    """A scene, and faults played in it."""

    def __init__(self, folder: Path, *, is_fresh: bool = False, counted: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self._is_fresh = is_fresh
        self._counted = counted

    def __enter__(self) -> Self:
        self._starter = Fresh() if self._is_fresh else Nursery(self.folder)
        self._starter.__enter__()
        try:
            self.scene: Scene = make_scene(self.folder, self._starter, self._counted)
        except BaseException:
            self._starter.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        stop_server(self.folder / "server")
        self._starter.__exit__(kind, error, tb)

    def carry_out(self, plays: Sequence[Play], num_parallel: int = 2) -> list[Result]:
        """Play faults, printing a line each."""

        def one(play: Play) -> Result:
            result = self.play(play)
            click.echo(result.line())
            return result

        with ThreadPoolExecutor(num_parallel) as pool:
            return list(pool.map(one, plays))

    def play(self, play: Play) -> Result:
        """One fault, and what comes of it."""
        seed, kind, params = play.seed, play.kind, play.params
        folder = self.folder / f"fault-{seed}-{kind.replace(' ', '-')}"
        shutil.rmtree(folder, ignore_errors=True)
        case = Case(self.scene, folder, folder.name)  # runs on one server are told apart by their names
        try:
            KINDS[kind].act(case, params)
            verdict = case.finish()
        except Exception:  # noqa: BLE001 (a fault that breaks the harness is told with the others)
            verdict = Verdict(problems=[*case.problems, f"the harness failed: {traceback.format_exc()}"])
        finally:
            case.clean()
        result = Result(seed, kind, params, case.has_happened, case.num_starts, "; ".join(case.words), verdict)
        if result.is_good:
            shutil.rmtree(folder)
        return result


def totals(results: Sequence[Result]) -> dict[str, int]:
    """What is wrong over all faults."""
    verdicts = [result.verdict for result in results]
    return {
        "points lost": sum(v.num_lost for v in verdicts),
        "points doubled": sum(v.num_doubled for v in verdicts),
        "wrong values": sum(v.num_wrong_values for v in verdicts),
        "wrong states": sum(v.num_wrong_states for v in verdicts),
        "checkpoints loaded wrongly without an error": sum(v.num_wrong_loads for v in verdicts),
        "runs whose final bits differ": sum(not v.bits_equal for v in verdicts),
        "faults with other problems": sum(bool(v.problems) for v in verdicts),
    }


def print_summary(results: Sequence[Result], minutes: float) -> None:
    """The figures for a person."""
    not_reached = [result.seed for result in results if not result.has_happened]
    click.echo(f"\n{len(results)} faults in {minutes:.1f} minutes")
    for name, number in totals(results).items():
        click.echo(f"  {name}: {number}")
    click.echo(f"  not reached: {len(not_reached)}{f' (seeds {not_reached})' if not_reached else ''}")
    if failed := [result.seed for result in results if not result.is_good]:
        click.echo(f"  failed seeds: {failed}")


def write_json(path: Path, results: Sequence[Result], seed: int, minutes: float) -> None:
    """The figures for a report, with the counts a kind."""
    basis = f"{len(results)} random faults from seed {seed}, in {minutes:.1f} minutes"
    rows: list[dict[str, Any]] = [
        {"name": name, "value": number, "unit": "", "basis": basis} for name, number in totals(results).items()
    ]
    rows.append({"name": "seed", "value": seed, "unit": "", "basis": basis})
    rows.append({"name": "not reached", "value": sum(not r.has_happened for r in results), "unit": "", "basis": basis})
    for kind, number in Counter(result.kind for result in results).items():
        num_bad = sum(not result.is_good for result in results if result.kind == kind)
        rows.append(
            {"name": f"faults: {kind}", "value": number, "unit": "", "basis": f"{num_bad} of them left a trace"}
        )
    path.write_text(json.dumps(rows, indent=1) + "\n")
