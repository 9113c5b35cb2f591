"""The end of a run: does it still learn, did it stop long before, and how sure is its last value?

still_converging, saturated_early and noisy_end, see `RULES`.
"""

import math

import numpy as np

from clipexp.findings.finding import FindingEvidence
from clipexp.findings.forecast import FEWEST_POINTS, Forecast, forecast_of
from clipexp.findings.reading import FloatArray, Line, Reading
from clipexp.findings.rule import Rule, Threshold, Told, setting
from clipexp.findings.statistics import moving_mean, noise_of, slope_of

GAIN_NATS = 0.28
SLOWED_NATS = 0.1
IDLE_NATS = 0.07
LEARNT_NATS = 0.5
NOISE_NATS = 0.08
NOISE_SHARE = 0.2
LAST_VALIDATIONS = 9
END_FROM = 0.8
FEWEST_AT_END = 10
FEWEST_FOR_HALVES = 6


def end_line(reading: Reading) -> Line | None:
    """The loss that the end is judged by: of the validation where it has points enough, else of training."""
    val = reading.trained_val_loss
    return val if val is not None and len(val) >= FEWEST_POINTS else reading.train_loss


def end_forecast(reading: Reading) -> Forecast | None:
    """What twice the budget would bring."""
    line = end_line(reading)
    if line is None:
        return None
    chance = reading.val_chance if line is reading.trained_val_loss else reading.train_chance
    if chance is not None:  # coming down to chance from above is no learning
        line = Line(line.metric, line.samples, np.minimum(line.values, chance))
    return forecast_of(line, reading.line("train/lr"), reading.start)


def _converging(reading: Reading) -> Told | None:
    line, forecast = end_line(reading), end_forecast(reading)
    half = over_last_half(reading, line)
    if line is None or forecast is None or half is None or not reading.is_whole:
        return None
    if forecast.gain < GAIN_NATS or forecast.low <= 0 or _slowed(reading, line, half) < SLOWED_NATS:
        return None
    slope = slope_of(reading.part(line, 0.5))
    per = (half[0] - half[1]) / (reading.end - reading.start) * 2 * 10_000
    loss, low, high = (max(0.0, forecast.level - gain) for gain in (forecast.gain, forecast.high, forecast.low))
    claim = (
        f"The loss still falls, over the last half by {per:.2g} a 10,000 samples; twice the budget may bring it from"
        f" {forecast.level:.2f} to {loss:.2f} (95%: {low:.2f} to {high:.2f})."
    )
    further = {"forecast": loss, "forecast_low": low, "forecast_high": high}
    if slope is not None:
        further |= {f"slope_{end}_per_10k": value * 1e4 for end, value in (("low", slope.low), ("high", slope.high))}
    window = int(reading.at(0.5)), line.window[1]
    interval = forecast.low, forecast.high
    evidence = FindingEvidence(line.metric, window, forecast.gain, GAIN_NATS, "nats", interval, further)
    return Told(claim, evidence, (setting("train.budget.samples", 2 * reading.end - reading.start),))


def _slowed(reading: Reading, line: Line, half: tuple[float, float]) -> float:
    """The fall over the last half of the run, slowed once more as it slowed against the quarter before; nats."""
    middle, end = half
    near = line.values[np.abs(line.samples - reading.at(0.25)) <= 0.06 * (reading.end - reading.start)]
    chance = reading.val_chance if line is reading.trained_val_loss else reading.train_chance
    before = min(float(np.median(near)), chance or math.inf) if len(near) else math.inf
    return (middle - end) * min(1.0, (middle - end) / max(before - middle, 1e-9))


