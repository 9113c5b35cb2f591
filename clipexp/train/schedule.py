"""The learning rate over the budget.

learning_rate(spec.schedule, max_lr=1e-3, progress=0.5)
"""

import math
from typing import assert_never

from clipexp.spec.run import ScheduleSpec


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
