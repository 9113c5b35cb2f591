"""What follows from a report's evidence and is used in many places: findings, comparisons, labels. Computed once.

analysis = Analysis(evidence)
analysis.findings(run)          # of one run
analysis.rankings["val/loss"]   # of all runs whose validation loss goes by that name
"""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

from clipexp.comparison import Group, Ranking, groups_of, prior_of, rank
from clipexp.findings import facts_of, find
from clipexp.findings.finding import Finding
from clipexp.plots.artifacts import headline
from clipexp.reporting.evidence import Evidence, RunEvidence
from clipexp.track.curves import Series
from clipexp.track.records import RunRecord

MAX_COMPARED = 12  # groups: all pairs of more can't be read, and correcting for them would leave nothing to tell


class Analysis:
    """One report's."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._findings_by_key: dict[str, tuple[Finding, ...]] = {}

    def findings(self, run: RunEvidence) -> tuple[Finding, ...]:
        """What the rules say of a run, problems first."""
        if run.key not in self._findings_by_key:
            facts = facts_of(run.record, run.faults, run.strips or None)
            self._findings_by_key[run.key] = find(run.record.curves, facts)
        return self._findings_by_key[run.key]

    @cached_property
    def _key_by_id(self) -> dict[str, str]:
        return {run.record.run_id: run.key for run in self.evidence.runs}

    @cached_property
    def labels(self) -> dict[str, str]:
        """What each run is called, by its key: its name, with the key where two are named alike."""
        names = [run.record.name for run in self.evidence.runs]
        alike = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
        return {
            run.key: f"{run.record.name} {run.key}" if run.record.name in alike else run.record.name
            for run in self.evidence.runs
        }

    @cached_property
    def groups(self) -> dict[str, tuple[Group, ...]]:
        """The runs as replicates of specs, by the name of their validation loss; no two of one name."""
        by_metric: dict[str, list[RunEvidence]] = {}
        for run in self.evidence.runs:
            if (metric := loss_metric(run.record)) is not None:
                by_metric.setdefault(metric, []).append(run)
        return {metric: self._groups(metric, runs) for metric, runs in sorted(by_metric.items())}

    def _groups(self, metric: str, runs: Sequence[RunEvidence]) -> tuple[Group, ...]:
        strips = {run.record.run_id: run.strips for run in runs if run.strips_at == _end(run.record, metric)}
        groups = groups_of([run.record for run in runs], metric, strips)
        names = [group.name for group in groups]
        return tuple(
            dataclasses.replace(group, name=f"{group.name} {self._key_of(group)}")
            if names.count(group.name) > 1
            else group
            for group in groups
        )

    def _key_of(self, group: Group) -> str:
        keys = self.keys_of(group)
        return keys[0] if keys else group.key[:8]

    def day(self, run: RunEvidence) -> int:
        """The day on which a run started, in UTC, counted from 1970."""
        return run.record.started_ms // 86_400_000

    def keys_of(self, group: Group) -> list[str]:
        """The keys of a group's runs, in order of their seeds."""
        return [self._key_by_id[replicate.run_id] for replicate in group.replicates]

    def compared(self, metric: str) -> tuple[Group, ...]:
        """The groups of a metric that are ranked: the first, as tables have them."""
        return self.groups[metric][:MAX_COMPARED]

    @cached_property
    def rankings(self) -> dict[str, Ranking]:
        """By the validation loss's name, where at least two groups have it."""
        found = {}
        for metric, groups in self.groups.items():
            if len(groups) > 1:
                found[metric] = rank(groups[:MAX_COMPARED], prior=prior_of(groups[MAX_COMPARED:]))
        return found

    def keys_by_group_name(self, metric: str) -> dict[str, list[str]]:
        """The keys of each ranked group's runs."""
        return {group.name: self.keys_of(group) for group in self.compared(metric)}


def loss_metric(record: RunRecord) -> str | None:
    """The name of a run's validation loss; None for one without any."""
    name = headline(record.curves)[0] if record.curves else next((m for m in record.final if _is_loss(m)), "")
    return name if name in record.final else None


def _is_loss(metric: str) -> bool:
    return metric.startswith("val/loss")


def _end(record: RunRecord, metric: str) -> int | None:
    series = record.curves.get(metric)
    return int(series.samples_seen[-1]) if series is not None and len(series) else None


def series_of(record: RunRecord, metric: str) -> Series | None:
    """A metric's curve; None where it has no point."""
    series = record.curves.get(metric)
    return series if series is not None and len(series) else None
