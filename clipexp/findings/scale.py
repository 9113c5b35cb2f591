"""The logit scale, and embeddings that have become all alike.

logit_scale_clamped, logit_scale_falling, embedding_collapse and stuck_at_chance, see `RULES`.
"""

import numpy as np

from clipexp.findings.finding import FindingEvidence
from clipexp.findings.reading import Line, Reading
from clipexp.findings.rule import Rule, Threshold, Told, setting
from clipexp.findings.statistics import moving_mean

CLAMP = 100.0
AT_CLAMP = 99.5
CLAMPED_FROM = 0.9
INITIAL_SCALE = 1 / 0.07
FALLEN_SHARE = 0.75
END_FROM = 0.9
COLLAPSED = 0.97
STUCK_NATS = 0.12
SMOOTHING = 5  # windows
FEWEST_VALIDATIONS = 3  # before them nobody can say "never"


def _clamped(reading: Reading) -> Told | None:
    line = reading.line("train/logit_scale")
    end = reading.part(line, CLAMPED_FROM)
    if line is None or end is None or float(np.median(end.values)) < AT_CLAMP:
        return None
    first = int(line.samples[(line.values >= AT_CLAMP).argmax()])
    share = float(np.mean(line.values >= AT_CLAMP))
    claim = (
        f"The logit scale sits at its clamp of {CLAMP:.0f}, first at {first:,} samples, in {share:.0%} of the points."
    )
    level = float(np.median(end.values))
    evidence = FindingEvidence(line.metric, (first, line.window[1]), level, AT_CLAMP, "scale", None, {"share": share})
    lr = reading.facts.max_lr
    return Told(claim, evidence, (setting("optim.max_lr", lr / 3),) if lr else ())


def _falling(reading: Reading) -> Told | None:
    line = reading.line("train/logit_scale")
    end = reading.part(line, END_FROM)
    if line is None or end is None:
        return None
    first = float(line.values[0])
    start = INITIAL_SCALE if 0.5 * INITIAL_SCALE < first < 1.1 * INITIAL_SCALE else first
    level = float(np.median(end.values))
    limit = FALLEN_SHARE * start
    if level > limit:
        return None
    last_above = np.flatnonzero(line.values > limit)
    begin = int(line.samples[last_above[-1]]) if len(last_above) else line.window[0]
    claim = (
        f"The logit scale fell from {start:.1f} to {level:.1f} and stays there: the model doubts its own similarities."
    )
    evidence = FindingEvidence(line.metric, (begin, line.window[1]), level, limit, "scale", None, {"start": start})
    lr = reading.facts.max_lr
    return Told(claim, evidence, (setting("optim.max_lr", lr / 3),) if lr else ())


def _collapse(reading: Reading) -> Told | None:
    found: list[tuple[float, str, Line]] = []
    for what in ("image", "text"):
        line = reading.line(f"val/{what}_similarity")
        if line is None or line.window[1] <= reading.start:
            continue
        last = float(line.values[-2:].min())
        is_less = (
            line.samples[0] <= reading.start and last < line.values[0]
        )  # than untrained towers, which are alike too
        if last >= COLLAPSED and not is_less:
            found.append((last, "pictures" if what == "image" else "captions", line))
    if not found:
        return None
    value, _, line = max(found, key=lambda entry: entry[0])
    sides = " and ".join(side for _, side, _ in found)
    begin = np.flatnonzero(line.values < COLLAPSED)
    since = int(line.samples[begin[-1] + 1]) if len(begin) else line.window[0]
    claim = f"All {sides} have nearly the same embedding: two of them have a mean cosine similarity of {value:.3f}."
    lr = reading.facts.max_lr
    settings = (setting("optim.max_lr", lr / 10),) if lr else ()
    return Told(claim, FindingEvidence(line.metric, (since, line.window[1]), value, COLLAPSED, "cosine"), settings)


def _stuck(reading: Reading) -> Told | None:
    gaps = [
        (chance - lowest, line, chance, lowest)
        for line, chance, width in (
            (reading.trained_val_loss, reading.val_chance, 1),
            (reading.train_loss, reading.train_chance, SMOOTHING),
        )
        if line is not None and chance is not None and len(line) >= max(width, FEWEST_VALIDATIONS)
        for lowest in [float(moving_mean(line.values, width).min())]
    ]
    if not gaps or reading.end <= reading.start or max(gap for gap, *_ in gaps) >= STUCK_NATS:
        return None
    _, line, chance, lowest = gaps[0]
    what = "validation" if line is reading.trained_val_loss else "training"
    claim = f"The {what} loss never left chance: its lowest is {lowest:.2f}, and guessing gives {chance:.2f}."
    further = {"chance": chance}
    return Told(claim, FindingEvidence(line.metric, line.window, lowest, chance - STUCK_NATS, "nats", None, further))


RULES = (
    Rule(
        "stuck_at_chance",
        "problem",
        "Loss stuck at chance",
        "The validation loss never falls below what guessing gives, the logarithm of the block's size.",
        (
            Threshold(
                "nats below chance, of validation and training",
                STUCK_NATS,
                "a model that tells anything apart is soon below",
            ),
        ),
        "Check that captions belong to their pictures; then try a learning rate ten times lower, and ten times higher.",
        _stuck,
    ),
    Rule(
        "embedding_collapse",
        "problem",
        "Embedding collapse",
        "All pictures, or all captions, have nearly the same embedding.",
        (Threshold("mean cosine similarity", COLLAPSED, "towers as drawn have less, and training lowers it"),),
        "Lower the learning rate by ten and lengthen the warmup; check that the data differ at all.",
        _collapse,
    ),
    Rule(
        "logit_scale_clamped",
        "caution",
        "Logit scale at its clamp",
        "The logit scale sits at its highest value, so the loss can't sharpen any more.",
        (Threshold("median over the last tenth", AT_CLAMP, "a touch is no matter, a stay is"),),
        "The training pairs are told apart as well as the scale allows: look for overfitting, or lower the rate.",
        _clamped,
    ),
    Rule(
        "logit_scale_falling",
        "caution",
        "Logit scale falling",
        "The logit scale falls well below its start and stays there.",
        (Threshold("share of its start", FALLEN_SHARE, "healthy runs dip by a tenth early on and come back"),),
        "Pairs don't match well enough to be sure of: check the captions, or lower the learning rate.",
        _falling,
    ),
)
