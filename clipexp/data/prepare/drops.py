"""Drops: what of a source became no pair, told while it is few, and reason to stop where it is much.

require_few_faults(num_items=1000, num_faults=80, max_frac=0.05, drops=[...], is_all=True)  # raises SourceError
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from clipexp.data.sources import Drop
from clipexp.errors import SourceError

DROPPED_FILE = "dropped.jsonl"
NUM_EXAMPLES = 5
MIN_ITEMS = 200  # before a share of them says something
DUPLICATE = "filters.duplicates: the same picture as an earlier one"
LEFT_OUT = "left out: shares content with what is held out"


def require_few_faults(num_items: int, num_faults: int, max_frac: float, drops: Iterable[Drop], is_all: bool) -> None:
    """See that not too much of a source is unusable.

    Args:
        num_items: of the source, so far or in all.
        num_faults: those of them that are unusable.
        max_frac: the share that is let pass.
        drops: to name the reasons by.
        is_all: the whole source was read; else the share counts from 200 items on.

    Raises:
        SourceError: it is too much.
    """
    if num_faults <= max_frac * num_items or not (is_all or num_items >= MIN_ITEMS):
        return
    faults = [drop for drop in drops if drop.is_fault]
    examples = {drop.reason: drop for drop in reversed(faults)}
    told = "; ".join(
        f"{num} x {reason} (such as {examples[reason].key}{_origin(examples[reason])})"
        for reason, num in Counter(drop.reason for drop in faults).most_common(NUM_EXAMPLES)
    )
    raise SourceError(
        f"{num_faults:,} of {num_items:,} items read are unusable, above data.max_drop_frac {max_frac:g}: {told}."
        " Mend the source, or raise data.max_drop_frac"
    )


def reasons_and_examples(drops: Sequence[Drop]) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """How many there are of each reason, and the keys of the first of each."""
    counts = Counter(drop.reason for drop in drops)
    examples: dict[str, list[str]] = {reason: [] for reason in sorted(counts)}
    for drop in drops:
        if len(found := examples[drop.reason]) < NUM_EXAMPLES:
            found.append(drop.key)
    return dict(sorted(counts.items())), {reason: tuple(keys) for reason, keys in examples.items()}


def write_dropped(folder: Path, drops: Sequence[Drop]) -> Path | None:
    """A line of JSON for each, in DROPPED_FILE; no file where there are none."""
    if not drops:
        return None
    path = folder / DROPPED_FILE
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(drop), ensure_ascii=False) + "\n" for drop in drops)
    return path


def _origin(drop: Drop) -> str:
    return f" in {drop.origin}" if drop.origin and drop.origin != drop.key else ""
