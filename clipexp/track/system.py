"""The machine's state while a run goes on, as `system/*` metrics."""

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil


def system_metrics() -> dict[str, float]:
    """Memory of this process (MB, and as a share of the machine's), and its processor use since the last call.

    The latter is in % of one core.
    """
    process = _process()
    resident = process.memory_info().rss
    return {
        "system/memory_mb": resident / 1e6,
        "system/memory_frac": resident / _machine_memory(),
        "system/cpu_percent": process.cpu_percent(),
    }


@functools.cache
def _process() -> "psutil.Process":
    import psutil

    return psutil.Process()


@functools.cache
def _machine_memory() -> int:
    """Bytes."""
    import psutil

    return int(psutil.virtual_memory().total)
