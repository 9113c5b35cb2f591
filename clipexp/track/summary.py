"""What a finished run tells later ones: how fast which model went on which device.

samples_per_s(cost_key(spec), "NVIDIA H100")  # (9_800.0, 3): the median of three runs; None where none tells
"""

import dataclasses
import hashlib
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from clipexp.spec.base import result_fields
from clipexp.spec.run import RunSpec
from clipexp.track.header import RunHeader
from clipexp.track.home import home
from clipexp.track.journal import active_seconds, end_reason, last_samples_seen
from clipexp.track.kept import read_kept, write_kept

SUMMARY_FILE = "summary.json"
MIN_DURATION_S = 10


@dataclass(frozen=True)
class RunSummary:
    """`summary.json` beside a run's journal, written when an attempt has ended.

    weights_sha256: of the last checkpoint's model file; '' where there was none. start_samples: where it began, which
    is not 0 for a run that goes on from another.
    """

    cost_key: str
    device: str
    reason: str
    duration_s: float
    samples_seen: int
    weights_sha256: str = ""
    start_samples: int = 0

    @classmethod
    def of(cls, header: RunHeader, weights_sha256: str) -> Self:
        """Summarise a run's journal; the duration has validation and checkpoints in it, but no pauses."""
        folder = header.folder
        reason = end_reason(folder) or ""
        duration_s, samples_seen = active_seconds(folder), last_samples_seen(folder)
        start = (header.spec.get("continue_from") or {}).get("samples_seen", 0)
        return cls(header.cost_key, header.device, reason, duration_s, samples_seen, weights_sha256, start)

    def write(self, folder: Path) -> None:
        """Keep it with the journal. Raises OSError where there is no room."""
        write_kept(folder / SUMMARY_FILE, dataclasses.asdict(self))


def read_summary(folder: Path) -> RunSummary | None:
    """The summary of a journal; None while the run goes on for the first time."""
    content = read_kept(folder / SUMMARY_FILE)
    return RunSummary(**content) if content else None


def cost_key(spec: RunSpec) -> str:
    """12 hex digits over what decides a sample's cost: two specs with the same key run equally fast on one device."""
    train = spec.train
    content = [result_fields(spec.model), spec.data.tokenizer.vocab_size, spec.data.encoding, spec.data.augment]
    content += [train.batch_size, train.precision, *([train.micro_batch] if train.micro_batch else [])]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def samples_per_s(key: str, device_prefix: str) -> tuple[float, int] | None:
    """The median rate of earlier runs at this cost on this device, and how many runs that rests on.

    Validation and checkpoints are part of the rate. Runs of under 10 s tell nothing: most of that is the start.
    """
    rates = []
    for path in home().journals.glob(f"*/{SUMMARY_FILE}"):
        summary = read_kept(path)
        alike = summary.get("cost_key") == key and str(summary.get("device", "")).startswith(device_prefix)
        if alike and summary.get("duration_s", 0) >= MIN_DURATION_S:
            rates.append((summary["samples_seen"] - summary.get("start_samples", 0)) / summary["duration_s"])
    return (statistics.median(rates), len(rates)) if rates else None
