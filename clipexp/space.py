"""Room on the disk: what a run is going to write, and whether there is room for it.

require_room(spec, checkpoints=None)
room_bytes(spec)  # 4_900_000_000 for the seed preset at keep_last 2
"""

import shutil
from pathlib import Path

from clipexp.errors import RunError
from clipexp.spec.cost import checkpoint_bytes
from clipexp.spec.run import RunSpec
from clipexp.track.checkpoint_names import BEST, numbered
from clipexp.track.home import home

JOURNAL_BYTES = 50 << 20  # journal, figures, examples and MLflow's rows: some MB, with room to spare


def room_bytes(spec: RunSpec) -> int:
    """The most that a run's files take at any time: the checkpoints that stay, one being written, and the rest."""
    train = spec.train
    return checkpoint_bytes(spec) * (train.keep_last + 1 + train.keep_best) + JOURNAL_BYTES


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; a file under two names counts once."""
    size_by_inode = {}
    for path in folder.rglob("*"):
        if path.is_file():
            stat = path.stat()
            size_by_inode[stat.st_dev, stat.st_ino] = stat.st_size
    return sum(size_by_inode.values())


def free_bytes() -> int:
    """What is free where runs are kept."""
    root = home().root
    return shutil.disk_usage(root if root.exists() else Path.cwd()).free


def require_room(spec: RunSpec, checkpoints: Path | None) -> None:
    """See that a run's files will fit; `checkpoints` is the folder of one that goes on.

    Raises:
        RunError: they will not.
    """
    own = [*numbered(checkpoints), checkpoints / BEST] if checkpoints else []
    there = sum(folder_bytes(folder) for folder in own)
    missing = room_bytes(spec) - there - free_bytes()
    if missing > 0:
        raise RunError(
            f"the run will write about {mb(room_bytes(spec))}, and {home().root.resolve()} lacks {mb(missing)} of that;"
            " see what can go with `clipexp runs gc --dry-run`, or lower train.keep_last"
        )


def mb(num_bytes: int) -> str:
    """Bytes for a person."""
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"
