"""Synthetic recipes of the corpus: faults that small runs don't have, and cadences and lengths that they don't reach.

    for recipe in SYNTHETIC:
        for number in range(recipe.num): shape, points = recipe.make(recipe.rng(number))

What a fault makes true is known by construction. The two parts draw from shapes that differ: power laws of 60 to 200
points to tune on; longer and steeper ones, with other cadences, to score on.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tests.findings.corpus_faults import (
    Fault,
    captions_collapse,
    clamped,
    exploding,
    falling_scale,
    gpu_memory_full,
    infinite_at_last,
    logged_twice,
    memory_filling,
    noisy,
    not_a_number,
    overfitted,
    periodic,
    slowing,
    spikes,
    starving,
    vanishing,
    without,
)
from tests.findings.corpus_shapes import Points, Shape, drawn
from tests.findings.recipes_real import Part

Rng = np.random.Generator
Drawn = tuple[Shape, Points]


@dataclass(frozen=True)
class SyntheticRecipe:
    """A fault put into drawn curves. expected: true by construction; allowed: what may follow; num: how many curves."""

    name: str
    part: Part
    text: str
    make: Callable[[Rng], Drawn]
    num: int
    expected: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    is_healthy: bool = False
    faults: tuple[str, ...] = ()

    def rng(self, number: int) -> Rng:
        """The source of randomness of one of its curves."""
        return np.random.default_rng([zlib.crc32(self.name.encode()), number])


def tune_shape(rng: Rng) -> Shape:
    """A run of 60 to 200 points, falling as a power law."""
    return Shape(
        num_points=int(rng.integers(60, 200)),
        steps_per_point=int(rng.integers(3, 9)),
        num_evals=int(rng.integers(10, 20)),
        batch_size=int(rng.choice([32, 64, 128])),
        floor=rng.uniform(0.05, 0.3),
        power=rng.uniform(0.7, 1.2),
        half=rng.uniform(0.03, 0.12),
        norm=rng.uniform(5, 25),
        scale_end=rng.uniform(16, 28),
        max_lr=float(rng.choice([5e-4, 1e-3])),
    )


def held_shape(rng: Rng) -> Shape:
    """A longer run on larger batches that falls more steeply, with another cadence and schedule."""
    return Shape(
        num_points=int(rng.integers(90, 420)),
        steps_per_point=int(rng.integers(8, 40)),
        num_evals=int(rng.integers(12, 36)),
        batch_size=int(rng.choice([96, 256, 512, 1024])),
        num_train_pairs=int(rng.integers(50_000, 900_000)),
        floor=rng.uniform(0.02, 0.2),
        power=rng.uniform(1.2, 2.2),
        half=rng.uniform(0.08, 0.25),
        norm=rng.uniform(1, 6),
        norm_end=rng.uniform(0.2, 0.6),
        scale_end=rng.uniform(24, 60),
        speed=rng.uniform(300, 9000),
        warmup_frac=rng.uniform(0.01, 0.1),
        decay=str(rng.choice(["cosine", "linear"])),
        min_lr_frac=rng.uniform(0, 0.1),
    )


def plain(shape: Callable[[Rng], Shape]) -> Callable[[Rng], Drawn]:
    """No fault."""

    def make(rng: Rng) -> Drawn:
        drawn_shape = shape(rng)
        return drawn_shape, drawn(drawn_shape, rng)

    return make


def with_fault(shape: Callable[[Rng], Shape], *faults: Fault) -> Callable[[Rng], Drawn]:
    """A plain run whose points are changed in place."""

    def make(rng: Rng) -> Drawn:
        drawn_shape = shape(rng)
        points = drawn(drawn_shape, rng)
        for fault in faults:
            fault(drawn_shape, points, rng)
        return drawn_shape, points

    return make


def few_validated(shape: Callable[[Rng], Shape], *sizes: int) -> Callable[[Rng], Shape]:
    """The same with very few validation pairs."""
    return lambda rng: replace(shape(rng), num_val=int(rng.choice(sizes)))


def flat_half(shape: Callable[[Rng], Shape]) -> Callable[[Rng], Shape]:
    """All that can be learned is, by a quarter of the budget."""
    return lambda rng: replace(shape(rng), power=3.5, half=0.03, floor=float(rng.uniform(0.15, 0.4)), norm_end=0.05)


def epochs(shape: Callable[[Rng], Shape], low: int, high: int) -> Callable[[Rng], Shape]:
    """Several passes over a small set, each of 12 windows or more."""

    def make(rng: Rng) -> Shape:
        found = replace(shape(rng), num_points=int(rng.integers(140, 300)))
        return replace(found, num_train_pairs=int(found.total / rng.uniform(low, high)))

    return make


def noisy_shape(shape: Callable[[Rng], Shape]) -> Callable[[Rng], Shape]:
    """A rate that never decays, on tiny batches."""
    return lambda rng: replace(shape(rng), decay="constant", batch_size=int(rng.choice([4, 8, 12])), num_evals=20)


def long(shape: Callable[[Rng], Shape], num_points: int) -> Callable[[Rng], Shape]:
    """A run of thousands of points."""
    return lambda rng: replace(shape(rng), num_points=num_points, steps_per_point=10, num_evals=25)


COLLAPSED = ("lr_too_high", "warmup_too_short", "saturated_early", "logit_scale_falling")


TEXTS = {
    "memory fills up": "memory fills up to nearly all of the machine's, at once or little by little",
    "numbers that are none": "some windows' loss and norm are not numbers, and training goes on",
    "waiting for data": "most of the time goes to waiting",
    "speed falls": "the speed falls to a half or less, by a step or little by little",
    "jumps of the loss": "isolated jumps of the loss of 0.8 to 2.5 nats, and back within some windows",
    "explosion": "the norm grows by one to three orders of magnitude, and the loss goes back to chance with it",
    "the scale at its clamp": "the logit scale grows to 100 and stays there",
    "the scale falls": "the logit scale falls to a half of its start and below, and stays there",
    "one tower collapses": "one tower's embeddings become one in the midst of training",
    "gradients vanish": "soon the gradient is next to nothing, the loss at chance and all embeddings alike",
    "few to validate on": "32 to 96 validation pairs",
    "flat from a quarter on": "all that can be learned is, by a quarter of the budget",
    "in step with the epoch": "the loss goes up and down with the epoch, by the order of the data",
    "fluctuating": "a constant rate on tiny batches: the loss fluctuates strongly to the end",
    "validation turns": "from a third or half of the budget on the validation loss rises",
}


def _recipes(part: Part, shape: Callable[[Rng], Shape], num: int) -> tuple[SyntheticRecipe, ...]:
    """The faults that both parts have, on the part's own shapes."""

    def one(
        name: str,
        make: Callable[[Rng], Drawn],
        expected: tuple[str, ...],
        allowed: tuple[str, ...] = (),
        more: int = 0,
    ) -> SyntheticRecipe:
        return SyntheticRecipe(f"{name}, {part} shapes", part, TEXTS[name], make, num + more, expected, allowed)

    def put(*faults: Fault) -> Callable[[Rng], Drawn]:
        return with_fault(shape, *faults)

    return (
        one("memory fills up", put(memory_filling), ("memory_near_limit",)),
        one("numbers that are none", put(not_a_number), ("non_finite",), more=2),
        one("waiting for data", put(starving), ("data_starvation",), ("throughput_falling",)),
        one("speed falls", put(slowing), ("throughput_falling",)),
        one("jumps of the loss", put(spikes), ("loss_spikes",), ("lr_too_high", "exploding_gradients")),
        one(
            "explosion",
            put(exploding),
            ("exploding_gradients", "lr_too_high"),
            ("loss_spikes", "noisy_end", "overfitting", "stuck_at_chance", "warmup_too_short"),
        ),
        one("the scale at its clamp", put(clamped), ("logit_scale_clamped",), more=3),
        one("the scale falls", put(falling_scale), ("logit_scale_falling",)),
        one(
            "one tower collapses",
            put(captions_collapse),
            ("embedding_collapse",),
            (*COLLAPSED, "stuck_at_chance", "overfitting", "loss_spikes", "vanished_gradients"),
        ),
        one(
            "gradients vanish",
            put(vanishing),
            ("vanished_gradients", "embedding_collapse"),
            (*COLLAPSED, "stuck_at_chance", "loss_spikes"),
        ),
        one("few to validate on", with_fault(few_validated(shape, 32, 64, 96)), ("small_evaluation",), more=2),
        one("flat from a quarter on", with_fault(flat_half(shape)), ("saturated_early",)),
        one(
            "in step with the epoch", with_fault(epochs(shape, 6, 12), periodic), ("loss_periodicity",), ("noisy_end",)
        ),
        one(
            "fluctuating", with_fault(noisy_shape(shape), noisy), ("noisy_end",), ("loss_spikes", "overfitting"), more=2
        ),
        one("validation turns", put(overfitted), ("overfitting",)),
    )


