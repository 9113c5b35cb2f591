"""The machine's state while a run goes on, as `system/*` metrics."""

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil


def system_metrics() -> dict[str, float]:
    """Memory of this process (MB), and its processor use since the last call (% of one core)."""
    process = _process()
    return {
        "system/memory_mb": process.memory_info().rss / 1e6,
        "system/cpu_percent": process.cpu_percent(),
    }


@functools.cache
def _process() -> "psutil.Process":
    import psutil

    return psutil.Process()
