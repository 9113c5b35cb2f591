"""The machine: does training wait for data, slow down, or run out of memory?

data_starvation, throughput_falling and memory_near_limit, see `RULES`.
"""

import numpy as np

from clipexp.findings.finding import FindingEvidence
from clipexp.findings.reading import Reading
from clipexp.findings.rule import Rule, Threshold, Told, setting
from clipexp.findings.statistics import mad

STARVED_SHARE = 0.25
FULL_SHARE = 0.92
SLOWED_SHARE = 0.65
FEWEST_FOR_SPEED = 6
SLOWED_DEVIATIONS = 2.0


def _starvation(reading: Reading) -> Told | None:
    line, speed = reading.line("system/data_wait_frac"), reading.line("system/samples_per_s")
    if line is None:
        return None
    weights = np.ones(len(line))
    if speed is not None and len(line) > 1:  # time, not samples, is what is lost
        rates = np.interp(line.samples, speed.samples, speed.values)
        weights = np.diff(line.samples, prepend=reading.start) / np.maximum(rates, 1e-9)
    weights = np.maximum(weights, 1e-12)
    half = len(line) // 2
    shares = [float(np.clip(np.average(line.values[n:], weights=weights[n:]), 0, 1)) for n in (0, half)]
    share, begin = (shares[0], 0) if shares[0] >= STARVED_SHARE else (shares[1], half)
    if share < STARVED_SHARE:
        return None
    when = "of its time" if begin == 0 else "of its last half's time"
    claim = f"Training waited for data {share:.0%} {when}: {1 / max(1e-9, 1 - share):.1f}x as fast without."
    window = int(line.samples[begin]), line.window[1]
    return Told(claim, FindingEvidence(line.metric, window, share, STARVED_SHARE, "share of the time"))


def _slowing(reading: Reading) -> Told | None:
    line = reading.line("system/samples_per_s")
    if line is None or len(line) < FEWEST_FOR_SPEED:
        return None
    size = max(2, len(line) // 4)
    first, last = line.values[:size], line.values[-size:]
    before, after = float(np.median(first)), float(np.median(last))
    ratio = after / max(before, 1e-9)
    spread = np.hypot(mad(first), mad(last)) * 1.25 / np.sqrt(size)  # of a difference of medians
    if ratio > SLOWED_SHARE or before - after < SLOWED_DEVIATIONS * spread:
        return None
    claim = f"Training slowed from {before:,.0f} to {after:,.0f} samples/s (medians of the first and last quarter)."
    evidence = FindingEvidence(line.metric, line.window, ratio, SLOWED_SHARE, "of the first rate")
    return Told(claim, evidence)


def _memory(reading: Reading) -> Told | None:
    tops = [
        (float(line.values.max()), line)
        for name in ("system/memory_frac", "system/gpu_memory_frac")
        if (line := reading.line(name)) is not None
    ]
    value, line = max(tops, key=lambda top: top[0], default=(0.0, None))
    if line is None or value < FULL_SHARE:
        return None
    whose = "the GPU's" if "gpu" in line.metric else "the machine's"
    first = int(line.samples[(line.values >= FULL_SHARE).argmax()])
    claim = f"The run used {value:.0%} of {whose} memory: a little more, and it ends."
    batch = reading.facts.batch_size
    settings = (setting("train.micro_batch", batch // 2),) if batch and batch % 2 == 0 else ()
    return Told(claim, FindingEvidence(line.metric, (first, line.window[1]), value, FULL_SHARE, "share"), settings)


RULES = (
    Rule(
        "data_starvation",
        "problem",
        "Waiting for data",
        "A large share of the time went to waiting for data.",
        (Threshold("share of the time", STARVED_SHARE, "below it, faster data could save no more than a quarter"),),
        "Prepare the pictures at the model's size (data.encoding=raw), on a local disk; give the loader more cores.",
        _starvation,
    ),
    Rule(
        "throughput_falling",
        "caution",
        "Throughput falling",
        "Training is clearly slower at the end than at the start.",
        (
            Threshold("of the first quarter's rate", SLOWED_SHARE, "a shared machine moves by a quarter by itself"),
            Threshold("deviations of the medians", SLOWED_DEVIATIONS, "beyond what the rate's own noise gives"),
        ),
        "Look for another process, heat, or memory that grows; system/memory_mb tells of the last.",
        _slowing,
    ),
    Rule(
        "memory_near_limit",
        "caution",
        "Memory near its limit",
        "The run took nearly all memory there is.",
        (Threshold("share of the memory", FULL_SHARE, "what is left is less than a validation may take at once"),),
        "Hold fewer pairs at once (train.micro_batch gives the same result), or a smaller evals.num_pairs.",
        _memory,
    ),
)
