"""A fault put into real runs, and the models that faults are put into.

    Recipe("frozen tower", "tune", "a tower stays as it is", each(TUNE_MODEL, {"frozen": "vision"}, {"frozen": "text"}))

`expected` and `allowed` are what follows from the fault put in. What else is true of a run is measured, see
`corpus_truth`. `siblings` are trained for that alone. `is_hopeless`: no rate, warmup or budget would help.
"""

from dataclasses import dataclass, replace

from tests.findings.corpus_runs import Setup
from tests.findings.recipes_real import Part


@dataclass(frozen=True)
class Recipe:
    """A fault and the runs that have it."""

    name: str
    part: Part
    text: str
    setups: tuple[Setup, ...]
    expected: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    siblings: tuple[Setup, ...] = ()
    is_hopeless: bool = False


# Two families of models, so that a fault is tuned on other models than it is scored on.
TUNE_MODEL = Setup()
HELD_MODEL = Setup(half_size=False, patch_px=16, width=64, heads=4, num_val=1024, num_evals=10, seed=20)


def each(setup: Setup, *changes: dict[str, object]) -> tuple[Setup, ...]:
    """A setting with each of some changes."""
    return tuple(replace(setup, **change) for change in changes)  # type: ignore[arg-type]
