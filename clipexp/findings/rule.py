"""A rule: when it speaks, from where on and why there, and what to try then.

Rule("stuck_at_chance", "problem", "Loss stuck at chance", "...", (Threshold(...),), "...", check)
"""

from collections.abc import Callable
from dataclasses import dataclass

from clipexp.findings.finding import FindingEvidence, Severity
from clipexp.findings.reading import Reading


@dataclass(frozen=True)
class Threshold:
    """From where on a rule speaks. what: the quantity, with its unit. reason: why not elsewhere."""

    what: str
    value: float
    reason: str


@dataclass(frozen=True)
class Told:
    """What a rule found in one run. settings: `KEY=VALUE` for `--set`. remedy: in place of the rule's own words."""

    claim: str
    evidence: FindingEvidence
    settings: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True)
class Rule:
    """One rule. title: a heading. says: what is true of a run of which it speaks. check: None where it has nothing."""

    id: str
    severity: Severity
    title: str
    says: str
    thresholds: tuple[Threshold, ...]
    remedy: str
    check: Callable[[Reading], Told | None]


def setting(key: str, value: float | str) -> str:
    """`KEY=VALUE` as `--set` takes it: `setting("optim.max_lr", 0.0009)` -> `optim.max_lr=0.0009`."""
    if isinstance(value, int | str):
        return f"{key}={value}"
    return f"{key}={value:.3g}"


def percent(share: float) -> str:
    """`0.123` -> `12%`."""
    return f"{share:.1%}" if abs(share) < 0.0995 else f"{share:.0%}"
