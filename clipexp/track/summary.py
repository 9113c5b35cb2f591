"""What a finished run tells later ones: how fast which model went on which device.

expected_seconds(cost_key(spec), device, samples)  # None where no run here tells
"""

import dataclasses
import hashlib
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from clipexp.spec.run import RunSpec, result_fields
from clipexp.track.home import home
from clipexp.track.journal import SUMMARY_FILE, Curves, read_json


@dataclass(frozen=True)
class RunSummary:
    """`summary.json` beside a run's journal."""

    cost_key: str
    device: str
    reason: str
    samples_per_s: float | None
    samples_seen: int

    @classmethod
    def of(cls, curves: Curves, cost_key: str, device: str, reason: str) -> Self:
        """Summarise a run's curves; the rate is the median over its logging windows."""
        rates = [point.value for point in curves.get("system/samples_per_s", ())]
        losses = curves.get("train/loss", ())
        return cls(
            cost_key,
            device,
            reason,
            statistics.median(rates) if rates else None,
            losses[-1].samples_seen if losses else 0,
        )

    def to_json(self) -> Mapping[str, Any]:
        """The file's content."""
        return dataclasses.asdict(self)


def cost_key(spec: RunSpec) -> str:
    """12 hex digits over what decides a sample's cost: two specs with the same key run equally fast on one device."""
    train = spec.train
    content = [result_fields(spec.model), spec.data.tokenizer.vocab_size, spec.data.encoding, spec.data.augment]
    content += [train.batch_size, train.precision]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def samples_per_s(key: str, device_prefix: str) -> tuple[float, int] | None:
    """The median rate of earlier runs at this cost on this device, and how many runs that rests on."""
    rates = []
    for path in home().journals.glob(f"*/{SUMMARY_FILE}"):
        summary = read_json(path)
        if summary.get("cost_key") == key and str(summary.get("device", "")).startswith(device_prefix):
            rates += [float(summary["samples_per_s"])] if summary.get("samples_per_s") else []
    return (statistics.median(rates), len(rates)) if rates else None
