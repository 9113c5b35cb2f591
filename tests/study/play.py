"""A study of runs of some steps, for tests: `carry_out(plan_of(write_study(folder, store, budget={"trials": 4})))`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clipexp.events import StopReason
from clipexp.spec.study_load import load_study
from clipexp.stops import Stops
from clipexp.study.evidence import TrialRow, trial_rows_from_optuna
from clipexp.study.plan import Plan, PlanOptions, make_plan
from clipexp.study.sweep import Sweep, open_sweep
from tests.small import small_content

LOSS = "val/loss_block_40"
SEARCH = {
    "optim.max_lr": {"kind": "range", "low": 1e-4, "high": 1e-2, "log": True},
    "train.batch_size": {"kind": "power_of_two", "low": 16, "high": 64},
}


def write_study(folder: Path, store: Path, base: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write a study and its base below a folder; `changes` amend the study, `base` the run."""
    (folder / "experiments").mkdir(exist_ok=True)
    (folder / "studies").mkdir(exist_ok=True)
    content = {**small_content(store), **(base or {})}
    (folder / "experiments" / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    study = {
        "name": "small",
        "base": "../experiments/small.yaml",
        "search": SEARCH,
        "objective": {"metric": LOSS},
        "budget": {"trials": 3},
        "confirm_seeds": 0,
        **changes,
    }
    path = folder / "studies" / "small.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def plan_of(path: Path, *overrides: str, storage: str | None = None, num_workers: int = 1) -> Plan:
    """The plan of a study."""
    return make_plan(load_study(path, overrides), PlanOptions(storage=storage, num_workers=num_workers))


@dataclass(frozen=True)
class Played:
    """How a launch of a study ended, and its trials."""

    reason: StopReason
    lines: list[str]
    rows: list[TrialRow]
    states: list[str]
    sweep: Sweep


def carry_out(plan: Plan, disturb: Callable[[Sweep, str], None] = lambda sweep, line: None) -> Played:
    """One launch of a study; `disturb` is called a few times a second, with what the driver says."""
    lines = []
    with open_sweep(plan, Stops()) as sweep:
        for line in sweep.carry_out():
            lines += [line] if line else []
            disturb(sweep, line)
        trials = sweep.book.trials()
        rows, states = trial_rows_from_optuna(trials), [trial.state.name for trial in trials]
    return Played(sweep.reason, lines, rows, states, sweep)
