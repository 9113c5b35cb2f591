"""What a run's curves say: rules that find a known trouble, or a chance, with the evidence for it. Pure; no torch here.

    for finding in find(record.curves, facts_of(record)):
        print(finding.claim, finding.remedy, *finding.settings)

`RULES` holds every rule by its id, with its thresholds and the reason for each.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipexp.findings.facts import facts_of
    from clipexp.findings.rules import RULES, find

__all__ = ["RULES", "facts_of", "find"]

_HOME_BY_NAME = {
    "RULES": "clipexp.findings.rules",
    "facts_of": "clipexp.findings.facts",
    "find": "clipexp.findings.rules",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_BY_NAME:
        raise AttributeError(f"module 'clipexp.findings' has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib

    return getattr(importlib.import_module(_HOME_BY_NAME[name]), name)
