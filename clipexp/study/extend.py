"""A linked study: the best trials of another go on to a longer horizon, and are compared among themselves alone.

    clipexp sweep studies/quick.yaml --extend top3 --budget 98_304

Each goes on from its last checkpoint, weights and optimizer, in the order of the data that it had, with the schedule
laid out over the longer horizon (see `schedule.learning_rate_at`).
"""

from collections.abc import Mapping
from typing import Any

from clipexp.errors import StudyError
from clipexp.spec.load import ResolvedRun, resolve
from clipexp.spec.study import NoPrunerSpec, StudyBudgetSpec, StudySpec

CONTINUES = "continues"  # the note of a linked study's trial that says what it goes on from


def parse_count(text: str) -> int:
    """`top3` as 3. Raises StudyError."""
    number = text.removeprefix("top")
    if text == number or not number.isdigit() or int(number) < 1:
        raise StudyError(f"--extend takes top and a number, such as top3; it was {text!r}")
    return int(number)


def parse_horizon(text: str, samples_before: int) -> int:
    """`98_304` samples, or `4x` the samples of the trials before. Raises StudyError."""
    factor = text.endswith("x")
    try:
        horizon = round(
            float(text.removesuffix("x").replace("_", "").replace(",", "")) * (samples_before if factor else 1)
        )
    except ValueError:
        horizon = 0
    if horizon <= samples_before:
        raise StudyError(
            f"--budget {text} is no longer horizon: the trials saw {samples_before:,} samples; give more than that"
            f" (such as {2 * samples_before}), or a factor (2x)"
        )
    return horizon


def linked_spec(spec: StudySpec, num_best: int, samples: int, name: str | None = None) -> StudySpec:
    """The linked study: its trials are given, so it has no sampler's work to do, no pruner and no baselines."""
    changes = {
        "name": name or f"{spec.name}-to-{samples}",
        "hypothesis": f"The best {num_best} trials of {spec.name}, gone on to {samples:,} samples.",
        "budget": StudyBudgetSpec(trials=num_best),
        "pruner": NoPrunerSpec(kind="none"),
        "baselines": [],
        "confirm_seeds": 0,
        "keep_checkpoints": num_best,
    }
    return spec.model_copy(update=changes)


def continued(resolved: ResolvedRun, continues: Mapping[str, Any]) -> ResolvedRun:
    """A trial's run as it goes on from another's end.

    Args:
        resolved: the trial's settings.
        continues: `spec_hash`, `samples_seen` and `weights_sha256` of where it goes on from; `samples`: the horizon.
    """
    content = resolved.spec.model_dump(mode="json")
    content["train"]["budget"] = {"samples": continues["samples"]}
    content["continue_from"] = {key: continues[key] for key in ("spec_hash", "samples_seen", "weights_sha256")}
    return resolve(content)
