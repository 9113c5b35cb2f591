"""What checkpoints are called, known without torch to those who only list or remove them.

newest(home().checkpoints / run_id)  # .../samples-000000096000
"""

import re
from pathlib import Path

BEST = "best"
NUMBERED = re.compile(r"samples-(\d{12,})")
# Half written or half removed; another takes its place; found damaged.
TMP, OLD, DAMAGED = ".tmp", ".old", ".damaged"


def name_at(samples_seen: int) -> str:
    """The folder name of a checkpoint: sorts by samples seen."""
    return f"samples-{samples_seen:012d}"


def samples_seen_at(folder: Path) -> int:
    """The inverse of `name_at`."""
    return int(folder.name.removeprefix("samples-"))


def numbered(root: Path) -> list[Path]:
    """The checkpoints that stand under their names, best aside."""
    return [path for path in root.glob("samples-*") if NUMBERED.fullmatch(path.name)]


def newest(root: Path) -> Path | None:
    """The checkpoint with the most samples seen, if there is one."""
    return max(numbered(root), default=None, key=samples_seen_at)
