"""What a run's own curves show beyond doubt, what they show in part, and what they don't.

    visible(setup, outcome)["overfitting"]  # "expected", "allowed" or "no"

Each verdict has two margins: above the one it is there, below the other it is not, between them it counts neither way.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tests.findings.corpus_runs import Outcome, Setup

Verdict = Literal["expected", "allowed", "no"]
START_SCALE = 1 / 0.07
Values = NDArray[np.float64]


def _values(outcome: Outcome, metric: str) -> Values:
    return np.asarray(outcome.points.get(metric, ([], []))[1], np.float64)


def _band(value: float, expected: float, allowed: float) -> Verdict:
    return "expected" if value >= expected else "allowed" if value >= allowed else "no"


def _ends(values: Values, share: float = 0.1) -> tuple[float, float]:
    """The medians over the first and the last part of a curve."""
    num = max(1, int(len(values) * share))
    return float(np.median(values[:num])), float(np.median(values[-num:]))


def chance(outcome: Outcome) -> float:
    """The validation loss at chance, in nats."""
    return float(outcome.points["val/chance_loss"][1][0])


def is_stuck(outcome: Outcome) -> bool:
    """Whether the last validation loss is where guessing is, or above."""
    return bool(outcome.points[outcome.loss_metric][1][-1] > chance(outcome) - 0.1)


def visible(setup: Setup, outcome: Outcome) -> dict[str, Verdict]:
    """A verdict on every rule that is about what a curve shows."""
    val, train = _values(outcome, outcome.loss_metric), _values(outcome, "train/loss")
    finite_val, finite_train = val[np.isfinite(val)], train[np.isfinite(train)]
    verdicts: dict[str, Verdict] = {
        "non_finite": "expected" if outcome.faults or not np.isfinite(np.concatenate([val, train])).all() else "no",
        "small_evaluation": _small_evaluation(setup.num_val),
        "overfitting": _overfitting(finite_val, finite_train),
        "stuck_at_chance": _stuck(finite_val, finite_train, chance(outcome), math.log(setup.batch_size)),
        "saturated_early": _saturated(finite_val, chance(outcome)),
        "noisy_end": _noisy_end(
            finite_val, finite_train, is_rate_high=setup.decay == "constant" and setup.warmup_frac < 0.5
        ),
        "loss_spikes": _spikes(finite_train),
        "loss_periodicity": "no",
        **_gradients(outcome, finite_train, setup.batch_size),
        **_scale(_values(outcome, "train/logit_scale")),
        "embedding_collapse": _collapse(outcome),
        **_machine(outcome),
    }
    if verdicts["stuck_at_chance"] == "expected" and verdicts["saturated_early"] == "no":
        verdicts["saturated_early"] = "allowed"
    return verdicts


def _small_evaluation(num_val: int) -> Verdict:
    """Up to 100 pairs a recall of a half is known to 10 points at best; from 1,000 on to 3, which people live with."""
    return "expected" if num_val <= 100 else "allowed" if num_val < 600 else "no"


def _overfitting(val: Values, train: Values) -> Verdict:
    """The loss rises by 0.3 nats from its best, while that of training falls."""
    if len(val) < 4 or len(train) < 12:
        return "no"
    best = int(val.argmin())
    rise = float(val[-2:].mean() - val[best])
    place = max(8, int(best / (len(val) - 1) * len(train)))
    at_best = train[max(0, place - max(8, len(train) // 8)) : place]
    falls = float(np.median(at_best) - np.median(train[-max(5, len(train) // 10) :]))
    return _band(rise if falls > 0.1 else 0.0, 0.3, 0.06)


def _stuck(val: Values, train: Values, chance: float, train_chance: float) -> Verdict:
    """Neither loss is ever 0.1 nats below chance, smoothed over some windows."""
    if len(train) < 5:
        return "allowed"
    smooth = np.convolve(train, np.ones(5) / 5, "valid")
    val_gain, train_gain = chance - float(val.min()), train_chance - float(smooth.min())
    if val_gain < 0.1 and train_gain < 0.1:
        return "expected"
    ended_there = chance - float(val[-1]) < 0.5
    return "allowed" if val_gain < 0.5 or ended_there else "no"


def _saturated(val: Values, chance: float) -> Verdict:
    """The second half of the budget brings under 0.05 nats, to a run that had learned something."""
    if len(val) < 6:
        return "allowed"
    middle = len(val) // 2
    gain = float(val[middle - 1 : middle + 2].mean() - val[-2:].mean())
    if gain < 0.05:
        return "expected" if abs(gain) < 0.05 and val[-1] < chance - 0.5 else "allowed"
    return "allowed" if gain < 0.2 else "no"


def _residuals(values: Values) -> Values:
    """What is left of a stretch once its straight line is taken off."""
    places = np.arange(len(values))
    return np.asarray(values - np.polyval(np.polyfit(places, values, 1), places))


def _noisy_end(val: Values, train: Values, *, is_rate_high: bool) -> Verdict:
    """The last validations scatter by 0.1 nats around their way: stopped a little sooner, the run ends elsewhere.

    Expected only where the rate is high to the end, which is the cause put in.
    """
    if len(val) < 9:
        return "allowed"
    spread = float(
        np.median(np.abs(np.diff(val[-9:], 2))) * 1.4826 / math.sqrt(6)
    )  # what bends slowly has no share in it
    verdict = _band(spread, 0.1 if is_rate_high else math.inf, 0.04)
    tail = train[-max(10, len(train) // 6) :]
    if verdict == "no" and len(tail) >= 10 and _residuals(tail).std(ddof=2) > 0.12 * tail.mean():
        return "allowed"  # the training loss alone scatters
    return verdict


def _spikes(train: Values) -> Verdict:
    """Never expected by this alone: jumps are put in by their recipe; others are a matter of taste."""
    if len(train) < 20:
        return "no"
    middle = np.array([np.median(train[max(0, i - 5) : i + 6]) for i in range(len(train))])
    jumps = (train - middle)[5:]
    return "allowed" if jumps.max() > max(0.35, 5 * 1.4826 * float(np.median(np.abs(jumps)))) else "no"


def _gradients(outcome: Outcome, train: Values, batch_size: int) -> dict[str, Verdict]:
    norms = _values(outcome, "train/grad_norm")
    norms = norms[np.isfinite(norms)]
    if len(norms) < 10:
        return {"vanished_gradients": "no", "exploding_gradients": "allowed" if outcome.faults else "no"}
    first, last = _ends(norms)
    is_high = float(np.median(train[-5:])) > 0.7 * math.log(batch_size)
    share = last / max(first, 1e-12)
    vanished: Verdict = "no"
    if is_high and share < 0.1:
        vanished = "expected" if share < 0.005 and last < 0.05 else "allowed"
    return {"vanished_gradients": vanished, "exploding_gradients": _exploding(norms, train)}


def _exploding(norms: Values, train: Values) -> Verdict:
    """Over 5 windows the norm is 10 times its median before, and the loss above its lowest before."""
    growth, hurt = 1.0, 0.0
    for end in range(9, len(norms) + 1):
        before = float(np.median(norms[: end - 5]))
        now = float(np.median(norms[end - 5 : end]))
        if now / max(before, 1e-9) > growth and now > 1:
            lowest = float(np.percentile(train[: end - 5], 10))
            growth, hurt = now / max(before, 1e-9), float(np.median(train[end - 5 : end]) - lowest)
    if growth >= 10 and hurt > 0.2:
        return "expected"
    return "allowed" if growth >= 3.5 else "no"


def _scale(scale: Values) -> dict[str, Verdict]:
    if len(scale) < 5:
        return {"logit_scale_clamped": "no", "logit_scale_falling": "no"}
    last = scale[-max(3, len(scale) // 10) :]
    clamped: Verdict = "expected" if last.min() > 99.9 else "allowed" if scale.max() > 95 else "no"
    return {
        "logit_scale_clamped": clamped,
        "logit_scale_falling": _band(START_SCALE / float(np.median(last)), 1.5, 1.08),
    }


def _collapse(outcome: Outcome) -> Verdict:
    """All of one kind are alike at the end: and more so than before training, when many models' are rather alike."""
    verdicts: list[Verdict] = []
    for metric in ("val/image_similarity", "val/text_similarity"):
        values = _values(outcome, metric)
        values = values[np.isfinite(values)]
        last = float(values[-2:].min())
        verdicts.append("expected" if last > 0.98 and last >= values[0] and len(values) > 2 else _band(last, 2.0, 0.8))
    return _strongest(verdicts)


def _strongest(verdicts: Sequence[Verdict]) -> Verdict:
    return next((found for found in ("expected", "allowed") if found in verdicts), "no")


def _machine(outcome: Outcome) -> dict[str, Verdict]:
    waited, speed = _values(outcome, "system/data_wait_frac"), _values(outcome, "system/samples_per_s")
    verdicts: dict[str, Verdict] = {"data_starvation": "no", "throughput_falling": "no", "memory_near_limit": "no"}
    if min(len(speed), len(waited)) < 5:
        return verdicts
    first, last = _ends(speed, 0.25)
    if last < 0.85 * first or speed.min() < 0.6 * np.median(speed):
        verdicts["throughput_falling"] = "expected" if last < 0.55 * first else "allowed"  # others used the machine too
    late = waited[len(waited) // 2 :]
    verdicts["data_starvation"] = _band(max(float(late.mean()), float(waited.mean())), 0.4, 0.1)
    return verdicts
