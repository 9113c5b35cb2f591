"""The learning rate's height: room for more, too high, too low.

room_for_higher_lr, lr_too_high and lr_too_low, see `RULES`.

What a rate can do is judged by the way it allows: Adam moves a weight by about the rate at each step, so by no more
than the sum of the rates over all steps. Weights are drawn some hundredths to a tenth wide; a run whose sum stays below
that can't have gone far, whatever its loss.
"""

import numpy as np

from clipexp.findings.ending import end_forecast, end_line, over_last_half
from clipexp.findings.finding import FindingEvidence
from clipexp.findings.gradients import exploding
from clipexp.findings.reading import Line, Reading
from clipexp.findings.rule import Rule, Threshold, Told, setting

SHORT_WAY = 0.07
TINY_WAY = 0.02
HIGH_NORM_SHARE = 0.25
ROOM_NATS = 0.1
MOVED_SHARE = 0.25
LOST_NORM_SHARE = 0.15
LOST_NORM_SHARE_FAR = 0.2
LONG_WAY = 0.6
HIGH_LOSS_SHARE = 0.2
DEAD_NORM_SHARE = 0.02
DEAD_RUN_SHARE = 0.08
DEAD_LOSS_SHARE = 0.45
END_FROM = 0.75
HIGH_QUANTILE = 0.95
FEWEST_NORMS = 8
STAYED_NATS = 0.3


def way_of(reading: Reading) -> float | None:
    """The sum of the learning rate over the steps done: how far Adam can have moved a weight."""
    line, batch = reading.line("train/lr"), reading.facts.batch_size
    if line is None or batch is None:
        return None
    steps = np.diff(line.samples, prepend=reading.start) / batch
    return float(line.values @ steps)


