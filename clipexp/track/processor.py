"""The processor's name, found without torch."""

import platform


def cpu_name() -> str:
    """The processor's model, or its architecture where the system does not say."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
