"""Replicates: runs that differ in nothing but the seed, what each came to, and under which conditions.

groups = groups_of(records, "val/loss")                           # from runs; those of one spec are one group
group = Group.of_values("half lr", "val/loss", {1: 2.31, 2: 2.28})  # from plain numbers
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from clipexp.track.records import GROUP_TAG, REPEAT_TAG, STORE_CHECKSUM_TAG, TAG, TOTAL_SAMPLES_TAG, RunRecord

FEEDING = ("data.source.kind", "data.shuffle", "data.captions", "data.augment")
StripsByRun = Mapping[str, Mapping[str, tuple[float, ...]]]


@dataclass(frozen=True)
class Replicate:
    """What one seed came to.

    value: the metric at the run's end; NaN where it came to no finite one, as after diverging. strips: the same metric
    over the strips of the last validation (see `events.EvalEvent`); None where it was not kept so.
    """

    run_id: str
    seed: int
    value: float
    strips: tuple[float, ...] | None = None

    @property
    def is_finite(self) -> bool:
        """Whether it came to a value."""
        return math.isfinite(self.value)


@dataclass(frozen=True)
class Conditions:
    """Under what values came about, each as the distinct answers of a group's runs: one where they agree, none unknown.

    samples_seen: where the values stand. total_samples: the schedule's horizon. evaluation: the validation pairs and
    their blocks. code: commit, and whether files were changed. data: the prepared set. feeding: source, shuffle,
    captions and augmentation. device: kind and name.
    """

    samples_seen: tuple[int, ...] = ()
    total_samples: tuple[int, ...] = ()
    evaluation: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    feeding: tuple[str, ...] = ()
    device: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Replicates of one spec, by seed, each seed once.

    conditions: None where only values are known; fairness is then not looked into. left_out: runs of the group that
    count neither way, each with the reason. num_pairs: how many validation pairs the values rest on, where known.
    """

    name: str
    metric: str
    replicates: tuple[Replicate, ...]
    conditions: Conditions | None = None
    left_out: tuple[str, ...] = ()
    num_pairs: int | None = None
    key: str = ""

    @classmethod
    def of_values(cls, name: str, metric: str, value_by_seed: Mapping[int, float]) -> Self:
        """A group of values whose runs are not at hand."""
        return cls(name, metric, tuple(Replicate("", seed, value) for seed, value in sorted(value_by_seed.items())))

    @property
    def value_by_seed(self) -> dict[int, float]:
        """The finite values."""
        return {replicate.seed: replicate.value for replicate in self.replicates if replicate.is_finite}

    @property
    def num_seeds(self) -> int:
        """Seeds with a finite value."""
        return len(self.value_by_seed)

    @property
    def num_without_value(self) -> int:
        """Seeds that came to no finite value."""
        return len(self.replicates) - self.num_seeds

    @property
    def mean(self) -> float | None:
        """The mean of the finite values; None without one."""
        return statistics.fmean(self.value_by_seed.values()) if self.num_seeds else None

    @property
    def sd(self) -> float | None:
        """The standard deviation over seeds (of a sample); None below two finite values."""
        return statistics.stdev(self.value_by_seed.values()) if self.num_seeds > 1 else None


def groups_of(records: Iterable[RunRecord], metric: str, strips: StripsByRun | None = None) -> tuple[Group, ...]:
    """Runs as groups of replicates, in the order in which each group's first run stands.

    Runs with the same `clipexp.group` tag are one group; one without the tag stands alone. A repeat of a run counts
    not at all, and of several runs of one seed the one that came farthest, or else the first given.

    Args:
        records: runs, with curves or without; in the latter case where a run ended is not known.
        metric: such as `val/loss`.
        strips: of the last validation, by run id and metric.
    """
    by_key: dict[str, list[RunRecord]] = {}
    for record in records:
        by_key.setdefault(record.tags.get(GROUP_TAG) or record.run_id, []).append(record)
    return tuple(_group(key, runs, metric, strips or {}) for key, runs in by_key.items())


