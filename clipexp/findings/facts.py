"""The facts on a recorded run, from its params and tags.

facts = facts_of(record, faults(folder), last_strips(folder)[1])

Params and tags are text that people and other programs may have written: what can't be read is not known.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from clipexp.findings.finding import RunFacts
from clipexp.track.records import TAG, TOTAL_SAMPLES_TAG

NUM_TRAIN_TAG, SHARD_TAG = f"{TAG}num_train_pairs", f"{TAG}shard_pairs"


class Described(Protocol):
    """A run's params and tags, as a `RunRecord` and a `RunHeader` have them."""

    @property
    def params(self) -> Mapping[str, str]:
        """The spec, flat."""

    @property
    def tags(self) -> Mapping[str, str]:
        """What else is known of it."""


def facts_of(
    record: Described, faults: Sequence[str] = (), strips: Mapping[str, Sequence[float]] | None = None
) -> RunFacts:
    """What is known of a run.

    Args:
        record: the run.
        faults: the messages of its faults, see `track.journal.faults`.
        strips: of its last validation, by metric (see `events.EvalEvent`).
    """
    params, tags = record.params, record.tags
    return RunFacts(
        batch_size=_count(params.get("train.batch_size")),
        max_lr=_number(params.get("optim.max_lr")),
        warmup_frac=_number(params.get("schedule.warmup_frac")),
        decay=_word(params.get("schedule.decay")),
        min_lr_frac=_number(params.get("schedule.min_lr_frac")),
        grad_clip_norm=_number(params.get("optim.grad_clip_norm")),
        shuffle=_word(params.get("data.shuffle")),
        frozen=_word(params.get("optim.frozen")),
        num_train_pairs=_count(tags.get(NUM_TRAIN_TAG)),
        shard_pairs=_count(tags.get(SHARD_TAG)),
        total_samples=_count(tags.get(TOTAL_SAMPLES_TAG)),
        start_samples=_count(params.get("continue_from.samples_seen")) or 0,
        faults=tuple(faults),
        strips=None if strips is None else {metric: tuple(values) for metric, values in strips.items()},
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _count(text: str | None) -> int | None:
    value = _number(text)
    return int(value) if value is not None and value >= 1 else None


def _word(text: str | None) -> str | None:
    return None if text in (None, "", "None") else text
