"""`clipexp sweep` on the console."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clipexp.console import end_lines, make_console, show_panel
from clipexp.data.manifest import PREPARE
from clipexp.errors import StoreError, StudyError
from clipexp.space import free_bytes, mb
from clipexp.spec.study_load import load_study
from clipexp.stops import Stops
from clipexp.study.extend import parse_count, parse_horizon
from clipexp.study.forecast import forecast
from clipexp.study.linked import linked_plan
from clipexp.study.plan import Plan, PlanOptions, make_plan
from clipexp.study.preview import first_suggestions
from clipexp.study.space import values_from_params
from clipexp.study.storage import shown
from clipexp.study.sweep import Sweep, look, open_sweep
from clipexp.study.telling import tell
from clipexp.sweep_view import SweepView, best_trials, values_line

if TYPE_CHECKING:
    from rich.console import Console

EXIT_INTERRUPTED = 130
NUM_SHOWN = 5


@dataclass(frozen=True)
class SweepOptions:
    """What `clipexp sweep` is asked for beside the study; see its help. `name`: another one for the study."""

    overrides: Sequence[str] = ()
    dry_run: bool = False
    name: str | None = None
    plan: PlanOptions = field(default_factory=PlanOptions)
    extend: str | None = None
    horizon: str | None = None

    def words(self, path: Path) -> str:
        """The command, to be typed again."""
        plan = self.plan
        given = {
            "--as": self.name,
            "--workers": plan.num_workers,
            "--extend": self.extend,
            "--budget": self.horizon,
            "--storage": shown(plan.storage) if plan.storage else None,
            "--tracking-uri": plan.tracking,
        }
        words = ["clipexp", "sweep", str(path), *(word for text in self.overrides for word in ("--set", text))]
        return shlex.join([*words, *(str(word) for name, value in given.items() if value for word in (name, value))])


def sweep_on_console(path: Path, options: SweepOptions) -> int:
    """Carry out a study before a person's eyes; returns the exit code."""
    if (options.extend is None) != (options.horizon is None):
        raise StudyError("--extend top3 and --budget SAMPLES go together: which trials go on, and to what horizon")
    console = make_console()
    renaming = [f"name={options.name}"] if options.name and options.extend is None else []
    study = load_study(path, [*options.overrides, *renaming])
    try:
        plan = make_plan(study, options.plan)
    except StoreError as error:
        base = shlex.quote(os.path.normpath(path.parent / study.spec.base))
        raise StoreError(str(error).replace(PREPARE, PREPARE.replace("SPEC", base))) from error
    if options.extend is not None and options.horizon is not None:
        horizon = parse_horizon(options.horizon, plan.total_samples)
        plan = linked_plan(plan, parse_count(options.extend), horizon, options.name)
    for line in plan_lines(plan):
        console.print(line, markup=False, soft_wrap=True)
    if options.dry_run:
        for line in [*(f"  {line}" for line in look(plan)), *suggestion_lines(plan)]:
            console.print(line, markup=False, soft_wrap=True)
        console.print("nothing was started; leave --dry-run out to start it", markup=False)
        return 0
    return _carry_out(console, plan, options.words(path))


def _carry_out(console: "Console", plan: Plan, command: str) -> int:
    stops = Stops()
    with stops.on_signals(), open_sweep(plan, stops) as sweep:
        for note in sweep.storage.notes:
            console.print(note, markup=False, soft_wrap=True)
        with SweepView(console, sweep) as view:
            for line in sweep.carry_out():
                view.show(line)
        tell(sweep, command)
    for problem in sweep.problems:
        console.print(problem, markup=False, soft_wrap=True)
    title, rows, commands = end_rows(sweep, command)
    show_panel(console, end_lines(title, rows, commands))
    return EXIT_INTERRUPTED if sweep.reason == "interrupted" else 0


