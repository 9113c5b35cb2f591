"""A study made ready: its spec, its data, its workers, and what each trial comes to. Makes nothing, starts nothing.

plan = make_plan(load_study("studies/quick.yaml"), PlanOptions(num_workers=2))
plan.trial_run({"optim.max_lr": 1e-3}, "quick-007")
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipexp.data.manifest import Manifest, data_checksum, manifest_for
from clipexp.errors import Problem, SpecError, StudyError
from clipexp.space import free_bytes, mb, room_bytes
from clipexp.spec.base import result_fields
from clipexp.spec.cost import checkpoint_bytes, memory_bytes
from clipexp.spec.load import ResolvedRun, at
from clipexp.spec.run import RunSpec, spec_hash, total_samples
from clipexp.spec.study import StudySpec, Value
from clipexp.spec.study_checks import BLOCK_SIZE, direction_by_metric
from clipexp.spec.study_load import ResolvedStudy, corners
from clipexp.study.forecast import Forecast, prior_of_trial
from clipexp.study.pool import Seat, make_seats
from clipexp.track.home import home
from clipexp.track.mlflow_store import tracking_uri
from clipexp.track.processor import device_name, visible_gpus

TRIAL_BYTES = 8 << 20  # journal, figures and MLflow's rows of a small run, measured 3 to 6 MB


@dataclass(frozen=True)
class PlanOptions:
    """What `clipexp sweep` is asked for beside the study."""

    storage: str | None = None
    num_workers: int | None = None
    tracking: str | None = None


@dataclass(frozen=True)
class Continuation:
    """A trial of a linked study: Optuna's parameters of the one that goes on, and what it goes on from, as a note."""

    name: str
    params: Mapping[str, Any]
    note: Mapping[str, Any]


@dataclass(frozen=True)
class Extension:
    """What makes a study a linked one: the longer horizon, and the trials of another that go on."""

    study: str
    num_best: int
    samples: int
    trials: tuple[Continuation, ...]

    def words(self) -> str:
        """As it stands in the linked study's space."""
        return f"the best {self.num_best} of {self.study} to {self.samples} samples"


