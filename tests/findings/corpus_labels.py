"""Labelled curves of the corpus, from real runs and from drawn ones.

    for curve in [*grid_curves(base, truth), *fault_curves(recipe, truth), *synthetic_curves(recipe)]: ...

A label is a verdict on every rule: what the recipe makes true by itself, else what siblings and the curve itself show.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.findings.corpus_recipe import Recipe
from tests.findings.corpus_runs import Outcome, Setup
from tests.findings.corpus_shapes import Shape, as_outcome
from tests.findings.corpus_truth import RELATIVE, Truth, band
from tests.findings.corpus_visible import Verdict, chance, visible
from tests.findings.recipes_real import Base, Part, Place, at, grid
from tests.findings.recipes_synthetic import SyntheticRecipe

PROBLEMS = frozenset(
    {
        "vanished_gradients",
        "exploding_gradients",
        "lr_too_high",
        "loss_periodicity",
        "overfitting",
        "non_finite",
        "embedding_collapse",
        "stuck_at_chance",
        "data_starvation",
    }
)
# What may be true of a run with which nothing is wrong.
HARMLESS = frozenset(
    {"still_converging", "room_for_higher_lr", "saturated_early", "small_evaluation", "throughput_falling"}
)


@dataclass(frozen=True)
class Curve:
    """A labelled curve, as `labels.json` has it, and its points."""

    name: str
    recipe: str
    part: Part
    source: str
    is_healthy: bool
    facts: Mapping[str, Any]
    verdicts: Mapping[str, Verdict]
    why: str
    outcome: Outcome

    def label(self) -> dict[str, Any]:
        """The entry in `labels.json`."""
        by_verdict = {
            verdict: sorted(rule for rule, found in self.verdicts.items() if found == verdict)
            for verdict in ("expected", "allowed")
        }
        kept = ("recipe", "part", "source", "is_healthy", "facts")
        return {"curve": self.name, **{key: getattr(self, key) for key in kept}, **by_verdict, "why": self.why}


def slug(text: str) -> str:
    """A name of small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def facts_of(setup: Setup, outcome: Outcome) -> dict[str, Any]:
    """What is known of how a real run came about."""
    kind, _, shard = setup.order.partition(":")
    return {
        "batch_size": setup.batch_size,
        "max_lr": setup.max_lr,
        "warmup_frac": setup.warmup_frac,
        "decay": setup.decay,
        "min_lr_frac": setup.min_lr_frac,
        "grad_clip_norm": setup.grad_clip_norm,
        "shuffle": setup.shuffle,
        "frozen": setup.frozen,
        "num_train_pairs": outcome.num_train_pairs,
        "shard_pairs": int(shard) if kind == "shards_by_colour" else outcome.num_train_pairs,
        "total_samples": outcome.total_samples,
        "faults": outcome.faults,
        "strips": {name: [float(f"{value:.4g}") for value in values] for name, values in outcome.strips.items()},
    }


def _named(place: Place) -> str:
    words = [f"rate x{place.lr:g}"]
    words += [f"warmup {place.warmup:g}"] if place.warmup != 0.1 else []
    words += [f"{place.decay} rate"] if place.decay else []
    words += [f"budget x{place.budget}"] if place.budget != 1 else []
    return ", ".join(words)


def seed_spread(base: Base, truth: Truth) -> float:
    """By how many nats two seeds differ in what three times the rate brings."""
    usual = base.setup.warmup_frac
    final = {
        (lr, seed): truth.outcomes[at(base, Place(lr, usual, seed=seed))].final_loss
        for lr in (0.3, 1)
        for seed in (0, 1)
    }
    return abs((final[0.3, 0] - final[1, 0]) - (final[0.3, 1] - final[1, 1]))


def grid_curves(base: Base, truth: Truth) -> Iterator[Curve]:
    """The runs of a base's grid."""
    spread = seed_spread(base, truth)
    for place, setup in grid(base).items():
        outcome = truth.outcomes[setup]
        verdicts, why = truth.of(setup)
        verdicts |= dict.fromkeys(truth.uncertain(setup, spread), "allowed")
        name = slug(f"{base.name} {_named(place)}" + (f" seed {place.seed}" if place.seed else ""))
        recipe = f"{base.name}: {_named(place)}"
        healthy = _is_healthy(verdicts)
        yield Curve(name, recipe, base.part, "real", healthy, facts_of(setup, outcome), verdicts, why, outcome)


