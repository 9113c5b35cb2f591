"""Real runs of the corpus: base settings, each with a grid of siblings. `corpus_recipes_*` put faults in.

    for base in BASES:
        for place, setup in grid(base).items(): ...

A base is a set, a model, a batch, a budget and a cadence. Around it the peak of the learning rate, the warmup and the
budget are varied, so that what is said of a run ("another rate would end lower") can be held against what was measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from tests.findings.corpus_runs import Setup

Part = Literal["tune", "held-out"]
LR_FACTORS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # of the base's own rate
LONG_WARMUP, FULL_WARMUP = 0.7, 0.97


@dataclass(frozen=True)
class Base:
    """A setting to vary. Its `max_lr` is near the best; `text` says in a line how it differs from the others."""

    name: str
    part: Part
    setup: Setup
    text: str


TUNE_BASES = (
    Base("small", "tune", Setup(), "24 px, one layer of 48, batches of 32"),
    Base(
        "two-layers",
        "tune",
        Setup(width=64, layers=2, heads=4, patch_px=8, batch_size=64, steps=160),
        "24 px in 9 patches, two layers of 64, batches of 64",
    ),
    Base(
        "narrow",
        "tune",
        Setup(half_size=False, width=32, patch_px=16, batch_size=16, steps=400, log_steps=4, num_val=1024, max_lr=5e-4),
        "48 px, one layer of 32, batches of 16, full validation",
    ),
    Base(
        "coarse",
        "tune",
        Setup(damage="coarse:7", damage_val=True, width=64, heads=4, batch_size=48, steps=160, num_evals=16),
        "captions cut to their first words, so that some loss must stay",
    ),
    Base(
        "three-epochs",
        "tune",
        Setup(
            half_size=False, num_pairs=3000, patch_px=16, layers=2, steps=280, log_steps=5, num_evals=20, decay="linear"
        ),
        "3,000 pairs seen three times, two layers of 48, linear decay",
    ),
    Base(
        "wide-batch",
        "tune",
        Setup(width=40, batch_size=128, steps=90, log_steps=1, num_evals=9, num_val=1024, max_lr=2e-3),
        "batches of 128 on one layer of 40, logged at every step",
    ),
)
HELD_OUT_BASES = (
    Base(
        "full-size",
        "held-out",
        Setup(
            half_size=False,
            width=64,
            heads=4,
            batch_size=48,
            steps=150,
            num_val=1024,
            num_evals=10,
            log_steps=1,
            seed=3,
        ),
        "48 px in 16 patches, one layer of 64, batches of 48, full validation",
    ),
    Base(
        "wide",
        "held-out",
        Setup(width=96, heads=4, batch_size=64, steps=180, num_evals=15, log_steps=3, max_lr=8e-4, seed=4),
        "24 px, one layer of 96, batches of 64",
    ),
    Base(
        "three-layers",
        "held-out",
        Setup(layers=3, steps=250, num_evals=20, log_steps=5, max_lr=7e-4, num_val=1024, seed=5),
        "three layers of 48, batches of 32",
    ),
    Base(
        "large-patches",
        "held-out",
        Setup(half_size=False, patch_px=24, width=64, batch_size=96, steps=110, log_steps=1, min_lr_frac=0.0, seed=6),
        "48 px in 4 patches, batches of 96, decay down to 0",
    ),
    Base(
        "fine-patches",
        "held-out",
        Setup(patch_px=6, num_pairs=6000, batch_size=40, steps=300, log_steps=3, num_val=1024, max_lr=1.5e-3, seed=7),
        "24 px in 16 patches, 6,000 pairs seen twice",
    ),
    Base(
        "linear",
        "held-out",
        Setup(
            patch_px=8,
            width=32,
            layers=2,
            batch_size=24,
            steps=360,
            log_steps=4,
            decay="linear",
            min_lr_frac=0.02,
            seed=8,
        ),
        "two layers of 32, batches of 24, linear decay",
    ),
    Base(
        "half-coarse",
        "held-out",
        Setup(
            half_size=False,
            damage="coarse:11",
            damage_val=True,
            patch_px=16,
            width=80,
            heads=4,
            batch_size=64,
            steps=140,
            num_evals=8,
            num_val=1024,
            seed=9,
        ),
        "48 px, one layer of 80, captions without their ends",
    ),
    Base(
        "small-batch",
        "held-out",
        Setup(width=56, heads=4, layers=2, batch_size=20, steps=450, log_steps=3, num_evals=30, max_lr=6e-4, seed=10),
        "two layers of 56, batches of 20, validated 30 times",
    ),
    Base(
        "large-batch",
        "held-out",
        Setup(
            half_size=False,
            width=32,
            batch_size=160,
            steps=80,
            log_steps=1,
            num_evals=16,
            num_val=1024,
            max_lr=3e-3,
            seed=11,
        ),
        "batches of 160 on one layer of 32, validated every 5 steps",
    ),
)
BASES = TUNE_BASES + HELD_OUT_BASES


@dataclass(frozen=True)
class Place:
    """Where in its base's grid a run stands.

    lr: the rate's factor; warmup; budget: its factor; seed: what is added; decay: where it is not the base's.
    """

    lr: float
    warmup: float
    budget: int = 1
    seed: int = 0
    decay: str | None = None


def at(base: Base, place: Place) -> Setup:
    """The setting at a place of a base's grid."""
    setup = base.setup
    return replace(
        setup,
        max_lr=float(f"{setup.max_lr * place.lr:.3g}"),
        warmup_frac=place.warmup,
        steps=setup.steps * place.budget,
        num_evals=setup.num_evals * place.budget,
        seed=setup.seed + 100 * place.seed,
        decay=place.decay or setup.decay,
    )


def _places(usual: float) -> Iterator[Place]:
    for factor in (*LR_FACTORS, 0.03):
        yield Place(factor, usual)
    for factor in (0.1, 0.3, 1.0, 3.0):
        yield Place(factor, usual, budget=2)
    for factor in (1.0, 3.0, 10.0):
        yield Place(factor, 0.0)
        yield Place(factor, LONG_WARMUP)
    yield Place(0.3, LONG_WARMUP)
    yield Place(1.0, usual, seed=1)
    yield Place(0.3, usual, seed=1)
    for factor in (0.1, 0.2):  # where each step counts, a warmup over all of it costs half of the way
        yield Place(factor, usual, decay="constant")
        yield Place(factor, FULL_WARMUP, decay="constant")


def grid(base: Base) -> dict[Place, Setup]:
    """All settings of a base's grid."""
    return {place: at(base, place) for place in _places(base.setup.warmup_frac)}
