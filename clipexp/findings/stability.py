"""Numbers that are not finite, and jumps of the loss: does training stay in one piece?

non_finite and loss_spikes, see `RULES`.
"""

import re

import numpy as np

from clipexp.findings.finding import FindingEvidence
from clipexp.findings.reading import FloatArray, Line, Reading
from clipexp.findings.rule import Rule, Threshold, Told, setting
from clipexp.findings.statistics import mad, running_median

NOT_FINITE = re.compile(r"not finite|non-finite|\bnan\b|\binf(inite|inity)?\b", re.IGNORECASE)
WATCHED = ("train/loss", "train/grad_norm", "train/logit_scale")
LOWER_LR = 1 / 3

SPIKE_DEVIATIONS = 8.0
SPIKE_NATS = 0.5
SPIKE_NEIGHBOURS = 11  # points whose median a point is held against
LONGEST_SPIKE = 5  # points
FEWEST_FOR_SPIKES = 15


def _non_finite(reading: Reading) -> Told | None:
    faults = [fault for fault in reading.facts.faults if NOT_FINITE.search(fault)]
    names = [*WATCHED, *(name for name in sorted(reading.curves) if name.startswith("val/loss"))]
    bad = [(place, name) for name in names if (place := reading.first_bad(name)) is not None]
    if not bad and not faults:
        return None
    place, name = min(bad, default=(reading.end, "train/loss"))
    what = f"{name} is not finite from {place:,} samples on" if bad else faults[0].rstrip(".")
    claim = f"Training broke: {what}."
    num_bad = float(sum(np.count_nonzero(~np.isfinite(reading.curves[name].values)) for _, name in bad) + len(faults))
    return Told(
        claim, FindingEvidence(name, (place, max(place, reading.end)), num_bad, 1.0, "values"), _calmer(reading)
    )


def _calmer(reading: Reading) -> tuple[str, ...]:
    lr = reading.facts.max_lr
    return (setting("optim.max_lr", lr * LOWER_LR),) if lr else ()


def spikes_of(line: Line | None) -> tuple[FloatArray, FloatArray] | None:
    """Places (indices) of the tops of isolated jumps, and their heights; None where a curve is too short to tell.

    A jump stands above the median of its neighbours by many deviations of theirs, and by a share of it; it lasts
    for a few points and comes back.
    """
    if line is None or len(line) < FEWEST_FOR_SPIKES:
        return None
    middle = running_median(line.values, SPIKE_NEIGHBOURS)
    rest = line.values - middle
    spread = np.maximum(_local_spread(rest), 1e-9)
    is_up = (rest > SPIKE_DEVIATIONS * spread) & (rest > SPIKE_NATS)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_up, [False]]).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    tops = [
        begin + int(rest[begin:end].argmax())
        for begin, end in zip(begins, ends, strict=True)
        if end - begin <= LONGEST_SPIKE and begin > 1 and end < len(line)
    ]
    places = np.array(tops, np.int64)
    return places.astype(np.float64), rest[places]


def _local_spread(rest: FloatArray) -> FloatArray:
    """The deviation about each place: of all, and of the neighbourhood where that is more restless."""
    width = 4 * SPIKE_NEIGHBOURS + 1
    local = 1.4826 * running_median(np.abs(rest), width)
    return np.maximum(local, 0.5 * mad(rest))


def _loss_spikes(reading: Reading) -> Told | None:
    line = reading.train_loss
    found = spikes_of(line)
    if line is None or found is None or not len(found[0]):
        return None
    places, heights = found[0].astype(np.int64), found[1]
    top = int(heights.argmax())
    at = int(line.samples[places[top]])
    count = len(places)
    jumps = "jumps once" if count == 1 else f"jumps {count} times"
    claim = f"The training loss {jumps} and comes back; the highest is by {heights[top]:.2f} at {at:,} samples."
    window = int(line.samples[max(0, places.min() - 2)]), int(line.samples[min(len(line) - 1, places.max() + 2)])
    height_in_deviations = float(
        heights[top]
        / max(1e-9, _local_spread(line.values - running_median(line.values, SPIKE_NEIGHBOURS))[places[top]])
    )
    further = {"jumps": float(count), "highest_nats": float(heights[top])}
    evidence = FindingEvidence(line.metric, window, height_in_deviations, SPIKE_DEVIATIONS, "deviations", None, further)
    clip = reading.facts.grad_clip_norm
    settings = ("optim.grad_clip_norm=1.0",) if clip is None or clip > 1 else ("optim.beta2=0.95",)
    return Told(claim, evidence, settings)


RULES = (
    Rule(
        "non_finite",
        "problem",
        "Numbers that are not finite",
        "A loss or a gradient was NaN or infinite, or the run was stopped for it.",
        (Threshold("values that are not finite", 1.0, "no step after one such value can be trusted"),),
        "Lower the learning rate to a third, or lengthen the warmup; bf16 in place of fp16 if that was used.",
        _non_finite,
    ),
    Rule(
        "loss_spikes",
        "caution",
        "Loss spikes",
        "The training loss jumps up at single places and comes back.",
        (
            Threshold(
                "deviations above the neighbours' median",
                SPIKE_DEVIATIONS,
                "normal noise exceeds 5 once in millions of points; that of small batches has heavier tails",
            ),
            Threshold("height in nats", SPIKE_NATS, "less of a jump costs a run nothing"),
        ),
        "Clip gradients at a lower norm, or shorten the second moment's memory (optim.beta2=0.95).",
        _loss_spikes,
    ),
)