def _learnt(reading: Reading) -> tuple[Line, float, float] | None:
    """The loss that is judged, chance (or its start), and where it ended."""
    for loss, chance in ((reading.trained_val_loss, reading.val_chance), (reading.train_loss, reading.train_chance)):
        if loss is not None and (first := chance or float(loss.values[0])) > 0:
            return loss, first, float(np.median(loss.values[-max(1, len(loss) // 20) :]))
    return None


def _norms(reading: Reading) -> tuple[Line, float, float] | None:
    """The gradient norm over the last quarter, its median there, and what is high in this run."""
    norm = reading.line("train/grad_norm")
    end = reading.part(norm, END_FROM)
    if norm is None or end is None or len(norm) < FEWEST_NORMS:
        return None
    return end, float(np.median(end.values)), float(np.quantile(norm.values, HIGH_QUANTILE))


def _room(reading: Reading) -> Told | None:
    norms, way, forecast, lr = _norms(reading), way_of(reading), end_forecast(reading), reading.facts.max_lr
    half = over_last_half(reading, end_line(reading))
    if norms is None or way is None or forecast is None or half is None or not reading.is_whole:
        return None
    end, level, high = norms
    per = (half[0] - half[1]) / (reading.end - reading.start) * 2 * 10_000
    if way >= SHORT_WAY or level < HIGH_NORM_SHARE * high or forecast.gain < ROOM_NATS or per <= 0:
        return None
    claim = (
        f"The gradient norm is still {level:.2g} at the end while the loss falls, by {per:.2g} a 10,000 samples over"
        f" the last half: a higher learning rate may serve. All steps together could move a weight by {way:.2g} only."
    )
    further = {"way": way, "gain_nats": forecast.gain, "fall_per_10k": per}
    evidence = FindingEvidence(end.metric, end.window, level, HIGH_NORM_SHARE * high, "norm", None, further)
    return Told(claim, evidence, (setting("optim.max_lr", 3 * lr),) if lr else ())


def _too_low(reading: Reading) -> Told | None:
    learnt, way, lr = _learnt(reading), way_of(reading), reading.facts.max_lr
    if learnt is None or way is None or not reading.is_whole:
        return None
    loss, first, end = learnt
    if way >= TINY_WAY or first - end >= MOVED_SHARE * first:
        return None
    claim = (
        f"The run hardly moved: its loss ended at {end:.2f}, and {first:.2f} is chance. All its steps together could"
        f" move a weight by {way:.1g}, less than it was drawn with."
    )
    evidence = FindingEvidence(
        loss.metric, loss.window, way, TINY_WAY, "sum of the learning rates", None, {"loss": end}
    )
    return Told(claim, evidence, (setting("optim.max_lr", 10 * lr),) if lr else ())


def _too_high(reading: Reading) -> Told | None:
    way = way_of(reading)
    if way is not None and way < TINY_WAY:
        return None
    return _lost(reading) or _blown_up(reading)


def _lost(reading: Reading) -> Told | None:
    """The norm is far below its height, or was for long, and the loss is still high: steps lead nowhere any more."""
    norm, norms, loss = reading.line("train/grad_norm"), _norms(reading), reading.train_loss
    end_loss = reading.part(loss, 0.95)
    start = reading.train_start
    if norm is None or norms is None or loss is None or end_loss is None or start is None:
        return None
    end, level, high = norms
    left = float(np.median(end_loss.values)) / start
    dead = float(np.mean(norm.values < DEAD_NORM_SHARE * float(norm.values[0])))
    limit = (LOST_NORM_SHARE if (way_of(reading) or 0.0) < LONG_WAY else LOST_NORM_SHARE_FAR) * high
    is_lost = level < limit and left > HIGH_LOSS_SHARE
    if not is_lost and not (dead >= DEAD_RUN_SHARE and left > DEAD_LOSS_SHARE):
        return None
    claim = (
        f"The learning rate{_named(reading)} took the run where it learns little: the gradient norm, {high:.2g} at its"
        f" height, is {level:.2g} at the end, and {left:.0%} of the loss at chance is left."
    )
    further = {"loss_left_share": left, "dead_share": dead}
    return Told(claim, FindingEvidence(end.metric, end.window, level, limit, "norm", None, further), _lower(reading))


def _blown_up(reading: Reading) -> Told | None:
    """Gradients exploded, and the loss stayed above where it had been."""
    told, loss = exploding(reading), reading.train_loss
    if told is None or loss is None:
        return None
    before = loss.between(-1, told.evidence.window[0])
    end = float(np.median(loss.values[-max(1, len(loss) // 20) :]))
    if before is None or end - float(before.values.min()) < STAYED_NATS:
        return None
    rise = end - float(before.values.min())
    claim = (
        f"The learning rate{_named(reading)} is more than the run bears: gradients exploded from"
        f" {told.evidence.window[0]:,} samples on, and the loss ends {rise:.2f} nats above where it had been."
    )
    evidence = FindingEvidence(loss.metric, told.evidence.window, rise, STAYED_NATS, "nats")
    return Told(claim, evidence, _lower(reading))


def _named(reading: Reading) -> str:
    return f" of {reading.facts.max_lr:.2g}" if reading.facts.max_lr else ""


def _lower(reading: Reading) -> tuple[str, ...]:
    return (setting("optim.max_lr", reading.facts.max_lr / 3),) if reading.facts.max_lr else ()


RULES = (
    Rule(
        "lr_too_high",
        "problem",
        "Learning rate too high",
        "A lower rate ends clearly lower: this one took the weights where there is little left to follow, or blew up.",
        (
            Threshold(
                "norm over the last quarter, as a share of its height (the 95th of 100)",
                LOST_NORM_SHARE,
                "runs near the best rate keep a fifth and more; ten times the rate leaves a tenth and less",
            ),
            Threshold(
                f"the same where the rates of all steps add up to {LONG_WAY} or more",
                LOST_NORM_SHARE_FAR,
                "so far from where it was drawn, a run that goes well had kept more",
            ),
            Threshold(
                "and share of the loss at chance that is left", HIGH_LOSS_SHARE, "low norms at a low loss are success"
            ),
            Threshold(
                f"or share of the run with a norm below {DEAD_NORM_SHARE:.0%} of the first",
                DEAD_RUN_SHARE,
                "such a stretch is lost even if the run comes back from it",
            ),
            Threshold("with that much of the loss at chance left", DEAD_LOSS_SHARE, "a run that came back has less"),
            Threshold(
                "or rise that stays after gradients exploded, in nats", STAYED_NATS, "from less it may come back"
            ),
        ),
        "Lower the peak to a third; where the run broke right at its start, a longer warmup may do as well.",
        _too_high,
    ),
    Rule(
        "lr_too_low",
        "caution",
        "Learning rate too low",
        "The run hardly moved: ten times the rate would end far lower.",
        (
            Threshold(
                "sum of the learning rate over all steps",
                TINY_WAY,
                "Adam moves a weight by no more; they are drawn 0.02 to 0.1 wide, and runs near the best rate have 0.1",
            ),
            Threshold("share of the loss at chance that was learned", MOVED_SHARE, "who learned more did move"),
        ),
        "Raise the peak by ten; the sum of rates also grows with the budget.",
        _too_low,
    ),
    Rule(
        "room_for_higher_lr",
        "note",
        "Room for a higher learning rate",
        "Gradients are still high, the loss still falls, and all steps together were a short way.",
        (
            Threshold(
                "sum of the learning rate over all steps",
                SHORT_WAY,
                "below it, three times the rate ended lower in nearly all runs of the tuning half; above 0.08 in few",
            ),
            Threshold(
                "norm over the last quarter, as a share of its height", HIGH_NORM_SHARE, "there is a slope to follow"
            ),
            Threshold("fall over the last doubling of learning, in nats", ROOM_NATS, "it leads down"),
        ),
        "Try three times the peak, at the same warmup.",
        _room,
    ),
)