def _group(key: str, records: Sequence[RunRecord], metric: str, strips: StripsByRun) -> Group:
    once = {record.run_id: record for record in records}
    originals = [r for r in once.values() if r.tags.get(REPEAT_TAG) not in once]
    left_out = [f"{r.name} repeats {once[r.tags[REPEAT_TAG]].name}" for r in once.values() if r not in originals]
    ended = [record for record in originals if record.status != "RUNNING"]
    left_out += [f"{record.name} still goes on" for record in originals if record.status == "RUNNING"]
    by_seed: dict[int, RunRecord] = {}
    for record in ended:
        other = by_seed.get(record.seed)
        if other is None:
            by_seed[record.seed] = record
            continue
        kept, dropped = (record, other) if _progress(record) > _progress(other) else (other, record)
        by_seed[record.seed] = kept
        left_out.append(f"{dropped.name} ({dropped.run_id[:8]}) has the seed of {kept.name} ({kept.run_id[:8]})")
    ordered = [by_seed[seed] for seed in sorted(by_seed)]
    return Group(
        name=_name(ordered or originals or list(once.values())),
        metric=metric,
        replicates=tuple(_replicate(record, metric, strips) for record in ordered),
        conditions=_conditions(ordered, metric),
        left_out=tuple(left_out),
        num_pairs=min((int(r.final["val/num_pairs"]) for r in ordered if "val/num_pairs" in r.final), default=None),
        key=key,
    )


def _progress(record: RunRecord) -> tuple[bool, int]:
    return record.status == "FINISHED", samples_at_end(record) or 0


def samples_at_end(record: RunRecord) -> int | None:
    """Samples seen at the last validation; None where its curves were not read, or have none."""
    series = [series for metric, series in record.curves.items() if metric.startswith("val/") and len(series)]
    return max((int(found.samples_seen[-1]) for found in series), default=None)


def _name(records: Sequence[RunRecord]) -> str:
    """What a group is called: its runs' name without the seed's suffix; of several the shortest."""
    names = [record.name.removesuffix(f"-seed-{record.seed}") for record in records]
    return min(names, key=lambda name: (len(name), name))


def _replicate(record: RunRecord, metric: str, strips: StripsByRun) -> Replicate:
    """A run that failed on the way came to no value, whatever stood there before."""
    series = record.curves.get(metric)
    last = float(series.values[-1]) if series is not None and len(series) else record.final.get(metric, math.nan)
    value = math.nan if record.status == "FAILED" else last
    found = strips.get(record.run_id, {}).get(metric)
    return Replicate(record.run_id, record.seed, value, tuple(found) if found and math.isfinite(value) else None)


def _conditions(records: Sequence[RunRecord], metric: str) -> Conditions:
    """Failed runs say nothing on where the values stand."""
    valued = [record for record in records if record.status != "FAILED"]
    seen = {samples for record in valued if (samples := samples_at_end(record)) is not None}
    horizons = {int(total) for r in records if (total := r.tags.get(TOTAL_SAMPLES_TAG, "")).isdecimal()}
    return Conditions(
        samples_seen=tuple(sorted(seen)),
        total_samples=tuple(sorted(horizons)),
        evaluation=_distinct(_evaluation(record, metric) for record in records),
        code=_distinct(_code(record) for record in records),
        data=_distinct(record.tags.get(STORE_CHECKSUM_TAG, "") for record in records),
        feeding=_distinct(_feeding(record) for record in records),
        device=_distinct(record.tags.get(f"{TAG}device", "") for record in records),
    )


def _distinct(answers: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({answer for answer in answers if answer}))


def _evaluation(record: RunRecord, metric: str) -> str:
    checksum = record.tags.get(STORE_CHECKSUM_TAG, "")
    pairs, block = (record.final.get(f"val/{name}") for name in ("num_pairs", "block_size"))
    if not checksum or pairs is None:
        return ""
    blocks = f" in blocks of {block:,.0f}" if block is not None and "loss" in metric else ""
    return f"{pairs:,.0f} pairs{blocks} of set {checksum[:12]}"


def _code(record: RunRecord) -> str:
    commit = record.tags.get(f"{TAG}git_commit", "")
    changed = " with changed files" if record.tags.get(f"{TAG}git_dirty") == "true" else ""
    return f"{commit[:12]}{changed}" if commit else ""


def _feeding(record: RunRecord) -> str:
    return ", ".join(f"{key.removeprefix('data.')} {record.params[key]}" for key in FEEDING if key in record.params)
