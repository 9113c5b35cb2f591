"""Studies made up for tests: real Optuna studies in memory over a toy objective, and the evidence on them.

evidence = toy_evidence(num_trials=16)
"""

import functools
import math
from pathlib import Path
from typing import Any

import optuna

from clipexp.spec.load import resolve
from clipexp.spec.study import StudySpec
from clipexp.study.evidence import ConfirmRow, Making, StudyEvidence, Totals, TrialRow, gather
from tests.small import small_content

BUDGET = 24_576
RUNGS = tuple(range(3_072, BUDGET + 1, 3_072))
LR, WARMUP, BATCH, DECAY = "optim.max_lr", "schedule.warmup_frac", "train.batch_size", "schedule.decay"
SEARCH: dict[str, Any] = {
    LR: {"kind": "range", "low": 1e-4, "high": 3e-3, "log": True},
    WARMUP: {"kind": "range", "low": 0.0, "high": 0.2},
    BATCH: {"kind": "power_of_two", "low": 64, "high": 1024},
}
WITH_CHOICE = SEARCH | {DECAY: {"kind": "choice", "values": ["cosine", "linear", "constant"]}}
TOTALS = Totals(num_samples=300_000, compute_hours=0.25, wall_hours=0.3, device="a toy of 2 threads")
MAKING = Making(
    command="clipexp sweep studies/toy.yaml",
    made_at="2026-11-20",
    git_commit="0123456789abcdef",
    versions={"clipexp": "0.1.0", "torch": "2.13.0", "optuna": "5.0.0"},
    parent_run_id="a" * 32,
    attribution="Drawings by nobody.",
)


def toy_spec(search: dict[str, Any] = SEARCH, **changes: Any) -> StudySpec:
    """A study of toys."""
    content: dict[str, Any] = {
        "name": "toy",
        "hypothesis": "A higher rate than the base's is better.",
        "base": "toy.yaml",
        "search": search,
        "budget": {"trials": 16},
        "baselines": [{"name": "base"}],
    }
    return StudySpec.model_validate(content | changes)


def toy_base() -> dict[str, Any]:
    """The experiment that the toys amend, resolved."""
    return resolve(small_content(Path("data/toy"))).spec.model_dump(mode="json")


def toy_loss(values: dict[str, Any], samples: int) -> float:
    """Lowest at max_lr 1e-3, warmup 5% and batch 128; falls with samples."""
    off = (math.log10(values[LR]) + 3) ** 2 + 4 * (values[WARMUP] - 0.05) ** 2
    off += 0.05 * (math.log2(values[BATCH]) - 7) ** 2
    off += {"cosine": 0.0, "linear": 0.05}.get(values.get(DECAY, "cosine"), 0.2)
    return 0.3 + 1.5 * off + 4 * math.exp(-samples / 6_000)


def _ask(study: optuna.Study, spec: StudySpec, number: int) -> optuna.Trial:
    if number == 0:  # the baseline
        study.enqueue_trial(
            {LR: 3e-4, WARMUP: 0.02, f"log2({BATCH})": 7} | ({DECAY: "cosine"} if DECAY in spec.search else {})
        )
    return study.ask()


def toy_study(num_trials: int, search: dict[str, Any] = SEARCH) -> optuna.Study:
    """A study that a driver might have made: trial 0 a baseline, every fourth pruned, 5 infeasible, 9 reused."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name="toy", sampler=optuna.samplers.TPESampler(seed=1))
    spec = toy_spec(search)
    for number in range(num_trials):
        trial = _ask(study, spec, number)
        values: dict[str, Any] = {
            LR: trial.suggest_float(LR, 1e-4, 3e-3, log=True),
            WARMUP: trial.suggest_float(WARMUP, 0, 0.2),
            BATCH: 2 ** trial.suggest_int(f"log2({BATCH})", 6, 10),
        }
        if DECAY in search:
            values[DECAY] = trial.suggest_categorical(DECAY, search[DECAY]["values"])
        is_pruned = number % 4 == 3
        rungs = RUNGS[:2] if is_pruned else RUNGS
        attrs = {"values": values, "run_id": f"{number:032x}", "spec_hash": f"{number:012x}", "samples_seen": rungs[-1]}
        attrs |= {"duration_s": 30.0 * len(rungs) / len(RUNGS)}
        attrs |= {"baseline": "base"} if number == 0 else {}
        attrs |= {"reused_from": "b" * 32} if number == 9 else {}
        attrs |= {"infeasible": "the loss is NaN at step 12"} if number == 5 else {}
        for name, value in attrs.items():
            trial.set_user_attr(name, value)
        if number == 5:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        for samples in rungs:
            trial.report(toy_loss(values, samples), samples)
        if is_pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, toy_loss(values, BUDGET))
    return study


def confirmations() -> list[ConfirmRow]:
    """Three seeds of the best and of the baseline, 0.1, 0.2 and 0.3 apart."""
    pairs = [(seed, 0.5 + 0.01 * seed, 0.6 + 0.11 * seed) for seed in (1, 2, 3)]
    best = [ConfirmRow("best", seed, low, f"{seed}" * 32, "c" * 12, {"val/loss": low}) for seed, low, _ in pairs]
    base = [ConfirmRow("base", seed, high, f"{seed}" * 32, "d" * 12, {"val/loss": high}) for seed, _, high in pairs]
    return [*base, *best]


@functools.cache
def toy_evidence(num_trials: int = 16, *, has_choice: bool = False, is_confirmed: bool = True) -> StudyEvidence:
    """The evidence on a toy study."""
    search = WITH_CHOICE if has_choice else SEARCH
    trials = toy_study(num_trials, search).trials
    base = resolve(small_content(Path("data/toy"))).spec
    runs = confirmations() if is_confirmed else []
    return gather(toy_spec(search), base, trials, runs, TOTALS, MAKING)


def row(number: int, value: float | None, values: dict[str, Any], **changes: Any) -> TrialRow:
    """A trial, finished where it has a value."""
    fields: dict[str, Any] = {"state": "finished" if value is not None else "pruned", "samples_seen": BUDGET}
    return TrialRow(number=number, values=values, value=value, **(fields | changes))


def evidence_of(rows: list[TrialRow], search: dict[str, Any] = SEARCH, **changes: Any) -> StudyEvidence:
    """Evidence on trials made by hand."""
    study = toy_spec(search, **changes).model_dump(mode="json")
    return StudyEvidence(study, toy_base(), tuple(rows), (), TOTALS, MAKING)
