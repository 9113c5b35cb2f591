"""What a person sees of a study while it goes on: a table on a terminal, lines elsewhere.

with SweepView(console, sweep) as view:
    for line in sweep.carry_out():
        view.show(line)
"""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from clipexp.study.driver import Driver
from clipexp.study.forecast import duration
from clipexp.study.jobs import Job
from clipexp.study.sweep import Sweep

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table

DRAW_EVERY_S, LINE_EVERY_S = 0.5, 60.0
NUM_BEST = 5


class SweepView:
    """Shows a study that is carried out."""

    def __init__(self, console: "Console", sweep: Sweep) -> None:
        self._console = console
        self._sweep = sweep
        self._live: Live | None = None
        self._drawn_s = 0.0
        self._said_s = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, line: str) -> None:
        """A line of the driver's; '' is an occasion to draw anew."""
        now_s = time.monotonic()
        if line:
            self._console.print(line, markup=False, soft_wrap=True)
        if self._live is not None:
            if line or now_s - self._drawn_s > DRAW_EVERY_S:
                self._drawn_s = now_s
                self._live.update(self._drawing(), refresh=True)
        elif not line and now_s - self._said_s > LINE_EVERY_S:
            self._said_s = now_s
            self._console.print(" | ".join(status_lines(self._sweep)), markup=False, soft_wrap=True)

    def _drawing(self) -> "Group":
        from rich.console import Group
        from rich.text import Text

        driver = self._sweep.driver
        table = _table(self._sweep)
        if driver is not None:
            for job in driver.job_by_seat.values():
                table.add_row(*_job_cells(job, self._sweep), style="cyan")
        for trial in best_trials(self._sweep):
            table.add_row(*_trial_cells(trial, self._sweep))
        return Group(table, *(Text(line) for line in status_lines(self._sweep)))


def best_trials(sweep: Sweep) -> "list[FrozenTrial]":
    """The best finished trials, best first."""
    return [sweep.book.trials()[number] for number in sweep.trials.best(NUM_BEST)]


def status_lines(sweep: Sweep) -> list[str]:
    """Where the study stands: counts, best so far, what is left."""
    states = [_state(trial) for trial in sweep.book.trials()]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states))]
    limit = sweep.plan.spec.budget.trials
    lines = [f"{sweep.plan.name}: {', '.join(counts) or 'begins'}{f' of {limit} trials' if limit else ''}"]
    best = best_trials(sweep)[:1]
    metric = sweep.plan.spec.objective.metric
    lines += [f"best so far: {metric} {trial.value:.4f} ({values_line(trial.user_attrs['values'])})" for trial in best]
    lines.append(_time_line(sweep, sweep.driver))
    return lines


def _time_line(sweep: Sweep, driver: Driver | None) -> str:
    words = [f"{duration(sweep.spending.wall_s)} so far"]
    if driver is not None and driver.phase == "confirmation":
        words.append("confirming the best over seeds")
    elif driver is not None and (found := driver.forecast()) is not None:
        words.append(f"left: {found.line(*sweep.plan.hours_unit)}")
    words += [f"{hours * 60:.1f} min of {name} left" for name, hours in sweep.spending.left().items()]
    if sweep.parent.trouble:
        words.append(f"MLFLOW DOES NOT TAKE the study's metrics ({sweep.parent.trouble}); they are sent again")
    return "; ".join(words)


def _table(sweep: Sweep) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("", *sweep.plan.spec.search, "samples", sweep.plan.spec.objective.metric, "state"):
        table.add_column(name, justify="right" if name else "left")
    return table


def _job_cells(job: Job, sweep: Sweep) -> list[str]:
    spec = job.resolved.spec.model_dump()
    values = [_at(spec, path) for path in sweep.plan.spec.search]
    share = job.samples_seen / job.total_samples if job.total_samples else 0.0
    value = f"{job.values[max(job.values)]:.4f}" if job.values else ""
    rate = f"{job.rate:,.0f} samples/s" if job.rate else (job.note or "starts")
    return [job.key, *map(str, values), f"{share:.0%}", value, rate]


def _trial_cells(trial: "FrozenTrial", sweep: Sweep) -> list[str]:
    values = [str(trial.user_attrs["values"].get(path, "")) for path in sweep.plan.spec.search]
    label = trial.user_attrs.get("baseline")
    name = f"trial {trial.number}" + (f" ({label})" if label else "")
    return [name, *values, f"{trial.user_attrs.get('samples_seen', 0):,}", f"{trial.value:.4f}", _state(trial)]


def _state(trial: "FrozenTrial") -> str:
    attrs = trial.user_attrs
    if "infeasible" in attrs:
        return "infeasible"
    names = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
    return names[trial.state.name]


def values_line(values: Mapping[str, object]) -> str:
    """Settings in a line."""
    return ", ".join(f"{path} {value}" for path, value in values.items())


def _at(content: object, path: str) -> object:
    for key in path.split("."):
        content = content.get(key, "") if isinstance(content, dict) else ""
    return content