def plan_lines(plan: Plan) -> list[str]:
    """What a study comes to, before it begins."""
    spec, budget = plan.spec, plan.spec.budget
    limits = [f"{value:g} {name.replace('_', ' ')}" for name, value in budget.model_dump().items() if value is not None]
    seats = plan.seats
    where = (
        f"GPU {', '.join(str(seat.gpu) for seat in seats)}" if seats[0].gpu else f"{seats[0].num_threads} core(s) each"
    )
    pruner = (
        "" if spec.pruner.kind == "none" else f", pruned by {spec.pruner.kind} from {spec.pruner.min_samples:,} samples"
    )
    lines = [
        f"{spec.name}: {spec.objective.direction} {spec.objective.metric} over {', '.join(spec.search)}",
        f"  {spec.sampler.kind}, seed {spec.sampler.seed}{pruner}; until {' or '.join(limits)}",
        f"  {plan.total_samples:,} samples a trial, whatever the batch size, on {plan.manifest.num_train:,} pairs",
        f"  {len(seats)} worker(s), {where}",
    ]
    if plan.extension is not None:
        lines.append(f"  goes on from {plan.extension.words()}")
    if spec.baselines:
        names = ", ".join(baseline.name for baseline in spec.baselines)
        lines.append(
            f"  always run: {names}; then {plan.num_confirm_runs} runs to confirm, over {spec.confirm_seeds} seeds"
        )
    lines.append(f"  disk: up to {mb(plan.disk_bytes())} in mlruns/, {mb(free_bytes())} are free")
    lines.append(f"  time: {_time(plan)}")
    return lines


def _time(plan: Plan) -> str:
    prior = plan.prior()
    if prior is None:
        return "unknown: no run of this cost was made here yet; known once three trials have ended"
    if plan.spec.budget.trials is None:
        return f"until the budget ends; a trial takes {prior.line(*plan.hours_unit)}"
    found = forecast(plan.spec.budget.trials, [], prior, len(plan.seats), plan.num_confirm_runs * prior.high_s)
    return found.line(*plan.hours_unit) if found else "unknown"


def suggestion_lines(plan: Plan) -> list[str]:
    """The first trials, as a fresh study would begin."""
    if plan.extension is not None:
        search = plan.spec.search
        shown_trials = [(trial.name, values_from_params(search, trial.params)) for trial in plan.extension.trials]
        return [f"  {name} goes on: {values_line(values)}" for name, values in shown_trials]
    shown = first_suggestions(plan, len(plan.spec.baselines) + NUM_SHOWN)
    width = max(len(name) for name, _ in shown)
    return ["  the first trials:", *(f"    {name:<{width}}  {values_line(values)}" for name, values in shown)]


def end_rows(sweep: Sweep, command: str) -> tuple[str, list[tuple[str, str]], list[str]]:
    """How a study ended, as a panel's title, rows and next commands."""
    name, metric = sweep.plan.name, sweep.plan.spec.objective.metric
    states = [trial.state.name for trial in sweep.book.trials()]
    words = {"COMPLETE": "finished", "PRUNED": "pruned or infeasible", "FAIL": "failed", "WAITING": "waiting"}
    counts = ", ".join(f"{states.count(state)} {word}" for state, word in words.items() if state in states)
    rows = [("trials", counts or "none")]
    for trial in best_trials(sweep)[:1]:
        rows.append(
            ("best", f"{metric} {trial.value:.4f} (trial {trial.number}: {values_line(trial.user_attrs['values'])})")
        )
    if sweep.report is not None:
        rows.append(("report", str(sweep.report)))
    rows.append(("took", f"{sweep.spending.wall_s:,.0f} s; {sweep.spending.training_s / 3600:.2g} hours of training"))
    how = "finished" if sweep.reason == "finished" else f"{sweep.reason}; the same command goes on"
    if sweep.reason == "finished" and "WAITING" in states:
        how = "its budget is spent; the same command with a larger one goes on"
    return f"study {name}: {how}", rows, [f"clipexp dashboard {name}", "clipexp ui", command]
