"""The data's order: does the loss return with the data's own period?

loss_periodicity, see `RULES`.
"""

from clipexp.findings.finding import FindingEvidence
from clipexp.findings.reading import Line, Reading
from clipexp.findings.rule import Rule, Threshold, Told
from clipexp.findings.statistics import Pattern, returning_pattern

ALIKE = 0.15
BY_CHANCE = 0.002
SHORTER_SHARE = 0.7
SETTLED_FROM = 0.1  # share of the run: before it the loss falls too fast to hold a pattern


def _periodicity(reading: Reading) -> Told | None:
    line = reading.part(reading.train_loss, SETTLED_FROM)
    if line is None or reading.facts.shuffle == "full":
        return None
    epoch_pairs, shard_pairs = reading.facts.num_train_pairs, reading.facts.shard_pairs
    shard_pairs = None if shard_pairs == epoch_pairs else shard_pairs  # all pairs lie in one
    found = [
        (pattern, name, pairs)
        for name, pairs in (("epoch", epoch_pairs), ("shard", shard_pairs))
        if pairs and (pattern := _pattern(line, pairs)) is not None
    ]
    if not found:
        return None
    # what has a shard's period has an epoch's too, and about as strongly; the other way round it does not hold
    strongest = max(entry[0].correlation for entry in found)
    pattern, name, pairs = next(e for e in reversed(found) if e[0].correlation >= SHORTER_SHARE * strongest)
    points = pairs / float((line.samples[-1] - line.samples[0]) / max(1, len(line) - 1))
    claim = (
        f"The training loss returns with the data's own period, the {name} of {pairs:,} pairs ({points:.0f} points):"
        f" one {name} correlates with the next by {pattern.correlation:.2f} over {pattern.num_periods} of them."
    )
    further = {"chance": pattern.chance, "amplitude_nats": pattern.amplitude, "period_samples": float(pairs)}
    evidence = FindingEvidence(line.metric, line.window, pattern.correlation, ALIKE, "correlation", None, further)
    return Told(claim, evidence, ("data.shuffle=full",))


def _pattern(line: Line, pairs: int) -> Pattern | None:
    pattern = returning_pattern(line.samples, line.values, pairs)
    return pattern if pattern and pattern.correlation >= ALIKE and pattern.chance <= BY_CHANCE else None


RULES = (
    Rule(
        "loss_periodicity",
        "problem",
        "Loss periodicity",
        "The training loss has the data's own period, an epoch's or a shard's: pairs come in a fixed order.",
        (
            Threshold("mean correlation of one period with another", ALIKE, "less of a pattern decides nothing"),
            Threshold(
                "chance of it by noise",
                BY_CHANCE,
                "among periods turned at random, so that noise and near points are alike; two periods are tried",
            ),
        ),
        "Shuffle the whole set anew each epoch.",
        _periodicity,
    ),
)
