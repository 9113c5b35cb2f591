"""The confirmation: the best settings and the baselines, run again over seeds that no trial has chosen them by.

confirmation = Confirmation(plan, "a1b2...", results={})
for job in confirmation.jobs({"best": {...}, "run1": {...}}): ...
confirmation.results  # {"best seed 1": {"value": 1.31, ...}, ...}
"""

from collections.abc import Iterator, Mapping
from typing import Any

from clipexp.spec.study import Value
from clipexp.study.jobs import Job
from clipexp.study.plan import Plan
from clipexp.study.trials import seconds_of
from clipexp.track.header import headers_of_spec, store_name
from clipexp.track.journal import end_reason, points
from clipexp.track.records import PARENT_TAG, ROLE_TAG, STUDY_TAG


class Confirmation:
    """Runs over seeds.

    results: what came out so far, as plain data by key: name, seed, value (None with a reason), run_id, spec_hash,
    final, duration_s, and has_failed where the reason is not the settings'.
    """

    def __init__(self, plan: Plan, parent_run_id: str, results: Mapping[str, Mapping[str, Any]]) -> None:
        self.plan = plan
        self.results: dict[str, dict[str, Any]] = {key: dict(result) for key, result in results.items()}
        self.first_seed: int | None = None
        self._parent_run_id = parent_run_id

    def jobs(self, values_by_name: Mapping[str, Mapping[str, Value]]) -> Iterator[Job]:
        """What must be run: every name over every seed, but for what is finished already.

        Seeds begin behind those of all trials: the best was chosen by its luck with one of them, too.
        """
        store = store_name(self.plan.uri)
        for job in self._wanted(values_by_name):
            if self._is_known(job):
                continue
            done = (h for h in headers_of_spec(job.spec_hash, store) if end_reason(h.folder) == "finished")
            header = next(done, None)
            if header is None:
                yield job
                continue
            job.run_id = header.run_id
            self.finished(job, {metric: series[-1].value for metric, series in points(header.folder).items()})

    def results_of(self, values_by_name: Mapping[str, Mapping[str, Value]]) -> list[dict[str, Any]]:
        """What came out for these settings over the seeds; results of an earlier best, or of more seeds, are left."""
        return [self.results[job.key] for job in self._wanted(values_by_name) if self._is_known(job)]

    def _wanted(self, values_by_name: Mapping[str, Mapping[str, Value]]) -> Iterator[Job]:
        first = self.first_seed
        if first is None:  # nothing was confirmed yet
            return
        tags = {STUDY_TAG: self.plan.name, ROLE_TAG: "confirm", PARENT_TAG: self._parent_run_id}
        for seed in range(first, first + self.plan.spec.confirm_seeds):
            for name, values in values_by_name.items():
                resolved = self.plan.trial_run(values, f"{self.plan.name}-{name}-seed-{seed}", seed=seed)
                spec_hash = self.plan.identity(resolved.spec)
                job = Job(f"{name} seed {seed}", resolved, spec_hash, tags, may_be_pruned=False)
                job.total_samples = self.plan.total_samples
                yield job

    def _is_known(self, job: Job) -> bool:
        """Whether there is nothing to run: it finished, or can't; what failed otherwise is tried by the next launch."""
        known = self.results.get(job.key, {})
        return known.get("spec_hash") == job.spec_hash and not known.get("has_failed", False)

    def finished(self, job: Job, final: Mapping[str, float]) -> None:
        """A run came to its end."""
        self._note(job, final, "")

    def infeasible(self, job: Job, reason: str) -> None:
        """A run can't be carried out with these settings."""
        self._note(job, {}, reason)

    def failed(self, job: Job, reason: str) -> None:
        """A run failed for a reason that tells nothing about its settings."""
        self._note(job, {}, reason, has_failed=True)

    def _note(self, job: Job, final: Mapping[str, float], reason: str, *, has_failed: bool = False) -> None:
        name, _, seed = job.key.rpartition(" seed ")
        self.results[job.key] = {
            "name": name,
            "seed": int(seed),
            "value": final.get(self.plan.spec.objective.metric),
            "run_id": job.run_id,
            "spec_hash": job.spec_hash,
            "final": {metric: number for metric, number in final.items() if metric.startswith("val/")},
            "duration_s": round(seconds_of(job.run_id), 3),
            "reason": reason,
            "has_failed": has_failed,
        }
