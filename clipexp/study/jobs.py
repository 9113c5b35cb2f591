"""What workers are given to do: the runs of trials, and those that confirm the best.

job = Job("trial 7", resolved, spec_hash, tags, number=7)
job.message(tracking)
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from clipexp.spec.load import ResolvedRun
from clipexp.spec.run import largest_divisor
from clipexp.study.messages import Message

MAX_DEATHS = 3  # of workers in a row, without the run getting further
MICRO_BATCH_SHARE = 4


@dataclass
class Job:
    """A run that is to be carried out, or is being.

    key: names it among all of the study. tags: of its MLflow run. number: of its trial; None for a confirmation.
    samples_seen and total_samples: how far it is. values: the objective's, by samples seen. is_own: whether its run was
    made for it, and not taken up from somebody else. given_out_ms: when a worker got it first. prior_s: seconds that it
    took before begun_s, which is when its run was taken up last. not_before_s: when it may be handed out again, where
    MLflow was away (`num_untracked` times). twins: numbers of trials that were suggested the very same spec meanwhile.
    """

    key: str
    resolved: ResolvedRun
    spec_hash: str
    tags: Mapping[str, str]
    number: int | None = None
    may_be_pruned: bool = True
    run_id: str = ""
    samples_seen: int = 0
    total_samples: int = 0
    values: dict[int, float] = field(default_factory=dict)
    rate: float | None = None  # samples a second
    note: str = ""
    is_own: bool = False
    given_out_ms: int = 0
    prior_s: float = 0.0
    begun_s: float | None = None
    num_deaths: int = 0
    died_at: int = -1
    is_too_long: bool = False
    is_shrunk: bool = False
    not_before_s: float = 0.0
    num_untracked: int = 0
    twins: list[int] = field(default_factory=list)

    def seconds(self, now_s: float) -> float:
        """How long it was at work."""
        return self.prior_s + (0.0 if self.begun_s is None else now_s - self.begun_s)

    def message(self, tracking: str) -> Message:
        """As a worker is told of it."""
        spec = self.resolved.spec.model_dump(mode="json")
        return {"job": self.key, "spec": spec, "tags": dict(self.tags), "tracking": tracking}

    def use_small_batches(self) -> int:
        """Have it hold a quarter as much at once, for the same result within rounding; returns how many pairs."""
        train = self.resolved.spec.train
        size = largest_divisor(train.batch_size, max(1, (train.micro_batch or train.batch_size) // MICRO_BATCH_SHARE))
        self.is_shrunk = True
        spec = self.resolved.spec.model_copy(update={"train": train.model_copy(update={"micro_batch": size})})
        self.resolved = dataclasses.replace(self.resolved, spec=spec)
        self.num_deaths, self.died_at = 0, -1
        return size

    def die(self) -> bool:
        """Note that its worker died; returns whether another one would die there, too, by all we know."""
        self.num_deaths = 1 if self.samples_seen > self.died_at else self.num_deaths + 1
        self.died_at = max(self.died_at, self.samples_seen)
        return self.num_deaths >= MAX_DEATHS