def over_last_half(reading: Reading, line: Line | None) -> tuple[float, float] | None:
    """The loss in the middle of the run, and at its end: means of some points."""
    if line is None or len(line) < FEWEST_FOR_HALVES or reading.end <= reading.start:
        return None
    middle = int(np.abs(line.samples - reading.at(0.5)).argmin())
    reach = max(1, len(line) // 20)
    around = line.values[max(0, middle - reach) : middle + reach + 1]
    return float(around.mean()), float(line.values[-max(2, 2 * reach) :].mean())


def _saturated(reading: Reading) -> Told | None:
    line = end_line(reading)
    half = over_last_half(reading, line)
    if line is None or half is None or not reading.is_whole:
        return None
    before, after = half
    is_val = line is reading.trained_val_loss
    first = (reading.val_chance if is_val else reading.train_chance) or float(line.values[0])
    noise = 0.0 if is_val else noise_of(line.values) / np.sqrt(max(2, len(line) // 10))
    if first - after < LEARNT_NATS or abs(before - after) > IDLE_NATS or noise > IDLE_NATS:
        return None
    begin = _idle_from(line, after)
    claim = (
        f"The last half of the budget brought next to nothing: the loss went from {before:.2f} to {after:.2f}; from"
        f" {begin:,} samples on it is where it ended."
    )
    window = int(reading.at(0.5)), line.window[1]
    evidence = FindingEvidence(line.metric, window, before - after, IDLE_NATS, "nats", None, {"since": float(begin)})
    return Told(claim, evidence, (setting("train.budget.samples", round(reading.at(0.5))),))


def _idle_from(line: Line, end: float) -> int:
    """Samples seen from where on the smoothed loss stays near its end."""
    width = max(1, len(line) // 20)
    smooth = moving_mean(line.values, width)
    away = np.flatnonzero(np.abs(smooth - end) > IDLE_NATS)
    return int(line.samples[min(len(line) - 1, int(away[-1]) + width)]) if len(away) else line.window[0]


def _about_line(values: FloatArray) -> float:
    """The deviation about the straight line through values."""
    x = np.arange(len(values)) - (len(values) - 1) / 2
    rest = values - values.mean() - x * float(x @ values) / float(x @ x)
    return float(np.sqrt(rest @ rest / (len(values) - 2)))


def _noisy(reading: Reading) -> Told | None:
    val = reading.trained_val_loss
    if val is not None and len(val) >= LAST_VALIDATIONS:
        spread = noise_of(val.values[-LAST_VALIDATIONS:])
        if spread < NOISE_NATS:
            return None
        window = int(val.samples[-LAST_VALIDATIONS]), val.window[1]
        claim = (
            f"The last {LAST_VALIDATIONS} validations scatter by {spread:.2f} nats about their way: where the run"
            " stops decides how it ends."
        )
        return Told(claim, FindingEvidence(val.metric, window, spread, NOISE_NATS, "nats"), _calmer(reading))
    line = reading.part(reading.train_loss, END_FROM)
    if line is None or len(line) < FEWEST_AT_END:
        return None
    share = _about_line(line.values) / max(1e-9, float(line.values.mean()))
    if share < NOISE_SHARE:
        return None
    claim = f"The training loss fluctuates by {share:.0%} at the end: its last value says little."
    return Told(claim, FindingEvidence(line.metric, line.window, share, NOISE_SHARE, "of the loss"), _calmer(reading))


def _calmer(reading: Reading) -> tuple[str, ...]:
    """Let the rate decay to nothing; where it does, make batches larger."""
    facts = reading.facts
    if facts.decay == "constant":
        return ("schedule.decay=cosine",)
    if facts.min_lr_frac is not None and facts.min_lr_frac > 0.05:
        return ("schedule.min_lr_frac=0.0",)
    return (setting("train.batch_size", 2 * facts.batch_size),) if facts.batch_size else ()


RULES = (
    Rule(
        "still_converging",
        "note",
        "Still converging",
        "The loss still falls, so a larger budget would end clearly lower.",
        (
            Threshold(
                "forecast gain of twice the budget, in nats",
                GAIN_NATS,
                "then the interval's low end is above 0.08, what two seeds differ by",
            ),
            Threshold(
                "fall over the last half, slowed once more as it slowed against the quarter before, in nats",
                SLOWED_NATS,
                "what comes to rest by itself falls early, and little after",
            ),
        ),
        "Train for longer: twice the samples, with the same shape of the schedule.",
        _converging,
    ),
    Rule(
        "saturated_early",
        "note",
        "Saturated early",
        "The last half of the budget brings next to nothing, to a run that had learned something.",
        (
            Threshold("change of the loss over the last half, in nats", IDLE_NATS, "less than two seeds differ by"),
            Threshold(
                "learned before, in nats below chance", LEARNT_NATS, "a run that never learned is no saturated one"
            ),
        ),
        "Half the budget does as well. To get lower: more pairs, a larger model, or a lower rate to end on.",
        _saturated,
    ),
    Rule(
        "noisy_end",
        "caution",
        "Noisy end",
        "The loss fluctuates so much at the end that the last value is a matter of luck.",
        (
            Threshold(
                f"scatter of the last {LAST_VALIDATIONS} validations about their way, in nats",
                NOISE_NATS,
                "more than two seeds differ by: stopped sooner, the run would be judged otherwise",
            ),
            Threshold(
                "where there are fewer: scatter of the training loss, as a share", NOISE_SHARE, "beyond a batch's own"
            ),
        ),
        "Let the learning rate decay to nothing, take larger batches, or judge runs by several validations.",
        _noisy,
    ),
)
