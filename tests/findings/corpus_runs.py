"""Real small runs for the corpus: a setting, trained by the lab's own loop, and what came of it, kept in a cache.

outcome = outcome_of(Setup(max_lr=1e-3), stores, cache=Path("/tmp/corpus-cache"))
outcome.final_loss, outcome.points["train/loss"]
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from clipexp.data.loader import Batch
from clipexp.errors import DivergedError
from clipexp.evals.validation import FrozenValidation
from clipexp.events import EvalEvent, FaultEvent, StepEvent
from clipexp.model.clip import CLIP
from clipexp.spec.load import resolve
from clipexp.spec.run import RunSpec, total_samples
from clipexp.track.system import system_metrics
from clipexp.train.loop import Evaluation, Hooks, train
from clipexp.train.training import Training
from tests.findings.corpus_tables import (
    CONTEXT_LENGTH,
    VOCAB_SIZES,
    MemoryTable,
    Pairs,
    Source,
    damaged,
    in_order,
    memory_table,
    slow_reads,
)

CPU = torch.device("cpu")
VERSION = 1  # of what is cached; raise it where the same setting gives other curves


@dataclass(frozen=True)
class Setup:
    """All that decides a run of the corpus; steps are counted in optimizer steps, the rest as in a spec.

    num_pairs: training pairs, None: up to 12,000. order, damage: see `corpus_tables`; damage_val: whether validation is
    damaged too. leaks: whether validation is on training pairs. wait_s, wait_grows: seconds that a read of the data
    waits, and by how many that grows with each. drag: how much longer a step takes at the end than at the start, for a
    machine that gets slower. scale_speed: by how much more the logit scale moves at each step than the optimizer says.
    """

    source: Source = "scenes"
    half_size: bool = True
    num_pairs: int | None = None
    order: str = "as_is"
    damage: str = ""
    damage_val: bool = False
    leaks: bool = False
    shuffle: str = "full"
    width: int = 48
    layers: int = 1
    heads: int = 2
    patch_px: int = 12
    batch_size: int = 32
    steps: int = 200
    log_steps: int = 2
    num_evals: int = 12
    num_val: int = 512
    max_lr: float = 1e-3
    warmup_frac: float = 0.1
    decay: str = "cosine"
    min_lr_frac: float = 0.1
    weight_decay: float = 0.1
    grad_clip_norm: float | None = 1.0
    frozen: str | None = None
    wait_s: float = 0.0
    wait_grows: float = 0.0
    drag: float = 0.0
    seed: int = 0
    scale_speed: float = 1.0

    def key(self) -> str:
        """A hash of the settings."""
        settings = asdict(self)
        if self.scale_speed == 1:
            del settings["scale_speed"]
        content = json.dumps([VERSION, settings], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Outcome:
    """What came of a run. points: of each metric, samples seen and values. num_train_pairs: of an epoch."""

    points: Mapping[str, tuple[list[int], list[float]]]
    strips: Mapping[str, list[float]]
    faults: list[str]
    num_train_pairs: int
    total_samples: int
    seconds: float = field(default=0.0)

    @property
    def loss_metric(self) -> str:
        """The validation loss's name."""
        return next(name for name in self.points if name.startswith("val/loss"))

    @property
    def final_loss(self) -> float:
        """The last validation loss; infinite where the run broke off."""
        return float("inf") if self.faults else self.points[self.loss_metric][1][-1]


def spec_of(setup: Setup) -> RunSpec:
    """The spec of a setting."""
    size = 24 if setup.half_size else 48
    tower = {"width": setup.width, "layers": setup.layers, "heads": setup.heads}
    samples = setup.steps * setup.batch_size
    content: dict[str, Any] = {
        "name": "corpus",
        "seed": setup.seed,
        "data": {
            "source": {"kind": "scenes-v1"},
            "store": "unused",
            "image_size_px": size,
            "tokenizer": {"kind": "trained", "vocab_size": VOCAB_SIZES[setup.source]},
            "shuffle": setup.shuffle,
        },
        "model": {
            "image_size_px": size,
            "patch_size_px": setup.patch_px,
            "embed_dim": setup.width,
            "context_length": CONTEXT_LENGTH,
            "vision": tower,
            "text": tower,
        },
        "optim": {
            "max_lr": setup.max_lr,
            "weight_decay": setup.weight_decay,
            "grad_clip_norm": setup.grad_clip_norm,
            "frozen": setup.frozen,
        },
        "schedule": {"warmup_frac": setup.warmup_frac, "decay": setup.decay, "min_lr_frac": setup.min_lr_frac},
        "train": {
            "batch_size": setup.batch_size,
            "budget": {"samples": samples},
            "device": "cpu",
            "log_every_samples": setup.log_steps * setup.batch_size,
            "eval_every_samples": samples // setup.num_evals,
            "checkpoint_every_samples": 10 * samples,
            "keep_best": False,
        },
        "evals": {"num_pairs": setup.num_val, "num_examples": 0},
    }
    return resolve(content).spec


