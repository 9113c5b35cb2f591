"""Short runs on the shared small store: 24 steps of 16 pairs, over the end of the first epoch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from clipexp.data.store import Store
from clipexp.data.table import PairTable
from clipexp.evals.validation import FrozenValidation
from clipexp.events import Event, StopReason
from clipexp.model.clip import CLIP
from clipexp.spec.load import resolve
from clipexp.spec.run import RunSpec
from clipexp.train import checkpoint
from clipexp.train.loop import Evaluation, Hooks, train
from tests.small import small_content

CPU = torch.device("cpu")
BATCH = 16
HASH = "0123456789ab"
# In steps: logging every 3, validation every 8, checkpoints every 5, so that none falls on another before the end.
CADENCE = {"log_every_samples": 3 * BATCH, "eval_every_samples": 8 * BATCH, "checkpoint_every_samples": 5 * BATCH}


def never() -> StopReason | None:
    return None


@dataclass
class Runs:
    """Makes specs on one store and trains them, each in a checkpoint folder of its own."""

    store: Path
    checkpoints: Path
    device: torch.device = CPU

    def spec(self, **sections: dict[str, Any] | int) -> RunSpec:
        """A spec: `spec(seed=1, optim={"max_lr": 1e-3})` lays these over the default."""
        content = small_content(self.store, batch_size=BATCH, budget={"samples": 24 * BATCH}, **CADENCE)
        for name, value in sections.items():
            content[name] = {**content.get(name, {}), **value} if isinstance(value, dict) else value
        return resolve(content).spec

    def table(self, spec: RunSpec, side: Any = "train") -> PairTable:
        return Store(Path(spec.data.store)).table(side, spec.data.tokenizer, spec.model.context_length)

    def hooks(self, spec: RunSpec, stop: Callable[[], StopReason | None] = never, folder: str = "run") -> Hooks:
        validation = FrozenValidation(self.table(spec, "val"), spec, self.device)

        def evaluate(model: CLIP) -> Evaluation:
            result = validation.run(model)
            assert result is not None
            return Evaluation(result.metrics[validation.loss_metric], *result)

        return Hooks(evaluate, stop, self.checkpoints / folder, HASH)

    def train(self, spec: RunSpec, hooks: Hooks) -> Iterator[Event]:
        """Go on from what is in the hooks' folder, or begin."""
        state = checkpoint.recover(hooks.checkpoints, hooks.spec_hash).state
        return train(spec, self.table(spec), self.device, hooks, state)

    def events(
        self, spec: RunSpec, stop: Callable[[], StopReason | None] = never, folder: str = "run"
    ) -> Iterator[Event]:
        return self.train(spec, self.hooks(spec, stop, folder))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Models this small gain nothing from more, and lose where other tests run beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def runs(small_store: Path, tmp_path: Path) -> Runs:
    return Runs(small_store, tmp_path)
