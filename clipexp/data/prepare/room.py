"""Room for a store that is being prepared: seen to before it starts, and again as it grows.

require_room(folder, estimated_bytes(spec, num_items=2_300_000, context_length=77))
"""

import shutil
from pathlib import Path

from clipexp.errors import StoreError
from clipexp.spec.data import DataSpec

JPEG_BYTES_A_PIXEL = 0.5  # photographs at 224 px take 0.4 to 1.0 at quality 95; those at hand are measured as they come
TEXT_BYTES = 600  # a pair: key, captions and what ties it to others


def estimated_bytes(spec: DataSpec, num_items: int, context_length: int, picture_bytes: float | None = None) -> float:
    """What a store and the work on it take at most, as far as one can tell.

    Args:
        spec: the data section.
        num_items: pairs to come.
        context_length: tokens a caption.
        picture_bytes: what a stored picture was found to take; None: nothing is read yet.
    """
    if picture_bytes is None:
        a_pixel = 3 if spec.encoding == "raw" else JPEG_BYTES_A_PIXEL
        picture_bytes = a_pixel * spec.image_size_px**2
    return num_items * (picture_bytes + TEXT_BYTES + 2 * context_length)


def require_room(place: Path, needed_bytes: float) -> None:
    """See that so much is free where a store goes.

    Raises:
        StoreError: it is not.
    """
    free = shutil.disk_usage(place).free
    if needed_bytes > free:
        raise StoreError(
            f"the store will take about {_gb(needed_bytes)} more, and {place} has {_gb(free)} free: make room, set"
            " data.store to another disk, take fewer pairs, or lower data.image_size_px or set data.encoding jpeg"
        )


def disk_full(place: Path) -> StoreError:
    """The error for a disk that filled all the same."""
    return StoreError(
        f"the disk of {place} is full ({_gb(shutil.disk_usage(place).free)} free): make room, or set data.store to"
        " another disk"
    )


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:,.1f} MB"
