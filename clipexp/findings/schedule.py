"""The warmup's length.

warmup_too_short and warmup_too_long, see `RULES`.
"""

import numpy as np

from clipexp.findings.finding import FindingEvidence
from clipexp.findings.reading import Line, Reading
from clipexp.findings.rule import Rule, Threshold, Told, setting
from clipexp.findings.statistics import running_median

SHORT_SHARE = 0.05
DIP_SHARE = 0.03
DIP_WITHIN = 0.2  # of the run
BUMP_NATS = 0.3
LONG_SHARE = 0.8
GOOD_SHARE = 0.1


def warmup_share(reading: Reading) -> float | None:
    """The share of the budget in which the learning rate rises, by the spec, else by its curve."""
    if reading.facts.warmup_frac is not None:
        return reading.facts.warmup_frac
    line = reading.line("train/lr")
    span = reading.horizon - reading.start
    if line is None or len(line) < 5 or line.values.max() <= 0 or span <= 0:
        return None
    top = int((line.values >= 0.98 * line.values.max()).argmax())
    return float(line.samples[top] - reading.start) / span if top else 0.0


def _too_long(reading: Reading) -> Told | None:
    share, loss = warmup_share(reading), reading.train_loss
    if share is None or loss is None or share < LONG_SHARE:
        return None
    end = round(reading.start + share * (reading.horizon - reading.start))
    claim = f"The warmup takes {share:.0%} of the budget, up to {end:,} samples: the rate has no time to come down."
    evidence = FindingEvidence("train/lr", (reading.start, end), share, LONG_SHARE, "share of the budget")
    return Told(claim, evidence, (setting("schedule.warmup_frac", GOOD_SHARE),))


def _too_short(reading: Reading) -> Told | None:
    share = warmup_share(reading)
    if share is None or share >= SHORT_SHARE:
        return None
    return _dip(reading, share) or _bump(reading, share)


def _dip(reading: Reading, share: float) -> Told | None:
    """The norm falls to next to nothing right at the start: the first steps took the towers too far."""
    norm = reading.line("train/grad_norm")
    early = reading.part(norm, 0.0, DIP_WITHIN)
    if norm is None or early is None or len(early) < 4:
        return None
    first = float(early.values[0])
    place = int(early.values.argmin())
    dip = float(early.values[place]) / max(first, 1e-12)
    if dip >= DIP_SHARE:
        return None
    at = int(early.samples[place])
    claim = (
        f"With a warmup of {share:.1%} of the budget, the gradient norm drops from {first:.2g} to {dip * first:.2g} by"
        f" {at:,} samples: the first steps took the towers too far."
    )
    evidence = FindingEvidence(norm.metric, (reading.start, at), dip, DIP_SHARE, "of the first norm")
    return Told(claim, evidence, (setting("schedule.warmup_frac", GOOD_SHARE),))


def _bump(reading: Reading, share: float) -> Told | None:
    """The loss rises well above where it was, right at the start."""
    early: Line | None = reading.part(reading.train_loss, 0.0, DIP_WITHIN)
    if early is None or len(early) < 5:
        return None
    smooth = running_median(early.values, 3)
    rise = smooth - np.minimum.accumulate(smooth)
    place = int(rise.argmax())
    if rise[place] < BUMP_NATS:
        return None
    at = int(early.samples[place])
    claim = f"With a warmup of {share:.1%} of the budget, the loss rises by {rise[place]:.2f} nats by {at:,} samples."
    evidence = FindingEvidence(early.metric, (reading.start, at), float(rise[place]), BUMP_NATS, "nats")
    return Told(claim, evidence, (setting("schedule.warmup_frac", GOOD_SHARE),))


RULES = (
    Rule(
        "warmup_too_short",
        "caution",
        "Warmup too short",
        "The first steps, at a rate that rose too fast, did harm that a longer warmup would not.",
        (
            Threshold(
                "warmup, as a share of the budget", SHORT_SHARE, "from a twentieth on, none of the runs tried had it"
            ),
            Threshold(
                f"lowest norm in the first {DIP_WITHIN:.0%}, as a share of the first",
                DIP_SHARE,
                "towers that were taken too far have next to no gradient for a while; with a warmup it stays above",
            ),
            Threshold("or rise of the loss there, in nats", BUMP_NATS, "more than noise, where norms are not recorded"),
        ),
        "Let the rate rise over a tenth of the budget.",
        _too_short,
    ),
    Rule(
        "warmup_too_long",
        "note",
        "Warmup too long",
        "The warmup eats so much of the budget that the rate has no time to come down again.",
        (
            Threshold(
                "warmup, as a share of the budget",
                LONG_SHARE,
                "up to 70% it cost nothing in 24 runs tried both ways; at 97% it cost 0.2 nats and more",
            ),
        ),
        "A tenth of the budget does; what is left is for the full rate and its decay.",
        _too_long,
    ),
)
