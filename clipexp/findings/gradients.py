"""The gradient's norm: gone, or grown out of bounds.

vanished_gradients and exploding_gradients, see `RULES`.
"""

import numpy as np

from clipexp.findings.finding import FindingEvidence
from clipexp.findings.reading import FloatArray, Line, Reading
from clipexp.findings.rule import Rule, Threshold, Told, setting

VANISHED_SHARE = 0.02
VANISHED_NORM = 0.01
HIGH_LOSS_SHARE = 0.7
ENDS = 0.1  # of the points: what counts as start and end
FEWEST_NORMS = 5

GROWTH = 7.0
FEWEST_BEFORE = 5  # points of the norm before it grows
HURT_NATS = 0.1
LOWEST_TOP = 1.0
SMOOTHING = 5  # windows
MOST_MEDIANS = 48


def _vanished(reading: Reading) -> Told | None:
    norm, loss = reading.line("train/grad_norm"), reading.train_loss
    if norm is None or loss is None or len(norm) < FEWEST_NORMS:
        return None
    size = max(1, int(ENDS * len(norm)))
    first, last = float(np.median(norm.values[:size])), float(np.median(norm.values[-size:]))
    chance = reading.train_chance or float(loss.values[0])
    loss_level = float(np.median(loss.values[-max(SMOOTHING, len(loss) // 20) :]))
    limit = max(VANISHED_NORM, VANISHED_SHARE * first)
    if last > limit or loss_level < HIGH_LOSS_SHARE * chance:
        return None
    above = np.flatnonzero(norm.values > limit)
    since = int(norm.samples[min(above[-1] + 1, len(norm) - 1)]) if len(above) else norm.window[0]
    of_chance = f" of {chance:.2f} at chance" if reading.train_chance else ""
    claim = (
        f"Gradients have vanished: from {since:,} samples on their norm is {last:.1g} or so, {first:.2g} at the start,"
        f" while the loss is {loss_level:.2f}{of_chance}."
    )
    further = {"loss": loss_level, "first_norm": first}
    evidence = FindingEvidence(norm.metric, (since, norm.window[1]), last, limit, "norm", None, further)
    return Told(claim, evidence, _calmer(reading))


def exploding(reading: Reading) -> Told | None:
    """What the rule of exploding gradients says of a run."""
    norm, loss = reading.line("train/grad_norm"), reading.train_loss
    if norm is None or loss is None or len(norm) < FEWEST_BEFORE + SMOOTHING:
        return None
    now = _medians_of_few(norm.values)[FEWEST_BEFORE:]  # from the place FEWEST_BEFORE on
    growth = now / np.maximum(_medians_before(norm.values)[: len(now)], 1e-9)
    growth[now <= LOWEST_TOP] = 0.0
    hurts = np.array([_hurt(loss, norm, int(place)) for place in np.flatnonzero(growth >= GROWTH) + FEWEST_BEFORE])
    places = np.flatnonzero(growth >= GROWTH)[hurts >= HURT_NATS] if len(hurts) else np.zeros(0, np.int64)
    if not len(places):
        return None
    top = int(places[growth[places].argmax()])
    at = int(norm.samples[places[0] + FEWEST_BEFORE])
    times, hurt = float(growth[top]), float(hurts.max())
    claim = (
        f"The gradient norm grew to {now[top]:.2g}, {times:.0f} times what it was before, from {at:,} samples on, and"
        f" the loss rose by {hurt:.2f} nats."
    )
    evidence = FindingEvidence(norm.metric, (at, norm.window[1]), times, GROWTH, "times", None, {"loss_rise": hurt})
    return Told(claim, evidence, _calmer(reading))


def _medians_of_few(values: FloatArray) -> FloatArray:
    """Of each SMOOTHING neighbours, (points - SMOOTHING + 1,)."""
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(values, SMOOTHING), axis=1))


def _medians_before(values: FloatArray) -> FloatArray:
    """The median of all before a place, from FEWEST_BEFORE on; of many points at some places, with lines between."""
    count = len(values)
    places = np.unique(np.linspace(FEWEST_BEFORE, count - 1, min(count - FEWEST_BEFORE, MOST_MEDIANS)).astype(np.int64))
    return np.interp(np.arange(FEWEST_BEFORE, count), places, [np.median(values[:place]) for place in places])


def _hurt(loss: Line, norm: Line, place: int) -> float:
    """By how much the loss at a place of the norm's curve rises above its lowest tenth before."""
    begin, end = int(norm.samples[place]) - 1, int(norm.samples[place + SMOOTHING - 1])
    before, there = loss.between(-1, begin), loss.between(begin, end)
    return float(there.values.max() - np.quantile(before.values, 0.1)) if before and there else 0.0


def _calmer(reading: Reading) -> tuple[str, ...]:
    lr, warmup = reading.facts.max_lr, reading.facts.warmup_frac
    settings = (setting("optim.max_lr", lr / 3),) if lr else ()
    return settings + ((setting("schedule.warmup_frac", 0.1),) if warmup is not None and warmup < 0.1 else ())


RULES = (
    Rule(
        "vanished_gradients",
        "problem",
        "Vanished gradients",
        "Gradients are next to nothing at the end, while the loss is still high.",
        (
            Threshold(
                "share of the norm at the start",
                VANISHED_SHARE,
                "runs that learn keep a tenth at least, collapsed ones 0.1%",
            ),
            Threshold(
                "norm, where it was low at the first point already", VANISHED_NORM, "no run that learned had one as low"
            ),
            Threshold(
                "share of the loss at chance", HIGH_LOSS_SHARE, "small gradients at a low loss mean that little is left"
            ),
        ),
        "The towers collapsed or are dead: lower the learning rate to a third, with a longer warmup; check the data.",
        _vanished,
    ),
    Rule(
        "exploding_gradients",
        "problem",
        "Exploding gradients",
        "The gradient norm grew by an order of magnitude over what it was before, and the loss rose.",
        (
            Threshold(
                "times the median of all before",
                GROWTH,
                "over five windows; healthy norms stay within a factor of four",
            ),
            Threshold("rise of the loss there, in nats", HURT_NATS, "a growth that costs nothing is no problem"),
        ),
        "Lower the learning rate to a third, or lengthen the warmup; keep optim.grad_clip_norm at 1.",
        exploding,
    ),
)
