"""What a study has spent of its budget, over all its launches.

    spending = Spending(budget, cores_a_trial=2, wall_before_s=0.0)
    spending.set_seconds("trial 0", 31.5)
    spending.left()  # {"cpu_hours": 0.98}: hours left of each limit

Trials are counted by who asks for them; here are hours.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from clipexp.spec.study import StudyBudgetSpec

HOUR_S = 3600.0


@dataclass
class Spending:
    """Seconds of training by job, and of the study itself.

    Args:
        budget: the limits.
        cores_a_trial: what an hour of training counts as in CPU hours; on a GPU it is one GPU hour.
        wall_before_s: how long earlier launches went on.
        seconds_by_key: training so far, by job.
    """

    budget: StudyBudgetSpec
    cores_a_trial: int
    wall_before_s: float = 0.0
    seconds_by_key: dict[str, float] = field(default_factory=dict)
    begun_s: float = field(default_factory=time.monotonic)

    @property
    def wall_s(self) -> float:
        """Seconds in which the study was carried out, over all launches."""
        return self.wall_before_s + time.monotonic() - self.begun_s

    @property
    def training_s(self) -> float:
        """Seconds of training, all workers together."""
        return sum(self.seconds_by_key.values())

    def set_seconds(self, key: str, seconds: float) -> None:
        """What a job has taken so far."""
        self.seconds_by_key[key] = seconds

    def left(self, reserve_s: float = 0.0, num_workers: int = 1) -> Mapping[str, float]:
        """Hours left of each limit that there is, less what a reserve of seconds of training will take.

        A reserve takes half of a limit at most, so that something is left to be confirmed.
        """
        limits = {
            "gpu_hours": (self.budget.gpu_hours, self.training_s, reserve_s),
            "cpu_hours": (self.budget.cpu_hours, self.training_s * self.cores_a_trial, reserve_s * self.cores_a_trial),
            "wall_hours": (self.budget.wall_hours, self.wall_s, reserve_s / num_workers),
        }
        return {
            name: limit - spent_s / HOUR_S - min(kept_s / HOUR_S, limit / 2)
            for name, (limit, spent_s, kept_s) in limits.items()
            if limit is not None
        }

    def is_spent(self, reserve_s: float = 0.0, num_workers: int = 1) -> bool:
        """Whether one of the limits is reached."""
        return any(hours <= 0 for hours in self.left(reserve_s, num_workers).values())
