"""Names of this machine's processor and GPUs, found without torch."""

import glob
import os
import platform
import shutil
import subprocess


def cpu_name() -> str:
    """The processor's model, or its architecture where the system does not say."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def gpu_names() -> list[str]:
    """The NVIDIA GPUs' models, in the driver's order; none where there is no driver."""
    names = []
    for path in sorted(glob.glob("/proc/driver/nvidia/gpus/*/information")):
        with open(path) as lines:
            names += [line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")]
    if names or (command := shutil.which("nvidia-smi")) is None:
        return names
    query = [command, "--query-gpu=name", "--format=csv,noheader"]  # a container may show no /proc/driver
    found = subprocess.run(query, capture_output=True, text=True, check=False)  # noqa: S603 (the driver's own tool)
    return found.stdout.split("\n")[:-1] if found.returncode == 0 else []


def visible_gpus() -> list[str]:
    """Which GPUs this process may use, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [gpu.strip() for gpu in given.split(",") if gpu.strip() and gpu.strip() != "-1"]
    return [str(number) for number in range(len(gpu_names()))]


def device_name(device: str) -> str:
    """The start of a device's name as runs' summaries hold it; `device` as in train.device."""
    names = gpu_names() if device != "cpu" else []
    return names[0] if names else cpu_name()
