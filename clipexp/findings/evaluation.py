"""The validation: overfitting, and a set too small to tell differences on.

overfitting and small_evaluation, see `RULES`.
"""

import math

import numpy as np

from clipexp.findings.finding import FindingEvidence
from clipexp.findings.reading import Line, Reading
from clipexp.findings.rule import Rule, Threshold, Told, setting
from clipexp.findings.statistics import Z_95

RISE_NATS = 0.15
FALL_NATS = 0.1
FEWEST_VALIDATIONS = 3
SMALL_PAIRS = 200
STRIP = 32  # pairs, see `events.EvalEvent`
FEWEST_STRIPS = 3


def _overfitting(reading: Reading) -> Told | None:
    val, train = reading.trained_val_loss, reading.train_loss
    if val is None or train is None or len(val) < FEWEST_VALIDATIONS:
        return None
    best = int(val.values.argmin())
    if best == len(val) - 1:
        return None
    lowest, at = float(val.values[best]), int(val.samples[best])
    rise = float(np.mean(val.values[max(best + 1, len(val) - 2) :])) - lowest
    then, now = _then_and_now(train, at)
    if rise < RISE_NATS or then - now < FALL_NATS:
        return None
    claim = (
        f"The validation loss rises from its best of {lowest:.2f} at {at:,} samples to {lowest + rise:.2f}, while the"
        f" training loss falls on from {then:.2f} to {now:.2f}: the model learns its pairs by heart."
    )
    further = {"best": lowest, "train_then": then, "train_now": now}
    evidence = FindingEvidence(val.metric, (at, val.window[1]), rise, RISE_NATS, "nats", None, further)
    return Told(claim, evidence, (setting("train.budget.samples", at),))


def _then_and_now(train: Line, at: int) -> tuple[float, float]:
    """The median training loss up to a place, and at the end."""
    size = max(5, len(train) // 8)
    place = max(size, int(np.searchsorted(train.samples, at, side="right")))
    return float(np.median(train.values[place - size : place])), float(np.median(train.values[-size:]))


def _small(reading: Reading) -> Told | None:
    val, num_pairs = reading.val_loss, _num_pairs(reading)
    if val is None or not 0 < num_pairs < SMALL_PAIRS:
        return None
    recall = reading.line("val/text_to_image_recall_at_1")
    share = recall.last if recall is not None and 0 < recall.last < 1 else 0.5
    reach = Z_95 * math.sqrt(share * (1 - share) / num_pairs)
    further = {"recall_reach": reach}
    points = f"{100 * reach:.0f} points either way"
    claim = f"The validation has {num_pairs:,} pairs: recall@1 of {share:.0%} is known to {points}"
    strips = (reading.facts.strips or {}).get(val.metric, ())
    if len(strips) >= FEWEST_STRIPS and np.isfinite(strips).all():
        further["loss_reach"] = Z_95 * float(np.std(strips, ddof=1)) / math.sqrt(len(strips))
        claim += f", and the loss to {further['loss_reach']:.2f} nats"
    evidence = FindingEvidence(val.metric, val.window, num_pairs, SMALL_PAIRS, "pairs", None, further)
    return Told(f"{claim} (95%).", evidence, ("evals.num_pairs=1024",))


def _num_pairs(reading: Reading) -> int:
    """Validation pairs; 0 where it is not known."""
    line = reading.line("val/num_pairs")
    if line is not None:
        return int(line.last)
    return STRIP * max((len(strips) for strips in (reading.facts.strips or {}).values()), default=0)


RULES = (
    Rule(
        "overfitting",
        "problem",
        "Overfitting",
        "The validation loss rises from its best, while the training loss falls on.",
        (
            Threshold(
                "rise of the validation loss, in nats",
                RISE_NATS,
                "one validation differs from the next by less than half",
            ),
            Threshold("fall of the training loss since, in nats", FALL_NATS, "where both rise, it is not overfitting"),
        ),
        "Stop at the best validation, use more pairs, or augment the pictures; a smaller model overfits less.",
        _overfitting,
    ),
    Rule(
        "small_evaluation",
        "caution",
        "Small evaluation",
        "The validation set is too small for the differences that people discuss.",
        (
            Threshold(
                "validation pairs",
                SMALL_PAIRS,
                "from fewer, a recall of a half is known to 7 points either way at best",
            ),
        ),
        "Validate on 1,024 pairs or more; data.split.num_val says how many are set aside.",
        _small,
    ),
)
