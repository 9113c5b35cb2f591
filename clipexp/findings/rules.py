"""All rules, and what they find in one run.

    for finding in find(curves, facts): print(finding.claim)

A rule whose metrics or facts are missing says nothing.
"""

from collections.abc import Mapping
from types import MappingProxyType

from clipexp.findings import data, ending, evaluation, gradients, learning_rate, scale, schedule, stability, system
from clipexp.findings.finding import SEVERITIES, Finding, RunFacts
from clipexp.findings.reading import Reading
from clipexp.findings.rule import Rule
from clipexp.track.curves import Curves

_MODULES = (stability, gradients, scale, learning_rate, schedule, data, ending, evaluation, system)
RULES: Mapping[str, Rule] = MappingProxyType({rule.id: rule for module in _MODULES for rule in module.RULES})


def find(curves: Curves, facts: RunFacts) -> tuple[Finding, ...]:
    """What the curves of a run say, problems first.

    Args:
        curves: whatever was recorded: metrics may be missing, values not finite, places given twice.
        facts: how the run came about, as far as it is known.
    """
    reading = Reading(curves, facts)
    found = []
    for rule in RULES.values():
        told = rule.check(reading)
        if told is not None:
            remedy = told.remedy or rule.remedy
            found.append(Finding(rule.id, rule.severity, told.claim, told.evidence, remedy, told.settings))
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))