def _is_healthy(verdicts: Mapping[str, Verdict]) -> bool:
    expected = {rule for rule, verdict in verdicts.items() if verdict == "expected"}
    allowed = {rule for rule, verdict in verdicts.items() if verdict == "allowed"}
    return expected <= HARMLESS and not allowed & PROBLEMS


def _put_in(verdicts: Mapping[str, Verdict], expected: tuple[str, ...], allowed: tuple[str, ...]) -> dict[str, Verdict]:
    """Lay what a recipe makes true by itself over what was measured."""
    put: dict[str, Verdict] = {**dict.fromkeys(allowed, "allowed"), **dict.fromkeys(expected, "expected")}
    return {**verdicts, **put}


def fault_curves(recipe: Recipe, truth: Truth) -> Iterator[Curve]:
    """The runs of a fault's recipe."""
    for number, setup in enumerate(recipe.setups, start=1):
        outcome = truth.outcomes[setup]
        verdicts, why = truth.of(setup)
        if recipe.is_hopeless:
            verdicts |= dict.fromkeys(RELATIVE, "no")
            verdicts |= dict.fromkeys(("lr_too_high", "lr_too_low"), "allowed")  # no curve tells these from bad data
        verdicts = _put_in(verdicts, recipe.expected, recipe.allowed)
        if verdicts["overfitting"] == "expected" and verdicts["still_converging"] == "allowed":
            verdicts["still_converging"] = "no"
        name = slug(f"{recipe.name} {number}")
        why = "; ".join(text for text in (recipe.text, why) if text)
        healthy = _is_healthy(verdicts)
        yield Curve(name, recipe.name, recipe.part, "real", healthy, facts_of(setup, outcome), verdicts, why, outcome)


def synthetic_curves(recipe: SyntheticRecipe) -> Iterator[Curve]:
    """The curves of a synthetic recipe."""
    for number in range(1, recipe.num + 1):
        shape, points = recipe.make(recipe.rng(number))
        outcome = as_outcome(shape, points, recipe.faults)
        carrier = Setup(num_val=shape.num_val, batch_size=shape.batch_size)
        verdicts = {**visible(carrier, outcome), **_relative(shape, outcome, recipe.is_healthy)}
        verdicts = _put_in(verdicts, recipe.expected, recipe.allowed)
        name = slug(f"{recipe.name} {number}")
        facts = _drawn_facts(shape, recipe)
        text = recipe.text.rstrip(".")
        yield Curve(name, recipe.name, recipe.part, "synthetic", recipe.is_healthy, facts, verdicts, text, outcome)


def _relative(shape: Shape, outcome: Outcome, is_healthy: bool) -> dict[str, Verdict]:
    """What the formulas say of twice the budget; of other rates they say nothing, but that none is ruinous."""
    end = shape.floor + shape.val_gap * (1 - shape.floor)
    left = (1 + 1 / shape.half) ** -shape.power - (1 + 2 / shape.half) ** -shape.power
    gain = chance(outcome) * (1.03 - end) * left
    still = band(gain)
    if not is_healthy and still == "expected":
        still = "allowed"  # the fault may hide it
    told: dict[str, Verdict] = dict.fromkeys(RELATIVE, "no")
    return {**told, "room_for_higher_lr": "allowed", "still_converging": still}


def _drawn_facts(shape: Shape, recipe: SyntheticRecipe) -> dict[str, Any]:
    kept = ("batch_size", "max_lr", "warmup_frac", "decay", "min_lr_frac", "num_train_pairs")
    facts = {key: getattr(shape, key) for key in kept}
    is_ordered = "loss_periodicity" in recipe.expected
    return {
        **{key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in facts.items()},
        "grad_clip_norm": 1.0,
        "shuffle": "none" if is_ordered else "full",
        "shard_pairs": shape.num_train_pairs,
        "total_samples": shape.total,
        "faults": list(recipe.faults),
    }