SYNTHETIC = (
    *_recipes("tune", tune_shape, 3),
    *_recipes("held-out", held_shape, 5),
    SyntheticRecipe("plain, short", "tune", "a run without a fault", plain(tune_shape), 6, is_healthy=True),
    SyntheticRecipe("plain, longer", "held-out", "a run without a fault", plain(held_shape), 8, is_healthy=True),
    SyntheticRecipe(
        "plain, thousands of points", "held-out", "a long run", plain(long(held_shape, 2500)), 2, is_healthy=True
    ),
    SyntheticRecipe(
        "memory of the accelerator",
        "held-out",
        "it is nearly full all along",
        with_fault(held_shape, gpu_memory_full),
        5,
        ("memory_near_limit",),
    ),
    SyntheticRecipe(
        "memory of the accelerator, short",
        "tune",
        "it is nearly full all along",
        with_fault(tune_shape, gpu_memory_full),
        3,
        ("memory_near_limit",),
    ),
    SyntheticRecipe(
        "infinite, then nothing",
        "held-out",
        "the gradient gets infinite and the run is cut there",
        with_fault(held_shape, infinite_at_last),
        4,
        ("non_finite",),
        ("lr_too_high", "exploding_gradients"),
        faults=("the gradient is not finite",),
    ),
    SyntheticRecipe(
        "resumed",
        "held-out",
        "a resumed run logged a stretch twice",
        with_fault(held_shape, logged_twice),
        3,
        is_healthy=True,
    ),
    SyntheticRecipe(
        "resumed, short",
        "tune",
        "a resumed run logged a stretch twice",
        with_fault(tune_shape, logged_twice),
        2,
        is_healthy=True,
    ),
    SyntheticRecipe(
        "without gradient norms",
        "tune",
        "metrics are missing",
        with_fault(tune_shape, without("train/grad_norm", "system/data_wait_frac")),
        2,
        is_healthy=True,
    ),
    SyntheticRecipe(
        "without scale and speed",
        "held-out",
        "metrics are missing",
        with_fault(held_shape, without("train/logit_scale", "system/samples_per_s", "train/grad_norm")),
        3,
        is_healthy=True,
    ),
    SyntheticRecipe(
        "jumps in thousands of points",
        "held-out",
        "a long run with jumps",
        with_fault(long(held_shape, 2000), spikes),
        1,
        ("loss_spikes",),
        ("lr_too_high", "exploding_gradients"),
    ),
)