@dataclass(frozen=True)
class Plan:
    """What is known before a study starts. `corner_specs`: trials at the extremes of its space."""

    study: ResolvedStudy
    uri: str
    storage: str | None
    seats: tuple[Seat, ...]
    manifest: Manifest
    corner_specs: tuple[RunSpec, ...]
    extension: Extension | None = None
    _checksums: dict[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> StudySpec:
        """The study's spec."""
        return self.study.spec

    @property
    def name(self) -> str:
        """The study's name, which its folder and its Optuna study have too."""
        return self.spec.name

    @property
    def folder(self) -> Path:
        """Where the study keeps its own files."""
        return home().root / "studies" / self.name

    @property
    def total_samples(self) -> int:
        """Of a full trial, the same for all."""
        return (
            self.extension.samples if self.extension else total_samples(self.corner_specs[0], self.manifest.num_train)
        )

    @property
    def hours_unit(self) -> tuple[str, int]:
        """What an hour of a trial's training is counted in, and as how many: a GPU, or so many cores."""
        seat = self.seats[0]
        return ("GPU hours", 1) if seat.gpu is not None else ("CPU hours", seat.num_threads)

    @property
    def num_confirm_runs(self) -> int:
        """Runs of the confirmation, if the best is none of the baselines."""
        return self.spec.confirm_seeds * (1 + len(self.spec.baselines)) if self.spec.confirm_seeds else 0

    @property
    def memory_limit(self) -> int | None:
        """Bytes that a trial may take."""
        limit = self.spec.constraints.memory_gb
        return None if limit is None else int(limit * 1e9)

    def trial_run(self, values: Mapping[str, Value], name: str, seed: int | None = None) -> ResolvedRun:
        """A trial's run."""
        return self.study.trial(values, name=name, seed=seed)

    def identity(self, spec: RunSpec) -> str:
        """A run's spec hash. Raises StoreError if its data is not prepared."""
        key = json.dumps([result_fields(spec.data), spec.data.store, spec.model.context_length], sort_keys=True)
        if key not in self._checksums:
            self._checksums[key] = data_checksum(spec.data, spec.model.context_length)
        return spec_hash(spec, self._checksums[key])

    def infeasible(self, spec: RunSpec) -> str:
        """Why a trial can't be carried out, by arithmetic; '' if it can."""
        limit = self.memory_limit
        if limit is not None and (needed := memory_bytes(spec)) > limit:
            return f"it would take about {mb(needed)} of memory, and constraints.memory_gb allows {mb(limit)}"
        return ""

    def prior(self) -> Forecast | None:
        """What one trial will take, by earlier runs here."""
        device, seat = device_name(self.corner_specs[0].train.device), self.seats[0]
        if seat.gpu is None:
            device = f"{device}, {seat.num_threads} thread"
        begun = self.extension.trials[0].note["samples_seen"] if self.extension else 0
        found = prior_of_trial(self.corner_specs, self.total_samples - begun, device, self.spec.pruner)
        return None if found is None else dataclasses.replace(found, num_workers=len(self.seats))

    def disk_bytes(self) -> int:
        """The most that the study's files take: checkpoints of running trials and of the best, journals, figures."""
        largest = max(self.corner_specs, key=checkpoint_bytes)
        num_trials = self.spec.budget.trials or 100
        kept = self.spec.keep_checkpoints * checkpoint_bytes(largest)
        return kept + len(self.seats) * room_bytes(largest) + num_trials * TRIAL_BYTES


def make_plan(study: ResolvedStudy, options: PlanOptions) -> Plan:
    """Check what the study alone can't tell: data, devices, room on the disk.

    Raises:
        StoreError: the data is not prepared.
        SpecError: the space goes beyond the prepared set.
        StudyError: no room on the disk.
    """
    spec = study.spec
    manifest = manifest_for(study.base.spec.data)
    study = study.for_pairs(manifest.num_train)
    corner_specs = tuple(study.trial(values, name=spec.name).spec for values in corners(study))
    _require_pairs(study, corner_specs, manifest)
    _require_metric(study, manifest)
    device = study.base.spec.train.device
    if device == "cuda" and not visible_gpus():
        raise StudyError("train.device is cuda, but there is no CUDA device here; set it to auto or cpu in the base")
    seats = make_seats(options.num_workers, visible_gpus() if device != "cpu" else [])
    plan = Plan(study, tracking_uri(options.tracking), options.storage, tuple(seats), manifest, corner_specs)
    for corner in corner_specs:
        plan.identity(corner)  # its data is prepared
    if (missing := plan.disk_bytes() - free_bytes()) > 0:
        raise StudyError(
            f"the study will write up to {mb(plan.disk_bytes())}, and {home().root.resolve()} lacks {mb(missing)} of"
            " that; make room (see `clipexp runs gc --dry-run`), or lower keep_checkpoints"
        )
    return plan


def _require_pairs(study: ResolvedStudy, corner_specs: tuple[RunSpec, ...], manifest: Manifest) -> None:
    largest = max(spec.train.batch_size for spec in corner_specs)
    if largest > manifest.num_train:
        node = at(study.tree, ["search", "train.batch_size"]) or study.tree
        message = f"batch sizes reach {largest:,}, but the prepared set has {manifest.num_train:,} training pairs"
        raise SpecError([Problem(str(node.origin), f"{message}; lower them, or prepare a larger set")])


def _require_metric(study: ResolvedStudy, manifest: Manifest) -> None:
    """The name of the validation loss says its blocks' size, which a small prepared set decides."""
    metric = study.spec.objective.metric
    known = direction_by_metric(min(BLOCK_SIZE, study.base.spec.evals.num_pairs, manifest.num_val))
    if metric not in known:
        node = at(study.tree, ["objective", "metric"]) or study.tree
        message = f"objective.metric {metric} is logged by no trial: the set has {manifest.num_val:,} validation pairs"
        raise SpecError([Problem(str(node.origin), f"{message}; write {next(iter(known))}")])
