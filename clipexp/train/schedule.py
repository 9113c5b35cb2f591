"""The learning rate over the budget.

learning_rate(spec.schedule, max_lr=1e-3, progress=0.5)
learning_rate_at(spec, samples_seen=51_200, total=102_400)
"""

import math
from typing import assert_never

from clipexp.spec.run import RunSpec, ScheduleSpec


def learning_rate(spec: ScheduleSpec, max_lr: float, progress: float) -> float:
    """Linear warmup from 0 to `max_lr`, then `spec.decay` down to `min_lr_frac * max_lr`.

    Args:
        spec: the shape.
        max_lr: the peak.
        progress: samples seen at the end of the step over the budget's samples, in (0, 1].
    """
    if progress < spec.warmup_frac:
        return max_lr * progress / spec.warmup_frac
    after = (progress - spec.warmup_frac) / (1 - spec.warmup_frac) if spec.warmup_frac < 1 else 0.0
    match spec.decay:
        case "cosine":
            share = 0.5 * (1 + math.cos(math.pi * after))
        case "linear":
            share = 1 - after
        case "constant":
            share = 1.0
        case _:
            assert_never(spec.decay)
    return max_lr * (spec.min_lr_frac + (1 - spec.min_lr_frac) * share)


def learning_rate_at(spec: RunSpec, samples_seen: int, total: int, parent_lr: float | None = None) -> float:
    """The rate of the step that ends at a place of a run.

    A run that goes on from another, which was left at N samples with the rate a, follows the schedule over its own,
    longer total M as if it had been planned for that, once a straight line has brought it there. With `lr(s)` for
    `learning_rate(..., s / M)` and the line's end `e = N + warmup_frac * (M - N)`:

        a + (lr(e) - a) * (s - N) / (e - N)    where s < e
        lr(s)                                  from there on

    Args:
        spec: the run.
        samples_seen: at the end of the step.
        total: samples seen at the run's end.
        parent_lr: a, of a run that goes on from another.

    Raises:
        ValueError: such a run, and no `parent_lr`.
    """
    schedule, max_lr = spec.schedule, spec.optim.max_lr
    if spec.continue_from is None:
        return learning_rate(schedule, max_lr, samples_seen / total)
    if parent_lr is None:
        raise ValueError("a run that goes on from another needs that one's last learning rate")
    start = spec.continue_from.samples_seen
    end = start + schedule.warmup_frac * (total - start)
    if samples_seen >= end:
        return learning_rate(schedule, max_lr, samples_seen / total)
    reached = learning_rate(schedule, max_lr, end / total)
    return parent_lr + (reached - parent_lr) * (samples_seen - start) / (end - start)
