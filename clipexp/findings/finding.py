"""What a rule finds, and the facts on a run that rules may use beside its curves.

    for finding in find(curves, facts): print(finding.sentence())

Curves alone don't say how they came about: how large the batch was, how long the schedule, how many pairs an epoch has.
`RunFacts` does; a fact that is not known is None, and rules that need it then find nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# problem: the result is not what the spec could give. caution: it may be better otherwise. note: worth knowing.
Severity = Literal["problem", "caution", "note"]
SEVERITIES: tuple[Severity, ...] = ("problem", "caution", "note")


@dataclass(frozen=True)
class FindingEvidence:
    """What a finding rests on.

    metric: the curve it is seen on. window: from and to, in samples seen. value: what was measured there, in `unit`.
    threshold: where the rule begins to speak. interval: 95%, of `value`, where the rule gives one. further: more values
    by name, such as a forecast and its ends.
    """

    metric: str
    window: tuple[int, int]
    value: float
    threshold: float
    unit: str = ""
    interval: tuple[float, float] | None = None
    further: Mapping[str, float] | None = None
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One finding.

    rule: the rule's id. claim: a plain sentence, with the numbers it rests on. remedy: what to try next, in words;
    settings: the same as `KEY=VALUE` for `--set`.
    """

    rule: str
    severity: Severity
    claim: str
    evidence: FindingEvidence
    remedy: str = ""
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunFacts:
    """How a run came about, as far as it is known.

    num_train_pairs: of an epoch. shard_pairs: of a shard of the prepared set. total_samples: the budget's end.
    start_samples: where it began, not 0 for one that goes on from another. faults: what was recorded as gone wrong.
    strips: of the last validation, by metric (see `events.EvalEvent`).
    """

    batch_size: int | None = None
    max_lr: float | None = None
    warmup_frac: float | None = None
    decay: str | None = None
    min_lr_frac: float | None = None
    grad_clip_norm: float | None = None
    shuffle: str | None = None
    frozen: str | None = None
    num_train_pairs: int | None = None
    shard_pairs: int | None = None
    total_samples: int | None = None
    start_samples: int = 0
    faults: tuple[str, ...] = ()
    strips: Mapping[str, tuple[float, ...]] | None = None