def tables(setup: Setup, stores: Mapping[Source, Path]) -> tuple[MemoryTable, MemoryTable]:
    """Training and validation pairs, with the setting's faults."""
    pairs = Pairs(setup.source, setup.num_pairs, setup.half_size)
    training = memory_table(stores[setup.source], "train", pairs)
    validation = training if setup.leaks else memory_table(stores[setup.source], "val", pairs)
    training = in_order(training, setup.order)
    if setup.damage:
        training = damaged(training, setup.damage, setup.seed)
        if setup.damage_val:
            validation = damaged(validation, setup.damage, setup.seed)
    if setup.wait_s or setup.wait_grows:
        training = training.taken(training.every_row)
        slow_reads(training, setup.wait_s, setup.wait_grows)
    return training, validation


@contextmanager
def _faulty_steps(setup: Setup) -> Iterator[None]:
    """Have each step take longer, by up to `drag` times its own length at the end; move the logit scale more."""
    plain = Training.step

    def step(self: Training, batch: Batch, total: int) -> None:
        start_s = time.perf_counter()
        before = self.model.logit_scale.detach().clone()
        plain(self, batch, total)
        if setup.scale_speed != 1:
            with torch.no_grad():
                self.model.logit_scale.add_((setup.scale_speed - 1) * (self.model.logit_scale - before))
            self.model.clamp_logit_scale()
        if setup.drag:
            time.sleep((time.perf_counter() - start_s) * setup.drag * batch.end_position / total)

    with mock.patch.object(Training, "step", step):
        yield


def train_once(setup: Setup, stores: Mapping[Source, Path]) -> Outcome:
    """Train a setting on one thread."""
    torch.set_num_threads(1)
    started_s = time.perf_counter()
    spec = spec_of(setup)
    table, val_table = tables(setup, stores)
    validation = FrozenValidation(val_table, spec, CPU)  # type: ignore[arg-type]

    def evaluate(model: CLIP) -> Evaluation | None:
        result = validation.run(model)
        return Evaluation(result.metrics[validation.loss_metric], *result) if result else None

    total = total_samples(spec, table.num_pairs)
    outcome = Outcome({}, {}, [], table.num_pairs, total)
    with tempfile.TemporaryDirectory() as folder, _faulty_steps(setup):
        hooks = Hooks(evaluate, lambda: None, Path(folder), "0" * 12)
        return _followed(train(spec, table, CPU, hooks), outcome, started_s)  # type: ignore[arg-type]


def _followed(events: Iterator[Any], outcome: Outcome, started_s: float) -> Outcome:
    points: dict[str, tuple[list[int], list[float]]] = {}
    strips: dict[str, list[float]] = {}
    faults: list[str] = []

    def add(samples: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            at, values = points.setdefault(name, ([], []))
            at.append(samples)
            values.append(value)

    try:
        for event in events:
            match event:
                case StepEvent():
                    add(event.samples_seen, {**event.metrics, **system_metrics()})
                case EvalEvent():
                    add(event.samples_seen, event.metrics)
                    strips = {name: list(values) for name, values in event.strips.items()}
                case FaultEvent():
                    faults.append(event.message)
                case _:
                    pass
    except DivergedError as error:
        faults = faults or [str(error)]
    seconds = round(time.perf_counter() - started_s, 2)
    return Outcome(points, strips, faults, outcome.num_train_pairs, outcome.total_samples, seconds)


def outcome_of(setup: Setup, stores: Mapping[Source, Path], cache: Path) -> Outcome:
    """What came of a setting: from the cache, or trained now."""
    path = cache / f"{setup.key()}.json"
    if path.exists():
        return Outcome(**json.loads(path.read_text())["outcome"])
    outcome = train_once(setup, stores)
    cache.mkdir(parents=True, exist_ok=True)
    tmp = path.with_suffix(".tmp")
    tmp.write_text(json.dumps({"setup": asdict(setup), "outcome": asdict(outcome)}))
    tmp.replace(path)
    return outcome
