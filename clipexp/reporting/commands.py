"""Commands that a report prints: to carry out a run of it again, to extend it, to try what a finding suggests.

command(evidence, run, "reproduce")   # clipexp run reports/x/data/1a2b3c4d/spec.yaml
"""

import shlex
from collections.abc import Sequence

from clipexp.reporting.evidence import SPEC_FILE, Evidence, RunEvidence

DATA = "data"


def command(evidence: Evidence, run: RunEvidence, kind: str, settings: Sequence[str] = ()) -> str | None:
    """A command on a run's spec, as the report keeps it.

    Args:
        evidence: the report's.
        run: whose.
        kind: `reproduce`, `extend` (twice the budget), `replicate N` (N further seeds), or `finding`, with settings.
        settings: `KEY=VALUE`, for --set.

    Returns:
        The command; None where there is none: its budget is not known, or the finding has no settings.

    Raises:
        ValueError: there is no such kind.
    """
    further: list[str] = []
    changes: list[str] | None = []
    match kind.split():
        case ["reproduce"]:
            pass
        case ["replicate", number]:
            further = ["--replicate", str(int(number))]
        case ["extend"]:
            changes = _twice(run)
        case ["finding"]:
            changes = list(settings) or None
        case _:
            raise ValueError(f"no command is called {kind}")
    if changes is None:
        return None
    spec = f"reports/{evidence.name}/{DATA}/{run.key}/{SPEC_FILE}"
    return shlex.join(["clipexp", "run", spec, *(word for change in changes for word in ("--set", change)), *further])


def _twice(run: RunEvidence) -> list[str] | None:
    """Twice the training; what it goes on from, if it does, is before its budget's end as it was."""
    for key in ("samples", "epochs"):
        text = run.record.params.get(f"train.budget.{key}", "None")
        try:
            return [f"train.budget.{key}={2 * float(text):.12g}"]
        except ValueError:
            continue
    return None
